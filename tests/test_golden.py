"""Models that version 0.1.0 saved answer as then, and estimators still learn the same: bits, if the machine allows.

The last bits of weights depend on the instruction-set level and on the compiler, which chooses the sums that become
fused multiply-adds. Those of whitening also depend on the machine's linear algebra. Elsewhere results are compared
within tolerances.
"""

import json

import numpy as np
import pytest

import aefast
from golden import cases

DATA = cases.inputs()
CASES = {name: (DATA[of], estimator) for name, of, estimator in cases.cases()}
ABOUT, REFITS = (json.loads((cases.FOLDER / name).read_text()) for name in ("about.json", "refits.json"))
HERE = cases.machine()
HAS_ENGINE, HAS_ENGINE_OF_REFITS = (
    all(each[name] == HERE[name] for name in ("isa_level", "compiler")) for each in (ABOUT, REFITS)
)
HAS_ALGEBRA, HAS_ALGEBRA_OF_REFITS = (each["linear_algebra"] == HERE["linear_algebra"] for each in (ABOUT, REFITS))
CHOSEN = [name for name, (X, estimator) in CASES.items() if cases.chooses(estimator, X)]
# Steps of a rank, of a threshold and of reduced precisions, which a last bit can move.
JUMPS = ("labels", "p", "bfloat16", "int8")


@pytest.fixture(scope="module")
def kept():
    with np.load(cases.FOLDER / "results.npz") as results:
        return dict(results)


@pytest.fixture(scope="module")
def refits():
    with np.load(cases.FOLDER / "refits.npz") as results:
        return dict(results)


def assert_as_kept(kept, name, found, *, exact):
    expected = {key.removeprefix(f"{name}."): values for key, values in kept.items() if key.startswith(f"{name}.")}
    assert found.keys() <= expected.keys()
    assert "errors" in found
    for key, values in found.items():
        if exact:
            np.testing.assert_array_equal(values, expected[key], err_msg=f"{name}: {key}")
        elif key not in JUMPS:
            np.testing.assert_allclose(values, expected[key], rtol=1e-3, atol=1e-5, err_msg=f"{name}: {key}")


@pytest.mark.parametrize("name", CASES)
def test_a_saved_model_answers_as_it_did(kept, name):
    model = aefast.load(cases.FOLDER / f"{name}.safetensors")
    assert_as_kept(kept, name, cases.results(model, CASES[name][0]), exact=HAS_ENGINE)


def test_a_saved_model_with_the_calibrated_score_answers_as_it_did(refits):
    model = aefast.load(cases.FOLDER / "calibrated.safetensors")
    assert_as_kept(refits, "calibrated", cases.results(model, CASES["default"][0]), exact=HAS_ENGINE_OF_REFITS)


@pytest.mark.skipif(not HAS_ENGINE, reason="training elsewhere ends in other weights")
@pytest.mark.parametrize("name", [name for name in CASES if name not in CHOSEN])
def test_an_estimator_learns_what_it_did(kept, name):
    X, estimator = CASES[name]
    assert_as_kept(kept, name, cases.fitted_results(estimator.fit(X), X), exact=HAS_ALGEBRA)


@pytest.mark.skipif(not HAS_ENGINE_OF_REFITS, reason="training elsewhere ends in other weights")
@pytest.mark.parametrize("name", CHOSEN)
def test_an_estimator_with_the_chosen_score_learns_what_it_did(refits, name):
    X, estimator = CASES[name]
    assert_as_kept(refits, name, cases.fitted_results(estimator.fit(X), X), exact=HAS_ALGEBRA_OF_REFITS)
