"""Writes vq.json: k-means of scikit-learn from a given start, in float64 on numbers that float32 holds exactly.

Run: python vq.py (numpy, scikit-learn)
"""

import json
import pathlib

import numpy as np
import sklearn
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

x = load_digits().data[:300, ::3].astype(np.float32).astype(float)
start = x[np.random.default_rng(0).choice(300, 9, replace=False)]
out = {"scikit-learn": sklearn.__version__, "rows": len(x), "cols": x.shape[1], "x": x.ravel().tolist(), "start": start.ravel().tolist()}
for passes in (1, 3, 300):
    m = KMeans(9, init=start, n_init=1, max_iter=passes, tol=0, algorithm="lloyd").fit(x)
    out[f"after {passes}"] = {"centres": m.cluster_centers_.ravel().tolist(), "inertia": m.inertia_, "labels": m.labels_.tolist()}
pathlib.Path(__file__).with_name("vq.json").write_text(json.dumps(out))
