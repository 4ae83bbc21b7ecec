"""Pictures, by matplotlib."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'mereo[plot]'") from None
    return plt


def _image(estimator: Any, given: tuple[int, int] | None, cols: int) -> tuple[int, int] | None:
    image = given or getattr(estimator, "image_shape", None)
    if image is None:
        side = math.isqrt(cols)
        image = (side, side) if side * side == cols and side > 1 else None
    if image is not None and image[0] * image[1] != cols:
        raise ValueError(f"image_shape = {tuple(image)} has {image[0] * image[1]} pixels, a component has {cols} columns")
    return None if image is None else (int(image[0]), int(image[1]))


def montage(atoms: np.ndarray, image: tuple[int, int]) -> np.ndarray:
    """Components as one picture, each by its own largest value, with lines between them."""
    h, w = image
    across = math.ceil(math.sqrt(len(atoms)))
    down = math.ceil(len(atoms) / across)
    out = np.full((down * (h + 1) - 1, across * (w + 1) - 1), np.nan)
    for i, atom in enumerate(atoms):
        top, left = (i // across) * (h + 1), (i % across) * (w + 1)
        largest = np.abs(atom).max()
        out[top : top + h, left : left + w] = atom.reshape(h, w) / (largest if largest > 0 else 1.0)
    return out


def _drawn(ax: Any, atoms: np.ndarray, image: tuple[int, int], cmap: str) -> None:
    signed = bool((atoms < 0).any())
    colours = _pyplot().get_cmap("RdGy" if signed and cmap == "gray_r" else cmap).copy()
    colours.set_bad("0.6")  # the lines between them
    ax.imshow(montage(atoms, image), cmap=colours, vmin=-1 if signed else 0, vmax=1)
    ax.set_axis_off()


def components(estimator: Any, which: Any, image_shape: tuple[int, int] | None, cmap: str, ax: Any) -> Any:
    """See ``Estimator.plot_components``."""
    plt = _pyplot()
    atoms = estimator._model.atoms
    atoms = atoms[:64] if which is None else atoms[np.atleast_1d(np.asarray(which))]
    image = _image(estimator, image_shape, atoms.shape[1])
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 6) if image else (7, 4), layout="constrained")
    if image is None:
        ax.plot(atoms.T, linewidth=1)
        ax.set_xlabel("column")
        ax.set_ylabel("weight")
    else:
        _drawn(ax, atoms, image, cmap)
    ax.set_title(f"{type(estimator).__name__}: {len(atoms)} of {len(estimator._model.atoms)} components")
    return ax


def loss(estimator: Any, ax: Any) -> Any:
    """See ``Estimator.plot_loss``."""
    plt = _pyplot()
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    curve = estimator.loss_curve_
    ax.plot(np.arange(1, len(curve) + 1), curve, label="rows of the fit")
    held = getattr(estimator, "held_out_curve_", ())
    if len(held):
        ax.plot(np.arange(1, len(held) + 1), held, label="rows held out")
        ax.legend()
    if len(curve) and min(curve) > 0:
        ax.set_yscale("log")
    ax.set_xlabel("pass")
    ax.set_ylabel("loss")
    return ax


def comparison(compared: Any, count: int, image_shape: tuple[int, int] | None) -> Any:
    """See ``Comparison.plot``."""
    plt = _pyplot()
    entries, data = compared.details["entries"], compared.details["data"]
    cols = data["cols"]
    image = _image(None, image_shape or (tuple(data["image"]) if data["image"] else None), cols)
    figure, axes = plt.subplots(1, len(entries) + 1, figsize=(3.2 * (len(entries) + 1), 3.4), layout="constrained", squeeze=False)
    for ax, entry in zip(axes[0], entries):
        atoms = np.asarray(entry["atoms"], np.float32)[:count]
        if image is None:
            ax.plot(atoms.T, linewidth=1)
            ax.set_xlabel("column")
        else:
            _drawn(ax, atoms, image, "gray_r")
        ax.set_title(entry["label"])
    ax = axes[0][-1]
    labels = [entry["label"] for entry in entries]
    held = all(entry["test"] for entry in entries)
    errors = [(entry["test"] or entry["train"])["fvu"] for entry in entries]
    ax.barh(labels[::-1], errors[::-1], color="0.5")
    ax.set_xlabel("FVU of rows held out" if held else "FVU")
    return figure
