"""What works with NumPy alone: run in an environment that has nothing else."""

import importlib.util
import pickle
import tempfile

import numpy as np

for other in ("sklearn", "scipy", "pandas", "matplotlib", "tqdm"):
    assert importlib.util.find_spec(other) is None, other

import mereo

digits, image = mereo.load_data("digits")
for model in (
    mereo.PCA(4),
    mereo.KMeans(4, random_state=0),
    mereo.NMF(4, random_state=0),
    mereo.MiniBatchNMF(4, random_state=0),
    mereo.Autoencoder(4, max_iter=3, random_state=0),
    mereo.SparseAutoencoder(64, k=4, max_iter=3, sparse_output=False, random_state=0),
):
    codes = model.fit_transform(digits)
    assert codes.shape[0] == len(digits), model
    assert model.get_params() and model.set_params() is model
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).transform(digits), model.transform(digits))
    with tempfile.NamedTemporaryFile(suffix=".mereo") as file:
        model.save(file.name)
        assert mereo.load(file.name).transform(digits).shape == codes.shape
    assert len(model.get_feature_names_out()) == codes.shape[1]
print(repr(mereo.NMF(16, init="random")), mereo.compare([mereo.PCA(3).fit(digits)], digits), sep="\n")
try:
    mereo.PCA().transform(digits)
except mereo.NotFittedError as error:
    print(error)
else:
    raise AssertionError("an unfitted estimator was used")
try:
    mereo.SparseAutoencoder(64, k=4, max_iter=1).fit_transform(digits)
except ImportError as error:
    assert "SciPy" in str(error)
print("works alone")
