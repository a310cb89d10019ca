"""`load`: a fitted estimator from a model file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aefast.estimators.files import restored
from aefast.model import file

if TYPE_CHECKING:
    from aefast.estimators.base import BaseAutoencoder


def load(source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> BaseAutoencoder:
    """Load a fitted estimator from a model file.

    Safe with files from anywhere: sizes are checked before anything is allocated, nothing in the file is run, and
    memory stays in proportion to the file.

    Parameters
    ----------
    source : str, path-like or bytes
        The file's path or its content.

    Returns
    -------
    estimator
        Of the class that was saved, with its parameters and fitted attributes.

    Raises
    ------
    ModelFileError
        If the file is truncated, altered, of a newer format, or not a model; the message says which.
    OSError
        If there is no such file, or it cannot be read.

    Examples
    --------
    >>> import tempfile, os
    >>> import numpy as np
    >>> import aefast
    >>> X = np.random.default_rng(0).normal(size=(200, 9))
    >>> model = aefast.Autoencoder((4,), max_epochs=2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.safetensors")
    ...     model.save(path)
    ...     again = aefast.load(path)
    >>> bool((again.score_samples(X) == model.score_samples(X)).all())
    True
    """
    with file.opened(source) as (document, tensors):
        estimator: BaseAutoencoder = restored(document, tensors)
        return estimator
