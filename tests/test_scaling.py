"""The scalers agree with scikit-learn's, and handle difficult columns."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from aefast.model.scaling import LIMIT, column_statistics, fit_scaler, merged, quantiles, scaled_range
from messages import raises_exactly

SKLEARN = {
    "standard": StandardScaler,
    "minmax": MinMaxScaler,
    "robust": RobustScaler,
    "deciles": partial(RobustScaler, quantile_range=(10, 90), unit_variance=True),
}
tables = npst.arrays(
    np.float64, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=st.integers(-1000, 1000).map(lambda v: v / 8)
)


def fitted(kind, X, rows=None):
    names = [f"x{j}" for j in range(X.shape[1])]
    return fit_scaler(kind, X, rows, column_statistics(X, rows, 1), names)


@pytest.mark.parametrize("kind", SKLEARN)
@pytest.mark.parametrize("dtype", ["float64", "float32", "int16"])
def test_scaled_rows_are_scikit_learns(kind, dtype):
    X = (np.random.default_rng(0).normal(size=(500, 3)) * [1, 100, 3000] + [0, 50, -2000]).astype(dtype)
    X[:, 0] = np.arange(500) % 7
    shift, scale = fitted(kind, X)
    expected = SKLEARN[kind]().fit_transform(X.astype(np.float64))
    np.testing.assert_allclose((X - shift) / scale, expected, rtol=1e-9, atol=1e-9)


def test_none_changes_nothing():
    shift, scale = fitted(None, np.array([[1.0, 1.0], [5.0, 1.0]]))
    assert shift.tolist() == [0, 0]
    assert scale.tolist() == [1, 1]


@given(tables, st.sampled_from(sorted(SKLEARN)))
def test_scale_is_finite_and_positive_whatever_the_rows(X, kind):
    shift, scale = fitted(kind, X)
    assert np.isfinite(shift).all()
    assert (scale > 0).all()
    assert np.isfinite((X - shift) / scale).all()
    constant = X.min(axis=0) == X.max(axis=0)
    assert (scale[constant] == 1).all()
    np.testing.assert_allclose(((X - shift) / scale)[:, constant], 0, atol=1e-12)


def test_only_the_given_rows_count():
    X = np.arange(20.0).reshape(10, 2)
    rows = np.array([1, 4, 5])
    for kind in SKLEARN:
        for got, wanted in zip(fitted(kind, X, rows), fitted(kind, X[rows]), strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(("kind", "n_others"), [("robust", 24), ("deciles", 9)])
def test_quantiles_that_coincide_fall_back_to_the_standard_deviation(kind, n_others):
    X = np.zeros((100, 1))
    X[:n_others] = 1000.0
    assert fitted(kind, X)[1] == pytest.approx(X.std())


def test_a_few_wild_values_do_not_move_the_deciles_far():
    X = np.random.default_rng(0).normal(size=(1000, 1))
    shift, scale = fitted("deciles", X)
    X[:20] = 1e9
    np.testing.assert_allclose(fitted("deciles", X)[0], shift, atol=0.1)
    np.testing.assert_allclose(fitted("deciles", X)[1], scale, rtol=0.1)
    assert fitted("standard", X)[1] > 1e8


def test_rounding_noise_counts_as_constant():
    X = np.full((50, 1), 0.1)
    X[::2] = np.nextafter(0.1, 1)
    assert fitted("standard", X)[1].tolist() == [1.0]


def test_denormal_columns_are_finite():
    X = np.linspace(1, 9, 20).reshape(-1, 1) * 5e-324
    for kind in SKLEARN:
        shift, scale = fitted(kind, X)
        assert np.isfinite((X - shift) / scale).all()


@pytest.mark.parametrize("kind", SKLEARN)
def test_values_too_large_for_a_scale_are_refused_by_name(kind):
    X = np.array([[0.0, 1e308], [1.0, -1e308], [2.0, 1.7e308], [2.0, -1.7e308]])
    with pytest.raises(
        ValueError, match=r"column 'x1' has values from -1.7e\+308 to 1.7e\+308, too large to train on; divide"
    ):
        fitted(kind, X)


def test_values_beyond_the_limit_need_a_scaler():
    message = "column 'x0' has values from 0 to 2e+06, too large to train on without a scaler; set scaler='standard'"
    with raises_exactly(ValueError, message):
        fitted(None, np.array([[0.0], [2 * LIMIT]]))
    fitted("standard", np.array([[0.0], [2 * LIMIT]]))


@given(tables, tables)
def test_merged_statistics_are_those_of_all_rows(first, second):
    width = min(first.shape[1], second.shape[1])
    first, second = first[:, :width], second[:, :width]
    got = merged(column_statistics(first, None, 1), column_statistics(second, None, 1))
    wanted = column_statistics(np.concatenate([first, second]), None, 1)
    for key, value in wanted.items():
        np.testing.assert_allclose(got[key], value, rtol=1e-9, atol=1e-9, err_msg=key)


def test_the_range_is_that_of_the_scaled_values():
    X = np.random.default_rng(0).normal(size=(50, 3))
    shift, scale = fitted("robust", X)
    low, high = scaled_range(column_statistics(X, None, 1), shift, scale)
    scaled = (X - shift) / scale
    np.testing.assert_allclose(low, scaled.min(axis=0))
    np.testing.assert_allclose(high, scaled.max(axis=0))


@pytest.mark.parametrize("kind", ["robust", "deciles"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_huge_value_among_others_makes_no_column_constant(kind, dtype):
    X = 7 * np.random.default_rng(0).normal(size=(500, 1)).astype(dtype)
    expected = fitted(kind, X)[1]
    X[7] = 1e20
    np.testing.assert_allclose(fitted(kind, X)[1], expected, rtol=0.05)


@pytest.mark.parametrize("factor", [1e-100, 1e-170, 1e-290])
def test_the_deviation_of_tiny_values_does_not_underflow(factor):
    X = np.random.default_rng(0).normal(size=(500, 2))
    np.testing.assert_allclose(fitted("standard", X * factor)[1], fitted("standard", X)[1] * factor, rtol=1e-12)
    rows = np.arange(0, 500, 3)
    X[1] = np.nan
    tiny = column_statistics(X * factor, rows, 1)["std"]
    np.testing.assert_allclose(tiny, X[rows].std(axis=0) * factor, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_quantiles_of_several_columns_are_those_of_each(weighted):
    rng = np.random.default_rng(0)
    columns, shares, weights = (
        rng.normal(size=(4, 31)),
        (0.0, 0.1, 0.5, 1.0),
        rng.uniform(size=31) if weighted else None,
    )
    if not weighted:
        np.testing.assert_array_equal(quantiles(columns, shares), np.quantile(columns, shares, axis=1).T)
        columns[2, 5] = np.nan
        assert np.isnan(quantiles(columns[2], shares)).all()
    found = quantiles(columns, shares, weights)
    np.testing.assert_array_equal(found, [quantiles(each, shares, weights) for each in columns])
