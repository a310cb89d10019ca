"""ModelFleet: one model for each group of rows, and how the rows of a table are shared among them.

Nothing here needs scikit-learn. `aefast.Fleet` trains and holds a fleet; `aefast.scoring.fleet_scorer` scores with it.
"""

from __future__ import annotations

import hashlib
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.exceptions import AefastError
from aefast.model.false_discoveries import benjamini_hochberg
from aefast.model.model import Model
from aefast.tables.groups import Groups, Key, groups_by, key_label, split_off, taken
from aefast.tables.text import pluralise

Array = NDArray[Any]

UNSEEN = ("pooled", "error")
# Groups that a message names.
_MOST_NAMED = 5


class UnknownGroupError(AefastError, ValueError):
    """Rows belong to groups without a model, and ``unseen="error"`` refuses such rows."""


@dataclass(frozen=True)
class Part:
    """Rows that one model scores.

    Attributes
    ----------
    key : hashable
        The group; None if the rows are those of all groups without a model of their own.
    model : Model
    rows : ndarray of shape (n,), int64
        Row numbers, ascending if they are of one group.
    is_pooled : bool
        True if the model is not of one group.
    """

    key: Key
    model: Model
    rows: NDArray[np.int64]
    is_pooled: bool = False


@dataclass(frozen=True, eq=False)
class ModelFleet:
    """One model for each group.

    Attributes
    ----------
    by : tuple of str, or None
        The columns that name a row's group; None if groups are given beside the rows.
    one : bool
        True if keys are values, False if they are tuples with a value for each column.
    models : mapping
        Models by key.
    pooled : Model or None
        The model of all other groups; None if their rows are refused.
    """

    by: tuple[str, ...] | None
    one: bool
    models: Mapping[Key, Model]
    pooled: Model | None = None

    @property
    def template(self) -> Model:
        """A model with the names and number of columns that all models of the fleet have."""
        return self.pooled if self.pooled is not None else next(iter(self.models.values()))

    def parts(self, groups: Groups) -> list[Part]:
        """Return which model scores which rows: one part for each group with a model, and one for all other rows.

        Raises
        ------
        UnknownGroupError
            If groups have no model and there is no pooled model.
        """
        parts, others = [], []
        for key, rows in groups:
            model = self.models.get(key)
            if model is None:
                others.append((key, rows))
            else:
                parts.append(Part(key, model, rows))
        if others and self.pooled is None:
            n_rows = sum(len(rows) for _, rows in others)
            raise UnknownGroupError(
                f"{pluralise(n_rows, 'rows')} belong to {named([key for key, _ in others])} without a model; leave "
                "these rows out, fit them with update, or fit a fleet with unseen='pooled'"
            )
        if others and self.pooled is not None:
            rows = np.concatenate([rows for _, rows in others])
            parts.append(Part(None, self.pooled, rows, is_pooled=True))
        return parts

    def digest(self) -> str:
        """Return a SHA-256 digest of everything that scores and decisions follow from."""
        known = getattr(self.models, "digest", None)  # of a file, whose models need not be read
        if known is not None:
            return str(known)
        digest = hashlib.sha256(repr((self.by, self.one)).encode())
        for key in self.models:
            digest.update(f"{key!r} {self.models[key].digest()}\n".encode())
        digest.update((self.pooled.digest() if self.pooled else "").encode())
        return digest.hexdigest()


def split_rows(X: Any, groups: Any, by: Sequence[str] | None, *, one: bool) -> tuple[Any, Groups, bool]:
    """Return rows without the columns that name groups, and their groups.

    Parameters
    ----------
    X : data frame, Arrow table, or array with ``groups``
    groups : array-like of shape (n,) or (n, k), optional
        The groups of the rows, if ``by`` is None.
    by : sequence of str, optional
        The columns that name groups.
    one : bool
        True if keys by these columns are values, False if they are tuples.

    Returns
    -------
    rows, groups, one
        The last one is True if the keys are values.

    Raises
    ------
    ValueError
        If there are no groups, or their number is not that of the rows.
    """
    if groups is not None:
        if by is not None:
            raise ValueError(f"groups= goes with by=None, but by names {named_columns(by)}")
        one = np.ndim(groups) < 2
        is_frame = hasattr(groups, "iloc")
        columns = (
            {"groups": groups}
            if one
            else {
                f"groups[:, {i}]": groups.iloc[:, i] if is_frame else np.asarray(groups)[:, i]
                for i in range(np.shape(groups)[1])
            }
        )
        found = groups_by(columns, one=one)
        if len(found.order) != len(X):
            raise ValueError(f"groups must have a value for each of the {len(X)} rows, got {len(found.order)}")
        return X, found, one
    if by is None:
        raise ValueError("the fleet has by=None, so groups= is needed: the group of each row")
    if not (hasattr(X, "iloc") or hasattr(X, "column_names")):
        raise ValueError(
            f"X must be a data frame or an Arrow table with {named_columns(by)}, got {type(X).__name__}; for an array, "
            "make the fleet with by=None and give the group of each row as groups="
        )
    columns, rows = split_off(X, by)
    return rows, groups_by(columns, one=one), one


@dataclass(frozen=True)
class GroupScores:
    """What the scores of a group say about it.

    Attributes
    ----------
    key : hashable
    rows : int
    is_own : bool
        False if the pooled model scored the group.
    anomalies : int
        Rows above the threshold.
    excess, p_value : float
        By how much the errors are larger than those that the model is calibrated with, see
        `aefast.model.calibration.Calibration.excess`.
    is_odd : bool
        The group is reported, with a false-discovery rate over all groups.
    """

    key: Key
    rows: int
    is_own: bool
    anomalies: int
    excess: float
    p_value: float
    is_odd: bool = False


def group_scores(fleet: ModelFleet, errors: Mapping[Key, Array], fdr: float) -> list[GroupScores]:
    """Return what the errors of each group say about it, the smallest p-value first."""
    found = []
    for key, own in errors.items():
        model = fleet.models.get(key)
        is_own = model is not None
        model = fleet.template if model is None else model
        n_flagged = int(np.count_nonzero(own.astype(np.float64) > model.threshold))
        found.append(GroupScores(key, len(own), is_own, n_flagged, *model.calibration.excess(own)))
    if not found:
        return []
    is_odd = benjamini_hochberg([each.p_value for each in found], fdr).tolist()
    found = [replace(each, is_odd=odd) for each, odd in zip(found, is_odd, strict=True)]
    return sorted(found, key=lambda each: (each.p_value, -each.excess))


def joined(new: Mapping[Key, Model], models: Mapping[Key, Model]) -> Mapping[Key, Model]:
    """Return all models, with the new ones in place of older ones; models in a file are not read."""
    if isinstance(models, ChainMap):
        return ChainMap({**models.maps[0], **new}, *models.maps[1:])
    return {**models, **new} if isinstance(models, dict) else ChainMap(dict(new), models)  # type: ignore[arg-type]


def scored(X: Any, parts: Sequence[Part], score: Callable[[Model, Any], Array], n_rows: int, dtype: Any) -> Array:
    """Return ``score(model, rows)``, one value a row, in the order of ``X``; errors name the group."""
    found = np.empty(n_rows, dtype=dtype)
    for part in parts:
        try:
            found[part.rows] = score(part.model, taken(X, part.rows))
        except ValueError as error:
            raise _of_group(part, error) from error
    return found


def judged(errors: Array, parts: Sequence[Part], judge: Callable[[Model, Array], Array], dtype: Any) -> Array:
    """Return ``judge(model, errors)`` of rows whose errors are known."""
    found = np.empty(len(errors), dtype=dtype)
    for part in parts:
        found[part.rows] = judge(part.model, errors[part.rows])
    return found


def _of_group(part: Part, error: ValueError) -> ValueError:
    which = "the groups without a model" if part.is_pooled else f"group {key_label(part.key)}"
    return ValueError(f"in the rows of {which}, counted from 0: {error}")


def named(keys: Sequence[Key]) -> str:
    """Return the number of groups, and the first of them."""
    first = ", ".join(f"({key_label(key)})" if isinstance(key, tuple) else key_label(key) for key in keys[:_MOST_NAMED])
    more = f" and {len(keys) - _MOST_NAMED:,} more" if len(keys) > _MOST_NAMED else ""
    return f"{pluralise(len(keys), 'groups')} ({first}{more})"


def named_columns(by: Sequence[str]) -> str:
    """Return the columns of ``by`` as a person is shown them."""
    return f"the column{'s' if len(by) > 1 else ''} {', '.join(map(repr, by))}"
