"""Training that survives a kill: a callback that saves its whole state, from which the same fit goes on to the bit."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core
from aefast.exceptions import AefastError, ModelFileError
from aefast.model.container import pack, unpack
from aefast.model.scaling import FeatureScaling
from aefast.tables.files import MISFITS, atomic_path
from aefast.training.plain import plain_value
from aefast.training.state import TrainingState

if TYPE_CHECKING:
    from aefast.training.callbacks import EpochInfo

__all__ = ["Checkpoint", "CheckpointError", "digest_of", "identity_of"]

Array = NDArray[Any]
FORMAT_VERSION = 1


class CheckpointError(AefastError, ValueError):
    """A checkpoint that belongs to another training."""


class Checkpoint:
    """A callback that saves training, so that a `fit` that was killed goes on when it is called again.

    Where the file is there when `fit` begins, training goes on after the epoch it was saved in, and ends with the same
    weights to the bit as if nothing had happened. The call must be the same: class, parameters (but for ``max_epochs``,
    ``n_threads``, ``verbose`` and ``callbacks``), rows, and engine. Other callbacks are not told of the epochs before,
    and a noise of your own that draws random numbers draws others.

    Parameters
    ----------
    path : str or path-like
        The file: data only, replaced as a whole or not at all. Removed when training has come to its end.
    every : int, at least 1, default 1
        Epochs from one saving to the next.
    keep : bool, default False
        Leave the file at the end, to remove it yourself once the model is safe.

    Raises
    ------
    ValueError
        If ``every`` is less than 1.

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
        self.path, self.every, self.keep = Path(path), int(every), keep
        self._identity: dict[str, Any] = {}

    def __call__(self, info: EpochInfo) -> None:
        """Save, if it is time."""
        if info.epoch % self.every == 0:
            self._save(info.state())

    def seed(self, drawn: int) -> int:
        """The seed of the training that was saved, if any was, else the one just ``drawn``."""
        return int(self._document()[0]["seed"]) if self.path.exists() else drawn

    def begin(self, identity: dict[str, str], parameters: list[Array], slots: list[Array]) -> TrainingState | None:
        """The state to go on from, if there is one, with arrays shaped as these.

        Raises
        ------
        CheckpointError
            If it is of another training.
        ModelFileError
            If the file is no checkpoint, or damaged.
        """
        self._identity = identity
        if not self.path.exists():
            return None
        document, tensors = self._document()
        for what, value in identity.items():
            if document["identity"].get(what) != value:
                raise CheckpointError(
                    f"{self.path} is of a training with {_other(what, document['identity'].get(what), value)}; fit as "
                    "then to go on, or delete the file to start anew"
                )
        try:
            return _state(document, tensors, parameters, slots)
        except MISFITS as error:
            raise ModelFileError(f"{self.path} is not a valid checkpoint: {type(error).__name__}: {error}") from error

    def end(self, *, diverged: bool = False) -> None:
        """Training is over: nothing is left to go on with, or what is leads nowhere."""
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
        with atomic_path(self.path) as part:
            part.write_bytes(content)

    def _document(self) -> tuple[dict[str, Any], dict[str, Array]]:
        document, tensors, name = unpack(self.path, "checkpoint", FORMAT_VERSION)
        try:
            counts = [document[key] for key in ("seed", "n_passes", "step")]
            if any(type(count) is not int or not 0 <= count < 1 << 63 for count in counts):
                raise ValueError("seed, n_passes and step must be counts")
            if document["n_passes"] >= 1 << 62 or document["step"] >= 1 << 62:
                raise ValueError("so many steps were never made")
            if not isinstance(document["identity"], dict):
                raise ValueError("identity must name what was trained")
        except MISFITS as error:
            raise ModelFileError(f"{name} is not a valid checkpoint: {type(error).__name__}: {error}") from error
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
    apart = {"max_epochs", "n_threads", "verbose", "callbacks"}
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
        # Its address, which repr may give, is another in each process.
        named = value if hasattr(value, "__qualname__") else type(value)
        return f"{named.__module__}.{named.__qualname__}"


def digest_of(arrays: Iterable[Array | None], before: str = "") -> str:
    """SHA-256 of every value, dtype and shape, after what was digested ``before``."""
    digest = hashlib.sha256(before.encode())
    for array in arrays:
        if array is not None:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            # No more than 16 MB are brought into order at once.
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
