"""What mereo needs of scikit-learn, for machines without it: parameters, output names and the error of an unfitted estimator."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

import numpy as np


class NotFittedError(ValueError, AttributeError):
    """An estimator is used before it is fitted."""


class ConvergenceWarning(UserWarning):
    """A fit reached its limit of iterations first."""


_B = TypeVar("_B", bound="BaseEstimator")


class BaseEstimator:
    """Parameters that are the arguments of the constructor."""

    @classmethod
    def _names(cls) -> list[str]:
        return sorted(name for name in inspect.signature(cls).parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self: _B, **params: Any) -> _B:
        """Sets parameters by name, and returns the estimator."""
        for name, value in params.items():
            if name not in self._names():
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {self!r}. Valid parameters are: {self._names()!r}."
                )
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        """Tags, with scikit-learn."""
        raise ImportError("tags are scikit-learn's: pip install scikit-learn")

    def __repr__(self) -> str:
        own = inspect.signature(type(self)).parameters
        given = {name: getattr(self, name) for name in own}
        changed = [f"{n}={v!r}" for n, v in given.items() if not (v is own[n].default or repr(v) == repr(own[n].default))]
        return f"{type(self).__name__}({', '.join(changed)})"


class TransformerMixin:
    """Fits and transforms in one go."""

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fits to rows, then gives their codes."""
        return self.fit(X, y, **fit_params).transform(X)  # type: ignore[attr-defined]

    def set_output(self, *, transform: str | None = None) -> Any:
        """Says in what `transform` gives codes, with scikit-learn: "default", "pandas" or "polars"."""
        if transform not in (None, "default"):
            raise ImportError(f"frames of {transform} from transform need scikit-learn: pip install scikit-learn")
        return self


class ClusterMixin:
    """Labels in one go."""

    def fit_predict(self, X: Any, y: Any = None, **kwargs: Any) -> Any:
        """Fits to rows, then gives the number of the cluster of each."""
        self.fit(X, **kwargs)  # type: ignore[attr-defined]
        return self.labels_  # type: ignore[attr-defined]


class ClassNamePrefixFeaturesOutMixin:
    """Output columns named by the class and a number."""

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns of what `transform` gives: nmf0, nmf1, ..."""
        prefix = type(self).__name__.lower()
        return np.asarray([f"{prefix}{i}" for i in range(self._n_features_out)], dtype=object)  # type: ignore[attr-defined]
