"""Errors about the values of scored batches. Their messages can name the file of a row."""

from __future__ import annotations

from aefast.exceptions import AefastError
from aefast.tables.formats.base import TableError
from aefast.tables.numbers import NonFinite


class BadValueError(AefastError, ValueError):
    """Missing or infinite values where the model needs numbers.

    Attributes
    ----------
    row : int
        Number of the first such row, counted from 0 over all rows given to `Scorer.score`.
    column : str
    count : int
        Number of such values in its batch.
    may_miss : bool
        True if the model accepts missing values, so that these values are infinite.
    """

    def __init__(
        self, found: NonFinite, column: str, batch_start: int, batch_rows: int, *, may_miss: bool = False
    ) -> None:
        self._found, self._batch_start, self._last_row = found, batch_start, batch_start + batch_rows - 1
        self.column: str = column
        self.count: int = found.count
        self.may_miss: bool = may_miss
        self.row: int = batch_start + found.row
        super().__init__(self.describe(f"row {self.row}"))

    def describe(self, place: str, *, for_command: bool = False) -> str:
        """Return the message with the place of the first row, which may name a file, and the remedies.

        These are options if they are ``for_command``, else parameters.
        """
        what = "infinite values" if self.may_miss else "missing or infinite values"
        if for_command:
            missing, bad = "--missing mask or mean", "give --on-bad null or skip"
        else:
            missing, bad = "missing='mask' or 'mean'", "set on_bad='null' or 'skip'"
        model = f", or fit a model with {missing}" if self._found.are_missing else ""
        remedy = f"; fill or drop such rows{model}, or {bad}"
        return self._found.message(
            f"rows {self._batch_start} to {self._last_row} have {what}",
            f"{place} (the first is row 0)",
            self.column,
            remedy,
        )

    def of_row(self, row: str) -> str:
        """Return the message for a row that is called by its key, among the rows of a partition."""
        more = f" ({self.count} such values in this batch)" if self.count > 1 else ""
        remedy = ", or fit a model with missing='mask' or 'mean'" if self._found.are_missing else ""
        return (
            f"{row} cannot be scored: column {self.column!r} is {self._found.value}{more}; fill or drop such rows, get "
            f"null scores for them with on_bad='null'{remedy}"
        )


class MisfitError(TableError):
    """Rows whose columns are of other types than those that the model was fitted on.

    Attributes
    ----------
    row : int
        Number of the first row of the batch, counted from 0 over all rows given to `Scorer.score`.
    """

    def __init__(self, row: int, n_rows: int, reason: str) -> None:
        self.row: int = row
        self.n_rows: int = n_rows
        self.reason: str = reason
        super().__init__(self.describe(f"row {row}"))

    def describe(self, place: str) -> str:
        """Return the message with the place of the first row, which may name a file."""
        return f"{place} and the {self.n_rows - 1} after it (the first is row 0): {self.reason}"
