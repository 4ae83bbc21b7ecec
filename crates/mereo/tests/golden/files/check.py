"""Reads what mereo writes with numpy, scipy and pyarrow. Run by hand:

    MEREO_CHECK=/tmp/check cargo test -p mereo --test all for_others
    python check.py /tmp/check
"""

import pathlib
import sys

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import scipy.sparse as sp

at = pathlib.Path(sys.argv[1])
n = np.arange(7000, dtype="f4")
m = np.where(n % 3 == 0, np.float32(0), np.float32(1) / np.maximum(n, np.float32(1))).astype("f4").reshape(1000, 7)
z = np.array([[1.5, 0, 0, -2], [0, 0, 0, 0], [0, 0.25, 0, 0]], "f4")


def same(name, got, want):
    assert got.dtype == np.float32 and got.shape == want.shape and (got == want).all(), (name, got.dtype, got.shape)
    print("ok", name)


def lists(name):
    column = pq.read_table(at / name).column("values").combine_chunks()
    return column.values.to_numpy(zero_copy_only=False).reshape(len(column), -1)


for name, want in [("atoms", m), ("sparse", z), ("dense", m)]:
    same(f"{name}.npy", np.load(at / f"{name}.npy"), want)
    same(f"{name}.csv", np.loadtxt(at / f"{name}.csv", delimiter=",", dtype="f4"), want)
    same(f"{name}.parquet", lists(f"{name}.parquet"), want)
same("atoms.tsv", np.loadtxt(at / "atoms.tsv", delimiter="\t", dtype="f4"), m)
for name, want in [("sparse", z), ("dense", m)]:
    got = sp.load_npz(at / f"{name}.npz")
    assert got.format == "csr" and got.has_canonical_format and got.nnz == np.count_nonzero(want)
    same(f"{name}.npz", got.toarray(), want)
table = pq.read_table(at / "named.parquet")
assert table.column_names == [f"part {c}" for c in range(7)]
same("named.parquet", np.stack([c.to_numpy() for c in table.columns], 1), m)
table = pyarrow.csv.read_csv(at / "named.csv")
assert table.column_names == [f"part {c}" for c in range(7)]
same("named.csv", np.stack([c.to_numpy() for c in table.columns], 1).astype("f4"), m)
