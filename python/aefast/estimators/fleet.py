"""Fleet: one estimator for each group of rows, fitted together and saved in one file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from aefast.estimators.base import BaseAutoencoder
from aefast.estimators.files import check_refit, to_bytes, unfitted
from aefast.estimators.fleet_scores import FleetScores
from aefast.estimators.group_fits import GroupRows, fit_groups, fit_pooled, reasons_in_words
from aefast.estimators.recipe import callbacks_of
from aefast.model.false_discoveries import benjamini_hochberg
from aefast.model.fleet import UNSEEN, joined, named, split_rows
from aefast.model.fleet_file import FleetDocument, StoredModels, model_content, stored_content, write
from aefast.model.image_network import is_count
from aefast.model.model import Model
from aefast.tables.collect import collected
from aefast.tables.groups import Groups, Key, groups_by, taken
from aefast.training.checkpoint import Checkpoint
from aefast.training.plain import plain_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

#: Share of false alarms among the groups that `Fleet.update` takes for drifted, and the least excess of their errors.
DRIFT_FDR, LEAST_DRIFT = 0.05, 0.1


def _nothing(n_rows: int) -> None:
    """Do nothing with the number of rows of a group that was fitted."""


class Fleet(FleetScores, BaseEstimator, Mapping[Key, Any]):
    """One estimator for each group of rows, such as one for each machine, shop or customer.

    `fit` splits a table by the columns ``by`` and fits a copy of ``estimator`` to each group, several groups at once on
    all CPUs. Weights, scores, thresholds and p-values of a group are bit by bit those of ``estimator`` fitted to the
    rows of this group alone, for any number of threads and any order of the rows of different groups. The columns
    ``by`` themselves are not learned.

    A fleet is a mapping from group to fitted estimator: ``fleet["m-7"]``, ``len(fleet)``, ``fleet.items()``. Keys are
    text, numbers, truth values, or None for a missing value. Whole floats are the same key as integers.

    Parameters
    ----------
    estimator : estimator
        The autoencoder to copy for each group. It stays as it is. With an integer ``random_state`` all groups have the
        same seed.
    by : str or list of str, optional
        The column that names a row's group, whose values are the keys. With a list of columns keys are tuples. None if
        groups are given to each method as ``groups``.
    min_rows : int, at least 1, default 50
        Groups with fewer rows get no estimator of their own.
    unseen : {"pooled", "error"}, default "pooled"
        What happens to rows of groups without an estimator: those that are too small, that `fit` has not seen, or
        that could not be learned. "pooled": ``pooled_`` scores them. "error": ValueError.

    Attributes
    ----------
    models_ : mapping
        The fitted estimators by group, as the fleet itself.
    pooled_ : estimator or None
        Fitted on a random choice of at most 20,000 rows, as evenly from all groups as possible. None if ``unseen`` is
        "error".
    counts_ : dict
        For each group the rows that it was fitted on or, if it has no estimator of its own, the rows that it had.
    updated_ : dict
        After `update`, the reason for each group that was fitted: "new" or "drifted".

    See Also
    --------
    aefast.load : Reads a fleet that `save` wrote.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from aefast import Autoencoder, Fleet
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame(rng.normal(size=(300, 4)), columns=["a", "b", "c", "d"])
    >>> table["machine"] = rng.choice(["m-1", "m-2"], size=300)
    >>> fleet = Fleet(Autoencoder(max_epochs=5, random_state=0), by="machine").fit(table)
    >>> sorted(fleet)
    ['m-1', 'm-2']
    >>> alone = Autoencoder(max_epochs=5, random_state=0).fit(table[table["machine"] == "m-2"].drop(columns="machine"))
    >>> bool((alone.coefs_[0] == fleet["m-2"].coefs_[0]).all())
    True
    """

    counts_: dict[Key, int]
    updated_: dict[Key, str]

    def __init__(self, estimator: Any, by: Any = None, *, min_rows: int = 50, unseen: str = "pooled") -> None:
        self.estimator = estimator
        self.by = by
        self.min_rows = min_rows
        self.unseen = unseen

    # Fitting.

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> Self:
        """Fit an estimator to each group of rows.

        Parameters
        ----------
        X : data frame, Arrow table, or what else ``estimator.fit`` reads
            The rows of all groups, in any order, with the columns ``by``.
        y : ignored
            Exists for scikit-learn's conventions.
        groups : array-like of shape (n,) or (n, k), optional
            The group of each row, if ``by`` is None. With k columns keys are tuples.

        Returns
        -------
        self
            The fitted fleet.

        Raises
        ------
        ValueError
            If a parameter or a value of the input is not valid, or if groups are too small or cannot be learned and
            ``unseen`` is "error". The fleet then stays as it was.
        KeyboardInterrupt
            Within a second of Ctrl-C.

        Warns
        -----
        UserWarning
            If groups cannot be learned, for instance because a column has no value in any of their rows.
        """
        self.check_parameters()
        rows, split, one = split_rows(collected(X), collected(groups), _names(self.by), one=not _is_list(self.by))
        return self._fit(rows, split, one)

    def fit_rows(self, X: Any, columns: Mapping[str, Any], on_fitted: Callable[[int], None] = _nothing) -> Self:
        """Fit rows whose groups are named by ``columns`` beside them; ``on_fitted`` gets the rows of each group."""
        self.check_parameters()
        one = not _is_list(self.by)
        return self._fit(X, groups_by(columns, one=one), one, on_fitted)

    def _fit(self, rows: Any, split: Groups, one: bool, on_fitted: Callable[[int], None] = _nothing) -> Self:
        self.check_sizes(split.counts)
        large = {key: numbers for key, numbers in split if len(numbers) >= self.min_rows}
        data = GroupRows.of(self.estimator, rows)
        pooled = fit_pooled(data, split.rows) if self.unseen == "pooled" else None
        models, reasons = fit_groups(data, large, on_fitted)
        self._refuse(reasons)
        self._take(_names(self.by), one, models, pooled, split.counts)
        return self

    def check_sizes(self, counts: Mapping[Key, int]) -> None:
        """Raise ValueError if groups have fewer than ``min_rows`` rows and ``unseen`` is "error"."""
        small = [key for key, n_rows in counts.items() if n_rows < self.min_rows]
        if small and self.unseen == "error":
            raise ValueError(
                f"{named(small)} with fewer than min_rows={self.min_rows} rows: lower min_rows, leave these rows "
                "out, or set unseen='pooled'"
            )

    def take_fitted(
        self, models: Mapping[Key, Model], reasons: Mapping[Key, str], pooled: Model | None, counts: dict[Key, int]
    ) -> Self:
        """Become fitted with the models of groups that were fitted elsewhere, and the reasons why others were not."""
        self._refuse(reasons)
        self._take(_names(self.by), not _is_list(self.by), models, pooled, counts)
        return self

    def update(self, X: Any, *, groups: Any = None) -> Self:
        """Fit groups that have no estimator yet, and fit drifted groups again, each on its rows in ``X``.

        A group has drifted if the errors of its rows are larger than those that it is calibrated with: the one-sided
        Kolmogorov-Smirnov distance is at least 0.1, and its p-value is reported by the procedure of Benjamini and
        Hochberg (1995) with a false-discovery rate of 5 % over all groups of ``X``. Groups with fewer than ``min_rows``
        rows in ``X``, all other groups, and ``pooled_`` stay as they are.

        Parameters
        ----------
        X : data frame, Arrow table, or array with ``groups``
            Recent rows, with the columns of `fit`.
        groups : array-like, optional
            As in `fit`.

        Returns
        -------
        self
            ``updated_`` says which groups were fitted, and why.

        Raises
        ------
        ValueError
            As in `fit`.
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        self.check_parameters()
        raw, rows, split = self._split(X, groups)
        enough = {key: numbers for key, numbers in split if len(numbers) >= self.min_rows}
        data = GroupRows.of(self.estimator, raw)
        drifted = self._drifted(rows, {key: numbers for key, numbers in enough.items() if key in self._models})
        why = {key: "new" for key in enough if key not in self._models} | dict.fromkeys(drifted, "drifted")
        template = clone(self.estimator)
        template.model_ = self.model_fleet().template
        check_refit(template)
        models, reasons = fit_groups(data, {key: enough[key] for key in why}, _nothing)
        self._refuse(reasons)
        counts = {key: n for key, n in split.counts.items() if key in models or key not in self._models}
        for key in models:
            self._estimators.pop(key, None)
        self._models = joined(models, self._models)
        self.counts_ = {**self.counts_, **counts}
        self.updated_ = {key: why[key] for key in models}
        return self

    def _drifted(self, rows: Any, known: Mapping[Key, NDArray[np.int64]]) -> list[Key]:
        """Return the groups whose errors are larger than those that they are calibrated with."""
        if not known:
            return []
        models = self.model_fleet().models
        found = [
            models[key].calibration.excess(models[key].errors(taken(rows, numbers))) for key, numbers in known.items()
        ]
        distances, p_values = np.array(found).T
        is_far = benjamini_hochberg(p_values, DRIFT_FDR) & (distances >= LEAST_DRIFT)
        return [key for key, drifted in zip(known, is_far, strict=True) if drifted]

    def _take(
        self, by: Any, one: bool, models: Mapping[Key, Model], pooled: Model | None, counts: dict[Key, int]
    ) -> None:
        """Become fitted."""
        self._by, self._one, self._models, self._pooled = by, one, models, pooled
        self._estimators: dict[Key, Any] = {}
        self._pooled_estimator = None
        self.counts_ = counts

    @classmethod
    def restored(cls, models: StoredModels) -> Self:
        """Return the fleet of a file; one of `aefast.tables.files.MISFITS` if its parameters are not valid."""
        document = models.document
        estimator = unfitted(document.kind, document.parameters, document.version)
        by: Any = document.by
        if by is not None:
            by = by[0] if document.one else list(by)
        fleet = cls(estimator, by, min_rows=document.min_rows, unseen=document.unseen)
        fleet.check_parameters()
        fleet._take(document.by, document.one, models, models.pooled, document.counts)
        # Raises an error if the parameters do not go with the models.
        if fleet.pooled_ is None:
            fleet._estimator_of(next(iter(models.values())))
        return fleet

    def _estimator_of(self, model: Model) -> Any:
        estimator: Any = clone(self.estimator)
        estimator.restore(model)
        check_refit(estimator)
        return estimator

    def check_parameters(self) -> None:
        """Raise ValueError or TypeError for parameters that are not valid."""
        if not isinstance(self.estimator, BaseAutoencoder):
            raise TypeError(f"estimator must be one of aefast's estimators, got {type(self.estimator).__name__}")
        if not is_count(self.min_rows):
            raise ValueError(f"min_rows must be an integer of at least 1, got {self.min_rows!r}")
        if self.unseen not in UNSEEN:
            raise ValueError(f"unseen must be one of {', '.join(UNSEEN)}, got {self.unseen!r}")
        if _is_list(self.by) and len(self.by) == 0:
            raise ValueError("by must name at least one column, got an empty list")
        self.estimator.check_parameters()
        if self.estimator.warm_start:
            raise ValueError("the estimator of a Fleet cannot have warm_start=True: each group begins anew")
        if any(isinstance(each, Checkpoint) for each in callbacks_of(self.estimator)):
            raise ValueError("the estimator of a Fleet cannot have a Checkpoint: it holds one training")

    def _refuse(self, reasons: Mapping[Key, str]) -> None:
        """Raise or warn if groups could not be learned."""
        if not reasons:
            return
        if self.unseen == "error":
            raise ValueError(f"{reasons_in_words(reasons)}; leave such groups out, or set unseen='pooled'")
        warnings.warn(f"{reasons_in_words(reasons)}; the pooled model scores their rows", stacklevel=4)

    # The mapping.

    def __getitem__(self, key: Key) -> Any:
        check_is_fitted(self)
        estimator = self._estimators.get(key)
        if estimator is None:
            estimator = self._estimators[key] = self._estimator_of(self._models[key])
        return estimator

    def __contains__(self, key: object) -> bool:
        return key in vars(self).get("_models", ())

    def __iter__(self) -> Iterator[Key]:
        check_is_fitted(self)
        return iter(self._models)

    def __len__(self) -> int:
        return len(vars(self).get("_models", ()))

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __sklearn_is_fitted__(self) -> bool:
        return "_models" in vars(self)

    @property
    def models_(self) -> Mapping[Key, Any]:
        """The fitted estimators by group."""
        check_is_fitted(self)
        return self

    # Files.

    def save(self, path: Any) -> None:
        """Write the fleet to one data-only file, which `aefast.load` reads; a group is read when it is first used.

        The file appears whole or not at all; an existing file is replaced. See `aefast.model.fleet_file` for the
        format. Callbacks are not saved.

        Parameters
        ----------
        path : str or path-like
            The file; ``.safetensors`` is the customary suffix.

        Raises
        ------
        ValueError
            As of the estimators' ``save``.
        OSError
            If the file cannot be written.
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        document = FleetDocument(
            kind=type(self.estimator).__name__,
            parameters=plain_parameters(self.estimator.get_params(deep=False)),
            by=self._by,
            one=self._one,
            min_rows=int(self.min_rows),
            unseen=self.unseen,
            keys=list(self._models),
            counts=self.counts_,
            has_pooled=self._pooled is not None,
        )
        write(path, document, self._contents())

    def _contents(self) -> Iterator[bytes]:
        """Yield the model files of all groups, then the pooled model's."""
        for key in self._models:
            estimator = self._estimators.get(key)
            if estimator is not None:
                yield to_bytes(estimator)  # a user may have changed it
            else:
                stored = stored_content(self._models, key)
                yield model_content(self._models[key]) if stored is None else stored
        if self.pooled_ is not None:
            yield to_bytes(self.pooled_)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        if "_models" in state:
            state["_models"] = dict(state["_models"])  # an open file cannot be pickled
        return state


def _is_list(by: Any) -> bool:
    return isinstance(by, list | tuple)


def _names(by: Any) -> tuple[str, ...] | None:
    if by is None:
        return None
    return tuple(map(str, by)) if _is_list(by) else (str(by),)
