"""Scores of rows with missing values: expected values in the gaps, and as many false alarms as without gaps."""

import numpy as np
import pytest

from aefast.model.gaps import Gaps, conditional_means, fit_gaps


def normal_rows(n_rows, n_columns, seed):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(n_columns, n_columns))
    return rng.normal(size=(n_rows, n_columns)) @ mixing + 3, mixing.T @ mixing, np.full(n_columns, 3.0)


@pytest.mark.parametrize("n_columns", [1, 2, 5, 9, 17])
def test_a_gap_gets_the_conditional_mean_of_a_normal_distribution(n_columns):
    rows, covariance, mean = normal_rows(60, n_columns, n_columns)
    hidden = np.random.default_rng(0).random(rows.shape) < 0.4
    hidden[0], hidden[1] = True, False
    found = conditional_means(np.where(hidden, np.nan, rows), mean, np.linalg.inv(covariance))
    for row, missing, got in zip(rows, hidden, found, strict=True):
        known = ~missing
        expected = row.copy()
        regression = covariance[np.ix_(missing, known)] @ np.linalg.pinv(covariance[np.ix_(known, known)])
        expected[missing] = mean[missing] + regression @ (row - mean)[known]
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(got[known], row[known])


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3])
def test_moments_are_those_of_the_distribution_with_gaps_in_training_too(share):
    rows, covariance, mean = normal_rows(20_000, 4, 1)
    rows[np.random.default_rng(2).random(rows.shape) < share] = np.nan
    gaps = fit_gaps(rows, np.arange(500), lambda rows: rows[:, 0], lambda rows: rows, np.random.default_rng(0))
    deviation = np.sqrt(np.diag(covariance))
    assert (np.abs(gaps.mean - mean) < 0.05 * deviation).all()
    found = np.linalg.inv(gaps.precision) / np.outer(deviation, deviation)
    assert np.abs(found - covariance / np.outer(deviation, deviation)).max() < 0.06


def test_filled_rows_take_over_the_reconstruction_and_keep_what_is_known():
    rows = np.array([[1.0, np.nan, 3.0], [1.0, 2.0, 3.0], [np.nan] * 3])
    gaps = Gaps(np.zeros(3), np.eye(3), *[np.zeros(2)] * 5)
    seen = []

    def reconstruct(filled):
        seen.append(filled.copy())
        return filled + 1

    filled = gaps.filled(rows, reconstruct)
    np.testing.assert_array_equal(filled, [[1, len(seen), 3], [1, 2, 3], [len(seen)] * 3])
    assert len(seen) > 1
    assert np.isfinite(seen).all()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("share", [0.0, 0.2])
@pytest.mark.parametrize("correlated", [False, True])
def test_as_many_rows_exceed_a_threshold_with_gaps_as_without(correlated, share, seed):
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).normal(size=(3, 8))

    def rows(n_rows):
        return (rng.normal(size=(n_rows, 3)) @ mixing if correlated else 0) + 0.5 * rng.normal(size=(n_rows, 8))

    precision = np.linalg.inv(np.cov(rows(20_000).T))

    def score(rows):
        return np.log(np.einsum("ij,jk,ik->i", rows, precision, rows))

    # A reconstruction that knows nothing but the plane of the rows.
    keep = np.linalg.pinv(mixing) @ mixing if correlated else np.zeros((8, 8))
    training = rows(4000)
    training[rng.random(training.shape) < share] = np.nan
    gaps = fit_gaps(training, np.arange(4000), score, lambda rows: rows @ keep, rng)
    threshold = np.quantile(score(rows(20_000)), 0.95)
    for n_missing in (0, 1, 2, 4):
        fresh = rows(6000)
        hidden = rng.random(fresh.shape).argsort(axis=1) < n_missing
        filled = gaps.filled(np.where(hidden, np.nan, fresh), lambda rows: rows @ keep)
        scores = gaps.calibrated(score(filled), hidden)
        assert abs((scores > threshold).mean() - 0.05) < 0.02
        if n_missing == 0:
            np.testing.assert_array_equal(scores, score(fresh))
    for column in range(8):
        fresh = rows(3000)
        hidden = np.broadcast_to(np.arange(8) == column, fresh.shape)
        filled = gaps.filled(np.where(hidden, np.nan, fresh), lambda rows: rows @ keep)
        assert (gaps.calibrated(score(filled), hidden) > threshold).mean() < 0.08
