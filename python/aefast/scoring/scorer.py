"""Scoring as a stream: a model and Arrow record batches in, record batches with scores out.

`Scorer` knows nothing of files, threads or progress, so that a command, a notebook and a distributed engine can
all drive it. It holds one batch at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.columns.column import starts
from aefast.columns.decoding import Shown, by_column
from aefast.exceptions import AefastError
from aefast.model.model import Model
from aefast.scoring.passthrough import as_type, value_type
from aefast.tables.arrow import arrow_array, arrow_text, arrow_values, number_text, plain_rows
from aefast.tables.formats.base import TableError
from aefast.tables.numbers import (
    NonFinite,
    feature_columns,
    feature_matrix,
    find_nonfinite,
    is_number,
    may_be_numbers,
)
from aefast.tables.text import pluralise, repeated

__all__ = ["TOP_FEATURES", "BadValueError", "MisfitError", "Scorer", "model_of"]

TOP_FEATURES = pa.list_(
    pa.struct([("feature", pa.string()), ("value", pa.float64()), ("expected", pa.float64()), ("share", pa.float64())])
)
#: The same where columns are of several kinds.
TOP_FEATURES_AS_TEXT = pa.list_(
    pa.struct([("feature", pa.string()), ("value", pa.string()), ("expected", pa.string()), ("share", pa.float64())])
)
RESULT_NAMES = ("anomaly_score", "p_value", "is_anomaly", "top_features")


class BadValueError(AefastError, ValueError):
    """Missing or infinite values where the model needs numbers.

    Attributes
    ----------
    row : int
        The first such row, counted from 0 over all rows given to `Scorer.score`.
    column : str
    count : int
        How many such values its batch has.
    may_miss : bool
        Whether the model takes missing values, so that these are infinite.
    """

    def __init__(
        self, found: NonFinite, column: str, batch_start: int, batch_rows: int, *, may_miss: bool = False
    ) -> None:
        self._found, self.column, self.count, self.may_miss = found, column, found.count, may_miss
        self.row, self._last_row = batch_start + found.row, batch_start + batch_rows - 1
        self._batch_start = batch_start
        super().__init__(self.describe(f"row {self.row}"))

    def describe(self, place: str) -> str:
        """Return the message with the place of the first row, which may name a file."""
        what = "infinite values" if self.may_miss else "missing or infinite values"
        remedy = "" if self.may_miss else ", or fit a model with missing='mask' or 'mean' (--missing)"
        return self._found.message(
            f"rows {self._batch_start} to {self._last_row} have {what}",
            f"{place} (the first is row 0)",
            self.column,
            "; fill or drop such rows" + remedy,
        )


class MisfitError(TableError):
    """Rows with a column that does not hold what the model learned there.

    Attributes
    ----------
    row : int
        The first of the batch, counted from 0 over all rows given to `Scorer.score`.
    """

    def __init__(self, row: int, n_rows: int, reason: str) -> None:
        self.row, self.n_rows, self.reason = row, n_rows, reason
        super().__init__(self.describe(f"row {row}"))

    def describe(self, place: str) -> str:
        return f"{place} and the {self.n_rows - 1} after it (the first is row 0): {self.reason}"


class Scorer:
    """Scores of record batches, row by row and in order.

    Parameters
    ----------
    model : estimator, Model, bytes, str or path
        A fitted estimator, its ``model_``, the bytes of a model file, or its path.
    columns : sequence of str, optional
        The feature columns, in order, for a model that was fitted without names; of one with names they must be those.
        Default: every column of numbers that is not kept.
    keep : sequence of str
        Input columns to hand on beside the scores.
    top_features : int, at least 0
        How many reasons to give for each row; 0 gives no such column.
    precision : str
        As in ``reconstruction_error``.
    p_value_cutoff : float in [0, 1], optional
        Call a row an anomaly where its p-value is at most this, instead of where its error exceeds the model's
        threshold.
    flat : bool
        Write ``top_features`` as text, for formats without nested values.

    Raises
    ------
    ValueError
        If an option is out of range or does not go with the model.
    TableError
        If there are not as many ``columns`` as the model needs, or a kept one is called like what `score` adds.
    TypeError
        If ``model`` is none.
    NotFittedError
        If ``model`` is not fitted.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa, aefast
    >>> rng = np.random.default_rng(0)
    >>> table = pa.table({"id": range(500), "a": rng.normal(size=500), "b": rng.normal(size=500)})
    >>> model = aefast.Autoencoder(max_epochs=2, random_state=0).fit(table.select(["a", "b"]))
    >>> scored = pa.Table.from_batches(aefast.Scorer(model, keep=["id"]).score(table.to_batches(max_chunksize=100)))
    >>> scored.column_names
    ['id', 'anomaly_score', 'p_value', 'is_anomaly']
    """

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
    ) -> None:
        self.model = model_of(model)
        self.keep = _list_of_names("keep", keep)
        given = [] if columns is None else _list_of_names("columns", columns)
        if isinstance(top_features, bool) or not isinstance(top_features, int | np.integer) or top_features < 0:
            raise ValueError(f"top_features must be an integer of at least 0, got {top_features!r}")
        if p_value_cutoff is not None and not (isinstance(p_value_cutoff, Real) and 0 <= p_value_cutoff <= 1):
            raise ValueError(f"p_value_cutoff must be None or a number in [0, 1], got {p_value_cutoff!r}")
        self.model.check_precision(precision)
        self.top_features = min(int(top_features), self.n_features)
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
        self._schema: pa.Schema | None = None
        self._checked: pa.Schema | None = None
        if self._columns is not None:
            self._check_width(len(self._columns), "the table has")
        clash = [c for c in self.keep if c in RESULT_NAMES]
        if clash:
            raise TableError(f"column {clash[0]!r} cannot be kept: the scores have a column of that name")

    @property
    def n_features(self) -> int:
        return self.model.n_features_in

    def columns(self, schema: pa.Schema) -> list[str]:
        """The columns of such batches that `score` reads: features first, then the kept ones. Others may be left
        out of the batches."""
        features = self._features(schema)
        features = list(schema.names) if features is None else features
        return features + [c for c in self.keep if c not in features]

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """Of the batches `score` gives for batches of ``schema``."""
        lacking = [c for c in self.keep if c not in schema.names]
        if lacking:
            raise TableError(f"the table lacks columns to keep: {', '.join(map(repr, lacking))}")
        kept = [pa.field(c, value_type(schema.field(c).type)) for c in self.keep]
        results = [("anomaly_score", pa.float64()), ("p_value", pa.float64()), ("is_anomaly", pa.bool_())]
        return pa.schema(kept + [pa.field(*r) for r in results + self._reasons_fields])

    def score(self, batches: Iterable[Any]) -> Iterator[pa.RecordBatch]:
        """One scored batch for each batch, with the kept columns, ``anomaly_score`` (higher is more abnormal),
        ``p_value``, ``is_anomaly`` and ``top_features``.

        Parameters
        ----------
        batches : iterable of pyarrow.RecordBatch, or pyarrow.Table

        Raises
        ------
        TypeError
            For anything else, such as a data frame.
        BadValueError
            At the first batch with missing or infinite values, naming row and column.
        TableError
            When a batch lacks a column, or one holds no numbers.
        """
        n_read = 0
        for batch in batches.to_batches() if isinstance(batches, pa.Table) else batches:
            if not isinstance(batch, pa.RecordBatch):
                raise TypeError(
                    f"score takes a table or record batches of Arrow, got {type(batches).__name__} of "
                    f"{type(batch).__name__}; pyarrow.Table.from_pandas(frame) makes a table of a data frame"
                )
            yield self.score_batch(batch, first_row=n_read)
            n_read += batch.num_rows

    def score_batch(self, batch: pa.RecordBatch, *, first_row: int = 0) -> pa.RecordBatch:
        """One step of `score`. All batches get the types of the first."""
        return self.results(self.judge(batch, first_row=first_row), batch)

    def judge(self, batch: pa.RecordBatch, *, first_row: int = 0) -> pa.RecordBatch:
        """What the network says of a batch, from which `results` follow: errors in the model's dtype, and reasons."""
        if batch.num_rows == 0:
            self._features(batch.schema)
            return pa.RecordBatch.from_pylist([], schema=self.judged_schema)
        if self.top_features:
            errors, reasons = self._judge(self.matrix(batch), first_row, self.top_features)
            assert reasons is not None
            more = [_as_text(reasons) if self.flat else reasons]
        else:
            errors, more = self.batch_errors(batch, first_row=first_row), []
        return pa.record_batch([arrow_array(errors), *more], schema=self.judged_schema)

    @property
    def judged_schema(self) -> pa.Schema:
        """Of the batches that `judge` gives."""
        return pa.schema([("error", pa.from_numpy_dtype(self.model.dtype)), *self._reasons_fields])

    @property
    def _reasons_fields(self) -> list[tuple[str, pa.DataType]]:
        return [("top_features", pa.string() if self.flat else self._reasons_type)] if self.top_features else []

    def results(self, judged: pa.RecordBatch, batch: pa.RecordBatch, schema: pa.Schema | None = None) -> pa.RecordBatch:
        """What `score_batch` gives of a batch, or of its kept columns, that has been judged; of a `schema`, or of that
        of the first batch."""
        if schema is None:
            schema = self._schema = self._schema or self.schema(batch.schema)
        kept = [as_type(batch.column(c), schema.field(c)) for c in self.keep]
        found = arrow_values(judged.column(0))
        # In the model's dtype they are compared with the calibration's as they are, which takes half the time.
        p_values, errors = self.p_values(found), found.astype(np.float64)
        flagged = errors > self.model.threshold if self.p_value_cutoff is None else p_values <= self.p_value_cutoff
        decided = [arrow_array(values) for values in (errors, p_values, flagged)]
        return pa.record_batch([*kept, *decided, *judged.columns[1:]], schema=schema)

    def matrix(self, batch: pa.RecordBatch) -> Any:
        """The batch's features in the model's order: an (n, d) array, of columns of several kinds an Arrow table."""
        features = self._features(batch.schema)
        if not self.is_mixed:
            return feature_matrix(batch, features)
        return plain_rows(pa.Table.from_batches([batch.select(features)]))

    @property
    def is_mixed(self) -> bool:
        """Whether the columns are of several kinds."""
        return self.model.columns is not None

    def take(self, X: Any, rows: NDArray[Any]) -> Any:
        """Some rows of a `matrix`."""
        return X.take(arrow_array(rows)) if self.is_mixed else X[rows]

    def join(self, parts: Sequence[Any]) -> Any:
        """The rows of several, one after the other."""
        return pa.concat_tables(parts, promote_options="permissive") if self.is_mixed else np.concatenate(parts)

    def batch_errors(self, batch: pa.RecordBatch, *, first_row: int = 0) -> NDArray[Any]:
        """`errors` of a batch in the model's dtype, whose columns are read where they lie if they can be."""
        features = self._features(batch.schema)
        columns = None if self.is_mixed or features is None else feature_columns(batch, features)
        errors = None if columns is None else self.model.errors_of_columns(columns, self.precision)
        return self._judge(self.matrix(batch), first_row, 0)[0] if errors is None else np.asarray(errors)

    def errors(self, X: Any, *, first_row: int = 0) -> NDArray[np.float64]:
        """The reconstruction error of each row as float64; ``first_row`` numbers the rows in messages."""
        return self._judge(X, first_row, 0)[0].astype(np.float64)

    def _judge(self, X: NDArray[Any], first_row: int, top: int) -> tuple[NDArray[Any], pa.Array | None]:
        """Errors and, where ``top`` is not 0, `reasons`: both in one pass."""
        try:
            if self.model.has_reasons(top):
                errors, *found = self.model.reasons(X, min(top, X.shape[1]), self.precision)
            else:
                errors, found = self.model.errors(X, precision=self.precision), None
        except ValueError as error:
            if self.model.columns is not None:
                try:
                    X = self.model.read(X)[:, np.array(starts(self.model.columns))]
                except ValueError as unreadable:
                    raise MisfitError(first_row, len(X), str(unreadable)) from error
            may_miss = self.model.missing != "error"
            bad = find_nonfinite(X, may_miss=may_miss)
            if bad is None:
                raise
            column = self.feature_names[bad.column]
            raise BadValueError(bad, column, first_row, len(X), may_miss=may_miss) from error
        reasons = None if not top else self.reasons(X, top) if found is None else self._as_reasons(X, *found)
        return np.asarray(errors), reasons

    @property
    def feature_names(self) -> list[str]:
        """As in the model or the table; ``x0``, ``x1`` … for a model and a table without names."""
        return self._columns or [f"x{j}" for j in range(self.n_features)]

    def _features(self, schema: pa.Schema) -> list[str] | None:
        """Names of the feature columns; None where the batch is one column of lists."""
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
        """Conformal p-values of rows with these errors."""
        return self.model.p_values_of(errors)

    def main_features(self, X: Any) -> NDArray[np.intp]:
        """For each row the position of the feature with the largest part of its error."""
        return np.asarray(np.argmax(self.model.feature_errors(X), axis=1))

    @property
    def _reasons_type(self) -> pa.DataType:
        return TOP_FEATURES_AS_TEXT if self.is_mixed else TOP_FEATURES

    def reasons(self, X: Any, top: int) -> pa.Array:
        """For each row its ``top`` features by share of the error, as lists of `TOP_FEATURES`; missing values are no
        reasons. Of columns of several kinds, value and expected value are text."""
        k = min(top, X.shape[1])
        if self.model.has_reasons(k):
            return self._as_reasons(X, *self.model.reasons(X, k)[1:])
        found: Any = self.model.explanation(X, k)
        counts = np.bincount(found["row"], minlength=len(X))
        values, expected = (_cells(found[name]) for name in ("value", "expected"))
        return self._lists(arrow_text(found["feature"]), values, expected, found["share"], counts)

    def _as_reasons(
        self, X: Any, columns: NDArray[Any], shares: NDArray[Any], expected: NDArray[Any], values: NDArray[np.float64]
    ) -> pa.Array:
        is_known = columns >= 0 if self.is_mixed else ~np.isnan(values)
        all_known = bool(is_known.all())
        counts = np.full(len(columns), columns.shape[1]) if all_known else is_known.sum(axis=1)

        def flat(part: NDArray[Any]) -> NDArray[Any]:
            return part.reshape(-1, *part.shape[2:]) if all_known else part[is_known]

        columns, shares, expected = map(flat, (columns, shares, expected))
        names = arrow_text(self.feature_names).take(arrow_array(columns))
        if not self.is_mixed:
            expected_values = arrow_array(expected.astype(np.float64, copy=False))
            return self._lists(names, arrow_array(flat(values)), expected_values, shares, counts)
        order: list[NDArray[Any]] = []
        texts: tuple[list[pa.Array], list[pa.Array]] = ([arrow_text([])], [arrow_text([])])
        for places, *parts in by_column(self.model.columns or (), columns, np.nonzero(is_known)[0], expected, X):
            order.append(places)
            for found, part in zip(texts, parts, strict=True):
                found.append(_text(part))
        back = np.empty(len(columns), dtype=np.int64)
        back[np.concatenate([*order, np.empty(0, np.int64)])] = np.arange(len(columns))
        cells, outputs = (pa.concat_arrays(found).take(arrow_array(back)) for found in texts)
        return self._lists(names, cells, outputs, shares, counts)

    def _lists(
        self, names: pa.Array, values: pa.Array, expected: pa.Array, shares: NDArray[Any], counts: NDArray[Any]
    ) -> pa.Array:
        """Reasons one after the other as lists of ``counts`` for each row."""
        fields = [names, values, expected, arrow_array(shares.astype(np.float64))]
        structs = pa.StructArray.from_arrays(fields, fields=list(self._reasons_type.value_type))
        return pa.ListArray.from_arrays(arrow_array(np.append(0, counts.cumsum()).astype(np.int32)), structs)


def _text(part: Shown) -> pa.Array:
    if not isinstance(part, tuple):
        return number_text(part)
    texts, which = part
    return (arrow_text(texts) if isinstance(texts, list) else texts).take(arrow_array(which))


def _cells(values: NDArray[Any]) -> pa.Array:
    if values.dtype != object:
        return arrow_array(values.astype(np.float64))
    return arrow_text(_worded(values))


def _worded(values: Iterable[Any]) -> list[str]:
    return [v if isinstance(v, str) else f"{v:.6g}" for v in values]


def _as_text(reasons: pa.Array) -> pa.Array:
    import pyarrow.compute as pc  # a tenth of the command's start, for those who need it

    names, *cells, shares = (reasons.flatten().field(name) for name in ("feature", "value", "expected", "share"))
    values, expected = (c if pa.types.is_string(c.type) else number_text(arrow_values(c)) for c in cells)
    percent = arrow_text([f"{p}%" for p in range(101)]).take(
        arrow_array(np.rint(100 * arrow_values(shares)).astype(np.int64))
    )
    text = pc.binary_join_element_wise(names, "=", values, " (expected ", expected, ", ", percent, ")", "")
    return pc.binary_join(pa.ListArray.from_arrays(reasons.offsets, text), "; ")


def model_of(model: Any) -> Model:
    """Return the `Model` of an estimator, a file's content or its path."""
    if isinstance(model, (bytes, bytearray, memoryview, str, Path)):
        return Model.load(model)
    if isinstance(model, Model):
        return model
    if not hasattr(type(model), "model_"):
        raise TypeError(f"model must be an estimator of aefast, or the path or bytes of a model file, got {model!r}")
    found: Model = model.model_
    return found


def _list_of_names(option: str, names: Sequence[str]) -> list[str]:
    if isinstance(names, str):
        raise ValueError(f"{option} must be a sequence of names, got {names!r}: write [{names!r}]")
    return list(names)
