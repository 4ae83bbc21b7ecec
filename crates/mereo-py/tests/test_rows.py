"""What rows may be."""

import logging
import pathlib
import warnings

import numpy as np
import pytest
import scipy.sparse as sp

import mereo
from mereo._rows import look


@pytest.fixture(scope="module")
def x():
    # Whole numbers, so that every type can hold them.
    return mereo.load_data("digits")[0] * 16


@pytest.fixture(scope="module")
def codes(x):
    return mereo.PCA(4).fit(x).transform(x)


def test_float32_is_used_in_place(x):
    assert np.shares_memory(look(x, who="test").table, x)
    assert np.shares_memory(look(x[100:900], who="test").table, x)
    readonly = x.copy()
    readonly.flags.writeable = False
    assert np.shares_memory(look(readonly, who="test").table, readonly)
    csr = sp.csr_matrix(x)
    assert np.shares_memory(look(csr, who="test").table[2], csr.data)


@pytest.mark.parametrize(
    "other",
    [
        lambda x: x.astype(np.float64),
        lambda x: np.asfortranarray(x),
        lambda x: x.astype(np.float16),
        lambda x: x.astype(np.uint8),
        lambda x: x.astype(np.int64),
        lambda x: x.astype(">f4"),
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[::-1][::-1],
        lambda x: x.tolist(),
        lambda x: x.astype(object),
        lambda x: misaligned(x),
        lambda x: sp.coo_matrix(x),
        lambda x: sp.csc_array(x),
    ],
)
def test_other_arrays_mean_the_same(x, codes, other):
    got = mereo.PCA(4).fit(other(x)).transform(other(x))
    np.testing.assert_allclose(got, codes, atol=2e-2)


def misaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)
    out = raw[1:].view(np.float32).reshape(x.shape)
    out[...] = x
    assert not out.flags.aligned
    return out


def test_what_is_given_back_has_the_type_of_the_rows(x):
    for dtype in (np.float32, np.float64):
        pca = mereo.PCA(3).fit(x.astype(dtype))
        assert pca.components_.dtype == dtype
        assert pca.transform(x.astype(dtype)).dtype == dtype
        assert pca.inverse_transform(pca.transform(x.astype(dtype))).dtype == dtype
    assert mereo.PCA(3).fit(x.astype(np.uint8)).transform(x.astype(np.uint8)).dtype == np.float32


def test_a_copy_is_said(x, caplog, monkeypatch):
    with caplog.at_level(logging.INFO, logger="mereo"):
        mereo.PCA(2).fit(x.astype(np.float64))
    assert "were float64: copied to float32" in caplog.text
    monkeypatch.setattr("mereo._rows._LOUD", 1000)
    with pytest.warns(mereo.DataCopyWarning, match="in place"):
        mereo.PCA(2).fit(np.asfortranarray(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mereo.PCA(2).fit(x)


def test_frames_keep_names(x):
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    names = [f"p{i}" for i in range(64)]
    for frame in (pd.DataFrame(x, columns=names), pl.DataFrame(x, schema=names), pa.table(dict(zip(names, x.T)))):
        pca = mereo.PCA(2).fit(frame)
        assert list(pca.feature_names_in_) == names, type(frame)
        np.testing.assert_allclose(pca.transform(frame), mereo.PCA(2).fit(x).transform(x), atol=2e-2)
    with pytest.raises(ValueError, match="same order as they were in fit"):
        pca.transform(pd.DataFrame(x, columns=names)[names[::-1]])
    with pytest.raises(ValueError, match="unseen at fit time"):
        pca.transform(pd.DataFrame(x, columns=[*names[1:], "other"]))


def test_tensors(x, codes):
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(x)
    assert np.shares_memory(look(tensor, who="test").table, x)
    np.testing.assert_allclose(mereo.PCA(4).fit(tensor.requires_grad_()).transform(tensor), codes, atol=2e-2)
    assert mereo.PCA(4).fit(torch.from_numpy(x).bfloat16()).transform(x).shape == codes.shape

    class Digits(torch.utils.data.Dataset):
        def __len__(self):
            return len(x)

        def __getitem__(self, i):
            return torch.from_numpy(x[i]), i

    np.testing.assert_allclose(mereo.PCA(4).fit(Digits()).transform(x), codes, atol=2e-2)


def test_anything_with_dlpack(x, codes):
    class Capsule:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **how):
            return self.array.__dlpack__(**how)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    assert np.shares_memory(look(Capsule(x), who="test").table, x)


def test_files_and_blocks_and_iterators(x, codes, tmp_path):
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "half.npy", x.astype(np.float16))
    sp.save_npz(tmp_path / "x.npz", sp.csr_matrix(x))
    import pandas as pd

    pd.DataFrame(x, columns=[f"c{i}" for i in range(64)]).to_parquet(tmp_path / "x.parquet")
    pd.DataFrame({"rows": list(x)}).to_parquet(tmp_path / "lists.parquet")
    np.savetxt(tmp_path / "x.csv", x, delimiter=",")
    ways = [
        tmp_path / "x.npy",
        str(tmp_path / "half.npy"),
        tmp_path / "x.npz",
        tmp_path / "x.parquet",
        tmp_path / "x.csv",
        mereo.File(tmp_path / "lists.parquet", column="rows", memory=1 << 30),
        np.load(tmp_path / "x.npy", mmap_mode="r"),
        mereo.Blocks(lambda a, b: x[a:b], x.shape, step=100),
        mereo.Blocks(lambda a, b: x[a:b].astype(np.float64), x.shape),
        lambda: (x[a : a + 300] for a in range(0, len(x), 300)),
    ]
    for way in ways:
        pca = mereo.PCA(4).fit(way() if callable(way) else way)
        np.testing.assert_allclose(pca.transform(way() if callable(way) else way), codes, atol=2e-2, err_msg=str(way))
    assert list(mereo.PCA(2).fit(tmp_path / "x.parquet").feature_names_in_)[:2] == ["c0", "c1"]


def test_a_memory_map_of_other_numbers_is_read_in_blocks(x, monkeypatch, tmp_path):
    np.save(tmp_path / "wide.npy", x.astype(np.float64))
    monkeypatch.setattr("mereo._rows._BLOCK", 1000)
    rows = look(np.load(tmp_path / "wide.npy", mmap_mode="r"), who="test")
    assert isinstance(rows.table, mereo.Blocks)
    assert mereo.KMeans(4, random_state=0).fit(np.load(tmp_path / "wide.npy", mmap_mode="r")).labels_.shape == (len(x),)


def test_items_that_are_dicts_need_a_key(x):
    items = [{"vector": row.tolist(), "text": "a"} for row in x[:50]]

    class Column:
        def __len__(self):
            return len(items)

        def __getitem__(self, i):
            return items[i]

    with pytest.raises(TypeError, match="key="):
        mereo.PCA(2).fit(Column())
    assert mereo.PCA(2).fit(mereo.Blocks.of_sequence(Column(), key="vector")).n_samples_ == 50


def test_an_error_of_the_reader_comes_through(x):
    class Gone(Exception):
        pass

    def read(start, stop):
        if start > 500:
            raise Gone(f"at {start}")
        return x[start:stop]

    with pytest.raises(Gone, match="at 600"):
        mereo.PCA(2).fit(mereo.Blocks(read, x.shape, step=200))
    with pytest.raises(ValueError, match=r"shape \(3, 64\)"):
        mereo.PCA(2).fit(mereo.Blocks(lambda a, b: x[:3], x.shape))


def test_numbers_beyond_float32_are_refused(x):
    wide = x.astype(np.float64)
    wide[3, 5] = 1e300
    with pytest.raises(ValueError, match=r"1e\+300 at \(3, 5\) is beyond float32"):
        mereo.PCA(2).fit(wide)


def test_threads_change_nothing(x):
    a = mereo.NMF(5, random_state=0, n_jobs=1).fit_transform(x)
    b = mereo.NMF(5, random_state=0, n_jobs=2).fit_transform(x)
    np.testing.assert_array_equal(a, b)


def test_a_forked_process_has_threads_of_its_own(x):
    import multiprocessing

    mereo.PCA(2).fit(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.apply_async(fitted_in_child, (x,)).get(timeout=60) == 2


def fitted_in_child(x):
    return mereo.PCA(2).fit(x).n_components_


def test_nothing_is_left_behind():
    assert not list(pathlib.Path.cwd().glob("mereo-*"))
