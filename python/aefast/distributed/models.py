"""Models and fleets on workers: sent once as the bytes of a file, kept by every process, computing with one thread."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, Protocol

from aefast.distributed.isa import Level
from aefast.model import fleet_file
from aefast.model.fleet import ModelFleet
from aefast.model.model import Model
from aefast.scoring.fleet_scorer import FleetScorer, is_fleet, load_fleet
from aefast.scoring.models import model_of
from aefast.scoring.scorer import Scorer


class Content(Protocol):
    """The bytes of a file, which an engine brings to the worker when ``value`` is asked for."""

    @property
    def value(self) -> Any: ...


@dataclass(frozen=True)
class Held:
    """Bytes that are sent with the task itself."""

    value: bytes


@dataclass(frozen=True)
class SentModel:
    """A model, or a fleet of them, on its way to workers.

    Attributes
    ----------
    content : Content, optional
        Asked for its ``value`` only by a process that has not loaded the model yet. None if the engine brings the bytes
        as an argument of the task, see `with_content`.
    digest : str
        SHA-256 of the bytes, by which a process knows the model.
    level : Level
        The instruction-set level to compute with.
    """

    content: Content | None
    digest: str
    level: Level

    def with_content(self, content: bytes) -> SentModel:
        """Return this with the bytes."""
        return replace(self, content=Held(content))

    def load(self) -> Model | ModelFleet:
        """Return the model, which this process loads once; it computes with one thread, as the engine counts on.

        Of a fleet, the models are loaded whose groups occur.
        """
        self.level.check()
        return _kept.get(self)


class _Kept:
    """The models that were used last in this process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._models: OrderedDict[str, Model | ModelFleet] = OrderedDict()

    def get(self, sent: SentModel) -> Model | ModelFleet:
        with self._lock:  # tasks of one process wait, so that the model is loaded once
            model = self._models.get(sent.digest)
            if model is None:
                assert sent.content is not None
                model = self._models[sent.digest] = _loaded(bytes(sent.content.value))
            self._models.move_to_end(sent.digest)
            if len(self._models) > self._most:
                self._models.popitem(last=False)
        return model


_kept = _Kept(most=8)


def _loaded(content: bytes) -> Model | ModelFleet:
    if fleet_file.is_fleet(content):
        return load_fleet(content, n_threads=1)
    return Model.load(content).replace(n_threads=1)


def scorer_of(model: Model | ModelFleet, **options: Any) -> Scorer:
    """Return a scorer for a model or a fleet."""
    return FleetScorer(model, **options) if isinstance(model, ModelFleet) else Scorer(model, **options)


def content_of(model: Any) -> tuple[Model | ModelFleet, bytes, str]:
    """Return a model or a fleet, given as `Scorer` or `FleetScorer` accept it, the bytes of its file, and their digest.

    Raises
    ------
    TypeError
        If it is neither.
    """
    found: Model | ModelFleet
    if hasattr(type(model), "model_fleet"):
        content = _fleet_bytes(model)
        found = _loaded(content)
    elif is_fleet(model):
        content = Path(model).read_bytes() if isinstance(model, str | Path) else bytes(model)
        found = _loaded(content)
    else:
        found = model_of(model)
        content = found.to_bytes()
    return found, content, hashlib.sha256(content).hexdigest()


def require_fleet(fleet: Any) -> Any:
    """Return what is given as a fleet; TypeError if it is none."""
    if not is_fleet(fleet):
        raise TypeError(f"fleet must be an aefast.Fleet, or the path or bytes of a fleet file, got {fleet!r:.60}")
    return fleet


def _fleet_bytes(fleet: Any) -> bytes:
    with TemporaryDirectory(prefix="aefast-") as folder:
        path = Path(folder) / "fleet.safetensors"
        fleet.save(path)
        return path.read_bytes()
