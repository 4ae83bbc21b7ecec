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
ink = (0.25 + 0.25 * (ink - ink.mean(axis=1, keepdims=True)) / ink.std(axis=1, keepdims=True)).clip(0, 1)

starts = [("nndsvda", None), ("random", 0), ("random", 1)]
models = [mereo.NMF(25, init=init, random_state=seed, image_shape=image).fit(ink) for init, seed in starts]

figure, axes = plt.subplots(1, 3, figsize=(10, 3.7), layout="constrained")
for (init, seed), model, ax in zip(starts, models, axes):
    name = init if seed is None else f"{init}, seed {seed}"
    model.plot_components(ax=ax).set_title(f"{name}: sparseness {model.measure(ink)['atoms']['sparseness']['mean']:.2f}")

# %%
# The loss is the mean squared error of a pixel after each pass. In brackets, where it ends.
figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for (init, seed), model in zip(starts, models):
    name = init if seed is None else f"{init}, seed {seed}"
    ax.semilogx(range(1, model.n_iter_ + 1), model.loss_curve_, label=f"{name} ({model.loss_curve_[-1]:.5f})")
ax.set(xlabel="pass", ylabel="loss")
ax.legend()
plt.show()
