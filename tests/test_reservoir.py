"""A bounded sample is uniform over all rows, in their order, whatever the blocks."""

import numpy as np
import pytest

from aefast.training.reservoir import Reservoir


def chosen(sizes, capacity, seed=0):
    reservoir = Reservoir(np.random.default_rng(seed), capacity)
    rows = np.arange(sum(sizes), dtype=np.float64)[:, None]
    for start, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        reservoir.add(rows[start : start + size])
    assert reservoir.n_rows == min(capacity, sum(sizes))
    return reservoir.rows()[:, 0]


@pytest.mark.parametrize("sizes", [[1000], [10] * 100, [1, 999], [0, 300, 0, 700]])
def test_the_choice_does_not_depend_on_the_blocks(sizes):
    np.testing.assert_array_equal(chosen(sizes, 50), chosen([500, 500], 50))


def test_those_with_the_smallest_keys_stay():
    keys = np.random.default_rng(0).random(1000)
    np.testing.assert_array_equal(chosen([7] * 142 + [6], 50), np.sort(np.argsort(keys)[:50]))


def test_all_rows_are_kept_if_they_fit():
    np.testing.assert_array_equal(chosen([3, 4], 7), np.arange(7))


def test_every_row_is_as_likely_as_another():
    counts = sum(np.bincount(chosen([20] * 10, 40, seed).astype(int), minlength=200) for seed in range(400))
    # Each of 200 rows is chosen 80 times of 400 on average, binomially.
    assert np.abs(counts - 80).max() < 4.5 * np.sqrt(400 * 0.2 * 0.8)


def test_a_block_of_a_wider_type_widens_the_choice():
    reservoir = Reservoir(np.random.default_rng(0), 3)
    reservoir.add(np.zeros((3, 1), np.float32))
    for _ in range(9):
        reservoir.add(np.full((3, 1), 0.1))
    assert reservoir.rows().dtype == np.float64
    assert 0.1 in reservoir.rows()
