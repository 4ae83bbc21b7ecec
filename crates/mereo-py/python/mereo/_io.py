"""Models from files, and rows that come with mereo."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
from typing import Any

import numpy as np

from . import _core
from ._autoencoder import Autoencoder, SparseAutoencoder
from ._base import Estimator
from ._kmeans import KMeans
from ._nmf import _SOONER, NMF
from ._pca import PCA
from ._rows import Rows

_CLASSES: dict[str, type[Estimator]] = {"pca": PCA, "vq": KMeans, "nmf": NMF, "ae": Autoencoder, "sae": SparseAutoencoder}
_RENAMED = {
    "pca": {"k": "n_components", "power": "iterated_power", "oversample": "n_oversamples"},
    "vq": {"k": "n_clusters", "max_passes": "max_iter"},
    "nmf": {
        "k": "n_components",
        "alpha_w": "alpha_W",
        "alpha_h": "alpha_H",
        "max_passes": "max_iter",
        "restarts": "n_init",
        "sparse_atoms": "sparse_components",
    },
    "ae": {"k": "n_components", "lr": "learning_rate", "batch": "batch_size", "max_passes": "max_iter", "validation": "validation_fraction"},
    "sae": {"latents": "n_components", "lr": "learning_rate", "batch": "batch_size", "max_passes": "max_iter", "validation": "validation_fraction"},
}
_SAID_OTHERWISE = {("pca", "solver"), ("nmf", "loss"), ("nmf", "init"), ("vq", "init"), ("nmf", "image")}


def load(path: str | os.PathLike[str]) -> Any:
    """Reads a model that ``save`` or the command line wrote.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    estimator : PCA, KMeans, NMF, Autoencoder or SparseAutoencoder
        Fitted. What prepared the rows of its fit prepares those that it is given.

    Raises
    ------
    OSError
        A path that can't be read.
    ValueError
        A file of another kind, or one that is damaged.

    Examples
    --------
    >>> import mereo, pathlib, tempfile
    >>> digits, _ = mereo.load_data("digits")
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "digits.mereo"
    >>> mereo.PCA(4).fit(digits).save(path)
    >>> mereo.load(path).transform(digits).shape
    (1797, 4)
    """
    return estimator_of(_core.load(os.fspath(path)))


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Writes the model file that ``load`` and the command line read, whole or not at all.

    Parameters
    ----------
    estimator : fitted estimator of mereo
        What to write.
    path : str or path-like
        Where to; ``.mereo`` by custom.

    Raises
    ------
    OSError
        A path that can't be written.
    """
    if not isinstance(estimator, Estimator):
        raise TypeError(f"{type(estimator).__name__} is no estimator of mereo; save it with its own library")
    estimator.save(path)


def estimator_of(model: Any) -> Any:
    """A fitted estimator around a model of the core."""
    told = json.loads(model.about)["about"]
    method = model.method
    cls = _CLASSES[method]
    known = inspect.signature(cls).parameters
    params: dict[str, Any] = {}
    for name, value in (told["params"] or {}).items():
        own = _RENAMED[method].get(name, name)
        if own in known and (method, name) not in _SAID_OTHERWISE and value is not None:
            params[own] = value
    if "seed" in (told["params"] or {}):
        params["random_state"] = told["params"]["seed"]
    if told["image"] and "image_shape" in known:
        params["image_shape"] = tuple(told["image"])
    if method == "nmf":
        if "tol" in params:
            params["tol"] = params["tol"] * _SOONER
        words = {"squared": "frobenius"}
        loss = json.loads(model.parts()[1])["loss"]
        params["beta_loss"] = words.get(loss, loss) if not _is_number(loss) else float(loss)
    init = (told["params"] or {}).get("init")
    if method in ("nmf", "vq") and init is not None and init != "given":
        params["init"] = init
    if method == "sae":
        params["sparse_output"] = importlib.util.find_spec("scipy") is not None
    estimator = cls(**params)
    shape = (max(1, told["shape"]["rows"]), model.atoms.shape[1])
    facts = {
        "curve": [{"loss": loss, "pass": i + 1, "restart": 0, "seconds": 0.0} for i, loss in enumerate(told["curve"])],
        "cols": shape[1],
        "rows": told["shape"]["rows"],
        "stop": told["stop"],
        "seconds": 0.0,
        "kept": len(told["curve"]),
        "params": told["params"],
        "remedy": None,
    }
    estimator._set(model, facts)
    estimator._dtype = np.float32
    if told["columns"]:
        estimator.feature_names_in_ = np.asarray(told["columns"], dtype=object)
    estimator._loaded(shape, facts)
    return estimator


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def load_data(name: str) -> tuple[np.ndarray, tuple[int, int] | None]:
    """Rows that come with mereo.

    Parameters
    ----------
    name : {'faces', 'digits', 'glosses', 'swimmer', 'parts', 'clusters', 'spiked'}
        400 faces of 64x64 pixels (ORL, AT&T Laboratories Cambridge), 1,797 digits of 8x8 (UCI), 3,000 words with definitions as
        384 numbers each (WordNet 3.1, Princeton University; by all-MiniLM-L6-v2), or generated ones with planted truth.

    Returns
    -------
    rows : ndarray of float32 of shape (n_samples, n_features)
        A row for each.
    image_shape : tuple of int or None
        Height and width, where rows are images.

    Examples
    --------
    >>> import mereo
    >>> faces, image = mereo.load_data("faces")
    >>> faces.shape, image
    ((400, 4096), (64, 64))
    """
    return _core.embedded(name)


def sae_formats() -> list[str]:
    """Names of the formats of other libraries that ``SparseAutoencoder.export`` and ``from_file`` know.

    Returns
    -------
    names : list of str
        In the order of the documentation.
    """
    return list(_core.sae_formats())
