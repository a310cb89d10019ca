"""Columns of text in CSV files that look like something else, but for a few cells or how it is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from aefast.tables.source import Source
from aefast.tables.text import NUMBER

__all__ = ["lookalikes"]

_WITH_COMMA = r"[-+]?[\d.]*,\d+"
_DATE = r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(\s.*)?"


def lookalikes(source: Source, columns: Sequence[str]) -> Iterator[str]:
    """What to say of those of the text columns that look like numbers or dates, by the first rows of each file."""
    for file in source.files:
        texts = [n for n in columns if pa.types.is_string(file.schema.field(n).type) and n not in file.guessed]
        if file.types_are_guessed and texts:
            for batch in file.batches(texts, 1 << 16):
                for name in texts:
                    looks = _looks(batch.column(name))
                    if looks:
                        yield (
                            f"{file.path}, column {name!r} is learned as categories, but looks like {looks}, or give "
                            f"--kind-of {name}=categorical"
                        )
                break


def _looks(column: pa.Array) -> str | None:
    import pyarrow.compute as pc

    def matches(pattern: str) -> pa.Array:
        return pc.fill_null(pc.match_substring_regex(column, rf"^\s*({pattern})\s*$"), False)

    is_told = pc.and_(pc.is_valid(column), pc.invert(matches("")))
    n_values = is_told.true_count

    def cell(which: pa.Array) -> str:
        row = pc.index(which, True).as_py()
        text = column[row].as_py()
        return f"row {row}: {text[:40]!r}"

    def all_but_few(found: pa.Array) -> bool:
        return bool(n_values / 2 < found.true_count >= n_values - max(1, n_values // 10))

    numbers = matches(NUMBER)
    if all_but_few(numbers):
        others = pc.and_(is_told, pc.invert(numbers))
        if others.true_count:
            return f"numbers, all but {others.true_count:,} of {n_values:,} cells ({cell(others)}); correct them"
    if all_but_few(matches(f"{NUMBER}|{_WITH_COMMA}")):
        return f"numbers with decimal commas ({cell(matches(_WITH_COMMA))}); write points"
    dates = matches(_DATE)
    if all_but_few(dates):
        return f"dates ({cell(dates)}); write them as in 2024-12-31"
    return None
