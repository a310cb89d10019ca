"""Training rows: read by a copy of the estimator, so that a refused fit changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from numpy.typing import NDArray

from aefast.columns.column import by_kind
from aefast.columns.learner import UnknownLevels, learn_from_blocks
from aefast.tables.collect import collected
from aefast.tables.text import printable

Array = NDArray[Any]

#: Where the levels come from that earlier training has learned, and what to do about other levels.
FITTED_FIRST = ("the rows fitted first", "let these have all levels")
FIRST_BLOCK = ("the first block", "pass a list of blocks instead, whose levels are all learned")


def copied(estimator: Any, *, with_model: bool = True, **changes: Any) -> Any:
    """Return a copy of an estimator, without its model or with other parameters; all else is shared."""
    cls: Any = type(estimator)
    copy = cls.__new__(cls)
    vars(copy).update({name: value for name, value in vars(estimator).items() if with_model or name != "model_"})
    vars(copy).update(changes)
    return copy


def read_to_fit(estimator: Any, X: Any, *, keeps: bool, stacklevel: int) -> tuple[Any, Any, Array]:
    """Return the copy that has read ``X``, ``X`` itself, which may have been a stream, and its rows.

    With ``keeps`` columns are those of earlier training.
    """
    X, reader = collected(X), copied(estimator, with_model=keeps)
    rows = reader._read(X, reset=not keeps)
    if keeps:
        later = UnknownLevels(reader.columns_)
        later.add(rows)
        later.warn(*FITTED_FIRST, stacklevel=stacklevel)
    else:
        settle_columns(reader)
    return reader, X, rows


def settle_columns(reader: Any, of: str = "") -> None:
    """Refuse columns that cannot be learned, now that all rows were read; show the others' kinds with ``verbose``.

    ``of`` says where the levels come from.
    """
    if reader.refusal:
        raise ValueError(reader.refusal)
    if reader.verbose and reader.columns_ is not None:
        sys.stderr.writelines(f"{kind}: {printable(names)}\n" for kind, names in by_kind(reader.columns_, of))


def read_first_block(
    estimator: Any, batches: Iterable[Any], *, once: bool, keeps: bool
) -> tuple[Any, tuple[Any, Array], Iterator[Any]]:
    """Return a copy of the estimator that has learned the columns, the first block with its rows, and the other blocks.

    ``once`` says that the blocks cannot be read again, ``keeps`` that kinds and levels of columns stay as they are.
    """
    reader, blocks = copied(estimator, with_model=keeps), iter(batches)
    try:
        block = next(blocks)
    except StopIteration:
        raise ValueError("fit_batches needs at least one block of rows, got none") from None
    first = reader._read(block, reset=not keeps)
    if not keeps:
        learned = None if once else learn_from_blocks(block, batches, estimator.column_kinds)
        if learned is not None:
            reader.columns_, reader.refusal = learned
            blocks = iter(batches)
            block = next(blocks)
            first = reader._read(block, reset=False)
        settle_columns(reader, " of the first block" if once else "")
    return reader, (block, first), blocks
