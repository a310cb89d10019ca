"""Every instruction-set level that this processor supports agrees with the oracle, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aefast import _cpu
from aefast.engine import core

TESTS = Path(__file__).parent
CORE_TESTS = [
    "test_activations.py",
    "test_gradients.py::test_gradient_equals_the_oracle",
    "test_gradients.py::test_gradient_equals_the_oracle_for_odd_sizes",
    "test_convolution.py::test_gradient_equals_the_oracle",
    "test_convolution.py::test_a_normalised_gradient_equals_the_oracle",
    "test_convolution.py::test_reconstructions_equal_the_oracle",
    "test_optimizer_steps.py::test_steps_equal_the_oracle",
    "test_scoring.py::test_errors_of_every_metric_equal_the_oracle",
    "test_scoring.py::test_errors_equal_the_oracle_for_every_width",
    "test_scoring.py::test_every_pair_of_dtype_and_layout_gives_the_bits_of_a_plain_array",
    "test_scoring.py::test_rows_that_are_not_finite_get_nan_and_no_other_row_does",
    "test_threads_invariance.py::test_any_number_of_threads_trains_the_same_network",
    "test_input.py",
    "test_precision.py::test_outputs_have_the_bits_of_the_oracle_for_every_width",
    "test_precision.py::test_outputs_have_the_bits_of_the_oracle_for_every_activation",
    "test_precision.py::test_largest_errors_are_those_of_the_oracle_to_the_bit",
    "test_precision.py::test_numbers_too_small_for_bfloat16_instructions_are_zeros_at_every_level",
    "test_precision.py::test_denormal_numbers_of_the_caller_are_kept",
    "test_precision.py::test_config_says_which_precisions_have_instructions",
]


def run(arguments, level):
    environment = {**os.environ, "AEFAST_ISA": level}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment, cwd=TESTS.parent
    )


@pytest.mark.parametrize("level", core.isa_levels_available)
def test_a_forced_level_is_the_one_that_runs(level):
    code = "from aefast.engine import core; print(core.isa_level, core.build_info()['isa'])"
    result = run(["-c", code], level)
    assert result.stdout.split() == [level, level], result.stderr


@pytest.mark.parametrize("level", [level for level in core.isa_levels_available if level != core.isa_level])
def test_a_level_agrees_with_the_oracle(level):
    """All other tests already run with the level in use."""
    tests = [str(TESTS / name) for name in CORE_TESTS]
    result = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", *tests], level)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-1000:]


def test_supported_levels_are_those_that_the_operating_system_tells_of():
    """Linux lists the processor's flags."""
    file = Path("/proc/cpuinfo")
    flags = set(file.read_text().split()) if file.exists() else set()
    needed = {
        "v2": {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"},
        "v3": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"},
        "v4": {"avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl"},
        "v4_bf16": {"avx512_bf16", "avx512_vnni"},
    }
    if "lahf_lm" not in flags:
        pytest.skip("needs Linux on x86-64, which lists the flags of the processor")
    known = list(needed)
    expected = [level for k, level in enumerate(known) if all(needed[each] <= flags for each in known[: k + 1])]
    assert list(_cpu.supported_levels) == expected


def test_levels_that_are_said_to_give_equal_bits_do():
    pair = [level for level in ("v4", "v4_bf16") if level in core.isa_levels_available]
    if len(pair) < 2:
        pytest.skip("needs a build of both levels on a processor that runs them: AEFAST_LEVELS=all")
    code = """
import hashlib
import numpy as np
import aefast

X = np.random.default_rng(0).normal(size=(700, 13))
found = hashlib.sha256()
for dtype in ("float32", "float64"):
    model = aefast.Autoencoder((7, 3), max_epochs=3, random_state=0, dtype=dtype).fit(X)
    for precision in ("float32", "bfloat16", "int8") if dtype == "float32" else ("float32",):
        found.update(model.reconstruction_error(X, precision=precision).tobytes())
print(found.hexdigest())
"""
    digests = [run(["-c", code], level) for level in pair]
    assert digests[0].stdout == digests[1].stdout != "", digests[0].stderr + digests[1].stderr
