"""The calibrated score of the engine equals its oracle, for every shape, form, dtype and kind of row."""

import numpy as np
import pytest

import engine
import reference
import reference_distances as oracle
import rounding
from aefast.engine import core

# Widths of the input and the code around the lanes of a register and the rows of a block, and primes.
SHAPES = [(1, 1), (2, 1), (3, 2), (7, 3), (10, 4), (16, 5), (17, 16), (31, 2), (64, 9), (65, 33), (129, 7)]


def case(n_features, n_code, seed=0, *, dtype="float32", limit=1e6, missing=False, **options):
    """(predictor, oracle's arguments before the rows, distances)."""
    rng = np.random.default_rng(seed)
    network = reference.network_spec((n_features, n_code, n_features), "tanh")
    shift, scale, _ = values = reference.random_scaling(n_features, rng)
    parameters = reference.random_parameters(network, rng)
    distances = oracle.random_distances(network, rng, scaling=values, **options)
    scaling = core.Scaling(shift, scale, limit, None, missing)
    predictor = core.Predictor(network, parameters, scaling, dtype, 1)
    return predictor, (network, parameters, (shift, scale, limit)), distances


def rows_for(n_features, n_rows=70, seed=1, spread=1.0):
    return np.random.default_rng(seed).normal(scale=spread, size=(n_rows, n_features))


def bounds(model, X, distances, unit, masks_missing=False):
    """Return how far rounding may move the scores (n,), to first order; see `rounding`."""
    network, parameters, (shift, scale, limit) = model
    found = oracle.measured(*model, X, distances, masks_missing)
    free = np.where(np.isnan(X), 0, (X - shift) / scale)
    y = np.clip(free, -limit, limit)
    layers = rounding.layer_errors(network, parameters, y, unit)
    e_y = 4 * unit * (np.abs(y) + np.abs(shift / scale))
    records = reference.forward(network, parameters, y)
    code = network["n_encoder_layers"] - 1
    elements, (m, p) = distances.elements, (len(distances.elements), len(distances.centre))
    residual = np.abs(records[-1].y - y)
    e_v, size = layers[-1][1] + e_y + 2 * unit * residual, residual
    e_v, size = e_v[:, elements], size[:, elements]
    if p > m:
        e_v, size = np.hstack([e_v, layers[code][1]]), np.hstack([size, np.abs(records[code].y)])
    size = size + np.abs(distances.centre)
    # |W| bounds the map to w, and what cancels between w and a centre or the low-rank part.
    full = np.abs(oracle.whitened(np.eye(p), distances)).T
    e_w = e_v @ full.T + 2 * (p + 8) * unit * (size @ full.T)
    length = np.sqrt(np.square(size @ full.T).sum(axis=1)) + np.sqrt(np.square(distances.centres).sum(axis=1)).max()
    e_square = 2 * length * np.sqrt(np.square(e_w).sum(axis=1)) + (3 * p + 16) * unit * length**2
    z_size = np.abs(found.z) + np.abs(distances.means).max(axis=0)
    e_z = e_y[:, elements] / distances.span + 4 * unit * z_size
    e_local = 2 * (z_size * e_z).sum(axis=1) + (3 * m + 16) * unit * np.square(z_size).sum(axis=1)
    e_beyond = ((e_y[:, elements] + 4 * unit * np.abs(free[:, elements])) * scale[elements] / distances.unit).max(
        axis=1
    )
    e_beyond += 8 * unit
    e_parts = np.column_stack([e_square / found.D, e_square / found.J, e_local / found.P])
    standard = oracle.parts(found, distances)
    e_parts = (e_parts + 8 * unit * (1 + np.abs(np.log([found.D, found.J, found.P]).T))) / distances.calibration[:, 1]
    e_parts = np.column_stack([e_parts, 2 * e_beyond / np.maximum(found.B, 1e-300) + 16 * unit])
    # A part far below the largest does not matter, however inexact it is.
    lowest = (standard - e_parts).max(axis=1, keepdims=True)
    counts = standard + e_parts >= lowest
    return (
        np.where(counts, e_parts, 0).max(axis=1)
        + e_beyond / (1 + found.B)
        + 16 * unit * (1 + np.abs(standard.max(axis=1)))
    )


def assert_equals_oracle(predictor, model, X, distances, dtype, masks_missing=False):
    unit = 2 * rounding.unit_of(dtype)
    expected = oracle.errors(*model, X, distances, masks_missing)
    allowed = bounds(model, X, distances, unit, masks_missing)
    errors = predictor.errors(X, "calibrated", distances)
    assert errors.dtype == np.dtype(dtype)
    assert (np.abs(errors - expected) <= allowed).all(), f"off by {np.abs(errors - expected).max()}, {allowed.max()}"
    assert np.median(allowed) < (0.05 if dtype == "float32" else 1e-10)
    return errors


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n_features", "n_code"), SHAPES)
def test_scores_equal_the_oracle(n_features, n_code, dtype):
    predictor, model, distances = case(n_features, n_code, dtype=dtype)
    X = rows_for(n_features)
    assert_equals_oracle(predictor, model, X, distances, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n_features", "n_code", "rank"), [(9, 2, 3), (65, 5, 16), (300, 7, 64)])
def test_scores_of_the_low_rank_form_equal_the_oracle(n_features, n_code, rank, dtype):
    predictor, model, distances = case(n_features, n_code, dtype=dtype, rank=rank)
    assert_equals_oracle(predictor, model, rows_for(n_features), distances, dtype)


@pytest.mark.parametrize("uses_code", [True, False])
@pytest.mark.parametrize("elements", [[0], [2, 3, 7], range(1, 13, 2), range(13)])
def test_a_part_of_the_inputs_can_be_scored(elements, uses_code):
    predictor, model, distances = case(13, 4, elements=list(elements), uses_code=uses_code)
    X = rows_for(13)
    assert_equals_oracle(predictor, model, X, distances, "float32")
    others = np.setdiff1d(np.arange(13), list(elements))
    shares = predictor.feature_errors(X, "calibrated", distances)
    assert (shares[:, others] == 0).all()


@pytest.mark.parametrize("n_rows", [1, 2, 15, 16, 17, 63, 64, 65, 200])
def test_a_score_does_not_depend_on_the_rows_beside_it(n_rows):
    predictor, _, distances = case(7, 3)
    X = rows_for(7, 200)
    together = predictor.errors(X, "calibrated", distances)
    np.testing.assert_array_equal(predictor.errors(X[:n_rows], "calibrated", distances), together[:n_rows])
    np.testing.assert_array_equal(
        predictor.errors(X[200 - n_rows :], "calibrated", distances), together[200 - n_rows :]
    )


def test_rows_beyond_the_limit_are_told_apart_by_how_far_they_are():
    predictor, model, distances = case(5, 2, limit=3.0)
    rows = np.zeros((40, 5))
    rows[:, 2] = np.geomspace(10, 1e12, 40)
    errors = assert_equals_oracle(predictor, model, rows, distances, "float32")
    assert (np.diff(errors) > 0).all()
    shares = predictor.feature_errors(rows, "calibrated", distances)
    assert (shares[:, 2] == errors).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_numbers_have_finite_scores(dtype):
    predictor, _, distances = case(5, 2, dtype=dtype, limit=3.0)
    largest = np.finfo(dtype).max
    errors = predictor.errors(np.array([[largest, 0, 0, 0, -largest]] * 3, dtype=dtype), "calibrated", distances)
    assert np.isfinite(errors).all()
    assert (errors > 60).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_has_no_score(bad):
    predictor, _, distances = case(6, 2)
    X = rows_for(6, 40)
    X[7, 3] = bad
    errors = predictor.errors(X, "calibrated", distances)
    assert np.isnan(errors[7])
    assert np.isfinite(np.delete(errors, 7)).all()
    assert np.isnan(predictor.parts(X, distances)[7, :3]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_missing_values_have_no_residual_and_are_not_beyond(dtype):
    predictor, model, distances = case(9, 3, dtype=dtype, missing=True)
    X = rows_for(9)
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    X[3] = np.nan
    assert_equals_oracle(predictor, model, X, distances, dtype, masks_missing=True)


@pytest.mark.parametrize("rank", [0, 5])
@pytest.mark.parametrize("part", range(4))
def test_shares_are_those_of_the_largest_part(part, rank):
    predictor, model, distances = case(8, 3, dtype="float64", rank=rank)
    lowered = distances.calibration.copy()
    lowered[np.arange(3) != part, 0] += 50
    top = 50.0 if part == 3 else -50.0
    if part < 3:
        lowered[part, 0] -= 50
    distances = distances._replace(calibration=lowered, top=np.array([top]))
    X = rows_for(8, 60, spread=3.0)
    if part == 3:
        X = X[oracle.measured(*model, X, distances).B > 0]
    found = oracle.measured(*model, X, distances)
    assert (oracle.parts(found, distances).argmax(axis=1) == part).all()
    errors = predictor.errors(X, "calibrated", distances)
    expected = oracle.shares(*model, X, distances)
    np.testing.assert_allclose(
        predictor.feature_errors(X, "calibrated", distances), expected * errors[:, None], rtol=1e-7, atol=1e-9
    )
    _, columns, shares, *_ = predictor.reasons(X, "calibrated", distances, top=3)
    np.testing.assert_allclose(shares, -np.sort(-expected, axis=1)[:, :3], rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(columns[:, 0], expected.argmax(axis=1))


def test_reasons_have_the_same_errors():
    predictor, _, distances = case(11, 3)
    X = rows_for(11, 150, spread=2.0)
    errors = predictor.errors(X, "calibrated", distances)
    np.testing.assert_array_equal(predictor.reasons(X, "calibrated", distances, top=2)[0], errors)
    predictor.set_distances(distances)
    np.testing.assert_array_equal(predictor.errors(X, "calibrated"), errors)
    np.testing.assert_array_equal(predictor.finite_errors(X, "calibrated"), errors)


def test_the_parts_are_those_of_the_score():
    predictor, model, distances = case(6, 2, dtype="float64")
    X = rows_for(6, spread=2.0)
    found = oracle.measured(*model, X, distances)
    expected = np.column_stack([np.log(found.D / 8), np.log(found.J), np.log(found.P), found.B])
    np.testing.assert_allclose(predictor.parts(X, distances), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_threads_do_not_change_a_bit(n_threads):
    rng = np.random.default_rng(0)
    network = reference.network_spec((40, 8, 40), "tanh")
    parameters, distances = reference.random_parameters(network, rng), oracle.random_distances(network, rng)
    X = rows_for(40, 5000)
    errors = [
        engine.predictor(network, parameters, reference.no_scaling(40), "float32", n).errors(X, "calibrated", distances)
        for n in (1, n_threads)
    ]
    np.testing.assert_array_equal(*errors)


def test_arrays_that_do_not_fit_are_refused():
    predictor, _, distances = case(6, 2)
    X = rows_for(6)
    for name in distances._fields:
        wrong = distances._replace(**{name: np.zeros((2, 1, 1))})
        with pytest.raises(ValueError, match=r"wrong shape|must ascend"):
            predictor.errors(X, "calibrated", wrong)
    with pytest.raises(ValueError, match="requires distances"):
        predictor.errors(X, "calibrated")
    with pytest.raises(ValueError, match="requires"):
        predictor.errors(X, "mse", distances)
    with pytest.raises(ValueError, match="fifteen"):
        predictor.errors(X, "calibrated", tuple(distances)[:4])
