"""BaseAutoencoder: the constructor's parameters with their constraints, and the hooks of the variants.

A variant overrides `_code_layers` or `_network` (layers), `_objective` (losses and penalties), `_read` (shapes of
input) or `_check_parameters`, and calls super() there, so that variants combine. How it is fitted is in `_fitting`,
what a fitted one answers in `_reading` and `_decisions`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

from aefast.engine.threads import MOST_THREADS
from aefast.model.model import LOSSES, METRICS, MISSING
from aefast.model.network import ACTIVATIONS, INITIALIZERS, OUTPUT_ACTIVATIONS, dense_network, layer_sizes
from aefast.model.scaling import SCALERS
from aefast.training.fit import FittingMixin
from aefast.training.optimizers import OPTIMIZERS, Optimizer
from aefast.training.schedules import Schedule
from aefast.training.targets import check_probabilities

if TYPE_CHECKING:
    from aefast.engine.core import LayerSpec, NetworkSpec, ObjectiveSpec

_BY_POSITION, _BY_NAME = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY


def one_of(names: Iterable[str]) -> StrOptions:
    """The constraint that a parameter is one of these strings."""
    # Keys of a dict are a set that keeps its order, and so do the messages.
    return StrOptions(dict.fromkeys(names).keys())


class BaseAutoencoder(FittingMixin, BaseEstimator):
    """What the autoencoders share. Parameters and attributes are described in `Autoencoder`."""

    #: Parameters and constraints that a class itself names.
    _added: ClassVar[tuple[Mapping[str, inspect.Parameter], dict[str, list[Any]]]]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "encoder_layer_sizes": [one_of(("auto",)), Interval(Integral, 1, None, closed="left"), "array-like"],
        "decoder_layer_sizes": [None, Interval(Integral, 1, None, closed="left"), "array-like"],
        "activation": [one_of(ACTIVATIONS)],
        "code_activation": [one_of(ACTIVATIONS)],
        "output_activation": [one_of(OUTPUT_ACTIVATIONS)],
        "tied_weights": ["boolean"],
        "batch_norm": ["boolean"],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "loss": [one_of(LOSSES)],
        "optimizer": [one_of(OPTIMIZERS), Optimizer],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), Schedule],
        "l1": [Interval(Real, 0, None, closed="left")],
        "l2": [Interval(Real, 0, None, closed="left")],
        "activity_l1": [Interval(Real, 0, None, closed="left")],
        "activity_l2": [Interval(Real, 0, None, closed="left")],
        "clip_norm": [None, Interval(Real, 0, None, closed="neither")],
        "weight_init": [one_of(INITIALIZERS)],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "shuffle": ["boolean"],
        "drop_last": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "early_stopping": ["boolean"],
        "n_epochs_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "scaler": [None, one_of(SCALERS)],
        "missing": [one_of(MISSING)],
        "column_kinds": [None, dict],
        "contamination": [Interval(Real, 0, 0.5, closed="right")],
        "score_metric": [one_of(("auto", *METRICS))],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "n_threads": [None, Interval(Integral, 1, MOST_THREADS, closed="both")],
        "dtype": [one_of(("float32", "float64"))],
        "verbose": ["verbose"],
        "callbacks": [tuple, list, callable],
    }

    def __init_subclass__(cls, **options: Any) -> None:
        """Complete what a variant says of its constructor and constraints, which is what it adds to its parents'.

        `inspect.signature`, from which scikit-learn and help() know the parameters, gets all in the place of the
        ``**parameters`` that are handed on.
        """
        super().__init_subclass__(**options)
        if "__init__" not in vars(cls):

            def __init__(self: Any, *sizes: Any, **parameters: Any) -> None:
                super(cls, self).__init__(*sizes, **parameters)

            cls.__init__ = __init__  # type: ignore[method-assign]
        cls._added = inspect.signature(cls.__init__).parameters, vars(cls).get("_parameter_constraints", {})
        lineage = [parent for parent in cls.__mro__ if issubclass(parent, BaseAutoencoder)]
        merged: dict[str, inspect.Parameter] = {}
        constraints: dict[str, list[Any]] = {}
        for parameters, own in (parent._added for parent in lineage):
            # The first class that lets something come by position is the one that says what may.
            by_position = any(each.kind == _BY_POSITION and name != "self" for name, each in merged.items())
            for name, each in parameters.items():
                if each.kind in (_BY_POSITION, _BY_NAME):
                    merged.setdefault(name, each.replace(kind=_BY_NAME) if by_position else each)
            constraints = {**own, **constraints}
        ordered = sorted(merged.values(), key=lambda each: each.kind)
        cls.__init__.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
        cls._parameter_constraints = constraints

    def __init__(
        self,
        encoder_layer_sizes: Any = "auto",
        *,
        decoder_layer_sizes: Any = None,
        activation: str = "silu",
        code_activation: str = "identity",
        output_activation: str = "identity",
        tied_weights: bool = False,
        batch_norm: bool = False,
        dropout: Any = 0.0,
        loss: str = "mse",
        optimizer: str | Optimizer = "adam",
        learning_rate: float | Schedule = 2e-3,
        l1: float = 0.0,
        l2: float = 0.0,
        activity_l1: float = 0.0,
        activity_l2: float = 0.0,
        clip_norm: float | None = None,
        weight_init: str = "glorot_uniform",
        batch_size: int = 128,
        max_epochs: int = 100,
        shuffle: bool = True,
        drop_last: bool = False,
        validation_fraction: float = 0.1,
        early_stopping: bool = True,
        n_epochs_no_change: int = 10,
        tol: float = 1e-4,
        scaler: str | None = "deciles",
        missing: str = "error",
        column_kinds: dict[str, str] | None = None,
        contamination: float = 0.1,
        score_metric: str = "auto",
        warm_start: bool = False,
        random_state: Any = None,
        n_threads: int | None = None,
        dtype: str = "float32",
        verbose: int = 0,
        callbacks: Any = (),
    ) -> None:
        self.encoder_layer_sizes = encoder_layer_sizes
        self.decoder_layer_sizes = decoder_layer_sizes
        self.activation = activation
        self.code_activation = code_activation
        self.output_activation = output_activation
        self.tied_weights = tied_weights
        self.batch_norm = batch_norm
        self.dropout = dropout
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.l1 = l1
        self.l2 = l2
        self.activity_l1 = activity_l1
        self.activity_l2 = activity_l2
        self.clip_norm = clip_norm
        self.weight_init = weight_init
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.n_epochs_no_change = n_epochs_no_change
        self.tol = tol
        self.scaler = scaler
        self.missing = missing
        self.column_kinds = column_kinds
        self.contamination = contamination
        self.score_metric = score_metric
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_threads = n_threads
        self.dtype = dtype
        self.verbose = verbose
        self.callbacks = callbacks

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = [self.dtype]
        tags.input_tags.allow_nan = self.missing != "error"
        return tags

    def _network(self, n_features: int) -> NetworkSpec:
        """Layers for inputs of ``n_features`` columns."""
        encoder, decoder = layer_sizes(self.encoder_layer_sizes, self.decoder_layer_sizes, n_features)
        return dense_network(
            n_features,
            encoder,
            decoder,
            activation=self.activation,
            code_activation=self.code_activation,
            output_activation=self.output_activation,
            tied_weights=self.tied_weights,
            batch_norm=self.batch_norm,
            dropout=self.dropout,
            code_layers=self._code_layers,
        )

    def _code_layers(self, code: LayerSpec) -> list[LayerSpec]:
        """The layers in place of a plain code layer; the last gives the code."""
        return [code]

    def _objective(self) -> ObjectiveSpec:
        """Loss and penalties."""
        return {
            "loss": self.loss,
            "l1": float(self.l1),
            "l2": float(self.l2),
            "activity_l1": float(self.activity_l1),
            "activity_l2": float(self.activity_l2),
            "clip_norm": 0.0 if self.clip_norm is None else float(self.clip_norm),
        }

    def _check_parameters(self) -> None:
        """Refuse parameters that are out of range or do not go together, by name."""
        self._validate_params()
        if self.batch_norm and self.tied_weights:
            raise ValueError(
                "batch_norm=True does not go with tied_weights=True: folded into the weights, it would untie them"
            )
        check_probabilities("loss", self.loss, self.output_activation)
        check_probabilities("score_metric", self.score_metric, self.output_activation)
        for callback in self._callbacks():
            if not callable(callback):
                raise ValueError(f"callbacks must hold callables, got {callback!r}")


BaseAutoencoder._added = inspect.signature(BaseAutoencoder.__init__).parameters, BaseAutoencoder._parameter_constraints
