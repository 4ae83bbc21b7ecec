"""
How many components
===================

With few components NMF has to describe a whole face by each; with more it can afford parts. The error falls with every component. That of
PCA is the lowest that any sums of components reach.
"""

import matplotlib.pyplot as plt

import mereo

faces, _ = mereo.load_data("faces")
image = (44, 44)
ink = 1 - faces.reshape(-1, 64, 64)[:, 16:60, 10:54].reshape(len(faces), -1)
ink = (ink - ink.mean(axis=1, keepdims=True)) / ink.std(axis=1, keepdims=True)
ink = (0.25 + 0.25 * ink).clip(0, 1)

counts = [4, 9, 16, 36, 64]
models = {k: mereo.NMF(k, random_state=0, image_shape=image).fit(ink) for k in counts}

figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for k, ax in zip([4, 16, 64], axes):
    models[k].plot_components(ax=ax).set_title(f"{k} components")

# %%
# FVU is the fraction of variance unexplained. Hoyer's sparseness of a component is 0 where all of its entries are equal and 1 where a single one is
# above 0.
pca = mereo.PCA(64).fit(ink)
measured = {k: model.measure(ink) for k, model in models.items()}
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
left.plot(counts, [measured[k]["errors"]["fvu"] for k in counts], "o-", color="black", label="NMF")
left.plot(range(1, 65), 1 - pca.explained_variance_ratio_.cumsum(), color="tab:red", label="PCA")
left.set(xlabel="components", ylabel="FVU", ylim=(0, 1))
left.legend()
right.plot(
    counts, [measured[k]["atoms"]["sparseness"]["mean"] for k in counts], "o-", color="black"
)
right.set(xlabel="components", ylabel="sparseness of components", ylim=(0, 1))
plt.show()
