#!/usr/bin/env python3
"""A TopK sparse autoencoder of mereo beside PyTorch: same rows, start, batches' size, steps, lr and number of threads, in one run.

    pip install numpy torch
    python bench/sae.py [--case arxiv|large|all] [--passes N] [--seeds N] [--lr LR]

Cases: `arxiv`: MiniLM embeddings, d = 384, n = 6,144, k = 64 (72,000 rows of ../shared/data or $MEREO_TEST_DATA to train, 8,000 to test; planted ones
without); `large`: d = 1,536, n = 9,216, k = 64, rows planted from a dictionary. Batch 1,024.

PyTorch is the recipe of O'Neill et al. as a good user writes it: TopK of the pre-activations, ReLU after, decode, normalised MSE, the gradient's part along the
decoder taken off, clipped to length 1, fused Adam, decoder rows back to length 1; weights contiguous for the products; the forward pass through
torch.compile where a compiler is found, and f32 or bf16 autocast, whichever is faster in a trial of a few steps. The auxiliary loss is switched off on
both sides, since it costs PyTorch a second decode a step and mereo nothing while no latent is dead. mereo's seconds include what its driver does
besides: choosing the order, picking batches, counting latents, a copy of the state a pass. FVU is that of rows that neither saw.

Printed: rows a second, the ratio, FVU of both, peak memory, and the share of the floor: the encoder's product at this machine's f32 rate and one pass of Adam at its
rate of memory (28 bytes a weight).
"""

import argparse
import json
import os
import pathlib
import resource
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
WANTED = 4.0
CASES = {"arxiv": (384, 6144, 64), "large": (1536, 9216, 64)}
BATCH = 1024


def planted(rows, d, atoms, alive, seed=0):
    r = np.random.default_rng(seed)
    v = r.standard_normal((atoms, d), np.float32)
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    x = np.empty((rows, d), np.float32)
    for i in range(rows):
        x[i] = (0.5 + r.random(alive, np.float32)) @ v[r.integers(0, atoms, alive)]
    x += 0.1 * r.standard_normal(x.shape, np.float32) * (np.linalg.norm(x, axis=1, keepdims=True) / d**0.5)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def rows(case):
    if case == "arxiv" and (DATA / "arxiv").is_dir():
        x = np.load(DATA / "arxiv/minilm_80000x384_f16.npy").astype(np.float32)
        test = np.load(DATA / "arxiv/test_8000_i32.npy")
        keep = np.ones(len(x), bool)
        keep[test] = False
        return np.ascontiguousarray(x[keep]), np.ascontiguousarray(x[test])
    d = CASES[case][0]
    x = planted(18_000 if d > 1000 else 40_000, d, 4 * d, 40)
    return x[2048:], x[:2048]


class Torch:
    """The recipe; `start` holds W = V (n×d) and b."""

    def __init__(self, start, k, lr, bf16, compiled):
        v, b = start
        self.k, self.lr, self.bf16 = k, lr, bf16
        self.w = torch.from_numpy(v.copy()).requires_grad_()
        self.v = torch.from_numpy(v.copy()).requires_grad_()
        self.be = torch.zeros(len(v), requires_grad=True)
        self.b = torch.from_numpy(b.copy()).requires_grad_()
        self.params = [self.w, self.v, self.be, self.b]
        self.adam = torch.optim.Adam(self.params, lr=lr, fused=True)
        self.forward = torch.compile(self.plain) if compiled else self.plain

    def plain(self, x):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            a = torch.nn.functional.linear(x - self.b, self.w, self.be)
            top, at = torch.topk(a, self.k, sorted=False)
            h = torch.zeros_like(a).scatter_(1, at, torch.relu(top))
            y = h @ self.v
        y = y.float() + self.b
        return ((y - x) ** 2).mean() / ((x - x.mean(0)) ** 2).mean()

    def step(self, x, lr):
        for group in self.adam.param_groups:
            group["lr"] = lr
        self.adam.zero_grad(set_to_none=True)
        self.forward(x).backward()
        with torch.no_grad():
            g = self.v.grad
            g.sub_((g * self.v).sum(1, keepdim=True) * self.v)
            torch.nn.utils.clip_grad_norm_(self.params, 1.0, foreach=True)
            self.adam.step()
            self.v.div_(torch.linalg.vector_norm(self.v, dim=1, keepdim=True))

    @torch.no_grad()
    def fvu(self, x):
        e = torch.zeros((), dtype=torch.float64)
        for x_ in x.split(2048):
            top, at = torch.topk(torch.nn.functional.linear(x_ - self.b, self.w, self.be), self.k)
            y = torch.zeros(len(x_), len(self.w)).scatter_(1, at, torch.relu(top)) @ self.v + self.b
            e += ((y - x_) ** 2).sum(dtype=torch.float64)
        return float(e / ((x - x.mean(0)) ** 2).sum(dtype=torch.float64))

    def fit(self, x, passes, seed):
        g = torch.Generator().manual_seed(seed)
        steps = passes * -(-len(x) // BATCH)
        start, t = time.perf_counter(), 0
        for _ in range(passes):
            for at in torch.randperm(len(x), generator=g).split(BATCH):
                self.step(x[at], self.lr * (1 - t / steps))
                t += 1
        return time.perf_counter() - start


def kinds():
    """Ways to run PyTorch here."""
    halves = [False]
    flags = pathlib.Path("/proc/cpuinfo").read_text() if pathlib.Path("/proc/cpuinfo").exists() else ""
    if "avx512_bf16" in flags or "amx_bf16" in flags:
        halves.append(True)
    else:
        print("  bf16 left out: this processor has no instruction for it (30 times slower than f32 where it was tried)")
    found = [(bf16, False) for bf16 in halves]
    try:
        torch.compile(lambda x: x.relu() + 1)(torch.ones(4))
        found += [(bf16, True) for bf16 in halves]
    except Exception as e:  # no compiler
        print(f"  torch.compile left out: {type(e).__name__}")
    return found


def fastest(start, x, k, lr):
    times = {}
    for bf16, compiled in kinds():
        sae = Torch(start, k, lr, bf16, compiled)
        sae.step(x[:BATCH], lr)
        begun = time.perf_counter()
        for i in range(2):
            sae.step(x[i * BATCH : (i + 1) * BATCH], lr)
        times[bf16, compiled] = (time.perf_counter() - begun) / 2
    names = {kind: f"{'bf16' if kind[0] else 'f32'}{', compiled' if kind[1] else ''}" for kind in times}
    print("  PyTorch, s a step: " + "; ".join(f"{names[kind]} {t:.3f}" for kind, t in times.items()))
    best = min(times, key=times.get)
    return best, names[best]


class Mereo:
    """The release example, waiting for fits."""

    def __init__(self, x, test, folder):
        subprocess.run(["cargo", "build", "--release", "-q", "-p", "mereo", "--example", "bench_sae"], cwd=ROOT, check=True)
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        np.save(folder / "x.npy", x)
        np.save(folder / "test.npy", test)
        self.start = folder
        args = [target / "release/examples/bench_sae", folder / "x.npy", folder / "test.npy", self.start]
        self.child = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def fit(self, sae):
        print(json.dumps(sae), file=self.child.stdin, flush=True)
        line = self.child.stdout.readline()
        if not line:
            sys.exit("bench_sae ended; its message is above")
        return json.loads(line)


def floor(d, n):
    """Seconds of the encoder's product of a batch, and of one pass of Adam over both matrices, at the rates of this machine."""
    a, b = torch.rand(BATCH, d), torch.rand(n, d)
    v = [torch.rand(2 * n * d) for _ in range(4)]
    a @ b.T
    products, passes = [], []
    for _ in range(3):
        t = time.perf_counter()
        a @ b.T
        products.append(time.perf_counter() - t)
        t = time.perf_counter()
        v[0].add_(v[1], alpha=0.5)
        v[2].add_(v[3], alpha=0.5)
        passes.append((time.perf_counter() - t) * 28 / 24)
    return min(products), min(passes)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--case", choices=[*CASES, "all"], default="all")
    p.add_argument("--passes", type=int, default=2)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--lr", type=float, default=1e-3)
    args = p.parse_args()
    print(f"{THREADS} threads; torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    missed = False
    for case in CASES if args.case == "all" else [args.case]:
        d, n, k = CASES[case]
        x, test = rows(case)
        print(f"{case}: {len(x):,} x {d} f32, n = {n}, k = {k}, batch {BATCH}, lr {args.lr} falling to 0, {args.passes} passes, {args.seeds} seeds")
        with tempfile.TemporaryDirectory() as folder:
            child = Mereo(x, test, pathlib.Path(folder))
            tx, kind, ours, theirs = torch.from_numpy(x), None, [], []
            for seed in range(args.seeds):
                sae = {"latents": n, "k": k, "lr": args.lr, "batch": BATCH, "max_passes": args.passes, "aux": "none", "seed": seed}
                ours.append(child.fit(sae))
                start = np.load(child.start / "decoder.npy"), np.load(child.start / "bias.npy")[0]
                if kind is None:
                    kind, name = fastest(start, tx, k, args.lr)
                net = Torch(start, k, args.lr, *kind)
                if kind[1]:
                    net.forward(tx[:BATCH]).backward()
                seconds = net.fit(tx, args.passes, seed)
                theirs.append({"seconds": seconds, "fvu": net.fvu(torch.from_numpy(test))})
                print(f"  seed {seed}: mereo {ours[-1]['seconds']:.2f} s, FVU {ours[-1]['fvu']:.4f}; PyTorch {seconds:.2f} s, FVU {theirs[-1]['fvu']:.4f}")
            child.child.stdin.close()
            child.child.wait()
        steps = args.passes * -(-len(x) // BATCH)
        best = [min(r["seconds"] for r in side) for side in (ours, theirs)]
        fvu = [sum(r["fvu"] for r in side) / args.seeds for side in (ours, theirs)]
        product, adam = floor(d, n)
        least = steps * (product + adam)
        ratio = best[1] / best[0]
        print(f"  mereo   {args.passes * len(x) / best[0]:10,.0f} rows/s   FVU {fvu[0]:.4f}   {ours[0]['memory'] / 2**20:,.0f} MiB at most")
        print(f"  PyTorch {args.passes * len(x) / best[1]:10,.0f} rows/s   FVU {fvu[1]:.4f}   {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB at most   ({name})")
        print(f"  floor {1e3 * (product + adam):.1f} ms a step (product {1e3 * product:.1f}, Adam {1e3 * adam:.1f}); mereo takes {best[0] / least:.2f} of it, PyTorch {best[1] / least:.2f}")
        ok = ratio >= WANTED and abs(fvu[0] / fvu[1] - 1) <= 0.01 and best[0] <= 2 * least
        missed |= not ok
        print(f"  ratio {ratio:.2f}, wanted {WANTED}; FVU apart by {fvu[0] / fvu[1] - 1:+.2%}: {'reached' if ok else 'MISSED'}")
    sys.exit(missed)


main()
