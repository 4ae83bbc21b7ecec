"""Rows as the core reads them: arrays in place, sparse matrices, files, and sources that hand out blocks."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Callable

import numpy as np

from . import _core

log = logging.getLogger("mereo")

_LOUD = 100 << 20
"""Bytes of a copy that is worth a warning."""
_BLOCK = 32 << 20
"""Bytes of a block that is read at once."""


class DataCopyWarning(UserWarning):
    """A large array had to be copied, because it was not float32 row after row."""


class File:
    """Rows in a file, read block by block where they are more than memory holds.

    Parameters
    ----------
    path : str or path-like
        ``.npy``, ``.npz`` (dense, or SciPy's CSR), ``.csv``, ``.tsv``, ``.safetensors``, ``.parquet``, ``.mtx``, ``.mat``, or a folder of images.
    memory : int, optional
        Bytes to work in; rows that take more than a third of it stay in the file. By itself, what the machine has.
    column : str, optional
        Parquet: the column that holds the rows as lists of numbers.
    variable : str, optional
        npz, mat, safetensors: the array to take.
    header : bool, optional
        csv, tsv: whether the first line names the columns; seen from the file by itself.
    resize : tuple of int, optional
        Folder of images: height and width to bring each to.

    Examples
    --------
    >>> import mereo, numpy as np, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "x.npy"
    >>> np.save(path, np.eye(8, dtype=np.float32))
    >>> mereo.PCA(2).fit(mereo.File(path, memory=1 << 30)).components_.shape
    (2, 8)
    """

    path: str
    how: str
    memory: int | None

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        memory: int | None = None,
        column: str | None = None,
        variable: str | None = None,
        header: bool | None = None,
        resize: tuple[int, int] | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self.memory = memory
        self.how = json.dumps({"column": column, "variable": variable, "header": header, "resize": resize})

    def __repr__(self) -> str:
        return f"mereo.File({self.path!r})"


class Blocks:
    """Rows that a function reads, a span at a time: anything that knows its length and can be read more than once.

    Parameters
    ----------
    read : callable
        ``read(start, stop)`` gives rows start to stop as something of 2 dimensions that NumPy takes.
    shape : tuple of int
        Number of rows and of columns.
    step : int, optional
        Rows of a block; by itself those of 32 MiB.

    Examples
    --------
    >>> import mereo, numpy as np
    >>> x = np.random.default_rng(0).random((1000, 8))
    >>> rows = mereo.Blocks(lambda start, stop: x[start:stop], x.shape)
    >>> mereo.NMF(3, random_state=0).fit(rows).components_.shape
    (3, 8)
    """

    shape: tuple[int, int]
    step: int

    def __init__(self, read: Callable[[int, int], Any], shape: tuple[int, int], step: int | None = None) -> None:
        rows, cols = (int(n) for n in shape)
        self.shape = (rows, cols)
        self.step = int(step) if step else max(1, _BLOCK // max(1, 4 * cols))
        self._read = read

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop as float32, row after row."""
        x = np.asarray(_host(self._read(start, stop)))
        if x.ndim != 2 or x.shape != (stop - start, self.shape[1]):
            raise ValueError(
                f"rows {start} to {stop} were read with the shape {x.shape}; give {(stop - start, self.shape[1])}"
            )
        return _narrow(x, quiet=True)

    @classmethod
    def of_sequence(cls, items: Any, key: Any = None) -> Blocks:
        """Rows of anything with a length and items: a list, a ``torch.utils.data.Dataset``, a column of a Hugging Face dataset.

        ``key`` picks the row out of each item: a name where items are dicts, a number where they are tuples (0 by itself).
        """

        def row(item: Any) -> np.ndarray:
            if key is not None:
                item = item[key]
            elif isinstance(item, (tuple, list)) and item and np.ndim(_host(item[0])) > 0:
                item = item[0]
            elif isinstance(item, dict):
                raise TypeError(f"items are dicts with the keys {sorted(item)}; say which holds the rows: key=...")
            return np.asarray(_host(item), dtype=np.float32).reshape(-1)

        count = len(items)
        if count == 0:
            raise ValueError("Found data with 0 sample(s) while a minimum of 1 is required.")
        cols = row(items[0]).size

        def read(start: int, stop: int) -> np.ndarray:
            return np.stack([row(items[i]) for i in range(start, stop)])

        return cls(read, (count, cols))

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<mereo.Blocks of {self.shape[0]} rows of {self.shape[1]} columns>"


class Spooled(Blocks):
    """Blocks of an iterator, kept in a temporary file since a fit reads them more than once."""

    def __init__(self, blocks: Iterable[Any]) -> None:
        self._file = tempfile.TemporaryFile(prefix="mereo-")
        rows, cols = 0, None
        for block in blocks:
            # A loader of rows and labels gives both.
            block = block[0] if isinstance(block, (tuple, list)) and len(block) and np.ndim(_host(block[0])) == 2 else block
            x = np.asarray(_host(block))
            if x.ndim != 2:
                raise ValueError(f"an iterator must give blocks of 2 dimensions, this one gave {x.ndim}")
            if cols is None:
                cols = x.shape[1]
            if x.shape[1] != cols:
                raise ValueError(f"a block has {x.shape[1]} columns where those before it had {cols}")
            self._file.write(memoryview(_narrow(x, quiet=True)).cast("B") if x.size else b"")
            rows += x.shape[0]
        self._file.flush()
        if rows == 0 or not cols:
            raise ValueError("Found data with 0 sample(s) while a minimum of 1 is required: the iterator gave no rows.")
        kept = np.memmap(self._file, dtype=np.float32, mode="r", shape=(rows, cols))
        super().__init__(lambda start, stop: kept[start:stop], (rows, cols))


class Rows:
    """Rows that were looked at.

    Attributes
    ----------
    table : object
        What the core takes.
    shape : tuple of int
        Rows and columns.
    dtype : type
        Of what is given back for them: float64 where they were float64, else float32.
    names : ndarray of str or None
        Names of the columns.
    image : tuple of int or None
        Height and width of the images that rows are, where a file says so.
    memory : int or None
        Bytes to work in, where that was said.
    """

    def __init__(self, table: Any, shape: tuple[int, int], dtype: Any, names: Any, label: str) -> None:
        self.table, self.shape, self.dtype, self.names, self.label = table, shape, dtype, names, label
        self.image: tuple[int, int] | None = None
        self.memory: int | None = None

    @property
    def values(self) -> np.ndarray | None:
        """The stored numbers, where they are in memory."""
        if isinstance(self.table, np.ndarray):
            return self.table
        return self.table[2] if isinstance(self.table, tuple) else None

    def dense(self) -> np.ndarray:
        """All rows as an array of f32."""
        if isinstance(self.table, np.ndarray):
            return self.table
        if isinstance(self.table, tuple):
            indptr, indices, data, cols = self.table
            out = np.zeros((len(indptr) - 1, cols), np.float32)
            out[np.repeat(np.arange(len(indptr) - 1), np.diff(indptr.astype(np.int64))), indices] = data
            return out
        if isinstance(self.table, Blocks):
            return self.table.read(0, self.table.shape[0])
        return self.table.array()


def _host(x: Any) -> Any:
    """What NumPy can look at: tensors without their history, on this machine's processor."""
    if hasattr(x, "detach") and hasattr(x, "device"):
        if str(x.device) != "cpu":
            raise TypeError(f"the tensor is on {x.device}; give tensor.cpu()")
        x = x.detach()
        return x.float() if str(x.dtype) == "torch.bfloat16" else x
    if not hasattr(x, "__array__") and hasattr(x, "__dlpack__"):
        return np.from_dlpack(x)
    return x


def _is_sparse(x: Any) -> bool:
    return hasattr(x, "tocsr") and hasattr(x, "nnz")


def _narrow(x: np.ndarray, quiet: bool = False) -> np.ndarray:
    """float32, row after row, aligned: the same memory where it is that already."""
    if x.dtype == np.float32 and x.flags.c_contiguous and x.flags.aligned and x.dtype.isnative:
        return np.asarray(x)
    if x.dtype.kind == "c":
        raise ValueError(f"Complex data not supported\n{x!r}\n; give the real part, or both parts as columns")
    if x.dtype.kind in "USOV" or x.dtype.kind in "mM":
        try:
            wide = np.asarray(x, dtype=np.float64)
        except (ValueError, TypeError) as error:
            if isinstance(error, TypeError):
                raise
            raise ValueError(f"the data has entries that are no numbers ({error}); turn them into numbers, or drop the column") from None
        return _narrow(wide, quiet)
    with np.errstate(over="ignore", invalid="ignore"):
        out = np.require(x, np.float32, ["C", "A"])
    if x.dtype.kind == "f" and x.dtype.itemsize > 4 and out.size:
        # What float32 can't hold must not become infinite in silence.
        lost = np.isinf(out) & np.isfinite(x) if not np.isfinite(out.sum(dtype=np.float64)) else None
        if lost is not None and lost.any():
            at = tuple(int(i) for i in np.argwhere(lost)[0])
            raise ValueError(f"the number {x[at]} at {at} is beyond float32, in which mereo computes; rescale the data")
    if not quiet:
        what = "in another order" if x.dtype == np.float32 else str(x.dtype)
        log.info("rows of shape %s were %s: copied to float32 (%.1f MB)", x.shape, what, out.nbytes / 1e6)
        if out.nbytes >= _LOUD:
            warnings.warn(
                f"{x.shape[0]} rows were {what} and are copied to float32 ({out.nbytes / 1e6:.0f} MB); "
                "give a C-ordered float32 array to have them used in place",
                DataCopyWarning,
                stacklevel=4,
            )
    return out


def _names(x: Any) -> Any:
    """Names of the columns of a frame, if all of them are words."""
    columns = getattr(x, "column_names", None)
    if columns is None or callable(columns):
        columns = getattr(x, "columns", None)
    if columns is None or callable(columns):
        return None
    names = np.asarray(list(columns), dtype=object)
    kinds = {isinstance(name, str) for name in names}
    if len(names) == 0 or kinds == {False}:
        return None
    if kinds == {True, False}:
        raise TypeError(
            "Feature names are only supported if all input features have string names, but your input has "
            f"{sorted({type(name).__name__ for name in names})} as feature name / column name types. If you want feature names to be stored and "
            "validated, you must convert them all to strings, by using X.columns = X.columns.astype(str) for example. Otherwise you can remove "
            "feature / column names from your input data, or convert them all to a non-string data type."
        )
    return names


def look(x: Any, *, who: str, sparse: bool = True, minimum: int = 1) -> Rows:
    """Rows of anything that holds some.

    Raises
    ------
    TypeError
        Something that holds no rows.
    ValueError
        No rows, no columns, not 2 dimensions, numbers that aren't real or too large.
    """
    if isinstance(x, Rows):
        return x
    if isinstance(x, (str, os.PathLike)):
        x = File(x)
    if isinstance(x, File):
        opened = _core.Opened(x.path, x.how, x.memory)
        _enough(opened.shape, who, minimum)
        names = None if opened.columns is None else np.asarray(opened.columns, dtype=object)
        rows = Rows(opened, opened.shape, np.float32, names, os.path.splitext(os.path.basename(x.path.rstrip("/")))[0] or x.path)
        rows.image, rows.memory = opened.image, x.memory
        return rows
    if isinstance(x, Blocks):
        _enough(x.shape, who, minimum)
        return Rows(x, x.shape, np.float32, None, "blocks")
    if _is_sparse(x):
        return _of_sparse(x, who, sparse, minimum)
    names = _names(x)
    x = _host(x)
    if x is None or isinstance(x, (bytes, dict, set)):
        raise TypeError(f"{who} needs rows and columns of numbers, not {type(x).__name__}; give an array, a matrix, a frame or a path")
    loader = hasattr(x, "__iter__") and not hasattr(x, "__array__") and not hasattr(x, "__getitem__")
    if isinstance(x, Iterator) or loader:
        return look(Spooled(x), who=who, minimum=minimum)
    if isinstance(x, np.memmap) and x.ndim == 2 and x.dtype.kind in "fiu" and x.nbytes > _BLOCK and (
        x.dtype != np.float32 or not x.flags.c_contiguous or not x.dtype.isnative
    ):
        mapped = x
        return look(Blocks(lambda start, stop: mapped[start:stop], x.shape), who=who, minimum=minimum)
    if not isinstance(x, (np.ndarray, list, tuple)) and not hasattr(x, "__array__") and hasattr(x, "__getitem__") and hasattr(x, "__len__"):
        return look(Blocks.of_sequence(x), who=who, minimum=minimum)
    try:
        if hasattr(x, "to_numpy") and hasattr(x, "isna"):
            # A frame's own missing values are NaN here.
            x = x.to_numpy(dtype=np.float64, na_value=np.nan) if any("Int" in str(t) or "Float" in str(t) for t in getattr(x, "dtypes", ())) else x
        x = np.asarray(x)
    except ValueError as error:
        if "inhomogeneous" in str(error):
            raise ValueError(f"the rows have different lengths (ragged); {who} needs as many columns in every row") from None
        raise
    if x.ndim == 0:
        raise ValueError(f"Expected 2D array, got scalar array instead:\narray={x}.\nGive {who} a row for each sample and a column for each feature.")
    if x.ndim == 1:
        raise ValueError(
            f"Expected 2D array, got 1D array instead:\narray={x}.\nReshape your data either using array.reshape(-1, 1) if your data has a single "
            "feature or array.reshape(1, -1) if it contains a single sample."
        )
    if x.ndim > 2:
        raise ValueError(
            f"Found array with dim {x.ndim}, while dim <= 2 is required by {who}. Images become rows by X.reshape(len(X), -1)."
        )
    _enough(x.shape, who, minimum)
    dtype = np.float64 if x.dtype == np.float64 or x.dtype.kind in "OUS" else np.float32
    return Rows(_narrow(x), x.shape, dtype, names, "array")


def _of_sparse(x: Any, who: str, allowed: bool, minimum: int) -> Rows:
    if not allowed:
        raise TypeError(f"{who} doesn't take sparse matrices; give X.toarray()")
    if len(x.shape) != 2:
        raise ValueError(f"Found sparse array with dim {len(x.shape)}, while dim 2 is required by {who}.")
    _enough(x.shape, who, minimum)
    if x.dtype.kind == "c":
        raise ValueError("Complex data not supported: give the real part, or both parts as columns")
    dtype = np.float64 if x.dtype == np.float64 else np.float32
    csr = x.tocsr()
    if not csr.has_canonical_format:
        csr = csr.copy() if csr is x else csr
        csr.sum_duplicates()
    if csr.shape[1] > np.iinfo(np.int32).max:
        raise ValueError(f"{csr.shape[1]} columns are more than 32 bits can count")
    data = _narrow(np.atleast_2d(csr.data), quiet=True)[0]
    indices = np.ascontiguousarray(csr.indices, dtype=np.int32).view(np.uint32)
    return Rows((np.ascontiguousarray(csr.indptr, dtype=np.uint64), indices, data, int(csr.shape[1])), csr.shape, dtype, None, "sparse matrix")


def _enough(shape: tuple[int, int], who: str, minimum: int) -> None:
    rows, cols = shape
    if rows < minimum:
        raise ValueError(f"Found array with {rows} sample(s) (shape={tuple(shape)}) while a minimum of {minimum} is required by {who}.")
    if cols < 1:
        raise ValueError(f"Found array with {cols} feature(s) (shape={tuple(shape)}) while a minimum of 1 is required by {who}.")
