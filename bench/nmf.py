#!/usr/bin/env python3
"""NMF of mereo beside scikit-learn's and nimfa's: same arrays, k, kind of start and number of threads, in one run; all starts are timed.

    pip install numpy scipy scikit-learn        # and, if wanted: nimfa matplotlib
    python bench/nmf.py [--cases orl-16 orl-36 ...] [--quick] [--plot FOLDER] [--json FILE]

scikit-learn fits until its own tolerance of 1e-4 (or its limit of passes, which is said). mereo's default solver then fits until its
objective is within 0.1 % of that (or below), and until it is as low. Both are also timed to within 1 %. The relative Frobenius error, or
the divergence, is computed here in float64 from the factors of the peers, and for mereo from the loss that it reports.
"sooner" compares mereo with scikit-learn's whole fit; "curve" with the moment at which scikit-learn's own curve passes the same
objective (its fit is repeated in pieces for that, whose overhead is not counted). Evaluating objectives for this bench is never part of
anyone's seconds; what a fit spends on its own stopping rule is.
MiniBatchNMF and nimfa, see nmf_peers.py, get up to three times scikit-learn's seconds each.
--plot draws every curve against seconds, --json writes all of them. For squared error, mereo's flops a pass are given as a share of the f32
product rate of this machine, measured in the same run.
Faces are those of ../shared/data (or $MEREO_TEST_DATA), else generated ones of the same shapes. Left out: reading the data, starting the
processes, nimfa on sparse and on larger data, the share of the product rate for the divergence (its cost is quotients as well as products).
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
import warnings

THREADS = os.environ.get("MEREO_BENCH_THREADS", "2")
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = THREADS

import numpy as np  # noqa: E402  (after the number of threads is set)
import scipy.sparse as sp  # noqa: E402
import sklearn  # noqa: E402
import nmf_peers  # noqa: E402
from nmf_peers import Clock  # noqa: E402
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


# name: data, k, start, loss, scikit-learn's limit of passes, times sooner that are wanted (if any)
CASES = {
    "orl-16": (orl, 16, "random", "squared", 3000, 12),
    "orl-16-nndsvda": (orl, 16, "nndsvda", "squared", 3000, 12),
    "orl-36": (orl, 36, "nndsvda", "squared", 3000, 12),
    "orl-36-random": (orl, 36, "random", "squared", 3000, 12),
    "orl-64": (orl, 64, "nndsvda", "squared", 3000, 12),
    "orl-64-random": (orl, 64, "random", "squared", 3000, 12),
    "lfw-64": (lfw, 64, "nndsvda", "squared", 1200, 12),
    "lfw-64-random": (lfw, 64, "random", "squared", 1200, 12),
    "tfidf-50": (tfidf, 50, "nndsvda", "squared", 1000, 6),
    "tfidf-200": (tfidf, 200, "nndsvda", "squared", 100, 6),
    "digits-16": (digits, 16, "nndsvda", "squared", 1000, 1),
    "counts-10": (lambda: counts(2000, 2000, 20), 10, "nndsvda", "squared", 250, None),
    "digits-16-kl": (digits, 16, "nndsvda", "kullback-leibler", 1000, None),
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
    """scikit-learn's fit: its clock, passes, last objective, and curve of (seconds, objective)."""
    solver = "cd" if loss == "squared" else "mu"
    how = dict(solver=solver, beta_loss="frobenius" if loss == "squared" else "kullback-leibler", tol=1e-4)
    time.sleep(0.3)
    clock = Clock()
    m = NMF(k, init=init, max_iter=limit, random_state=0, **how)
    w = m.fit_transform(x)
    clock.pause()
    final = objective(x, w, m.components_, loss)
    # The same fit in pieces, for its curve: each begins where the last one ended.
    pieces = Clock()
    w, h, _ = non_negative_factorization(x, n_components=k, init=init, max_iter=1, random_state=0, **(how | {"tol": 0}))
    pieces.pause()
    done, curve = 1, []
    while True:
        curve.append((pieces.wall, objective(x, w, h, loss)))
        step = min(max(1, done // 8), m.n_iter_ - done)
        if step <= 0:
            break
        pieces.go()
        w, h, _ = non_negative_factorization(x, W=w, H=h, n_components=k, init="custom", max_iter=step, **(how | {"tol": 0}))
        pieces.pause()
        done += step
    # Beginning anew costs something, which the whole fit does not pay: the pieces after the start may take no longer than it did.
    start = min(curve[0][0], clock.wall)
    share = min(1, (clock.wall - start) / max(pieces.wall - start, 1e-9))
    return clock, m.n_iter_, final, [(start + max(0, s - start) * share, v) for s, v in curve]


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


def product_rate(size=4096):
    """GFLOP/s of NumPy's f32 product of two square matrices, the best of 3."""
    a, b = np.random.default_rng(0).random((2, size, size), np.float32)
    a @ b
    times = []
    for _ in range(3):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times) / 1e9


def pass_speed(x, k, curve):
    """Median seconds of the later passes of a curve, flops of one, and sweeps over W and over H.

    A pass is two products with the data, two Gram matrices and the sweeps. How many sweeps is the solver's choice (`sweeps` in nmf/init.rs: up
    to 4, as many as cost no more than the products, by the numbers other than 0), which this repeats. Passes of a warm start over
    some of the rows are not in the curve.
    """
    n, d = x.shape
    filled = (x.nnz if sp.issparse(x) else np.count_nonzero(x)) / n
    of_w, of_h = (min(4, 1 + int(numbers / k)) for numbers in (filled, filled * n / d))
    products = 4 * (x.nnz if sp.issparse(x) else n * d) * k
    flops = products + 2 * (n + d) * k * k + 2 * k * k * (n * of_w + d * of_h)
    seconds = np.diff([s for s, _ in curve])
    return statistics.median(seconds[len(seconds) // 2 :]), flops, (of_w, of_h)


def first(curve, target):
    """Seconds at which a curve first is as low as a target, or NaN."""
    return next((s for s, v in curve if v <= target * (1 + 1e-9)), float("nan"))


def report(who, peer, final):
    """Prints what a peer came to; `final` is where scikit-learn's fit ended."""
    end, near = peer["curve"][-1][1], first(peer["curve"], 1.01 * final)
    when = f"within 1 % after {near:.3g} s" if near == near else "never within 1 %"
    off = f"{abs(end / final - 1):.3%} {'above' if end > final else 'below'} scikit-learn, " if who != "scikit-learn" else ""
    took = f"{peer['seconds']:8.3f} s  cpu {peer['cpu']:8.3f} s  {peer['passes']:5d} passes{peer['note']}"
    print(f"  {who:18}{took}  at {end:.6g}  {off}{when}", flush=True)


def run(name, binary, repeats, rate, minibatch, alone):
    """Runs a case; returns whether mereo missed what is wanted, and everything measured."""
    make, k, init, loss, limit, wanted = CASES[name]
    x = make()
    entries = float(np.prod(x.shape))
    squares = (x.data if sp.issparse(x) else x).astype(np.float64)
    mean_square = float((squares**2).sum()) / entries
    mine = (lambda v: (v / mean_square) ** 0.5) if loss == "squared" else (lambda v: v * entries)
    back = (lambda v: v * v * mean_square) if loss == "squared" else (lambda v: v / entries)
    stored = f", {x.nnz:,} stored" if sp.issparse(x) else ""
    title = f"{name}: {x.shape[0]:,} x {x.shape[1]:,}{stored}, k = {k}, {init}, {loss}"
    print(f"\n{title}")
    clock, passes, final, curve = theirs(x, k, init, loss, limit)
    seconds = clock.wall
    fits = {"scikit-learn": {"seconds": seconds, "cpu": clock.cpu, "passes": passes, "curve": curve}}
    fits["scikit-learn"]["note"] = " (its limit)" if passes >= limit else ""
    report("scikit-learn", fits["scikit-learn"], final)
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        child = Mereo(binary, x, pathlib.Path(folder))
        nmf = {"k": k, "init": init, "loss": loss, "max_passes": 5 * limit, "tol": 0.0}
        for what, share in (("within 1 %", 1.01), ("within 0.1 %", 1.001), ("as low", 1.0)):
            runs = [child.fit(nmf, back(final * share))]
            end = mine(runs[0]["curve"][-1][1])
            # The same every time, so what isn't reached isn't tried again.
            reached = end <= final * share * (1 + 1e-9)
            runs += [child.fit(nmf, back(final * share)) for _ in range(repeats - 1 if reached else 0)]
            r = sorted(runs, key=lambda r: r["seconds"])[len(runs) // 2]
            ratio, along = seconds / r["seconds"], first(curve, final * share) / r["seconds"]
            word = f"{ratio:6.1f} times sooner ({along:.1f} along its curve)" if reached else "NOT REACHED"
            print(f"  mereo {what:12}{r['seconds']:8.3f} s  cpu {r['cpu']:8.3f} s  {len(r['curve']):5d} passes  at {end:.6g}  {word}")
            if what == "within 0.1 %" and wanted:
                missed = not (reached and ratio >= wanted)
                print(f"  -> wanted {wanted}: {'MISSED' if missed else 'reached'}", flush=True)
        # The last of these, going on for as long again, to see where it goes.
        longer = min(5 * limit, max(20, 2 * len(r["curve"])))
        r = child.fit(nmf | {"max_passes": longer}, 0.0) if longer > len(r["curve"]) else r
        child.close()
    curve = [(s, mine(v)) for s, v in r["curve"]]
    note = " (its limit)" if len(curve) >= 5 * limit else " (going on)"
    fits["mereo"] = {"seconds": r["seconds"], "cpu": r["cpu"], "passes": len(curve), "note": note, "curve": curve}
    report("mereo", fits["mereo"], final)
    speed = {}
    if loss == "squared":
        each, flops, sweeps = pass_speed(x, k, curve)
        speed = {"seconds_per_pass": each, "flops_per_pass": flops, "sweeps": sweeps, "share_of_product_rate": flops / each / 1e9 / rate}
        print(f"  mereo's later passes: {1e3 * each:.3f} ms for {flops / 1e9:.4f} GFLOP with {sweeps[0]} + {sweeps[1]} sweeps, "
              f"{flops / each / 1e9:.1f} GFLOP/s = {speed['share_of_product_rate']:.0%} of the product rate", flush=True)
    bound = max(1.0, 3 * seconds)
    at = lambda w, h: objective(x, w, h, loss)  # noqa: E731
    peers = {}
    if not alone:
        peers["MiniBatchNMF"] = nmf_peers.minibatch(x, k, init, loss, bound if minibatch else min(bound, nmf_peers.MINUTE), at)
    if not alone and not sp.issparse(x) and entries <= nmf_peers.NIMFA_ENTRIES and nmf_peers.nimfa:
        peers[f"nimfa {'lsnmf' if loss == 'squared' else 'nmf'}"] = nmf_peers.by_nimfa(x, k, init, loss, bound, final, at)
    for who, peer in peers.items():
        report(who, peer, final)
    best = min(v for fit in (fits | peers).values() for _, v in fit["curve"])
    return missed, {"title": title, "best": best, "scikit_learn_ends_at": final, "fits": fits | peers} | speed


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    args.add_argument("--repeats", type=int, default=3)
    args.add_argument("--quick", action="store_true", help="the three smallest cases: tries the script")
    args.add_argument("--minibatch", action="store_true", help="MiniBatchNMF may take more than a minute")
    args.add_argument("--alone", action="store_true", help="beside scikit-learn's NMF only, without MiniBatchNMF and nimfa")
    args.add_argument("--plot", type=pathlib.Path, metavar="FOLDER", help="a picture of each case's curves (needs matplotlib)")
    args.add_argument("--json", type=pathlib.Path, metavar="FILE", help="all curves and numbers")
    args.add_argument("--binary", help="a bench_nmf that is already built")
    args = args.parse_args()
    binary = args.binary
    if not binary:
        build = ["cargo", "build", "--release", "-p", "mereo", "--example", "bench_nmf", "--message-format=json"]
        told = subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        binary = [m["executable"] for m in map(json.loads, told) if m.get("executable")][-1]
    cases = ["digits-16", "digits-16-kl", "counts-10"] if args.quick else args.cases
    rate = product_rate()
    head = {"scikit-learn": sklearn.__version__, "numpy": np.__version__, "nimfa": nmf_peers.version(), "threads": int(THREADS)}
    print(", ".join(f"{what} {number}" for what, number in head.items()) + f"; load {os.getloadavg()[0]:.1f} before")
    print(f"product rate: {rate:.1f} GFLOP/s (f32, 4096 x 4096 x 4096, NumPy, best of 3)")
    stand_ins = [folder for folder in ("olivetti", "lfw", "text_counts") if not (DATA / folder).is_dir()]
    if stand_ins:
        print(f"generated data in place of: {', '.join(stand_ins)}")
    if nmf_peers.PATCHED:
        print("nimfa needs numpy.mat, which NumPy 2 no longer has: it is put back as numpy.asmatrix")
    told, missed = head | {"product_rate_gflops": rate, "cases": {}}, []
    for name in cases:
        late, told["cases"][name] = run(name, binary, args.repeats, rate, args.minibatch, args.alone)
        missed += [name] if late else []
        # After each case, so that a run that is cut off leaves what it has.
        if args.json:
            args.json.write_text(json.dumps(told, default=float))
        if args.plot:
            nmf_peers.plot(args.plot / f"{name}.png", told["cases"][name])
    print(f"\nload {os.getloadavg()[0]:.1f} after")
    if missed:
        sys.exit("missed: " + ", ".join(missed))


if __name__ == "__main__":
    main()
