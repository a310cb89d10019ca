"""Training rows: read by a copy of the estimator, so that a refused fit changes nothing."""

from __future__ import annotations

import sys
from typing import Any

from numpy.typing import NDArray

from aefast.columns.column import by_kind
from aefast.columns.learner import UnknownLevels
from aefast.tables.text import printable

Array = NDArray[Any]

#: Where the levels come from that earlier training has learned, and what to do about other levels.
FITTED_FIRST = ("the rows fitted first", "let these have all levels")


def reader_of(estimator: Any, *, keeps: bool) -> Any:
    """Return a copy of the estimator that reads training rows and records what it learns of their columns.

    With ``keeps`` the copy has the columns of earlier training.
    """
    cls: Any = type(estimator)
    reader = cls.__new__(cls)
    vars(reader).update({name: value for name, value in vars(estimator).items() if keeps or name != "model_"})
    return reader


def read_to_fit(estimator: Any, X: Any, *, keeps: bool, stacklevel: int) -> tuple[Any, Array]:
    """Return the copy that has read ``X``, and its rows; with ``keeps`` columns are those of earlier training."""
    reader = reader_of(estimator, keeps=keeps)
    rows = reader._read(X, reset=not keeps)
    if keeps:
        later = UnknownLevels(reader.columns_)
        later.add(rows)
        later.warn(*FITTED_FIRST, stacklevel=stacklevel)
    else:
        settle_columns(reader)
    return reader, rows


def settle_columns(reader: Any, of: str = "") -> None:
    """Refuse columns that cannot be learned, now that all rows were read; show the others' kinds with ``verbose``.

    ``of`` says where the levels come from.
    """
    if reader.refusal:
        raise ValueError(reader.refusal)
    if reader.verbose and reader.columns_ is not None:
        sys.stderr.writelines(f"{kind}: {printable(names)}\n" for kind, names in by_kind(reader.columns_, of))
