"""What aefast raises beyond the exceptions of Python and scikit-learn."""


class AefastError(Exception):
    """Base of the exceptions that only aefast raises."""


class ConvergenceError(AefastError):
    """Training diverged: a loss or a weight is no longer finite.

    The message names the epoch, the loss and a remedy; the estimator keeps its last good weights and can be used.
    """


class ModelFileError(AefastError, ValueError):
    """A model file is truncated, altered, of a newer format, or not a model; the message says which."""
