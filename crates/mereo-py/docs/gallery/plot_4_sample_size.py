"""
How many rows
=============

A few rows are rebuilt well by components made for them, new rows are not. The more rows a model has seen, the closer its error on new rows comes
to that on its own.
"""

import matplotlib.pyplot as plt
import numpy as np

import mereo

digits, image = mereo.load_data("digits")
digits = np.random.default_rng(0).permutation(digits)
seen, new = digits[:1400], digits[1400:]
sizes = [25, 50, 100, 200, 400, 800, 1400]

figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
for make, ax in zip([mereo.PCA, mereo.NMF], axes):
    models = [make(16, random_state=0).fit(seen[:size]) for size in sizes]
    on_own = [model.measure(seen[:size])["errors"]["rmse"] for model, size in zip(models, sizes)]
    on_new = [model.measure(new)["errors"]["rmse"] for model in models]
    ax.semilogx(sizes, on_own, "o-", color="black", label="rows of the fit")
    ax.semilogx(sizes, on_new, "o-", color="tab:red", label="new rows")
    ax.set(title=f"{make.__name__}, 16 components", xlabel="rows of the fit", ylabel="RMSE")
    ax.legend()
plt.show()
