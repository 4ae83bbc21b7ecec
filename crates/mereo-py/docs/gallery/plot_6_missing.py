"""
Missing pixels
==============

Entries that nobody knows are no zeros. With ``missing="nan"`` they have no influence on a fit or on codes, and what the components add up to in
their place is a prediction.
"""

import matplotlib.pyplot as plt
import numpy as np

import mereo

faces, _ = mereo.load_data("faces")
image, rng = (32, 32), np.random.default_rng(0)
faces = faces.reshape(-1, 32, 2, 32, 2).mean(axis=(2, 4)).reshape(len(faces), -1)
holes = np.where(rng.random(faces.shape) < 0.6, np.nan, faces)

nmf = mereo.NMF(25, missing="nan", random_state=0).fit(holes)
rebuilt = nmf.reconstruct(holes)
mean = np.nanmean(holes, axis=0)

unknown = np.isnan(holes)
print(f"RMSE of the unknown pixels: {np.sqrt(np.mean((rebuilt - faces)[unknown] ** 2)):.3f}")
print(f"the same for the mean face: {np.sqrt(np.mean((mean - faces)[unknown] ** 2)):.3f}")

# %%
# 60 % of the pixels were taken away, white in the first row.
figure, axes = plt.subplots(3, 6, figsize=(9, 4.8), layout="constrained")
for i, column in zip(range(0, 60, 10), axes.T):
    for ax, picture in zip(
        column, [holes[i], np.where(unknown[i], rebuilt[i], faces[i]), faces[i]]
    ):
        ax.imshow(picture.reshape(image), cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
for ax, label in zip(axes[:, 0], ["given", "filled in", "the face"]):
    ax.set_ylabel(label)
plt.show()
