"""Principal components."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._base import _E, Estimator, seed_of, whole
from ._rows import Rows

_SOLVERS = {"auto": "auto", "full": "covariance", "covariance_eigh": "covariance", "arpack": "covariance", "randomized": "randomized"}


class PCA(Estimator):
    """Principal components: the orthogonal axes along which rows vary most.

    Parameters and attributes are those of :class:`sklearn.decomposition.PCA`.

    Parameters
    ----------
    n_components : int, float, 'mle' or None
        Number of components; a share of the variance that they must explain, between 0 and 1; Minka's choice; or as many as there are rows or
        columns.
    copy : bool
        For scikit-learn's sake: rows are never changed.
    whiten : bool
        Give codes variance 1.
    svd_solver : {'auto', 'full', 'covariance_eigh', 'arpack', 'randomized'}
        ``randomized`` for many columns; all others are exact, from second moments in one pass.
    tol : float
        For scikit-learn's sake: the exact solver has no tolerance.
    iterated_power : int or 'auto'
        Passes of the randomized solver after its first.
    n_oversamples : int
        Directions beyond ``n_components`` that the randomized solver carries along.
    power_iteration_normalizer : str
        For scikit-learn's sake: block Krylov needs none.
    random_state : int, RandomState, Generator or None
        Seed of the randomized solver.
    n_jobs : int or None
        Threads; every core by itself. Results do not depend on it.
    verbose : int
        Whether to show a bar.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Axes of length 1 by falling variance, the largest entry of each positive.
    explained_variance_ : ndarray of shape (n_components,)
        Variance along each.
    explained_variance_ratio_ : ndarray of shape (n_components,)
        The same as a share of all variance.
    singular_values_ : ndarray of shape (n_components,)
        Lengths of the columns of centred codes.
    mean_ : ndarray of shape (n_features,)
        Mean row.
    n_components_ : int
        Number of components.
    noise_variance_ : float
        Mean variance along the axes that were left out.
    n_samples_ : int
        Number of rows.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where all of them have one.

    Examples
    --------
    >>> import mereo, numpy as np
    >>> X = np.array([[1, 2], [2, 4], [3, 6], [4, 8]], dtype=np.float32)
    >>> pca = mereo.PCA(n_components=1).fit(X)
    >>> pca.explained_variance_ratio_.round(3)
    array([1.], dtype=float32)
    >>> pca.inverse_transform(pca.transform(X)).round(2)[3]
    array([4., 8.], dtype=float32)
    """

    _method = "pca"
    _minimum = 2

    n_components: Any
    components_: np.ndarray
    mean_: np.ndarray
    explained_variance_: np.ndarray
    explained_variance_ratio_: np.ndarray
    singular_values_: np.ndarray
    n_components_: int
    n_samples_: int
    noise_variance_: float

    def __init__(
        self,
        n_components: Any = None,
        *,
        copy: bool = True,
        whiten: bool = False,
        svd_solver: str = "auto",
        tol: float = 0.0,
        iterated_power: Any = "auto",
        n_oversamples: int = 10,
        power_iteration_normalizer: str = "auto",
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.copy = copy
        self.whiten = whiten
        self.svd_solver = svd_solver
        self.tol = tol
        self.iterated_power = iterated_power
        self.n_oversamples = n_oversamples
        self.power_iteration_normalizer = power_iteration_normalizer
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _params(self, rows: Rows) -> dict[str, Any]:
        if self.svd_solver not in _SOLVERS:
            raise ValueError(f"svd_solver = {self.svd_solver!r} is unknown; give one of {sorted(_SOLVERS)}")
        return {
            "k": self._count(rows),
            "whiten": bool(self.whiten),
            "solver": _SOLVERS[self.svd_solver],
            "oversample": whole("n_oversamples", self.n_oversamples, 0),
            "power": 4 if self.iterated_power == "auto" else whole("iterated_power", self.iterated_power, 0),
            "seed": seed_of(self.random_state),
        }

    def _count(self, rows: Rows) -> int:
        most = min(rows.shape)
        n = self.n_components
        if n is None or n == "mle":
            if n == "mle" and rows.shape[0] < rows.shape[1]:
                raise ValueError("n_components='mle' is only supported if n_samples >= n_features")
            return most
        if isinstance(n, (float, np.floating)) and not isinstance(n, bool):
            if not 0.0 < n < 1.0:
                raise ValueError(f"n_components={n} must be a share of the variance between 0 and 1, or a whole number")
            return most
        count = whole("n_components", n)
        if count > most:
            raise ValueError(
                f"n_components={count} must be between 1 and min(n_samples, n_features)={most} with svd_solver={self.svd_solver!r}"
            )
        return count

    def fit(self: _E, X: Any, y: Any = None) -> _E:
        """Fits to rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows.
        y : ignored
            For pipelines.

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
        self._learn(rows)
        n = self.n_components
        if n == "mle" or isinstance(n, (float, np.floating)):
            self._few(rows)
        return self

    def _few(self, rows: Rows) -> None:
        """Fits again with the number of components that the spectrum says."""
        spectrum = self.explained_variance_.astype(np.float64)
        if self.n_components == "mle":
            count = _minka(spectrum, rows.shape[0])
        else:
            ratios = np.cumsum(spectrum / self._total)
            count = min(int(np.searchsorted(ratios, self.n_components, side="right")) + 1, len(spectrum))
        wanted = self.n_components
        try:
            self.n_components = max(1, count)
            self._learn(rows)
        finally:
            self.n_components = wanted

    def _learned(self, rows: Rows, facts: dict[str, Any]) -> None:
        arrays, meta = self._parts()
        variances, total = arrays["variances"], float(arrays["total_variance"][0])
        self._total = total
        n, d, k = meta["rows"], facts["cols"], len(variances)
        self.components_ = self._as(arrays["axes"])
        self.mean_ = self._as(arrays["mean"])
        self.explained_variance_ = self._as(variances)
        self.explained_variance_ratio_ = self._as(variances / total if total > 0 else np.zeros(k))
        self.singular_values_ = self._as(np.sqrt(variances * max(n - 1, 1)))
        self.n_components_, self.n_samples_ = k, n
        rest = min(n, d) - k
        self.noise_variance_ = max(0.0, total - float(variances.sum())) / rest if rest > 0 else 0.0

    def get_covariance(self) -> np.ndarray:
        """The covariance of the model: that of the components and of equal noise along all other axes.

        Returns
        -------
        covariance : ndarray of shape (n_features, n_features)
            In the units of the rows, squared.
        """
        self._check_fitted()
        v, noise = self.components_.astype(np.float64), self.noise_variance_
        extra = np.maximum(self.explained_variance_.astype(np.float64) - noise, 0.0)
        return (v.T * extra) @ v + noise * np.eye(v.shape[1])

    def get_precision(self) -> np.ndarray:
        """The inverse of the covariance of the model.

        Returns
        -------
        precision : ndarray of shape (n_features, n_features)
            In the units of the rows, to the power of -2.
        """
        return np.linalg.inv(self.get_covariance()) if self.noise_variance_ == 0.0 else self._precision()

    def _precision(self) -> np.ndarray:
        v, noise = self.components_.astype(np.float64), self.noise_variance_
        variances = np.maximum(self.explained_variance_.astype(np.float64), noise)
        return np.eye(v.shape[1]) / noise + (v.T * (1.0 / variances - 1.0 / noise)) @ v

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-likelihood of each row under the model: a Gaussian with its covariance (Tipping & Bishop 1999).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with the columns of the fit.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            In nats.
        """
        self._check_fitted()
        x = self._look(X, reset=False).dense().astype(np.float64) - self.mean_
        precision = self.get_precision()
        _, logdet = np.linalg.slogdet(precision)
        return -0.5 * (np.einsum("ij,ij->i", x @ precision, x) + x.shape[1] * math.log(2 * math.pi) - logdet)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-likelihood of rows under the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with the columns of the fit.
        y : ignored
            For pipelines.

        Returns
        -------
        score : float
            Mean of ``score_samples``, in nats.
        """
        return float(self.score_samples(X).mean())


def _minka(spectrum: np.ndarray, n: int) -> int:
    """The number of components with the largest evidence by Laplace's method (Minka 2000, eq. 76 to 80)."""
    d = len(spectrum)
    spectrum = np.maximum(spectrum, 0.0)
    best, best_at = -math.inf, 1
    for k in range(1, d):
        if spectrum[k - 1] < 1e-15:
            break
        noise = max(1e-15, float(spectrum[k:].mean()))
        dims = (d - np.arange(k)) / 2.0
        uniform = -k * math.log(2.0) + float(sum(math.lgamma(v) for v in dims)) - math.log(math.pi) * float(dims.sum())
        kept = -n / 2.0 * float(np.log(spectrum[:k]).sum())
        left = -math.log(noise) * n * (d - k) / 2.0
        free = d * k - k * (k + 1) / 2.0
        inverse = 1.0 / np.concatenate([spectrum[:k], np.full(d - k, noise)])
        hessian = 0.0
        for i in range(k):
            gaps = (spectrum[i] - spectrum[i + 1 :]) * (inverse[i + 1 :] - inverse[i])
            hessian += float(np.log(np.maximum(gaps, 1e-300)).sum()) + (d - i - 1) * math.log(n)
        evidence = uniform + kept + left + math.log(2 * math.pi) * (free + k) / 2.0 - hessian / 2.0 - k * math.log(n) / 2.0
        if evidence > best:
            best, best_at = evidence, k
    return best_at
