"""The log of a command: Python's logger ``aefast``, and a file with one line for each event."""

from __future__ import annotations

import logging
import time
from pathlib import Path

#: Jobs log below it, as ``aefast.score``.
LOG = logging.getLogger("aefast")
LOG.addHandler(logging.NullHandler())

_FORMAT = "%(asctime)s %(levelname)s %(process)d %(message)s"


class _OneLine(logging.Formatter):
    """Writes a record on one line; times are UTC."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(super().format(record).split("\n"))


def start_log(path: Path) -> None:
    """Append events to a file until `stop_log`; raises OSError if that cannot be opened."""
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_OneLine(_FORMAT, "%Y-%m-%dT%H:%M:%SZ"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)


def stop_log() -> None:
    """Close the files of `start_log`."""
    for handler in [each for each in LOG.handlers if isinstance(each, logging.FileHandler)]:
        LOG.removeHandler(handler)
        handler.close()
