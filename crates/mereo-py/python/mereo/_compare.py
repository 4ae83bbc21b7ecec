"""Fitted estimators side by side."""

from __future__ import annotations

import html
import json
import os
from typing import Any

import numpy as np

from . import _core
from ._base import Estimator, threads_of
from ._rows import look

_COLUMNS = ("atoms", "numbers a row", "RMSE", "held out", "FVU", "sparse atoms", "sparse codes", "overlap", "dead", "passes", "seconds")


class Comparison:
    """Models measured on the same rows; ``compare`` makes it.

    In a notebook it shows as a table.

    Attributes
    ----------
    table : dict of list
        Columns of the table: ``model`` and measures.
    details : dict
        All numbers: curves, atoms, histograms of codes.
    page : str
        The report as one HTML page.
    """

    details: dict[str, Any]
    page: str

    def __init__(self, details: dict[str, Any], page: str) -> None:
        self.details, self.page = details, page
        self.table: dict[str, list[Any]] = {"model": []} | {name: [] for name in _COLUMNS}
        for entry in details["entries"]:
            held = entry["test"]
            values = (
                len(entry["atoms"]),
                entry["row_numbers"],
                entry["train"]["rmse"],
                None if held is None else held["rmse"],
                (held or entry["train"])["fvu"],
                entry["atom_measures"]["sparseness"]["mean"],
                entry["code_measures"]["row_sparseness"],
                entry["atom_measures"]["overlap"]["mean"],
                len(entry["atom_measures"]["dead"]),
                len(entry["curve"]),
                entry["seconds"],
            )
            self.table["model"].append(entry["label"])
            for name, value in zip(_COLUMNS, values):
                self.table[name].append(value)
        if not details["data"]["test"]:
            del self.table["held out"]

    def _rows(self) -> list[list[str]]:
        def said(value: Any) -> str:
            return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

        return [[said(column[i]) for column in self.table.values()] for i in range(len(self.table["model"]))]

    def __repr__(self) -> str:
        lines = [list(self.table), *self._rows()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.table))]
        return "\n".join(
            "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths))).rstrip() for line in lines
        )

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.table)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self._rows())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def to_pandas(self) -> Any:
        """The table as a pandas frame.

        Returns
        -------
        frame : pandas.DataFrame
            A row for each model, by its name.
        """
        import pandas

        return pandas.DataFrame(self.table).set_index("model")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the report: one page that opens offline.

        Parameters
        ----------
        path : str or path-like
            Where to; ``.html`` by custom.
        """
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.page)

    def show(self, height: int = 800) -> Any:
        """The report, inside a notebook.

        Parameters
        ----------
        height : int
            Of the frame, in pixels.

        Returns
        -------
        frame : IPython.display.HTML
            What a notebook draws.
        """
        from IPython.display import HTML

        framed = html.escape(self.page, quote=True)
        return HTML(f'<iframe srcdoc="{framed}" width="100%" height="{int(height)}" style="border:0"></iframe>')

    def plot(self, *, atoms: int = 16, image_shape: tuple[int, int] | None = None) -> Any:
        """Components of each model in a row of pictures, with errors beside them. Needs matplotlib.

        Parameters
        ----------
        atoms : int
            Components of each model at most.
        image_shape : tuple of int, optional
            Height and width of the images that rows are.

        Returns
        -------
        figure : matplotlib.figure.Figure
            What was drawn.
        """
        from ._plot import comparison as draw

        return draw(self, atoms, image_shape)


def compare(
    models: Any,
    X: Any,
    X_test: Any = None,
    *,
    image_shape: tuple[int, int] | None = None,
    n_jobs: int | None = None,
) -> Comparison:
    """Measures fitted estimators on the same rows.

    Parameters
    ----------
    models : sequence of estimators, or dict of names and estimators
        Fitted; all on rows of these columns.
    X : array-like of shape (n_samples, n_features)
        Rows that were learned from.
    X_test : array-like of shape (n_samples, n_features), optional
        Rows held out.
    image_shape : tuple of int, optional
        Height and width of the images that rows are.
    n_jobs : int or None
        Threads; every core by itself.

    Returns
    -------
    comparison : Comparison
        A table, a figure and a page.

    Raises
    ------
    ValueError
        No models, or rows of other columns than a model's.
    NotFittedError
        A model that is not fitted.

    Examples
    --------
    >>> import mereo
    >>> digits, image = mereo.load_data("digits")
    >>> models = [mereo.PCA(8).fit(digits), mereo.NMF(8, random_state=0).fit(digits)]
    >>> mereo.compare(models, digits, image_shape=image).table["model"]
    ['PCA', 'NMF']
    """
    named = list(models.items()) if isinstance(models, dict) else [(None, model) for model in models]
    labels: list[str] = []
    known: list[dict[str, Any]] = []
    for label, model in named:
        if not isinstance(model, Estimator):
            raise TypeError(f"{type(model).__name__} is no estimator of mereo")
        model._check_fitted()
        label = label or type(model).__name__
        # Two of a kind are told apart by their number.
        same = sum(1 for other in labels if other == label or other.startswith(f"{label} #"))
        labels.append(label if not same else f"{label} #{same + 1}")
        facts = model._facts
        params = facts["params"] or {}
        known.append({"label": labels[-1], "params": params, "seconds": facts["seconds"], "curve": facts["curve"], "stop": facts["stop"]})
    train = look(X, who="compare")
    test = None if X_test is None else look(X_test, who="compare")
    for (_, model), label in zip(named, labels):
        for rows in (train, test):
            if rows is not None and rows.shape[1] != model.n_features_in_:
                raise ValueError(f"X has {rows.shape[1]} features, but {label} is expecting {model.n_features_in_} features as input.")
    if image_shape is None:
        shapes = [getattr(model, "image_shape", None) for _, model in named]
        image_shape = next((tuple(int(v) for v in shape) for shape in shapes if shape), train.image)  # type: ignore[assignment]
    details, page = _core.side_by_side(
        [model._model for _, model in named],
        json.dumps(known),
        train.table,
        None if test is None else test.table,
        image=image_shape,
        name=train.label,
        columns=None if train.names is None else [str(name) for name in np.asarray(train.names)],
        threads=threads_of(n_jobs),
    )
    return Comparison(json.loads(details), page)
