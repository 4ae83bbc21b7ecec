#!/usr/bin/env python3
"""k-means of mereo beside scikit-learn's: the whole fit with its start, on the same 100,000 x 384 float32 rows.

    python bench/kmeans.py            k = 64 (three rounds, taken in turns) and k = 1024 (one round)
    python bench/kmeans.py --quick    the same with at most 10 passes

Needs cargo, numpy and scikit-learn. Both sides: two threads, one start, tol 1e-4, at most 300 passes.
Rows: the MiniLM embeddings of 80,000 arXiv papers, 20,000 of them again, all with noise of s.d. 0.005, where
../shared/data (or $MEREO_TEST_DATA) has them; else 2,000 generated clusters. The inertia of both is computed here in
float64 from the centres. Left out on both sides: reading the data, and starting the process.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import tempfile
import time

THREADS = "2"
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = THREADS

import numpy as np  # noqa: E402  (after the number of threads is set)
import sklearn  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
# How many times faster the whole fit should be, at an equal or lower inertia (two seeds differ by about 0.1 %).
TARGETS = {64: 1.3, 1024: 5.0}


def rows(n):
    """n x 384 float32, and where they come from."""
    rng = np.random.default_rng(0)
    data = pathlib.Path(os.environ.get("MEREO_TEST_DATA", ROOT.parent / "shared" / "data"))
    path = data / "arxiv" / "minilm_80000x384_f16.npy"
    if path.exists():
        x = np.load(path).astype(np.float32)
        x = np.concatenate([x, x[rng.integers(len(x), size=max(0, n - len(x)))]])
        x = x[rng.permutation(len(x))[:n]]
        return x + rng.normal(0, 0.005, x.shape).astype(np.float32), "arXiv embeddings"
    centres = rng.normal(size=(2000, 384)).astype(np.float32)
    return centres[rng.integers(2000, size=n)] + rng.normal(0, 0.8, (n, 384)).astype(np.float32), "generated clusters"


def inertia(x, centres):
    """Sum of squared distances to the nearest centre, float64."""
    c = centres.astype(np.float64)
    total = 0.0
    for part in np.array_split(x, max(1, len(x) // 4096)):
        p = part.astype(np.float64)
        far = (p * p).sum(1)[:, None] + (c * c).sum(1) - 2 * p @ c.T
        total += np.maximum(far.min(1), 0).sum()
    return total


def peer(x, k, passes, seed):
    cpu, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    m = KMeans(k, init="k-means++", n_init=1, max_iter=passes, random_state=seed).fit(x)
    wall, end = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_SELF)
    cpu = end.ru_utime + end.ru_stime - cpu.ru_utime - cpu.ru_stime
    return {"seconds": wall, "cpu": cpu, "passes": m.n_iter_, "centres": m.cluster_centers_}


def ours(binary, path, folder, k, passes, seed):
    out = folder / "centres.npy"
    said = subprocess.run([binary, path, str(k), out, str(passes), str(seed)], check=True, capture_output=True, text=True)
    return json.loads(said.stdout) | {"centres": np.load(out)}


def side(name, runs, x):
    for r in runs:
        r["inertia"] = inertia(x, r["centres"])
    best = {key: float(np.median([r[key] for r in runs])) for key in ("seconds", "cpu", "passes", "inertia")}
    print(f"  {name:13} wall {best['seconds']:8.2f} s  cpu {best['cpu']:8.2f} s  passes {best['passes']:4.0f}  inertia {best['inertia']:.2f}")
    return best


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--quick", action="store_true", help="at most 10 passes, one round")
    args.add_argument("--rows", type=int, default=100_000)
    args.add_argument("-k", type=int, nargs="+", default=[64, 1024])
    args.add_argument("--binary", help="a bench_kmeans that is already built")
    args = args.parse_args()
    binary = args.binary
    if not binary:
        build = ["cargo", "build", "--release", "-p", "mereo", "--example", "bench_kmeans", "--message-format=json"]
        told = subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        binary = [m["executable"] for m in map(json.loads, told) if m.get("executable")][-1]
    x, kind = rows(args.rows)
    passes = 10 if args.quick else 300
    print(f"{len(x)} x {x.shape[1]} float32 ({kind}), {THREADS} threads, at most {passes} passes, scikit-learn {sklearn.__version__}")
    print(f"load of the machine: {os.getloadavg()[0]:.1f}. Left out: reading the data, starting the process.")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        path = folder / "x.npy"
        np.save(path, x)
        for k in args.k:
            rounds = 1 if args.quick or k > 256 else 3
            both = [(peer(x, k, passes, seed), ours(binary, path, folder, k, passes, seed)) for seed in range(rounds)]
            print(f"k = {k}, {rounds} round(s), medians:")
            theirs = side("scikit-learn", [b[0] for b in both], x)
            mine = side("mereo", [b[1] for b in both], x)
            ratio, extra = theirs["seconds"] / mine["seconds"], mine["inertia"] / theirs["inertia"] - 1
            target = TARGETS.get(k)
            verdict = ""
            if target and not args.quick:
                verdict = "met" if ratio >= target and extra <= 0 else "MISSED"
                verdict = f"  target {target}x at equal or lower inertia: {verdict}"
            print(f"  ratio wall {ratio:.2f}x, cpu {theirs['cpu'] / mine['cpu']:.2f}x, inertia {extra:+.3%}{verdict}", flush=True)


if __name__ == "__main__":
    main()
