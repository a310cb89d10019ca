"""Compares error messages word for word, because users read them."""

from contextlib import contextmanager

import pytest

#: The end of a message about missing values.
TAKES_MISSING = "; missing='mask' or 'mean' takes NaN for missing values"


@contextmanager
def raises_exactly(kind, message):
    """Check that the block raises ``kind`` with exactly ``message``, which is one line."""
    with pytest.raises(kind) as error:
        yield
    assert str(error.value) == message
    assert "\n" not in message
