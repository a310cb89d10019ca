"""The ways to fit an autoencoder: all rows at once, one epoch at a time, or blocks of rows from anywhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from aefast.columns.column import by_kind, is_level, level_biases, with_columns
from aefast.columns.learner import UnknownLevels, learn_from_blocks
from aefast.engine import core
from aefast.engine.threads import resolve_threads
from aefast.estimators.inputs import read_sample_weight
from aefast.exceptions import ConvergenceError
from aefast.model.network import batch_norms, initial_parameters, join_parameters, level_weight, split_parameters
from aefast.model.scaling import Statistics, column_statistics, fit_scaler, merged, scaled_range
from aefast.tables.text import printable
from aefast.training.calibrate import HELD_OUT, MAX_ROWS, RESERVOIR, WEIGHTS, CalibratingMixin
from aefast.training.checkpoint import Checkpoint, digest_of, identity_of
from aefast.training.data import Data, Rows
from aefast.training.loop import Settings, Training, poll
from aefast.training.optimizers import Optimizer, optimizer_spec
from aefast.training.reservoir import Reservoir
from aefast.training.schedules import Schedule, as_schedule
from aefast.training.targets import check_range, check_sums

if TYPE_CHECKING:
    from typing_extensions import Self

    from aefast.engine.core import NetworkSpec, ObjectiveSpec
    from aefast.training.callbacks import Callback

Array = NDArray[Any]

#: Features and code that ``score_metric="auto"`` takes Mahalanobis distances of; those of more cost more than a network
#: of "auto" sizes.
MAX_JOINT = 640


#: Where levels come from that stay, and what to do about others.
_FITTED_FIRST = ("the rows fitted first", "let these have all levels")


@contextmanager
def unchanged_if_refused(estimator: Any) -> Iterator[None]:
    """What is raised in the block leaves the estimator as it was."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


@dataclass
class Start:
    """Where training starts; ``go_on`` says whether earlier training led there."""

    network: NetworkSpec
    parameters: list[Array]
    go_on: bool


class FittingMixin(CalibratingMixin):
    """``fit``, ``partial_fit`` and ``fit_batches``, over the hooks that the estimators define."""

    optimizer: str | Optimizer
    learning_rate: float | Schedule
    loss: str
    weight_init: str
    batch_size: int
    max_epochs: int
    shuffle: bool
    drop_last: bool
    validation_fraction: float
    early_stopping: bool
    n_epochs_no_change: int
    tol: float
    scaler: str | None
    score_metric: str
    warm_start: bool
    random_state: Any
    verbose: int
    callbacks: Any
    loss_curve_: list[float]
    _refusal: str = ""
    validation_curve_: list[float]
    norms_: list[Array | None]

    def _network(self, n_features: int) -> NetworkSpec:
        """Layers for inputs of ``n_features`` columns."""
        raise NotImplementedError

    def _objective(self) -> ObjectiveSpec:
        """Loss and penalties."""
        raise NotImplementedError

    def _check_parameters(self) -> None:
        """Refuse parameters that are out of range or do not go together, by name."""
        raise NotImplementedError

    def _take_shape(self, network: NetworkSpec) -> None:
        """Learn from a network that was read from a file what `_read` learns in `fit`."""

    def _beta(self, epoch: int | None = None) -> float:
        """Weight of a drawn code's divergence in an epoch; without one, in the objective that training leads to."""
        return 1.0

    def _corrupt(self) -> Callable[[Array], Array] | None:
        """A noise of the user's for the batches of training."""
        return None

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
        """Train to give back ``X``, from ``X_noisy`` where there is one."""
        self._check_parameters()
        with unchanged_if_refused(self):
            train = self._prepared_for(X, sample_weight, X_noisy)
        train()
        return self

    def _prepared_for(self, X: Any, sample_weight: ArrayLike | None, X_noisy: Any) -> Callable[[], None]:
        rows = self._read_to_fit(X, keeps=self._keeps_columns(), stacklevel=6)
        noisy = None if X_noisy is None else self._read_noisy(X_noisy, rows)
        weights = read_sample_weight(sample_weight, rows)
        start = self._start(rows.shape[1], go_on=self.warm_start)

        used = None if weights is None else np.flatnonzero(weights)
        train, held_out = self._split(len(rows) if used is None else len(used))
        if used is not None:
            train = used if train is None else used[train]
            held_out = None if held_out is None else used[held_out]
        clean = Data(rows, train, weights)
        statistics = self._finite_statistics(clean)
        beyond = None if held_out is None else self._finite_statistics(Data(rows, held_out))
        self._set_scaling(clean, statistics, start, Data(rows, used), beyond)
        data = clean if noisy is None else Data(noisy, train, weights, rows)
        return self._prepared(
            start,
            epoch=lambda trainer, number, rate: self._pass(trainer, data, number, rate),
            monitored=data if held_out is None else replace(data, rows=held_out),
            validate=held_out is not None,
            calibrate=lambda hurry: self._calibrate(rows, used, train, held_out, hurry=hurry),
            identity=lambda: identity_of(self, start.parameters, start.network, digest_of([rows, noisy, weights])),
        )

    def _keeps_columns(self) -> bool:
        """Whether `fit` goes on from earlier training, whose columns stay with its weights."""
        return self.warm_start and hasattr(self, "n_features_in_")

    def _read_to_fit(self, X: Any, *, keeps: bool, stacklevel: int) -> Array:
        """``X`` as rows to learn from; ``keeps`` says that kinds and levels of columns are those learned before."""
        rows = self._read(X, reset=not keeps)
        if keeps:
            later = UnknownLevels(self.columns_)
            later.add(rows)
            later.warn(*_FITTED_FIRST, stacklevel=stacklevel)
        else:
            self._settle_columns()
        return rows

    def _settle_columns(self, of: str = "") -> None:
        """Refuse what is not to be learned, now that all rows have been looked at, and tell what is."""
        refusal, self._refusal = self._refusal, ""
        if refusal:
            raise ValueError(refusal)
        if self.verbose and self.columns_ is not None:
            sys.stderr.writelines(f"{kind}: {printable(names)}\n" for kind, names in by_kind(self.columns_, of))

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
        self._check_parameters()
        with unchanged_if_refused(self):
            rows = self._read_to_fit(X, keeps=hasattr(self, "n_features_in_"), stacklevel=4)
            weights = read_sample_weight(sample_weight, rows)
            start = self._start(rows.shape[1], go_on=True)
            used = None if weights is None else np.flatnonzero(weights)
            data = Data(rows, used, weights)
            self._set_scaling(data, self._finite_statistics(data), start, data)
            train = self._prepared(
                start,
                epoch=lambda trainer, number, rate: self._pass(trainer, data, number, rate),
                monitored=data,
                validate=False,
                calibrate=lambda hurry: self._calibrate(rows, used, used, None, hurry=hurry),
                max_epochs=1,
                keep_optimizer=True,
            )
        train()
        return self

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
        self._check_parameters()
        once, keeps = isinstance(batches, Iterator), self._keeps_columns()
        with unchanged_if_refused(self):
            train, later = self._prepared_for_batches(batches, once=once, keeps=keeps)
        train()
        if keeps:
            later.warn(*_FITTED_FIRST)
        elif once:
            later.warn("the first block", "blocks that can be gone through again (a list) are all asked for theirs")
        return self

    def _prepared_for_batches(
        self, batches: Iterable[Any], *, once: bool, keeps: bool
    ) -> tuple[Callable[[], None], UnknownLevels]:
        """What trains on the blocks, and what then knows how many of their levels are new."""
        blocks = iter(batches)
        try:
            block = next(blocks)
        except StopIteration:
            raise ValueError("fit_batches needs at least one block of rows, got none") from None
        first = self._read(block, reset=not keeps)
        if not keeps:
            learned = None if once else learn_from_blocks(block, batches, self.column_kinds)
            if learned is not None:
                self.columns_, self._refusal = learned
                blocks = iter(batches)
                first = self._read(next(blocks))
            self._settle_columns(" of the first block" if once else "")
        later = UnknownLevels(self.columns_)
        start = self._start(first.shape[1], go_on=self.warm_start)

        held_out = Reservoir(self._rng(RESERVOIR, 0), MAX_ROWS)
        trained_on = Reservoir(self._rng(RESERVOIR, 1), MAX_ROWS)
        digest = ""

        def look_at(index: int, block: Array, before: int) -> Statistics:
            nonlocal digest
            if self._checkpoint() is not None:
                digest = digest_of([block], digest)
            if keeps or (once and index > 0):
                later.add(block)
            train, out = self._split(len(block), index, before=before)
            trained_on.add(block if train is None else block[train])
            if out is not None:
                held_out.add(block[out])
            return self._finite_statistics(Data(block, None), f"block {index}")

        statistics, n_rows = look_at(0, first, 0), len(first)
        if not once:
            for index, block in enumerate(map(self._read, blocks), start=1):
                statistics = merged(statistics, look_at(index, block, n_rows))
                n_rows += len(block)
        self._set_scaling(Data(trained_on.rows(), None), statistics, start, Data(first, None))

        def epoch(trainer: core.Trainer, number: int, rate: float) -> float:
            total, n_trained, before = 0.0, 0, 0
            for index, block in enumerate(
                chain([first], map(self._read, blocks)) if once else map(self._read, batches)
            ):
                if index > 0:
                    news = []
                    if once:
                        news = [look_at(index, block, before)]
                    self._check_targets(Data(block, None), news, self.scaler_shift_, self.scaler_scale_, start)
                data = Data(block, self._split(len(block), index, before=before)[0])
                before += len(block)
                if data.n_rows:
                    total += data.n_rows * self._pass(trainer, data, number, rate)
                    n_trained += data.n_rows
            return total / n_trained

        def kept() -> Array:
            return (held_out if held_out.n_rows else trained_on).rows()

        train = self._prepared(
            start,
            epoch=epoch,
            monitored=Data(kept(), None),
            validate=not once and held_out.n_rows > 0,
            calibrate=lambda hurry: self._calibrate(kept(), None, None, None, hurry=hurry),
            max_epochs=min(1, self.max_epochs) if once else None,
            identity=None if once else lambda: identity_of(self, start.parameters, start.network, digest),
        )
        return train, later

    def _callbacks(self) -> tuple[Callback, ...]:
        return (self.callbacks,) if callable(self.callbacks) else tuple(self.callbacks)

    def _checkpoint(self) -> Checkpoint | None:
        return next((each for each in self._callbacks() if isinstance(each, Checkpoint)), None)

    def _start(self, n_features: int, *, go_on: bool) -> Start:
        """New parameters, or with ``go_on`` those that ``coefs_`` and ``intercepts_`` hold, where there are any."""
        network = self._network(n_features)
        if self.columns_ is not None:
            if network["layers"][-1].get("activation") == "softmax" or self.loss == "categorical_crossentropy":
                raise ValueError(
                    "output_activation='softmax' and loss='categorical_crossentropy' are for columns that are shares "
                    "of a whole: leave them out, for categorical columns get both by themselves"
                )
            network = with_columns(network, self.columns_, level_weight(network, self.loss))
        go_on = go_on and hasattr(self, "coefs_")
        if not (go_on and hasattr(self, "_seed")):
            self._seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int64).max, dtype=np.int64))
            checkpoint = self._checkpoint()
            if checkpoint is not None and self.random_state is None:
                self._seed = checkpoint.seed(self._seed)
        if not (go_on and hasattr(self, "_n_passes")):
            self._n_passes = 0
        if go_on:
            norms = getattr(self, "norms_", None)
            return Start(network, join_parameters(network, self.coefs_, self.intercepts_, self.dtype, norms), go_on)
        parameters = initial_parameters(network, self.weight_init, self._rng(WEIGHTS), self.dtype)
        if self.columns_ is not None:
            parameters[-1] = level_biases(self.columns_, parameters[-1])
        return Start(network, parameters, go_on)

    def _split(self, n_rows: int, *key: int, before: int = 0) -> tuple[Rows | None, Rows | None]:
        """Row numbers to train on (None: all) and to hold out (None: none), both ascending, of so many rows after those
        ``before`` them: as many as make the share of all of them a whole number."""
        share = self.validation_fraction
        n_held_out = int(share * (before + n_rows)) - int(share * before)
        if n_held_out == 0:
            return None, None
        held_out = np.zeros(n_rows, dtype=np.bool_)
        held_out[self._rng(HELD_OUT, *key).choice(n_rows, n_held_out, replace=False)] = True
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)

    def _read_noisy(self, X_noisy: Any, rows: Array) -> Array:
        """``X_noisy`` as rows beside ``rows``."""
        noisy = self._read(X_noisy)
        if len(noisy) != len(rows):
            raise ValueError(f"X_noisy must have a row for each of the {len(rows)} of X, got {len(noisy)}")
        self._require_finite(noisy, "X_noisy")
        return noisy

    def _finite_statistics(self, data: Data, what: str = "X") -> Statistics:
        """Column statistics of the rows, all of which must be finite, or NaN where those may be missing."""
        statistics = column_statistics(data.X, data.rows, resolve_threads(self.n_threads))
        if statistics["n_nonfinite"].any():
            self._require_finite(data.X, what)
        return statistics

    def _set_scaling(
        self, data: Data, statistics: Statistics, start: Start, targets: Data, held_out: Statistics | None = None
    ) -> None:
        """Fit the scaler, unless the parameters to start from were trained behind one of the same kind.

        ``targets`` and the statistics are looked at for what the loss cannot be taken of.
        """
        if start.go_on and getattr(self, "_scaler_kind", "") == self.scaler:
            shift, scale = self.scaler_shift_, self.scaler_scale_
        else:
            shift, scale = fit_scaler(self.scaler, data.X, data.rows, statistics, self._element_names())
            self.column_means_ = statistics["mean"]
            if self.columns_ is not None:
                of_levels = is_level(self.columns_)
                shift[of_levels], scale[of_levels] = 0, 1
        # A scaler does not know the rows held out, which may lie a little beyond the others.
        beyond = [held_out] if held_out is not None and self.scaler is None else []
        self._check_targets(targets, [statistics, *beyond], shift, scale, start)
        self.scaler_shift_, self.scaler_scale_, self._scaler_kind = shift, scale, self.scaler

    def _check_targets(
        self, targets: Data, statistics: Iterable[Statistics], shift: Array, scale: Array, start: Start
    ) -> None:
        """Refuse rows, and columns with these statistics, that the loss cannot be taken of."""
        for known in statistics:
            check_range(self.loss, self.scaler, *scaled_range(known, shift, scale), self._element_names())
        check_sums(self.loss, self.scaler, targets, shift, scale, start.network["groups"])

    def _prepared(
        self,
        start: Start,
        *,
        epoch: Callable[[core.Trainer, int, float], float],
        monitored: Data,
        validate: bool,
        calibrate: Callable[[bool], None],
        max_epochs: int | None = None,
        keep_optimizer: bool = False,
        identity: Callable[[], dict[str, str]] | None = None,
    ) -> Callable[[], None]:
        """What runs the epochs and keeps what comes of them, whatever ends them.

        ``identity`` is what a checkpoint must have been made with to be gone on from.
        """
        optimizer, objective = optimizer_spec(self.optimizer), self._objective()
        trainer = core.Trainer(
            start.network,
            start.parameters,
            objective,
            optimizer,
            self.dtype,
            self._seed,
            resolve_threads(self.n_threads),
        )
        state = getattr(self, "_optimizer_state", None)
        if keep_optimizer and start.go_on and state is not None and state[0] == optimizer:
            trainer.set_optimizer_state(*state[1:])
        scaling = self._scaling()
        few = replace(monitored, rows=self._few(monitored.rows, len(monitored.X)))
        has_penalty = any(objective.get(name, 0) for name in ("activity_l1", "activity_l2", "contraction"))
        has_penalty = has_penalty or any(layer["kind"] == "kl_sparsity" for layer in start.network["layers"])
        training = Training(
            trainer,
            epoch=lambda number, rate: epoch(trainer, number, rate),
            validate=(lambda: monitored.evaluate(trainer, scaling, self._beta())) if validate else None,
            penalty=lambda: few.penalty(trainer, scaling) if has_penalty else 0.0,
            as_weights=lambda parameters: split_parameters(start.network, parameters),
            settings=Settings(
                max_epochs=self.max_epochs if max_epochs is None else max_epochs,
                schedule=as_schedule(self.learning_rate),
                # Epochs of partial_fit are one sequence, those of a fit begin anew.
                first_epoch=self._n_passes if keep_optimizer else 0,
                losses=getattr(self, "loss_curve_", []) if keep_optimizer and start.go_on else [],
                early_stopping=self.early_stopping,
                n_epochs_no_change=self.n_epochs_no_change,
                tol=self.tol,
                settled=lambda number: self._beta(number) == self._beta(),
                callbacks=self._callbacks(),
                verbose=self.verbose,
            ),
            seed=self._seed,
            n_passes=lambda: self._n_passes,
        )
        checkpoint = self._checkpoint()
        if checkpoint is not None:
            if identity is None:
                raise ValueError("a Checkpoint is for fit, and for fit_batches with blocks that can be read again")
            saved = checkpoint.begin(identity(), trainer.parameters(), trainer.optimizer_state()[1])
            if saved is not None:
                self._n_passes = saved.n_passes
                training.resume(saved)

        def train() -> None:
            hurry = False
            try:
                training.run()
            except BaseException as error:
                if checkpoint is not None and isinstance(error, ConvergenceError):
                    checkpoint.end(diverged=True)
                # Whoever ends training is waiting: a pass over all rows is more than they have time for.
                hurry = True
                raise
            finally:
                self.network_, self._loss_kind = start.network, self.loss
                self.coefs_, self.intercepts_ = split_parameters(start.network, training.parameters)
                self.norms_ = batch_norms(start.network, training.parameters)
                go_on = start.go_on and hasattr(self, "loss_curve_")
                self.loss_curve_ = (self.loss_curve_ if go_on else []) + training.loss_curve
                self.validation_curve_ = (self.validation_curve_ if go_on else []) + training.validation_curve
                self.n_epochs_ = len(self.loss_curve_)
                self._optimizer_state = (optimizer, *trainer.optimizer_state()) if keep_optimizer else None
                self.best_loss_ = training.best_loss
                if not training.monitored:
                    trainer.set_parameters(training.parameters)
                    self.best_loss_ = (few if hurry else monitored).evaluate(trainer, scaling, self._beta())
                    self.best_loss_ += few.penalty(trainer, scaling) if has_penalty else 0.0
                n_joint = start.network["n_features"] + self._n_features_out
                # Levels have probabilities, of which a distance knows nothing.
                automatic = "mahalanobis" if n_joint <= MAX_JOINT and self.columns_ is None else "mse"
                self.score_metric_ = automatic if self.score_metric == "auto" else self.score_metric
                calibrate(hurry)
            if checkpoint is not None:
                checkpoint.end()

        return train

    def _pass(self, trainer: core.Trainer, data: Data, epoch: int, learning_rate: float) -> float:
        """One pass over the rows. Passes are numbered through, so that none repeats the random draws of another."""
        number, self._n_passes = self._n_passes, self._n_passes + 1
        return trainer.train_epoch(
            data.X,
            self._scaling(),
            data.rows,
            data.sample_weight,
            data.target,
            epoch=number,
            learning_rate=learning_rate,
            batch_size=min(self.batch_size, data.n_rows),
            shuffle=self.shuffle,
            drop_last=self.drop_last,
            beta=self._beta(epoch),
            corrupt=self._corrupt(),
            poll=poll,
        )
