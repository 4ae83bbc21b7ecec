#!/usr/bin/env python3
"""NMF of mereo beside scikit-learn's: same arrays, k, kind of start and number of threads, in one run; starts are timed on both sides.

    pip install numpy scipy scikit-learn
    python bench/nmf.py [--cases orl-16 orl-36 ...] [--quick]

scikit-learn fits until its own tolerance of 1e-4 (or its limit of passes, which is said). mereo's default solver then fits until its
objective is within 0.1 % of that (or below), and until it is as low. Both are also timed to within 1 %. The relative Frobenius error of
both is computed here in float64, from the factors for scikit-learn, and for mereo from the loss that it reports.
"sooner" compares mereo with scikit-learn's whole fit; "curve" with the moment at which scikit-learn's own curve passes the same
objective (its fit is repeated in pieces for that, whose overhead is not counted).
Faces are those of ../shared/data (or $MEREO_TEST_DATA), else generated ones of the same shapes. Left out: reading the data, starting the
processes, scikit-learn's MiniBatchNMF unless --minibatch (it stops early and far above).
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings

THREADS = os.environ.get("MEREO_BENCH_THREADS", "2")
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = THREADS

import numpy as np  # noqa: E402  (after the number of threads is set)
import scipy.sparse as sp  # noqa: E402
import sklearn  # noqa: E402
from sklearn.decomposition import NMF, non_negative_factorization  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402

warnings.simplefilter("ignore", ConvergenceWarning)
ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("MEREO_TEST_DATA", ROOT.parent / "shared" / "data"))


def parts(n, d, k, seed):
    """Sums of k overlapping bumps with sparse weights, and noise: n x d float32."""
    r = np.random.default_rng(seed)
    at = np.arange(d)[None, :]
    h = np.exp(-(((at - r.uniform(0, d, (k, 1))) / (d / k * r.uniform(0.5, 3, (k, 1)))) ** 2))
    w = r.gamma(0.5, 1.0, (n, k)) * (r.random((n, k)) < 0.4)
    return np.maximum(w @ h + 0.05 * r.standard_normal((n, d)), 0).astype(np.float32)


def orl():
    path = DATA / "olivetti" / "olivettifaces.mat"
    if path.exists():
        import scipy.io

        return np.ascontiguousarray(scipy.io.loadmat(path)["faces"].T, dtype=np.float32) / 255
    return parts(400, 4096, 80, 1)


def lfw():
    folder = DATA / "lfw"
    if folder.is_dir():
        x = np.load(folder / "faces_9164x2914_u8.npy")[np.load(folder / "train_7331_i32.npy")]
        return x.astype(np.float32) / 255
    return parts(7331, 2914, 150, 2)


def digits():
    from sklearn.datasets import load_digits

    return load_digits().data.astype(np.float32)


def counts(n=20_000, d=20_000, topics=120, length=75, seed=0):
    """Words drawn from mixtures of Zipfian topics: CSR counts, about 57 different words a row."""
    r = np.random.default_rng(seed)
    zipf = 1.0 / np.arange(1, d + 1)
    table = np.stack([np.cumsum(p / p.sum()) for p in (r.permutation(zipf) * 0.5 + zipf * 0.5 for _ in range(topics))])
    rows, cols = [], []
    for i in range(n):
        words = max(5, r.poisson(length))
        which = r.choice(topics, 3)[r.choice(3, words, p=[0.6, 0.3, 0.1])]
        u = r.random(words)
        cols.append(np.array([np.searchsorted(table[t], v) for t, v in zip(which, u)]))
        rows.append(np.full(words, i))
    rows, cols = np.concatenate(rows), np.minimum(np.concatenate(cols), d - 1)
    x = sp.coo_matrix((np.ones(len(rows), np.float32), (rows, cols)), (n, d)).tocsr()
    x.sum_duplicates()
    return x


def tfidf():
    from sklearn.feature_extraction.text import TfidfTransformer

    return TfidfTransformer().fit_transform(counts()).astype(np.float32).tocsr()


def classic():
    path = DATA / "text_counts" / "classic4_7094x41681.npz"
    return sp.load_npz(path).tocsr().astype(np.float32) if path.exists() else counts(7000, 40_000)


# name: data, k, start, loss, scikit-learn's limit of passes, times sooner that are wanted
CASES = {
    "orl-16": (orl, 16, "random", "squared", 3000, 12),
    "orl-36": (orl, 36, "nndsvda", "squared", 3000, 12),
    "orl-64": (orl, 64, "nndsvda", "squared", 3000, 12),
    "orl-64-random": (orl, 64, "random", "squared", 3000, 12),
    "lfw-64": (lfw, 64, "nndsvda", "squared", 1200, 12),
    "lfw-64-random": (lfw, 64, "random", "squared", 1200, 12),
    "tfidf-50": (tfidf, 50, "nndsvda", "squared", 1000, 6),
    "tfidf-200": (tfidf, 200, "nndsvda", "squared", 100, 6),
    "digits-16": (digits, 16, "nndsvda", "squared", 1000, 1),
    "orl-36-kl": (orl, 36, "nndsvda", "kullback-leibler", 1000, 10),
    "counts-50-kl": (counts, 50, "random", "kullback-leibler", 500, 10),
    "classic-50-kl": (classic, 50, "random", "kullback-leibler", 500, 10),
    "lfw-64-kl": (lfw, 64, "nndsvda", "kullback-leibler", 300, 5),
}


def objective(x, w, h, loss):
    """Relative Frobenius error, or the divergence, in float64."""
    w, h = w.astype(np.float64), h.astype(np.float64)
    if loss == "squared":
        total = (x.multiply(x).sum() if sp.issparse(x) else np.einsum("ij,ij->", x, x, dtype=np.float64))
        cross = (w * (x.astype(np.float64) @ h.T)).sum()
        return float(np.sqrt(max(total - 2 * cross + ((w.T @ w) * (h @ h.T)).sum(), 0) / total))
    eps = 1e-300
    if sp.issparse(x):
        c = x.tocoo()
        wh = np.einsum("ij,ij->i", w[c.row], h.T[c.col])
        v = c.data.astype(np.float64)
        return float((v * np.log(v / np.maximum(wh, eps)) - v).sum() + w.sum(0) @ h.sum(1))
    total = 0.0
    for i in range(0, len(x), 256):
        v, wh = x[i : i + 256].astype(np.float64), w[i : i + 256] @ h
        total += (np.where(v > 0, v * np.log(np.where(v > 0, v, 1) / np.maximum(wh, eps)), 0) - v + wh).sum()
    return float(total)


def theirs(x, k, init, loss, limit):
    solver = "cd" if loss == "squared" else "mu"
    how = dict(solver=solver, beta_loss="frobenius" if loss == "squared" else "kullback-leibler", tol=1e-4)
    time.sleep(0.3)
    cpu, start = time.process_time(), time.perf_counter()
    m = NMF(k, init=init, max_iter=limit, random_state=0, **how)
    w = m.fit_transform(x)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    final = objective(x, w, m.components_, loss)
    # The same fit in pieces, for its curve: each begins where the last one ended.
    start = time.perf_counter()
    w, h, _ = non_negative_factorization(x, n_components=k, init=init, max_iter=1, random_state=0, **(how | {"tol": 0}))
    passed, done, curve = time.perf_counter() - start, 1, []
    while True:
        curve.append((passed, objective(x, w, h, loss)))
        step = min(max(1, done // 8), m.n_iter_ - done)
        if step <= 0:
            break
        start = time.perf_counter()
        w, h, _ = non_negative_factorization(x, W=w, H=h, n_components=k, init="custom", max_iter=step, **(how | {"tol": 0}))
        passed += time.perf_counter() - start
        done += step
    return seconds, cpu, m.n_iter_, final, curve


class Mereo:
    """The release example, waiting for fits of one matrix."""

    def __init__(self, binary, x, folder):
        path = folder / ("x.npz" if sp.issparse(x) else "x.npy")
        sp.save_npz(path, x) if sp.issparse(x) else np.save(path, x)
        self.child = subprocess.Popen([binary, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def cpu(self):
        try:
            tasks = pathlib.Path(f"/proc/{self.child.pid}/task").iterdir()
            return sum(int((t / "schedstat").read_text().split()[0]) for t in tasks) / 1e9
        except OSError:
            return float("nan")

    def fit(self, nmf, until):
        time.sleep(0.3)
        cpu = self.cpu()
        print(json.dumps({"nmf": nmf, "until": until}), file=self.child.stdin, flush=True)
        line = self.child.stdout.readline()
        if not line:
            sys.exit("bench_nmf ended; its message is above")
        return json.loads(line) | {"cpu": self.cpu() - cpu}

    def close(self):
        self.child.stdin.close()
        self.child.wait()


def first(curve, target):
    return next((s for s, v in curve if v <= target), float("nan"))


def run(name, binary, repeats):
    make, k, init, loss, limit, wanted = CASES[name]
    x = make()
    entries = float(np.prod(x.shape))
    squares = (x.data if sp.issparse(x) else x).astype(np.float64)
    mean_square = float((squares**2).sum()) / entries
    mine = (lambda v: (v / mean_square) ** 0.5) if loss == "squared" else (lambda v: v * entries)
    back = (lambda v: v * v * mean_square) if loss == "squared" else (lambda v: v / entries)
    stored = f", {x.nnz:,} stored" if sp.issparse(x) else ""
    print(f"\n{name}: {x.shape[0]:,} x {x.shape[1]:,}{stored}, k = {k}, {init}, {loss}")
    seconds, cpu, passes, final, curve = theirs(x, k, init, loss, limit)
    capped = " (its limit)" if passes >= limit else ""
    print(f"  scikit-learn  {seconds:8.2f} s  cpu {cpu:8.2f} s  {passes:5d} passes{capped}  ends at {final:.6g}")
    with tempfile.TemporaryDirectory() as folder:
        child = Mereo(binary, x, pathlib.Path(folder))
        nmf = {"k": k, "init": init, "loss": loss, "max_passes": 5 * limit, "tol": 0.0}
        missed = []
        for what, share in (("within 1 %", 1.01), ("within 0.1 %", 1.001), ("as low", 1.0)):
            runs = [child.fit(nmf, back(final * share)) for _ in range(repeats)]
            runs.sort(key=lambda r: r["seconds"])
            r = runs[len(runs) // 2]
            end = mine(r["curve"][-1][1])
            reached = end <= final * share * (1 + 1e-9)
            ratio, along = seconds / r["seconds"], first(curve, final * share * (1 + 1e-9)) / r["seconds"]
            word = f"{ratio:6.1f} times sooner ({along:.1f} along its curve)" if reached else "NOT REACHED"
            print(f"  mereo {what:12}{r['seconds']:8.3f} s  cpu {r['cpu']:8.3f} s  {len(r['curve']):5d} passes  at {end:.6g}  {word}")
            if what == "within 0.1 %":
                good = reached and ratio >= wanted
                print(f"  -> wanted {wanted}: {'reached' if good else 'MISSED'}", flush=True)
                missed += [] if good else [name]
        child.close()
    return missed


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    args.add_argument("--repeats", type=int, default=3)
    args.add_argument("--quick", action="store_true", help="the small cases alone")
    args.add_argument("--binary", help="a bench_nmf that is already built")
    args = args.parse_args()
    binary = args.binary
    if not binary:
        build = ["cargo", "build", "--release", "-p", "mereo", "--example", "bench_nmf", "--message-format=json"]
        told = subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        binary = [m["executable"] for m in map(json.loads, told) if m.get("executable")][-1]
    cases = ["orl-16", "orl-36", "digits-16"] if args.quick else args.cases
    print(f"scikit-learn {sklearn.__version__}, numpy {np.__version__}, {THREADS} threads, load {os.getloadavg()[0]:.1f} before")
    missed = [m for name in cases for m in run(name, binary, args.repeats)]
    print(f"\nload {os.getloadavg()[0]:.1f} after")
    if missed:
        sys.exit("missed: " + ", ".join(missed))


if __name__ == "__main__":
    main()
