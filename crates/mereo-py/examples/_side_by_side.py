"""What the examples share: threads, faces, the same function with either library's NMF, the table and pictures of components.

Import it before NumPy: both libraries get as many threads as OMP_NUM_THREADS says, or one for each core.
"""

import argparse
import os
import pathlib
import sys
import warnings

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # scikit-learn is slower with the BLAS of another processor
    os.environ.pop(name, None)
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
THREADS = os.environ.get("OMP_NUM_THREADS") or str(CORES)
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = THREADS

import numpy as np  # noqa: E402  (after the number of threads is set)
import sklearn  # noqa: E402
import sklearn.decomposition  # noqa: E402
from scipy.optimize import linear_sum_assignment  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402

import mereo  # noqa: E402

LIBRARIES = {"scikit-learn": sklearn.decomposition.NMF, "mereo": mereo.NMF}
ALLOWED = {"objective": 0.1, "test MSE": 1.0}  # percent that mereo may be above scikit-learn


def arguments(doc, max_iter, tol, sizes=False):
    """The command line of an example."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("data", nargs="?", help="folder that holds the faces; $MEREO_TEST_DATA or ../shared/data beside the repository by itself")
    parser.add_argument("--quick", action="store_true", help="smaller faces, in seconds")
    parser.add_argument("--figure", metavar="FILE", help="picture to write; needs matplotlib")
    parser.add_argument("--max-iter", type=int, default=max_iter, help="of both libraries (%(default)s)")
    parser.add_argument("--tol", type=float, default=tol, help="of both libraries (%(default)s)")
    if sizes:
        parser.add_argument("--sizes", type=int, nargs="+", metavar="N", help="numbers of faces to learn from")
    return parser.parse_args()


def faces(name, args):
    """Faces as rows of pixels from 0 to 1, the person of each, height and width.

    'olivetti' is what ``fetch_olivetti_faces`` gives, 'lfw' close to ``fetch_lfw_people(min_faces_per_person=2, resize=0.5)``.
    """
    file = {"olivetti": "olivettifaces.mat", "lfw": "faces_9164x2914_u8.npy"}[name]
    beside = pathlib.Path(__file__).resolve().parents[3].parent / "shared" / "data"
    folder = pathlib.Path(args.data or os.environ.get("MEREO_TEST_DATA") or beside)
    path = next(folder.rglob(file), None) if folder.is_dir() else None
    if path is None:
        if args.data:
            sys.exit(f"there is no {file} in {folder}")
        print(f"{file} is not at hand, so the 400 faces that come with mereo stand in for it")
        X, image = mereo.load_data("faces")
        person = np.arange(400) // 10
    elif name == "olivetti":
        from scipy.io import loadmat

        X, person, image = loadmat(path)["faces"].T.astype(np.float32), np.arange(400) // 10, (64, 64)
        X = X.reshape(400, 64, 64).transpose(0, 2, 1).reshape(400, -1)
        X = (X - X.min()) / (X.max() - X.min())
    else:
        X, person, image = np.load(path).astype(np.float32) / 255, np.load(path.with_name("person_9164_i32.npy")), (62, 47)
    if args.quick:
        X = X.reshape(-1, *image)[:, ::2, ::2]
        X, image = X.reshape(len(X), -1), X.shape[1:]
    return X, person, image


def both(experiment, X_train, X_test, **params):
    """``experiment(NMF, ...)`` with each NMF: its results by library, warnings of convergence kept apart.

    The third result, "as low", is mereo's with just the iterations that it takes to reach scikit-learn's objective.
    """

    def run(NMF, params):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            result = experiment(NMF, X_train, X_test, **params)
        result["warned"] = [str(w.message) for w in caught if issubclass(w.category, ConvergenceWarning)][:1]
        return result

    results = {library: run(NMF, params) for library, NMF in LIBRARIES.items()}
    theirs, mine = (results[library]["nmf"] for library in LIBRARIES)
    reached = np.flatnonzero(np.sqrt(mine.loss_curve_ * X_train.size) <= theirs.reconstruction_err_)
    if len(reached):
        results["as low"] = run(mereo.NMF, params | {"max_iter": int(reached[0]) + 1})
    return results


class Table:
    """Both libraries' numbers for each setting, a line as soon as it is known."""

    def __init__(self):
        pair = f"{'sklearn':>9}{'mereo':>9}"
        print(f"\nscikit-learn {sklearn.__version__}, mereo {mereo.__version__}, {THREADS} threads each\n")
        print(f"{'':16}{'objective |X - WH|':^25}{'test MSE':^27}{'iterations':>14}{'seconds to fit':>22}{'':9}{'as low as sklearn':>21}")
        print(f"{'':16}{pair}{'%':>7} {pair}{'%':>7}  {'sklearn mereo':>14} {pair}{'ratio':>7}{'iterations':>12}{'s':>6}{'ratio':>7}", flush=True)
        self.settings, self.ratios, self.sooner, self.worse = {}, [], [], []

    def add(self, name, runs):
        a, b, low = runs["scikit-learn"], runs["mereo"], runs.pop("as low", None)
        line, self.settings[name] = f"{name:16}", runs
        for what, theirs, mine, digits in (
            ("objective", a["nmf"].reconstruction_err_, b["nmf"].reconstruction_err_, 3),
            ("test MSE", a["test"], b["test"], 5),
        ):
            above = 100 * (mine / theirs - 1)
            line += f"{theirs:9.{digits}f}{mine:9.{digits}f}{above:+7.2f} "
            if above > ALLOWED[what]:
                self.worse.append(f"{name}: {what} {above:+.2f} %")
        self.ratios.append(a["seconds"] / b["seconds"])
        line += f"{a['nmf'].n_iter_:9}{b['nmf'].n_iter_:6} {a['seconds']:9.2f}{b['seconds']:9.2f}{self.ratios[-1]:7.1f}"
        if low:
            self.sooner.append(a["seconds"] / low["seconds"])
            line += f"{low['nmf'].n_iter_:12}{low['seconds']:6.2f}{self.sooner[-1]:7.1f}"
        print(line, flush=True)

    def verdict(self):
        """The exit status: 1 where mereo is worse than it may be."""
        print()
        for library in LIBRARIES:
            said = [text for runs in self.settings.values() for text in runs[library]["warned"]]
            if said:
                print(f"{library} warned in {len(said)} of {len(self.settings)} fits: {said[0]}")
        print(f"mereo's fits have {min(self.ratios):.1f} to {max(self.ratios):.1f} times the speed of scikit-learn's", end="")
        print(f", and are as low {min(self.sooner):.1f} to {max(self.sooner):.1f} times sooner" if self.sooner else "")
        for line in self.worse:
            print(f"worse than it may be: {line}")
        if not self.worse:
            print("mereo's objective is at most 0.1 % higher and its test MSE at most 1 % in every fit")
        return int(bool(self.worse))


def draw_components(ax, H, image, like=None):
    """Components as one picture, each by its own largest value, in the order in which they match those of ``like``."""
    H = H / np.linalg.norm(H, axis=1, keepdims=True)
    if like is not None:
        H = H[linear_sum_assignment(-like @ H.T)[1]]
    (height, width), across = image, int(np.ceil(np.sqrt(len(H))))
    tiles = np.full((across * across, height + 1, width + 1), 0.3)  # lines between components
    tiles[: len(H), 1:, 1:] = (H / H.max(axis=1, keepdims=True)).reshape(-1, height, width)
    picture = tiles.reshape(across, across, height + 1, width + 1).swapaxes(1, 2).reshape(across * (height + 1), -1)
    ax.imshow(np.pad(picture, ((0, 1), (0, 1)), constant_values=0.3), cmap="gray_r", vmin=0, vmax=1)
    ax.set_axis_off()


def canvas(file, *args, **kwargs):
    """matplotlib's ``subplots``, without a screen, or None where no picture is wanted or can be drawn."""
    if not file:
        return None
    try:
        import matplotlib
    except ImportError:
        print("no picture: matplotlib is not installed")
        return None
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    return plt.subplots(*args, layout="constrained", **kwargs)
