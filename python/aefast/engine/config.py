"""What this installation is and how it runs here: the answer to "why is it slow on that machine?"."""

from typing import TypedDict

from aefast.engine import core
from aefast.engine.threads import explain_threads


class Config(TypedDict):
    """What `config` returns."""

    version: str
    isa_level: str
    isa_levels_available: list[str]
    threads: int
    threads_reason: str
    compiler: str
    eigen: str
    eigen_packet: str
    fma: bool
    bfloat16: str
    int8: str


def config() -> Config:
    """How aefast was built and how it runs in this process.

    Returns
    -------
    dict
        ``version``; ``isa_level``, the instruction-set level in use (the environment variable ``AEFAST_ISA`` forces
        another of ``isa_levels_available`` at import); ``threads``, how many an estimator with ``n_threads=None``
        uses now, and ``threads_reason``, why; ``compiler``, ``eigen``, ``eigen_packet`` (its widest vector) and
        ``fma`` (whether it multiplies and adds in one instruction) of the engine in use; ``bfloat16`` and ``int8``,
        whether it has instructions for these precisions of scoring ("native") or computes the same numbers without
        them, mostly no faster than float32 ("emulated").

    Examples
    --------
    >>> import aefast
    >>> settings = aefast.config()
    >>> settings["isa_level"] in settings["isa_levels_available"]
    True
    """
    number, reason = explain_threads()
    build = core.build_info()
    return Config(
        version=core.__version__,
        isa_level=core.isa_level,
        isa_levels_available=list(core.isa_levels_available),
        threads=number,
        threads_reason=reason,
        compiler=build["compiler"],
        eigen=build["eigen"],
        eigen_packet=build["eigen_packet"],
        fma=build["fma"],
        bfloat16=build["bfloat16"],
        int8=build["int8"],
    )
