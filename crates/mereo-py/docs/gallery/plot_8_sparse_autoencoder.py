"""
Latents of a sparse autoencoder
===============================

200 latents explain patches of 10×10 pixels of the faces, six of them alive on each. What they find are edges and bars of all places and
directions.
"""

# %%
# 20,000 patches, less their mean.
import matplotlib.pyplot as plt
import numpy as np

import mereo

faces, _ = mereo.load_data("faces")
rng = np.random.default_rng(0)
pictures = faces.reshape(-1, 64, 64)
windows = np.lib.stride_tricks.sliding_window_view(pictures, (10, 10), axis=(1, 2))
patches = windows[tuple(rng.integers(0, windows.shape[:3], (20_000, 3)).T)].reshape(-1, 100)
patches = patches - patches.mean(axis=1, keepdims=True)

# %%
# Steps are longer than by themselves, since there are few of them, and a latent counts as dead, and is revived, after 5,000 patches.
few = {"k": 6, "batch_size": 128, "max_iter": 20, "random_state": 0}
sae = mereo.SparseAutoencoder(200, learning_rate=3e-3, aux="openai", dead_rows=5000, **few)
sae.fit(patches)
frequent = sae.density_.argsort()[::-1]
axis = sae.plot_components(frequent[:100], image_shape=(10, 10))
axis.set_title(f"the 100 most frequent latents; FVU {1 - sae.score(patches):.2f}")

# %%
# A latent is what the rows have in common that excite it most: five latents, each with the patches on which its code is largest.
codes = sae.transform(patches).toarray()
figure, axes = plt.subplots(5, 10, figsize=(8, 4.2), layout="constrained")
for latent, row in zip(frequent[10:60:10], axes):
    strongest = patches[codes[:, latent].argsort()[::-1][:9]]
    for ax, picture in zip(row, [sae.components_[latent], *strongest]):
        largest = abs(picture).max()
        ax.imshow(picture.reshape(10, 10), cmap="RdGy", vmin=-largest, vmax=largest)
        ax.set_axis_off()

# %%
# With the default steps, and dead latents told only after a pass in which they were not alive, many of them die.
default = mereo.SparseAutoencoder(200, **few).fit(patches)
figure, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
bins = np.logspace(-4, 0, 33)
for name, model in {"as above": sae, "defaults": default}.items():
    label = f"{name}: {(model.density_ == 0).sum()} dead, FVU {1 - model.score(patches):.3f}"
    ax.hist(model.density_, bins=bins, histtype="step", linewidth=2, label=label)
ax.set(xscale="log", xlabel="share of patches on which a latent is alive", ylabel="latents")
ax.legend(loc="upper right")
plt.show()
