"""A fitted model to click through: components, and the rows that use them most."""

from __future__ import annotations

import base64
import html
import json
import os
from typing import Any

import numpy as np

from ._base import Estimator
from ._kmeans import KMeans
from ._rows import look

_WORDS = 300
"""Letters of a text that are shown."""


class Explorer:
    """A page on a model and rows, which ``explore`` makes. In a notebook it shows itself.

    Attributes
    ----------
    components : list of dict
        Of each component that is on the page, most used first: ``number``, ``used`` (share of rows), ``rows`` and ``codes`` (those that use it
        most), ``near`` (numbers and cosines of the most similar components).
    page : str
        The page, which opens offline.
    """

    components: list[dict[str, Any]]
    page: str

    def __init__(self, components: list[dict[str, Any]], page: str) -> None:
        self.components, self.page = components, page

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the page.

        Parameters
        ----------
        path : str or path-like
            Where to; ``.html`` by custom.
        """
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.page)

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{html.escape(self.page, quote=True)}" width="100%" height="640" style="border:0"></iframe>'

    def __repr__(self) -> str:
        return f"<mereo.Explorer of {len(self.components)} components; show it in a notebook, or save it as a page>"


def explore(
    model: Any,
    X: Any,
    *,
    texts: Any = None,
    image_shape: tuple[int, int] | None = None,
    top: int = 12,
    components: int = 200,
) -> Explorer:
    """Shows what each component stands for: itself, the rows that use it most, how it is used, and who resembles it.

    Parameters
    ----------
    model : fitted estimator of mereo
        What to look at.
    X : array-like of shape (n_samples, n_features)
        Rows with the columns of the fit.
    texts : sequence of str of length n_samples, optional
        What each row is, to be shown in its place.
    image_shape : tuple of int, optional
        Height and width of the images that rows are; the model's own by itself.
    top : int
        Rows shown of a component.
    components : int
        Components on the page, those that are used most.

    Returns
    -------
    explorer : Explorer
        For a notebook, or to be saved.

    Raises
    ------
    ValueError
        Rows of other columns than the model's, or texts of another number.
    NotFittedError
        A model that is not fitted.

    Examples
    --------
    >>> import mereo
    >>> digits, image = mereo.load_data("digits")
    >>> nmf = mereo.NMF(16, random_state=0).fit(digits)
    >>> page = mereo.explore(nmf, digits, image_shape=image)
    >>> len(page.components), len(page.components[0]["rows"])
    (16, 12)
    """
    if not isinstance(model, Estimator):
        raise TypeError(f"{type(model).__name__} is no estimator of mereo")
    model._check_fitted()
    rows = look(X, who="explore")
    if rows.shape[1] != model.n_features_in_:
        raise ValueError(f"X has {rows.shape[1]} features, but {type(model).__name__} is expecting {model.n_features_in_} features as input.")
    n, x, atoms = rows.shape[0], rows.dense(), model._model.atoms
    if texts is not None and len(texts) != n:
        raise ValueError(f"there are {len(texts)} texts of {n} rows; give one for each")
    image = image_shape or getattr(model, "image_shape", None) or rows.image
    if image is not None and image[0] * image[1] != rows.shape[1]:
        raise ValueError(f"image_shape = {tuple(image)} has {image[0] * image[1]} pixels, a row has {rows.shape[1]} columns")
    told = _used(model, rows, max(1, int(top)))
    order = sorted(range(len(told)), key=lambda a: (-told[a]["used"], a))[: max(1, int(components))]
    unit = atoms / np.maximum(np.linalg.norm(atoms, axis=1, keepdims=True), 1e-30)
    shown: list[dict[str, Any]] = []
    for a in order:
        cosines = unit @ unit[a]
        cosines[a] = -2.0
        near = [{"number": int(b), "cosine": round(float(cosines[b]), 3)} for b in np.argsort(-cosines)[:5] if cosines[b] > -2.0]
        shown.append({"number": a, **told[a], "near": near})
    wanted = sorted({i for entry in shown for i in entry["rows"]})
    data = {
        "title": f"{type(model).__name__}: {len(atoms)} components, {n} rows",
        "image": None if image is None else [int(image[0]), int(image[1])],
        "components": shown,
        "atoms": {str(a): _bytes(atoms[a]) for a in order},
        "rows": {str(i): _bytes(x[i]) for i in wanted} if texts is None else {},
        "texts": {} if texts is None else {str(i): str(texts[i])[:_WORDS] for i in wanted},
        "strongest": {str(a): _strongest(atoms[a], rows.names) for a in order},
    }
    # A text may hold what would end the script.
    told_json = json.dumps(data).replace("</", "<\\/")
    return Explorer(shown, _PAGE.replace("__TITLE__", html.escape(data["title"])).replace("__DATA__", told_json))


def _used(model: Estimator, rows: Any, top: int) -> list[dict[str, Any]]:
    """Of each component: the share of rows that use it, those that do so most, and their codes."""
    n = rows.shape[0]
    out: list[dict[str, Any]] = []
    if isinstance(model, KMeans):
        distances, labels = model.transform(rows), model.predict(rows)
        for a in range(distances.shape[1]):
            own = np.flatnonzero(labels == a)
            best = own[np.argsort(distances[own, a], kind="stable")[:top]]
            out.append({"used": len(own) / n, "rows": best.tolist(), "codes": [round(float(v), 4) for v in distances[best, a]], "bars": _bars(distances[own, a])})
        return out
    codes = model.transform(rows)
    if hasattr(codes, "tocsc"):
        columns = codes.tocsc()
        spans = [(columns.indices[s:e], columns.data[s:e]) for s, e in zip(columns.indptr[:-1], columns.indptr[1:])]
    else:
        spans = [(np.flatnonzero(column), column[column != 0]) for column in np.asarray(codes).T]
    for index, values in spans:
        # Where signs differ, rows of both ends.
        first = np.lexsort((index, -values))
        if len(values) and values.min() < 0 < values.max():
            half = min(top // 2, len(first) // 2)
            first = np.concatenate([first[: min(top, len(first)) - half], first[len(first) - half :]])
        best = first[:top]
        out.append(
            {
                "used": len(index) / n,
                "rows": index[best].tolist(),
                "codes": [round(float(v), 4) for v in values[best]],
                "bars": _bars(values),
            }
        )
    return out


def _bars(values: np.ndarray) -> dict[str, Any]:
    if not len(values):
        return {"low": 0.0, "high": 0.0, "counts": []}
    counts, edges = np.histogram(values.astype(np.float64), bins=24)
    return {"low": float(edges[0]), "high": float(edges[-1]), "counts": counts.tolist()}


def _bytes(row: np.ndarray) -> dict[str, Any]:
    """A row in steps of a 127th of its largest number, signs kept."""
    largest = float(np.abs(row).max(initial=0.0))
    steps = np.round(row / (largest or 1.0) * 127).astype(np.int8)
    return {"largest": largest, "steps": base64.b64encode(steps.tobytes()).decode()}


def _strongest(atom: np.ndarray, names: Any) -> str:
    best = np.argsort(-np.abs(atom), kind="stable")[:8]
    return ", ".join(f"{'-' if atom[j] < 0 else ''}{j if names is None else names[j]}" for j in best if atom[j] != 0)


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>__TITLE__</title>
<style>
:root { color-scheme: light dark; --line: #8884; --ink: #222; --paper: #fff; --mark: #1b6; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --paper: #161616; } }
* { box-sizing: border-box; }
body { margin: 0; font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); display: grid; grid-template-columns: 15rem 1fr; height: 100vh; }
nav { border-right: 1px solid var(--line); overflow-y: auto; padding: .6rem; }
nav input { width: 100%; padding: .35rem; margin-bottom: .5rem; font: inherit; }
nav button { display: flex; justify-content: space-between; align-items: center; gap: .5rem; width: 100%; border: 0; background: none; color: inherit; font: inherit; text-align: left; padding: .25rem .4rem; border-radius: 4px; cursor: pointer; }
nav button:hover { background: var(--line); } nav button[aria-current=true] { background: var(--line); font-weight: 600; }
main { overflow-y: auto; padding: 1rem 1.4rem; }
h1 { font-size: 1.05rem; margin: 0 0 .2rem; } h2 { font-size: 1rem; margin: 1.2rem 0 .4rem; } p { margin: .2rem 0; }
.rows { display: flex; flex-wrap: wrap; gap: .8rem; } figure { margin: 0; } figcaption { font-size: 12px; opacity: .75; }
canvas { image-rendering: pixelated; border: 1px solid var(--line); display: block; }
blockquote { margin: 0; padding: .35rem .6rem; border-left: 3px solid var(--mark); max-width: 46rem; } .rows.text { flex-direction: column; }
.near button { font: inherit; color: inherit; background: none; border: 1px solid var(--line); border-radius: 4px; padding: .1rem .4rem; cursor: pointer; margin: 0 .3rem .3rem 0; }
@media (max-width: 40rem) { body { grid-template-columns: 1fr; grid-template-rows: 11rem 1fr; } nav { border-right: 0; border-bottom: 1px solid var(--line); } }
</style></head><body>
<nav><h1>__TITLE__</h1><input type="search" placeholder="number" aria-label="find a component by its number"><div id="list"></div></nav><main id="main"></main>
<script type="application/json" id="data">__DATA__</script>
<script>
const data = JSON.parse(document.getElementById("data").textContent);
const by = new Map(data.components.map(c => [c.number, c]));
const make = (tag, text, parent) => { const e = document.createElement(tag); if (text !== undefined) e.textContent = text; if (parent) parent.append(e); return e; };
const percent = v => (v * 100 < 0.1 && v > 0 ? (v * 100).toPrecision(1) : (v * 100).toFixed(1)) + " %";
const steps = row => Int8Array.from(atob(row.steps), c => c.charCodeAt(0));
// Of rows without negative numbers, as of photographs, the largest are white; of components they are black, and negative ones red.
function draw(row, size, parent, photo) {
  const v = steps(row), signed = v.some(x => x < 0), canvas = make("canvas", undefined, parent), pen = canvas.getContext("2d");
  if (data.image) {
    const [h, w] = data.image, pixels = pen.createImageData(w, h);
    canvas.width = w; canvas.height = h; canvas.style.height = size + "px";
    for (let i = 0; i < v.length; i++) {
      const s = Math.abs(v[i]) / 127 * 255;
      const grey = photo && !signed ? s : 255 - s;
      pixels.data.set(v[i] < 0 ? [255, grey, grey, 255] : [grey, grey, grey, 255], 4 * i);
    }
    pen.putImageData(pixels, 0, 0);
  } else {
    canvas.width = 220; canvas.height = size / 2;
    const mid = signed ? canvas.height / 2 : canvas.height;
    pen.fillStyle = "#1b6";
    v.forEach((x, i) => { const t = x / 127 * mid; pen.fillRect(i / v.length * 220, t > 0 ? mid - t : mid, Math.max(1, 220 / v.length), Math.abs(t)); });
  }
}
function show(number) {
  const c = by.get(number), main = document.getElementById("main");
  main.replaceChildren();
  for (const b of document.querySelectorAll("nav button")) b.setAttribute("aria-current", b.dataset.number == number);
  make("h1", "component " + number, main);
  make("p", "used by " + percent(c.used) + " of the rows; strongest columns: " + (data.strongest[number] || "none"), main);
  draw(data.atoms[number], 160, main);
  make("h2", "Rows that use it most", main);
  const rows = make("div", undefined, main); rows.className = "rows" + (Object.keys(data.texts).length ? " text" : "");
  if (!c.rows.length) make("p", "No row uses it.", rows);
  c.rows.forEach((i, at) => {
    const f = make("figure", undefined, rows);
    if (data.texts[i] !== undefined) make("blockquote", data.texts[i], f); else draw(data.rows[i], 96, f, true);
    make("figcaption", "row " + i + ": " + c.codes[at], f);
  });
  if (c.bars.counts.length) {
    make("h2", "Its codes, where they are not 0", main);
    const canvas = make("canvas", undefined, main), pen = canvas.getContext("2d"), most = Math.max(...c.bars.counts);
    canvas.width = 360; canvas.height = 90; pen.fillStyle = "#1b6";
    c.bars.counts.forEach((n, i) => pen.fillRect(i * 15, 90 - n / most * 88, 14, n / most * 88));
    make("p", c.bars.low.toPrecision(3) + " to " + c.bars.high.toPrecision(3), main);
  }
  make("h2", "Most similar components", main);
  const near = make("div", undefined, main); near.className = "near";
  c.near.forEach(o => { const b = make("button", o.number + " (" + o.cosine.toFixed(3) + ")", near); if (by.has(o.number)) b.onclick = () => show(o.number); else b.disabled = true; });
  main.scrollTop = 0;
}
function list(filter) {
  const box = document.getElementById("list"); box.replaceChildren();
  for (const c of data.components) {
    if (filter && !String(c.number).includes(filter)) continue;
    const b = make("button", undefined, box); b.dataset.number = c.number;
    make("span", "component " + c.number, b); make("span", percent(c.used), b);
    b.onclick = () => show(c.number);
  }
}
document.querySelector("nav input").oninput = e => list(e.target.value.trim());
list(); show(data.components[0].number);
</script></body></html>
"""
