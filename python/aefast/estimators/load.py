"""`load`: a fitted estimator from a model file."""

from __future__ import annotations

import os
from typing import Any

from aefast.estimators.files import restored
from aefast.estimators.fleet import Fleet
from aefast.model import file, fleet_file
from aefast.model.container import valid


def load(source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> Any:
    """Load a fitted estimator from a model file, or a `Fleet` from its file.

    Safe with files from anywhere: sizes are checked before anything is allocated, nothing in the file is run, and
    memory stays in proportion to the file.

    Parameters
    ----------
    source : str, path-like or bytes
        The file's path or its content.

    Returns
    -------
    estimator or Fleet
        Of the class that was saved, with its parameters and fitted attributes. The models of a fleet are read when they
        are first used; its file stays open until then.

    Raises
    ------
    ModelFileError
        If the file is truncated, altered, of a newer format, or not a model; the message says which.
    OSError
        If there is no such file, or it cannot be read.

    See Also
    --------
    Autoencoder.save : Writes the file.

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
    if fleet_file.is_fleet(source):
        models = fleet_file.opened(source)
        with valid(models.name, "fleet"):
            return Fleet.restored(models)
    with file.opened(source) as (document, tensors):
        return restored(document, tensors)
