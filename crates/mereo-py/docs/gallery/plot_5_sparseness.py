"""
Components of a given sparseness
================================

``sparse_components`` gives every component exactly the sparseness that is asked for (Hoyer 2004): 0 where all entries are equal, 1 where a
single one is above 0. NMF alone ends near .65 on these faces: there the error is smallest, less is blurred and more leaves gaps.
"""

import matplotlib.pyplot as plt

import mereo

faces, _ = mereo.load_data("faces")
image = (44, 44)
ink = 1 - faces.reshape(-1, 64, 64)[:, 16:60, 10:54].reshape(len(faces), -1)
ink = (ink - ink.mean(axis=1, keepdims=True)) / ink.std(axis=1, keepdims=True)
ink = (0.25 + 0.25 * ink).clip(0, 1)

figure, axes = plt.subplots(1, 3, figsize=(10, 3.7), layout="constrained")
for sparseness, ax in zip([0.5, 0.7, 0.85], axes):
    model = mereo.NMF(49, sparse_components=sparseness, init="random", tol=1e-2, random_state=0)
    model.fit(ink).plot_components(image_shape=image, ax=ax)
    ax.set_title(f"sparseness {sparseness}, FVU {1 - model.score(ink):.2f}")
plt.show()
