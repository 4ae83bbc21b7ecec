"""64 components of LFW faces, learned from 400 faces and from all 7,331 of the training set, by scikit-learn and by mereo.

What is reproduced: how components of faces look by the size of the sample. A fifth of the faces is held out, in proportion to the faces of
each person; training faces are taken in the random order of the split.

`experiment` is a script for scikit-learn as it would be published. In such a script nothing changes for mereo but the import,

    from mereo import NMF        # in place of: from sklearn.decomposition import NMF

and the one here is run with either, on the same rows with the same parameters and threads. The table ends with the time that mereo takes to be
as low as scikit-learn's whole fit. The exit status is 1 where mereo's objective is over 0.1 % higher, or its test MSE over 1 %.

    pip install mereo scikit-learn matplotlib
    python components_by_sample_size.py [FOLDER] [--quick] [--figure components_by_sample_size.png]
"""

import sys
import time

import _side_by_side as side  # before NumPy
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split


def experiment(NMF, X_train, X_test, max_iter, tol):
    nmf = NMF(n_components=64, init="nndsvda", random_state=0, max_iter=max_iter, tol=tol)
    start = time.perf_counter()
    W = nmf.fit_transform(X_train)
    seconds = time.perf_counter() - start
    X_again = nmf.inverse_transform(nmf.transform(X_test))
    return {"nmf": nmf, "W": W, "test": mean_squared_error(X_test, X_again), "seconds": seconds}


def draw(file, settings, image):
    made = side.canvas(file, 2, len(settings), figsize=(4.5 * len(settings), 9.2 * image[0] / image[1] + 1), squeeze=False)
    if made is None:
        return
    figure, axes = made
    for column, (name, runs) in zip(axes.T, settings.items()):
        like = runs["mereo"]["nmf"].components_
        for ax, (library, run) in zip(column, runs.items()):
            side.draw_components(ax, run["nmf"].components_, image, None if library == "mereo" else like)
            ax.set_title(f"{library}: {name}\ntest MSE {run['test']:.5f}, {run['seconds']:.1f} s", fontsize=11)
    figure.savefig(file, dpi=110)


def main():
    args = side.arguments(__doc__, max_iter=200, tol=1e-4, sizes=True)
    X, person, image = side.faces("lfw", args)
    X_train, X_test = train_test_split(X, test_size=0.2, stratify=person, random_state=42)
    small = 400 if len(X_train) > 400 else 160
    table = side.Table()
    for n in args.sizes or (small, min(1000, len(X_train)) if args.quick else len(X_train)):
        table.add(f"{n:,} faces", side.both(experiment, X_train[:n], X_test, max_iter=args.max_iter, tol=args.tol))
    draw(args.figure, table.settings, image)
    return table.verdict()


if __name__ == "__main__":
    sys.exit(main())
