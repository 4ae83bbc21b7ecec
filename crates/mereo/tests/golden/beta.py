"""Writes beta.json: multiplicative updates of scikit-learn for several β-divergences, in float64 on numbers that float32 holds exactly.

Run: python beta.py (numpy, scikit-learn)
"""

import json
import pathlib
import warnings

import numpy as np
import sklearn
from sklearn.decomposition import NMF
from sklearn.decomposition._nmf import _beta_divergence, _multiplicative_update_w
from sklearn.exceptions import ConvergenceWarning

warnings.simplefilter("ignore", ConvergenceWarning)
N, D, K, PASSES = 30, 20, 4, 25
r = np.random.default_rng(0)
x = (r.gamma(0.7, size=(N, K)) @ r.gamma(0.7, size=(K, D)) * r.gamma(4, 0.25, size=(N, D))).astype(np.float32).astype(float)
x = np.maximum(x, 2.0**-7)
start = (0.5 + r.random((K, D))).astype(np.float32).astype(float)
fresh = x[:5] * np.float32(1.5) + x[5:10]
weights = np.full((N, K), np.sqrt(x.mean() / K))
cases = []
for beta in (-0.5, 0, 0.5, 1, 1.5, 3):
    for penalty in ({}, {"alpha_W": 0.003, "alpha_H": 0.002, "l1_ratio": 0.25}):
        # Zeros belong to the problem wherever they may.
        data = x if beta <= 0 else np.where(x < 0.3, 0, x)

        def fit(passes, w, h, tol=0, **more):
            how = NMF(K, init="custom", solver="mu", beta_loss=beta, tol=tol, max_iter=passes, **penalty, **more)
            return how, how.fit_transform(data, W=w.copy(), H=h.copy())

        def loss(w, h):
            a, b, l1 = penalty.get("alpha_W", 0) * D, penalty.get("alpha_H", 0) * N, penalty.get("l1_ratio", 0)
            size = lambda v: l1 * v.sum() + (1 - l1) * (v**2).sum() / 2
            return (_beta_divergence(data, w, h, beta) + a * size(w) + b * size(h)) / data.size

        before, w = fit(PASSES - 1, weights, start)
        how, now = fit(PASSES, weights, start)
        new = fresh if beta <= 0 else np.where(fresh < 0.6, 0, fresh)
        # Not `transform`: with H fixed, scikit-learn 1.9 adds L1 anew to the cached sums of H in every iteration (β = 1).
        h, l1 = how.components_, penalty.get("l1_ratio", 0)
        z, alpha, power = np.full((len(new), K), np.sqrt(new.mean() / K)), penalty.get("alpha_W", 0) * D, 1 / max(2 - beta, beta - 1, 1)
        for _ in range(20000):
            z = _multiplicative_update_w(new, z, h, beta, alpha * l1, alpha * (1 - l1), power)[0]
        cases.append(
            {
                "beta": beta,
                **{k.lower(): v for k, v in penalty.items()},
                "x": data.ravel().tolist(),
                "atoms": how.components_.ravel().tolist(),
                "loss": float(loss(now, before.components_)),
                "new": new.ravel().tolist(),
                "decoded": (z @ how.components_).ravel().tolist(),
            }
        )
out = {"scikit-learn": sklearn.__version__, "rows": N, "cols": D, "k": K, "passes": PASSES, "start": start.ravel().tolist(), "cases": cases}
pathlib.Path(__file__).with_name("beta.json").write_text(json.dumps(out))
