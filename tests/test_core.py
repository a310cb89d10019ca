"""The best compiled engine is chosen, or the forced one, or an error states the reason."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aefast.engine import core
from aefast.engine.core import choose_level
from aefast.model.layers import OUTPUT_ACTIVATIONS
from aefast.model.metrics import METRICS

LEVELS = ("v2", "v3", "v4", "v4_bf16")


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("level", core.isa_levels_available)
def test_a_process_loads_one_engine_and_no_other(level):
    code = "import sys, aefast; print(*[name for name in sys.modules if name.startswith('aefast._engine_')])"
    run = run_python(code, AEFAST_ISA=level)
    assert run.stdout.split() == [f"aefast._engine_{level}"], run.stderr


def test_best_level_that_was_built_and_runs_here_is_used():
    run = run_python("from aefast.engine import core; print(core.isa_level)", AEFAST_ISA="")
    assert run.stdout.strip() == core.isa_levels_available[-1], run.stderr
    assert choose_level(None, LEVELS, built=LEVELS, supported=LEVELS[:2]) == "v3"
    assert choose_level(None, LEVELS, built=("v2", "v4"), supported=LEVELS) == "v4"
    assert choose_level("", LEVELS, built=("v2", "v4"), supported=LEVELS[:3]) == "v4"


@pytest.mark.parametrize("name", ["v3", "V3", " v3 ", "x86-64-v3", "x86_64_v3"])
def test_forced_level_may_be_lower_and_spelled_out(name):
    assert choose_level(name, LEVELS, built=LEVELS, supported=LEVELS) == "v3"


@pytest.mark.parametrize(
    ("forced", "reason"),
    [
        ("v9", "not a level of this platform"),
        ("native", "not a level of this platform"),
        ("v4_bf16", "no engine for v4_bf16"),
        ("v4", "this CPU does not run v4"),
    ],
)
def test_forced_level_that_cannot_be_used_is_refused_with_the_reason(forced, reason):
    with pytest.raises(ImportError, match=reason) as refusal:
        choose_level(forced, LEVELS, built=("v2", "v3", "v4"), supported=("v2", "v3"))
    assert repr(forced) in str(refusal.value)
    assert "usable here: v2, v3" in str(refusal.value)


def test_cpu_below_every_built_level_is_refused_with_the_reason():
    with pytest.raises(ImportError, match="no engine for this CPU, which runs v2; built: v4"):
        choose_level(None, LEVELS, built=("v4",), supported=("v2",))


def test_import_fails_if_the_environment_forces_an_unknown_level():
    run = run_python("import aefast", AEFAST_ISA="v9")
    assert run.returncode != 0
    assert "ImportError: AEFAST_ISA='v9' is not a level of this platform" in run.stderr


def test_the_engine_matches_its_type_stubs():
    stub = ast.parse(Path(core.__file__).with_name("core.pyi").read_text(encoding="utf-8"))
    for node in stub.body:
        if isinstance(node, ast.FunctionDef):
            assert callable(getattr(core, node.name))
        elif isinstance(node, ast.AnnAssign):
            assert hasattr(core, node.target.id)
        elif isinstance(node, ast.ClassDef) and not node.bases:
            methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            assert methods <= set(dir(getattr(core, node.name)))


def test_python_and_the_engine_know_the_same_losses_and_activations():
    assert sorted(core._engine.loss_names) == sorted(METRICS)
    assert sorted(core._engine.activation_names) == sorted(OUTPUT_ACTIVATIONS)
