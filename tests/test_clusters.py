"""Centres and local means of rows: the engine and an oracle, and what they stand for."""

import numpy as np
import pytest

import reference_distances as oracle
from aefast.engine import core
from aefast.training.clusters import centres_of, local_means

# Rows and columns around the lanes of a register and the rows of a block, and numbers of centres, also of one block.
SHAPES = [(1, 1, 1), (5, 2, 3), (31, 1, 4), (33, 7, 2), (64, 20, 17), (97, 65, 32), (300, 20, 64)]


def case(n, d, k, *, weighted, seed=0):
    rng = np.random.default_rng(seed + n)
    rows, start = rng.normal(size=(n, d)), rng.normal(size=(k, d))
    return rows, start, rng.integers(0, 4, n).astype(float) + (n == 1) if weighted else None


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("trimmed", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_centres_are_those_of_the_oracle(shape, trimmed, weighted):
    rows, start, weights = case(*shape, weighted=weighted)
    expected = oracle.moved_centres(rows, start, weights, 5, trimmed)
    np.testing.assert_allclose(core.centres(rows, start, weights, 5, trimmed), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("mass", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_local_means_are_those_of_the_oracle(shape, mass, weighted):
    rows, anchors, weights = case(*shape, weighted=weighted)
    means, spreads = core.local_means(rows, anchors, mass, weights)
    for found, expected in zip((means, spreads), oracle.local_means(rows, anchors, mass, weights), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        core.power_distances(rows, means, spreads), oracle.power_distances(rows, means, spreads), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("share", [0.05, 0.13, 0.5])
def test_rows_that_are_there_several_times_give_what_the_oracle_does(share):
    rows = np.repeat(np.random.default_rng(0).normal(size=(20, 3)), 7, axis=0)
    rows[::7] = 0
    anchors = np.random.default_rng(1).normal(size=(6, 3))
    np.testing.assert_allclose(
        core.centres(rows, anchors, None, 5, share), oracle.moved_centres(rows, anchors, None, 5, share), rtol=1e-9
    )
    found, expected = core.local_means(rows, anchors, share, None), oracle.local_means(rows, anchors, share, None)
    for each, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(each, other, rtol=1e-9, atol=1e-12)


def test_equal_rows_are_ranked_by_their_number():
    rows = np.repeat([[0.0], [1.0]], 10, axis=0)
    means, _ = core.local_means(rows, np.array([[0.5]]), 0.5, None)
    np.testing.assert_array_equal(means, [[0.0]])
    weighted = core.local_means(rows, np.array([[0.5]]), 0.5, np.ones(20))
    np.testing.assert_array_equal(weighted[0], [[0.0]])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_rows_that_are_not_finite_leave_other_centres_alone(value):
    rows = np.random.default_rng(0).normal(size=(200, 3))
    rows[17] = value
    found = core.centres(rows, rows[:8].copy(), None, 8, 0.1)
    assert np.isfinite(found[1:]).all()
    assert np.isfinite(core.power_distances(rows, found[1:], np.zeros(7))).all()
    core.local_means(rows, found[1:], 0.1, None)


@pytest.mark.parametrize(
    ("rows", "start", "weights"),
    [
        (np.zeros((4, 2)), np.zeros((3, 1)), None),
        (np.zeros((0, 2)), np.zeros((3, 2)), None),
        (np.zeros((4, 2)), np.zeros((0, 2)), None),
        (np.zeros(4), np.zeros((3, 1)), None),
        (np.zeros((4, 2)), np.zeros((3, 2)), np.ones(3)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(rows, start, weights):
    with pytest.raises(ValueError, match="fit|one value per row"):
        core.centres(rows, start, weights, 1, 0.0)
    with pytest.raises(ValueError, match="fit|one value per row"):
        core.local_means(rows, start, 0.1, weights)


def test_centres_are_those_of_groups():
    rng = np.random.default_rng(0)
    groups = rng.normal(size=(5, 3)) * 20
    rows = (groups[:, None] + rng.normal(size=(5, 80, 3))).reshape(-1, 3)
    centres = centres_of(rows, 25, rng)
    assert oracle.squared_distances(groups, centres).min(axis=1).max() < 9
    assert oracle.nearest_mean(oracle.squared_distances(rows, centres)).max() < 40


def test_trimmed_rows_move_no_centre():
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(190, 2)), rng.normal(size=(10, 2)) + 1000])
    assert np.abs(centres_of(rows[:190], 8, np.random.default_rng(1))).max() < 5
    inside = centres_of(rows, 8, np.random.default_rng(1), trimmed=0.1)
    assert (np.abs(inside).max(axis=1) < 5).sum() >= 7


def test_local_means_are_those_of_the_nearest_rows():
    rows = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    near = local_means(rows, np.array([[0.9], [11.2]]), 0.5)
    np.testing.assert_allclose(near.means, [[1.0], [11.0]])
    np.testing.assert_allclose(near.spreads, [2 / 3, 2 / 3])
    np.testing.assert_allclose(near.distances(np.array([[1.0], [13.0]])), [2 / 3, 4 + 2 / 3])
    # The weight of a row counts as so many rows.
    weighted = local_means(rows, np.array([[0.9]]), 0.5, np.array([1.0, 5, 1, 1, 1, 1]))
    np.testing.assert_allclose(weighted.means, [[1.0]])
