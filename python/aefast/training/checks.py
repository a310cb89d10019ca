"""Checks of the fields of small frozen objects (optimizers, schedules), with messages of one form.

Numbers of other types, such as NumPy's, become Python numbers, which can be compared, printed and saved.
"""

from collections.abc import Callable
from math import isfinite
from numbers import Integral, Real


def require_number(owner: object, field: str, wanted: str, holds: Callable[[float], bool]) -> None:
    """Raise ValueError unless the field is a finite number for which ``holds`` is true; ``wanted`` describes them."""
    value = getattr(owner, field)
    is_number = not isinstance(value, bool) and isinstance(value, Real) and isfinite(value)
    if not is_number or not holds(value):
        raise ValueError(f"{type(owner).__name__}: {field} must be {wanted}, got {value!r}")
    object.__setattr__(owner, field, int(value) if isinstance(value, Integral) else float(value))


def require_count(owner: object, field: str, least: int) -> None:
    """Raise ValueError unless the field is an integer of at least ``least``."""
    value = getattr(owner, field)
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{type(owner).__name__}: {field} must be an integer, at least {least}, got {value!r}")
    object.__setattr__(owner, field, int(value))
