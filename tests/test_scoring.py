"""Errors, codes and reconstructions equal the oracle for every metric, shape, dtype and layout, row by row."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
import reference
import rounding
from aefast.engine import core

METRICS = ["mse", "mae", "max", "huber", "binary_crossentropy", "categorical_crossentropy", "mahalanobis"]
RESIDUAL_METRICS = ["mse", "mae", "max", "huber", "mahalanobis"]
DTYPES = ["float32", "float64"]
# Widths and row counts around the lanes of a register and the rows of a block, and primes.
SIZES = [1, 2, 3, 5, 7, 8, 9, 13, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 127, 129]


def random_model(widths, seed=0, activation="tanh", output_activation="identity", **options):
    """(network, parameters, scaling values), with a whitening."""
    rng = np.random.default_rng(seed)
    network = reference.network_spec(widths, activation, output_activation=output_activation, **options)
    values = reference.random_scaling(widths[0], rng)
    n_code = widths[network["n_encoder_layers"]]
    n_joint = widths[0] + n_code
    matrix = rng.normal(size=(n_joint, n_joint)) / np.sqrt(n_joint)
    usual, deviation = rng.normal(size=widths[0]), rng.uniform(0.5, 2, size=widths[0])
    whitening = rng.normal(size=n_joint), matrix, usual, deviation
    return network, reference.random_parameters(network, rng), values, whitening


def assert_errors_equal_oracle(network, parameters, values, X, metric, dtype, whitening=None):
    """Row errors and feature shares within the rounding of ``dtype``."""
    predictor = engine.predictor(network, parameters, values, dtype)
    whitening = whitening if metric == "mahalanobis" else None
    x, unit = reference.scale_rows(X, values), 2 * rounding.unit_of(dtype)

    errors = predictor.errors(X, metric, whitening)
    assert errors.shape == (len(X),)
    assert errors.dtype == np.dtype(dtype)
    bound = rounding.row_error_bound(network, parameters, x, metric, unit, whitening)
    expected = reference.errors(network, parameters, values, X, metric, whitening)
    assert (np.abs(errors - expected) <= bound).all(), (
        f"off by {np.abs(errors - expected).max()}, {bound.max()} allowed"
    )

    shares = predictor.feature_errors(X, metric, whitening)
    assert shares.shape == (len(X), network["n_features"])
    assert shares.dtype == np.dtype(dtype)
    if metric == "max":  # rounding may exchange two features that are nearly equally wrong
        shares, expected, bound = shares.sum(axis=1), expected, bound
    else:
        expected = reference.feature_errors(network, parameters, values, X, metric, whitening)
        bound = rounding.feature_error_bound(network, parameters, x, metric, unit, whitening)
    assert (np.abs(shares - expected) <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output_activation", ["identity", "sigmoid", "softmax", "relu", "gelu"])
@pytest.mark.parametrize("metric", METRICS)
def test_errors_of_every_metric_equal_the_oracle(metric, output_activation, dtype):
    if metric not in RESIDUAL_METRICS and output_activation not in ("sigmoid", "softmax"):
        output_activation = "sigmoid"  # a crossentropy is of probabilities
    groups = [(0, 3), (3, 11)] if output_activation == "softmax" else []
    network, parameters, values, whitening = random_model(
        (11, 6, 3, 6, 11), output_activation=output_activation, groups=groups
    )
    if metric not in RESIDUAL_METRICS:
        values = reference.no_scaling(11)
    X = np.random.default_rng(1).dirichlet(np.ones(11), size=150).astype(dtype)
    assert_errors_equal_oracle(network, parameters, values, X, metric, dtype, whitening)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output_activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("metric", ["binary_crossentropy", "categorical_crossentropy"])
def test_a_row_outside_zero_and_one_has_a_larger_crossentropy_the_farther_out_it_is(metric, output_activation, dtype):
    network, parameters, _, _ = random_model((4, 3, 4), output_activation=output_activation)
    values, offsets = reference.no_scaling(4), np.zeros((5, 4))
    offsets[1:3, 1], offsets[3:, 0] = [0.5, 2], [-0.5, -2]
    X = (np.array([0.0, 1.0, 0.3, 0.7]) + offsets).astype(dtype)
    # layers that see nothing of the row, so that the target alone changes
    parameters = [np.zeros_like(p) for p in parameters[:2]] + parameters[2:]
    assert_errors_equal_oracle(network, parameters, values, X, metric, dtype)
    errors = engine.predictor(network, parameters, values, dtype).errors(X, metric)
    assert errors[0] < errors[1] < errors[2]
    assert errors[0] < errors[3] < errors[4]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", sorted(reference.ACTIVATIONS))
def test_errors_equal_the_oracle_for_every_hidden_activation(activation, dtype):
    network, parameters, values, _ = random_model((9, 7, 5, 7, 9), activation=activation)
    X = np.random.default_rng(1).normal(size=(70, 9)).astype(dtype)
    assert_errors_equal_oracle(network, parameters, values, X, "mse", dtype)


@pytest.mark.parametrize("n_rows", SIZES)
def test_errors_equal_the_oracle_for_every_number_of_rows(n_rows):
    network, parameters, values, _ = random_model((6, 5, 6))
    X = np.random.default_rng(n_rows).normal(size=(n_rows, 6)).astype(np.float32)
    assert_errors_equal_oracle(network, parameters, values, X, "mse", "float32")


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", SIZES)
def test_errors_equal_the_oracle_for_every_width(width, dtype, tied):
    X = np.random.default_rng(width).normal(size=(19, width)).astype(dtype)
    for widths in [(width, 3, width), (width, width, 1, width, width)]:
        network, parameters, values, whitening = random_model(widths, tied=tied)
        assert_errors_equal_oracle(network, parameters, values, X, "mse", dtype)
    assert_errors_equal_oracle(network, parameters, values, X, "mahalanobis", dtype, whitening)
    *inner, whitening = random_model((5, width, width, width, 5), tied=tied)
    for metric in ("max", "mahalanobis"):
        assert_errors_equal_oracle(*inner, np.resize(X, (19, 5)), metric, dtype, whitening)


@pytest.mark.parametrize("n_encoder_layers", [1, 2, 3])
def test_codes_and_their_decoding_equal_the_oracle_wherever_the_code_is(n_encoder_layers):
    network, parameters, values, _ = random_model((12, 9, 5, 7, 12), n_encoder_layers=n_encoder_layers)
    X = np.random.default_rng(0).normal(size=(37, 12))
    for dtype in DTYPES:
        predictor = engine.predictor(network, parameters, values, dtype)
        unit = 2 * rounding.unit_of(dtype)
        bounds = rounding.layer_errors(network, parameters, reference.scale_rows(X, values), unit)
        codes, expected = predictor.encode(X), reference.encode(network, parameters, values, X)
        assert codes.dtype == np.dtype(dtype)
        assert (np.abs(codes - expected) <= bounds[n_encoder_layers - 1][1]).all()

        decoded, expected = predictor.decode(codes), reference.decode(network, parameters, values, codes)
        (*_, (_, error)) = rounding.layer_errors(network, parameters, codes.astype(float), unit, first=n_encoder_layers)
        assert (np.abs(decoded - expected) <= error * values[1] + 4 * unit * np.abs(expected)).all()
        np.testing.assert_array_equal(decoded, predictor.reconstruct(X))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output_activation", ["identity", "sigmoid", "softmax", "gelu"])
def test_reconstructions_equal_the_oracle_in_both_spaces(output_activation, dtype):
    network, parameters, values, _ = random_model((10, 4, 10), output_activation=output_activation)
    X = np.random.default_rng(0).normal(size=(33, 10))
    predictor, unit = engine.predictor(network, parameters, values, dtype), 2 * rounding.unit_of(dtype)
    error = rounding.layer_errors(network, parameters, reference.scale_rows(X, values), unit)[-1][1]
    scaled, expected = (
        predictor.reconstruct(X, scaled=True),
        reference.reconstruct(network, parameters, values, X, True),
    )
    assert (np.abs(scaled - expected) <= error).all()
    expected = reference.reconstruct(network, parameters, values, X)
    bound = error * values[1] + 4 * unit * (np.abs(expected) + np.abs(values[0]))
    assert (np.abs(predictor.reconstruct(X) - expected) <= bound).all()


def test_dropout_is_for_training_only():
    network, parameters, values, _ = random_model((6, 8, 3, 8, 6))
    X = np.random.default_rng(0).normal(size=(20, 6))
    plain = engine.predictor(network, parameters, values).errors(X, "mse")
    for layer in network["layers"][:-1]:
        layer["dropout"] = 0.5
    np.testing.assert_array_equal(engine.predictor(network, parameters, values).errors(X, "mse"), plain)


# Layouts: each takes a C-ordered array and gives equal values laid out otherwise.


def _spread(X, rows, columns):
    """X as a strided view of something larger."""
    spread = np.full((len(X) * abs(rows), X.shape[1] * abs(columns)), 7, dtype=X.dtype)
    view = spread[::rows, ::columns]
    view[:] = X
    return view


def _read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def _unaligned(X):
    buffer = np.zeros(X.nbytes + 1, dtype=np.uint8)
    view = buffer[1:].view(X.dtype).reshape(X.shape) if X.size else X
    view[:] = X
    return view


LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "every second row": lambda X: _spread(X, 2, 1),
    "every third column": lambda X: _spread(X, 1, 3),
    "both strided": lambda X: _spread(X, 3, 2),
    "rows reversed": lambda X: _spread(X, -1, 1),
    "columns reversed": lambda X: _spread(X, 1, -1),
    "both reversed and strided": lambda X: _spread(X, -2, -2),
    "Fortran rows reversed": lambda X: np.asfortranarray(X[::-1])[::-1],
    "part of wider rows": lambda X: np.pad(X, ((1, 2), (3, 1)))[1:-2, 3:-1],
    "read-only": _read_only,
}
# These cannot be read in place. They are converted first, which may round differently.
CONVERTED_LAYOUTS = {"unaligned": _unaligned, "other byte order": lambda X: X.astype(X.dtype.newbyteorder())}
INPUT_DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]


def random_input(rng, shape, dtype):
    """Values that the dtype holds, near the scalings of these tests."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return rng.normal(size=shape).astype(dtype)
    low, high = {"i": (-4, 5), "u": (0, 6), "b": (0, 2)}[dtype.kind]
    return rng.integers(low, high, size=shape).astype(dtype)


@settings(max_examples=300)
@given(
    n_rows=st.integers(1, 140),
    n_features=st.integers(1, 40),
    n_code=st.integers(1, 20),
    input_dtype=st.sampled_from(INPUT_DTYPES),
    layout=st.sampled_from(sorted(LAYOUTS)),
    dtype=st.sampled_from(DTYPES),
    metric=st.sampled_from(RESIDUAL_METRICS),
    seed=st.integers(0, 1000),
)
def test_any_dtype_and_layout_is_read_in_place(n_rows, n_features, n_code, input_dtype, layout, dtype, metric, seed):
    network, parameters, values, whitening = random_model((n_features, n_code, n_features), seed)
    X = random_input(np.random.default_rng(seed), (n_rows, n_features), input_dtype)
    laid_out = LAYOUTS[layout](X)
    assert_errors_equal_oracle(network, parameters, values, laid_out, metric, dtype, whitening)
    predictor = engine.predictor(network, parameters, values, dtype)
    np.testing.assert_array_equal(predictor.errors(laid_out, "mse"), predictor.errors(X, "mse"))
    np.testing.assert_array_equal(predictor.encode(laid_out), predictor.encode(X))
    np.testing.assert_array_equal(laid_out, X)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("input_dtype", INPUT_DTYPES)
def test_every_pair_of_dtype_and_layout_gives_the_bits_of_a_plain_array(input_dtype, layout):
    network, parameters, values, _ = random_model((21, 4, 21))
    X = random_input(np.random.default_rng(0), (83, 21), input_dtype)
    predictor, trainer = engine.predictor(network, parameters, values), engine.trainer(network, parameters)
    laid_out, scaling = LAYOUTS[layout](X), engine.scaling(values)
    np.testing.assert_array_equal(predictor.reconstruct(laid_out), predictor.reconstruct(X))
    assert trainer.evaluate(laid_out, scaling) == trainer.evaluate(X, scaling)
    for a, b in zip(trainer.gradient(laid_out, scaling)[1], trainer.gradient(X, scaling)[1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("layout", CONVERTED_LAYOUTS)
@pytest.mark.parametrize("input_dtype", INPUT_DTYPES)
def test_arrays_that_cannot_be_read_in_place_are_converted(input_dtype, layout):
    network, parameters, values, _ = random_model((21, 4, 21))
    X = CONVERTED_LAYOUTS[layout](random_input(np.random.default_rng(0), (83, 21), input_dtype))
    assert_errors_equal_oracle(network, parameters, values, X, "mse", "float32")


@pytest.mark.parametrize("input_dtype", INPUT_DTYPES)
def test_a_memory_mapped_file_is_scored_like_the_array_it_holds(tmp_path, input_dtype):
    network, parameters, values, _ = random_model((7, 3, 7))
    X = random_input(np.random.default_rng(0), (50, 7), input_dtype)
    np.save(tmp_path / "rows.npy", X)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    predictor = engine.predictor(network, parameters, values)
    np.testing.assert_array_equal(predictor.errors(mapped, "mse"), predictor.errors(X, "mse"))


def test_a_row_repeated_without_being_stored_again_is_scored_as_often():
    network, parameters, values, _ = random_model((7, 3, 7))
    row = np.random.default_rng(0).normal(size=(1, 7))
    predictor = engine.predictor(network, parameters, values)
    errors = predictor.errors(np.broadcast_to(row, (100, 7)), "mse")
    np.testing.assert_array_equal(errors, np.repeat(predictor.errors(row, "mse"), 100))
    column = np.broadcast_to(row[:, :1], (1, 7))
    np.testing.assert_array_equal(predictor.errors(column, "mse"), predictor.errors(column.copy(), "mse"))


@settings(max_examples=60)
@given(
    n_rows=st.integers(1, 300),
    widths=st.sampled_from([(5, 3, 5), (30, 16, 8, 16, 30), (1, 1, 1), (17, 64, 17), (70, 33, 2, 33, 70), (3, 450, 3)]),
    activation=st.sampled_from(sorted(reference.ACTIVATIONS)),
    dtype=st.sampled_from(DTYPES),
    metric=st.sampled_from(RESIDUAL_METRICS),
    fortran=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_row_has_the_same_score_alone_in_any_batch_and_in_any_order(
    n_rows, widths, activation, dtype, metric, fortran, seed
):
    network, parameters, values, whitening = random_model(widths, seed, activation)
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, widths[0])).astype(dtype)
    X = np.asfortranarray(X) if fortran else X
    predictor = engine.predictor(network, parameters, values, dtype)
    whitening = whitening if metric == "mahalanobis" else None
    errors = predictor.errors(X, metric, whitening)
    for index in rng.integers(0, n_rows, size=5):
        assert predictor.errors(X[index : index + 1], metric, whitening) == errors[index]
    order = rng.permutation(n_rows)
    np.testing.assert_array_equal(predictor.errors(X[order], metric, whitening), errors[order])
    begin, end = sorted(rng.integers(0, n_rows + 1, size=2))
    np.testing.assert_array_equal(predictor.errors(X[begin:end], metric, whitening), errors[begin:end])
    np.testing.assert_array_equal(predictor.encode(X)[begin:end], predictor.encode(X[begin:end]))


@pytest.mark.parametrize("n_threads", [2, 3])
def test_threads_change_no_bit_of_any_result(n_threads):
    network, parameters, values, whitening = random_model((64, 48, 16, 48, 64))
    X = np.random.default_rng(0).normal(size=(5003, 64)).astype(np.float32)
    one, many = (engine.predictor(network, parameters, values, n_threads=n) for n in (1, n_threads))
    for metric in METRICS:
        matrix = whitening if metric == "mahalanobis" else None
        np.testing.assert_array_equal(one.errors(X, metric, matrix), many.errors(X, metric, matrix))
        np.testing.assert_array_equal(one.feature_errors(X, metric, matrix), many.feature_errors(X, metric, matrix))
    np.testing.assert_array_equal(one.encode(X), many.encode(X))
    np.testing.assert_array_equal(one.reconstruct(X), many.reconstruct(X))
    np.testing.assert_array_equal(one.decode(one.encode(X)), many.decode(one.encode(X)))


@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("input_dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu"])
@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_are_not_finite_get_nan_and_no_other_row_does(metric, activation, input_dtype, fortran):
    output_activation = "identity" if metric in RESIDUAL_METRICS else "sigmoid"
    network, parameters, values, whitening = random_model(
        (6, 5, 2, 5, 6), activation=activation, output_activation=output_activation
    )
    X = np.random.default_rng(0).uniform(0.1, 0.9, size=(70, 6)).astype(input_dtype)
    X = np.asfortranarray(X) if fortran else X
    predictor = engine.predictor(network, parameters, values)
    matrix = whitening if metric == "mahalanobis" else None
    clean = predictor.errors(X, metric, matrix)
    broken = {0: np.nan, 17: np.inf, 18: -np.inf, 69: np.nan}
    for row, value in broken.items():
        X[row, row % 6] = value
    errors = predictor.errors(X, metric, matrix)
    expected = clean.copy()
    expected[list(broken)] = np.nan
    np.testing.assert_array_equal(errors, expected)


@pytest.mark.parametrize("metric", METRICS)
def test_feature_shares_add_up_to_the_error(metric):
    network, parameters, values, whitening = random_model((13, 4, 13), output_activation="sigmoid")
    X = np.random.default_rng(0).uniform(size=(40, 13))
    predictor = engine.predictor(network, parameters, values, "float64")
    matrix = whitening if metric == "mahalanobis" else None
    shares, errors = predictor.feature_errors(X, metric, matrix), predictor.errors(X, metric, matrix)
    size = np.abs(shares).sum(axis=1)
    assert (np.abs(shares.sum(axis=1) - errors) <= 1e-13 * size).all()
    if metric == "max":
        assert ((shares != 0).sum(axis=1) == 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("metric", "output_activation"),
    [
        (metric, output)
        for metric in METRICS
        for output in ("identity", "sigmoid", "softmax")
        if output != "identity" or metric in RESIDUAL_METRICS  # a crossentropy is of probabilities
    ],
)
def test_reasons_are_the_largest_shares_with_the_errors_and_reconstructions_of_separate_passes(
    metric, output_activation, dtype
):
    network, parameters, values, whitening = random_model([9, 5, 2, 5, 9], output_activation=output_activation)
    X = np.random.default_rng(3).normal(size=(150, 9))
    predictor = engine.predictor(network, parameters, values, dtype)
    judged_by = (X, metric, whitening if metric == "mahalanobis" else None)
    for top in (1, 3, 9):
        errors, features, shares, expected, found = predictor.reasons(*judged_by, top=top)
        np.testing.assert_array_equal(errors, predictor.errors(*judged_by))
        separate = predictor.feature_errors(*judged_by)
        np.testing.assert_array_equal(features, np.argsort(-separate, axis=1, kind="stable")[:, :top])
        at_features = np.take_along_axis(separate, features, axis=1)
        np.testing.assert_allclose(shares, at_features / errors[:, None], rtol=1e-5)
        reconstructions = predictor.reconstruct(X)
        np.testing.assert_array_equal(expected, np.take_along_axis(reconstructions, features, axis=1))
        np.testing.assert_array_equal(found, np.take_along_axis(X, features, axis=1))


@pytest.mark.parametrize("n_rows", SIZES)
def test_reasons_of_any_number_of_rows_and_threads(n_rows):
    network, parameters, values, _ = random_model([17, 3, 17])
    X = np.random.default_rng(3).normal(size=(n_rows, 17))
    one, two = (engine.predictor(network, parameters, values, n_threads=n) for n in (1, 2))
    for a, b in zip(one.reasons(X, "mae", top=16), two.reasons(X, "mae", top=16), strict=True):
        np.testing.assert_array_equal(a, b)
    wanted = np.argsort(-one.feature_errors(X, "mae"), axis=1, kind="stable")[:, :16]
    np.testing.assert_array_equal(one.reasons(X, "mae", top=16)[1], wanted)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int8", "int64", "uint16"])
def test_reasons_have_the_input_values_for_any_layout(dtype):
    network, parameters, values, _ = random_model([7, 3, 7])
    X = np.random.default_rng(3).integers(0, 100, size=(133, 7)).astype(dtype)
    predictor = engine.predictor(network, parameters, values)
    for rows in (X, np.asfortranarray(X), np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3], X[::-1, ::-1]):
        _, features, _, _, found = predictor.reasons(rows, "mse", top=3)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, np.take_along_axis(rows, features, axis=1))


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("n_features", [1, 2, 3, 5, 7, 8, 9, 13, 15, 16, 17, 31, 33, 67, 130])
def test_equal_reasons_come_in_column_order_for_any_width(n_features, missing):
    network = reference.network_spec([n_features, 3, n_features], "relu")
    parameters = [np.zeros((n_features, 3)), np.zeros(3), np.zeros((3, n_features)), np.zeros(n_features)]
    rng = np.random.default_rng(n_features)
    X = rng.integers(-2, 3, size=(150, n_features)).astype(float)  # the outputs are zeros, the errors are squares
    if missing:
        X[rng.random(X.shape) < 0.3] = np.nan
    scaling = core.Scaling(*reference.no_scaling(n_features), masks_missing=missing)
    wanted = np.argsort(np.where(np.isnan(X), 1, -(X**2)), axis=1, kind="stable")
    squares, total = np.nan_to_num(X) ** 2, np.nansum(X**2, axis=1)
    for dtype in DTYPES:
        predictor = core.Predictor(network, parameters, scaling, dtype, 1)
        for top in {1, 2, 3, 4, 16} & set(range(n_features + 1)):
            errors, features, shares, expected, found = predictor.reasons(X, "mse", top=top)
            np.testing.assert_array_equal(errors, predictor.errors(X, "mse"))
            np.testing.assert_array_equal(features, wanted[:, :top])
            parts = np.take_along_axis(squares, features, axis=1) / np.maximum(total, 1)[:, None]
            np.testing.assert_allclose(shares, parts, rtol=1e-6)
            np.testing.assert_array_equal(expected, np.zeros((len(X), top)))
            np.testing.assert_array_equal(found, np.take_along_axis(X, features, axis=1))


def test_a_row_without_error_has_reasons_of_no_weight():
    network = reference.network_spec([4, 4], "identity")
    values = (np.zeros(4), np.ones(4), 1e6)
    predictor = engine.predictor(network, [np.eye(4), np.zeros(4)], values, "float64")
    errors, features, shares, _, _ = predictor.reasons(np.ones((3, 4)), "mse", top=2)
    assert errors.tolist() == [0.0] * 3
    assert features.tolist() == [[0, 1]] * 3
    assert shares.tolist() == [[0.0, 0.0]] * 3


@pytest.mark.parametrize("top", [0, 10, 17])
def test_more_reasons_than_features_are_refused(top):
    network, parameters, values, _ = random_model([9, 5, 9])
    with pytest.raises(ValueError, match="top is out of range"):
        engine.predictor(network, parameters, values).reasons(np.ones((3, 9)), "mse", top=top)


def test_no_rows_give_empty_results():
    network, parameters, values, _ = random_model((4, 2, 4))
    predictor, nothing = engine.predictor(network, parameters, values), np.empty((0, 4))
    assert predictor.errors(nothing, "mse").shape == (0,)
    assert predictor.feature_errors(nothing, "mse").shape == (0, 4)
    assert predictor.encode(nothing).shape == (0, 2)
    assert predictor.decode(np.empty((0, 2))).shape == (0, 4)
    assert predictor.reconstruct(nothing).shape == (0, 4)


def test_arrays_that_do_not_fit_are_refused():
    network, parameters, values, _ = random_model((4, 2, 4))
    predictor = engine.predictor(network, parameters, values)
    for X in [np.zeros((3, 5)), np.zeros(4), np.zeros((2, 2, 4))]:
        with pytest.raises(ValueError, match=r"width|2-d"):
            predictor.errors(X, "mse")
    with pytest.raises(ValueError, match="width"):
        predictor.decode(np.zeros((3, 4)))
    whitening = np.zeros(6), np.zeros((6, 6)), np.zeros(4), np.ones(4)
    for index, name in enumerate(["centre of whitening", "matrix of whitening", "usual row", "deviation of"]):
        wrong = tuple(np.zeros((3, 3)) if i == index else array for i, array in enumerate(whitening))
        with pytest.raises(ValueError, match=name):
            predictor.errors(np.zeros((3, 4)), "mahalanobis", wrong)
    for metric, unsuited in [("mahalanobis", None), ("mse", whitening)]:
        with pytest.raises(ValueError, match="requires whitening"):
            predictor.feature_errors(np.zeros((3, 4)), metric, unsuited)
    with pytest.raises(ValueError, match="cosine"):
        predictor.errors(np.zeros((3, 4)), "cosine")
    with pytest.raises((TypeError, ValueError)):
        predictor.errors(np.array([["a"] * 4]), "mse")
    with pytest.raises(ValueError, match="shape"):
        engine.predictor(network, [p.T for p in parameters], values)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_predictor_serves_several_threads_and_sizes(dtype):
    """Calls share workspaces of the predictor, one after the other and at the same time."""
    network, parameters, values, _ = random_model((30, 16, 8, 16, 30))
    X = np.random.default_rng(1).normal(size=(2000, 30))
    predictor = engine.predictor(network, parameters, values, dtype)
    slices = [slice(first, first + n) for n in (1, 3, 17, 33, 700) for first in range(0, 100, 7)] * 5
    alone = [engine.predictor(network, parameters, values, dtype).errors(X[rows], "mse") for rows in slices]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda rows: predictor.errors(X[rows], "mse"), slices))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
