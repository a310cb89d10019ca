"""What a model consists of, as plain read-only data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError, dataclass, field, fields, is_dataclass, replace
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aefast.columns.column import Column
from aefast.engine import core
from aefast.model.calibration import Calibration, decisions, fresh_decisions
from aefast.model.distances import Distances, require_known
from aefast.model.evidence import Evidence
from aefast.model.gaps import Gaps
from aefast.model.metrics import COMPARING
from aefast.model.network import code_size
from aefast.model.reference import Reference
from aefast.model.scaling import FeatureScaling
from aefast.model.whitening import Whitening
from aefast.tables.dialect import Dialect

if TYPE_CHECKING:
    from typing_extensions import Self

Array = NDArray[Any]


class _Unchangeable:
    """Refuses attributes that are no fields, too: setting a misspelt one would change nothing."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise FrozenInstanceError(f"{name} of a model cannot be set; replace() makes another model")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"{name} of a model cannot be deleted; replace() makes another model")


@dataclass(frozen=True, eq=False, repr=False)
class ModelData(_Unchangeable):
    """The attributes of a `Model`.

    Attributes
    ----------
    kind : str
        Name of the estimator's class.
    network : dict
        The layers as the engine reads them. It and ``parameters`` cannot be changed; a deep copy can.
    coefs, intercepts : tuple of ndarray
        Weights and biases of each layer with weights, in the scaled space.
    norms : tuple of ndarray of shape (4, n_out), or None
        Batch normalisation of each such layer, which ``coefs`` and ``intercepts`` contain already.
    scaling : FeatureScaling
        The map into the scaled space.
    columns : tuple of Column, or None
        Kinds and levels of the columns, if not all of them are numbers.
    feature_names : tuple of str, or None
        Column names, if the training data had any.
    loss, score_metric, dtype, missing : str
        As the estimator's parameters; ``score_metric`` is resolved, never "auto".
    n_threads : int or None
        Threads to use; None is all CPUs that the process may use.
    calibration : Calibration
        Errors that p-values compare with.
    offset : float
        Minus the threshold.
    reference : Reference or None
        What the columns of the training rows held; None for models of versions that did not keep it.
    whitening : Whitening or None
        Needed by the metric "mahalanobis".
    distances : Distances or None
        Needed by the metric "calibrated"; None if there are no numbers to score.
    gaps : Gaps or None
        Expected values of missing numbers, with ``missing="mask"`` and the metric "calibrated".
    evidence : Evidence or None
        Needed by the metric "calibrated" if columns are of several kinds.
    input_ranges : tuple of ndarray of shape (2, n_in), or None
        Needed by the precision "int8".
    loss_curve, validation_curve : tuple of float
    best_loss : float
    best_epoch : int or None
        The epoch whose weights were kept, from 1 on; None in models of earlier versions.
    parameters : mapping
        The estimator's constructor parameters as plain data, so far as they are data. Only the model file uses them.
    dialect : Dialect or None
        How the files of text were written that the model was fitted on; None if they were plain, or no text.
    """

    kind: str
    network: core.NetworkSpec
    coefs: tuple[Array, ...]
    intercepts: tuple[Array, ...]
    norms: tuple[Array | None, ...]
    scaling: FeatureScaling
    columns: tuple[Column, ...] | None
    feature_names: tuple[str, ...] | None
    loss: str
    score_metric: str
    dtype: str
    missing: str
    n_threads: int | None
    calibration: Calibration
    offset: float
    whitening: Whitening | None = None
    reference: Reference | None = None
    distances: Distances | None = None
    gaps: Gaps | None = None
    evidence: Evidence | None = None
    input_ranges: tuple[Array, ...] | None = None
    loss_curve: tuple[float, ...] = ()
    validation_curve: tuple[float, ...] = ()
    best_loss: float = float("inf")
    best_epoch: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    dialect: Dialect | None = None

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        self.__dict__.update({each.name: _read_only(getattr(self, each.name)) for each in fields(self)})
        self._start()

    def _start(self) -> None:
        """Prepare what follows from the attributes."""

    # Other versions of the model.

    def replace(self, **changes: Any) -> Self:
        """Return a model with other values of the attributes named."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        unknown = changes.keys() - values.keys()
        if unknown:
            raise TypeError(f"a model has no attribute {unknown.pop()!r}")
        other = object.__new__(type(self))
        # The other values are read-only already.
        other.__dict__.update({**values, **{name: _read_only(value) for name, value in changes.items()}})
        other._start()
        return other

    def with_weights(self, coefs: Sequence[ArrayLike], intercepts: Sequence[ArrayLike]) -> Self:
        """Return a model with other weights. If they do not fit the network, its first use raises ValueError."""
        return self.replace(coefs=tuple(map(np.array, coefs)), intercepts=tuple(map(np.array, intercepts)))

    def with_threshold(self, threshold: float) -> Self:
        """Return a model with another threshold; ValueError for NaN."""
        if np.isnan(threshold):
            raise ValueError("the threshold must be a number, got nan")
        return self.replace(offset=-float(threshold))

    def with_calibration(self, errors: ArrayLike, contamination: float, held_out: ArrayLike | None = None) -> Self:
        """Return a model with threshold and calibration from errors that are known already.

        Parameters
        ----------
        errors : array-like of shape (n,)
            Errors of rows by ``score_metric``; ``contamination`` of them exceed the new threshold.
        contamination : float in (0, 0.5]
        held_out : array-like of shape (m,), optional
            Errors that p-values compare with; default ``errors``.

        Raises
        ------
        ValueError
            If no row could be flagged because many rows share the largest error. Values beyond the range of training
            are clipped, so this is the sign of rows that the model knows nothing about.
        """
        values = np.asarray(errors)
        if self.score_metric == "calibrated" and self.distances is not None:
            tail = None if self.evidence is None else self.evidence.tails[-1]
            require_known(values, self.distances, lambda score: score if tail is None else tail(score))
            offset, calibration = fresh_decisions(values, contamination, held_out=held_out)
            return self.replace(offset=offset, calibration=calibration)
        offset, calibration = decisions(errors, contamination, errors if held_out is None else held_out)
        if len(values) * contamination >= 1 and not (values > -offset).any():
            share = float((values == values.max()).mean())
            raise ValueError(
                f"{share:.0%} of the rows share the largest anomaly score, so no threshold flags {contamination:.3g} "
                "of them: most of these rows are beyond the range that the model learned; fit a model on rows like them"
            )
        return self.replace(offset=offset, calibration=calibration)

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    def __repr__(self) -> str:
        return f"<Model of {self.kind}: {self.n_features_in} features, {self.n_codes} code units>"

    @property
    def n_features_in(self) -> int:
        """Number of columns."""
        return self.network["n_features"] if self.columns is None else len(self.columns)

    @property
    def n_codes(self) -> int:
        """Width of the code."""
        return code_size(self.network)

    @property
    def compares(self) -> tuple[str, ...]:
        """The metrics that compare a row with the training rows and whose arrays the model has."""
        calibrated = self.distances if self.columns is None else self.evidence
        arrays = zip(COMPARING, (self.whitening, calibrated), strict=True)
        return tuple(name for name, each in arrays if each is not None)

    @property
    def threshold(self) -> float:
        """Rows with larger errors are anomalies; minus ``offset``."""
        return -self.offset

    @property
    def column_names(self) -> list[str]:
        """Names of the columns; x0, x1, ... if the training data had none."""
        return [f"x{j}" for j in range(self.n_features_in)] if self.feature_names is None else list(self.feature_names)


def _refuse(*_: Any, **__: Any) -> Any:
    raise TypeError("a model cannot be changed; replace() makes another one, copy.deepcopy a dict of your own")


class _ReadOnlyDict(dict[str, Any]):
    """A dict that cannot be changed. The engine accepts it, unlike a mapping proxy; its copies are plain dicts."""

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class _ReadOnlyList(list[Any]):
    """A list that cannot be changed; its copies are plain lists."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


def _plain(value: Any) -> Any:
    """Return a value with plain dicts and lists in place of those that cannot be changed."""
    if isinstance(value, _ReadOnlyDict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, _ReadOnlyList):
        return [_plain(each) for each in value]
    return value


_READ_ONLY = (type(None), str, int, float, _ReadOnlyDict, _ReadOnlyList)


def _read_only(value: Any) -> Any:
    """Return a value whose arrays, dicts and lists, also those inside others, cannot be written to."""
    if isinstance(value, _READ_ONLY):
        return value
    if isinstance(value, Mapping):
        return _ReadOnlyDict({key: _read_only(each) for key, each in value.items()})
    if isinstance(value, list):
        return _ReadOnlyList(map(_read_only, value))
    if isinstance(value, np.ndarray):
        if value.flags.writeable or (isinstance(value.base, np.ndarray) and value.base.flags.writeable):
            value = value.copy()
            value.setflags(write=False)
        return value
    if isinstance(value, tuple):
        parts = [*map(_read_only, value)]
        if all(map(is_, parts, value)):
            return value
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if is_dataclass(value):
        known = {each.name: getattr(value, each.name) for each in fields(value)}
        changed = {name: part for name, old in known.items() if (part := _read_only(old)) is not old}
        return replace(value, **changed) if changed else value  # type: ignore[type-var]
    return value
