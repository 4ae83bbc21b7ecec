"""Parts of the Olivetti faces: 16 components from a random start, then 36 from NNDSVDa, by scikit-learn and by mereo.

What is reproduced: NMF of whole faces of 64x64 pixels. The question was whether NNDSVDa gives more local parts than a random start; the
number of components was changed along with the start, so it is told here how sparse components are (Hoyer's measure: 0 where all pixels are
equal, 1 for a single one). A fifth of the faces is held out, two of each person.

`experiment` is a script for scikit-learn as it would be published. In such a script nothing changes for mereo but the import,

    from mereo import NMF        # in place of: from sklearn.decomposition import NMF

and the one here is run with either, on the same rows with the same parameters and threads. The table ends with the time that mereo takes to be
as low as scikit-learn's whole fit. The exit status is 1 where mereo's objective is over 0.1 % higher, or its test MSE over 1 %.

    pip install mereo scikit-learn matplotlib
    python nmf_olivetti.py [FOLDER] [--quick] [--figure nmf_olivetti.png]
"""

import sys
import time

import _side_by_side as side  # before NumPy
import numpy as np
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split


def experiment(NMF, X_train, X_test, n_components, init, max_iter, tol):
    nmf = NMF(n_components=n_components, init=init, random_state=0, max_iter=max_iter, tol=tol)
    start = time.perf_counter()
    W = nmf.fit_transform(X_train)
    seconds = time.perf_counter() - start
    X_again = nmf.inverse_transform(nmf.transform(X_test))
    return {"nmf": nmf, "W": W, "test": mean_squared_error(X_test, X_again), "seconds": seconds}


def sparseness(H):
    """Hoyer's sparseness, mean over components."""
    root = np.sqrt(H.shape[1])
    return np.mean((root - H.sum(axis=1) / np.linalg.norm(H, axis=1)) / (root - 1))


def draw(file, settings, image):
    made = side.canvas(file, 2, 2, figsize=(9, 9.6))
    if made is None:
        return
    figure, axes = made
    for column, (name, runs) in zip(axes.T, settings.items()):
        like = runs["mereo"]["nmf"].components_
        for ax, (library, run) in zip(column, runs.items()):
            side.draw_components(ax, run["nmf"].components_, image, None if library == "mereo" else like)
            error, sparse = run["nmf"].reconstruction_err_, sparseness(run["nmf"].components_)
            ax.set_title(f"{library}: {name}\nerror {error:.2f}, sparseness {sparse:.2f}, {run['seconds']:.1f} s", fontsize=11)
    figure.savefig(file, dpi=110)


def main():
    args = side.arguments(__doc__, max_iter=600, tol=1e-4)
    X, person, image = side.faces("olivetti", args)
    X_train, X_test = train_test_split(X, test_size=0.2, stratify=person, random_state=0)
    table = side.Table()
    for n_components, init in ((16, "random"), (36, "nndsvda")):
        params = {"n_components": n_components, "init": init, "max_iter": args.max_iter, "tol": args.tol}
        table.add(f"{n_components} from {init}", side.both(experiment, X_train, X_test, **params))
    status = table.verdict()
    for name, runs in table.settings.items():
        of = ", ".join(f"{library} {sparseness(run['nmf'].components_):.3f}" for library, run in runs.items())
        print(f"sparseness of {name}: {of}")
    draw(args.figure, table.settings, image)
    return status


if __name__ == "__main__":
    sys.exit(main())
