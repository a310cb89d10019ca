"""Checkpoints: a callback that saves the whole state of training, from which the same fit continues bit by bit."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core
from aefast.exceptions import AefastError
from aefast.model.container import pack, unpack, valid
from aefast.model.scaling import FeatureScaling
from aefast.tables.files import write_whole
from aefast.training.callbacks import EpochInfo, TrainingState
from aefast.training.plain import plain_value

Array = NDArray[Any]
FORMAT_VERSION = 1


class CheckpointError(AefastError, ValueError):
    """The checkpoint belongs to another training; the message says what differs.

    See Also
    --------
    Checkpoint : Writes and reads the file.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from aefast import Autoencoder, Checkpoint, CheckpointError
    >>> X = np.random.default_rng(0).normal(size=(500, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save = Checkpoint(os.path.join(folder, "training"), keep=True)
    ...     _ = Autoencoder((2,), max_epochs=2, random_state=0, callbacks=[save]).fit(X)
    ...     try:
    ...         _ = Autoencoder((2,), l2=0.1, max_epochs=2, random_state=0, callbacks=[save]).fit(X)
    ...     except CheckpointError as error:
    ...         print("l2=0.1" in str(error))
    True
    """


class Checkpoint:
    """A callback that saves the state of training, so that a `fit` that was killed continues when it is called again.

    If the file exists when `fit` begins, training continues after the epoch in which it was saved. The weights at the
    end are bit by bit those of an uninterrupted training. The call must be the same: class, rows, engine and
    parameters, except ``max_epochs``, ``n_threads``, ``verbose`` and ``callbacks``. Other callbacks are not called for
    the epochs before, and a user's noise that draws random numbers draws different ones.

    Parameters
    ----------
    path : str or path-like
        The file. It holds data only, is replaced as a whole or not at all, and is removed when training ends.
    every : int, at least 1, default 1
        Number of epochs between two saves.
    keep : bool, default False
        Keep the file when training ends, so that it can be removed once the model is saved.

    Raises
    ------
    ValueError
        If ``every`` is less than 1.

    See Also
    --------
    EpochInfo : What a callback gets.
    aefast.Autoencoder.save : Saves a finished model.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from aefast import Autoencoder
    >>> from aefast.callbacks import Checkpoint
    >>> X = np.random.default_rng(0).normal(size=(500, 4))
    >>> def cut(info):
    ...     if info.epoch == 3:
    ...         raise InterruptedError
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save = Checkpoint(os.path.join(folder, "training"))
    ...     try:
    ...         _ = Autoencoder((2,), max_epochs=9, random_state=0, callbacks=[save, cut]).fit(X)
    ...     except InterruptedError:
    ...         pass
    ...     resumed = Autoencoder((2,), max_epochs=9, random_state=0, callbacks=[save]).fit(X)
    >>> undisturbed = Autoencoder((2,), max_epochs=9, random_state=0).fit(X)
    >>> bool((resumed.coefs_[0] == undisturbed.coefs_[0]).all())
    True
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1, *, keep: bool = False) -> None:
        if every < 1 or int(every) != every:
            raise ValueError(f"every must be an integer of at least 1, got {every!r}")
        self.path: Path = Path(path)
        self.every: int = int(every)
        self.keep: bool = keep
        self._identity: dict[str, Any] = {}

    def __call__(self, info: EpochInfo) -> None:
        """Save the state of every ``every``-th epoch."""
        if info.epoch % self.every == 0:
            self._save(info.state())

    def seed(self, drawn: int) -> int:
        """Return the seed of the saved training, or the seed just ``drawn`` if there is no file."""
        return int(self._document()[0]["seed"]) if self.path.exists() else drawn

    def begin(self, identity: dict[str, str], parameters: list[Array], slots: list[Array]) -> TrainingState | None:
        """Return the saved state, whose arrays must be shaped as these; None if there is no file.

        Raises
        ------
        CheckpointError
            If the file belongs to another training.
        ModelFileError
            If the file is not a checkpoint, or damaged.
        """
        self._identity = identity
        if not self.path.exists():
            return None
        document, tensors = self._document()
        for what, value in identity.items():
            if document["identity"].get(what) != value:
                raise CheckpointError(
                    f"{self.path} belongs to a training with {_other(what, document['identity'].get(what), value)}; "
                    "repeat that call to continue it, or delete the file to start anew"
                )
        with valid(self.path, "checkpoint"):
            return _state(document, tensors, parameters, slots)

    def end(self, *, diverged: bool = False) -> None:
        """Remove the file after training, unless it is to be kept; after a divergence it is useless."""
        if diverged or not self.keep:
            self.path.unlink(missing_ok=True)

    def _save(self, state: TrainingState) -> None:
        document = {"identity": self._identity, "seed": state.seed, "n_passes": state.n_passes, "step": state.step}
        tensors = {
            f"{name}.{i}": array
            for name in ("parameters", "best", "slots")
            for i, array in enumerate(getattr(state, name))
        }
        for name in ("loss_curve", "validation_curve", "monitored"):
            tensors[name] = np.asarray(getattr(state, name), dtype=np.float64)
        content = pack("checkpoint", FORMAT_VERSION, document, tensors)
        write_whole(self.path, content)

    def _document(self) -> tuple[dict[str, Any], dict[str, Array]]:
        document, tensors, name = unpack(self.path, "checkpoint", FORMAT_VERSION)
        with valid(name, "checkpoint"):
            counts = [document[key] for key in ("seed", "n_passes", "step")]
            if any(type(count) is not int or not 0 <= count < 1 << 63 for count in counts):
                raise ValueError("seed, n_passes and step must be counts")
            if document["n_passes"] >= 1 << 62 or document["step"] >= 1 << 62:
                raise ValueError("n_passes or step is too large")
            if not isinstance(document["identity"], dict):
                raise ValueError("identity must name what was trained")
        return document, tensors


def identity_of(
    kind: str,
    parameters: Mapping[str, Any],
    seed: int,
    network: Any,
    start: list[Array],
    scaling: FeatureScaling,
    rows: str,
) -> dict[str, str]:
    """Return what must be the same for training to continue.

    That is class, parameters, seed, network with its first weights ``start``, ``rows`` (a digest), scaler and engine.
    """
    # A training with a checkpoint has one start, and checkpoints of earlier versions do not state it.
    apart = {"max_epochs", "n_init", "n_threads", "verbose", "callbacks"}
    settings = {name: _described(value) for name, value in parameters.items() if name not in apart}
    return {
        "class": kind,
        **{f"parameter {name}": value for name, value in settings.items()},
        "seed": str(seed),
        "network": digest_of([np.frombuffer(json.dumps(network).encode(), np.uint8), *start]),
        "rows": rows,
        "scaler": digest_of([scaling.shift, scaling.scale]),
        "engine": f"aefast {core.__version__} {core.isa_level}",
    }


def _described(value: Any) -> str:
    try:
        return json.dumps(plain_value(value))
    except (TypeError, ValueError):
        # repr may show an address, which differs between processes.
        named = value if hasattr(value, "__qualname__") else type(value)
        return f"{named.__module__}.{named.__qualname__}"


def digest_of(arrays: Iterable[Array | None], before: str = "") -> str:
    """Return the SHA-256 digest of values, dtypes and shapes; ``before`` is the digest of earlier arrays."""
    digest = hashlib.sha256(before.encode())
    for array in arrays:
        if array is not None:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            # At most 16 MB are made contiguous at once.
            step = max(1, (1 << 24) // max(1, array[:1].nbytes))
            for begin in range(0, len(array), step):
                digest.update(np.ascontiguousarray(array[begin : begin + step]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _other(what: str, then: Any, now: str) -> str:
    of_digests = {"network": "other first weights or layers", "rows": "other rows", "scaler": "a scaler of other rows"}
    if what in of_digests:
        return of_digests[what]
    name = what.removeprefix("parameter ")
    return f"{name} {then}, now {now}" if name in ("seed", "engine") else f"{name}={then}, now {name}={now}"


def _state(
    document: dict[str, Any], tensors: dict[str, Array], parameters: list[Array], slots: list[Array]
) -> TrainingState:
    def arrays(name: str, like: list[Array]) -> list[Array]:
        found = [tensors[f"{name}.{i}"] for i in range(len(like))]
        for array, model in zip(found, like, strict=True):
            if array.shape != model.shape or array.dtype != model.dtype or not np.isfinite(array).all():
                raise ValueError(f"{name} have wrong shapes, or hold NaN or infinity")
        return found

    curves = {name: tensors[name].astype(np.float64) for name in ("loss_curve", "validation_curve", "monitored")}
    n_epochs = len(curves["loss_curve"])
    if any(curve.ndim != 1 or not np.isfinite(curve).all() for curve in curves.values()):
        raise ValueError("a curve holds NaN or infinity")
    if len(curves["monitored"]) != n_epochs or len(curves["validation_curve"]) not in (0, n_epochs) or n_epochs == 0:
        raise ValueError("the curves have different lengths")
    return TrainingState(
        seed=document["seed"],
        n_passes=document["n_passes"],
        step=document["step"],
        parameters=arrays("parameters", parameters),
        best=arrays("best", parameters),
        slots=arrays("slots", slots),
        loss_curve=curves["loss_curve"].tolist(),
        validation_curve=curves["validation_curve"].tolist(),
        monitored=curves["monitored"].tolist(),
    )
