"""Scores of rows with missing values: expected values in the gaps, and as many false alarms as without gaps."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import aefast
from aefast.model.gaps import Gaps, calibrated_gaps, conditional_means, uncalibrated_gaps
from aefast.model.model import Model


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
    gaps = uncalibrated_gaps(rows, np.random.default_rng(0))
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
    gaps = calibrated_gaps(uncalibrated_gaps(training, rng), training, score, lambda rows: rows @ keep, rng)
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


VARIANTS = {
    "plain": aefast.Autoencoder,
    "denoising": aefast.DenoisingAutoencoder,
    "sparse": aefast.SparseAutoencoder,
    "contractive": aefast.ContractiveAutoencoder,
    "variational": aefast.VariationalAutoencoder,
}


class Source:
    """Rows of eight related or unrelated columns."""

    def __init__(self, correlated, seed):
        self.rng = np.random.default_rng(seed)
        self.mixing = np.random.default_rng(7).normal(size=(3, 8)) if correlated else None

    def rows(self, n_rows):
        if self.mixing is None:
            return self.rng.normal(size=(n_rows, 8))
        return self.rng.normal(size=(n_rows, 3)) @ self.mixing + 0.3 * self.rng.normal(size=(n_rows, 8))

    def without(self, rows, share):
        rows[self.rng.random(rows.shape) < share] = np.nan
        return rows


@pytest.mark.parametrize(
    ("variant", "correlated", "share", "seed"),
    [
        ("plain", True, 0.0, 0),
        ("plain", True, 0.005, 1),
        ("plain", True, 0.2, 2),
        ("plain", False, 0.05, 3),
        ("denoising", True, 0.05, 4),
        ("sparse", True, 0.05, 5),
        ("contractive", False, 0.2, 6),
        ("variational", True, 0.05, 7),
    ],
)
def test_a_missing_value_is_no_evidence(variant, correlated, share, seed):
    source = Source(correlated, seed)
    training = source.without(source.rows(6000), share)
    model = VARIANTS[variant](missing="mask", contamination=0.05, random_state=seed, max_epochs=30).fit(training).model_
    for n_missing in (0, 1, 2):
        fresh = source.rows(5000)
        fresh[source.rng.random(fresh.shape).argsort(axis=1) < n_missing] = np.nan
        assert abs(model.is_anomaly(fresh).mean() - 0.05) < 0.02
    for column in range(0, 8, 3):  # missing all day
        fresh = source.rows(2000)
        fresh[:, column] = np.nan
        assert model.is_anomaly(fresh).mean() < 0.085


def counts(n_rows, seed):
    """Counts, many of which are nearly always zero, and two constants."""
    rates = np.random.default_rng(3).gamma(0.3, 1, size=20)
    rng = np.random.default_rng(seed)
    rows = rng.poisson(rates * rng.gamma(2, 0.5, size=(n_rows, 1))).astype(float)
    return np.hstack([rows, np.zeros((n_rows, 1)), np.full((n_rows, 1), 7.0)])


def test_expected_values_are_never_beyond_their_range():
    X, usual = counts(3000, 0), counts(2000, 1)
    odd = usual[:500] + 4 * np.random.default_rng(2).poisson(0.3, size=(500, 22))
    rows, labels = np.vstack([usual, odd]), np.repeat([0, 1], (2000, 500))
    hidden = np.random.default_rng(4).random((2, *rows.shape)) < 0.05
    whole = aefast.Autoencoder(random_state=0).fit(X)
    model = aefast.Autoencoder(random_state=0, missing="mask").fit(np.where(hidden[0], np.nan, X[: len(rows)])).model_
    gapped = np.where(hidden[1], np.nan, rows)
    limits = model.distances.limits
    predictor, elements = model._predictors.get(), model.distances.elements
    filled = model.gaps.filled_rows(gapped, elements, predictor, model.scaling, limits)[0]
    assert (filled[hidden[1]] >= np.broadcast_to(limits[0], rows.shape)[hidden[1]]).all()
    assert (filled[hidden[1]] <= np.broadcast_to(limits[1], rows.shape)[hidden[1]]).all()
    lost = roc_auc_score(labels, whole.reconstruction_error(rows)) - roc_auc_score(labels, model.errors(gapped))
    assert lost < 0.03
    share = (model.p_values(np.where(hidden[0][:2000], np.nan, usual)) <= 0.1).mean()
    assert 0.07 < share < 0.13


def test_a_shift_is_found_beside_gaps():
    source = Source(correlated=True, seed=0)
    model = aefast.Autoencoder(missing="mask", random_state=0).fit(source.without(source.rows(6000), 0.005)).model_
    usual, odd = source.rows(4000), source.rows(4000)
    column = source.rng.integers(8, size=4000)
    odd[np.arange(4000), column] += 2 * usual.std(axis=0)[column]
    scores = model.errors(source.without(np.vstack([usual, odd]), 0.05))
    assert roc_auc_score(np.repeat([0, 1], 4000), scores) >= 0.95


def test_rows_without_gaps_keep_their_scores_and_a_row_without_values_is_usual():
    source = Source(correlated=True, seed=0)
    model = aefast.Autoencoder(missing="mask", random_state=0, max_epochs=5).fit(source.rows(2000)).model_
    rows = source.rows(50)
    alone = model.errors(rows)
    gapped = rows.copy()
    gapped[::2, 3] = np.nan
    gapped[4] = np.nan
    scores = model.errors(gapped)
    np.testing.assert_array_equal(scores[1::2], alone[1::2])
    assert np.isfinite(scores).all()
    assert not model.is_anomaly(gapped)[4]
    for row in range(50):
        np.testing.assert_array_equal(model.errors(gapped[row : row + 1]), scores[row : row + 1])
    again = Model.load(model.to_bytes())
    np.testing.assert_array_equal(again.errors(gapped), scores)
    assert again.to_bytes() == model.to_bytes()


def test_a_missing_value_is_no_reason_and_hides_none():
    source = Source(correlated=True, seed=0)
    model = aefast.Autoencoder(missing="mask", random_state=0).fit(source.without(source.rows(3000), 0.02)).model_
    rows = source.rows(200)
    column = source.rng.integers(8, size=200)
    rows[np.arange(200), column] += 8 * rows.std(axis=0)[column]
    gap = (column + 1 + source.rng.integers(7, size=200)) % 8
    rows[np.arange(200), gap] = np.nan
    parts = model.feature_errors(rows)
    assert (parts[np.arange(200), gap] == 0).all()
    np.testing.assert_allclose(parts.sum(axis=1), model.errors(rows), rtol=1e-4)
    found = model.reasons(rows, 3)
    np.testing.assert_array_equal(found.errors, model.errors(rows))
    assert (found.columns[:, 0] == column).mean() > 0.9
    table = model.explain(rows, top=8)  # all columns but the missing one
    assert len(table) == 200 * 7
    assert not table["value"].isna().any()
    first = table.groupby("row")["feature"].first().str[1:].astype(int)
    assert (first.to_numpy() == column).mean() > 0.9
