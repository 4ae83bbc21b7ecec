#!/usr/bin/env python3
"""Sentence embeddings of mereo beside sentence-transformers on PyTorch: same weights, texts and number of threads, in one run.

    pip install numpy torch sentence-transformers pyarrow
    python bench/embed.py MODEL [--texts N] [--repeats N]

MODEL is a folder as sentence-transformers saves it, or a name in the cache of Hugging Face (all-MiniLM-L6-v2); nothing is downloaded. Texts: "title. abstract" of
arXiv papers, cut to 1,400 characters (../shared/data or $MEREO_TEST_DATA). PyTorch runs as its users run it, `encode` with batches of 32 sorted
by length, and also of 8, of which the faster counts. Runs are taken in turn, the median counts; tokens are cut within the time on both sides. Left out:
starting, loading. Texts a second, their ratio, and the smallest cosine between both are printed, and that to the stored vectors if the model is theirs.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

THREADS = os.environ.get("MEREO_BENCH_THREADS", "2")
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = THREADS
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np  # noqa: E402  (after the number of threads is set)
import pyarrow.parquet as pq  # noqa: E402
import torch  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("MEREO_TEST_DATA", ROOT.parent / "shared" / "data")) / "arxiv"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
torch.set_num_threads(int(THREADS))
WANTED = 1.3


def cosine(a, b):
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    subprocess.run(["cargo", "build", "-q", "--release", "-p", "mereo-text", "--example", "bench_embed"], cwd=ROOT, check=True)
    program = TARGET / "release" / "examples" / "bench_embed"

    columns = pq.read_table(DATA / "abstracts_80000.parquet", columns=["title", "abstract"]).slice(0, args.texts).to_pylist()
    texts = [f"{c['title']}. {c['abstract']}"[:1400] for c in columns]
    encoder = SentenceTransformer(args.model, device="cpu")
    encoder.encode(texts[:64])

    theirs, ours = {8: [], 32: []}, []
    with tempfile.TemporaryDirectory() as folder:
        given, out = pathlib.Path(folder) / "texts.jsonl", pathlib.Path(folder) / "out.f32"
        given.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
        for _ in range(args.repeats):
            for batch, seconds in theirs.items():
                started = time.perf_counter()
                rows = encoder.encode(texts, batch_size=batch)
                seconds.append(time.perf_counter() - started)
            said = json.loads(subprocess.run([program, args.model, given, out, "1"], check=True, capture_output=True, text=True).stdout)
            ours += said["seconds"]
        got = np.fromfile(out, "<f4").reshape(len(texts), said["dim"]).astype(np.float64)

    rate = {batch: len(texts) / statistics.median(s) for batch, s in theirs.items()}
    best, mine = max(rate.values()), len(texts) / statistics.median(ours)
    print(f"{len(texts)} texts, {THREADS} threads, {os.path.basename(args.model.rstrip('/'))}")
    print("sentence-transformers: " + ", ".join(f"{r:.0f} texts/s in batches of {b}" for b, r in rate.items()))
    print(f"mereo: {mine:.0f} texts/s (loading {said['loading']:.2f} s)")
    print(f"ratio {mine / best:.2f} (wanted {WANTED}); smallest cosine to theirs {cosine(got, rows.astype(np.float64)):.7f}")
    stored = DATA / "minilm_80000x384_f16.npy"
    if "minilm-l6" in args.model.lower().replace("_", "-") and stored.exists():
        print(f"smallest cosine to the stored vectors {cosine(got, np.load(stored, mmap_mode='r')[: len(texts)].astype(np.float64)):.6f}")


main()
