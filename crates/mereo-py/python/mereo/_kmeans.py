"""k-means, also called vector quantisation."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from ._base import HAS_SKLEARN, ClusterMixin, Estimator, number, seed_of, threads_of, whole
from ._rows import Rows


_K = TypeVar("_K", bound="KMeans")


class KMeans(ClusterMixin, Estimator):
    """k-means (vector quantisation): every row is one of k codewords.

    Parameters and attributes are those of :class:`sklearn.cluster.KMeans`. ``VQ`` is another name of it.

    Parameters
    ----------
    n_clusters : int
        Number of codewords.
    init : {'k-means++', 'random'}, callable or array-like of shape (n_clusters, n_features)
        Where centres start: drawn far apart, random rows, or these.
    n_init : 'auto' or int
        Independent starts, of which the best is kept; 'auto' is 1, and 10 for ``init='random'`` or a callable.
    max_iter : int
        Passes over the rows at most, for each start.
    tol : float
        Squared movement of the centres in a pass at which a fit ends, as a share of the mean variance of a column.
    verbose : int
        Whether to show a bar.
    random_state : int, RandomState, Generator or None
        Seed of the start.
    copy_x : bool
        For scikit-learn's sake: rows are never changed.
    algorithm : {'lloyd', 'elkan'}
        For scikit-learn's sake: bounds on distances are used wherever they pay; the result is the same.
    metric : {'euclidean', 'spherical'}
        Distance, or angle.
    n_jobs : int or None
        Threads; every core by itself. Results do not depend on it.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        The codewords, those of most rows first.
    labels_ : ndarray of shape (n_samples,)
        The cluster of each row of the fit.
    inertia_ : float
        Sum of squared distances of rows to their centres.
    n_iter_ : int
        Passes of the start that was kept.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where all of them have one.

    Examples
    --------
    >>> import mereo, numpy as np
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> kmeans = mereo.KMeans(n_clusters=2, random_state=0).fit(X)
    >>> sorted(kmeans.cluster_centers_[:, 0].tolist())
    [1.0, 10.0]
    >>> labels = kmeans.predict([[0, 0], [12, 3]])
    >>> bool(labels[0] == kmeans.labels_[0]), bool(labels[1] == kmeans.labels_[3])
    (True, True)
    """

    _method = "vq"

    cluster_centers_: np.ndarray
    labels_: np.ndarray
    inertia_: float

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: Any = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: Any = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
        metric: str = "euclidean",
        n_jobs: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.metric = metric
        self.n_jobs = n_jobs

    def _params(self, rows: Rows) -> dict[str, Any]:
        k = whole("n_clusters", self.n_clusters)
        if k > rows.shape[0]:
            raise ValueError(f"n_samples={rows.shape[0]} should be >= n_clusters={k}")
        if self.metric not in ("euclidean", "spherical"):
            raise ValueError(f"metric = {self.metric!r} is unknown; give 'euclidean' or 'spherical'")
        if self.algorithm not in ("lloyd", "elkan"):
            raise ValueError(f"algorithm = {self.algorithm!r} is unknown; give 'lloyd' or 'elkan'")
        params = {
            "k": k,
            "metric": self.metric,
            "max_passes": whole("max_iter", self.max_iter),
            "tol": number("tol", self.tol),
            "seed": seed_of(self.random_state),
        }
        random = isinstance(self.init, str) and self.init == "random"
        auto = 10 if random or callable(self.init) else 1
        params["n_init"] = auto if self.n_init == "auto" else whole("n_init", self.n_init)
        if isinstance(self.init, str):
            if self.init not in ("k-means++", "random"):
                raise ValueError(f"init = {self.init!r} is unknown; give 'k-means++', 'random', centres or a callable")
            params["init"] = self.init
        else:
            params |= {"init": "given", "n_init": 1}
        return params

    def fit(self: _K, X: Any, y: Any = None, sample_weight: Any = None) -> _K:
        """Fits to rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows.
        y : ignored
            For pipelines.
        sample_weight : array-like of shape (n_samples,), optional
            How much each row counts.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            Parameters or rows that can't be used.
        """
        rows = self._look(X, reset=True)
        weights = _weights(sample_weight, rows.shape[0])
        weights = None if weights is None else np.ascontiguousarray(weights[:, None], np.float32)
        if isinstance(self.init, str):
            self._learn(rows, weights=weights)
        else:
            self._from_centres(rows, weights)
        return self

    def _from_centres(self, rows: Rows, weights: np.ndarray | None) -> None:
        """Fits from centres, or from the best of several that a function gives."""
        made = callable(self.init)
        starts = 10 if self.n_init == "auto" else whole("n_init", self.n_init)
        draws = np.random.RandomState(seed_of(self.random_state))
        best: dict[str, Any] | None = None
        for _ in range(starts if made else 1):
            centres = self.init(rows.dense(), self.n_clusters, random_state=draws) if made else self.init
            centres = np.require(np.asarray(centres), np.float32, ["C", "A"])
            if centres.shape != (self.n_clusters, rows.shape[1]):
                raise ValueError(
                    f"The shape of the initial centers {centres.shape} does not match the number of clusters {self.n_clusters} "
                    f"and of features {rows.shape[1]}."
                )
            self._learn(rows, weights=weights, given=centres)
            if best is None or self.inertia_ < best["inertia_"]:
                best = dict(self.__dict__)
        if best is not None:
            self.__dict__.update(best)

    def _learned(self, rows: Rows, facts: dict[str, Any]) -> None:
        arrays, _ = self._parts()
        self.cluster_centers_ = self._as(arrays["atoms"])
        self.inertia_ = float(arrays["inertia"][0])
        self.labels_ = self._label(rows)

    def _loaded(self, shape: tuple[int, int], facts: dict[str, Any]) -> None:
        arrays, _ = self._parts()
        self.cluster_centers_ = arrays["atoms"]
        self.inertia_ = float(arrays["inertia"][0])

    def _label(self, rows: Rows) -> np.ndarray:
        codes = self._model.encode(rows.table, threads_of(self.n_jobs))
        if isinstance(codes, tuple):
            indptr, indices, _, _ = codes
            if len(indices) == rows.shape[0]:
                return indices
            # A row of zeros has no angle, and so no codeword of its own: it is counted to the first.
            labels = np.zeros(rows.shape[0], np.int32)
            labels[np.diff(indptr) > 0] = indices
            return labels
        return codes.argmax(axis=1).astype(np.int32)

    def predict(self, X: Any) -> np.ndarray:
        """The nearest centre of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows with the columns of the fit.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Numbers of clusters.
        """
        self._check_fitted()
        return self._label(self._look(X, reset=False))

    def transform(self, X: Any) -> np.ndarray:
        """Distances of rows to all centres.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows with the columns of the fit.

        Returns
        -------
        distances : ndarray of shape (n_samples, n_clusters)
            Euclidean.
        """
        self._check_fitted()
        rows = self._look(X, reset=False)
        x, c = rows.dense(), self._model.atoms
        if not np.isfinite(x).all():
            at = np.argwhere(~np.isfinite(x))[0]
            raise ValueError(f"row {at[0]}, column {at[1]} is {x[tuple(at)]} (NaN or inf); drop the row or fill the value in")
        # About the centres' mean, so that what is far from zero loses no digits; row by row sums don't depend on the other rows.
        shift = c.mean(axis=0)
        y, c = x.astype(np.float64) - shift, c.astype(np.float64) - shift
        products = np.stack([np.einsum("ij,j->i", y, row) for row in c], axis=1)
        square = np.einsum("ij,ij->i", y, y)[:, None] - 2 * products + np.einsum("ij,ij->i", c, c)
        return np.sqrt(np.maximum(square, 0.0)).astype(rows.dtype, copy=False)

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> np.ndarray:
        """Fits to rows, and gives the cluster of each.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows.
        y : ignored
            For pipelines.
        sample_weight : array-like of shape (n_samples,), optional
            How much each row counts.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Numbers of clusters.
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> np.ndarray:
        """Fits to rows, and gives their distances to all centres.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows.
        y : ignored
            For pipelines.
        sample_weight : array-like of shape (n_samples,), optional
            How much each row counts.

        Returns
        -------
        distances : ndarray of shape (n_samples, n_clusters)
            Euclidean.
        """
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The centres of labels, or what one-hot codes add up to.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_clusters)
            Labels, or codes.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features)
            Centres.
        """
        self._check_fitted()
        labels = np.asarray(X) if not hasattr(X, "tocsr") else None
        if labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu":
            return self.cluster_centers_[labels]
        return super().inverse_transform(X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The inertia of rows, times -1.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows with the columns of the fit.
        y : ignored
            For pipelines.
        sample_weight : array-like of shape (n_samples,), optional
            How much each row counts.

        Returns
        -------
        score : float
            The larger the better, 0 at most.
        """
        self._check_fitted()
        rows = self._look(X, reset=False)
        weights = _weights(sample_weight, rows.shape[0])
        if self.metric == "spherical":
            x, c = rows.dense().astype(np.float64), self._model.atoms.astype(np.float64)
            lengths = np.maximum(np.linalg.norm(x, axis=1), 1e-300)
            each = 1.0 - np.einsum("ij,ij->i", x, c[self._label(rows)]) / lengths
        else:
            each = np.asarray(self._model.residuals(rows.table, threads_of(self.n_jobs)))
        return -float(each.sum() if weights is None else each @ weights)

    if HAS_SKLEARN:

        def __sklearn_tags__(self) -> Any:
            tags = super().__sklearn_tags__()
            # A clusterer is no transformer to scikit-learn, unless it says so.
            tags.transformer_tags.preserves_dtype = ["float64", "float32"]
            return tags


VQ = KMeans
"""Vector quantisation, by its other name."""


def _weights(given: Any, rows: int) -> np.ndarray | None:
    """Weights of rows, checked."""
    if given is None:
        return None
    if isinstance(given, (int, float)):
        given = np.full(rows, float(given))
    weights = np.asarray(given, dtype=np.float64)
    if weights.ndim != 1 or len(weights) != rows:
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(rows,)}!")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("sample_weight must be finite and at least 0 for every row")
    if not (weights > 0).any():
        raise ValueError("every sample_weight is zero; at least one row must count")
    return None if np.all(weights == 1.0) else weights
