"""scikit-learn's own checks of estimators, for every class."""

import warnings
from collections import Counter

import pytest
from sklearn.utils.estimator_checks import check_estimator

import mereo

# Of k-means, weights of rows are not the same as repeated rows where the start is random: scikit-learn's own class fails these two as well.
AS_SCIKIT_LEARN = {mereo.KMeans: {"check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"}}

CLASSES = [mereo.PCA, mereo.KMeans, mereo.NMF, mereo.MiniBatchNMF, mereo.Autoencoder, mereo.SparseAutoencoder]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_check_passes(cls):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(cls(), on_fail=None, on_skip=None)
    failed = {r["check_name"]: str(r["exception"]) for r in results if r["status"] == "failed"}
    assert set(failed) == AS_SCIKIT_LEARN.get(cls, set()), failed
    # Wrong tags turn dozens of checks into one: as many run as of scikit-learn's own classes, and what is skipped needs a switch of SciPy.
    counts = Counter(r["status"] for r in results)
    assert counts["passed"] >= 46, counts
    assert {r["check_name"] for r in results if r["status"] == "skipped"} <= {"check_array_api_input"}
    assert counts["xfail"] == 0


def test_scikit_learns_own_k_means_fails_the_same_checks():
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(KMeans(), on_fail=None, on_skip=None)
    assert {r["check_name"] for r in results if r["status"] == "failed"} == AS_SCIKIT_LEARN[mereo.KMeans]


def test_as_many_checks_as_of_scikit_learns_own():
    from sklearn.cluster import KMeans
    from sklearn.decomposition import NMF, PCA
    from sklearn.utils.estimator_checks import estimator_checks_generator

    for ours, theirs in [(mereo.PCA, PCA), (mereo.NMF, NMF), (mereo.KMeans, KMeans)]:
        names = [Counter(_named(check) for _, check in estimator_checks_generator(cls())) for cls in (ours, theirs)]
        # Those of arrays of other libraries on other devices run with a switch of SciPy alone.
        names[1] = Counter({name: count for name, count in names[1].items() if not name.startswith("check_array_api")})
        assert not names[1] - names[0], f"{ours.__name__} escapes {names[1] - names[0]}"


def _named(check):
    return getattr(check, "func", check).__name__


def test_only_parameters_are_set_by_the_constructor():
    for cls in CLASSES:
        estimator = cls()
        assert set(vars(estimator)) >= set(estimator.get_params())
        assert not [name for name in vars(estimator) if name.endswith("_") and not name.startswith("_")]
        assert cls(**estimator.get_params()).get_params() == estimator.get_params()
        with pytest.raises(ValueError, match="Invalid parameter 'colour'"):
            estimator.set_params(colour="blue")


def test_pipelines_searches_and_output_frames():
    import pandas as pd
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    digits, _ = mereo.load_data("digits")
    search = GridSearchCV(mereo.NMF(random_state=0, max_iter=30), {"n_components": [2, 12]}, cv=2, n_jobs=2).fit(digits)
    assert search.best_params_ == {"n_components": 12}
    pipe = make_pipeline(MinMaxScaler(), mereo.NMF(5, random_state=0)).set_output(transform="pandas")
    out = clone(pipe).fit_transform(pd.DataFrame(digits).add_prefix("pixel"))
    assert list(out.columns) == [f"nmf{i}" for i in range(5)] and len(out) == len(digits)
    polars = mereo.PCA(3).set_output(transform="polars").fit_transform(digits)
    assert polars.columns == ["pca0", "pca1", "pca2"]
    assert list(mereo.PCA(2).fit(digits).get_feature_names_out()) == ["pca0", "pca1"]


def test_partial_fit_learns_what_fit_learns():
    import numpy as np

    from sklearn import decomposition

    digits, _ = mereo.load_data("digits")
    order = np.random.default_rng(0).permutation(len(digits))
    nmf, theirs = mereo.MiniBatchNMF(10, random_state=0), decomposition.MiniBatchNMF(10, random_state=0)
    for _ in range(5):
        for start in range(0, len(digits), 256):
            nmf.partial_fit(digits[order[start : start + 256]])
            theirs.partial_fit(digits[order[start : start + 256]])
    error = np.linalg.norm(digits - theirs.inverse_transform(theirs.transform(digits)))
    assert np.linalg.norm(digits - nmf.reconstruct(digits)) < error
    assert mereo.MiniBatchNMF(10, random_state=0, batch_size=256).fit(digits).score(digits) > nmf.score(digits) > 0.62
    assert nmf.n_steps_ == 5 * 8 and nmf.components_.min() >= 0
    poisson, theirs = (cls(10, random_state=0, beta_loss="kullback-leibler") for cls in (mereo.MiniBatchNMF, decomposition.MiniBatchNMF))
    for start in range(0, len(digits), 256):
        poisson.partial_fit(digits[order[start : start + 256]])
        theirs.partial_fit(digits[order[start : start + 256]])
    assert divergence(digits, poisson) < divergence(digits, theirs)
    for cls, params, least in [
        (mereo.Autoencoder, {"n_components": 10, "learning_rate": 5e-3}, 0.7),
        (mereo.SparseAutoencoder, {"n_components": 128, "k": 8, "batch_size": 64, "learning_rate": 5e-3}, 0.7),
    ]:
        model = cls(random_state=0, **params)
        for _ in range(15):
            for start in range(0, len(digits), 256):
                model.partial_fit(digits[order[start : start + 256]])
        assert model.score(digits) > least, (cls, model.score(digits))
        assert model.loss_curve_[-1] < model.loss_curve_[0] and model.n_iter_ == 15 * 8
        with pytest.warns(UserWarning, match="begins anew"):
            cls(random_state=0, **params).fit(digits[:100]).partial_fit(digits[:100])


def divergence(x, model):
    import numpy as np

    back = np.maximum(model.inverse_transform(model.transform(x)), 1e-10)
    return float((x * np.log(np.maximum(x, 1e-30) / back) - x + back).mean())
