"""Converts times and durations in pandas and Arrow columns to numbers."""

from __future__ import annotations

import re
import warnings
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from aefast.tables.arrow import arrow_values, is_text

#: The end of a time that is written with its offset from UTC.
_OFFSET = r":\d\d(?:\.\d+)?\s*(?:[Zz]|[-+]\d\d(?::?\d\d)?)\s*$"
_UNITS_UNKNOWN = (
    "these are numbers without a unit or a start; convert them to times, with pandas.to_datetime(values, unit='s') for "
    "instance"
)


_YEAR = re.compile(r"(?<!\d)\d{4}(?!\d)")


def zone_of(values: Any) -> str | None:
    """Return the name of the time zone of a column of times; None if it has none, or one without a name."""
    zone = getattr(_type_of(values), "tz", None)
    name = str(getattr(zone, "key", None) or getattr(zone, "zone", None) or zone)
    return name if _is_zone(name) else None


def checked_zone(zone: Any) -> str | None:
    """Return the name of a time zone of a file as it is; ValueError if it is none."""
    if zone is not None and (not isinstance(zone, str) or not _is_zone(zone)):
        raise ValueError(f"{str(zone)[:40]!r} is no time zone that this machine knows")
    return zone


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):  # such as an offset from UTC
        return False
    return True


def _type_of(values: Any) -> Any:
    """Return the type of a column of pandas or Arrow."""
    return getattr(values.dtype, "pyarrow_dtype", values.dtype) if hasattr(values, "iloc") else values.type


def in_zone(values: Any, zone: str | None) -> Any:
    """Return times that have a time zone as the same instants in another ``zone``, and everything else as it is."""
    kind = _type_of(values)
    if zone is None or getattr(kind, "tz", None) is None:
        return values
    if hasattr(values, "iloc"):
        return values.dt.tz_convert(zone)
    import pyarrow as pa

    return values.cast(pa.timestamp(kind.unit, zone))


def seconds_since_1970(values: Any) -> NDArray[np.float64]:
    """Return times and dates, or their ISO text, as seconds since 1970 in local time; missing times are NaN.

    Times of the day alone are those of the first day. Text with an offset is converted to UTC, as Arrow does when it
    reads CSV files.

    Raises
    ------
    ValueError
        If the values are not times. Numbers are not.
    """
    return _of_pandas(values) if hasattr(values, "iloc") else _of_arrow(values)


def of_first_day(clock: Any) -> Any:
    """Return a `datetime.time` on 1 January 1970; missing times stay as they are."""
    return datetime.combine(datetime.min.replace(year=1970), clock) if isinstance(clock, time) else clock


def _of_pandas(values: Any) -> NDArray[np.float64]:
    import pandas as pd

    if values.dtype.kind != "M":
        values = values.astype(object)
        held = pd.api.types.infer_dtype(values, skipna=True)
        if held in ("integer", "floating", "mixed-integer-float", "mixed-integer", "decimal", "complex", "boolean"):
            raise ValueError(_UNITS_UNKNOWN)
        if held == "mixed":
            values, held = values.where(values.isna(), values.map(str)), "string"
        if held == "time":
            values = values.map(of_first_day)
        values = _pandas_texts(values) if held == "string" else pd.to_datetime(values)
    times = values.dt.tz_localize(None)
    stamps = in_microseconds(times.to_numpy())
    return np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / 1e6)


def in_microseconds(times: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """Return times as datetime64[us]; NaT for those beyond what it holds, 292,000 years before and after 1970."""
    if np.datetime_data(times.dtype)[0] in ("Y", "M", "W", "D", "h", "m", "s", "ms"):
        last = np.datetime64((1 << 63) - 1, "us").astype(times.dtype)
        is_far = np.abs(times.astype(np.int64)) >= last.astype(np.int64)
        times = np.where(is_far, np.array("NaT", times.dtype), times)
    return times.astype("datetime64[us]")


def _pandas_texts(texts: Any) -> Any:
    """Return text as times, in UTC if any has an offset.

    Raises
    ------
    ValueError
        If a text is not a time, has no year, or its day and month are ambiguous.
    """
    import pandas as pd

    has_offset = bool(texts.dropna().str.contains(_OFFSET).any())
    times = pd.to_datetime(texts, utc=has_offset, format="ISO8601", errors="coerce")
    is_other = times.isna() & texts.notna() & (texts.str.strip() != "")
    if not is_other.any():
        return times
    others = texts[is_other]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the order of day and month, which is checked here
        by_month, by_day = (
            pd.to_datetime(others, utc=has_offset, format="mixed", dayfirst=is_first) for is_first in (False, True)
        )
    is_unclear = (by_month != by_day) | ~others.str.contains(_YEAR)
    if is_unclear.any():
        first = int(is_unclear.to_numpy().argmax())
        raise ValueError(
            f"{others.iloc[first]!r} in row {np.flatnonzero(is_other)[first]} can be read as different times: convert "
            "the column with pandas.to_datetime(values, format=...)"
        )
    return times.mask(is_other, by_month)


def _of_arrow(values: Any) -> NDArray[np.float64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    if (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    ):
        raise ValueError(_UNITS_UNKNOWN)
    if is_text(kind):
        values = _arrow_texts(values)
    elif pa.types.is_time(kind):
        values = values.cast(pa.time64("us"), safe=False).cast(pa.int64())
    elif pa.types.is_timestamp(kind) and kind.tz is not None:
        values = pc.local_timestamp(values)
    stamps = values.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    seconds: NDArray[np.float64] = arrow_values(stamps.cast(pa.float64(), safe=False)) / 1e6
    return seconds


def _arrow_texts(texts: Any) -> Any:
    """Return ISO text as times, in UTC if any has an offset; blank text is a missing time, as in pandas."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, texts.type), texts)
    has_offset = pc.any(pc.match_substring_regex(texts, _OFFSET)).as_py()
    zone = "UTC" if has_offset else None
    try:
        return texts.cast(pa.timestamp("us", zone))
    except pa.ArrowInvalid:  # more than six decimals do not fit microseconds
        return texts.cast(pa.timestamp("ns", zone))
