"""Non-negative matrix factorisation, by whole passes and by batches."""

from __future__ import annotations

import json
import warnings
from typing import Any, TypeVar

import numpy as np

from . import _core
from ._base import HAS_SKLEARN, ConvergenceWarning, Estimator, number, seed_of, threads_of, whole
from ._rows import Rows, look

_SOONER = 10.0
"""A pass may change the loss by this much less than ``tol`` of it before a fit ends, so that it ends no sooner than scikit-learn's."""

_LOSSES = {"frobenius": "squared", "kullback-leibler": "kullback-leibler", "itakura-saito": "itakura-saito"}
_INITS = ("random", "nndsvd", "nndsvda", "nndsvdar", "k-means", "spa", "snpa")
_SOLVERS = ("auto", "accelerated", "cd", "mu", "newton", "lee-seung", "local", "exact", "online", "separable")


_N = TypeVar("_N", bound="NMF")


class NMF(Estimator):
    r"""Non-negative matrix factorisation: rows are made of parts that only add.

    Minimises what :class:`sklearn.decomposition.NMF` minimises,

    .. math::

        D_\beta(X, WH) + \alpha_W \rho\, d\, \|W\|_1 + \alpha_H \rho\, n\, \|H\|_1
        + \tfrac12 \alpha_W (1-\rho)\, d\, \|W\|_F^2 + \tfrac12 \alpha_H (1-\rho)\, n\, \|H\|_F^2

    with :math:`\rho` = ``l1_ratio``, n rows and d columns; half the squared error for ``beta_loss='frobenius'``. Parameters and attributes are
    scikit-learn's, and then some. Components come by what they add, the largest first. They have length 1 (squared error) or sum 1
    (divergences), so that a code is in the units of the data; with ``alpha_W`` above 0 lengths are part of what is minimised, and are kept.

    Parameters
    ----------
    n_components : int, 'auto' or None
        Number of parts; as many as columns by itself, or as ``H`` has rows where that is given.
    init : {'random', 'nndsvd', 'nndsvda', 'nndsvdar', 'k-means', 'spa', 'snpa', 'custom'} or None
        Where a fit starts; by itself 'nndsvda' where ``n_components <= min(n_samples, n_features)``, else 'random'. 'custom' starts from ``H``.
    solver : {'auto', 'cd', 'mu', 'accelerated', 'newton', 'exact', 'lee-seung', 'local', 'online', 'separable'}
        'auto' is the fastest for the loss; 'cd' and 'mu' are scikit-learn's.
    beta_loss : float or {'frobenius', 'kullback-leibler', 'itakura-saito'}
        What is minimised.
    tol : float
        Ends when a pass changes the loss by no more than a tenth of this share of it: no sooner than scikit-learn's fits do.
    max_iter : int
        Passes over the rows at most.
    random_state : int, RandomState, Generator or None
        Seed of the start.
    alpha_W : float
        Penalty of the codes.
    alpha_H : float or 'same'
        Penalty of the components.
    l1_ratio : float
        Share of L1 in both penalties.
    verbose : int
        Whether to show a bar.
    shuffle : bool
        For scikit-learn's sake: the order of coordinates is fixed.
    n_init : int
        Independent starts, of which the best is kept.
    missing : {'none', 'nan', 'zeros'}
        Which entries are unknown, and have no influence.
    sparse_components : float or None
        Hoyer's sparseness that every component has exactly, from 0 to 1.
    sparse_codes : float or None
        The same of every component's codes over the rows.
    orthogonal, volume, smooth : float
        Strengths of the penalties that keep components apart, close together, and alike in neighbouring pixels.
    theta : float
        nsNMF's smoothing, of ``solver='lee-seung'``.
    signed : bool
        Components, and data, may be negative: semi-NMF.
    image_shape : tuple of int or None
        Height and width of the images that rows are.
    sweeps : int
        Coordinate sweeps in a pass.
    n_jobs : int or None
        Threads; every core by itself. Results do not depend on it.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        The parts.
    n_components_ : int
        Their number.
    reconstruction_err_ : float
        The Frobenius norm of X - WH for squared error, for a divergence the root of twice its sum (with penalties, if there are any).
    n_iter_ : int
        Passes.
    loss_curve_ : ndarray
        Loss after every pass: mean squared error of an entry, or mean divergence.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where all of them have one.

    Examples
    --------
    >>> import mereo
    >>> faces, image = mereo.load_data("faces")
    >>> nmf = mereo.NMF(n_components=16, random_state=0, image_shape=image)
    >>> codes = nmf.fit_transform(faces)
    >>> codes.shape, nmf.components_.shape, bool((codes >= 0).all())
    ((400, 16), (16, 4096), True)
    """

    _method = "nmf"

    _first: np.ndarray | None = None

    components_: np.ndarray
    n_components_: int
    reconstruction_err_: float

    def __init__(
        self,
        n_components: Any = "auto",
        *,
        init: str | None = None,
        solver: str = "auto",
        beta_loss: Any = "frobenius",
        tol: float = 1e-4,
        max_iter: int = 200,
        random_state: Any = None,
        alpha_W: float = 0.0,
        alpha_H: Any = "same",
        l1_ratio: float = 0.0,
        verbose: int = 0,
        shuffle: bool = False,
        n_init: int = 1,
        missing: str = "none",
        sparse_components: float | None = None,
        sparse_codes: float | None = None,
        orthogonal: float = 0.0,
        volume: float = 0.0,
        smooth: float = 0.0,
        theta: float = 0.0,
        signed: bool = False,
        image_shape: tuple[int, int] | None = None,
        sweeps: int = 4,
        n_jobs: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.solver = solver
        self.beta_loss = beta_loss
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state
        self.alpha_W = alpha_W
        self.alpha_H = alpha_H
        self.l1_ratio = l1_ratio
        self.verbose = verbose
        self.shuffle = shuffle
        self.n_init = n_init
        self.missing = missing
        self.sparse_components = sparse_components
        self.sparse_codes = sparse_codes
        self.orthogonal = orthogonal
        self.volume = volume
        self.smooth = smooth
        self.theta = theta
        self.signed = signed
        self.image_shape = image_shape
        self.sweeps = sweeps
        self.n_jobs = n_jobs

    def _loss(self) -> str:
        if isinstance(self.beta_loss, str):
            if self.beta_loss not in _LOSSES:
                raise ValueError(f"beta_loss = {self.beta_loss!r} is unknown; give one of {sorted(_LOSSES)}, or a number")
            return _LOSSES[self.beta_loss]
        return repr(number("beta_loss", self.beta_loss, -np.inf))

    def _beta(self) -> float:
        loss = self._loss()
        words = {"squared": 2.0, "kullback-leibler": 1.0, "itakura-saito": 0.0}
        return words[loss] if loss in words else float(loss)

    def _params(self, rows: Rows) -> dict[str, Any]:
        n, d = rows.shape
        k = d if self._auto() else whole("n_components", self.n_components)
        if self._auto() and self.init == "custom" and self._first is not None:
            k = len(self._first)
        if self.solver not in _SOLVERS:
            raise ValueError(f"solver = {self.solver!r} is unknown; give one of {list(_SOLVERS)}")
        loss = self._loss()
        if self.solver == "cd" and self._beta() != 2.0:
            raise ValueError(
                f"Invalid beta_loss parameter: solver 'cd' does not handle beta_loss = {self.beta_loss!r}; take solver='auto' or 'mu'"
            )
        init = self.init
        if init is None:
            # L1 ends components that have no zeros of their own yet.
            filled = "nndsvd" if self.l1_ratio and (self.alpha_W or self.alpha_H not in ("same", 0)) else "nndsvda"
            init = filled if k <= min(n, d) and self.missing == "none" and not self.signed else "random"
        if init not in (*_INITS, "custom"):
            raise ValueError(f"init = {init!r} is unknown; give one of {[*_INITS, 'custom', None]}")
        if init.startswith("nndsvd") and k > min(n, d):
            raise ValueError(f"init = {init!r} can only be used when n_components <= min(n_samples, n_features), which is {min(n, d)}")
        alpha_w = number("alpha_W", self.alpha_W)
        ratio = number("l1_ratio", self.l1_ratio)
        if ratio > 1.0:
            raise ValueError(f"l1_ratio = {ratio} must be between 0 and 1")
        if self.missing not in ("none", "nan", "zeros"):
            raise ValueError(f"missing = {self.missing!r} is unknown; give 'none', 'nan' or 'zeros'")
        restarts = whole("n_init", self.n_init)
        if restarts > 1 and init not in ("random", "k-means", "nndsvdar"):
            raise ValueError(
                f"n_init = {restarts} starts from init = {init!r} are one fit done over; take init='random', 'k-means' or 'nndsvdar', or n_init=1"
            )
        if self.smooth and not self.image_shape:
            raise ValueError("smooth is of the pixels of images: give image_shape, their height and width")
        alike = self.random_state is None and init in ("nndsvd", "nndsvda", "spa", "snpa")
        params = {
            "k": k,
            "loss": loss,
            "solver": self.solver,
            "init": {"custom": "given"}.get(init, init),
            "alpha_w": alpha_w,
            "alpha_h": alpha_w if self.alpha_H == "same" else number("alpha_H", self.alpha_H),
            "l1_ratio": ratio,
            "sparse_atoms": self.sparse_components,
            "sparse_codes": self.sparse_codes,
            "orthogonal": number("orthogonal", self.orthogonal),
            "volume": number("volume", self.volume),
            "smooth": number("smooth", self.smooth),
            "theta": number("theta", self.theta),
            "signed": bool(self.signed),
            "image": list(self.image_shape) if self.image_shape and self.smooth else None,
            "missing": self.missing,
            "restarts": restarts,
            "max_passes": whole("max_iter", self.max_iter),
            "tol": number("tol", self.tol) / _SOONER,
            "sweeps": whole("sweeps", self.sweeps),
            # Nothing is random in such a start, so that two fits are one.
            "seed": 0 if alike else seed_of(self.random_state),
        }
        return params

    def _auto(self) -> bool:
        return self.n_components is None or (isinstance(self.n_components, str) and self.n_components == "auto")

    def fit(self: _N, X: Any, y: Any = None, W: Any = None, H: Any = None, entry_weight: Any = None) -> _N:
        """Fits to rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Numbers of at least 0.
        y : ignored
            For pipelines.
        W : array-like of shape (n_samples, n_components), optional
            For ``init='custom'``; looked at, but solved for anew from ``H`` in the first sweep.
        H : array-like of shape (n_components, n_features), optional
            First components, for ``init='custom'``.
        entry_weight : array-like of shape (n_samples, n_features), optional
            How much each entry counts.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            Parameters or rows that can't be used; a negative number.
        """
        rows = self._nonnegative(self._look(X, reset=True), "fit")
        self._first = given = self._custom(rows, W, H)
        weights = None
        if entry_weight is not None:
            each = look(entry_weight, who="entry_weight")
            if each.shape != rows.shape:
                raise ValueError(f"entry_weight.shape == {each.shape}, expected {rows.shape}: NMF weighs each entry")
            weights = each.table
        self._learn(rows, given=given, weights=weights)
        if self._facts["stop"] == "limit" and self.tol > 0 and self.solver not in ("local",):
            warnings.warn(
                f"Maximum number of iterations {self.max_iter} reached. Increase it to improve convergence.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def fit_transform(self, X: Any, y: Any = None, W: Any = None, H: Any = None, entry_weight: Any = None) -> np.ndarray:
        """Fits to rows, and gives their codes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Numbers of at least 0.
        y : ignored
            For pipelines.
        W, H : array-like, optional
            As of ``fit``.
        entry_weight : array-like of shape (n_samples, n_features), optional
            How much each entry counts.

        Returns
        -------
        W : ndarray of shape (n_samples, n_components)
            The best codes for the components.
        """
        return self.fit(X, W=W, H=H, entry_weight=entry_weight).transform(X)

    def transform(self, X: Any) -> np.ndarray:
        """The best codes of rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows with the columns of the fit.

        Returns
        -------
        W : ndarray of shape (n_samples, n_components)
            Codes of at least 0.
        """
        self._check_fitted()
        return self._encode(self._nonnegative(self._look(X, reset=False), "transform"))

    def _nonnegative(self, rows: Rows, where: str) -> Rows:
        values = rows.values
        if values is not None and not self.signed and values.size and float(np.fmin.reduce(values, axis=None)) < 0:
            at = np.argwhere(values < 0)[0]
            place = f" at row {at[0]}, column {at[1]}" if len(at) == 2 else ""
            raise ValueError(
                f"Negative values in data passed to {type(self).__name__}.{where}: {values[tuple(at)]:g}{place}; shift or rescale the data, or "
                "take signed=True (semi-NMF)"
            )
        return rows

    def _custom(self, rows: Rows, W: Any, H: Any) -> np.ndarray | None:
        if self.init != "custom":
            if W is not None or H is not None:
                warnings.warn(
                    "When init!='custom', provided W or H are ignored. Set init='custom' to use them.", RuntimeWarning, stacklevel=3
                )
            return None
        if H is None:
            raise ValueError("init='custom' needs the first components: give H, of shape (n_components, n_features)")
        first = look(H, who="NMF (input H)")
        k = first.shape[0] if self._auto() else self.n_components
        if first.shape != (k, rows.shape[1]):
            raise ValueError(f"Array with wrong shape passed to NMF (input H). Expected {(k, rows.shape[1])}, but got {first.shape}")
        if W is not None and np.shape(W) != (rows.shape[0], k):
            raise ValueError(f"Array with wrong shape passed to NMF (input W). Expected {(rows.shape[0], k)}, but got {np.shape(W)}")
        for name, m in (("W", W), ("H", H)):
            if m is not None and np.min(np.asarray(m)) < 0:
                raise ValueError(f"Negative values in data passed to NMF (input {name})")
        return first.dense()

    def _learned(self, rows: Rows, facts: dict[str, Any]) -> None:
        self._scale = self._lengths(facts["cols"])
        atoms = self._model.atoms
        self.components_ = self._as(atoms if self._scale is None else atoms * self._scale[:, None])
        self.n_components_ = self.components_.shape[0]
        loss = facts["curve"][-1]["loss"] if facts["curve"] else float("nan")
        total = max(0.0, loss) * rows.shape[0] * rows.shape[1]
        if rows.table is not None and self._beta() == 2.0 and (self.alpha_W or self.alpha_H not in ("same", 0) or self.orthogonal or self.volume or self.smooth):
            # The loss has penalties in it, the error has not.
            total = float(np.sum(self._model.residuals(rows.table, threads_of(self.n_jobs))))
        self.reconstruction_err_ = float(np.sqrt(total if self._beta() == 2.0 else 2.0 * total))

    def _lengths(self, cols: int) -> np.ndarray | None:
        """What the components of a penalised fit were divided by: there their lengths are part of what is minimised, and are kept."""
        penalty = self.alpha_W * cols
        if not penalty:
            return None
        arrays, _ = self._parts()
        # The core has the penalties of codes of components of length 1: L1 divided by the length, L2 by its square.
        if self.l1_ratio > 0:
            over = arrays["l1"].astype(np.float64) / (penalty * self.l1_ratio)
        else:
            over = np.sqrt(arrays["l2"].astype(np.float64) / penalty)
        alive = np.isfinite(over) & (over > 0)
        return np.divide(1.0, over, out=np.ones(len(over)), where=alive).astype(np.float32)

    def _encode(self, rows: Rows, k: int | None = None) -> Any:
        codes = super()._encode(rows, k)
        return codes if self._scale is None else codes / self._scale.astype(codes.dtype)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Rows rebuilt from codes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_components)
            Codes, as ``transform`` gives them.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features)
            Codes times components.
        """
        self._check_fitted()
        codes = look(X, who=f"{type(self).__name__}.inverse_transform")
        if self._scale is None or codes.shape[1] != len(self._scale):
            return super().inverse_transform(X)
        return super().inverse_transform(codes.dense() * self._scale).astype(codes.dtype, copy=False)

    if HAS_SKLEARN:

        def __sklearn_tags__(self) -> Any:
            tags = super().__sklearn_tags__()
            tags.input_tags.positive_only = not self.signed
            tags.input_tags.allow_nan = self.missing == "nan"
            return tags


class MiniBatchNMF(NMF):
    """NMF by batches of rows, for data that comes in pieces or is larger than memory.

    Parameters and attributes are those of :class:`sklearn.decomposition.MiniBatchNMF`. ``fit`` improves the components after every batch of
    the core's online solver; ``partial_fit`` learns from one batch and forgets old ones by ``forget_factor``.

    Parameters
    ----------
    n_components, init, beta_loss, tol, max_iter, alpha_W, alpha_H, l1_ratio, random_state, verbose, n_jobs
        As of ``NMF``; ``max_iter`` are passes over all rows.
    batch_size : int
        Rows of a batch.
    max_no_improvement : int or None
        For scikit-learn's sake: ``tol`` says when to stop.
    forget_factor : float
        How much of what was learned from older batches ``partial_fit`` keeps: 1 for all of it.
    fresh_restarts : bool
        For scikit-learn's sake: codes are always solved for to the end.
    fresh_restarts_max_iter : int
        The same.
    transform_max_iter : int or None
        The same.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        The parts.
    n_components_ : int
        Their number.
    reconstruction_err_ : float
        As of ``NMF``; of the last batch for ``partial_fit``.
    n_iter_ : int
        Passes over all rows.
    n_steps_ : int
        Batches.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where all of them have one.

    Examples
    --------
    >>> import mereo
    >>> digits, _ = mereo.load_data("digits")
    >>> nmf = mereo.MiniBatchNMF(n_components=10, batch_size=256, random_state=0)
    >>> for batch in range(0, 1797, 256):
    ...     nmf = nmf.partial_fit(digits[batch : batch + 256])
    >>> nmf.transform(digits).shape
    (1797, 10)
    """

    n_steps_: int
    n_iter_: int
    loss_curve_: np.ndarray
    max_iter: int

    def __init__(
        self,
        n_components: Any = "auto",
        *,
        init: str | None = None,
        batch_size: int = 1024,
        beta_loss: Any = "frobenius",
        tol: float = 1e-4,
        max_no_improvement: int | None = 10,
        max_iter: int = 200,
        alpha_W: float = 0.0,
        alpha_H: Any = "same",
        l1_ratio: float = 0.0,
        forget_factor: float = 0.7,
        fresh_restarts: bool = False,
        fresh_restarts_max_iter: int = 30,
        transform_max_iter: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            n_components,
            init=init,
            beta_loss=beta_loss,
            tol=tol,
            max_iter=max_iter,
            alpha_W=alpha_W,
            alpha_H=alpha_H,
            l1_ratio=l1_ratio,
            random_state=random_state,
            verbose=verbose,
            n_jobs=n_jobs,
        )
        self.batch_size = batch_size
        self.max_no_improvement = max_no_improvement
        self.forget_factor = forget_factor
        self.fresh_restarts = fresh_restarts
        self.fresh_restarts_max_iter = fresh_restarts_max_iter
        self.transform_max_iter = transform_max_iter

    def _params(self, rows: Rows) -> dict[str, Any]:
        params = super()._params(rows)
        # Divergences have no online solver: their batches are whole passes.
        solver = "online" if params["loss"] == "squared" else "auto"
        return params | {"solver": solver, "batch": whole("batch_size", self.batch_size)}

    def _learned(self, rows: Rows, facts: dict[str, Any]) -> None:
        super()._learned(rows, facts)
        self.n_steps_ = self.n_iter_ * -(-rows.shape[0] // self.batch_size)
        self._sums = None

    def partial_fit(self, X: Any, y: Any = None, W: Any = None, H: Any = None) -> MiniBatchNMF:
        """Learns from one batch of rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Numbers of at least 0.
        y : ignored
            For pipelines.
        W, H : array-like, optional
            First codes and components, for ``init='custom'`` and the first batch.

        Returns
        -------
        self : MiniBatchNMF
            The estimator, with components that know this batch, too.

        Raises
        ------
        ValueError
            Parameters or rows that can't be used; a negative number.
        """
        first = not self.__sklearn_is_fitted__()
        rows = self._nonnegative(self._look(X, reset=first), "partial_fit")
        if first:
            steps = self.max_iter
            try:
                self.max_iter = 1
                self._first = self._custom(rows, W, H)
                self._learn(rows, given=self._first)
            finally:
                self.max_iter = steps
            self.n_steps_ = 0
        forget = number("forget_factor", self.forget_factor)
        h, beta = self._model.atoms.astype(np.float64), self._beta()
        x, w = rows.dense().astype(np.float64), np.asarray(super()._encode(rows), np.float64)
        if self._sums is None:
            self._sums = (np.zeros((len(h), len(h) if beta == 2.0 else h.shape[1])), np.zeros_like(h), 0.0)
        below, above, seen = (forget * part for part in self._sums)
        seen += len(x)
        alpha = self.alpha_W if isinstance(self.alpha_H, str) else self.alpha_H
        l1, l2 = seen * alpha * self.l1_ratio, seen * alpha * (1.0 - self.l1_ratio)
        if beta == 2.0:
            below, above = below + w.T @ w, above + w.T @ x
            curve = np.diag(below) + l2
            for _ in range(self.sweeps):
                for j in np.flatnonzero(curve > 0):
                    slope = below[j] @ h - above[j] + l2 * h[j] + l1
                    h[j] = np.maximum(h[j] - slope / curve[j], 0.0)
        else:
            rebuilt = np.maximum(w @ h, 1e-12)
            above = above + h * (w.T @ (x * rebuilt ** (beta - 2.0)))
            below = below + w.T @ rebuilt ** (beta - 1.0)
            power = 1.0 / (2.0 - beta) if beta < 1.0 else 1.0 / (beta - 1.0) if beta > 2.0 else 1.0
            h = np.maximum(above, 0.0) ** power / np.maximum(below + l1 + l2 * h, 1e-12) ** power
            h = h if power == 1.0 else h * self._model.atoms.astype(np.float64) ** (1.0 - power)
        # Components of one length, with the sums of codes that go with it.
        size = np.sqrt((h * h).sum(axis=1)) if beta == 2.0 else h.sum(axis=1)
        size = np.where(size > 0, size, 1.0)
        h /= size[:, None]
        below = below * np.outer(size, size) if beta == 2.0 else below * size[:, None]
        above = above * size[:, None] if beta == 2.0 else above
        self._sums, steps, curve_so_far = (below, above, seen), self.n_steps_ + 1, self.loss_curve_
        self._hold(rows, h.astype(np.float32))
        self.n_steps_ = steps
        self.n_iter_ = 1 if first else self.n_iter_
        self.loss_curve_ = np.append(curve_so_far[: steps - 1], self.loss_curve_[-1])
        return self

    def _hold(self, rows: Rows, h: np.ndarray) -> None:
        """The model of given components."""
        self._first = h
        params = NMF._params(self, rows) | {"init": "given", "fixed": len(h), "k": len(h), "max_passes": 1, "tol": 0.0, "restarts": 1}
        kept, sums = self.n_iter_, self._sums
        model, facts, _ = _core.fit("nmf", json.dumps(params), rows.table, given=h, threads=threads_of(self.n_jobs), name=rows.label)
        self._set(model, json.loads(facts))
        self._dtype = rows.dtype
        NMF._learned(self, rows, self._facts)
        self.n_iter_, self._sums = kept, sums
