"""The label column of a table (1 for known anomalies, 0 for other rows), and the quality of scores against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.tables.arrow import arrow_values
from aefast.tables.formats.base import TableError
from aefast.tables.numbers import feature_matrix, is_number
from aefast.tables.source import Source

#: Stands for the label of rows that have none: null or NaN.
UNLABELLED = -1


class Labels:
    """Reads the label column of a source's batches.

    Call it with each batch, in order. It returns int8: 1, 0 or `UNLABELLED`.

    Raises
    ------
    TableError
        On construction if the type of the column cannot hold labels; on a call if a value is not 0, 1, true, false or
        missing. The message names file and row.
    """

    _MUST = "it must hold 0 and 1, or true and false; leave unknown labels empty"

    def __init__(self, source: Source, column: str) -> None:
        self._source, self._column, self._n_read = source, column, 0
        for file in source.files:
            kind = file.schema.field(column).type
            is_text = file.types_are_guessed and pa.types.is_string(kind)
            if not is_number(kind) and not pa.types.is_null(kind) and not is_text:
                raise TableError(f"{file.path}: label column {column!r} is {kind}; {self._MUST}")

    def __call__(self, batch: pa.RecordBatch) -> NDArray[np.int8]:
        column = batch.column(self._column)
        if pa.types.is_string(column.type):
            cells = column.dictionary_encode()
            labels = [_label(text) for text in cells.dictionary.to_pylist()]
            places = arrow_values(cells.indices.fill_null(len(labels)))
            values: NDArray[Any] = np.asarray([*labels, UNLABELLED])[places]
            bad = np.isnan(values)
        else:
            values = feature_matrix(batch.select([self._column]), [self._column])[:, 0].astype(np.float64)
            is_missing = np.isnan(values)
            bad = ~np.isin(values, (0, 1)) & ~is_missing
            values[is_missing] = UNLABELLED
        if bad.any():
            row = int(np.argmax(bad))
            place = self._source.place(self._n_read + row)
            found = column[row].as_py()
            raise TableError(f"{place} (the first is row 0), label column {self._column!r}: {found!r}; {self._MUST}")
        self._n_read += len(values)
        return values.astype(np.int8)

    def check(self) -> None:
        """Check all labels before other work starts, unless that would parse whole text files."""
        if not any(file.reads_all_columns for file in self._source.files):
            labels = Labels(self._source, self._column)
            for batch in self._source.batches([self._column]):
                labels(batch)


def with_label(columns: Sequence[str] | None, label: str | None) -> list[str]:
    """Return the columns and, if there is one, the label column."""
    return [*(columns or ()), *(() if label is None else (label,))]


def _label(text: str) -> float:
    """Return the label in a cell of a text file; NaN if it is not a label."""
    from pyarrow.csv import ConvertOptions

    text = text.strip()
    if text in ConvertOptions().null_values:
        return UNLABELLED
    try:
        number = float({"false": "0", "true": "1"}.get(text.lower(), text))
    except ValueError:
        return np.nan
    return number if number in (0, 1) else np.nan


def judgement(labels: NDArray[Any], scores: NDArray[Any], threshold: float) -> dict[str, Any] | None:
    """Return `aefast.evaluate` of the rows with labels; None if all labels are equal, which is not an error."""
    known = labels != UNLABELLED
    labels, scores = labels[known].astype(bool), scores[known]
    if not labels.any() or labels.all():
        return None
    from aefast.scoring.evaluation import evaluate

    return dict(evaluate(labels, scores, threshold))
