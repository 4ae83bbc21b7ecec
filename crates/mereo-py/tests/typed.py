"""A user's program that a strict type checker must be content with."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mereo

faces, image = mereo.load_data("faces")
height: int = image[0] if image else 0
nmf: mereo.NMF = mereo.NMF(n_components=16, init="random", random_state=0, max_iter=5, image_shape=image).fit(faces)
codes: NDArray[np.floating] = nmf.fit_transform(faces)
parts: NDArray[np.floating] = nmf.components_
error: float = nmf.reconstruction_err_
passes: int = nmf.n_iter_
pca: mereo.PCA = mereo.PCA(4).fit(faces)
ratio: NDArray[np.floating] = pca.explained_variance_ratio_
labels: NDArray[np.integer] = mereo.KMeans(4, random_state=0).fit(faces).labels_
online: mereo.MiniBatchNMF = mereo.MiniBatchNMF(4, random_state=0).partial_fit(faces)
ae: mereo.Autoencoder = mereo.Autoencoder(4, max_iter=2).fit(faces)
sae: mereo.SparseAutoencoder = mereo.SparseAutoencoder(256, k=4, max_iter=2).fit(faces)
latents, values = sae.top(faces, 3)
back: NDArray[np.floating] = nmf.inverse_transform(codes)
share: float = nmf.score(faces)
compared: mereo.Comparison = mereo.compare([pca, nmf], faces, image_shape=image)
names: list[str] = compared.table["model"]
rows = mereo.Blocks(lambda start, stop: faces[start:stop], (400, 4096))
nmf.save(Path("faces.mereo"))
formats: list[str] = mereo.sae_formats()
