"""Scoring in bfloat16 and int8: the bits of the oracle at every level, and the ranking of float32."""

import numpy as np
import pytest
from pyarrow import parquet
from scipy.stats import spearmanr

import aefast
import reference_reduced
from aefast.engine import core
from aefast.estimators.files import to_bytes
from aefast.model.layers import ACTIVATIONS
from aefast.scoring.scorer import Scorer
from engine import identity_scaling
from messages import raises_exactly
from small_tables import run_command

REDUCED = ("bfloat16", "int8")
# Widths around those of registers, words and blocks, and the least that is computed in bytes.
SIZES = [(1, 1), (2, 3, 2), (5, 7, 3), (17, 16, 15), (31, 33, 4), (32, 1, 32), (37, 64, 5), (65, 63, 8), (130, 32, 2)]


def case(widths, activation="relu", n_rows=131, seed=0):
    """(network, [(weights, biases)], rows) of a network of these widths after the input, and mirrored."""
    rng = np.random.default_rng([seed, *widths])
    widths = [*widths, *widths[-2::-1]]
    pairs = list(zip(widths[:-1], widths[1:], strict=True))
    layers = [
        (rng.normal(size=pair).astype(np.float32) / np.sqrt(pair[0]), rng.normal(size=pair[1]).astype(np.float32))
        for pair in pairs
    ]
    layers = [(weights.astype(np.float32), biases) for weights, biases in layers]
    specifications = [
        {
            "kind": "dense",
            "units": units,
            "activation": activation if index < len(pairs) - 1 else "identity",
            "tied_to": -1,
            "batch_norm": False,
            "dropout": 0.0,
        }
        for index, (_, units) in enumerate(pairs)
    ]
    network = {"n_features": widths[0], "layers": specifications, "n_encoder_layers": len(pairs) // 2, "groups": []}
    return network, layers, rng.normal(size=(n_rows, widths[0])).astype(np.float32)


def predictor(network, layers, precision, X, n_threads=1):
    """(the predictor in that precision, the ranges it has)."""
    parameters = [array for pair in layers for array in pair]
    made = core.Predictor(network, parameters, identity_scaling(network["n_features"]), "float32", n_threads)
    ranges = made.input_ranges(X, 1)
    if precision != "float32":
        made.reduce(precision, ranges if precision == "int8" else None)
    return made, ranges


def float32_sums(x, weights, biases):
    """The engine's own, which other tests look at."""
    n_in, units = weights.shape
    layer = {"kind": "dense", "activation": "identity", "tied_to": -1, "batch_norm": False, "dropout": 0.0}
    network = {"n_features": n_in, "layers": [{**layer, "units": n} for n in (units, n_in)], "n_encoder_layers": 1,
               "groups": []}  # fmt: skip
    parameters = [weights, biases, np.zeros((units, n_in), np.float32), np.zeros(n_in, np.float32)]
    made = core.Predictor(network, parameters, identity_scaling(n_in), "float32", 1)
    return made.encode(np.ascontiguousarray(x))


def expected_outputs(network, layers, precision, x, ranges):
    """The oracle's, with the engine's own activations."""
    for layer, (weights, biases), layer_ranges in zip(network["layers"], layers, ranges, strict=True):
        z = reference_reduced.sums(x, weights, biases, precision, layer_ranges, float32_sums)
        x = core.activation(layer["activation"], np.ascontiguousarray(z.ravel()))[0].reshape(z.shape)
    return x


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize("widths", SIZES, ids=str)
def test_outputs_have_the_bits_of_the_oracle_for_every_width(widths, precision):
    network, layers, X = case(widths)
    made, ranges = predictor(network, layers, precision, X)
    expected = expected_outputs(network, layers, precision, X, ranges)
    np.testing.assert_array_equal(made.reconstruct(X, scaled=True), expected)
    for n_rows in (1, 15, 16, 17, 63, 64, 65):
        np.testing.assert_array_equal(made.reconstruct(X[:n_rows], scaled=True), expected[:n_rows])


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_outputs_have_the_bits_of_the_oracle_for_every_activation(activation, precision):
    network, layers, X = case((33, 37, 34), activation)
    made, ranges = predictor(network, layers, precision, X)
    expected = expected_outputs(network, layers, precision, X, ranges)
    np.testing.assert_array_equal(made.reconstruct(X, scaled=True), expected)


@pytest.mark.parametrize("precision", REDUCED)
def test_largest_errors_are_those_of_the_oracle_to_the_bit(precision):
    network, layers, X = case((40, 50, 36))
    made, ranges = predictor(network, layers, precision, X)
    expected = np.abs(X - expected_outputs(network, layers, precision, X, ranges)).max(axis=1)
    np.testing.assert_array_equal(made.errors(X, "max"), expected)


def test_numbers_too_small_for_bfloat16_instructions_are_zeros_at_every_level():
    network, layers, X = case((18, 3))
    layers[0][0][2] = 1e-39
    X[:, 2], X[:, 4] = 1e30, -1e-39
    made, _ = predictor(network, layers, "bfloat16", X)
    without = X.copy()
    without[:, [2, 4]] = 0
    np.testing.assert_array_equal(made.encode(X), made.encode(without))


@pytest.mark.parametrize("precision", REDUCED)
def test_denormal_numbers_of_the_caller_are_kept(precision):
    network, layers, X = case((18, 17))
    predictor(network, layers, precision, X)[0].encode(X)
    tiny = np.full(4, 1e-39, np.float32)
    assert (tiny * np.float32(0.5) > 0).all()


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize("widths", [(40, 50, 36), (33, 17), (18, 7)], ids=str)
def test_squared_errors_are_those_of_the_outputs(widths, precision):
    """They are added up before the outputs reach memory."""
    network, layers, X = case(widths)
    made, _ = predictor(network, layers, precision, X)
    outputs = made.reconstruct(X, scaled=True).astype(np.float64)
    bound = (widths[0] + 4) * float(np.finfo(np.float32).eps)
    np.testing.assert_allclose(made.errors(X, "mse"), ((X - outputs) ** 2).mean(axis=1), rtol=bound)


def test_layers_of_few_inputs_stay_float32():
    network, layers, X = case((15, 9, 4))
    errors = predictor(network, layers, "float32", X)[0].errors(X, "mse")
    for precision in REDUCED:
        np.testing.assert_array_equal(predictor(network, layers, precision, X)[0].errors(X, "mse"), errors)


@pytest.mark.parametrize("precision", REDUCED)
def test_errors_depend_neither_on_other_rows_nor_on_threads(precision):
    network, layers, X = case((40, 70, 33), "tanh", n_rows=6000)
    errors = predictor(network, layers, precision, X)[0].errors(X, "mse")
    np.testing.assert_array_equal(predictor(network, layers, precision, X, n_threads=3)[0].errors(X, "mse"), errors)
    made = predictor(network, layers, precision, X)[0]
    chosen = np.random.default_rng(0).permutation(len(X))[:77]
    np.testing.assert_array_equal(made.errors(X[chosen], "mse"), errors[chosen])
    np.testing.assert_array_equal(made.errors(X[5:6], "mse"), errors[5:6])


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize("metric", ["mse", "mae", "huber", "max"])
def test_rows_that_are_not_finite_get_nan_and_no_other_row_does(metric, precision):
    network, layers, X = case((40, 20))
    made, _ = predictor(network, layers, precision, X)
    bad = X.copy()
    bad[3, 0], bad[70, 39] = np.nan, np.inf
    errors = made.errors(bad, metric)
    assert np.flatnonzero(np.isnan(errors)).tolist() == [3, 70]
    others = np.delete(np.arange(len(X)), [3, 70])
    np.testing.assert_array_equal(errors[others], made.errors(X, metric)[others])


def test_ranges_leave_out_the_outermost_values():
    network, layers, X = case((9, 5), "tanh", n_rows=300)
    X[7] = 1e6
    parameters = [array for pair in layers for array in pair]
    made = core.Predictor(network, parameters, identity_scaling(9), "float32", 1)
    for n_beyond in (0, 1, 5):
        ranges = made.input_ranges(X, n_beyond)
        for values, found in zip([X, made.encode(X)], ranges, strict=True):
            ordered = np.sort(values, axis=0)
            np.testing.assert_array_equal(found, [ordered[n_beyond], ordered[-1 - n_beyond]])


def test_a_range_of_nothing_and_biases_beyond_all_weights_are_computed_in_bytes():
    network, layers, X = case((40, 33))
    X[:, 4] = 0
    layers[0][0][:, 3] = 1e-20
    made, ranges = predictor(network, layers, "int8", X)
    assert ranges[0][:, 4].tolist() == [0, 0]
    expected = expected_outputs(network, layers, "int8", X, ranges)
    np.testing.assert_array_equal(made.reconstruct(X, scaled=True), expected)
    np.testing.assert_allclose(made.encode(X)[:, 3], max(layers[0][1][3], 0), rtol=1e-6)


def tables():
    """Two kinds of rows near a curved surface, and some that are not."""
    rng = np.random.default_rng(3)
    X = np.tanh(rng.normal(size=(1500, 4)) @ rng.normal(size=(4, 40))) + rng.normal(scale=0.1, size=(1500, 40))
    X[:60] += rng.normal(scale=1.0, size=(60, 40))
    return X


X = tables()


@pytest.fixture(scope="module")
def model():
    return aefast.Autoencoder((48, 6), max_epochs=15, score_metric="mahalanobis", random_state=0).fit(X)


@pytest.mark.parametrize("metric", ["mse", "mae", "max", "huber", "mahalanobis"])
@pytest.mark.parametrize(("precision", "least"), [("bfloat16", 0.999), ("int8", 0.99)])
def test_rows_are_ranked_as_in_float32(model, metric, precision, least):
    exact = model.reconstruction_error(X, metric=metric)
    errors = model.reconstruction_error(X, metric=metric, precision=precision)
    assert errors.dtype == np.float32
    assert not np.array_equal(errors, exact)
    assert spearmanr(errors, exact).statistic >= least


@pytest.mark.parametrize("precision", REDUCED)
def test_a_model_file_keeps_what_a_precision_needs(model, precision):
    again = aefast.load(to_bytes(model))
    errors = model.reconstruction_error(X, precision=precision)
    np.testing.assert_array_equal(again.reconstruction_error(X, precision=precision), errors)
    np.testing.assert_array_equal(Scorer(again, precision=precision).errors(X), errors.astype(np.float64))


@pytest.mark.parametrize("precision", REDUCED)
def test_the_command_scores_in_the_precision_asked_for(model, precision, tmp_path):
    model.save(tmp_path / "m.safetensors")
    np.save(tmp_path / "rows.npy", X)
    arguments = [tmp_path / "m.safetensors", tmp_path / "rows.npy", "-o", tmp_path / "out.parquet"]
    result = run_command("score", *arguments, "--precision", precision)
    assert result.exit_code == 0, result.stderr
    errors = parquet.read_table(tmp_path / "out.parquet")["anomaly_score"].to_numpy()
    np.testing.assert_array_equal(errors, model.reconstruction_error(X, precision=precision).astype(np.float64))


@pytest.mark.parametrize(
    "other",
    [
        # Which elements of a code are kept may change with the precision, and distances look at each of them.
        aefast.SparseAutoencoder((60,), sparsity="topk", k=6, score_metric="mse", max_epochs=3, random_state=0),
        aefast.VariationalAutoencoder((36, 4), max_epochs=3, random_state=0),
        aefast.Autoencoder((36, 4), tied_weights=True, activation="gelu", max_epochs=3, random_state=0),
        aefast.Autoencoder((36, 4), batch_norm=True, dropout=0.1, max_epochs=3, random_state=0),
        aefast.ConvolutionalAutoencoder((4, 10, 1), channels=(3,), code_size=6, max_epochs=3, random_state=0),
        aefast.Autoencoder((36, 4), loss="binary_crossentropy", output_activation="sigmoid", scaler="minmax",
                           score_metric="binary_crossentropy", max_epochs=3, random_state=0),
    ],
    ids=["top-k", "variational", "tied", "batch norm", "convolutional", "crossentropy"],
)  # fmt: skip
def test_every_kind_of_network_is_scored(other):
    exact = other.fit(X).reconstruction_error(X)
    for precision, least in (("bfloat16", 0.999), ("int8", 0.99)):
        assert spearmanr(other.reconstruction_error(X, precision=precision), exact).statistic >= least


def test_only_float32_estimators_have_other_precisions():
    double = aefast.Autoencoder((3,), max_epochs=1, dtype="float64").fit(X)
    assert double.input_ranges_ is None
    message = (
        "precision='int8' is for estimators of dtype='float32', not 'float64': leave precision out, or fit with "
        "dtype='float32'"
    )
    with raises_exactly(ValueError, message):
        double.reconstruction_error(X, precision="int8")


def test_a_model_without_ranges_raises_with_advice():
    old = aefast.Autoencoder((3,), max_epochs=1).fit(X)
    old.input_ranges_ = None
    message = (
        "precision='int8' needs the ranges that fit keeps, and this model, of an earlier version, has none: use "
        "precision='bfloat16', or fit again"
    )
    with raises_exactly(ValueError, message):
        old.reconstruction_error(X, precision="int8")
    assert aefast.load(to_bytes(old)).input_ranges_ is None


def test_config_says_which_precisions_have_instructions():
    word = "native" if core.isa_level in ("v4_bf16", "neon_bf16") else "emulated"
    assert (aefast.config()["bfloat16"], aefast.config()["int8"]) == (word, word)


@pytest.mark.parametrize("metric", ["mse", "mae", "mahalanobis"])
@pytest.mark.parametrize("missing", ["mask", "mean"])
@pytest.mark.parametrize(("precision", "least"), [("bfloat16", 0.999), ("int8", 0.99)])
def test_rows_with_missing_values_are_ranked_as_in_float32(precision, least, missing, metric):
    holes = X.copy()
    holes[np.random.default_rng(4).random(X.shape) < 0.1] = np.nan
    settings = {"max_epochs": 5, "score_metric": metric, "random_state": 0}
    model = aefast.Autoencoder((48, 6), missing=missing, **settings).fit(holes)
    assert all(np.isfinite(ranges).all() and (ranges[0] < ranges[1]).all() for ranges in model.input_ranges_[::3])
    exact, errors = (model.reconstruction_error(holes, precision=p) for p in ("float32", precision))
    assert not np.array_equal(errors, exact)
    assert spearmanr(errors, exact).statistic >= least
    # Errors are near one by one, too: no row is judged by what it lacks.
    np.testing.assert_allclose(errors, exact, rtol=0.02 if precision == "bfloat16" else 0.1)
    if missing == "mean":
        filled = np.where(np.isnan(holes), model.column_means_, holes)
        np.testing.assert_allclose(model.reconstruction_error(filled, precision=precision), errors, rtol=0.02)


def test_a_row_of_which_nothing_is_known_has_no_error_in_any_precision():
    holes = X.copy()
    holes[7] = np.nan
    model = aefast.Autoencoder((48, 6), missing="mask", score_metric="mse", max_epochs=2, random_state=0).fit(holes)
    for precision in ("float32", *REDUCED):
        assert model.reconstruction_error(holes, precision=precision)[7] == 0
