"""Models in files, in pickles, side by side, and interrupted."""

import _thread
import copy
import json
import os
import pickle
import signal
import threading
import time

import joblib
import numpy as np
import pytest

import mereo

X, IMAGE = mereo.load_data("digits")
MODELS = {
    "pca": mereo.PCA(4),
    "vq": mereo.KMeans(4, random_state=0),
    "nmf": mereo.NMF(4, random_state=0, beta_loss="kullback-leibler"),
    "ae": mereo.Autoencoder(4, max_iter=3, random_state=0),
    "sae": mereo.SparseAutoencoder(64, k=4, max_iter=3, batch_size=128, random_state=0),
}


def dense(z):
    return z.toarray() if hasattr(z, "toarray") else z


@pytest.mark.parametrize("name", MODELS)
def test_copies_give_the_same_codes(name, tmp_path):
    model = MODELS[name].fit(X)
    codes = dense(model.transform(X))
    model.save(tmp_path / "m.mereo")
    joblib.dump(model, tmp_path / "m.joblib")
    loaded = mereo.load(tmp_path / "m.mereo")
    assert type(loaded) is type(model)
    for other in (loaded, joblib.load(tmp_path / "m.joblib"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(dense(other.transform(X)), codes)
        np.testing.assert_array_equal(other.inverse_transform(other.transform(X[:3])) if name != "vq" else 0,
                                      model.inverse_transform(model.transform(X[:3])) if name != "vq" else 0)
    mereo.save(loaded, tmp_path / "again.mereo")
    assert (tmp_path / "again.mereo").read_bytes() == (tmp_path / "m.mereo").read_bytes()
    kept = loaded.get_params()
    assert all(kept[key] == value for key, value in model.get_params().items() if key in ("n_components", "n_clusters", "max_iter", "k", "beta_loss"))
    assert loaded.n_features_in_ == 64 and len(loaded.loss_curve_) == len(model.loss_curve_)


@pytest.mark.parametrize("format", mereo.sae_formats())
def test_files_of_other_libraries(format, tmp_path):
    sae = MODELS["sae"].fit(X)
    path = tmp_path / {"gemma-scope": "params.npz", "saerch": "4_64.pth", "openai": "sae.pt", "hypothesaes": "sae.pt"}.get(format, format)
    try:
        sae.export(path, format)
    except ValueError as error:
        # What a format can't say is refused, with those that can.
        assert format in ("gemma-scope", "openai") and "saelens" in str(error)
        return
    back = mereo.SparseAutoencoder.from_file(path)
    np.testing.assert_allclose(dense(back.transform(X[:50])), dense(sae.transform(X[:50])), atol=1e-4)


def test_sparse_codes_and_their_largest():
    sae = MODELS["sae"].fit(X)
    codes = sae.transform(X)
    assert codes.format == "csr" and codes.shape == (len(X), 64)
    latents, values = sae.top(X)
    assert latents.shape == (len(X), 4)
    for i in range(0, len(X), 100):
        row = codes[i].toarray()[0]
        alive = latents[i][latents[i] >= 0]
        np.testing.assert_array_equal(row[alive], values[i][: len(alive)])
        assert (np.diff(values[i]) <= 0).all() and len(alive) == codes[i].nnz
    assert sae.top(X, 2)[0].tolist() == latents[:, :2].tolist()
    assert sae.transform(X, k=2).getnnz(axis=1).max() == 2
    plain = mereo.SparseAutoencoder(64, k=4, max_iter=3, batch_size=128, random_state=0, sparse_output=False).fit_transform(X)
    np.testing.assert_array_equal(plain, codes.toarray())
    np.testing.assert_allclose(sae.inverse_transform(codes), sae.inverse_transform(plain), atol=1e-4)
    measured = sae.measure(X)
    assert measured["latents"]["l0"] == pytest.approx(codes.nnz / len(X))
    assert len(measured["encoder_decoder"]) == 64


def test_models_side_by_side(tmp_path):
    pd = pytest.importorskip("pandas")
    models = [MODELS["pca"].fit(X), MODELS["nmf"].fit(X), mereo.NMF(4, random_state=1).fit(X), MODELS["sae"].fit(X)]
    compared = mereo.compare(models, X[:1000], X[1000:], image_shape=IMAGE)
    assert compared.table["model"] == ["PCA", "NMF", "NMF #2", "SparseAutoencoder"]
    held = [np.sqrt(((m.reconstruct(X[1000:]) - X[1000:]) ** 2).mean()) for m in models]
    np.testing.assert_allclose(compared.table["held out"], held, rtol=1e-3)
    assert "<table>" in compared._repr_html_() and "NMF #2" in repr(compared)
    assert isinstance(compared.to_pandas(), pd.DataFrame)
    compared.save(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert json.dumps(compared.details)
    assert list(mereo.compare({"a": models[0]}, X).table["model"]) == ["a"] and "held out" not in mereo.compare(models[:1], X).table


@pytest.mark.parametrize("name", MODELS)
def test_a_page_to_explore(name, tmp_path):
    model = MODELS[name].fit(X)
    page = mereo.explore(model, X, image_shape=IMAGE, top=6)
    codes = dense(model.transform(X))
    assert [c["number"] for c in page.components] == sorted(range(codes.shape[1]), key=lambda a: (-page_used(page, a), a))
    for c in page.components:
        assert len(c["rows"]) <= 6 and len(c["codes"]) == len(c["rows"])
        if name == "vq":
            assert set(model.labels_[c["rows"]]) <= {c["number"]}
        else:
            np.testing.assert_allclose(codes[c["rows"], c["number"]], c["codes"], atol=1e-4)
        if name in ("nmf", "sae") and c["rows"]:
            assert codes[:, c["number"]].max() == pytest.approx(c["codes"][0], abs=1e-4)
    page.save(tmp_path / "page.html")
    data = (tmp_path / "page.html").read_text(encoding="utf-8").split('id="data">')[1].split("</script>")[0]
    assert json.loads(data)["image"] == list(IMAGE) and "<iframe" in page._repr_html_()
    texts = [f"</script><b>{i}" for i in range(len(X))]
    told = mereo.explore(model, X, texts=texts).page
    assert "</script><b>" not in told and json.loads(told.split('id="data">')[1].split("</script>")[0])["texts"]
    with pytest.raises(ValueError, match="2 texts of 1797 rows"):
        mereo.explore(model, X, texts=["a", "b"])
    with pytest.raises(ValueError, match="expecting 64 features"):
        mereo.explore(model, X[:, :5])


def page_used(page, number):
    return next(c["used"] for c in page.components if c["number"] == number)


def test_pictures():
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    nmf = mereo.NMF(5, random_state=0).fit(X)
    assert len(nmf.plot_components().images) == 1
    assert len(nmf.plot_components([0, 2], image_shape=(4, 16)).images) == 1
    assert nmf.plot_loss().get_xlabel() == "pass"
    assert len(mereo.PCA(3).fit(X[:, :50]).plot_components().lines) == 3
    assert mereo.compare([nmf], X).plot() is not None
    with pytest.raises(ValueError, match="64 columns"):
        nmf.plot_components(image_shape=(3, 3))
    plt.close("all")


def test_progress_is_shown(capfd):
    mereo.NMF(5, random_state=0, verbose=1).fit(X)
    said = capfd.readouterr().err
    assert "NMF" in said and "loss" in said
    mereo.NMF(5, random_state=0).fit(X)
    assert capfd.readouterr().err == ""


@pytest.fixture
def listens():
    """A process that was started in the background ignores Ctrl-C, unless it says otherwise."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listens")
def test_ctrl_c_keeps_the_model_so_far():
    x = np.random.default_rng(0).random((4000, 300), dtype=np.float32)
    sae = mereo.SparseAutoencoder(2048, k=16, max_iter=500, batch_size=256, random_state=0)
    threading.Timer(2.0, _thread.interrupt_main).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        sae.fit(x)
    assert time.monotonic() - began < 30
    assert sae.transform(x[:5]).shape == (5, 2048) and sae.components_.shape == (2048, 300)


def test_other_python_threads_go_on():
    x = np.random.default_rng(0).random((3000, 400), dtype=np.float32)
    beats = []
    done = threading.Event()

    def beat():
        while not done.is_set():
            beats.append(time.monotonic())
            time.sleep(0.01)

    thread = threading.Thread(target=beat)
    thread.start()
    mereo.NMF(60, random_state=0, tol=0, max_iter=60).fit(x)
    done.set()
    thread.join()
    assert len(beats) > 10


def test_models_of_the_command_line_are_read(tmp_path):
    binary = os.environ.get("MEREO_BINARY")
    if not binary:
        pytest.skip("MEREO_BINARY names no command line")
    import subprocess

    subprocess.run([binary, "fit", "nmf", "faces", "-k", "5", "--prep", "lee-seung", "-o", tmp_path / "n.mereo", "-q"], check=True)
    faces, image = mereo.load_data("faces")
    nmf = mereo.load(tmp_path / "n.mereo")
    assert nmf.image_shape == image and nmf.transform(faces).shape == (400, 5)
    subprocess.run([binary, "transform", tmp_path / "n.mereo", "faces", "-o", tmp_path / "z.npy", "-q"], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), nmf.transform(faces))
