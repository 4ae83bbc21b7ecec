"""
Where NMF starts
================

NNDSVDa starts from singular vectors, without drawing anything; a random start is another one with every seed. From each the loss ends at nearly
the same value, and components are about as sparse. A start decides which of many answers that are about as good is found.
"""

import matplotlib.pyplot as plt

import mereo

faces, _ = mereo.load_data("faces")
image = (44, 44)
ink = 1 - faces.reshape(-1, 64, 64)[:, 16:60, 10:54].reshape(len(faces), -1)
ink = (ink - ink.mean(axis=1, keepdims=True)) / ink.std(axis=1, keepdims=True)
ink = (0.25 + 0.25 * ink).clip(0, 1)

starts = {
    "nndsvda": {},
    "random, seed 0": {"random_state": 0},
    "random, seed 1": {"random_state": 1},
}
models = {
    name: mereo.NMF(25, init=name.split(",")[0], image_shape=image, **seed).fit(ink)
    for name, seed in starts.items()
}

figure, axes = plt.subplots(1, 3, figsize=(10, 3.7), layout="constrained")
for (name, model), ax in zip(models.items(), axes):
    sparseness = model.measure(ink)["atoms"]["sparseness"]["mean"]
    model.plot_components(ax=ax).set_title(f"{name}: sparseness {sparseness:.2f}")

# %%
# The loss is the mean squared error of a pixel after each pass. In brackets, where it ends.
figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for name, model in models.items():
    curve = model.loss_curve_
    ax.semilogx(range(1, len(curve) + 1), curve, label=f"{name} ({curve[-1]:.5f})")
ax.set(xlabel="pass", ylabel="loss")
ax.legend()
plt.show()
