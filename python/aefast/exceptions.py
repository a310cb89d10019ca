"""The exceptions of aefast, and errors with remedies that other interfaces can reword."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

E = TypeVar("E", bound=Exception)


class AefastError(Exception):
    """Base of the exceptions that only aefast raises.

    See Also
    --------
    ConvergenceError : Training diverged.
    ModelFileError : A model file cannot be read.

    Examples
    --------
    >>> import aefast
    >>> try:
    ...     aefast.load(b"something else")
    ... except aefast.AefastError as error:
    ...     print(type(error).__name__)
    ModelFileError
    """


class ConvergenceError(AefastError):
    """Training diverged: a loss or a weight is no longer finite.

    The message names the epoch, the loss and a remedy; the estimator keeps its last good weights and can be used.

    See Also
    --------
    Autoencoder : Its ``learning_rate`` and ``clip_norm`` are the usual remedies.

    Examples
    --------
    >>> import numpy as np
    >>> import aefast
    >>> X = np.random.default_rng(0).normal(size=(500, 9))
    >>> try:
    ...     aefast.Autoencoder(optimizer="sgd", learning_rate=1e6, random_state=0).fit(X)
    ... except aefast.ConvergenceError as error:
    ...     print("learning_rate" in str(error))
    True
    """


class ModelFileError(AefastError, ValueError):
    """A model file is truncated, altered, of a newer format, or not a model; the message says which.

    See Also
    --------
    load : Reads model files.

    Examples
    --------
    >>> import aefast
    >>> try:
    ...     aefast.load(b"something else")
    ... except aefast.ModelFileError as error:
    ...     print("not an aefast model" in str(error))
    True
    """


def with_remedies(kind: type[E], problem: str, remedies: Mapping[str, str]) -> E:
    """Make an error whose message is the problem and its remedies.

    ``remedies`` maps a parameter of the estimators to what to do with it. The error keeps both as ``problem`` and
    ``remedies``, so that an interface with other parameters can make the same error with remedies of its own.
    """
    error = kind(f"{problem}; {' or '.join(remedies.values())}" if remedies else problem)
    vars(error).update(problem=problem, remedies=remedies)
    return error
