"""What all estimators share: looking at rows, fitting through the core, codes out, saving."""

from __future__ import annotations

import json
import os
import warnings
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from . import _core
from ._progress import Bar
from ._rows import Rows, look

if TYPE_CHECKING:
    # scikit-learn has no types of its own: a checker sees what is used of it.
    from ._alone import (
        BaseEstimator,
        ClassNamePrefixFeaturesOutMixin,
        ClusterMixin,
        ConvergenceWarning,
        NotFittedError,
        TransformerMixin,
    )

    HAS_SKLEARN = True
else:
    try:
        from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
        from sklearn.exceptions import ConvergenceWarning, NotFittedError

        HAS_SKLEARN = True
    except ImportError:
        from ._alone import (
            BaseEstimator,
            ClassNamePrefixFeaturesOutMixin,
            ClusterMixin,
            ConvergenceWarning,
            NotFittedError,
            TransformerMixin,
        )

        HAS_SKLEARN = False

__all__ = ["HAS_SKLEARN", "ClusterMixin", "ConvergenceWarning", "Estimator", "NotFittedError", "seed_of", "threads_of"]


class DivergenceWarning(UserWarning):
    """The loss left the range of numbers; the model is that of the best pass."""


def seed_of(random_state: Any) -> int:
    """The core's seed for what scikit-learn calls ``random_state``."""
    if random_state is None:
        return int(np.random.randint(0, 2**31 - 1))
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        if random_state < 0:
            raise ValueError(f"random_state = {random_state} is below 0; give a whole number of at least 0, or None")
        return int(random_state)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(0, 2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(0, 2**31 - 1))
    raise ValueError(f"{random_state!r} can't be a random_state; give a whole number, None, a RandomState or a Generator")


def threads_of(n_jobs: Any) -> int:
    """Threads for what scikit-learn calls ``n_jobs``: None and -1 take every core, -2 all but one."""
    if n_jobs is None:
        return 0
    jobs = int(n_jobs)
    if jobs == 0:
        raise ValueError("n_jobs = 0 has no meaning; give the number of threads, or -1 for every core")
    return jobs if jobs > 0 else max(1, (os.cpu_count() or 1) + 1 + jobs)


def whole(name: str, value: Any, least: int = 1) -> int:
    """A whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise ValueError(f"{name} = {value!r} must be a whole number of at least {least}")
    if value < least:
        raise ValueError(f"{name} = {value} must be at least {least}")
    return int(value)


def one_of(name: str, value: Any, known: tuple[str, ...]) -> str:
    """One of some words."""
    if value not in known:
        raise ValueError(f"{name} = {value!r} is unknown; give one of {list(known)}")
    return value


def number(name: str, value: Any, least: float = 0.0) -> float:
    """A number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)) or not np.isfinite(value):
        raise ValueError(f"{name} = {value!r} must be a number of at least {least:g}")
    if value < least:
        raise ValueError(f"{name} = {value} must be at least {least:g}")
    return float(value)


_E = TypeVar("_E", bound="Estimator")


class Estimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A method of the core in scikit-learn's clothes."""

    _method = ""
    _minimum = 1

    n_features_in_: int
    n_iter_: int
    loss_curve_: np.ndarray

    # -- to be told by each method ------------------------------------------------------------------------------------------

    def _params(self, rows: Rows) -> dict[str, Any]:
        """The core's parameters for these rows."""
        raise NotImplementedError

    def _learned(self, rows: Rows, facts: dict[str, Any]) -> None:
        """Sets what a fit has learned."""

    # -- fits ---------------------------------------------------------------------------------------------------------------

    def _look(self, X: Any, *, reset: bool) -> Rows:
        """Rows, and whether they have the columns of the fit."""
        rows = look(X, who=type(self).__name__, minimum=self._minimum if reset else 1)
        _check_names(self, rows.names, reset)
        if reset:
            self.n_features_in_ = rows.shape[1]
        elif rows.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {rows.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} features as input."
            )
        return rows

    def _learn(self, rows: Rows, **more: Any) -> None:
        """Fits through the core and sets what is learned; raises what interrupted it, once the model so far is kept."""
        params = self._params(rows)
        with Bar(type(self).__name__, getattr(self, "verbose", 0)) as bar:
            image = getattr(self, "image_shape", None) or rows.image
            model, facts, stopped = _core.fit(
                self._method,
                json.dumps(params),
                rows.table,
                see=bar.see,
                threads=threads_of(getattr(self, "n_jobs", None)),
                memory=rows.memory,
                name=rows.label,
                image=None if image is None else (int(image[0]), int(image[1])),
                columns=None if rows.names is None else [str(name) for name in rows.names],
                **more,
            )
        self._set(model, json.loads(facts))
        self._dtype = rows.dtype
        self._learned(rows, self._facts)
        if stopped is not None:
            raise stopped
        if self._facts["stop"] == "diverged":
            remedy = self._facts["remedy"] or "take shorter steps"
            warnings.warn(
                f"the fit diverged after pass {self._facts['kept']}, whose model is kept; {remedy}", DivergenceWarning, stacklevel=3
            )

    def _set(self, model: Any, facts: dict[str, Any]) -> None:
        self._model, self._facts = model, facts
        self._trainer = None
        self.n_iter_ = len(facts["curve"])
        self.loss_curve_ = np.array([step["loss"] for step in facts["curve"]])
        self.n_features_in_ = facts["cols"]

    def _loaded(self, shape: tuple[int, int], facts: dict[str, Any]) -> None:
        """Sets what a model from a file has learned; its rows are not at hand."""
        self._learned(Rows(None, shape, np.float32, None, "file"), facts)

    def _check_fitted(self) -> None:
        if getattr(self, "_model", None) is None:
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with appropriate arguments before using this estimator."
            )

    def __sklearn_is_fitted__(self) -> bool:
        return getattr(self, "_model", None) is not None

    def _parts(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, meta = self._model.parts()
        return arrays, json.loads(meta)

    def _as(self, x: np.ndarray) -> np.ndarray:
        """An attribute in the type of the rows of the fit."""
        return x.astype(self._dtype, copy=False)

    @property
    def _n_features_out(self) -> int:
        return self._model.atoms.shape[0]

    def fit(self: _E, X: Any, y: Any = None) -> _E:
        """Fits to rows.

        Parameters
        ----------
        X : array, sparse matrix, frame, path, mereo.File, mereo.Blocks or iterator of blocks, of shape (n_samples, n_features)
            The rows. float32 row after row is used in place; anything else is converted once.
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
        TypeError
            Something that holds no rows.
        OSError
            A file that can't be read.
        """
        self._learn(self._look(X, reset=True))
        return self

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fits to rows, then gives their codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, as for ``fit``.
        y : ignored
            For pipelines.
        **fit_params : dict
            What else ``fit`` takes.

        Returns
        -------
        codes : ndarray or sparse matrix of shape (n_samples, n_components)
            As of ``transform``.
        """
        return self.fit(X, y, **fit_params).transform(X)

    # -- codes --------------------------------------------------------------------------------------------------------------

    def _encode(self, rows: Rows, k: int | None = None) -> Any:
        codes = self._model.encode(rows.table, threads_of(getattr(self, "n_jobs", None)), k)
        if isinstance(codes, tuple):
            return codes
        return codes.astype(rows.dtype, copy=False)

    def transform(self, X: Any) -> Any:
        """Codes of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with the columns of the fit.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components)
            Weights of each row on the components: float64 for rows of float64, else float32.
        """
        self._check_fitted()
        return self._encode(self._look(X, reset=False))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Rows rebuilt from codes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_components)
            Codes, as ``transform`` gives them.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features)
            What the codes add up to.
        """
        self._check_fitted()
        codes = look(X, who=f"{type(self).__name__}.inverse_transform")
        if codes.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {codes.shape[1]} columns, but {type(self).__name__} has {self._n_features_out} components; give codes as transform gives them."
            )
        return self._model.decode(codes.table, threads_of(getattr(self, "n_jobs", None))).astype(codes.dtype, copy=False)

    def reconstruct(self, X: Any) -> np.ndarray:
        """Rows rebuilt through their codes, in their own units.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with the columns of the fit.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features)
            The nearest that the model has to each row.
        """
        self._check_fitted()
        rows = self._look(X, reset=False)
        return self._model.reconstruct(rows.table, threads_of(getattr(self, "n_jobs", None))).astype(rows.dtype, copy=False)

    def score(self, X: Any, y: Any = None) -> float:
        """Share of the variance of rows that the model explains: 1 - FVU.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with the columns of the fit.
        y : ignored
            For pipelines.

        Returns
        -------
        score : float
            1 for perfect reconstruction, 0 for one no better than the mean row.
        """
        return float(self.measure(X)["errors"]["explained"])

    def measure(self, X: Any) -> dict[str, Any]:
        """Errors of the model on rows, and measures of its components and codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with the columns of the fit.

        Returns
        -------
        measures : dict
            ``errors`` (``rmse``, ``fvu``, ``explained``, ...), ``codes``, ``atoms``; of sparse autoencoders ``latents`` (L0, dead, densities),
            ``encoder_decoder`` and ``nearest``.
        """
        self._check_fitted()
        rows = self._look(X, reset=False)
        return json.loads(self._model.measures(rows.table, threads_of(getattr(self, "n_jobs", None))))

    # -- files and pictures -------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model file that ``mereo.load`` and the command line read, whole or not at all.

        Parameters
        ----------
        path : str or path-like
            Where to; ``.mereo`` by custom.

        Raises
        ------
        OSError
            A path that can't be written.
        """
        self._check_fitted()
        self._model.save(os.fspath(path))

    def plot_components(self, components: Any = None, *, image_shape: tuple[int, int] | None = None, cmap: str = "gray_r", ax: Any = None) -> Any:
        """Draws components as images, or as lines where rows are none. Needs matplotlib.

        Parameters
        ----------
        components : sequence of int, optional
            Which to draw; the first 64 by itself.
        image_shape : tuple of int, optional
            Height and width of the images that rows are; guessed where the number of columns is a square.
        cmap : str
            matplotlib's colours.
        ax : matplotlib axes, optional
            Where to draw; a new figure by itself.

        Returns
        -------
        ax : matplotlib axes
            What was drawn on.
        """
        from ._plot import components as draw

        self._check_fitted()
        return draw(self, components, image_shape, cmap, ax)

    def plot_loss(self, ax: Any = None) -> Any:
        """Draws the loss after every pass. Needs matplotlib.

        Parameters
        ----------
        ax : matplotlib axes, optional
            Where to draw; a new figure by itself.

        Returns
        -------
        ax : matplotlib axes
            What was drawn on.
        """
        from ._plot import loss as draw

        self._check_fitted()
        return draw(self, ax)

    def __getstate__(self) -> dict[str, Any]:
        inherited = getattr(super(), "__getstate__", None)
        state = dict(inherited() if inherited is not None and HAS_SKLEARN else self.__dict__)
        state.pop("_trainer", None)
        return state

    if HAS_SKLEARN:

        def __sklearn_tags__(self) -> Any:
            tags = super().__sklearn_tags__()
            tags.input_tags.sparse = True
            tags.transformer_tags.preserves_dtype = ["float64", "float32"]
            return tags


def _check_names(estimator: Any, names: Any, reset: bool) -> None:
    """Names of columns as scikit-learn keeps and compares them."""
    who = type(estimator).__name__
    if reset:
        if names is not None:
            estimator.feature_names_in_ = names
        elif hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
        return
    fitted = getattr(estimator, "feature_names_in_", None)
    if fitted is None and names is None:
        return
    if fitted is None:
        warnings.warn(f"X has feature names, but {who} was fitted without feature names", UserWarning, stacklevel=4)
        return
    if names is None:
        warnings.warn(f"X does not have valid feature names, but {who} was fitted with feature names", UserWarning, stacklevel=4)
        return
    if len(fitted) == len(names) and bool(np.all(fitted == names)):
        return

    def listed(title: str, which: set[str]) -> str:
        some = sorted(which)[:5] + (["..."] if len(which) > 5 else [])
        return title + "".join(f"- {name}\n" for name in some) if which else ""

    unseen, gone = set(names) - set(fitted), set(fitted) - set(names)
    message = "The feature names should match those that were passed during fit.\n"
    message += listed("Feature names unseen at fit time:\n", unseen) + listed("Feature names seen at fit time, yet now missing:\n", gone)
    if not unseen and not gone:
        message += "Feature names must be in the same order as they were in fit.\n"
    raise ValueError(message)
