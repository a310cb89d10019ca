"""The exceptions of aefast, and errors with remedies that other interfaces can reword."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

E = TypeVar("E", bound=Exception)


class AefastError(Exception):
    """Base of the exceptions that only aefast raises."""


class ConvergenceError(AefastError):
    """Training diverged: a loss or a weight is no longer finite.

    The message names the epoch, the loss and a remedy; the estimator keeps its last good weights and can be used.
    """


class ModelFileError(AefastError, ValueError):
    """A model file is truncated, altered, of a newer format, or not a model; the message says which."""


def with_remedies(kind: type[E], problem: str, remedies: Mapping[str, str]) -> E:
    """Make an error whose message is the problem and its remedies.

    ``remedies`` maps a parameter of the estimators to what to do with it. The error keeps both as ``problem`` and
    ``remedies``, so that an interface with other parameters can make the same error with remedies of its own.
    """
    error = kind(f"{problem}; {' or '.join(remedies.values())}" if remedies else problem)
    vars(error).update(problem=problem, remedies=remedies)
    return error
