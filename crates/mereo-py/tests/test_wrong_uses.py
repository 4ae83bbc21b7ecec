"""Mistakes get one clear line."""

import numpy as np
import pytest

import mereo

X = mereo.load_data("digits")[0][:100]
ALL = [mereo.PCA, mereo.KMeans, mereo.NMF, mereo.MiniBatchNMF, mereo.Autoencoder, mereo.SparseAutoencoder]


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        ([["a", "b"], ["c", "d"]], ValueError, "no numbers"),
        (np.where(np.arange(100)[:, None] == 7, np.nan, X), ValueError, "row 7, column 0 is NaN"),
        (np.where(np.arange(100)[:, None] == 7, np.inf, X), ValueError, "row 7, column 0 is inf"),
        ([[1.0, 2.0], [3.0]], ValueError, "different lengths"),
        (X + 1j, ValueError, "Complex data not supported"),
        (np.empty((0, 5)), ValueError, r"0 sample\(s\)"),
        (np.empty((5, 0)), ValueError, r"0 feature\(s\)"),
        (X[0], ValueError, "Expected 2D array, got 1D"),
        (X.reshape(100, 8, 8), ValueError, r"X.reshape\(len\(X\), -1\)"),
        (None, TypeError, "not NoneType"),
        ({"a": 1}, TypeError, "not dict"),
        ("no/such/file.npy", FileNotFoundError, "no/such/file.npy"),
        (3.0, ValueError, "scalar"),
        (iter([]), ValueError, "gave no rows"),
    ],
    ids=["words", "NaN", "infinite", "ragged", "complex", "no rows", "no columns", "1-D", "3-D", "None", "dict", "no file", "scalar", "no blocks"],
)
def test_rows(cls, rows, error, words):
    if isinstance(rows, type(iter([]))):
        rows = iter([])
    with pytest.raises(error, match=words):
        cls().fit(rows)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_uses(cls):
    with pytest.raises(mereo.NotFittedError, match=f"This {cls.__name__} instance is not fitted yet"):
        cls().transform(X)
    with pytest.raises(mereo.NotFittedError):
        cls().save("x.mereo")
    few = {"max_iter": 2} if cls is not mereo.PCA else {}
    model = cls(**{"n_clusters" if cls is mereo.KMeans else "n_components": 4}, **few).fit(X)
    with pytest.raises(ValueError, match=f"X has 3 features, but {cls.__name__} is expecting 64 features as input"):
        model.transform(X[:, :3])
    with pytest.raises(ValueError, match="4 components|4 atoms"):
        model.inverse_transform(X[:, :3])
    with pytest.raises((FileNotFoundError, OSError)):
        model.save("no/such/folder/x.mereo")
    with pytest.raises(ValueError, match="NaN"):
        model.transform(np.full((1, 64), np.nan))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mereo.NMF(4).fit(X - 5), "Negative values in data passed to NMF.fit: -5 at row 0, column 0"),
        (lambda: mereo.NMF(4, random_state=0).fit(X).transform(X - 5), "Negative values in data passed to NMF.transform"),
        (lambda: mereo.PCA(65).fit(X), "n_components=65 must be between 1 and min"),
        (lambda: mereo.PCA(0).fit(X), "n_components = 0 must be at least 1"),
        (lambda: mereo.PCA(2.5).fit(X), "n_components=2.5"),
        (lambda: mereo.KMeans(101).fit(X), "n_samples=100 should be >= n_clusters=101"),
        (lambda: mereo.NMF(101).fit(X), "101"),
        (lambda: mereo.NMF("many").fit(X), "n_components = 'many'"),
        (lambda: mereo.NMF(4, init="nndsv").fit(X), "init = 'nndsv' is unknown"),
        (lambda: mereo.NMF(70, init="nndsvd").fit(X), "can only be used when n_components <= min"),
        (lambda: mereo.NMF(4, init="custom").fit(X), "give H"),
        (lambda: mereo.NMF(4, init="custom").fit(X, H=np.ones((3, 64))), "Expected \\(4, 64\\), but got \\(3, 64\\)"),
        (lambda: mereo.NMF(4, solver="cd", beta_loss="kullback-leibler").fit(X), "solver 'cd' does not handle beta_loss"),
        (lambda: mereo.NMF(4, solver="adam").fit(X), "solver = 'adam' is unknown"),
        (lambda: mereo.NMF(4, alpha_W=-1.0).fit(X), "alpha_W = -1.0 must be at least 0"),
        (lambda: mereo.NMF(4, l1_ratio=2.0).fit(X), "between 0 and 1"),
        (lambda: mereo.NMF(4, tol="small").fit(X), "tol = 'small' must be a number"),
        (lambda: mereo.NMF(4, max_iter=0).fit(X), "max_iter = 0 must be at least 1"),
        (lambda: mereo.NMF(4, n_jobs=0).fit(X), "n_jobs = 0"),
        (lambda: mereo.NMF(4, random_state="seed").fit(X), "can't be a random_state"),
        (lambda: mereo.NMF(4, beta_loss="itakura-saito").fit(X), "holds a zero"),
        (lambda: mereo.KMeans(4, init=X[:3]).fit(X), "does not match the number of clusters 4"),
        (lambda: mereo.KMeans(4).fit(X, sample_weight=np.ones(3)), r"sample_weight.shape == \(3,\), expected \(100,\)"),
        (lambda: mereo.KMeans(4).fit(X, sample_weight=-np.ones(100)), "at least 0"),
        (lambda: mereo.Autoencoder(4, activation="step").fit(X), "step"),
        (lambda: mereo.SparseAutoencoder(64, k=65).fit(X), "65"),
        (lambda: mereo.SparseAutoencoder(64, k=6, architecture="top").fit(X), "top"),
        (lambda: mereo.SparseAutoencoder(64, k=6).fit(X).export("x", "keras"), "keras"),
        (lambda: mereo.load_data("facs"), "faces"),
    ],
)
def test_parameters(make, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_models(tmp_path):
    with pytest.raises(FileNotFoundError):
        mereo.load(tmp_path / "none.mereo")
    (tmp_path / "bad.mereo").write_bytes(b"not a model")
    with pytest.raises(ValueError, match="not a whole mereo model file"):
        mereo.load(tmp_path / "bad.mereo")
    with pytest.raises(ValueError, match="no model to compare"):
        mereo.compare([], X)
    with pytest.raises(mereo.NotFittedError):
        mereo.compare([mereo.PCA(2)], X)
    with pytest.raises(TypeError, match="no estimator of mereo"):
        mereo.compare([object()], X)
    with pytest.raises(ValueError, match="3 features, but PCA is expecting 64"):
        mereo.compare([mereo.PCA(2).fit(X)], X[:, :3])
    with pytest.raises(TypeError, match="no estimator of mereo"):
        mereo.save(object(), tmp_path / "x")
