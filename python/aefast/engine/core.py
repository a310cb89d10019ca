"""The compiled engine for this processor.

The engine is compiled once per instruction-set level (``_engine_v2``, ``_engine_v3``, ...). Importing this module
loads the best one that was built and that the processor can run, or the one that the environment variable
``AEFAST_ISA`` names. ``core.pyi`` documents its contents.
"""

import importlib
import os
from collections.abc import Sequence
from importlib.util import find_spec

try:
    _cpu = importlib.import_module("aefast._cpu")
except ImportError as error:
    raise ImportError(
        f"aefast's compiled modules are not in {os.path.dirname(os.path.dirname(__file__))}: "
        "install with 'pip install .', or for development build with 'cmake --preset dev && cmake --build --preset dev'"
    ) from error


def choose_level(forced: str | None, known: Sequence[str], built: Sequence[str], supported: Sequence[str]) -> str:
    """The level to load: ``forced`` if given, else the best of ``built`` that is also in ``supported``.

    ``known`` has all levels of this platform, lowest first. Raises `ImportError` if there is no such level; a forced
    level is never replaced by another.
    """
    usable = [level for level in known if level in built and level in supported]
    usable_text = "usable here: " + (", ".join(usable) or "none")
    if forced:
        level = forced.strip().lower().replace("-", "_").removeprefix("x86_64_")
        if level not in known:
            raise ImportError(
                f"AEFAST_ISA={forced!r} is not a level of this platform ({', '.join(known)}); {usable_text}"
            )
        if level not in built:
            raise ImportError(f"AEFAST_ISA={forced!r}: this installation has no engine for {level}; {usable_text}")
        if level not in supported:
            raise ImportError(f"AEFAST_ISA={forced!r}: this CPU does not run {level}; {usable_text}")
        return level
    if not usable:
        raise ImportError(
            f"aefast has no engine for this CPU, which runs {', '.join(supported) or 'none of ' + ', '.join(known)}; "
            f"built: {', '.join(built) or 'none'}"
        )
    return usable[-1]


__version__: str = _cpu.version

_built = tuple(level for level in _cpu.known_levels if find_spec(f"aefast._engine_{level}") is not None)
isa_levels_available: tuple[str, ...] = tuple(level for level in _built if level in _cpu.supported_levels)
isa_level: str = choose_level(os.environ.get("AEFAST_ISA"), _cpu.known_levels, _built, _cpu.supported_levels)

_engine = importlib.import_module(f"aefast._engine_{isa_level}")

Evidence = _engine.Evidence
Predictor = _engine.Predictor
Scaling = _engine.Scaling
TeamChoice = _engine.TeamChoice
Trainer = _engine.Trainer
activation = _engine.activation
build_info = _engine.build_info
centres = _engine.centres
column_statistics = _engine.column_statistics
count_above = _engine.count_above
local_means = _engine.local_means
multiply_adds = _engine.multiply_adds
power_distances = _engine.power_distances
read_memory = _engine.read_memory
