"""The engine scales difficult numbers correctly: huge, subnormal, far from zero, integers beyond a float."""

import ctypes
import mmap

import numpy as np
import pytest

import engine
import reference
from aefast.engine import core

DTYPES = ["float32", "float64"]


def scaled_by_the_engine(X, values, dtype):
    """Return the scaled rows, by passing them through identity layers."""
    n_features = X.shape[1]
    network = reference.network_spec((n_features, n_features, n_features), "identity")
    parameters = [np.eye(n_features), np.zeros(n_features)] * 2
    return engine.predictor(network, parameters, values, dtype).reconstruct(X, scaled=True)


def assert_scaled_exactly(X, values, dtype, units=4):
    """Check that the engine's scaling equals that in float64, up to a few roundings of the result."""
    expected = reference.scale_rows(X, values)
    allowed = units * np.finfo(dtype).eps / 2 * np.abs(expected)
    difference = np.abs(scaled_by_the_engine(X, values, dtype) - expected)
    assert (difference <= allowed).all(), f"off by {(difference / np.maximum(np.abs(expected), 1e-300)).max():.2g}"


def before_forbidden_memory(X):
    """Return a copy that ends at the border of a page that must not be read."""
    size = -(-X.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    pages = mmap.mmap(-1, size + mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    assert ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(address + size), mmap.PAGESIZE, 0) == 0
    copy = np.frombuffer(pages, X.dtype, X.size, offset=size - X.nbytes).reshape(X.shape)
    copy[...] = X
    return copy


@pytest.mark.parametrize("input_dtype", ["f4", "f8", "i2"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_any_width_are_read_to_their_end_and_no_further(dtype, input_dtype):
    rng = np.random.default_rng(0)
    for n_features in [*range(1, 36), 63, 64, 65, 129]:
        values = rng.uniform(-30, 30, n_features), rng.uniform(10, 40, n_features), 2.0
        X = rng.integers(-99, 99, (67, n_features)).astype(input_dtype)
        wide = np.zeros((67, n_features + 3), input_dtype)
        wide[:, :n_features] = X
        for rows in (before_forbidden_memory(X), wide[:, :n_features], X[::-1], X[:64], X[:5]):
            assert_scaled_exactly(rows, values, dtype)


@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mean", [1e3, 1e6, 1e9, -1e9])
def test_a_small_spread_far_from_zero_keeps_its_digits(mean, dtype, fortran):
    rng = np.random.default_rng(0)
    X = mean + 1e-3 * rng.normal(size=(200, 5))
    values = X.mean(axis=0), X.std(axis=0), 1e6
    X = np.asfortranarray(X) if fortran else X
    # X - mean is exact in double (Sterbenz); only scale and result are rounded.
    assert_scaled_exactly(X, values, dtype)


@pytest.mark.parametrize("mean", [100.0, 4096.0, -1e5])
def test_single_precision_rows_are_scaled_with_a_mean_that_single_precision_cannot_hold(mean):
    X = (mean + np.random.default_rng(0).normal(size=(200, 5))).astype(np.float32)
    values = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64), 1e6
    expected = reference.scale_rows(X, values)
    # The rest of the mean that float32 cannot hold is at most 2^-24 of it, and is stored with an error of 2^-24.
    allowed = 2**-22 * np.abs(expected) + 2**-47 * np.abs(mean) + 2**-24 * 2**-24 * np.abs(mean / values[1])
    assert (np.abs(scaled_by_the_engine(X, values, "float32") - expected) <= allowed).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_beyond_the_limit_are_clipped_to_it(dtype):
    X = np.array([[1e300, -1e300], [1e38, 3.0], [7.0, -8.0]])
    values = np.zeros(2), np.ones(2), 5.0
    assert scaled_by_the_engine(X, values, dtype).tolist() == [[5.0, -5.0], [5.0, 3.0], [5.0, -5.0]]


@pytest.mark.parametrize("metric", ["mse", "mae", "max", "huber"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("input_dtype", ["f4", "f8"])
def test_the_largest_numbers_are_scored_finitely(input_dtype, dtype, metric):
    largest = np.finfo(input_dtype).max
    X = np.array([[largest, 0.0], [-largest, largest], [1.0, 2.0]], dtype=input_dtype)
    rng = np.random.default_rng(0)
    network = reference.network_spec((2, 3, 2), "relu")
    parameters = reference.random_parameters(network, rng)
    for scale in (1.0, 1e-300, 1e300):
        values = np.zeros(2), np.full(2, scale), 1e6
        errors = engine.predictor(network, parameters, values, dtype).errors(X, metric)
        assert np.isfinite(errors).all()
        trainer = engine.trainer(network, parameters, {"loss": metric} if metric != "max" else None, dtype=dtype)
        assert np.isfinite(trainer.evaluate(X, engine.scaling(values)))


@pytest.mark.parametrize(("name", "scale"), [("f2", 2.0**-24), ("f4", 2.0**-120), ("f8", 2.0**-1000)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_numbers_are_as_small_as_they_are(name, scale, dtype):
    X = np.array([[0, 1], [2, 3], [-1, 1000]], dtype=name) * np.finfo(name).smallest_subnormal
    # Scaled up, all values stay exact.
    assert_scaled_exactly(X, (np.zeros(2), np.full(2, scale), 1e6), dtype)
    # Unscaled, they may become zero, but nothing else.
    plain = scaled_by_the_engine(X, reference.no_scaling(2), dtype)
    assert (np.abs(plain) <= np.abs(X.astype(np.float64)) + np.finfo(dtype).smallest_subnormal).all()


def test_every_half_precision_number_is_read_exactly():
    bits = np.arange(2**16, dtype=np.uint16).reshape(-1, 8)
    X = bits.view(np.float16)
    finite_rows = np.isfinite(X).all(axis=1)
    got = scaled_by_the_engine(X, reference.no_scaling(8), "float32")
    np.testing.assert_array_equal(got[finite_rows], X[finite_rows].astype(np.float32))
    assert np.isnan(got[~finite_rows]).any(axis=1).all()


@pytest.mark.parametrize("name", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_the_ends_of_every_integer_type_are_read(name):
    limits = np.iinfo(name)
    X = np.array([[limits.min, limits.max], [limits.max, limits.min], [0, 1]], dtype=name)
    for dtype in DTYPES:
        assert_scaled_exactly(X, (np.zeros(2), np.full(2, 3.0), 1e30), dtype)


def test_integers_larger_than_a_float_are_distinguished():
    X = np.array([[2**40], [2**40 + 1], [2**40 + 2]], dtype=np.int64)
    got = scaled_by_the_engine(X, (np.full(1, 2.0**40), np.ones(1), 1e6), "float32")
    assert got.ravel().tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("input_dtype", ["f2", "f4", "f8", "i2", "u1", "?"])
def test_column_statistics_are_those_of_numpy(input_dtype, n_threads):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(9001, 7)) * 3 + 1
    if input_dtype == "u1":
        X = np.abs(X)  # what a negative number becomes differs between processors
    X = X.astype(input_dtype) if input_dtype != "?" else rng.random((9001, 7)) < 0.3
    for rows in (None, rng.integers(0, len(X), size=501)):
        chosen = (X if rows is None else X[rows]).astype(np.float64)
        found = core.column_statistics(X, rows, n_threads)
        np.testing.assert_allclose(found["mean"], chosen.mean(axis=0), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(found["std"], chosen.std(axis=0), rtol=1e-12)
        np.testing.assert_array_equal(found["min"], chosen.min(axis=0))
        np.testing.assert_array_equal(found["max"], chosen.max(axis=0))
        assert not found["n_nonfinite"].any()


@pytest.mark.parametrize("mean", [0.0, 1e6, 1e12, -1e15])
def test_column_statistics_keep_their_digits_far_from_zero(mean):
    X = mean + np.random.default_rng(0).integers(-8, 9, size=(20_000, 3)).astype(np.float64)
    found = core.column_statistics(X, None, 2)
    exact = X - mean  # exact: all are integers below 2^53
    np.testing.assert_allclose(found["mean"] - mean, exact.mean(axis=0), rtol=1e-12, atol=2 * np.spacing(abs(mean)))
    np.testing.assert_allclose(found["std"], exact.std(axis=0), rtol=1e-11)


def test_column_statistics_do_not_depend_on_threads():
    X = np.random.default_rng(0).normal(size=(40_000, 9)) * 1e3
    one, *others = (core.column_statistics(X, None, n) for n in (1, 2, 3, 5))
    for other in others:
        for key, value in one.items():
            np.testing.assert_array_equal(other[key], value)


def test_column_statistics_count_what_is_not_finite():
    X = np.ones((5000, 3))
    X[[0, 17, 4999], [0, 1, 1]] = [np.nan, np.inf, -np.inf]
    assert core.column_statistics(X, None, 2)["n_nonfinite"].tolist() == [1, 2, 0]


def test_constant_columns_have_no_spread():
    for value in (0.1, 1e300, -7.0):
        assert core.column_statistics(np.full((1000, 2), value), None, 1)["std"].tolist() == [0.0, 0.0]


def test_column_statistics_of_huge_numbers_are_not_nan():
    X = np.array([[1e308, 1.0], [-1e308, 2.0], [1e308, 3.0]])
    found = core.column_statistics(X, None, 1)
    assert not np.isnan(found["mean"]).any()
    assert not np.isnan(found["std"]).any()


@pytest.mark.parametrize("input_dtype", ["f2", "f4", "f8", "i1", "u2", "i4", "i8", "u8"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_rows", [1, 63, 64, 65, 1000])
def test_columns_that_lie_apart_are_read_as_the_rows_they_make(n_rows, dtype, input_dtype):
    rng = np.random.default_rng(n_rows)
    X = rng.integers(0, 100, (n_rows, 5)).astype(input_dtype)
    network = reference.network_spec((5, 7, 2, 7, 5), "tanh")
    values = rng.uniform(30, 60, 5), rng.uniform(10, 40, 5), 1e6
    predictor = engine.predictor(network, reference.random_parameters(network, rng), values, dtype, n_threads=2)
    columns = [column.copy() for column in X.T]
    np.testing.assert_array_equal(predictor.errors(columns, "mse"), predictor.errors(X, "mse"))
    np.testing.assert_array_equal(predictor.errors(columns, "max"), predictor.errors(np.asfortranarray(X), "max"))


def test_columns_that_do_not_fit_together_are_refused():
    network = reference.network_spec((2, 3, 2), "relu")
    parameters = reference.random_parameters(network, np.random.default_rng(0))
    predictor = engine.predictor(network, parameters, (np.zeros(2), np.ones(2), 1e6))
    a, unaligned = np.zeros(4), np.frombuffer(bytes(33), np.float64, 4, 1)
    for other in (np.zeros(5), np.zeros(4, np.float32), np.zeros((4, 1)), np.zeros(8)[::2], unaligned, a.astype(">f8")):
        with pytest.raises(ValueError, match="contiguous vectors of one type and length"):
            predictor.errors([a, other], "mse")
    for columns in ([a], [a, a, a]):
        with pytest.raises(ValueError, match="X has the wrong width"):
            predictor.errors(columns, "mse")
    with pytest.raises(ValueError, match="at least one column"):
        predictor.errors([], "mse")
    with pytest.raises(ValueError, match="contiguous vectors of one type"):
        predictor.errors([np.zeros(4, complex)] * 2, "mse")
