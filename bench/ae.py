#!/usr/bin/env python3
"""A shallow autoencoder of mereo beside PyTorch: same rows, batches, steps, kind of start and number of threads, in one run.

    pip install numpy torch
    python bench/ae.py [--passes N] [--repeats N] [--batch ROWS] [--k ATOMS] [--activation relu] [--tied]

Both learn x̂ = g(Wx + b)V + c from LFW faces (7,331×2,914 f32; generated ones without ../shared/data or $MEREO_TEST_DATA) by Adam with the same
lr, betas and number of passes, the lr not going down, from weights of the same spread, on rows less their mean over one scale. PyTorch is written
as a good user would: parameters and rows contiguous f32, a shuffled index a pass, index_select into a buffer, mse_loss, zero_grad(set_to_none), and Adam
both ways that it has on a CPU (foreach, fused), of which the faster counts. Seconds are those of a pass, the median of all but the first of each repeat,
taken in turn, with the tenth and the ninetieth of a hundred beside it; mereo's include what its driver does besides: choosing the order, picking batches,
sums for the loss, a copy of the state a pass.
Rows a second, the final mean squared error of both in the same units, and the ratio are printed, and the share of the f32 product rate of this
machine that the products of a batch come to (6 of 2·B·d·k each for PyTorch, forwards and back, of which it forms 5; mereo forms 4 and 2·2·d·k²).
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

THREADS = os.environ.get("MEREO_BENCH_THREADS", "2")
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = THREADS

import numpy as np  # noqa: E402  (after the number of threads is set)
import torch  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("MEREO_TEST_DATA", ROOT.parent / "shared" / "data"))
torch.set_num_threads(int(THREADS))
WANTED = 1.5
G = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "linear": lambda a: a, "erf": lambda a: torch.erf(a * 0.5**0.5)}


def rows():
    folder = DATA / "lfw"
    if folder.is_dir():
        x = np.load(folder / "faces_9164x2914_u8.npy")[np.load(folder / "train_7331_i32.npy")]
        return np.ascontiguousarray(x, dtype=np.float32) / 255
    r = np.random.default_rng(0)
    return (r.standard_normal((7331, 60), np.float32) @ r.standard_normal((60, 2914), np.float32) / 40 + 0.5).astype(np.float32)


def theirs(x, args, how):
    """Seconds and final mean squared error of a fit by PyTorch."""
    torch.manual_seed(0)
    x = torch.from_numpy(x)
    n, d = x.shape
    w = (torch.randn(args.k, d) / d**0.5).requires_grad_()
    v = w if args.tied else (torch.randn(args.k, d) / (3 * args.k) ** 0.5).requires_grad_()
    b, c = torch.zeros(args.k, requires_grad=True), torch.zeros(d, requires_grad=True)
    step = torch.optim.Adam([w, b, c] if args.tied else [w, v, b, c], lr=args.lr, **how)
    g, buffer = G[args.activation], torch.empty(args.batch, d)

    def model(y):
        return torch.addmm(c, g(torch.nn.functional.linear(y, w, b)), v)

    def one(index):
        y = torch.index_select(x, 0, index, out=buffer) if len(index) == args.batch else x[index]
        step.zero_grad(set_to_none=True)
        torch.nn.functional.mse_loss(model(y), y).backward()
        step.step()

    one(torch.arange(args.batch))  # warm
    ends = [time.perf_counter()]
    for _ in range(args.passes):
        for index in torch.randperm(n).split(args.batch):
            one(index)
        ends.append(time.perf_counter())
    with torch.no_grad():
        return np.diff(ends)[1:], float(sum(((model(y) - y) ** 2).sum(dtype=torch.float64) for y in x.split(1024)) / x.numel())


class Mereo:
    """The release example, waiting for fits of one matrix."""

    def __init__(self, x, folder):
        subprocess.run(["cargo", "build", "--release", "-q", "-p", "mereo", "--example", "bench_ae"], cwd=ROOT, check=True)
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        np.save(folder / "x.npy", x)
        self.child = subprocess.Popen(
            [target / "release/examples/bench_ae", folder / "x.npy"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def fit(self, ae):
        print(json.dumps(ae), file=self.child.stdin, flush=True)
        line = self.child.stdout.readline()
        if not line:
            sys.exit("bench_ae ended; its message is above")
        return json.loads(line)


def product_rate(size=4096):
    """GFLOP/s of PyTorch's f32 product of two square matrices, the best of 3."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    a @ b
    times = []
    for _ in range(3):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times) / 1e9


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--passes", type=int, default=10)
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--k", type=int, default=64)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--activation", choices=list(G), default="relu")
    p.add_argument("--tied", action="store_true")
    args = p.parse_args()
    x = rows()
    mean = x.mean(0, dtype=np.float64).astype(np.float32)
    y = x - mean
    # The power of two that brings the root mean square close to 1, as mereo's own units do.
    scale = np.float32(2.0 ** round(float(np.log2(np.sqrt(np.mean(y.astype(np.float64) ** 2))))))
    y = np.ascontiguousarray(y / scale)
    n, d = y.shape
    ae = {"k": args.k, "activation": args.activation, "tied": args.tied, "lr": args.lr, "batch": args.batch, "max_passes": args.passes, "decay": "none",
          "init": "random"}
    print(f"{n:,} x {d:,} f32, k = {args.k}, {args.activation}{', tied' if args.tied else ''}, batch {args.batch}, Adam lr {args.lr}, "
          f"{args.passes} passes, {THREADS} threads; torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    with tempfile.TemporaryDirectory() as folder:
        child = Mereo(y, pathlib.Path(folder))
        passes, mse = {}, {}
        for _ in range(args.repeats):
            for name, run in {
                "torch foreach": lambda: theirs(y, args, {"foreach": True}),
                "torch fused": lambda: theirs(y, args, {"fused": True}),
                "mereo": lambda: (lambda r: (np.diff([at for at, _ in r["curve"]]), r["mse"]))(child.fit(ae)),
            }.items():
                time.sleep(0.3)
                seconds, mse[name] = run()
                passes.setdefault(name, []).extend(seconds)
        child.child.stdin.close()
        child.child.wait()
    rate = product_rate()
    units = 2 if args.tied else 4
    middle = {name: float(np.median(seconds)) for name, seconds in passes.items()}
    for name, seconds in middle.items():
        steps = n / args.batch
        formed = units * 2 * args.batch * d * args.k + 4 * d * args.k**2 if name == "mereo" else 5 * 2 * args.batch * d * args.k
        speed = formed * steps / seconds / 1e9
        low, high = np.percentile(passes[name], (10, 90))
        print(f"  {name:14}{seconds:8.4f} s a pass ({low:.4f} to {high:.4f})  {n / seconds:10,.0f} rows/s  mse {mse[name]:.5f}  "
              f"{speed:6.1f} GFLOP/s, {speed / rate:.0%} of the product rate ({rate:.0f})")
    ratio = min(middle["torch foreach"], middle["torch fused"]) / middle["mereo"]
    print(f"  ratio {ratio:.2f}, wanted {WANTED}: {'reached' if ratio >= WANTED else 'MISSED'}")
    sys.exit(ratio < WANTED)


main()
