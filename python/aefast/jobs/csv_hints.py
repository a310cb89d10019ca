"""Hints about text columns of CSV files that look like numbers or dates, but for a few cells or their notation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import pyarrow as pa

from aefast.tables.source import Source
from aefast.tables.text import NUMBER, option_of

_WITH_COMMA = r"[-+]?[\d.]*,\d+"
_DATE = r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(\s.*)?"
_FIRST_ROWS = 1 << 16


def csv_hints(source: Source, columns: Sequence[str]) -> Iterator[str]:
    """One message for each of the text columns that looks like numbers or dates in the first rows of a file."""
    for file in source.files:
        texts = [n for n in columns if pa.types.is_string(file.schema.field(n).type) and n not in file.guessed]
        if not (texts and file.types_are_guessed):
            continue
        for batch in islice(file.batches(texts, _FIRST_ROWS), 1):
            for name in texts:
                looks = _looks_like(batch.column(name))
                if looks:
                    yield (
                        f"{file.path}, column {name!r} is learned as categories, but looks like {looks}, or give "
                        f"--kind-of {option_of([name], '=categorical')}"
                    )


def _looks_like(column: pa.Array) -> str | None:
    """Describe the apparent format of the cells, the first exception and a remedy; None if they are text."""
    import pyarrow.compute as pc

    def matches(pattern: str) -> pa.Array:
        return pc.fill_null(pc.match_substring_regex(column, rf"^\s*({pattern})\s*$"), False)

    has_value = pc.and_(pc.is_valid(column), pc.invert(matches("")))
    n_values = has_value.true_count

    def first(which: pa.Array) -> str:
        row = pc.index(which, True).as_py()
        text = column[row].as_py()
        return f"row {row}: {text[:40]!r}"

    def all_but_few(found: pa.Array) -> bool:
        return bool(n_values / 2 < found.true_count >= n_values - max(1, n_values // 10))

    numbers = matches(NUMBER)
    if all_but_few(numbers):
        others = pc.and_(has_value, pc.invert(numbers))
        if others.true_count:
            return f"numbers, all but {others.true_count:,} of {n_values:,} cells ({first(others)}); correct them"
    with_comma = matches(_WITH_COMMA)
    if with_comma.true_count and all_but_few(pc.or_(numbers, with_comma)):
        return f"numbers, some of them with decimal commas ({first(with_comma)}); write decimal points"
    dates = matches(_DATE)
    if all_but_few(dates):
        return f"dates ({first(dates)}); give their form, like --time-format %d/%m/%Y"
    return None
