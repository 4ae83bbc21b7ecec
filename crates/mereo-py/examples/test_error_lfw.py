"""Error on unseen LFW faces against the number of faces to learn from, 64 components, by scikit-learn and by mereo.

What is reproduced: a table of the error on the training faces and on 1,833 held-out ones for 200 to 7,331 training faces. The gap between
the two closes: with all faces, unseen ones are described as well as those that were learned from. The first table's own numbers are in
`PUBLISHED` (also in `mereo repro notes`), and stand beside those found here; its number of iterations isn't known.

`experiment` is a script for scikit-learn as it would be published. In such a script nothing changes for mereo but the import,

    from mereo import NMF        # in place of: from sklearn.decomposition import NMF

and the one here is run with either, on the same rows with the same parameters and threads. The table ends with the time that mereo takes to be
as low as scikit-learn's whole fit. The exit status is 1 where mereo's objective is over 0.1 % higher, or its test MSE over 1 %.

    pip install mereo scikit-learn matplotlib
    python test_error_lfw.py [FOLDER] [--quick] [--figure test_error_lfw.png]
"""

import sys
import time

import _side_by_side as side  # before NumPy
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split

# Training faces: MSE of a pixel of these, and of held-out faces.
PUBLISHED = {
    200: (0.00281, 0.00621),
    500: (0.00353, 0.00474),
    1000: (0.00397, 0.00433),
    2000: (0.00404, 0.00418),
    4000: (0.00403, 0.00411),
    7331: (0.00408, 0.00408),
}


def experiment(NMF, X_train, X_test, max_iter, tol):
    nmf = NMF(n_components=64, init="nndsvda", random_state=0, max_iter=max_iter, tol=tol)
    start = time.perf_counter()
    W = nmf.fit_transform(X_train)
    seconds = time.perf_counter() - start
    train = mean_squared_error(X_train, nmf.inverse_transform(W))
    test = mean_squared_error(X_test, nmf.inverse_transform(nmf.transform(X_test)))
    return {"nmf": nmf, "train": train, "test": test, "seconds": seconds}


def draw(file, by_size, published):
    made = side.canvas(file, 1, 2, figsize=(10, 4.2))
    if made is None:
        return
    figure, (errors, times) = made
    sizes = list(by_size)
    for library, color in (("scikit-learn", "tab:orange"), ("mereo", "tab:blue")):
        runs = [runs[library] for runs in by_size.values()]
        errors.plot(sizes, [run["test"] for run in runs], "o-", color=color, label=f"{library}, held out")
        errors.plot(sizes, [run["train"] for run in runs], "o--", color=color, mfc="white", label=f"{library}, training")
        times.plot(sizes, [run["seconds"] for run in runs], "o-", color=color, label=library)
    known = [n for n in sizes if n in published]
    if known:
        errors.plot(known * 2, [published[n][i] for i in (0, 1) for n in known], "kx", label="published")
    errors.set(xscale="log", ylabel="mean squared error of a pixel")
    times.set(xscale="log", ylim=(0, None), ylabel="seconds to fit")
    for ax in (errors, times):
        ax.set_xlabel("faces to learn from")
        ax.set_xticks(sizes, [f"{n:,}" for n in sizes])
        ax.minorticks_off()
        ax.legend(frameon=False)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)


def main():
    args = side.arguments(__doc__, max_iter=200, tol=1e-4, sizes=True)
    X, person, image = side.faces("lfw", args)
    X_train, X_test = train_test_split(X, test_size=0.2, stratify=person, random_state=42)
    lfw = len(X_train) == max(PUBLISHED)
    sizes = args.sizes or (list(PUBLISHED) if lfw else [160, 200, 240, 280, 320])[: 3 if args.quick else None]
    table, by_size = side.Table(), {}
    for n in sizes:
        by_size[n] = side.both(experiment, X_train[:n], X_test, max_iter=args.max_iter, tol=args.tol)
        table.add(f"{n:,} faces", by_size[n])
    status = table.verdict()
    published = PUBLISHED if lfw and not args.quick else {}
    print(f"\n{'MSE: training, test':22}" + "".join(f"{name:>20}" for name in (*(["published"] if published else []), *side.LIBRARIES)))
    for n, runs in by_size.items():
        pairs = ([published.get(n, (float("nan"),) * 2)] if published else []) + [(run["train"], run["test"]) for run in runs.values()]
        print(f"{f'{n:,} faces':22}" + "".join(f"{f'{train:.5f}, {test:.5f}':>20}" for train, test in pairs))
    draw(args.figure, by_size, published)
    return status


if __name__ == "__main__":
    sys.exit(main())
