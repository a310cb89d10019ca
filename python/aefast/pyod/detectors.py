"""The detectors: one class for each kind of autoencoder, with the constructors that PyOD's users know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

from sklearn.utils._param_validation import Interval

from aefast.estimators.autoencoder import Autoencoder
from aefast.estimators.contractive import ContractiveAutoencoder
from aefast.estimators.denoising import DenoisingAutoencoder
from aefast.estimators.sparse import SparseAutoencoder
from aefast.estimators.variational import VariationalAutoencoder
from aefast.model.layers import ACTIVATIONS, OUTPUT_ACTIVATIONS
from aefast.model.network import dropout_rates
from aefast.pyod.detector import Detector
from aefast.pyod.parameters import check_contamination, known, widths_of

if TYPE_CHECKING:
    from aefast.estimators.base import BaseAutoencoder


def _constraints(estimator: type[BaseAutoencoder], *names: str) -> dict[str, list[Any]]:
    return {name: estimator._parameter_constraints[name] for name in names}


class AutoEncoder(Detector):
    """The counterpart of PyOD's ``AutoEncoder``.

    Parameters
    ----------
    contamination : float in (0, 0.5] or thresholder, default 0.1
        Share of the training rows to label as outliers, or an object of PyThresh that decides from their scores.
    preprocessing : bool, default True
        Scale columns to mean 0 and variance 1.
    lr : float, default 1e-3
        Learning rate.
    epoch_num : int, default 10
        Number of passes over the training rows.
    batch_size : int, default 32
        Rows of a minibatch. An incomplete last minibatch of an epoch is left out.
    optimizer_name : {"adam", "sgd"}, default "adam"
        Optimiser.
    device : None or "cpu"
        Computation always runs on the CPU.
    random_state : int, RandomState instance or None, default 42
        Seed of all random numbers.
    use_compile, compile_mode : ignored
        Accepted for compatibility with PyOD. The engine is always compiled.
    verbose : int, default 0
        1 prints one line per epoch. PyOD's default is 1.
    optimizer_params : dict, default {"weight_decay": 1e-5}
        ``weight_decay`` is the weight of an L2 penalty on weights, 0 if a dict does not have it. The other names are
        PyOD's: ``adam_eps``, ``sgd_momentum`` and ``sgd_nesterov``. "adam" also takes ``betas`` and ``eps``, "sgd"
        ``momentum`` and ``nesterov``. PyOD's penalty also counts biases and batch normalisation.
    hidden_neuron_list : sequence of int, default (64, 32)
        Widths of the layers after the input. The last is the width of the code; the decoder mirrors the encoder.
    hidden_activation_name : str, default "relu"
        Activation of all layers except the last.
    batch_norm : bool, default True
        Batch normalisation of all layers except the last.
    dropout_rate : float in [0, 1), default 0.2
        Dropout rate of the hidden layers.
    n_threads : int, optional
        Number of threads, as in `aefast.Autoencoder`. PyOD does not have this parameter.

    See Also
    --------
    aefast.Autoencoder : The estimator, with another score, p-values and reasons.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast.pyod import AutoEncoder
    >>> X = np.random.default_rng(0).normal(size=(500, 9))
    >>> detector = AutoEncoder(epoch_num=2, contamination=0.02).fit(X)
    >>> int(detector.labels_.sum()), detector.predict(np.full((1, 9), 9.0))
    (10, array([1]))
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Detector._parameter_constraints,
        "hidden_neuron_list": ["array-like"],
    }

    def __init__(
        self,
        contamination: Any = 0.1,
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
        check_contamination(contamination)
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

    def _estimator_parameters(self) -> dict[str, Any]:
        sizes = widths_of("hidden_neuron_list", self.hidden_neuron_list, least=1)
        dropout_rates(self.dropout_rate, 2 * len(sizes) - 1, "dropout_rate")
        return {
            **super()._estimator_parameters(),
            "encoder_layer_sizes": sizes,
            "activation": known("hidden_activation_name", self.hidden_activation_name, ACTIVATIONS),
            "code_activation": self.hidden_activation_name,
        }

    def _model(self) -> BaseAutoencoder:
        return Autoencoder(**self._estimator_parameters())


class DenoisingAutoEncoder(AutoEncoder):
    """`AutoEncoder` that is trained to reconstruct clean rows from noisy rows.

    Parameters
    ----------
    noise : {"gaussian", "masking", "salt_pepper"} or callable, default "gaussian"
        The corruption, as in `aefast.DenoisingAutoencoder`.
    noise_level : float, default 0.1
        How strong it is, as there.
    **parameters
        Parameters of `AutoEncoder`.

    See Also
    --------
    aefast.DenoisingAutoencoder : The estimator.

    Examples
    --------
    >>> from aefast.pyod import DenoisingAutoEncoder
    >>> DenoisingAutoEncoder(noise="masking", epoch_num=3).get_params()["noise"]
    'masking'
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **AutoEncoder._parameter_constraints,
        **_constraints(DenoisingAutoencoder, "noise", "noise_level"),
    }

    def __init__(self, *, noise: Any = "gaussian", noise_level: float = 0.1, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.noise = noise
        self.noise_level = noise_level

    def _model(self) -> BaseAutoencoder:
        return DenoisingAutoencoder(noise=self.noise, noise_level=self.noise_level, **self._estimator_parameters())


class SparseAutoEncoder(AutoEncoder):
    """`AutoEncoder` with a sparse code, which may be wider than the input.

    Parameters
    ----------
    sparsity : {"kl", "l1", "topk", "threshold"}, default "kl"
        The method, as in `aefast.SparseAutoencoder`. It also chooses the activation of the code.
    sparsity_weight : float, default 0.01
        Weight of the penalties "kl" and "l1".
    sparsity_target : float in (0, 1), default 0.05
        Target mean activation of each unit for "kl".
    k : int, optional
        Number of outputs that "topk" keeps; "topk" requires it.
    **parameters
        Parameters of `AutoEncoder`.

    See Also
    --------
    aefast.SparseAutoencoder : The estimator.

    Examples
    --------
    >>> from aefast.pyod import SparseAutoEncoder
    >>> SparseAutoEncoder(sparsity="topk", k=3, hidden_neuron_list=(20,)).k
    3
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **AutoEncoder._parameter_constraints,
        **_constraints(SparseAutoencoder, "sparsity", "sparsity_weight", "sparsity_target", "k"),
    }

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
        return SparseAutoencoder(**{**self._estimator_parameters(), "code_activation": "auto", **sparsity})


class ContractiveAutoEncoder(AutoEncoder):
    """`AutoEncoder` with a penalty on the derivatives of the code by the input.

    Parameters
    ----------
    contraction : float, default 1e-3
        As in `aefast.ContractiveAutoencoder`.
    batch_norm : bool, default False
        Must be False: a row's code would depend on the other rows.
    dropout_rate : float, default 0
        Must be 0 in the encoder, for the same reason.
    **parameters
        Parameters of `AutoEncoder`.

    See Also
    --------
    aefast.ContractiveAutoencoder : The estimator.

    Examples
    --------
    >>> from aefast.pyod import ContractiveAutoEncoder
    >>> ContractiveAutoEncoder(contraction=0.1).batch_norm
    False
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **AutoEncoder._parameter_constraints,
        **_constraints(ContractiveAutoencoder, "contraction"),
    }

    def __init__(
        self, *, contraction: float = 1e-3, batch_norm: bool = False, dropout_rate: float = 0.0, **parameters: Any
    ) -> None:
        super().__init__(batch_norm=batch_norm, dropout_rate=dropout_rate, **parameters)
        self.contraction = contraction

    def _model(self) -> BaseAutoencoder:
        return ContractiveAutoencoder(contraction=self.contraction, **self._estimator_parameters())


class VAE(Detector):
    """The counterpart of PyOD's ``VAE``, with the evidence lower bound as its objective and repeatable scores.

    PyOD limits the KL divergence to ``capacity``; its default of 0 switches the divergence off. PyOD also draws a
    random code for every score. Here the divergence counts in full, and scores use the mean of the code.

    Parameters
    ----------
    contamination, preprocessing, lr : optional
        As in `AutoEncoder`.
    epoch_num : int, default 30
        Number of passes over the training rows.
    batch_size, optimizer_name, device, random_state, use_compile, compile_mode, verbose, optimizer_params : optional
        As in `AutoEncoder`.
    beta : float, default 1
        Weight of the divergence, as in `aefast.VariationalAutoencoder`.
    capacity : float, at least 0, default 0
        Accepted for compatibility with PyOD. It changes nothing, because the divergence counts in full.
    encoder_neuron_list, decoder_neuron_list : sequence of int, default (128, 64, 32) and (32, 64, 128)
        Widths of the hidden layers before and after the code.
    latent_dim : int, default 2
        Width of the code.
    hidden_activation_name : str, default "relu"
        Activation of all layers except the last.
    output_activation_name : str, default "identity"
        Activation of the last layer.
    batch_norm : bool, default False
        Batch normalisation of the hidden layers.
    dropout_rate : float in [0, 1), default 0.2
        Dropout rate of the hidden layers.
    logvar_clip : pair of float or None, default (-30, 20)
        Checked, but not used: log-variances need no lower bound here, and the upper bound is always 20.
    n_threads : int, optional
        As in `AutoEncoder`.

    See Also
    --------
    aefast.VariationalAutoencoder : The estimator.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast.pyod import VAE
    >>> X = np.random.default_rng(0).normal(size=(500, 9))
    >>> detector = VAE(epoch_num=2, contamination=0.02).fit(X)
    >>> bool((detector.decision_function(X) == detector.decision_scores_).all())
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Detector._parameter_constraints,
        **_constraints(VariationalAutoencoder, "beta"),
        "encoder_neuron_list": ["array-like"],
        "decoder_neuron_list": ["array-like"],
        "latent_dim": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        contamination: Any = 0.1,
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
        check_contamination(contamination)
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
        # PyOD checks this in the constructor, and users may rely on that.
        if logvar_clip is not None and (len(logvar_clip) != 2 or not logvar_clip[0] < logvar_clip[1]):
            raise ValueError(f"logvar_clip must be a pair (lower, upper) with lower < upper, got {logvar_clip!r}")

    def _model(self) -> BaseAutoencoder:
        if not isinstance(self.capacity, Real) or self.capacity < 0:
            raise ValueError(f"capacity must be a number of at least 0, got {self.capacity!r}")
        encoder = widths_of("encoder_neuron_list", self.encoder_neuron_list)
        decoder = widths_of("decoder_neuron_list", self.decoder_neuron_list)
        dropout_rates(self.dropout_rate, len(encoder) + 1 + len(decoder), "dropout_rate")
        return VariationalAutoencoder(
            (*encoder, self.latent_dim),
            decoder_layer_sizes=decoder,
            activation=known("hidden_activation_name", self.hidden_activation_name, ACTIVATIONS),
            output_activation=known("output_activation_name", self.output_activation_name, OUTPUT_ACTIVATIONS),
            beta=self.beta,
            **self._estimator_parameters(),
        )
