"""Models on workers: sent once as the bytes of a model file, kept by every process, computing with one thread."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Protocol

from aefast.distributed.isa import Level
from aefast.model.model import Model
from aefast.scoring.models import model_of


class Content(Protocol):
    """The bytes of a model file, which an engine brings to the worker when ``value`` is asked for."""

    @property
    def value(self) -> Any: ...


@dataclass(frozen=True)
class Held:
    """Bytes that are sent with the task itself."""

    value: bytes


@dataclass(frozen=True)
class SentModel:
    """A model on its way to workers.

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

    def load(self) -> Model:
        """Return the model, which this process loads once; it computes with one thread, as the engine counts on."""
        self.level.check()
        return _kept.get(self)


class _Kept:
    """The models that were used last in this process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._models: OrderedDict[str, Model] = OrderedDict()

    def get(self, sent: SentModel) -> Model:
        with self._lock:  # tasks of one process wait, so that the model is loaded once
            model = self._models.get(sent.digest)
            if model is None:
                assert sent.content is not None
                model = self._models[sent.digest] = Model.load(bytes(sent.content.value)).replace(n_threads=1)
            self._models.move_to_end(sent.digest)
            if len(self._models) > self._most:
                self._models.popitem(last=False)
        return model


_kept = _Kept(most=8)


def model_bytes(model: Any) -> tuple[Model, bytes, str]:
    """Return a model given as `Scorer` accepts it, the bytes of its file, and their digest."""
    found = model_of(model)
    content = found.to_bytes()
    return found, content, hashlib.sha256(content).hexdigest()
