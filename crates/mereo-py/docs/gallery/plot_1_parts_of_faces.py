"""
Parts of faces: k-means, NMF and PCA
====================================

Figure 1 of Lee & Seung (1999), on the ORL faces. Three methods rebuild a face from 49 components and differ in what they forbid. k-means allows
one component a face, so its components are whole faces. PCA allows any weights: positive (black) and negative (red) ones cancel. NMF
allows no negative number, and what can only add becomes local: eyes, brows, mouths, shadows.
"""

# %%
# The middle of each photograph, with dark pixels as the large numbers. As in the paper each image is brought to mean .25 and standard
# deviation .25, and clipped to [0, 1]; without that, parts are less local.
import matplotlib.pyplot as plt
import numpy as np

import mereo

faces, _ = mereo.load_data("faces")
image = (44, 44)
ink = 1 - faces.reshape(-1, 64, 64)[:, 16:60, 10:54].reshape(len(faces), -1)
ink = (ink - ink.mean(axis=1, keepdims=True)) / ink.std(axis=1, keepdims=True)
ink = (0.25 + 0.25 * ink).clip(0, 1)

# %%
# The paper minimises the divergence of Kullback and Leibler from a random start.
kmeans = mereo.KMeans(49, random_state=0).fit(ink)
nmf = mereo.NMF(49, beta_loss="kullback-leibler", init="random", random_state=0).fit(ink)
pca = mereo.PCA(49).fit(ink)

# %%
# Beside the components: the weights of one face on them, what these add up to, and the face. The weight of a row on codewords is 1 for the nearest,
# else 0 (``transform`` of k-means gives distances, as in scikit-learn).
face = ink[7:8]
weights = {
    kmeans: np.eye(49)[kmeans.predict(face)],
    nmf: nmf.transform(face),
    pca: pca.transform(face),
}
figure, axes = plt.subplots(
    3, 4, figsize=(10, 8.8), width_ratios=[1.5, 1, 1, 1], layout="constrained"
)
for (model, w), (parts, *pictures) in zip(weights.items(), axes):
    model.plot_components(image_shape=image, ax=parts).set_title(type(model).__name__)
    pictures[0].imshow(w.reshape(7, 7), cmap="RdGy", vmin=-abs(w).max(), vmax=abs(w).max())
    pictures[1].imshow(model.reconstruct(face).reshape(image), cmap="gray_r", vmin=0, vmax=1)
    pictures[2].imshow(face.reshape(image), cmap="gray_r", vmin=0, vmax=1)
    for ax, title in zip(pictures, ["weights", "what they add up to", "the face"]):
        ax.set(title=title, xticks=[], yticks=[])

# %%
# The more is allowed, the smaller the error. Sparseness is Hoyer's: 0 where all entries of a component are equal, 1 where a single one is not 0.
print(mereo.compare([kmeans, nmf, pca], ink, image_shape=image))
