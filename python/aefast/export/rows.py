"""Made-up rows to compare an export with its model on."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import DAY
from aefast.export.program import Program
from aefast.model.model import Model
from aefast.model.reference import Reference

Array = NDArray[Any]
Columns = dict[str, Array]

N_ROWS = 500
# Rows without any number, rows with huge values, rare values that occur, and levels of usual rows.
_N_EMPTY, _N_HUGE, _MOST_RARE, _FREQUENT = 10, 10, 50, 3
_HUGE = 1e12
# Share of numbers of usual rows that are not the median, which keeps together what is related.
_MOVED = 0.15
# Share of missing values.
_MISSING = 0.1


def made_up_rows(model: Model, program: Program) -> tuple[Columns, Any]:
    """Return rows near, beside and far from the training rows: as columns of the program, and as the model reads them.

    Half of the rows are usual by each of their values. In the others, all levels, rare values and values never seen
    occur. If the model takes missing values, they occur in both, also in all numbers of a row.
    """
    rng = np.random.default_rng(0)
    columns: Columns = {}
    first = 0
    shift, scale = model.scaling.shift, model.scaling.scale
    texts = {step.inputs[0].name: step.constants for step in program.steps if step.op == "level"}
    is_usual = rng.random(N_ROWS) < 0.5
    kinds = model.columns or [None] * len(program.inputs)
    for index, (source, column) in enumerate(zip(program.inputs, kinds, strict=True)):
        if source.value.kind == "text":
            level = texts[source.value.name]
            rare = rng.permutation(level["hashes"])[:_MOST_RARE]
            found = [*level["levels"], *(text_of_hash(int(each)) for each in rare), "a level never seen"]
            values = rng.choice(np.array(found, dtype=object), N_ROWS)
            assert column is not None
            usual = [level for level in column.levels if level is not None]
            if usual:  # the most frequent ones
                values[is_usual] = rng.choice(np.array(usual[:_FREQUENT], dtype=object), is_usual.sum())
            if model.missing != "error":
                values[rng.random(N_ROWS) < _MISSING] = ""
            columns[source.column] = values
        elif source.is_time:
            values = np.round(rng.uniform(1.5e9, 1.8e9, N_ROWS), 3)
            of_day = _only_time_of_day(model, first)
            if of_day is not None:
                values[is_usual] += of_day - values[is_usual] % DAY
            columns[source.column] = values
        else:
            spread = np.where(is_usual, 0.3, rng.choice([0.5, 3.0, 30.0], N_ROWS))
            values = shift[first] + scale[first] * spread * rng.normal(size=N_ROWS)
            if model.reference is not None:
                values[is_usual] = _usual_numbers(model.reference, index, rng)[is_usual]
            values[_N_EMPTY : _N_EMPTY + _N_HUGE] *= _HUGE ** rng.random(_N_HUGE)
            columns[source.column] = values
        if source.value.kind != "text" and model.missing != "error":
            columns[source.column][rng.random(N_ROWS) < _MISSING] = np.nan
            columns[source.column][:_N_EMPTY] = np.nan
        first += 1 if column is None else column.width
    if model.columns is None:
        return columns, np.column_stack([columns[each.column] for each in program.inputs])
    return columns, table_of_columns(program, columns)


def _only_time_of_day(model: Model, first: int) -> float | None:
    """Return the seconds after midnight of all times in training of the column with this first element, if equal."""
    if model.distances is None or first not in model.distances.elements:
        return None
    at = int(np.searchsorted(model.distances.elements, first))
    low, high = (each[at : at + 2] for each in (model.distances.low, model.distances.high))
    if not np.allclose(low, high):
        return None
    return float(np.round(np.arctan2(*low) / (2 * np.pi) % 1 * DAY) % DAY)


def _usual_numbers(reference: Reference, column: int, rng: np.random.Generator) -> Array:
    """Return numbers (n,) between the outer quantiles of a column in training, most of them near its median."""
    reached = np.cumsum(reference.counts.bins[column])
    shares = np.where(rng.random(N_ROWS) < _MOVED, rng.uniform(0.2, 0.8, N_ROWS), 0.5)
    at = np.searchsorted(reached, shares * reached[-1])
    found: Array = reference.edges[column][np.minimum(at, reference.edges.shape[1] - 1)]
    return found


def text_of_hash(crc: int) -> str:
    """Return a text of letters that has a CRC-32, which is linear in the bits of the text.

    Examples
    --------
    >>> import zlib
    >>> from aefast.export.rows import text_of_hash
    >>> zlib.crc32(text_of_hash(123456789).encode())
    123456789
    """
    base = b"`" * 12
    wanted = crc ^ zlib.crc32(base)
    # Each byte may be any of 16, so there are 48 bits, of which 32 are chosen by elimination.
    by_lead: dict[int, tuple[int, int]] = {}
    for bit in range(48):
        flipped = bytearray(base)
        flipped[bit // 4] ^= 1 << bit % 4
        effect, bits = _reduced(zlib.crc32(flipped) ^ zlib.crc32(base), 1 << bit, by_lead)
        if effect:
            by_lead[effect.bit_length()] = effect, bits
    _, bits = _reduced(wanted, 0, by_lead)
    return bytes(each ^ (bits >> 4 * at & 15) for at, each in enumerate(base)).decode()


def _reduced(effect: int, bits: int, by_lead: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return an effect without the leading bits that are known, and the bits of the text that have it."""
    for lead in range(32, 0, -1):
        if effect.bit_length() == lead and lead in by_lead:
            effect, bits = effect ^ by_lead[lead][0], bits ^ by_lead[lead][1]
    return effect, bits


def table_of_columns(program: Program, columns: Columns) -> Any:
    """Return an Arrow table of the columns that a program reads; NaN and empty text are null."""
    import pyarrow as pa

    table = {}
    for source in program.inputs:
        values = columns[source.column]
        if source.value.kind == "text":
            table[source.column] = pa.array([value or None for value in values])
        elif source.is_time:
            whole = np.nan_to_num(values * 1e6).astype(np.int64)
            table[source.column] = pa.array(whole, mask=np.isnan(values)).cast(pa.timestamp("us"))
        else:
            table[source.column] = pa.array(values, from_pandas=True)
    return pa.table(table)
