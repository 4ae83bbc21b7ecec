"""mereo learns what data is made of: principal components, k-means, non-negative matrix factorisation, autoencoders and sparse autoencoders.

Every estimator explains rows the same way, **rows ~ codes x components**, keeps scikit-learn's habits, and computes in Rust.

>>> import mereo
>>> faces, image = mereo.load_data("faces")
>>> parts = mereo.NMF(n_components=16, random_state=0).fit(faces)
>>> parts.components_.shape
(16, 4096)
"""

from ._autoencoder import Autoencoder, SparseAutoencoder
from ._base import ConvergenceWarning, DivergenceWarning, NotFittedError
from ._compare import Comparison, compare
from ._core import __version__
from ._explore import Explorer, explore
from ._io import load, load_data, sae_formats, save
from ._kmeans import VQ, KMeans
from ._nmf import NMF, MiniBatchNMF
from ._pca import PCA
from ._rows import Blocks, DataCopyWarning, File

__all__ = [
    "NMF",
    "PCA",
    "VQ",
    "Autoencoder",
    "Blocks",
    "Comparison",
    "ConvergenceWarning",
    "DataCopyWarning",
    "DivergenceWarning",
    "Explorer",
    "File",
    "KMeans",
    "MiniBatchNMF",
    "NotFittedError",
    "SparseAutoencoder",
    "__version__",
    "compare",
    "explore",
    "load",
    "load_data",
    "sae_formats",
    "save",
]
