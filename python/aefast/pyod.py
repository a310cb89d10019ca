"""The autoencoders as PyOD's detectors: its names of parameters, methods and attributes, and its signs.

Here, unlike elsewhere in aefast, `decision_function` is higher for more abnormal rows and `predict` gives 1 for
outliers and 0 for other rows. PyOD itself (Zhao, Nasrullah and Li 2019, JMLR 20) is not needed; its combinations and
ensembles take these detectors like their own.

As in PyOD all rows train the network for ``epoch_num`` epochs and none are held out, so that the estimator in ``model``
has no use for p-values until it is recalibrated. The defaults of the parameters are PyOD's, not those of
`aefast.Autoencoder`, but for ``verbose``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betaincinv, erf
from sklearn.base import BaseEstimator
from sklearn.metrics import roc_auc_score
from sklearn.utils.validation import check_is_fitted

from aefast.autoencoder import Autoencoder
from aefast.contractive import ContractiveAutoencoder
from aefast.denoising import DenoisingAutoencoder
from aefast.networks import ACTIVATIONS, OUTPUT_ACTIVATIONS
from aefast.optimizers import SGD, Adam, Optimizer
from aefast.sparse import SparseAutoencoder
from aefast.variational import VariationalAutoencoder

if TYPE_CHECKING:
    from typing_extensions import Self

    from aefast._base import BaseAutoencoder

__all__ = [
    "VAE",
    "AutoEncoder",
    "ContractiveAutoEncoder",
    "DenoisingAutoEncoder",
    "SparseAutoEncoder",
]

#: What `Detector.predict_with_rejection` gives rows that it does not judge.
REJECTED = -2


class Detector(BaseEstimator):
    """What the detectors share: PyOD's methods, on the scores of an aefast estimator.

    Attributes
    ----------
    decision_scores_ : ndarray of shape (n,), float64
        Scores of the training rows, higher for more abnormal ones: the Euclidean distance of a scaled row and its
        reconstruction.
    threshold_ : float
        The ``1 - contamination`` quantile of these.
    labels_ : ndarray of shape (n,), int64
        1 for training rows above the threshold, else 0.
    model : estimator
        The aefast estimator, with its own signs.
    history_ : dict
        ``history_["loss"]`` is the mean loss of each epoch.
    """

    contamination: float
    preprocessing: bool
    lr: float
    epoch_num: int
    batch_size: int
    optimizer_name: str
    device: str | None
    random_state: Any
    verbose: int
    optimizer_params: Mapping[str, Any] | None
    batch_norm: bool
    dropout_rate: float
    n_threads: int | None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "outlier_detector"
        return tags

    @classmethod
    def _get_param_names(cls) -> list[str]:
        # A detector names the parameters it adds and hands on its parent's.
        own: list[str] = super()._get_param_names()
        handed_on = [base._get_param_names() for base in cls.__bases__ if issubclass(base, Detector)]
        return sorted({*own, *(name for names in handed_on for name in names)})

    def _model(self) -> BaseAutoencoder:
        """The estimator that the parameters describe."""
        raise NotImplementedError

    def _described(self) -> dict[str, Any]:
        """Parameters of the estimator that all detectors have."""
        if not isinstance(self.contamination, Real) or not 0 < self.contamination <= 0.5:
            raise ValueError(f"contamination must be a number in (0, 0.5], got {self.contamination!r}")
        if self.device not in (None, "cpu"):
            raise ValueError(f"device must be None or 'cpu', where aefast computes, got {self.device!r}")
        optimizer, l2 = _optimizer(self.optimizer_name, self.optimizer_params or {})
        return {
            "scaler": "standard" if self.preprocessing else None,
            "learning_rate": self.lr,
            "max_epochs": self.epoch_num,
            "batch_size": self.batch_size,
            "drop_last": True,
            "optimizer": optimizer,
            "l2": l2,
            "batch_norm": self.batch_norm,
            "dropout": self.dropout_rate,
            "contamination": float(self.contamination),
            "score_metric": "mse",
            "validation_fraction": 0.0,
            "early_stopping": False,
            "random_state": self.random_state,
            "verbose": self.verbose,
            "n_threads": self.n_threads,
        }

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on the rows of ``X``.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Finite numbers.
        y : ignored
            For PyOD's conventions.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter or the input is not valid.
        """
        self.model = self._model().fit(X)
        self.n_features_in_ = self.model.n_features_in_
        self.history_ = {"loss": list(self.model.loss_curve_)}
        self.decision_scores_ = self._scores(X)
        self.threshold_ = float(np.percentile(self.decision_scores_, 100 * (1 - self.contamination)))
        self.labels_ = self._labels(self.decision_scores_)
        self._mu, self._sigma = float(np.mean(self.decision_scores_)), float(np.std(self.decision_scores_))
        self._classes = 2
        return self

    def _scores(self, X: Any) -> NDArray[np.float64]:
        errors = self.model.reconstruction_error(X).astype(np.float64)
        return np.sqrt(self.model.n_features_in_ * errors)

    def _labels(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        return (scores > self.threshold_).astype(np.int64)

    def decision_function(self, X: Any, batch_size: int | None = None) -> NDArray[np.float64]:
        """Scores of rows: higher is more abnormal.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Finite numbers.
        batch_size : ignored
            For PyOD's conventions.

        Returns
        -------
        ndarray of shape (n,), float64

        Raises
        ------
        ValueError
            If the input is not valid.
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self, "decision_scores_")
        return self._scores(X)

    def predict(self, X: Any, return_confidence: bool = False) -> Any:
        """Which rows are outliers: 1 where the score exceeds ``threshold_``, else 0.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `decision_function`.
        return_confidence : bool, default False
            Also give `predict_confidence`.

        Returns
        -------
        ndarray of shape (n,), int64; with ``return_confidence`` a pair of it and a confidence for each row
        """
        scores = self.decision_function(X)
        labels = self._labels(scores)
        return (labels, self._confidence(scores)) if return_confidence else labels

    def predict_proba(self, X: Any, method: str = "linear", return_confidence: bool = False) -> Any:
        """Scores as probabilities of being an outlier (Kriegel et al. 2011).

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `decision_function`.
        method : {"linear", "unify"}, default "linear"
            "linear": the place between the least and the largest score of the training rows. "unify": erf((s - m) /
            (sqrt(2) t)), with mean m and standard deviation t of these scores, and 0 below m.
        return_confidence : bool, default False
            Also give `predict_confidence`.

        Returns
        -------
        ndarray of shape (n, 2), float64; with ``return_confidence`` a pair of it and a confidence for each row
            In [0, 1]: of being normal and of being an outlier.

        Raises
        ------
        ValueError
            Also if the method is unknown.
        """
        scores = self.decision_function(X)
        if method == "linear":
            least, largest = self.decision_scores_.min(), self.decision_scores_.max()
            share = (scores - least) / ((largest - least) or 1.0)
        elif method == "unify":
            share = erf((scores - self._mu) / (np.sqrt(2) * (self._sigma or 1.0)))
        else:
            raise ValueError(f"method must be 'linear' or 'unify', got {method!r}")
        share = share.clip(0, 1)
        probabilities = np.column_stack([1 - share, share])
        return (probabilities, self._confidence(scores)) if return_confidence else probabilities

    def predict_confidence(self, X: Any) -> NDArray[np.float64]:
        """How likely each row's prediction would stay the same with other training rows of the same kind.

        With n training rows, of which k have scores up to the row's, an outlier's confidence is the probability that
        a binomial of n and (1 + k) / (2 + n) exceeds n - floor(contamination n), and another row's one minus that
        (Perini, Vercruyssen and Davis 2020).

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `decision_function`.

        Returns
        -------
        ndarray of shape (n,), float64
            In [0, 1].
        """
        return self._confidence(self.decision_function(X))

    def _confidence(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        n = len(self.decision_scores_)
        n_up_to = np.searchsorted(np.sort(self.decision_scores_), scores, side="right")
        as_outlier = 1 - bdtr(n - int(n * self.contamination), n, (1 + n_up_to) / (2 + n))
        return np.where(self._labels(scores) == 1, as_outlier, 1 - as_outlier)

    def predict_with_rejection(
        self,
        X: Any,
        T: float = 32,
        return_stats: bool = False,
        delta: float = 0.1,
        c_fp: float = 1,
        c_fn: float = 1,
        c_r: float = -1,
    ) -> Any:
        """`predict`, but -2 for rows whose prediction is too uncertain (Perini and Davis 2023).

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `decision_function`.
        T : float, default 32
            Rows are rejected where ``2 |p - 1/2| <= 1 - 2 exp(-T)`` for the probability p to be called an outlier.
        return_stats : bool, default False
            Also give `compute_rejection_stats`.
        delta, c_fp, c_fn, c_r : float
            As there.

        Returns
        -------
        ndarray of shape (n,), int64; with ``return_stats`` a pair of it and a list of three numbers
        """
        scores = self.decision_function(X)
        labels = self._labels(scores)
        self.rejection_threshold_ = 1 - 2 * np.exp(-T)
        labels[2 * np.abs(self._confidence(scores) - 0.5) <= self.rejection_threshold_] = REJECTED
        if not return_stats:
            return labels
        return labels, list(self.compute_rejection_stats(T=T, delta=delta, c_fp=c_fp, c_fn=c_fn, c_r=c_r))

    def compute_rejection_stats(
        self, T: float = 32, delta: float = 0.1, c_fp: float = 1, c_fn: float = 1, c_r: float = -1
    ) -> tuple[float, float, float]:
        """What `predict_with_rejection` will do to rows like those of training (Perini and Davis 2023, section 3).

        Parameters
        ----------
        T : float, default 32
            As there.
        delta : float in (0, 1), default 0.1
            The bound on the rate holds with probability ``1 - delta``.
        c_fp, c_fn, c_r : float
            Costs of a false alarm, a miss and a rejection; the last is ``contamination`` where it is below 0.

        Returns
        -------
        (float, float, float)
            Expected rejection rate, upper bound of the rejection rate, upper bound of the expected cost of a row.

        Raises
        ------
        ValueError
            If ``delta`` is not in (0, 1).
        """
        check_is_fitted(self, "decision_scores_")
        if not 0 < delta < 1:
            raise ValueError(f"delta must be in (0, 1), got {delta!r}")
        n, share = len(self.decision_scores_), float(self.contamination)
        c_r = share if c_r < 0 else c_r
        # Quantiles of the share of scores above: where the binomial's distribution function is 1 - e^-T and e^-T.
        n_outliers = int(n * share)
        low, high = (float(betaincinv(n_outliers, n - n_outliers + 1, p)) for p in (np.exp(-T), 1 - np.exp(-T)))
        root = 2 * n * (-3 * share**2 - 2 * n * (1 - share) ** 2 + 4 * share - 3) + T * (n + 2) ** 2 - 8
        first = (2 + n * (1 - share) * (n + 1)) / n**2 - np.sqrt(max(0.0, root / (2 * n**3)))
        last = 1 - share + (1 - 2 * share) / n + np.sqrt(T / (2 * n)) * (n + 2) / n
        bound = min(1.0, last) - max(0.0, first) + 2 * np.sqrt(np.log(2 / delta) / (2 * n))
        cost = min(share, low) * c_fp + min(1 - high, share) * c_fn + (high - low) * c_r
        return high - low, float(bound), float(cost)

    def fit_predict(self, X: Any, y: Any = None) -> NDArray[np.int64]:
        """`fit`, then ``labels_``."""
        return self.fit(X).labels_

    def fit_predict_score(self, X: Any, y: ArrayLike, scoring: str = "roc_auc_score") -> float:
        """`fit`, then how well ``decision_scores_`` rank the rows labelled 1.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `fit`.
        y : array-like of shape (n,)
            1 for outliers, 0 for other rows.
        scoring : {"roc_auc_score", "prc_n_score"}, default "roc_auc_score"
            The area under the ROC curve, or the share of outliers among as many of the highest scores as there are.

        Returns
        -------
        float

        Raises
        ------
        NotImplementedError
            If ``scoring`` is unknown.
        """
        if scoring not in ("roc_auc_score", "prc_n_score"):
            raise NotImplementedError(f"scoring must be 'roc_auc_score' or 'prc_n_score', got {scoring!r}")
        scores = self.fit(X).decision_scores_
        if scoring == "roc_auc_score":
            return float(roc_auc_score(y, scores))
        outliers = np.asarray(y) == 1
        highest = np.argsort(-scores, kind="stable")[: np.count_nonzero(outliers)]
        return float(np.mean(outliers[highest]))


class AutoEncoder(Detector):
    """PyOD's ``AutoEncoder``.

    Parameters
    ----------
    contamination : float in (0, 0.5], default 0.1
        Share of the training rows to call outliers.
    preprocessing : bool, default True
        Scale columns to mean 0 and variance 1.
    lr : float, default 1e-3
        Learning rate.
    epoch_num : int, default 10
        Passes over the rows.
    batch_size : int, default 32
        Rows a step; an incomplete last batch is left out.
    optimizer_name : {"adam", "sgd"}, default "adam"
        How steps are taken.
    device : None or "cpu"
        Where to compute; there is no other place.
    random_state : int, RandomState instance or None, default 42
        Fixes everything random.
    use_compile, compile_mode : ignored
        For PyOD's conventions: all is compiled.
    verbose : int, default 0
        1 prints a line an epoch. PyOD's default is 1.
    optimizer_params : dict, default {"weight_decay": 1e-5}
        ``weight_decay`` (an L2 penalty on weights), for "adam" ``betas`` and ``eps``, for "sgd" ``momentum`` and
        ``nesterov``.
    hidden_neuron_list : sequence of int, default (64, 32)
        Widths after the input; the last is the code, and the decoder mirrors them.
    hidden_activation_name : str, default "relu"
        Of all layers but the last.
    batch_norm : bool, default True
        Batch normalisation of these.
    dropout_rate : float in [0, 1), default 0.2
        Dropout of the hidden layers.
    n_threads : int, optional
        As in `aefast.Autoencoder`, like all below that PyOD does not have.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast.pyod import AutoEncoder
    >>> X = np.random.default_rng(0).normal(size=(500, 9))
    >>> detector = AutoEncoder(epoch_num=2, contamination=0.02).fit(X)
    >>> int(detector.labels_.sum()), detector.predict(np.full((1, 9), 9.0))
    (10, array([1]))
    """

    def __init__(
        self,
        contamination: float = 0.1,
        preprocessing: bool = True,
        lr: float = 1e-3,
        epoch_num: int = 10,
        batch_size: int = 32,
        optimizer_name: str = "adam",
        device: str | None = None,
        random_state: Any = 42,
        use_compile: bool = False,
        compile_mode: str = "default",
        verbose: int = 0,
        optimizer_params: Mapping[str, Any] | None = None,
        hidden_neuron_list: Sequence[int] = (64, 32),
        hidden_activation_name: str = "relu",
        batch_norm: bool = True,
        dropout_rate: float = 0.2,
        n_threads: int | None = None,
    ) -> None:
        self.contamination = contamination
        self.preprocessing = preprocessing
        self.lr = lr
        self.epoch_num = epoch_num
        self.batch_size = batch_size
        self.optimizer_name = optimizer_name
        self.device = device
        self.random_state = random_state
        self.use_compile = use_compile
        self.compile_mode = compile_mode
        self.verbose = verbose
        self.optimizer_params = optimizer_params
        self.hidden_neuron_list = hidden_neuron_list
        self.hidden_activation_name = hidden_activation_name
        self.batch_norm = batch_norm
        self.dropout_rate = dropout_rate
        self.n_threads = n_threads

    def _described(self) -> dict[str, Any]:
        return {
            **super()._described(),
            "encoder_layer_sizes": tuple(self.hidden_neuron_list),
            "activation": _known("hidden_activation_name", self.hidden_activation_name, ACTIVATIONS),
            "code_activation": self.hidden_activation_name,
        }

    def _model(self) -> BaseAutoencoder:
        return Autoencoder(**self._described())


class DenoisingAutoEncoder(AutoEncoder):
    """`AutoEncoder` that learns to give back clean rows from noisy ones.

    Parameters
    ----------
    noise : {"gaussian", "masking", "salt_pepper"} or callable, default "gaussian"
    noise_level : float, default 0.1
        As in `aefast.DenoisingAutoencoder`.
    **parameters
        Those of `AutoEncoder`.

    Examples
    --------
    >>> from aefast.pyod import DenoisingAutoEncoder
    >>> DenoisingAutoEncoder(noise="masking", epoch_num=3).get_params()["noise"]
    'masking'
    """

    def __init__(self, *, noise: Any = "gaussian", noise_level: float = 0.1, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.noise = noise
        self.noise_level = noise_level

    def _model(self) -> BaseAutoencoder:
        return DenoisingAutoencoder(noise=self.noise, noise_level=self.noise_level, **self._described())


class SparseAutoEncoder(AutoEncoder):
    """`AutoEncoder` with a sparse code, which may be wider than the input.

    Parameters
    ----------
    sparsity : {"kl", "l1", "topk", "threshold"}, default "kl"
    sparsity_weight : float, default 0.01
    sparsity_target : float in (0, 1), default 0.05
    k : int, optional
        As in `aefast.SparseAutoencoder`, which also chooses the activation of the code.
    **parameters
        Those of `AutoEncoder`.

    Examples
    --------
    >>> from aefast.pyod import SparseAutoEncoder
    >>> SparseAutoEncoder(sparsity="topk", k=3, hidden_neuron_list=(20,)).k
    3
    """

    def __init__(
        self,
        *,
        sparsity: str = "kl",
        sparsity_weight: float = 0.01,
        sparsity_target: float = 0.05,
        k: int | None = None,
        **parameters: Any,
    ) -> None:
        super().__init__(**parameters)
        self.sparsity = sparsity
        self.sparsity_weight = sparsity_weight
        self.sparsity_target = sparsity_target
        self.k = k

    def _model(self) -> BaseAutoencoder:
        sparsity = {name: getattr(self, name) for name in ("sparsity", "sparsity_weight", "sparsity_target", "k")}
        return SparseAutoencoder(**{**self._described(), "code_activation": "auto", **sparsity})


class ContractiveAutoEncoder(AutoEncoder):
    """`AutoEncoder` whose code changes little where the input does.

    Parameters
    ----------
    contraction : float, default 1e-3
        As in `aefast.ContractiveAutoencoder`.
    batch_norm, dropout_rate
        Off by default.
    **parameters
        Those of `AutoEncoder`.

    Examples
    --------
    >>> from aefast.pyod import ContractiveAutoEncoder
    >>> ContractiveAutoEncoder(contraction=0.1).batch_norm
    False
    """

    def __init__(
        self, *, contraction: float = 1e-3, batch_norm: bool = False, dropout_rate: float = 0.0, **parameters: Any
    ) -> None:
        super().__init__(batch_norm=batch_norm, dropout_rate=dropout_rate, **parameters)
        self.contraction = contraction

    def _model(self) -> BaseAutoencoder:
        return ContractiveAutoencoder(contraction=self.contraction, **self._described())


class VAE(Detector):
    """PyOD's ``VAE``, but for two things: its objective is the evidence lower bound, and scores repeat.

    PyOD holds the divergence below ``capacity``, whose default of 0 turns it off, and draws a code for every score.
    Here the divergence counts in full, and scores come from the mean of the code.

    Parameters
    ----------
    contamination, preprocessing, lr, batch_size, optimizer_name, device, random_state, use_compile, compile_mode
        As in `AutoEncoder`.
    verbose, optimizer_params, hidden_activation_name, n_threads
        As in `AutoEncoder`.
    epoch_num : int, default 30
        Passes over the rows.
    beta : float, default 1
        Weight of the divergence, as in `aefast.VariationalAutoencoder`.
    capacity : 0
        For PyOD's conventions; others are refused.
    encoder_neuron_list, decoder_neuron_list : sequence of int, default (128, 64, 32) and (32, 64, 128)
        Widths of the hidden layers before and after the code.
    latent_dim : int, default 2
        Width of the code.
    output_activation_name : str, default "identity"
        Of the last layer.
    batch_norm : bool, default False
        Batch normalisation of hidden layers.
    dropout_rate : float in [0, 1), default 0.2
        Dropout of the hidden layers.
    logvar_clip : pair of float or None, default (-30, 20)
        For PyOD's conventions: checked, but log-variances need no lower bound here, and the upper one is always 20.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast.pyod import VAE
    >>> X = np.random.default_rng(0).normal(size=(500, 9))
    >>> detector = VAE(epoch_num=2, contamination=0.02).fit(X)
    >>> bool((detector.decision_function(X) == detector.decision_scores_).all())
    True
    """

    def __init__(
        self,
        contamination: float = 0.1,
        preprocessing: bool = True,
        lr: float = 1e-3,
        epoch_num: int = 30,
        batch_size: int = 32,
        optimizer_name: str = "adam",
        device: str | None = None,
        random_state: Any = 42,
        use_compile: bool = False,
        compile_mode: str = "default",
        verbose: int = 0,
        optimizer_params: Mapping[str, Any] | None = None,
        beta: float = 1.0,
        capacity: float = 0.0,
        encoder_neuron_list: Sequence[int] = (128, 64, 32),
        decoder_neuron_list: Sequence[int] = (32, 64, 128),
        latent_dim: int = 2,
        hidden_activation_name: str = "relu",
        output_activation_name: str = "identity",
        batch_norm: bool = False,
        dropout_rate: float = 0.2,
        logvar_clip: Sequence[float] | None = (-30.0, 20.0),
        n_threads: int | None = None,
    ) -> None:
        self.contamination = contamination
        self.preprocessing = preprocessing
        self.lr = lr
        self.epoch_num = epoch_num
        self.batch_size = batch_size
        self.optimizer_name = optimizer_name
        self.device = device
        self.random_state = random_state
        self.use_compile = use_compile
        self.compile_mode = compile_mode
        self.verbose = verbose
        self.optimizer_params = optimizer_params
        self.beta = beta
        self.capacity = capacity
        self.encoder_neuron_list = encoder_neuron_list
        self.decoder_neuron_list = decoder_neuron_list
        self.latent_dim = latent_dim
        self.hidden_activation_name = hidden_activation_name
        self.output_activation_name = output_activation_name
        self.batch_norm = batch_norm
        self.dropout_rate = dropout_rate
        self.logvar_clip = logvar_clip
        self.n_threads = n_threads
        # PyOD refuses these before `fit`, and its users may count on that.
        if logvar_clip is not None and (len(logvar_clip) != 2 or not logvar_clip[0] < logvar_clip[1]):
            raise ValueError(f"logvar_clip must be a lower and a larger upper bound, got {logvar_clip!r}")

    def _model(self) -> BaseAutoencoder:
        if self.capacity != 0:
            raise ValueError(f"capacity must be 0: the divergence is not held below it here, got {self.capacity!r}")
        return VariationalAutoencoder(
            (*self.encoder_neuron_list, self.latent_dim),
            decoder_layer_sizes=tuple(self.decoder_neuron_list),
            activation=_known("hidden_activation_name", self.hidden_activation_name, ACTIVATIONS),
            output_activation=_known("output_activation_name", self.output_activation_name, OUTPUT_ACTIVATIONS),
            beta=self.beta,
            **self._described(),
        )


def _known(parameter: str, name: str, names: Sequence[str]) -> str:
    if name not in names:
        raise ValueError(f"{parameter} must be one of {', '.join(names)}, got {name!r}")
    return name


def _optimizer(name: str, parameters: Mapping[str, Any]) -> tuple[Optimizer, float]:
    """The optimiser, and the weight of the L2 penalty that PyTorch's optimisers call ``weight_decay``."""
    left = dict(parameters)
    l2 = float(left.pop("weight_decay", 0.0 if parameters else 1e-5))
    optimizer: Optimizer
    if _known("optimizer_name", name, ("adam", "sgd")) == "adam":
        beta_1, beta_2 = left.pop("betas", (0.9, 0.999))
        optimizer = Adam(beta_1, beta_2, left.pop("eps", 1e-8))
    else:
        optimizer = SGD(left.pop("momentum", 0.0), left.pop("nesterov", False))
    if left:
        raise ValueError(f"optimizer_params has {', '.join(map(repr, left))}, which aefast's {name} does not know")
    return optimizer, l2
