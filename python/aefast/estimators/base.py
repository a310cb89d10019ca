"""BaseAutoencoder: constructor parameters with their constraints, the ways to fit, and the hooks of the variants.

A variant overrides `_code_layers` or `_network` (layers), `_objective` (losses and penalties), `_read` and `_rows`
(shapes of input) or `check_parameters`, and calls super() there, so that variants combine. The methods of a fitted
estimator are in `aefast.estimators.fitted`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from aefast.columns.column import by_kind
from aefast.columns.learner import UnknownLevels, learn_from_blocks
from aefast.engine.threads import MOST_THREADS
from aefast.estimators.fitted import FittedMethods
from aefast.estimators.inputs import read_rows, read_sample_weight
from aefast.estimators.pickles import upgraded
from aefast.model.layers import ACTIVATIONS, OUTPUT_ACTIVATIONS
from aefast.model.metrics import LOSSES, METRICS, MISSING, check_probabilities
from aefast.model.network import dense_network, layer_sizes, with_columns
from aefast.model.parameters import INITIALIZERS
from aefast.model.scaling import SCALERS
from aefast.tables.text import printable
from aefast.training.blocks import FitBlocks
from aefast.training.checkpoint import Checkpoint
from aefast.training.fit import Fit
from aefast.training.in_memory import FitRows
from aefast.training.loop import Settings
from aefast.training.optimizers import OPTIMIZERS, Optimizer, optimizer_spec
from aefast.training.recipe import Continuation, Recipe, Start
from aefast.training.schedules import Schedule, as_schedule

if TYPE_CHECKING:
    from typing_extensions import Self

    from aefast.engine.core import LayerSpec, NetworkSpec, ObjectiveSpec
    from aefast.training.callbacks import Callback

Array = NDArray[Any]

#: Where the levels come from that earlier training has learned, and what to do about other levels.
_FITTED_FIRST = ("the rows fitted first", "let these have all levels")
_BY_POSITION, _BY_NAME = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY


def one_of(names: Iterable[str]) -> StrOptions:
    """The constraint that a parameter is one of these strings."""
    # Keys of a dict are a set that keeps its order, and so do the messages.
    return StrOptions(dict.fromkeys(names).keys())


class BaseAutoencoder(FittedMethods, BaseEstimator):
    """Base of the autoencoders. `Autoencoder` describes parameters and attributes."""

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

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(upgraded(state, type(self).__name__))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = [self.dtype]
        tags.input_tags.allow_nan = self.missing != "error"
        return tags

    # Fitting.

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Train on the rows of ``X``, then set the threshold on them.

        Parameters or rows that are refused leave the estimator as it was. Whatever ends training early (Ctrl-C,
        divergence, an exception from a callback) leaves it fitted with the best weights so far and is then raised; the
        threshold may then come from a random choice of 20,000 rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Finite numbers: an array of any numeric dtype and layout (read in place, not copied), a data frame or an
            Arrow table. NaN, or null in a table, where ``missing`` lets values be missing. Columns of tables may also
            hold text, booleans, categories and times (see `aefast.columns.column`).
        y : ignored
            For scikit-learn's conventions.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows in the loss, at least 0. Rows of weight 0 are left out of everything.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter or the input is not valid; the message names it.
        ConvergenceError
            If a loss or a weight is no longer finite.
        KeyboardInterrupt
            On Ctrl-C, within a second.

        Examples
        --------
        >>> import numpy as np
        >>> from aefast import Autoencoder
        >>> X = np.random.default_rng(0).normal(size=(500, 9))
        >>> model = Autoencoder((4,), max_epochs=3, random_state=0).fit(X)
        >>> [w.shape for w in model.coefs_]
        [(9, 4), (4, 9)]
        """
        return self._fit(X, sample_weight)

    def _fit(self, X: Any, sample_weight: ArrayLike | None, X_noisy: Any = None) -> Self:
        """Train to give back ``X``, from ``X_noisy`` if there is one."""
        self.check_parameters()
        keeps = self.warm_start and hasattr(self, "n_features_in_")
        reader, rows = self._read_to_fit(X, keeps=keeps, stacklevel=5)
        noisy = None if X_noisy is None else self._read_noisy(reader, X_noisy, len(rows))
        weights = read_sample_weight(sample_weight, rows)
        recipe = self._recipe(reader, rows.shape[1], has_noise=noisy is None)
        start = self._start(go_on=self.warm_start)
        return self._train(FitRows(recipe, self._settings(), start, X=rows, sample_weight=weights, X_noisy=noisy))

    def partial_fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """One epoch over the given rows, from where the last call left off.

        The first call fits the scaler on its rows and learns the levels of categorical columns from them, and both
        stay (a warning counts later rows that have other levels); no rows are held out. The threshold and the rows for
        `p_values` are those of the last call, so let it be a representative one (or call `fit` with
        ``warm_start=True, max_epochs=0`` at the end).

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `fit`.
        y : ignored
            For scikit-learn's conventions.
        sample_weight : array-like of shape (n,), optional
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError, ConvergenceError, KeyboardInterrupt
            As in `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from aefast import Autoencoder
        >>> rng = np.random.default_rng(0)
        >>> model = Autoencoder((4,), random_state=0)
        >>> for _ in range(3):
        ...     model = model.partial_fit(rng.normal(size=(500, 9)))
        >>> model.n_epochs_
        3
        """
        self.check_parameters()
        reader, rows = self._read_to_fit(X, keeps=hasattr(self, "n_features_in_"), stacklevel=4)
        weights = read_sample_weight(sample_weight, rows)
        recipe = self._recipe(reader, rows.shape[1])
        start, settings = self._start(go_on=True), self._settings(max_epochs=1)
        return self._train(FitRows(recipe, settings, start, continues_epochs=True, X=rows, sample_weight=weights))

    def fit_batches(self, batches: Iterable[Any]) -> Self:
        """Train on blocks of rows that need not fit into memory together.

        A list or another iterable that can be gone through again is read once for the scaler and the held-out rows,
        then once an epoch, and must give the same blocks each time. Where columns of tables are not all numbers it is
        read once more, before, for kinds and levels. An iterator, which cannot, is gone through once: one epoch, with
        the scaler, kinds and levels of its first block; a warning counts later rows that have other levels.

        ``validation_fraction`` of the rows is held out: of each block its part, of blocks of a few rows one here and
        there. Of these rows a random choice of at most 20,000 is kept in memory: it is what early stopping, the
        threshold and `p_values` look at (where none are held out, a choice of the training rows is).
        ``scaler="robust"`` is fitted on such a choice of the training rows.

        Parameters
        ----------
        batches : iterable of array-like of shape (n_i, d)
            Blocks of rows, each as in `fit`; minibatches of ``batch_size`` are made within a block.

        Returns
        -------
        self

        Raises
        ------
        ValueError, ConvergenceError, KeyboardInterrupt
            As in `fit`; also ValueError if there is no block. Rows are numbered within their block.

        Examples
        --------
        >>> import numpy as np
        >>> from aefast import Autoencoder
        >>> rng = np.random.default_rng(0)
        >>> model = Autoencoder((4,), random_state=0).fit_batches(rng.normal(size=(500, 9)) for _ in range(3))
        >>> model.n_epochs_
        1
        """
        self.check_parameters()
        once, keeps = isinstance(batches, Iterator), self.warm_start and hasattr(self, "n_features_in_")
        reader, blocks = self._reader(keeps=keeps), iter(batches)
        try:
            block = next(blocks)
        except StopIteration:
            raise ValueError("fit_batches needs at least one block of rows, got none") from None
        first = reader._read(block, reset=not keeps)
        if not keeps:
            learned = None if once else learn_from_blocks(block, batches, self.column_kinds)
            if learned is not None:
                reader.columns_, reader.refusal = learned
                blocks = iter(batches)
                first = reader._read(next(blocks), reset=False)
            reader._settle_columns(" of the first block" if once else "")
        fit = FitBlocks(
            self._recipe(reader, first.shape[1]),
            self._settings(max_epochs=min(1, self.max_epochs) if once else self.max_epochs),
            self._start(go_on=self.warm_start),
            first=first,
            others=blocks,
            again=None if once else lambda: batches,
            read=lambda block: reader._read(block, reset=False),
            keeps_levels=keeps,
        )
        self._train(fit)
        if keeps:
            fit.unknown.warn(*_FITTED_FIRST)
        elif once:
            remedy = "blocks that can be gone through again (a list) are all asked for theirs"
            fit.unknown.warn("the first block", remedy)
        return self

    def _train(self, fit: Fit) -> Self:
        """Run a training and keep what comes of it, also if it ends early."""
        try:
            fit.run()
        finally:
            if fit.model is not None:
                self.model_, self.continuation_ = fit.model, fit.continuation
        return self

    def _recipe(self, reader: BaseAutoencoder, n_features: int, *, has_noise: bool = True) -> Recipe:
        """Return what to train on rows of ``n_features`` elements that ``reader`` has read."""
        columns, names = reader.columns_, getattr(reader, "feature_names_in_", None)
        network = reader._network(n_features)
        if columns is not None and (
            network["layers"][-1].get("activation") == "softmax" or self.loss == "categorical_crossentropy"
        ):
            raise ValueError(
                "output_activation='softmax' and loss='categorical_crossentropy' are for columns that are shares "
                "of a whole: leave them out, for categorical columns get both by themselves"
            )
        self._check_network(network)
        return Recipe(
            kind=type(self).__name__,
            parameters=self.get_params(deep=False),
            network=with_columns(network, columns, self.loss),
            objective=self._objective(has_noise=has_noise),
            optimizer=optimizer_spec(self.optimizer),
            columns=columns,
            names=None if names is None else tuple(str(name) for name in names),
            n_columns=n_features if columns is None else len(columns),
            beta=self._beta,
            corrupt=self._corrupt() if has_noise else None,
        )

    def _settings(self, max_epochs: int | None = None) -> Settings:
        """Return when to stop."""
        return Settings(
            max_epochs=self.max_epochs if max_epochs is None else max_epochs,
            schedule=as_schedule(self.learning_rate),
            early_stopping=self.early_stopping,
            n_epochs_no_change=self.n_epochs_no_change,
            tol=self.tol,
            callbacks=self._callbacks(),
            verbose=self.verbose,
        )

    def _start(self, *, go_on: bool) -> Start:
        """Return where training starts: with new weights, or with those that there are if it is to ``go_on``."""
        go_on = go_on and hasattr(self, "coefs_")
        before = vars(self).get("continuation_") if go_on else None
        if before is None:
            before = Continuation(None, self.n_epochs_ if go_on and hasattr(self, "n_epochs_") else 0)
        seed = before.seed
        if seed is None:
            seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int64).max, dtype=np.int64))
            checkpoint = next((each for each in self._callbacks() if isinstance(each, Checkpoint)), None)
            if checkpoint is not None and self.random_state is None:
                seed = checkpoint.seed(seed)
        if not go_on:
            return Start(seed)
        weights = (self.coefs_, self.intercepts_, getattr(self, "norms_", None))
        return Start(seed, before.n_passes, weights, vars(self).get("model_"), before.optimizer)

    # Reading training rows.

    #: Why a column cannot be learned, unless further blocks of rows say otherwise.
    refusal: str = ""

    def _reader(self, *, keeps: bool) -> Self:
        """Return a copy that reads training rows and records what it learns of them, so that a refused fit changes
        nothing; with ``keeps`` it has the columns of earlier training."""
        reader = type(self).__new__(type(self))
        fitted = {} if keeps else {"model_": None}
        reader.__dict__.update({name: value for name, value in vars(self).items() if name not in fitted})
        return reader

    def _read_to_fit(self, X: Any, *, keeps: bool, stacklevel: int) -> tuple[Self, Array]:
        """Return the copy that has read ``X``, and its rows; with ``keeps`` columns are those of earlier training."""
        reader = self._reader(keeps=keeps)
        rows = reader._read(X, reset=not keeps)
        if keeps:
            later = UnknownLevels(reader.columns_)
            later.add(rows)
            later.warn(*_FITTED_FIRST, stacklevel=stacklevel)
        else:
            reader._settle_columns()
        return reader, rows

    def _read(self, X: Any, *, reset: bool) -> Array:
        """Return training rows (n, D); variants with other shapes of input extend this."""
        return read_rows(self, X, reset=reset)

    def _read_noisy(self, reader: BaseAutoencoder, X_noisy: Any, n_rows: int) -> Array:
        noisy = reader._read(X_noisy, reset=False)
        if len(noisy) != n_rows:
            raise ValueError(f"X_noisy must have a row for each of the {n_rows} of X, got {len(noisy)}")
        return noisy

    def _settle_columns(self, of: str = "") -> None:
        """Refuse columns that cannot be learned, now that all rows were read, and show the kinds of the others."""
        if self.refusal:
            raise ValueError(self.refusal)
        if self.verbose and self.columns_ is not None:
            sys.stderr.writelines(f"{kind}: {printable(names)}\n" for kind, names in by_kind(self.columns_, of))

    def _callbacks(self) -> tuple[Callback, ...]:
        return (self.callbacks,) if callable(self.callbacks) else tuple(self.callbacks)

    # Hooks of the variants.

    def _beta(self, epoch: int | None = None) -> float:
        """Return the weight of a drawn code's divergence in an epoch; of None, in the final objective."""
        return 1.0

    def _corrupt(self) -> Callable[[Array], Array] | None:
        """Return a user's noise for minibatches."""
        return None

    def _check_network(self, network: NetworkSpec) -> None:
        """Raise ValueError for a network that the objective is not defined for."""

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

    def _objective(self, *, has_noise: bool = True) -> ObjectiveSpec:
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
