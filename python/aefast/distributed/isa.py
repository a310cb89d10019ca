"""Instruction-set levels of unlike processors: a job sets one, or is warned that bits of scores may differ."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from aefast.engine import core
from aefast.exceptions import AefastError

#: Levels that give the same bits as another one: they add instructions for low precision alone, with exact results.
_LIKE = {"v4_bf16": "v4"}


class UnpinnedError(AefastError, RuntimeError):
    """A worker computes with another instruction-set level than the job asks for; the message says what to do."""


@dataclass(frozen=True)
class Level:
    """The instruction-set level that a job asks for.

    Attributes
    ----------
    wanted : str or None
        None takes the best level of each processor.
    how : str
        How workers of this engine get a level.
    of_driver : str
        The level of the process that made the job.
    """

    wanted: str | None
    how: str
    of_driver: str = core.isa_level

    def check(self) -> None:
        """Check on a worker that it computes with the level wanted; without one, warn if it is not the driver's.

        Raises
        ------
        UnpinnedError
            If it computes with another level.
        """
        if self.wanted is not None and core.isa_level != self.wanted:
            raise UnpinnedError(
                f"this worker computes with instruction-set level {core.isa_level}, but the job asks for "
                f"{self.wanted}: {self.how}"
            )
        remark = remark_on({core.isa_level, self.of_driver}) if self.wanted is None else ""
        if remark:
            warnings.warn(remark, stacklevel=2)


def remark_on(levels: Iterable[str]) -> str:
    """Return a remark if these levels can give different bits, else ""."""
    found = sorted(set(levels))
    if len({_LIKE.get(level, level) for level in found}) <= 1:
        return ""
    return (
        f"processes compute with unlike instruction-set levels ({', '.join(found)}), so that the last bits of scores "
        f"may differ between them; isa_level={found[0]!r} pins one level"
    )
