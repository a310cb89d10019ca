"""Collects what users give as rows: lazy frames, one-shot streams, masked and labelled arrays become plain ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

from aefast.tables.arrow import plain_rows

#: Methods that compute a lazy table or array, in the order in which they are looked for.
_COMPUTING = ("toPandas", "collect", "compute", "to_table")


def collected(X: Any) -> Any:
    """Return ``X`` as an array, a data frame or an Arrow table that can be read more than once, if it is none yet.

    Lazy tables and arrays (of polars, dask, PySpark) are computed. An Arrow stream is read into a table. An array with
    named dimensions (of xarray) and a masked array become NumPy arrays; masked values become NaN. Everything else,
    also lists and single columns, is returned as it is.

    Raises
    ------
    TypeError
        If ``X`` is an iterator, such as a generator.
    ImportError
        If ``X`` needs pyarrow, which is not installed.
    """
    if type(X) is np.ndarray:
        return X
    kind = type(X)
    method = next((name for name in _COMPUTING if callable(getattr(kind, name, None))), None)
    if method is not None and not isinstance(X, np.ndarray):
        X = getattr(X, method)()
    if isinstance(X, np.ma.MaskedArray):
        return _with_nan(X)
    if isinstance(X, np.ndarray) or hasattr(X, "iloc"):
        return X
    kind = type(X)
    # Arrays offer Arrow's streams too, which say nothing of their dimensions.
    is_array = hasattr(kind, "__array__") and hasattr(kind, "shape")
    if is_array and not (hasattr(kind, "columns") or hasattr(kind, "column_names")):
        return np.asarray(X)
    if hasattr(kind, "__arrow_c_stream__") or hasattr(kind, "__arrow_c_array__") or hasattr(kind, "__dataframe__"):
        return _arrow_table(X)
    if isinstance(X, Iterator):
        raise TypeError(
            f"X is a {kind.__name__}, which gives its rows only once: give the array or table of all rows, "
            "numpy.array(list(X)) for instance, or give blocks of rows to fit_batches"
        )
    return X


def table_of(X: Any) -> Any:
    """Return a data frame or an Arrow table that was `collected` as it is, and None for anything else."""
    is_frame = hasattr(X, "iloc") and getattr(X, "ndim", 0) == 2
    return X if is_frame or (hasattr(type(X), "column_names") and hasattr(type(X), "schema")) else None


class Blocks:
    """Blocks of rows, each of which is `collected` when it is reached; blocks without rows are left out."""

    def __init__(self, blocks: Iterable[Any]) -> None:
        # Streams in a list could be read only once.
        self._blocks = [_read_now(block) for block in blocks] if isinstance(blocks, list | tuple) else blocks

    def only(self, names: list[str]) -> Blocks:
        """Return blocks that have these columns at least."""
        return Blocks(self._blocks.only(names)) if hasattr(self._blocks, "only") else self

    def __iter__(self) -> Iterator[Any]:
        return filter(_has_rows, map(collected, self._blocks))


def _has_rows(block: Any) -> bool:
    """Whether a block has rows; a block without a length may have some."""
    return not hasattr(block, "__len__") or len(block) > 0


def _read_now(block: Any) -> Any:
    """Return a stream as a table, other blocks as they are."""
    is_stream = hasattr(type(block), "__arrow_c_stream__") and not hasattr(type(block), "__len__")
    return collected(block) if is_stream else block


def _with_nan(X: Any) -> Any:
    """Return a masked array as a plain one with NaN for the masked values."""
    if not np.ma.is_masked(X):
        return X.data
    dtype = X.dtype if X.dtype.kind in "fO" else np.float64
    return X.astype(dtype).filled(np.nan)


def _arrow_table(X: Any) -> Any:
    """Return ``X`` as a ``pyarrow.Table``, or as it is if it is a single column or NumPy has to read it."""
    offers_arrow = hasattr(X, "__arrow_c_stream__") or hasattr(X, "__arrow_c_array__")
    if find_spec("pyarrow") is None:
        if hasattr(X, "__array__"):
            return X
        raise ImportError(f"reading a {type(X).__name__} needs pyarrow: pip install pyarrow")
    import pyarrow as pa

    if offers_arrow:
        try:
            # pa.table would import pandas to see whether a table is a data frame.
            return plain_rows(X if isinstance(X, pa.Table) else pa.table(X))
        except (TypeError, pa.ArrowInvalid):
            # This is a single column, for which scikit-learn has a message.
            return X
    from pyarrow.interchange import from_dataframe

    return plain_rows(pa.table(from_dataframe(X)))
