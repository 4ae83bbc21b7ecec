"""PCA against scikit-learn, side by side: same arrays, k, precision and number of threads, in one run.

    pip install numpy scikit-learn threadpoolctl
    python bench/pca.py [--data FOLDER] [--threads 2] [--repeats 5] [--quick]

Builds the release example `bench_pca` with cargo. The two fit in turn, after one fit each that is not counted, and only the
fit is timed: arrays are in memory on both sides. Before each fit the machine rests: OpenBLAS's threads spin for a while after a call. The share of variance is computed here, in float64, from the axes of either.
With `../shared/data` (or FOLDER) the arrays are faces and text embeddings, else generated ones of the same shape.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser(description="PCA against scikit-learn")
parser.add_argument("--data", type=pathlib.Path, help="folder with lfw/ and arxiv/; without it generated arrays")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--quick", action="store_true", help="small arrays: tries the script, the ratios mean nothing")
parser.add_argument("--power", type=int, default=None, help="passes of mereo's randomised solver after the first (default: its own)")
options = parser.parse_args()

# Before NumPy loads its BLAS. The last two force a kernel or a cache size, which has cost OpenBLAS half of its speed.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = str(options.threads)
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import numpy as np  # noqa: E402
import sklearn  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from threadpoolctl import threadpool_info  # noqa: E402

# Seconds before each fit in which nothing runs.
REST = 0.3
ROOT = pathlib.Path(__file__).resolve().parent.parent


def folder():
    """Where the real arrays are, or None."""
    asked = [options.data, os.environ.get("MEREO_TEST_DATA"), ROOT / "../shared/data", ROOT / "../../shared/data"]
    return next((pathlib.Path(p) for p in asked if p and (pathlib.Path(p) / "lfw").is_dir()), None)


def low_rank(n, d, rank, seed):
    """Falling spectrum plus noise, away from the origin."""
    r = np.random.default_rng(seed)
    scale = 1.0 / (1 + np.arange(rank)) ** 0.7
    x = (r.standard_normal((n, rank), np.float32) * scale.astype(np.float32)) @ r.standard_normal((rank, d), np.float32)
    return x + 0.1 * r.standard_normal((n, d), np.float32) + 1


def faces(data, n=13233, d=2914):
    """LFW faces and as many of their mirror images as fill n rows: n x 2914, float32."""
    if not data:
        return low_rank(n, d, 400, 1), "generated"
    x = np.load(data / "lfw/faces_9164x2914_u8.npy").astype(np.float32) / 255
    mirrored = x[: n - len(x)].reshape(-1, 62, 47)[:, :, ::-1].reshape(-1, 2914)
    return np.ascontiguousarray(np.concatenate([x, mirrored])), "LFW faces and mirror images"


def texts(data, n=100000, d=384):
    """Sentence embeddings and noisy copies that fill n rows: n x 384, float32."""
    if not data:
        return low_rank(n, d, 200, 2), "generated"
    x = np.load(data / "arxiv/minilm_80000x384_f16.npy").astype(np.float32)
    copies = x[: n - len(x)] + 0.01 * np.random.default_rng(0).standard_normal((n - len(x), d), np.float32)
    return np.concatenate([x, copies]), "arXiv embeddings, a fifth of them noisy copies"


def share(x, axes):
    """Share of the variance of x along orthonormal axes, in float64."""
    axes = np.linalg.qr(axes.astype(np.float64).T)[0]
    mean = x.mean(axis=0, dtype=np.float64)
    kept = total = 0.0
    for i in range(0, len(x), 4096):
        y = x[i : i + 4096] - mean
        total += (y * y).sum()
        kept += ((y @ axes) ** 2).sum()
    return kept / total


def cpu_seconds(pid):
    """CPU seconds of all threads of a process so far; NaN where /proc does not say."""
    try:
        tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
        return sum(int((t / "schedstat").read_text().split()[0]) for t in tasks) / 1e9
    except OSError:
        return float("nan")


class Mereo:
    """The release example, waiting for fits."""

    def __init__(self, path, binary, scratch):
        self.axes = scratch / "axes.npy"
        self.child = subprocess.Popen([binary, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def fit(self, solver, k, power):
        time.sleep(REST)
        cpu = cpu_seconds(self.child.pid)
        print(solver, k, power, self.axes, file=self.child.stdin, flush=True)
        line = self.child.stdout.readline()
        if not line:
            sys.exit("bench_pca ended; its message is above")
        said = json.loads(line)
        return said["seconds"], cpu_seconds(self.child.pid) - cpu, np.load(self.axes)

    def close(self):
        self.child.stdin.close()
        self.child.wait()


def peer(x, solver, k):
    time.sleep(REST)
    cpu, start = time.process_time(), time.perf_counter()
    fitted = PCA(k, svd_solver=solver, random_state=0).fit(x)
    return time.perf_counter() - start, time.process_time() - cpu, fitted.components_


def compare(name, x, what, k, pairs, binary, scratch):
    """Times each pair (ours, theirs, least ratio wanted), and says which targets were missed."""
    path = scratch / "x.npy"
    np.save(path, x)
    ours = Mereo(path, binary, scratch)
    missed = []
    print(f"\n{name}: {x.shape[0]:,} x {x.shape[1]:,} float32 ({what}), k = {k}")
    print(f"{'':34}{'wall s median':>14}{'min':>9}{'cpu s':>9}{'share of variance':>20}")
    power = options.power if options.power is not None else 4
    for solver, theirs, wanted in pairs:
        runs = {"mereo": [], "sklearn": []}
        for _ in range(options.repeats + 1):
            runs["sklearn"].append(peer(x, theirs, k))
            runs["mereo"].append(ours.fit(solver, k, power))
        wall, kept = {}, {}
        for who, label in (("sklearn", f"scikit-learn {theirs}"), ("mereo", f"mereo {solver}")):
            timed = runs[who][1:]
            wall[who] = statistics.median(r[0] for r in timed)
            kept[who] = share(x, timed[-1][2])
            least, cpu = min(r[0] for r in timed), statistics.median(r[1] for r in timed)
            print(f"  {label:32}{wall[who]:14.3f}{least:9.3f}{cpu:9.3f}{kept[who]:20.7f}")
        ratio = wall["sklearn"] / wall["mereo"]
        equal = kept["mereo"] >= kept["sklearn"] - 1e-6
        good = ratio >= wanted and equal
        print(f"  -> {ratio:.2f} times as fast (wanted {wanted}), {'equal or better' if equal else 'LESS'} variance: {'reached' if good else 'MISSED'}")
        if not good:
            missed.append(f"{name}, {solver} against {theirs}")
    ours.close()
    return missed


def main():
    subprocess.run(["cargo", "build", "--release", "-p", "mereo", "--example", "bench_pca"], cwd=ROOT, check=True)
    binary = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/examples/bench_pca"
    blas = [(i["internal_api"], i.get("version"), i.get("architecture"), i["num_threads"]) for i in threadpool_info()]
    print(f"scikit-learn {sklearn.__version__}, numpy {np.__version__}, {blas}; {options.threads} threads, load {os.getloadavg()[0]:.1f} before")
    data = None if options.quick else folder()
    wide, tall = (faces(None, 500, 300), texts(None, 2000, 64)) if options.quick else (faces(data), texts(data))
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        pairs = [("covariance", "covariance_eigh", 2.5), ("randomized", "randomized", 1.5)]
        missed = compare("wide", *wide, 64 if not options.quick else 8, pairs, binary, scratch)
        pairs = [("covariance", "covariance_eigh", 1.0)]
        missed += compare("tall", *tall, 64 if not options.quick else 8, pairs, binary, scratch)
    print("\nLeft out: reading and checking of files, transform, scikit-learn's arpack and full SVD solvers, sparse rows.")
    print(f"load {os.getloadavg()[0]:.1f} after")
    if missed:
        sys.exit("missed: " + "; ".join(missed))


main()
