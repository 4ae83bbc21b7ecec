"""Makes the files that tests/all/files.rs reads, with the libraries that people write them with.

    python make.py            (numpy 2.4, scipy 1.17, pyarrow 26, safetensors 0.8, pillow 13)

All hold one of four matrices of 5 x 4, so that no expected numbers need to be stored:
    A[i, j] = (4 i + j - 7) / 4        U[i, j] = 4 i + j        B[i, j] = (i + j) % 2        S = A where (i + j) % 3 == 0, else 0
The 3-D arrays are U as 5 images of 2 x 2.
"""

import pathlib
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors
import scipy.io
import scipy.sparse as sp
from PIL import Image
from safetensors.numpy import save_file

here = pathlib.Path(__file__).parent
i, j = np.mgrid[0:5, 0:4]
A = (4 * i + j - 7) / 4
U = 4 * i + j
B = (i + j) % 2 == 1
S = np.where((i + j) % 3 == 0, A, 0)


def npy(name, x, version=None):
    with open(here / name, "wb") as f:
        np.lib.format.write_array(f, x, version)


for t in ["f2", "f4", "f8", "i1", "i2", "i4", "i8"]:
    npy(f"{t}.npy", (A if t[0] == "f" else (A * 4)).astype("<" + t))
for t in ["u1", "u2", "u4", "u8"]:
    npy(f"{t}.npy", U.astype("<" + t))
npy("b1.npy", B)
npy("f4_big.npy", A.astype(">f4"))
npy("i2_big.npy", (A * 4).astype(">i2"))
npy("f8_big_fortran.npy", np.asfortranarray(A.astype(">f8")))
npy("f4_fortran.npy", np.asfortranarray(A.astype("<f4")))
npy("images.npy", U.astype("u1").reshape(5, 2, 2))
npy("images_fortran.npy", np.asfortranarray(U.astype("u1").reshape(5, 2, 2)))
npy("version2.npy", A.astype("<f4"), (2, 0))
npy("version3.npy", A.astype("<f4"), (3, 0))
npy("one_axis.npy", np.arange(7.0))
npy("fields.npy", np.zeros(3, dtype=[("a", "<f4"), ("b", "<i8")]))
npy("complex.npy", A + 1j)

np.savez(here / "one.npz", A)
np.savez_compressed(here / "one_compressed.npz", x=A.astype("f4"))
np.savez_compressed(here / "fortran_compressed.npz", x=np.asfortranarray(A))
np.savez(here / "two.npz", x=A, y=np.arange(5))
for kind in ["csr", "csc"]:
    for compressed in [True, False]:
        for index in ["int32", "int64"]:
            m = sp.csr_array(S).asformat(kind)
            m.indices, m.indptr = m.indices.astype(index), m.indptr.astype(index)
            name = f"{kind}_{index}{'_compressed' if compressed else ''}.npz"
            sp.save_npz(here / name, m, compressed)
sp.save_npz(here / "coo.npz", sp.coo_array(S))
twice = sp.csr_matrix((np.array([1.0, 2.0, 3.0]), np.array([1, 0, 1]), np.array([0, 3])), shape=(1, 2))
sp.save_npz(here / "unordered.npz", twice)  # row 0: column 1 twice (1 + 3), column 0 after it


for t, x in [("f16", A.astype("<f2")), ("f32", A.astype("<f4")), ("f64", A), ("i64", (A * 4).astype("<i8")), ("u8", U.astype("u1"))]:
    save_file({"x": x}, here / f"{t}.safetensors")
bf16 = (A.astype("<f4").view("<u4") >> 16).astype("<u2")  # numpy has no bfloat16
spec = safetensors.TensorSpec(dtype="bfloat16", shape=bf16.shape, data_ptr=bf16.ctypes.data, data_len=bf16.nbytes)
(here / "bf16.safetensors").write_bytes(safetensors.serialize({"x": spec}))
save_file({"bias": np.arange(4, dtype="<f4"), "weight": A.astype("<f4")}, here / "layer.safetensors")
save_file({"a": A * 2, "b": A}, here / "layers.safetensors", {"made": "by hand"})

rows = [list(r) for r in A]
fixed = pa.FixedSizeListArray.from_arrays(pa.array(A.ravel(), pa.float32()), 4)
title = pa.array([f"paper {r}" for r in range(5)])
pq.write_table(pa.table({"id": np.arange(5), "title": title, "vector": fixed}), here / "fixed.parquet", row_group_size=2)
for t in [pa.float16(), pa.float32(), pa.float64(), pa.int8()]:
    values = [[t.to_pandas_dtype()(v * 4 if t == pa.int8() else v) for v in r] for r in rows]
    pq.write_table(pa.table({"vector": pa.array(values, pa.list_(t))}), here / f"list_{t}.parquet", row_group_size=3)
pq.write_table(pa.table({"vector": pa.array(rows, pa.large_list(pa.float64()))}), here / "large_list.parquet", compression="zstd")
frame = {"a": A[:, 0].astype("f4"), "name": title, "b": A[:, 1], "c": A[:, 2].astype("f2"), "d": A[:, 3], "__index_level_0__": np.arange(5)}
for codec in ["snappy", "gzip", "zstd", "none", "lz4"]:
    pq.write_table(pa.table(frame), here / f"columns_{codec}.parquet", compression=codec, row_group_size=2)
pq.write_table(pa.table({"a": pa.array([1.0, None, 3.0]), "b": pa.array([1, 2, 3])}), here / "missing.parquet")
pq.write_table(pa.table({"vector": pa.array([[1.0, 2.0], None])}), here / "missing_list.parquet")
pq.write_table(pa.table({"vector": pa.array([[1.0, 2.0], [3.0, None]])}), here / "missing_element.parquet")
pq.write_table(pa.table({"vector": pa.array([[1.0, 2.0], [3.0]])}), here / "ragged.parquet")
pq.write_table(pa.table({"vector": pa.array([[1.0, 2.0], [3.0, -1e300]])}), here / "too_large.parquet")
pq.write_table(pa.table({"a": fixed, "b": fixed}), here / "two_lists.parquet")
pq.write_table(pa.table({"title": title}), here / "text.parquet")
pq.write_table(pa.table({"a": pa.array([], pa.float32())}), here / "no_rows.parquet")

scipy.io.mmwrite(here / "array.mtx", A)
scipy.io.mmwrite(here / "coordinate.mtx", sp.coo_array(S), comment="by scipy")
scipy.io.mmwrite(here / "integer.mtx", sp.coo_array((S * 4).astype(int)))
scipy.io.mmwrite(here / "pattern.mtx", sp.coo_array(B.astype("f4")), field="pattern")
scipy.io.mmwrite(here / "symmetric.mtx", sp.coo_array(U[:4] + U[:4].T), symmetry="symmetric")
scipy.io.mmwrite(here / "skew.mtx", sp.coo_array(U[:4] - U[:4].T), symmetry="skew-symmetric")
scipy.io.mmwrite(here / "symmetric_array.mtx", U[:4] + U[:4].T, symmetry="symmetric")
scipy.io.mmwrite(here / "skew_array.mtx", (U[:4] - U[:4].T).astype(float), symmetry="skew-symmetric")
scipy.io.mmwrite(here / "complex.mtx", A + 1j)

for compressed in [True, False]:
    end = "_compressed" if compressed else ""
    scipy.io.savemat(here / f"one{end}.mat", {"x": A, "n": 3, "name": "text", "v": np.arange(4.0)}, do_compression=compressed)
    several = {"single": A.astype("f4"), "uint8": U.astype("u1"), "int16": (A * 4).astype("i2"), "int64": (A * 4).astype("i8"), "s": sp.csc_array(S)}
    several |= {"logical": B, "complex": A + 1j, "cube": np.zeros((2, 3, 4)), "struct": {"x": A}, "cell": np.array([1, "a"], dtype=object)}
    scipy.io.savemat(here / f"several{end}.mat", several, do_compression=compressed)
scipy.io.savemat(here / "version4.mat", {"x": A}, format="4")


def part(kind, data):
    return struct.pack(">II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


# scipy doesn't write numbers that begin with their most significant byte; old Macs and SPARCs did.
body = part(6, struct.pack(">II", 6, 0)) + part(5, struct.pack(">ii", 5, 4)) + part(1, b"x") + part(9, A.T.astype(">f8").tobytes())
(here / "big.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x0100) + b"MI" + part(14, body))

for name in ["grey", "grey/s2", "mixed", "sizes"]:
    (here / "images" / name).mkdir(parents=True, exist_ok=True)
ramp = (np.arange(12).reshape(3, 4) * 20).astype("u1")
Image.fromarray(ramp).save(here / "images/grey/b.png")
Image.fromarray(255 - ramp).save(here / "images/grey/a.pgm")
Image.fromarray(ramp).save(here / "images/grey/s2/1.PNG")
(here / "images/grey/notes.txt").write_text("not an image\n")
Image.fromarray(np.stack([ramp, ramp, ramp], 2)).save(here / "images/mixed/1.png")
Image.fromarray(np.stack([ramp, 0 * ramp, 0 * ramp], 2)).save(here / "images/mixed/2.ppm")
Image.fromarray(np.full((3, 4), 200, "u1")).save(here / "images/mixed/3.jpg", quality=95)
Image.fromarray(ramp.astype("u2") * 257).save(here / "images/mixed/4.png")
(here / "images/mixed/5.pgm").write_bytes(b"P5\n# to 15\n4 3\n15\n" + bytes(range(12)))
(here / "images/mixed/6.pgm").write_text("P2\n4 3\n255\n" + " ".join(str(v) for v in ramp.ravel()) + "\n")
Image.fromarray(np.full((3, 4), 51, "u1")).save(here / "images/sizes/1.png")
Image.fromarray(np.full((6, 8), 102, "u1")).save(here / "images/sizes/2.png")
