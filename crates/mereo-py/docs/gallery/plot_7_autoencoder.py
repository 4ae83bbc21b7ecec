"""
Shallow autoencoders and PCA
============================

No autoencoder whose decoder is a sum of components rebuilds rows better than as many principal components do. Linear units reach that
line, and so do units that bend, slowly: they make the encoder small, so that they stay where they are nearly straight, and the decoder large. With both
tied to the same weights that can't be (Refinetti & Goldt 2022).
"""

import matplotlib.pyplot as plt

import mereo

digits, image = mereo.load_data("digits")
pca = mereo.PCA(9).fit(digits)
models = {
    "linear": mereo.Autoencoder(9, activation="linear"),
    "erf": mereo.Autoencoder(9, activation="erf"),
    "relu": mereo.Autoencoder(9, activation="relu"),
    "erf, tied": mereo.Autoencoder(9, activation="erf", tied=True),
}

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for name, model in models.items():
    model.set_params(init="random", max_iter=60, random_state=0).fit(digits)
    label = f"{name} (FVU {1 - model.score(digits):.3f})"
    ax.semilogx(range(1, 61), model.loss_curve_, label=label)
left = 1 - pca.explained_variance_ratio_.sum()
ax.axhline(pca.loss_curve_[-1], color="black", linestyle=":", label=f"PCA (FVU {left:.3f})")
ax.set(xlabel="pass", ylabel="mean squared error")
ax.legend()

# %%
# The units find the space of the principal components, but not the components: any other axes of that space serve as well.
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
figure.get_layout_engine().set(wspace=0.15)
for name, model, ax in zip(["PCA", "linear", "erf"], [pca, models["linear"], models["erf"]], axes):
    model.plot_components(image_shape=image, ax=ax).set_title(name)
plt.show()
