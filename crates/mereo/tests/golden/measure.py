"""Makes measure.json: the measures of small random atoms and codes, written down here a second time from their formulas
with NumPy and SciPy. Run: python measure.py > measure.json (made with NumPy 2.4, SciPy 1.17)."""

import json
from itertools import combinations

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

rng = np.random.default_rng(20240607)
HEIGHT, WIDTH = 5, 7


def exact(a, step=1 / 64):
    """Multiples of a power of two, so that f32 and decimal JSON hold them, and their products below, exactly."""
    return np.round(a / step) * step


def hoyer(v):
    n = v.size
    return (np.sqrt(n) - np.abs(v).sum() / np.sqrt((v**2).sum())) / (np.sqrt(n) - 1)


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def spread(v):
    w = np.abs(v).reshape(HEIGHT, WIDTH) / np.abs(v).sum()
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    about = (w * ((y - (w * y).sum()) ** 2 + (x - (w * x).sum()) ** 2)).sum()
    return about / (y.var() + x.var())


def largest(v):
    a = np.abs(v).reshape(HEIGHT, WIDTH)
    label, count = ndimage.label(a > 0.2 * a.max())
    return ndimage.sum(a, label, range(1, count + 1)).max() / a.sum()


def small(v):
    return (np.abs(v) < 0.01 * np.abs(v).max()).mean()


def atoms(a):
    pairs = [abs(cosine(a[i], a[j])) for i, j in combinations(range(len(a)), 2)]
    return {
        "atoms": a.tolist(),
        "sparseness": [hoyer(v) for v in a],
        "small": [small(v) for v in a],
        "overlap": float(np.mean(pairs)),
        "spread": [spread(v) for v in a],
        "largest": [largest(v) for v in a],
    }


signed = exact(rng.normal(size=(6, HEIGHT * WIDTH)))
parts = exact(rng.exponential(size=(6, HEIGHT * WIDTH)) * (rng.random((6, HEIGHT * WIDTH)) < 0.4), 1 / 16)
codes = exact(rng.exponential(size=(40, 6)) ** 3 * (rng.random((40, 6)) < 0.6), 1 / 8)
noise = exact(rng.normal(size=(40, HEIGHT * WIDTH)) * 0.3)
x = codes @ parts + noise
others = exact(rng.normal(size=(9, HEIGHT * WIDTH)))
table = np.array([[abs(cosine(a, b)) for b in others] for a in signed])
row, column = linear_sum_assignment(-table)

print(
    json.dumps(
        {
            "image": [HEIGHT, WIDTH],
            "signed": atoms(signed),
            "parts": atoms(parts),
            "codes": {
                "codes": codes.tolist(),
                "atom_sparseness": [hoyer(v) for v in codes.T],
                "row_sparseness": float(np.mean([hoyer(v) for v in codes if v.any()])),
                "small": [small(v) for v in codes.T],
                "l0": float((codes > 0).sum(1).mean()),
                "usage": (codes > 0).mean(0).tolist(),
            },
            "errors": {
                "noise": noise.tolist(),
                "rmse": float(np.sqrt((noise**2).mean())),
                "relative": float(np.linalg.norm(noise) / np.linalg.norm(x)),
                "fvu": float((noise**2).sum() / ((x - x.mean(0)) ** 2).sum()),
            },
            "matched": {
                "others": others.tolist(),
                "pairs": [[int(i), int(j)] for i, j in zip(row, column)],
                "mean": float(table[row, column].mean()),
            },
        }
    )
)
