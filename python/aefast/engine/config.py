"""How aefast was built and how it runs on this machine, for bug reports and questions of speed."""

from typing import TypedDict

from aefast.engine import core
from aefast.engine.threads import explain_threads


class Config(TypedDict):
    """The dict that `config` returns."""

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
        These keys:

        - ``version`` of aefast.
        - ``isa_level``, the instruction-set level in use. The environment variable ``AEFAST_ISA`` selects another of
          ``isa_levels_available`` at import.
        - ``threads``, the number that an estimator with ``n_threads=None`` uses now, and ``threads_reason``.
        - ``compiler``, ``eigen``, ``eigen_packet`` (the widest vector) and ``fma`` (True with fused multiply-add) of
          the engine in use.
        - ``bfloat16`` and ``int8``: "native" if the level has instructions for this precision of scoring; "emulated" if
          it computes the same numbers without them, usually no faster than float32.

    See Also
    --------
    threads : Sets the number of threads.

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
