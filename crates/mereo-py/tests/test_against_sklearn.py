"""Numbers beside scikit-learn's own."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import cluster, decomposition

import mereo


@pytest.fixture(scope="module")
def faces():
    return mereo.load_data("faces")[0]


@pytest.fixture(scope="module")
def digits():
    return mereo.load_data("digits")[0]


def test_pca_has_the_same_axes_and_numbers(digits):
    x = digits.astype(np.float64)
    ours, theirs = mereo.PCA(10).fit(x), decomposition.PCA(10, svd_solver="full").fit(x)
    for name in ("components_", "explained_variance_", "explained_variance_ratio_", "singular_values_", "mean_", "noise_variance_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=2e-4, atol=2e-4, err_msg=name)
    np.testing.assert_allclose(ours.transform(x), theirs.transform(x), atol=2e-3)
    np.testing.assert_allclose(ours.inverse_transform(ours.transform(x)), theirs.inverse_transform(theirs.transform(x)), atol=2e-3)
    np.testing.assert_allclose(ours.score_samples(x), theirs.score_samples(x), atol=1e-2)
    np.testing.assert_allclose(ours.get_covariance(), theirs.get_covariance(), atol=1e-2)
    np.testing.assert_allclose(mereo.PCA(5, whiten=True).fit_transform(x).std(axis=0, ddof=1), 1.0, rtol=1e-4)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_pca_by_share_of_variance(digits, share):
    ours, theirs = mereo.PCA(share).fit(digits), decomposition.PCA(share, svd_solver="full").fit(digits.astype(np.float64))
    assert ours.n_components_ == theirs.n_components_
    assert ours.explained_variance_ratio_.sum() >= share and ours.n_components == share


def test_pca_by_minkas_choice():
    r = np.random.default_rng(0)
    x = r.standard_normal((300, 3)) @ r.standard_normal((3, 12)) * 3 + 0.3 * r.standard_normal((300, 12))
    assert mereo.PCA("mle").fit(x).n_components_ == decomposition.PCA("mle", svd_solver="full").fit(x).n_components_ == 3


@pytest.mark.parametrize(("k", "init"), [(16, "random"), (16, "nndsvda"), (36, "nndsvda")])
def test_nmf_is_no_worse_than_scikit_learns(faces, k, init):
    ours = mereo.NMF(k, init=init, random_state=0, max_iter=200).fit(faces)
    with pytest.warns():
        theirs = decomposition.NMF(k, init=init, random_state=0, max_iter=200).fit(faces)
    assert ours.reconstruction_err_ <= 1.001 * theirs.reconstruction_err_
    rebuilt = ours.inverse_transform(ours.transform(faces))
    assert np.linalg.norm(faces - rebuilt) == pytest.approx(ours.reconstruction_err_, rel=1e-3)


@pytest.mark.parametrize("loss", ["kullback-leibler", "itakura-saito", 1.5])
def test_divergences_are_scikit_learns(digits, loss):
    from sklearn.decomposition._nmf import _beta_divergence

    x = digits.astype(np.float64) + (0.1 if loss == "itakura-saito" else 0.0)
    ours = mereo.NMF(8, beta_loss=loss, random_state=0, max_iter=300).fit(x)
    w = ours.transform(x)
    error = _beta_divergence(x, w, ours.components_.astype(np.float64), loss, square_root=True)
    # Codes are solved to the end, and so no worse than those of the last pass.
    assert 0.99 * ours.reconstruction_err_ <= error <= 1.0001 * ours.reconstruction_err_
    theirs = decomposition.NMF(8, beta_loss=loss, solver="mu", init="random", random_state=0, max_iter=300, tol=0).fit(x)
    # Other optima of a loss that has many: that of Itakura and Saito is the roughest.
    assert error <= (1.03 if loss == "itakura-saito" else 1.01) * theirs.reconstruction_err_


def test_penalties_are_scikit_learns(digits):
    x = digits.astype(np.float64)
    params = dict(n_components=8, alpha_W=0.002, alpha_H=0.001, l1_ratio=0.5, init="nndsvd", random_state=0)
    n, d = x.shape

    def objective(model):
        w, h = model.transform(x), model.components_
        loss = 0.5 * ((x - w @ h) ** 2).sum()
        return loss + 0.5 * (0.002 * d * w.sum() + 0.001 * n * h.sum()) + 0.25 * (0.002 * d * (w**2).sum() + 0.001 * n * (h**2).sum())

    ours, theirs = mereo.NMF(**params, max_iter=1000, tol=1e-6).fit(x), decomposition.NMF(**params, max_iter=1000, tol=1e-6).fit(x)
    assert objective(ours) <= 1.001 * objective(theirs)
    codes = ours.transform(x)
    np.testing.assert_allclose(ours.inverse_transform(codes), codes @ ours.components_, atol=1e-4)
    assert np.linalg.norm(ours.reconstruct(x) - codes @ ours.components_) < 1e-3 * np.linalg.norm(x)


def test_k_means_is_no_worse_than_scikit_learns(digits):
    ours = mereo.KMeans(10, n_init=4, random_state=0).fit(digits)
    theirs = cluster.KMeans(10, n_init=4, random_state=0).fit(digits)
    assert ours.inertia_ <= 1.01 * theirs.inertia_
    distances = ours.transform(digits)
    np.testing.assert_array_equal(distances.argmin(axis=1), ours.labels_)
    assert (distances.min(axis=1).astype(np.float64) ** 2).sum() == pytest.approx(ours.inertia_, rel=1e-3)
    np.testing.assert_array_equal(ours.predict(digits), ours.labels_)
    assert ours.score(digits) == pytest.approx(-ours.inertia_, rel=1e-3)
    np.testing.assert_allclose(ours.inverse_transform(ours.labels_), ours.cluster_centers_[ours.labels_])


def test_k_means_from_the_same_centres(digits):
    first = digits[:10]
    ours = mereo.KMeans(10, init=first, n_init=1, tol=0).fit(digits)
    theirs = cluster.KMeans(10, init=first, n_init=1, tol=0, algorithm="lloyd").fit(digits)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-5)
    order = lambda c: c[np.lexsort(c.T)]
    np.testing.assert_allclose(order(ours.cluster_centers_.round(3)), order(theirs.cluster_centers_.round(3)), atol=2e-3)


def test_k_means_with_weights(digits):
    x = digits[:300]
    weights = np.random.default_rng(0).integers(0, 4, len(x))
    ours = mereo.KMeans(5, init=x[:5], tol=0).fit(x, sample_weight=weights)
    theirs = cluster.KMeans(5, init=x[:5], n_init=1, tol=0).fit(x, sample_weight=weights)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-4)
    repeated = mereo.KMeans(5, init=x[:5], tol=0).fit(np.repeat(x, weights, axis=0))
    assert ours.inertia_ == pytest.approx(repeated.inertia_, rel=1e-4)


def test_sparse_rows_are_the_dense_ones(digits):
    for cls, params in [(mereo.NMF, {"n_components": 6}), (mereo.KMeans, {"n_clusters": 6}), (mereo.PCA, {"n_components": 6})]:
        dense, sparse = cls(random_state=0, **params).fit(digits), cls(random_state=0, **params).fit(sp.csr_matrix(digits))
        a, b = dense.transform(digits[:50]), sparse.transform(sp.csc_array(digits[:50]))
        np.testing.assert_allclose(a, b, rtol=5e-3, atol=5e-3 * np.abs(a).max(), err_msg=cls.__name__)
