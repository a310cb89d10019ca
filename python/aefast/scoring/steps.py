"""The steps of scoring a batch of rows: reading, errors, reasons, decisions and the output's columns.

`Scorer` takes them one after the other. Jobs, reports and distributed engines take some of them by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.columns.column import input_starts
from aefast.scoring.bad_rows import ON_BAD, bad_rows, marked_rows, rows_without_score, spread, with_nulls
from aefast.scoring.errors import BadValueError, MisfitError
from aefast.scoring.models import model_of
from aefast.scoring.passthrough import as_type
from aefast.scoring.reasons import arrow_reasons, explained_reasons, reasons_as_text, reasons_type, with_text_values
from aefast.tables.arrow import arrow_array, arrow_values, plain_rows
from aefast.tables.formats.base import TableError
from aefast.tables.groups import take
from aefast.tables.numbers import feature_columns, feature_matrix, find_nonfinite, is_number, may_be_numbers
from aefast.tables.text import pluralise, repeated

if TYPE_CHECKING:
    from aefast.model.model import Model

#: Columns that scores have.
RESULT_NAMES = ("anomaly_score", "p_value", "is_anomaly", "top_features")


class ScoringSteps:
    """Model and options of a `Scorer`, and what it does with each batch."""

    def __init__(
        self,
        model: Any,
        *,
        columns: Sequence[str] | None = None,
        keep: Sequence[str] = (),
        top_features: Any = 0,
        precision: str = "float32",
        p_value_cutoff: float | None = None,
        flat: bool = False,
        on_bad: str = "error",
    ) -> None:
        self.model: Model = model_of(model)
        self.keep: list[str] = _list_of_names("keep", keep)
        given = [] if columns is None else _list_of_names("columns", columns)
        if isinstance(top_features, bool) or not isinstance(top_features, int | np.integer) or top_features < 0:
            raise ValueError(f"top_features must be an integer of at least 0, got {top_features!r}")
        if p_value_cutoff is not None and not (isinstance(p_value_cutoff, Real) and 0 <= p_value_cutoff <= 1):
            raise ValueError(f"p_value_cutoff must be None or a number in [0, 1], got {p_value_cutoff!r}")
        if on_bad not in ON_BAD:
            raise ValueError(f"on_bad must be one of {', '.join(map(repr, ON_BAD))}, got {on_bad!r}")
        self.on_bad = on_bad
        self.model.check_precision(precision)
        self.top_features: int = min(int(top_features), self.n_features)
        self.precision = precision
        self.p_value_cutoff: float | None = p_value_cutoff
        self.flat = flat
        names = self.model.feature_names
        self._named = names is not None
        self._columns = given or None if names is None else list(names)
        if given and given != self._columns:
            raise ValueError(
                f"columns must be those the model was fitted on, {', '.join(map(repr, self._columns or ()))}, got "
                f"{', '.join(map(repr, given))}; leave columns out"
            )
        self._checked: pa.Schema | None = None
        if self._columns is not None:
            self._check_width(len(self._columns), "the table has")
        clash = [c for c in self.keep if c in RESULT_NAMES]
        if clash:
            raise TableError(f"column {clash[0]!r} cannot be kept: the scores have a column of that name")

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the state of a pickle; in those of earlier versions, an estimator is in the place of its model."""
        now = dict(state)
        if "estimator" in now:
            now |= {"model": model_of(now.pop("estimator")), "on_bad": "error"}
        vars(self).update(now)

    @property
    def n_features(self) -> int:
        """Number of the model's columns."""
        return self.model.n_features_in

    @property
    def feature_names(self) -> list[str]:
        """Names of the columns in the model or the table; x0, x1, ... if both have none."""
        return self._columns or [f"x{j}" for j in range(self.n_features)]

    def judge(self, batch: pa.RecordBatch, *, first_row: int = 0) -> pa.RecordBatch:
        """Return errors, in the model's dtype, and reasons of a batch, from which `results` makes the output.

        It has all rows of the batch; those that cannot be scored are null unless ``on_bad`` is "error".
        """
        if batch.num_rows == 0:
            self._features(batch.schema)
            return pa.RecordBatch.from_pylist([], schema=self.judged_schema)
        if (marked := marked_rows(batch)) is not None:
            good = self.judge(batch.filter(arrow_array(~marked)), first_row=first_row)
            return pa.record_batch(spread(good.columns, marked), schema=self.judged_schema)
        if not self.top_features:
            errors = self.batch_errors(batch, first_row=first_row)
            bad = None if self.on_bad == "error" else np.isnan(errors)
            columns = [with_nulls(errors, bad if bad is not None and bad.any() else None)]
        else:
            columns = self._with_reasons(self.matrix(batch), first_row)
        return pa.record_batch(columns, schema=self.judged_schema)

    def _with_reasons(self, X: Any, first_row: int) -> list[pa.Array]:
        """Return errors and reasons of a `matrix`."""
        try:
            errors, reasons = self.judge_matrix(X, first_row, self.top_features)
        except BadValueError:
            if self.on_bad == "error":
                raise
            bad = bad_rows(self.model, X)
            if bad.all():
                return spread(pa.RecordBatch.from_pylist([], schema=self.judged_schema).columns, bad)
            return spread(self._with_reasons(take(X, np.flatnonzero(~bad)), first_row), bad)
        assert reasons is not None
        return [arrow_array(errors), self._as_written(reasons)]

    def _as_written(self, reasons: pa.Array) -> pa.Array:
        return reasons_as_text(reasons) if self.flat else with_text_values(reasons)

    @property
    def judged_schema(self) -> pa.Schema:
        """Schema of the batches that `judge` returns."""
        return pa.schema([("error", pa.from_numpy_dtype(self.model.dtype)), *self._reasons_fields])

    @property
    def _reasons_fields(self) -> list[tuple[str, pa.DataType]]:
        kind = pa.string() if self.flat else reasons_type(is_mixed=True)
        return [("top_features", kind)] if self.top_features else []

    def results(self, judged: pa.RecordBatch, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
        """Return the output, with this schema, for a batch or its kept columns and what `judge` returned for it."""
        bad = rows_without_score(judged)
        if bad is not None and self.on_bad == "skip":
            good = arrow_array(~bad)
            judged, batch, bad = judged.filter(good), batch.filter(good), None
        kept = [as_type(batch.column(c), schema.field(c)) for c in self.keep]
        decided = [with_nulls(values, bad) for values in self._decisions(judged)]
        return pa.record_batch([*kept, *decided, *judged.columns[self._N_JUDGED :]], schema=schema)

    #: Columns of `judged_schema` before the reasons.
    _N_JUDGED: ClassVar[int] = 1

    def _decisions(self, judged: pa.RecordBatch) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return errors as float64, p-values and which rows are anomalies."""
        found = arrow_values(judged.column(0))
        # In the model's dtype, errors are compared with the calibration's without conversion, in half the time.
        p_values, errors = self.p_values(found), found.astype(np.float64)
        flagged = errors > self.model.threshold if self.p_value_cutoff is None else p_values <= self.p_value_cutoff
        return errors, p_values, flagged

    def counted_p_values(self, batch: pa.RecordBatch, *, first_row: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the different p-values of a batch, descending, and the number of good rows with each.

        Calibrated p-values take few different values, so that their counts stand for any number of rows.
        """
        calibration = self.model.calibration
        levels = calibration.levels()
        errors = self.batch_errors(batch, first_row=first_row)
        good = errors if self.on_bad == "error" else errors[~np.isnan(errors)]
        counts = np.bincount(calibration.places(good), minlength=len(levels))
        return levels[counts > 0], counts[counts > 0]

    def matrix(self, batch: pa.RecordBatch) -> Any:
        """Return a batch's features in the model's order: an array (n, d), or a table of several kinds of columns."""
        features = self._features(batch.schema)
        if not self.is_mixed:
            return feature_matrix(batch, features)
        return plain_rows(pa.Table.from_batches([batch.select(features)]))

    @property
    def is_mixed(self) -> bool:
        """True if the columns are of several kinds."""
        return self.model.columns is not None

    def join(self, parts: Sequence[Any]) -> Any:
        """Return the rows of several matrices as one."""
        return pa.concat_tables(parts, promote_options="permissive") if self.is_mixed else np.concatenate(parts)

    def batch_errors(self, batch: pa.RecordBatch, *, first_row: int = 0) -> NDArray[Any]:
        """Return the errors of a batch in the model's dtype; columns are read in place if possible.

        Rows that cannot be scored are NaN unless ``on_bad`` is "error".
        """
        if (marked := marked_rows(batch)) is not None:
            found = np.full(len(marked), np.nan, self.model.dtype)
            if not marked.all():
                found[~marked] = self.batch_errors(batch.filter(arrow_array(~marked)), first_row=first_row)
            return found
        features = self._features(batch.schema)
        columns = None if self.is_mixed or features is None else feature_columns(batch, features)
        errors = None if columns is None else self.model.errors_of_columns(columns, self.precision)
        if errors is not None:
            return np.asarray(errors)
        X = self.matrix(batch)
        try:
            return self.judge_matrix(X, first_row, 0)[0]
        except BadValueError:
            if self.on_bad == "error":
                raise
        good = ~bad_rows(self.model, X)
        found = np.full(len(good), np.nan, self.model.dtype)
        if good.any():
            found[good] = self.judge_matrix(take(X, np.flatnonzero(good)), first_row, 0)[0]
        return found

    def errors(self, X: Any, *, first_row: int = 0) -> NDArray[np.float64]:
        """Return the errors (n,) of a `matrix` as float64; ``first_row`` is the number of its first row in messages."""
        return self.judge_matrix(X, first_row, 0)[0].astype(np.float64)

    def judge_matrix(self, X: NDArray[Any], first_row: int, top: int) -> tuple[NDArray[Any], pa.Array | None]:
        """Return errors and, unless ``top`` is 0, reasons."""
        try:
            if self.model.has_reasons(top):
                found = self.model.reasons(X, min(top, X.shape[1]), self.precision)
                return found.errors, arrow_reasons(found, self.feature_names, self.model.columns, X)
            errors = self.model.errors(X, precision=self.precision)
        except ValueError as error:
            if self.model.columns is not None:
                try:
                    X = self.model.read(X)[:, np.array(input_starts(self.model.columns))]
                except ValueError as unreadable:
                    raise MisfitError(first_row, len(X), str(unreadable)) from error
            may_miss = self.model.missing != "error"
            bad = find_nonfinite(X, may_miss=may_miss)
            if bad is None:
                raise
            column = self.feature_names[bad.column]
            raise BadValueError(bad, column, first_row, len(X), may_miss=may_miss) from error
        return errors, self.reasons(X, top) if top else None

    def _features(self, schema: pa.Schema) -> list[str] | None:
        """Return the names of the feature columns; None if the batch is one column of lists."""
        if len(schema) == 1 and pa.types.is_fixed_size_list(schema.field(0).type):
            self._check_width(schema.field(0).type.list_size, "the rows have")
            return None
        if self._columns is None:
            found = [f.name for f in schema if is_number(f.type) and f.name not in self.keep]
            self._check_width(len(found), "the table has")
            self._columns = found
        if self._checked is None or not schema.equals(self._checked):
            present, doubles = set(schema.names), set(repeated(schema.names))
            twice = [c for c in dict.fromkeys([*self._columns, *self.keep]) if c in doubles]
            if twice:
                raise TableError(f"the table has more than one column named {', '.join(map(repr, twice))}; rename them")
            lacking = [c for c in self._columns if c not in present]
            if lacking:
                raise TableError(f"the table lacks columns the model was fitted on: {', '.join(map(repr, lacking))}")
            for name in self._columns:
                kind = schema.field(name).type
                if not may_be_numbers(kind) and not self.is_mixed:
                    raise TableError(f"column {name!r} is {kind}; the model was fitted on numbers there")
            self._checked = schema
        return self._columns

    def _check_width(self, width: int, subject: str) -> None:
        if width != self.n_features:
            fitted = "the model was fitted on" + ("" if self._named else " nameless columns, of which it needs")
            raise TableError(f"{subject} {pluralise(width, 'columns')} of numbers to score, {fitted} {self.n_features}")

    def p_values(self, errors: NDArray[Any]) -> NDArray[np.float64]:
        """Return conformal p-values of rows with these errors."""
        return self.model.p_values_of(errors)

    def main_features(self, X: Any) -> NDArray[np.intp]:
        """Return for each row the number of the feature with the largest part of its error."""
        return np.asarray(np.argmax(self.model.feature_errors(X), axis=1))

    def reasons(self, X: Any, top: int) -> pa.Array:
        """Return for each row of a `matrix` its ``top`` features by share of the error, as a list of structs.

        A missing value is no reason. If columns are of several kinds, value and expected value are text.
        """
        top = min(top, X.shape[1])
        if self.model.has_reasons(top):
            return arrow_reasons(self.model.reasons(X, top), self.feature_names, self.model.columns, X)
        return explained_reasons(self.model.explanation(X, top), len(X), is_mixed=self.is_mixed)


def _list_of_names(option: str, names: Sequence[str]) -> list[str]:
    if isinstance(names, str):
        raise ValueError(f"{option} must be a sequence of names, got {names!r}: write [{names!r}]")
    return list(names)
