"""The measured limits of the machine: multiply-adds on registers, and memory read once."""

import numpy as np

from aefast.engine import core, limits


def test_probe_tells_how_many_operations_it_did():
    assert core.multiply_adds(200) == 2 * core.multiply_adds(100) > 0
    assert core.multiply_adds(1) % (2 * 12) == 0


def test_probe_reads_every_value():
    values = np.zeros(4096, dtype=np.float32)
    for at in (0, 1, 127, 128, 2000, 4095):
        values[:] = 0
        values[at] = 3
        assert core.read_memory(values) == 3


def test_roofline_is_the_lower_of_arithmetic_and_memory():
    machine = {"flops": 100.0, "bytes": 50.0}
    assert limits.rows_per_second(machine, flops_per_row=10, bytes_per_row=1) == 10
    assert limits.rows_per_second(machine, flops_per_row=10, bytes_per_row=25) == 2


def test_both_limits_are_measured(monkeypatch):
    monkeypatch.setattr(limits, "N_ROUNDS", 100)
    monkeypatch.setattr(limits, "N_FLOATS", 4096)
    found = limits.measure(2, seconds=0)
    assert set(found) == {"flops", "bytes"}
    assert min(found.values()) > 0
