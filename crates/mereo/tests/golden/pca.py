"""Writes pca.json: principal components by scikit-learn, and about zero by NumPy, in float64 on numbers that float32 holds exactly.

Run: python pca.py (numpy, scikit-learn)
"""

import json
import pathlib

import numpy as np
import sklearn
from sklearn.decomposition import PCA

rng = np.random.default_rng(20240611)


def exact(a, step=1 / 64):
    """Multiples of a power of two, so that float32 and decimal JSON hold them exactly."""
    return np.round(a / step) * step


def falling(n, d, share):
    """Rows whose spread falls by a factor along random directions, away from zero."""
    axes = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return exact((rng.normal(size=(n, d)) * 8 * share ** np.arange(d)) @ axes + rng.normal(size=d))


def case(x, k, center=True, rank=None):
    """All of a fit on k axes; of the rows, the codes of the first 20. Axes beyond `rank` are arbitrary, and left out."""
    n, d = x.shape
    sure = min(k, rank or k)
    if center:
        m = PCA(k, svd_solver="covariance_eigh", whiten=True).fit(x)
        exactly = PCA(k, svd_solver="full").fit(x)
        assert np.allclose(m.explained_variance_, exactly.explained_variance_, rtol=1e-6, atol=1e-9 * m.explained_variance_[0])
        assert np.allclose(np.abs((m.components_[:sure] * exactly.components_[:sure]).sum(1)), 1, rtol=1e-9)
        # The mean over what is left out: min(n, d) - k directions; the covariance has d - k of them, of which some are empty.
        noise = exactly.noise_variance_
        assert n < d or np.isclose(noise, m.noise_variance_, rtol=1e-6, atol=1e-9)
        mean, axes, variances, ratio = m.mean_, m.components_, m.explained_variance_, m.explained_variance_ratio_
        lengths, codes = m.singular_values_, m.transform(x)
    else:
        values, vectors = np.linalg.eigh(x.T @ x / n)
        values, vectors = values[::-1], vectors[:, ::-1]
        mean, axes, variances, ratio = np.zeros(d), vectors[:, :k].T, values[:k], values[:k] / values.sum()
        lengths, noise = np.linalg.svd(x, compute_uv=False)[:k], values[k : min(n, d)].mean()
        codes = x @ axes.T / np.sqrt(variances)
    return {
        "rows": n,
        "cols": d,
        "k": k,
        "sure": sure,
        "center": center,
        "x": x.ravel().tolist(),
        "mean": mean.tolist(),
        "axes": axes[:sure].ravel().tolist(),
        "variances": variances.tolist(),
        "ratio": ratio.tolist(),
        "singular_values": lengths.tolist(),
        "noise_variance": float(noise),
        "whitened": codes[:20, :sure].ravel().tolist(),
    }


tall = falling(200, 12, 0.7)
out = {
    "scikit-learn": sklearn.__version__,
    "numpy": np.__version__,
    "cases": {
        "tall": case(tall, 5),
        "wide": case(falling(12, 40, 0.8), 6),
        "far from zero": case(falling(150, 10, 0.7) + 1e4, 4),
        "about zero": case(tall, 5, center=False),
        "of rank 4": case(exact(rng.normal(size=(60, 4)), 1 / 8) @ exact(rng.normal(size=(4, 10)), 1 / 8), 6, rank=4),
    },
}
pathlib.Path(__file__).with_name("pca.json").write_text(json.dumps(out))
