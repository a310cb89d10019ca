"""BaseAutoencoder: constructor parameters with their constraints, the ways to fit, and the hooks of the variants.

A variant overrides `_code_layers` or `_network` (layers), `_objective` (losses and penalties), `_read` and `_rows`
(shapes of input) or `check_parameters`, and calls super() there, so that variants combine. The methods of a fitted
estimator are in `aefast.estimators.fitted`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from aefast.engine import core
from aefast.estimators.constraints import CONSTRAINTS, forwarding_constructor, merged, validate
from aefast.estimators.fitted import FittedMethods
from aefast.estimators.inputs import read_rows, read_sample_weight
from aefast.estimators.pickles import upgraded
from aefast.estimators.recipe import callbacks_of, recipe_of, settings_of, start_of
from aefast.estimators.training_input import FIRST_BLOCK, FITTED_FIRST, read_first_block, read_to_fit
from aefast.model.metrics import check_probabilities
from aefast.model.network import dense_network, layer_sizes
from aefast.tables.collect import Blocks
from aefast.training.blocks import FitBlocks
from aefast.training.checkpoint import Checkpoint
from aefast.training.fit import Fit
from aefast.training.in_memory import FitRows
from aefast.training.optimizers import Optimizer
from aefast.training.reference_rows import warn_if_clipped
from aefast.training.schedules import Schedule

if TYPE_CHECKING:
    from typing_extensions import Self

Array = NDArray[Any]


class BaseAutoencoder(FittedMethods, BaseEstimator):
    """Base of the autoencoders. `Autoencoder` describes parameters and attributes."""

    continuation_: Any
    #: Parameters and constraints that a class itself names.
    _added: ClassVar[tuple[Mapping[str, inspect.Parameter], dict[str, list[Any]]]]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    def __init_subclass__(cls, **options: Any) -> None:
        """Complete a variant's constructor and constraints, which name only what it adds to its parents'.

        `inspect.signature`, from which scikit-learn and help() know the parameters, gets all of them in place of
        ``**parameters``.
        """
        super().__init_subclass__(**options)
        if "__init__" not in vars(cls):
            cls.__init__ = forwarding_constructor(cls)  # type: ignore[method-assign]
        cls._added = inspect.signature(cls.__init__).parameters, vars(cls).get("_parameter_constraints", {})
        lineage = [parent for parent in cls.__mro__ if issubclass(parent, BaseAutoencoder)]
        signature, constraints = merged([parent._added for parent in lineage])
        cls.__init__.__signature__ = signature  # type: ignore[attr-defined]
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
        n_init: int = 1,
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
        self.n_init = n_init
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

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(upgraded(state, type(self)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = [self.dtype]
        tags.input_tags.allow_nan = self.missing != "error"
        return tags

    # Fitting.

    def fit(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None, *, validation_data: Any = None
    ) -> Self:
        """Train on the rows of ``X``, then set the threshold on them.

        If a parameter or a row is refused, the estimator stays as it was. If Ctrl-C, divergence or an exception from a
        callback ends training early, the estimator is fitted with the best weights so far, and the exception is raised
        again. The threshold may then come from a random choice of 20,000 rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Finite numbers: an array of any numeric dtype and layout (read in place, not copied), a data frame or an
            Arrow table. NaN, and null in a table, are accepted unless ``missing="error"``. Columns of tables may also
            hold text, booleans, categories and times (see `aefast.columns.column`).
        y : ignored
            Exists for scikit-learn's conventions.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows in the scaler, the loss, the score and the threshold, at least 0. Rows of weight 0 are
            not used at all.
        validation_data : array-like of shape (m, d), optional
            Rows that take the place of held-out rows: ``validation_curve_``, early stopping and `p_values` use them,
            and all rows of ``X`` are trained on.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or a value of the input is not valid; the message names it.
        ConvergenceError
            If a loss or a weight is no longer finite.
        KeyboardInterrupt
            Within a second of Ctrl-C.

        Examples
        --------
        >>> import numpy as np, aefast
        >>> X = np.random.default_rng(0).normal(size=(500, 9))
        >>> model = aefast.Autoencoder((4,), max_epochs=3, random_state=0).fit(X)
        >>> [w.shape for w in model.coefs_]
        [(9, 4), (4, 9)]
        """
        return self._fit(X, sample_weight, validation_data)

    def _fit(self, X: Any, sample_weight: ArrayLike | None, validation_data: Any, X_noisy: Any = None) -> Self:
        """Train to reconstruct ``X``, from ``X_noisy`` if it is given."""
        self.check_parameters()
        keeps = self.warm_start and hasattr(self, "n_features_in_")
        reader, table, rows = read_to_fit(self, X, keeps=keeps, stacklevel=5)
        noisy = None if X_noisy is None else reader._read(X_noisy, reset=False)
        if noisy is not None and len(noisy) != len(rows):
            raise ValueError(f"X_noisy must have a row for each of the {len(rows)} of X, got {len(noisy)}")
        weights = read_sample_weight(sample_weight, rows)
        validation = None if validation_data is None else reader._read(validation_data, reset=False)
        recipe = recipe_of(self, reader, rows.shape[1], has_noise=noisy is None)
        settings, start = settings_of(self), start_of(self, go_on=self.warm_start)
        starts = [replace(start, attempt=attempt) for attempt in range(1 if start.weights else self.n_init)]
        parts: dict[str, Any] = {"X": rows, "table": table, "sample_weight": weights, "X_noisy": noisy}
        return self._train((FitRows(recipe, settings, each, validation=validation, **parts) for each in starts), 5)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Train one epoch on the given rows, continuing from the last call.

        The first call learns the levels of categorical columns; the scaler follows the first 2,000 rows. Warnings count
        later rows with other levels and clipped values. No rows are held out. Threshold and p-values come from the rows
        of the last call, or from those of a `fit` with ``warm_start=True, max_epochs=0`` at the end.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `fit`.
        y : ignored
            Exists for scikit-learn's conventions.
        sample_weight : array-like of shape (n,), optional
            As in `fit`.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError, ConvergenceError, KeyboardInterrupt
            As in `fit`.

        Examples
        --------
        >>> import numpy as np, aefast
        >>> rng = np.random.default_rng(0)
        >>> model = aefast.Autoencoder((4,), random_state=0)
        >>> for _ in range(3):
        ...     model = model.partial_fit(rng.normal(size=(500, 9)))
        >>> model.n_epochs_
        3
        """
        self.check_parameters()
        reader, table, rows = read_to_fit(self, X, keeps=hasattr(self, "n_features_in_"), stacklevel=4)
        parts: Any = {"X": rows, "table": table, "sample_weight": read_sample_weight(sample_weight, rows)}
        recipe = recipe_of(self, reader, rows.shape[1])
        start, settings = start_of(self, go_on=True), settings_of(self, max_epochs=1)
        return self._train([FitRows(recipe, settings, start, continues_epochs=True, **parts)])

    def fit_batches(self, batches: Iterable[Any]) -> Self:
        """Train on blocks of rows that need not fit into memory together.

        A list, or another iterable that can be iterated over repeatedly, is read once for the scaler and the held-out
        rows, then once an epoch. It must give the same blocks each time. If columns of tables are not all numbers, it
        is read once more at the start, for kinds and levels. An iterator can be read only once: training is one epoch,
        with kinds and levels of the first block and the scaler of the first 2,000 rows; warnings count later rows with
        other levels and clipped values.

        ``validation_fraction`` of the rows of each block is held out. A random choice of at most 20,000 of these rows
        is kept in memory for early stopping, the threshold and `p_values`. If no rows are held out, a choice of the
        training rows takes their place. ``scaler="robust"`` and "deciles" are fitted on a choice of the training rows.

        Parameters
        ----------
        batches : iterable of array-like of shape (n_i, d)
            Blocks of rows, each as in `fit`. Minibatches of ``batch_size`` rows are made within a block.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError, ConvergenceError, KeyboardInterrupt
            As in `fit`; also ValueError if there is no block. Messages number rows within their block.

        Examples
        --------
        >>> import numpy as np, aefast
        >>> rng = np.random.default_rng(0)
        >>> model = aefast.Autoencoder((4,), random_state=0).fit_batches(rng.normal(size=(500, 9)) for _ in range(3))
        >>> model.n_epochs_
        1
        """
        self.check_parameters()
        once, keeps = isinstance(batches, Iterator), self.warm_start and hasattr(self, "n_features_in_")
        reader, first, blocks = read_first_block(self, batches := Blocks(batches), once=once, keeps=keeps)
        fit = FitBlocks(
            recipe_of(self, reader, first[1].shape[1]),
            settings_of(self, max_epochs=min(1, self.max_epochs) if once else self.max_epochs),
            start_of(self, go_on=self.warm_start),
            first=first,
            others=blocks,
            again=None if once else lambda: batches,
            read=lambda block: reader._read(block, reset=False),
            keeps_levels=keeps,
        )
        self._train([fit])
        if keeps or once:
            fit.unknown.warn(*(FITTED_FIRST if keeps else FIRST_BLOCK))
        return self

    def _train(self, fits: Iterable[Fit], stacklevel: int = 4) -> Self:
        """Run trainings and keep the model of least monitored loss, also if one ends early."""
        best = math.inf
        for fit in fits:
            try:
                fit.run()
            finally:
                if fit.model is not None and (fit.model.best_loss < best or best == math.inf):
                    best, self.model_, self.continuation_ = fit.model.best_loss, fit.model, fit.continuation
                    self.__dict__["_drift"] = fit.drift
        warn_if_clipped(self.drift_ if fit.follows_part else None, stacklevel)
        return self

    # Reading training rows.

    #: Why a column cannot be learned, unless further blocks of rows say otherwise.
    refusal: str = ""

    def _read(self, X: Any, *, reset: bool) -> Array:
        """Return training rows (n, D); variants with other shapes of input extend this."""
        return read_rows(self, X, reset=reset)

    # Hooks of the variants.

    def _beta(self, epoch: int | None = None) -> float:
        """Return the weight of a drawn code's divergence in an epoch; of None, in the final objective."""
        return 1.0

    def _corrupt(self) -> Callable[[Array], Array] | None:
        """Return a user's noise for minibatches."""
        return None

    def _check_network(self, network: core.NetworkSpec) -> None:
        """Raise ValueError for a network that the objective is not defined for."""

    def _network(self, n_features: int) -> core.NetworkSpec:
        """Return the layers for inputs of ``n_features`` elements."""
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

    def _code_layers(self, code: core.LayerSpec) -> list[core.LayerSpec]:
        """Return the layers that replace a plain code layer; the last one gives the code."""
        return [code]

    def _objective(self, *, has_noise: bool = True) -> core.ObjectiveSpec:
        """Return loss and penalties, and the noise unless the rows have it already."""
        return {
            "loss": self.loss,
            "l1": float(self.l1),
            "l2": float(self.l2),
            "activity_l1": float(self.activity_l1),
            "activity_l2": float(self.activity_l2),
            "clip_norm": 0.0 if self.clip_norm is None else float(self.clip_norm),
        }

    def check_parameters(self) -> None:
        """Raise ValueError for parameters that are out of range or cannot be combined; the message names them."""
        validate(self)
        if self.batch_norm and self.tied_weights:
            raise ValueError(
                "batch_norm=True does not go with tied_weights=True: folded into the weights, it would untie them"
            )
        check_probabilities("loss", self.loss, self.output_activation)
        check_probabilities("score_metric", self.score_metric, self.output_activation)
        for callback in callbacks_of(self):
            if isinstance(callback, Checkpoint) and self.n_init > 1:
                raise ValueError("n_init above 1 does not go with a Checkpoint: it holds one training")
            if not callable(callback):
                raise ValueError(f"callbacks must hold callables, got {callback!r}")


BaseAutoencoder._added = inspect.signature(BaseAutoencoder.__init__).parameters, BaseAutoencoder._parameter_constraints
