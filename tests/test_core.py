"""Every engine that was built computes the same, and the choice among them is explained or refused, never silent."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import reference
from aefast import _core
from aefast._core import choose_level

LEVELS = ("v2", "v3", "v4", "v4_bf16")

# Run by a fresh interpreter: train and read a small network, and report what was computed and by which engine.
REPORT = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from aefast import _core
from test_core import example

network, parameters, scaling, X = example()
scaling = _core.Scaling(*scaling)
objective, adam = {{"loss": "huber", "l2": 0.01}}, {{"kind": "adam"}}
result = {{"level": _core.isa_level, "built_for": _core.build_info()["isa"]}}
result["engines"] = [name for name in sys.modules if name.startswith("aefast._engine_")]
for dtype in ("float32", "float64"):
    cast = [p.astype(dtype) for p in parameters]
    trainer = _core.Trainer(network, cast, objective, adam, dtype, 0, 2)
    loss, gradient = trainer.gradient(X, scaling)
    predictor = _core.Predictor(network, cast, scaling, dtype, 2)
    errors = predictor.errors(X, "mse")
    result[dtype] = {{"loss": loss, "gradient": [g.tolist() for g in gradient], "errors": errors.tolist()}}
print(json.dumps(result))
"""


def example():
    rng = np.random.default_rng(20)
    network = reference.network_spec((21, 17, 3, 17, 21), "gelu", "identity")
    parameters = reference.random_parameters(network, rng)
    return network, parameters, reference.random_scaling(21, rng), rng.normal(size=(150, 21))


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("level", _core.isa_levels_available)
def test_engine_of_each_level_agrees_with_the_oracle(level):
    run = run_python(REPORT, AEFAST_ISA=level)
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["level"] == result["built_for"] == level
    assert result["engines"] == [f"aefast._engine_{level}"]

    network, parameters, scaling, X = example()
    errors = reference.errors(network, parameters, scaling, X, "mse")
    _, loss, gradient = reference.objective_and_gradient(
        network, parameters, {"loss": "huber", "l2": 0.01}, reference.scale_rows(X, scaling)
    )
    # Sums of at most 150 products of numbers near one: a few hundred roundings.
    for dtype in ("float32", "float64"):
        tolerance = 300 * np.finfo(dtype).eps
        np.testing.assert_allclose(result[dtype]["errors"], errors, rtol=tolerance)
        np.testing.assert_allclose(result[dtype]["loss"], loss, rtol=tolerance)
        for computed, exact in zip(result[dtype]["gradient"], gradient, strict=True):
            np.testing.assert_allclose(computed, exact, rtol=tolerance, atol=tolerance * np.abs(exact).max())


def test_best_level_that_was_built_and_runs_here_is_used():
    run = run_python("from aefast import _core; print(_core.isa_level)", AEFAST_ISA="")
    assert run.stdout.strip() == _core.isa_levels_available[-1], run.stderr
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


def test_import_fails_where_the_environment_forces_an_unknown_level():
    run = run_python("import aefast", AEFAST_ISA="v9")
    assert run.returncode != 0
    assert "ImportError: AEFAST_ISA='v9' is not a level of this platform" in run.stderr


def test_engine_offers_what_its_types_promise():
    stub = ast.parse(Path(_core.__file__).with_name("_core.pyi").read_text(encoding="utf-8"))
    for node in stub.body:
        if isinstance(node, ast.FunctionDef):
            assert callable(getattr(_core, node.name))
        elif isinstance(node, ast.AnnAssign):
            assert hasattr(_core, node.target.id)
        elif isinstance(node, ast.ClassDef) and not node.bases:
            methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            assert methods <= set(dir(getattr(_core, node.name)))
