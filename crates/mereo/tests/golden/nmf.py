"""Writes nmf.json: NMF of scikit-learn and SciPy, in float64 on numbers that float32 holds exactly.

Multiplicative updates of 2001, NNDSVD starts and coordinate descent are scikit-learn's; weights of given atoms are those of
scipy.optimize.nnls (squared error). Written down here from their formulas, because no library has them: the rules of
Lee & Seung 1999 (which scale atoms to sum to one instead of dividing by sums, atoms first), and weights under the divergence.

Models are compared as mereo gives them: atoms of unit norm (squared error) or unit sum (divergence), by falling ‖w‖·‖h‖ or Σw·Σh.

Run: python nmf.py (numpy, scipy, scikit-learn)
"""

import json
import pathlib
import warnings

import numpy as np
import scipy
import sklearn
from scipy.optimize import nnls
from sklearn.datasets import load_digits
from sklearn.decomposition import NMF, non_negative_factorization
from sklearn.decomposition._nmf import _initialize_nmf

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)


def exact(a, step=1 / 64):
    return np.round(a / step) * step


def matrix(a):
    return {"rows": len(a), "cols": a.shape[1], "data": a.ravel().tolist()}


def squared(x, w, h):
    return ((x - w @ h) ** 2).mean()


def ratio(x, w, h):
    """x / wh, and 0 where x is 0, for then nothing depends on wh."""
    return x / np.where(x > 0, w @ h, 1)


def divergence(x, w, h):
    return (x * np.log(np.where(x > 0, ratio(x, w, h), 1)) - x + w @ h).mean()


def model(w, h, unit, tied=False):
    """Atoms as mereo gives them; `unit` measures an atom (rows of h) and its weights (columns of w)."""
    size = np.array([unit(a) for a in h])
    share = size * np.array([unit(a) for a in w.T])
    assert tied or np.diff(np.sort(share)).min() > 1e-4 * share.max(), "no order to rely on"
    return (h / np.where(size > 0, size, 1)[:, None])[np.argsort(-share, kind="stable")].ravel().tolist()


def planted(n, d, k, density, noise, scale=1.0):
    w = rng.exponential(size=(n, k)) * (rng.random((n, k)) < density)
    h = rng.exponential(size=(k, d)) * (rng.random((k, d)) < density)
    return w @ h * scale, noise * rng.random((n, d))


def factorize(x, w, h, passes, loss):
    """Multiplicative updates: weights first, then atoms."""
    if passes == 0:
        return w, h
    w, h, count = non_negative_factorization(
        x, w.copy(), h.copy(), n_components=len(h), init="custom", solver="mu", beta_loss=loss, max_iter=passes, tol=0
    )
    assert count == passes
    return w, h


# A mean near 1: scikit-learn's starts put the mean of X among numbers of the size of √X, mereo first scales X by a power of 4.
signal, noise = planted(40, 12, 5, 0.6, 0.3)
x = exact(np.where(rng.random(signal.shape) < 0.1, 0, signal / signal.mean() + noise))
x[7] = 0
assert 0.5 < x.mean() < 2
n, k = len(x), 5
start = exact(0.1 + rng.random((k, x.shape[1])) * np.arange(k, 0, -1)[:, None])
weights = np.full((n, k), np.sqrt(x.mean() / k))
norm, total = np.linalg.norm, np.sum
out = {"made with": {"numpy": np.__version__, "scipy": scipy.__version__, "scikit-learn": sklearn.__version__}}
out |= {"x": matrix(x), "start": matrix(start), "mu": {}, "mu-kl": {}, "lee-seung": {}}

for passes in (1, 10):
    w, h = factorize(x, weights, start, passes, "frobenius")
    out["mu"][str(passes)] = {"loss": squared(x, w, h), "atoms": model(w, h, norm)}
    # The loss that mereo reports is that of the weights and the atoms they were found for.
    before = factorize(x, weights, start, passes - 1, "kullback-leibler")[1]
    w, h = factorize(x, weights, start, passes, "kullback-leibler")
    out["mu-kl"][str(passes)] = {"loss": divergence(x, w, before), "atoms": model(w, h, total)}

    # Lee & Seung 1999, where V = Xᵀ, W = Hᵀ and H = Wᵀ here.
    w, h = weights.copy(), start / start.sum(1, keepdims=True)
    for i in range(passes):
        if i > 0:
            w *= ratio(x, w, h) @ h.T
        before = h
        h = h * (w.T @ ratio(x, w, h))
        h /= h.sum(1, keepdims=True)
    wh = w @ before
    likelihood = (x * np.log(np.where(x > 0, wh, 1)) - wh).sum()
    # The first pass leaves the weights alone: all atoms are then of one size, and in any order.
    atoms = model(w, h, total, tied=passes == 1)
    out["lee-seung"][str(passes)] = {"loss": divergence(x, w, before), "likelihood": likelihood, "atoms": atoms}

out["starts"] = {}
for init in ("nndsvd", "nndsvda"):
    w, h = _initialize_nmf(x, k, init=init, random_state=0)
    first = model(np.ones_like(w), h, norm)
    w, h = factorize(x, w, h, 1, "frobenius")
    out["starts"][init] = {"atoms": first, "one update": {"loss": squared(x, w, h), "atoms": model(w, h, norm)}}

# Coordinate descent of scikit-learn: a few iterations from given factors, and from NNDSVDa to its own tolerance of 1e-4.
out["cd"] = {}
for passes in (1, 10):
    m = NMF(k, init="nndsvda", solver="cd", tol=0, max_iter=passes, random_state=0)
    w = m.fit_transform(x)
    h = m.components_
    out["cd"][str(passes)] = {"loss": squared(x, w, h), "atoms": model(w, h, norm)}

signal, noise = planted(80, 30, 6, 0.4, 0.5)
topics, _ = planted(120, 60, 5, 0.35, 0, 4)
digits = load_digits().data[:300] / 4
out["objective"] = {}
for name, data, k in [
    ("planted", exact(signal + noise), 6),
    ("digits", digits, 10),
    ("counts", rng.poisson(topics * (rng.random((120, 60)) < 0.3)).astype(float), 5),
]:
    assert 0.5 < data.mean() < 2
    m = NMF(k, init="nndsvda", solver="cd", tol=1e-4, max_iter=10_000, random_state=0).fit(data)
    assert m.n_iter_ < 10_000
    out["objective"][name] = {"k": k, "loss": m.reconstruction_err_**2 / data.size, "passes": m.n_iter_}
    if name != "digits":
        out["objective"][name]["x"] = matrix(data)
    starts = [NMF(k, init="random", solver="cd", tol=1e-4, max_iter=10_000, random_state=s).fit(data) for s in range(6)]
    out["objective"][name]["from random starts"] = [m.reconstruction_err_**2 / data.size for m in starts]

# Weights of unseen rows on given atoms, which fall in size so that a model keeps their order.
k, d = 8, 20
atoms = exact(rng.exponential(size=(k, d)) * (rng.random((k, d)) < 0.7) + 1 / 64)
given = atoms * 4.0 ** np.arange(k, 0, -1)[:, None]
assert np.diff(norm(given, axis=1)).max() < 0 and np.diff(given.sum(1)).max() < 0
rows = exact(rng.exponential(size=(25, d)) * rng.exponential(size=(25, 1)))
rows[3] = 0
rows[4, 1:] = 0
rows[5] = exact(rng.exponential(size=k) * (rng.random(k) < 0.5)) @ atoms
unit = atoms / norm(atoms, axis=1, keepdims=True)
out["encode"] = {"atoms": matrix(given), "rows": matrix(rows), "squared": [nnls(unit.T, r, maxiter=1000)[0].tolist() for r in rows]}
# The divergence is convex in the weights: multiplicative updates of them alone end at the optimum.
unit = atoms / atoms.sum(1, keepdims=True)
w = np.ones((len(rows), k))
for _ in range(200_000):
    w *= ratio(rows, w, unit) @ unit.T
slope = 1 - ratio(rows, w, unit) @ unit.T
assert np.abs(w * slope).max() < 1e-6 and slope[rows.sum(1) > 0].min() > -1e-6
w[w < 1e-9] = 0
out["encode"]["divergence"] = w.tolist()

pathlib.Path(__file__).with_name("nmf.json").write_text(json.dumps(out))
