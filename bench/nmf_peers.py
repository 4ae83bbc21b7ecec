"""The other peers of nmf.py, their clock and the pictures.

MiniBatchNMF runs with its default settings. nimfa runs where it is installed and data is dense and small: lsnmf (projected gradients) for
squared error, nmf with its products for the divergence, both in float64, the only type it has, and from its own starts. nimfa 1.4.0 calls
numpy.mat, which NumPy 2 removed; it is put back here, else nothing of nimfa runs. Its random start takes no seed.
"""

import time
from importlib import metadata

import numpy as np
from sklearn.decomposition import MiniBatchNMF

PATCHED = not hasattr(np, "mat")
try:
    if PATCHED:
        np.mat = np.asmatrix
    import nimfa
except ImportError:
    nimfa, PATCHED = None, False

# Seconds that MiniBatchNMF may take unless asked for more.
MINUTE = 60.0
# Largest data that nimfa is tried on.
NIMFA_ENTRIES = 2_000_000


def version():
    return metadata.version("nimfa") if nimfa else "not installed"


class Clock:
    """Wall and CPU seconds of this process while it is not paused; begins at once."""

    def __init__(self):
        self.wall = self.cpu = 0.0
        self.go()

    def go(self):
        self.since = time.perf_counter(), time.process_time()

    def pause(self):
        self.wall += time.perf_counter() - self.since[0]
        self.cpu += time.process_time() - self.since[1]


def minibatch(x, k, init, loss, bound, objective):
    """MiniBatchNMF with 1, 2, 4, ... passes at most, each fit from the start, until one ends by itself or the next would pass the bound.

    The objective is that of the weights that its fit_transform returns.
    """
    limit, default, curve = 1, MiniBatchNMF().max_iter, []
    while True:
        time.sleep(0.3)
        clock = Clock()
        how = dict(init=init, beta_loss="frobenius" if loss == "squared" else loss, max_iter=limit, random_state=0)
        m = MiniBatchNMF(k, **how)
        w = m.fit_transform(x)
        clock.pause()
        curve.append((clock.wall, objective(w, m.components_)))
        ended, cut = m.n_iter_ < limit or limit == default, 2 * clock.wall > bound
        if ended or cut:
            break
        limit = min(2 * limit, default)
    note = "" if m.n_iter_ < limit else " (its limit)" if ended else f" (more would pass {bound:.3g} s)"
    return {"seconds": clock.wall, "cpu": clock.cpu, "passes": m.n_iter_, "note": note, "curve": curve}


def by_nimfa(x, k, init, loss, bound, target, objective):
    """nimfa until its objective is as low as `target` or it has had its seconds. Its own stopping rule is neither asked nor timed."""
    curve, clock = [], None

    class Timed(nimfa.Lsnmf if loss == "squared" else nimfa.Nmf):
        look = 1

        def __init__(self, *args, **how):
            super().__init__(*args, **how)
            self.objective = lambda: 0.0

        def is_satisfied(self, *told):
            """Whether to go on."""
            passes = self.passes = told[-1]
            late = clock.wall + time.perf_counter() - clock.since[0] > bound
            if passes == 0 or (passes < self.look and not late):
                return True
            clock.pause()
            self.look = passes + max(1, passes // 8)
            curve.append((clock.wall, objective(np.asarray(self.W), np.asarray(self.H))))
            if late or curve[-1][1] <= target:
                return False
            clock.go()
            return True

    seed = {"seed": "random"} if init == "random" else {"seed": "nndsvd", "flag": {"nndsvd": 0, "nndsvda": 1, "nndsvdar": 2}[init]}
    how = {} if loss == "squared" else {"update": "divergence", "objective": "div"}
    x = x.astype(np.float64)
    time.sleep(0.3)
    clock = Clock()
    fitted = Timed(x, rank=k, max_iter=10**9, **seed, **how)
    fitted()
    note = "" if curve[-1][1] <= target else f" (stopped after {bound:.3g} s)"
    return {"seconds": curve[-1][0], "cpu": clock.cpu, "passes": fitted.passes, "note": note, "curve": curve}


def plot(path, case):
    """Draws how far each fit is above the best objective of all of them, against seconds."""
    try:
        import matplotlib
    except ImportError:
        return print("no picture: matplotlib is not installed")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    # What is nearer to the best than this is drawn at the lower edge.
    best, lowest = case["best"], 1e-5
    figure, axes = plt.subplots(figsize=(8, 5), constrained_layout=True)
    styles = {"scikit-learn": "-", "mereo": "-", "MiniBatchNMF": "s--"}
    for i, (who, fit) in enumerate(case["fits"].items()):
        above = [(s, max(v / best - 1, lowest)) for s, v in fit["curve"]]
        axes.plot(*zip(*above), styles.get(who, "^:"), color=f"C{i}", label=who, linewidth=2, markersize=4)
    for share, what in ((1.01, "1 % above where scikit-learn ends"), (1.0, "where scikit-learn ends")):
        level = case["scikit_learn_ends_at"] * share / best - 1
        if level > lowest:
            axes.axhline(level, color="grey", linewidth=1, linestyle=":")
            axes.annotate(what, (0, level), (4, 2), xycoords=("axes fraction", "data"), textcoords="offset points", color="dimgrey", fontsize=8)
    axes.set(xscale="log", yscale="log", ylim=(lowest, None), title=case["title"])
    axes.set(xlabel="seconds, start included", ylabel="objective / best objective found - 1")
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
