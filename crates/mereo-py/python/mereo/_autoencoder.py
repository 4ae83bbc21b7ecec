"""Shallow autoencoders, and sparse ones."""

from __future__ import annotations

import json
import os
import warnings
from typing import Any, TypeVar

import numpy as np

from . import _core
from ._base import Estimator, number, one_of, seed_of, threads_of, whole
from ._rows import Rows


_B = TypeVar("_B", bound="_ByBatches")


class _ByBatches(Estimator):
    """Estimators that learn by steps along the gradient of a batch."""

    components_: np.ndarray
    encoder_: np.ndarray
    encoder_bias_: np.ndarray
    held_out_curve_: np.ndarray
    n_iter_: int

    def _set(self, model: Any, facts: dict[str, Any]) -> None:
        super()._set(model, facts)
        self.held_out_curve_ = np.array([step["held"] for step in facts["curve"] if step.get("held") is not None])

    def partial_fit(self: _B, X: Any, y: Any = None) -> _B:
        """Learns from some rows, in batches of ``batch_size``, with steps of a constant length.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : ignored
            For pipelines.

        Returns
        -------
        self : object
            The estimator, after these rows.

        Raises
        ------
        ValueError
            Parameters or rows that can't be used.

        Notes
        -----
        An estimator that was fitted, loaded or copied begins anew, with a warning: what its optimiser knew is gone.
        """
        trainer = getattr(self, "_trainer", None)
        first = trainer is None
        if first and self.__sklearn_is_fitted__():
            warnings.warn(
                f"this {type(self).__name__} was fitted, loaded or copied; partial_fit begins anew, since what its optimiser knew is gone",
                UserWarning,
                stacklevel=2,
            )
        rows = self._look(X, reset=first)
        if first:
            params = self._params(rows) | {"decay": "none", "warmup": 0.0, "validation": 0.0, "patience": 0}
            trainer = _core.Trainer(self._method, json.dumps(params), self._pass_rows())
            self._losses: list[float] = []
        self._losses.append(trainer.learn(rows.table, threads_of(self.n_jobs)))
        losses = list(self._losses)
        curve = [{"loss": loss, "pass": i + 1, "restart": 0, "seconds": 0.0} for i, loss in enumerate(losses)]
        facts = {"curve": curve, "cols": rows.shape[1], "rows": rows.shape[0], "stop": "limit", "seconds": 0.0, "params": {}, "kept": len(curve)}
        self._set(trainer.model(), facts)
        self._dtype, self._trainer = rows.dtype, trainer
        self._learned(rows, facts)
        self.n_iter_ = len(losses)
        return self

    def _pass_rows(self) -> int:
        return 0


class Autoencoder(_ByBatches):
    """Autoencoder with one hidden layer: codes are a function of weighted sums, rows are weighted sums of codes.

    Parameters
    ----------
    n_components : int
        Number of units.
    activation : {'erf', 'sigmoid', 'tanh', 'relu', 'leaky-relu', 'softplus', 'linear'} or None
        The function of the codes; the core's own by itself.
    tied : bool
        The decoder is the encoder.
    encoder_bias, decoder_bias : bool
        Whether there are biases.
    scaled : bool
        Divide what reaches a unit by the root of the number of columns.
    normalize : bool
        Learn in units in which rows have mean 0 and mean square 1.
    init : {'principal', 'random'}
        First weights: turned principal directions, or normal numbers.
    weight_decay, l1, kl, rho : float
        Penalties: of squared weights, of mean codes, of mean codes that differ from ``rho`` (sigmoid).
    nonnegative : bool
        Weights of at least 0.
    optimizer : {'adam', 'adamw', 'sgd'}
        How weights follow their gradient.
    learning_rate : float or None
        Length of a step; by the number of columns by itself.
    momentum, beta1, beta2 : float
        What steps remember.
    batch_size : int
        Rows of a step.
    max_iter : int
        Passes over the rows at most.
    tol : float
        Ends when a pass changes the loss by no more than this share of it; 0 runs to ``max_iter``.
    warmup : float
        Share of the steps over which their length rises.
    decay : {'cosine', 'linear', 'none'}
        How it goes down after that.
    patience : int
        Passes in which rows held out may get no better before the fit stops; 0 holds none out.
    validation_fraction : float
        Share of the rows held out for that.
    random_state : int, RandomState, Generator or None
        Seed of weights and of the order of rows.
    image_shape : tuple of int or None
        Height and width of the images that rows are.
    n_jobs : int or None
        Threads; every core by itself. Results do not depend on it.
    verbose : int
        Whether to show a bar.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Rows of the decoder.
    encoder_ : ndarray of shape (n_components, n_features)
        Rows of the encoder.
    encoder_bias_, decoder_bias_ : ndarray
        Biases.
    n_iter_ : int
        Passes.
    loss_curve_ : ndarray
        Loss after every pass.
    held_out_curve_ : ndarray
        Loss of the rows that were held out.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where all of them have one.

    Examples
    --------
    >>> import mereo
    >>> digits, image = mereo.load_data("digits")
    >>> ae = mereo.Autoencoder(8, max_iter=20, random_state=0).fit(digits)
    >>> ae.transform(digits).shape, bool(ae.score(digits) > 0.6)
    ((1797, 8), True)
    """

    _method = "ae"

    components_: np.ndarray
    encoder_: np.ndarray
    encoder_bias_: np.ndarray
    decoder_bias_: np.ndarray

    def __init__(
        self,
        n_components: int = 16,
        *,
        activation: str | None = None,
        tied: bool = False,
        encoder_bias: bool = True,
        decoder_bias: bool = True,
        scaled: bool = False,
        normalize: bool = True,
        init: str = "principal",
        weight_decay: float = 0.0,
        l1: float = 0.0,
        kl: float = 0.0,
        rho: float = 0.05,
        nonnegative: bool = False,
        optimizer: str = "adam",
        learning_rate: float | None = None,
        momentum: float = 0.9,
        beta1: float = 0.9,
        beta2: float = 0.999,
        batch_size: int = 64,
        max_iter: int = 100,
        tol: float = 0.0,
        warmup: float = 0.0,
        decay: str = "cosine",
        patience: int = 0,
        validation_fraction: float = 0.1,
        random_state: Any = None,
        image_shape: tuple[int, int] | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.activation = activation
        self.tied = tied
        self.encoder_bias = encoder_bias
        self.decoder_bias = decoder_bias
        self.scaled = scaled
        self.normalize = normalize
        self.init = init
        self.weight_decay = weight_decay
        self.l1 = l1
        self.kl = kl
        self.rho = rho
        self.nonnegative = nonnegative
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.beta1 = beta1
        self.beta2 = beta2
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.warmup = warmup
        self.decay = decay
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.image_shape = image_shape
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _params(self, rows: Rows) -> dict[str, Any]:
        params: dict[str, Any] = {
            "k": whole("n_components", self.n_components),
            "tied": bool(self.tied),
            "encoder_bias": bool(self.encoder_bias),
            "decoder_bias": bool(self.decoder_bias),
            "scaled": bool(self.scaled),
            "normalize": bool(self.normalize),
            "init": one_of("init", self.init, ("principal", "random")),
            "weight_decay": number("weight_decay", self.weight_decay),
            "l1": number("l1", self.l1),
            "kl": number("kl", self.kl),
            "rho": number("rho", self.rho),
            "nonnegative": bool(self.nonnegative),
            "optimizer": one_of("optimizer", self.optimizer, ("adam", "adamw", "sgd")),
            "lr": None if self.learning_rate is None else number("learning_rate", self.learning_rate),
            "momentum": number("momentum", self.momentum),
            "beta1": number("beta1", self.beta1),
            "beta2": number("beta2", self.beta2),
            "batch": whole("batch_size", self.batch_size),
            "max_passes": whole("max_iter", self.max_iter),
            "tol": number("tol", self.tol),
            "warmup": number("warmup", self.warmup),
            "decay": one_of("decay", self.decay, ("cosine", "linear", "none")),
            "patience": whole("patience", self.patience, 0),
            "validation": number("validation_fraction", self.validation_fraction),
            "seed": seed_of(self.random_state),
        }
        if self.activation is not None:
            known = ("linear", "erf", "sigmoid", "tanh", "relu", "leaky-relu", "softplus")
            params["activation"] = one_of("activation", self.activation, known)
        return params

    def _learned(self, rows: Rows, facts: dict[str, Any]) -> None:
        arrays, _ = self._parts()
        self.components_ = self._as(arrays["atoms"])
        self.encoder_ = self._as(arrays["encoder"]) if "encoder" in arrays else self.components_
        self.encoder_bias_ = self._as(arrays["encoder_bias"])
        self.decoder_bias_ = self._as(arrays["decoder_bias"])


class SparseAutoencoder(_ByBatches):
    """Sparse autoencoder: many more latents than columns, few of them alive on a row.

    Parameters
    ----------
    n_components : int or None
        Number of latents; 8 for each column by itself.
    k : int or None
        Latents alive on a row (on the mean row for 'batch-topk'; groups for 'group-max'); by itself 32, or an eighth of the latents where that
        is fewer.
    architecture : {'topk', 'batch-topk', 'jumprelu', 'gated', 'relu', 'group-max'}
        Which latents are alive.
    prefixes : sequence of float
        Matryoshka: nested prefixes that each rebuild a row, as shares of the latents that rise to 1.
    multi : float
        Multi-TopK: weight of the loss of the 4k largest.
    sparsity : float
        Penalty of 'relu', 'gated' and 'jumprelu'.
    l0 : float or None
        Latents alive on the mean row that 'jumprelu' aims at.
    bandwidth : float
        Width of the box by which thresholds of 'jumprelu' learn.
    aux : {'notes', 'openai', 'sparsify', 'saelens', 'dictionary-learning', 'none'}
        How dead latents are revived.
    aux_k, aux_weight, dead_rows
        Of that: latents, weight, and rows on which a latent is not alive until it is dead.
    bias : {'median', 'geometric-median', 'mean', 'zero'}
        The bias at first.
    init : {'random', 'rows'}
        The decoder at first.
    normalize, center : bool
        Learn in units in which rows have mean square length 1; take the mean off.
    optimizer : {'adam', 'signum', 'muon'}
        How weights follow their gradient.
    learning_rate : float or None
        Length of a step; by the number of latents by itself.
    beta1, beta2, epsilon, clip, warmup, decay, ema : float
        Of the steps, as on the command line.
    batch_size : int
        Rows of a step.
    max_iter : int
        Passes over the rows at most.
    tol : float
        Ends when a pass changes the loss by no more than this share of it; 0 runs to ``max_iter``.
    validation_fraction : float
        Share of the rows held out, which say which pass is kept; 0 for none.
    patience : int
        Passes in which they may get no better before the fit stops; 0 for any number.
    sparse_output : bool
        Whether ``transform`` gives a SciPy CSR matrix; else an array.
    random_state : int, RandomState, Generator or None
        Seed of weights and of the order of rows.
    n_jobs : int or None
        Threads; every core by itself. Results do not depend on it.
    verbose : int
        Whether to show a bar.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Rows of the decoder, of length 1.
    encoder_ : ndarray of shape (n_components, n_features)
        Rows of the encoder.
    encoder_bias_ : ndarray of shape (n_components,)
        Bias of the encoder.
    bias_ : ndarray of shape (n_features,)
        Bias of the decoder.
    density_ : ndarray of shape (n_components,)
        Share of the rows of the last pass on which each latent was alive.
    n_iter_ : int
        Passes.
    loss_curve_, held_out_curve_ : ndarray
        Loss after every pass, and FVU of the rows held out.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where all of them have one.

    Examples
    --------
    >>> import mereo
    >>> digits, _ = mereo.load_data("digits")
    >>> sae = mereo.SparseAutoencoder(128, k=6, batch_size=100, max_iter=10, random_state=0).fit(digits)
    >>> codes = sae.transform(digits)
    >>> codes.shape, bool((codes.getnnz(axis=1) <= 6).all())
    ((1797, 128), True)
    """

    _method = "sae"

    components_: np.ndarray
    encoder_: np.ndarray
    encoder_bias_: np.ndarray
    bias_: np.ndarray
    gate_: Any
    density_: np.ndarray

    def __init__(
        self,
        n_components: int | None = None,
        *,
        k: int | None = None,
        architecture: str = "topk",
        prefixes: Any = (),
        multi: float = 0.0,
        sparsity: float = 0.0,
        l0: float | None = None,
        bandwidth: float = 1e-3,
        aux: str = "notes",
        aux_k: int | None = None,
        aux_weight: float | None = None,
        dead_rows: int | None = None,
        bias: str = "median",
        init: str = "random",
        normalize: bool = True,
        center: bool = False,
        optimizer: str = "adam",
        learning_rate: float | None = None,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        clip: float = 1.0,
        warmup: float = 0.0,
        decay: str = "linear",
        ema: float = 0.0,
        batch_size: int = 1024,
        max_iter: int = 50,
        tol: float = 0.0,
        validation_fraction: float = 0.0,
        patience: int = 0,
        sparse_output: bool = True,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.k = k
        self.architecture = architecture
        self.prefixes = prefixes
        self.multi = multi
        self.sparsity = sparsity
        self.l0 = l0
        self.bandwidth = bandwidth
        self.aux = aux
        self.aux_k = aux_k
        self.aux_weight = aux_weight
        self.dead_rows = dead_rows
        self.bias = bias
        self.init = init
        self.normalize = normalize
        self.center = center
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.clip = clip
        self.warmup = warmup
        self.decay = decay
        self.ema = ema
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.sparse_output = sparse_output
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _params(self, rows: Rows) -> dict[str, Any]:
        latents = 8 * rows.shape[1] if self.n_components is None else whole("n_components", self.n_components)
        k = min(32, max(1, latents // 8)) if self.k is None else whole("k", self.k)
        if self.architecture == "group-max" and self.k is None:
            while latents % k:
                k -= 1
        optional = {"l0": self.l0, "aux_k": self.aux_k, "aux_weight": self.aux_weight, "dead_rows": self.dead_rows}
        return optional | {
            "latents": latents,
            "k": k,
            "architecture": one_of("architecture", self.architecture, ("topk", "batch-topk", "jumprelu", "gated", "relu", "group-max")),
            "prefixes": [float(share) for share in self.prefixes],
            "multi": number("multi", self.multi),
            "sparsity": number("sparsity", self.sparsity),
            "bandwidth": number("bandwidth", self.bandwidth),
            "aux": one_of("aux", self.aux, ("notes", "openai", "sparsify", "saelens", "dictionary-learning", "none")),
            "bias": one_of("bias", self.bias, ("median", "geometric-median", "mean", "zero")),
            "init": one_of("init", self.init, ("random", "rows")),
            "normalize": bool(self.normalize),
            "center": bool(self.center),
            "optimizer": one_of("optimizer", self.optimizer, ("adam", "signum", "muon")),
            "lr": None if self.learning_rate is None else number("learning_rate", self.learning_rate),
            "beta1": number("beta1", self.beta1),
            "beta2": number("beta2", self.beta2),
            "epsilon": number("epsilon", self.epsilon),
            "clip": number("clip", self.clip),
            "warmup": number("warmup", self.warmup),
            "decay": one_of("decay", self.decay, ("cosine", "linear", "none")),
            "ema": number("ema", self.ema),
            "batch": whole("batch_size", self.batch_size),
            "max_passes": whole("max_iter", self.max_iter),
            "tol": number("tol", self.tol),
            "validation": number("validation_fraction", self.validation_fraction),
            "patience": whole("patience", self.patience, 0),
            "seed": seed_of(self.random_state),
        }

    def _pass_rows(self) -> int:
        # Without passes a latent is dead after so many rows, unless that is said.
        return 100_000 if self.dead_rows is None else 0

    def _learned(self, rows: Rows, facts: dict[str, Any]) -> None:
        arrays, meta = self._parts()
        self.components_ = self._as(arrays["atoms"])
        self.encoder_ = self._as(arrays["encoder"])
        self.encoder_bias_ = self._as(arrays["encoder_bias"])
        self.bias_ = self._as(arrays["bias"])
        self.density_ = arrays["density"]
        self.gate_ = meta["gate"]

    def transform(self, X: Any, k: int | None = None) -> Any:
        """Codes of rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows with the columns of the fit.
        k : int, optional
            Another number of latents alive, of models that choose them by their number.

        Returns
        -------
        codes : sparse matrix (SciPy CSR) or ndarray of shape (n_samples, n_components)
            Few of them above 0; an array with ``sparse_output=False``.
        """
        self._check_fitted()
        rows = self._look(X, reset=False)
        codes = self._encode(rows, None if k is None else whole("k", k))
        if not isinstance(codes, tuple):
            return codes
        indptr, indices, data, shape = codes
        data = data.astype(rows.dtype, copy=False)
        if not self.sparse_output:
            dense = np.zeros(shape, data.dtype)
            dense[np.repeat(np.arange(shape[0]), np.diff(indptr)), indices] = data
            return dense
        try:
            from scipy.sparse import csr_matrix
        except ImportError:
            raise ImportError("sparse codes need SciPy; install it, or take SparseAutoencoder(sparse_output=False)") from None
        return csr_matrix((data, indices, indptr), shape=shape)

    def top(self, X: Any, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The largest codes of each row, with their latents.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows with the columns of the fit.
        count : int, optional
            How many; as many as the fullest row has by itself.

        Returns
        -------
        latents : ndarray of int32 of shape (n_samples, count)
            Falling by their codes; -1 where a row has fewer.
        values : ndarray of float32 of shape (n_samples, count)
            Their codes; 0 where a row has fewer.
        """
        self._check_fitted()
        rows = self._look(X, reset=False)
        indptr, indices, data, shape = self._model.encode(rows.table, threads_of(self.n_jobs), None)
        alive = np.diff(indptr)
        width = int(alive.max(initial=0)) if count is None else whole("count", count)
        order = np.lexsort((indices, -data, np.repeat(np.arange(shape[0]), alive)))
        place = np.arange(len(data)) - np.repeat(indptr[:-1], alive)
        latents, values = np.full((shape[0], width), -1, np.int32), np.zeros((shape[0], width), np.float32)
        row = np.repeat(np.arange(shape[0]), alive)
        kept = place < width
        latents[row[kept], place[kept]] = indices[order][kept]
        values[row[kept], place[kept]] = data[order][kept]
        return latents, values

    def export(self, path: str | os.PathLike[str], format: str) -> list[str]:
        """Writes the file of another library.

        Parameters
        ----------
        path : str or path-like
            Where to: a folder or a file, as the format is.
        format : {'saelens', 'saelens-v5', 'sparsify', 'dictionary-learning', 'openai', 'saerch', 'hypothesaes', 'gemma-scope'}
            Whose.

        Returns
        -------
        notes : list of str
            What was folded into weights because the format can't say it.

        Raises
        ------
        ValueError
            A format that can't hold this model, with those that can.
        OSError
            A path that can't be written.
        """
        self._check_fitted()
        return self._model.write_sae(os.fspath(path), format)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], format: str | None = None, *, k: int | None = None) -> SparseAutoencoder:
        """Reads a sparse autoencoder of another library. Nothing in it is run.

        Parameters
        ----------
        path : str or path-like
            The file or the folder.
        format : str, optional
            Whose it is; told by what is there by itself.
        k : int, optional
            Latents alive, where the file doesn't say.

        Returns
        -------
        sae : SparseAutoencoder
            A fitted estimator.

        Raises
        ------
        ValueError
            A file that is damaged, hostile or of none of the formats.
        OSError
            A path that can't be read.
        """
        from ._io import estimator_of

        model, _, _ = _core.read_sae(os.fspath(path), format, k)
        return estimator_of(model)
