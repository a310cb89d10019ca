"""Thresholds, conformal p-values and false-discovery control, against their definitions and guarantees."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from aefast.thresholds import benjamini_hochberg, conformal_p_values, contamination_offset

# Few distinct values, so that ties are common.
scores = npst.arrays(np.float64, st.integers(1, 40), elements=st.integers(-9, 9).map(float))


@given(st.permutations(range(50)), st.sampled_from([0.02, 0.1, 0.5]))
def test_contamination_is_the_share_of_rows_below_the_offset(order, contamination):
    values = np.array(order, dtype=float)
    assert np.sum(values < contamination_offset(values, contamination)) == contamination * 50


def test_equal_scores_leave_no_row_below_the_offset():
    assert contamination_offset(np.full(7, -0.1), 0.3) == -0.1


@given(scores, scores)
def test_p_value_counts_calibration_errors_at_least_as_large(calibration, errors):
    expected = [(1 + sum(c >= e for c in calibration)) / (1 + len(calibration)) for e in errors]
    assert conformal_p_values(np.sort(calibration), errors).tolist() == pytest.approx(expected)


def test_p_values_are_valid_on_average_over_calibration_sets():
    # P(p <= a) <= a for exchangeable rows, here exactly floor(a (m + 1)) / (m + 1) as errors are continuous.
    rng = np.random.default_rng(0)
    n_sets, m = 4000, 19
    errors = rng.exponential(size=(n_sets, m + 1))
    p = np.array([conformal_p_values(np.sort(row[:m]), row[m:])[0] for row in errors])
    for level in (0.05, 0.1, 0.5):
        deviation = np.sqrt(level * (1 - level) / n_sets)
        assert abs(np.mean(p <= level) - level) < 4 * deviation


@given(npst.arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1)), st.sampled_from([0.05, 0.2, 0.9]))
def test_reports_are_the_least_p_values_up_to_the_last_below_the_line(p_values, fdr):
    ascending = sorted(p_values)
    n = len(ascending)
    k = max((i for i in range(1, n + 1) if ascending[i - 1] <= fdr * i / n), default=0)
    mask = benjamini_hochberg(p_values, fdr)
    assert mask.dtype == bool
    assert mask.tolist() == [k > 0 and p <= ascending[k - 1] for p in p_values]


def test_false_discoveries_stay_at_their_rate():
    rng = np.random.default_rng(1)
    fdr, n_runs, n_normal, n_odd = 0.2, 300, 80, 20
    shares = []
    for _ in range(n_runs):
        calibration = np.sort(rng.exponential(size=400))
        errors = np.concatenate([rng.exponential(size=n_normal), 8 + rng.exponential(size=n_odd)])
        mask = benjamini_hochberg(conformal_p_values(calibration, errors), fdr)
        shares.append(mask[:n_normal].sum() / max(1, mask.sum()))
        assert mask[n_normal:].mean() > 0.5
    assert np.mean(shares) < fdr + 4 * np.std(shares) / np.sqrt(n_runs)


@pytest.mark.parametrize("fdr", [0, 1, -0.1, 1.5, float("nan")])
def test_rates_outside_zero_and_one_are_refused(fdr):
    with pytest.raises(ValueError, match=r"fdr must be in \(0, 1\), got"):
        benjamini_hochberg([0.5], fdr)
