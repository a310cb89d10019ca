"""From parameters to networks: sizes, layers, initial weights, and the two forms of the parameters."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from aefast.model.network import auto_layer_sizes, dense_network, layer_sizes, layer_widths
from aefast.model.parameters import (
    INITIALIZERS,
    batch_norms,
    inference_network,
    initial_parameters,
    join_parameters,
    split_parameters,
)
from messages import raises_exactly
from variants import forward, random_parameters

widths = st.lists(st.integers(1, 9), min_size=1, max_size=4)


def network(n_features=5, encoder=(4, 2), decoder=(4, 5), **options):
    options = {"activation": "relu", "code_activation": "tanh", "output_activation": "sigmoid", **options}
    return dense_network(n_features, encoder, decoder, **options)


@given(st.integers(1, 5000))
def test_auto_sizes_follow_the_number_of_features(d):
    hidden, code = auto_layer_sizes(d)
    assert 8 <= hidden <= 256
    assert 1 <= code <= max(1, d)
    assert layer_sizes("auto", None, d) == ((hidden, code), (hidden, d))


@given(widths, st.integers(1, 9))
def test_the_decoder_mirrors_the_encoder(encoder, d):
    sizes, decoder = layer_sizes(encoder, None, d)
    assert sizes == tuple(encoder)
    assert decoder == (*encoder[:-1][::-1], d)


def test_sizes_may_be_one_number_or_an_array():
    assert layer_sizes(3, (), 7) == ((3,), (7,))
    assert layer_sizes(np.array([4, 2]), np.int64(6), 7) == ((4, 2), (6, 7))


def test_layers_have_their_activations_and_dropout():
    layers = network(dropout=0.25)["layers"]
    assert [layer["units"] for layer in layers] == [4, 2, 4, 5]
    assert [layer["activation"] for layer in layers] == ["relu", "tanh", "relu", "sigmoid"]
    assert [layer["dropout"] for layer in layers] == [0.25, 0.25, 0.25, 0.0]
    assert [layer["dropout"] for layer in network(dropout=[0.1, 0, 0.3])["layers"]] == [0.1, 0.0, 0.3, 0.0]


def test_tied_layers_point_to_their_mirror_images():
    tied = network(tied_weights=True)
    assert [layer["tied_to"] for layer in tied["layers"]] == [-1, -1, 1, 0]


@given(widths, st.booleans(), st.integers(1, 9))
def test_the_two_forms_of_the_parameters_are_one(encoder, tied, d):
    spec = network(d, *layer_sizes(encoder, None, d), tied_weights=tied)
    parameters = initial_parameters(spec, "he_normal", np.random.default_rng(0), "float64")
    assert [p.shape for p in parameters] == reference.parameter_shapes(spec)
    coefs, intercepts = split_parameters(spec, parameters)
    for (weights, biases), w, b in zip(reference.layer_parameters(spec, parameters), coefs, intercepts, strict=True):
        np.testing.assert_array_equal(weights, w)
        np.testing.assert_array_equal(biases, b)
    for again, parameter in zip(join_parameters(spec, coefs, intercepts, "float64"), parameters, strict=True):
        np.testing.assert_array_equal(again, parameter)


def test_weights_of_pyod_are_those_of_its_layers():
    spec = network(400, (300, 20), (300, 400))
    weights = initial_parameters(spec, "pyod", np.random.default_rng(0), "float64")
    for index, n_in in enumerate((400, 300, 20, 300)):
        bound = np.sqrt(6 / n_in) if index < 3 else 1 / np.sqrt(n_in)
        matrix, biases = weights[2 * index : 2 * index + 2]
        assert 0.99 * bound < np.abs(matrix).max() <= bound
        assert matrix.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
        assert 0.8 / np.sqrt(n_in) < np.abs(biases).max() <= 1 / np.sqrt(n_in)


@pytest.mark.parametrize("weight_init", INITIALIZERS)
def test_initial_weights_have_the_variance_of_their_source(weight_init):
    n_in, n_out = 300, 200
    spec = network(n_in, (n_out,), (n_in,))
    weights = initial_parameters(spec, weight_init, np.random.default_rng(0), "float64")[0]
    kind, size = reference.initializer_distribution(weight_init, n_in, n_out)
    variance = size**2 / 3 if kind == "uniform" else size**2
    # The sample variance of n values of kurtosis at most 3 has a relative standard error of sqrt(2 / n).
    assert weights.var() == pytest.approx(variance, rel=4 * sqrt(2 / weights.size))
    assert abs(weights.mean()) < 4 * sqrt(variance / weights.size)
    if kind == "uniform":
        assert np.abs(weights).max() <= size


def test_single_precision_only_rounds_the_initial_weights():
    spec = network()
    double, single = (
        initial_parameters(spec, "glorot_uniform", np.random.default_rng(3), dtype) for dtype in ("float64", "float32")
    )
    for d, s in zip(double, single, strict=True):
        np.testing.assert_array_equal(d.astype(np.float32), s)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: layer_sizes((), None, 3),
            "encoder_layer_sizes must have at least one width, that of the code, got ()",
        ),
        (lambda: layer_sizes((4, 0), None, 3), "encoder_layer_sizes must hold integers of at least 1, got 0"),
        (lambda: layer_sizes((4, 2.5), None, 3), "encoder_layer_sizes must hold integers of at least 1, got 2.5"),
        (lambda: layer_sizes((4,), (True,), 3), "decoder_layer_sizes must hold integers of at least 1, got True"),
        (lambda: network(dropout=[0.1]), "dropout must be one rate, or one for each of the 3 hidden layers, got 1"),
        (lambda: network(dropout=[0.1, 0.2, 1.0]), "dropout must hold rates in [0, 1), got 1.0"),
        (
            lambda: network(decoder=(3, 5), tied_weights=True),
            (
                "tied_weights=True needs a decoder that mirrors the encoder: decoder_layer_sizes must be None or (4,), "
                "got (3,)"
            ),
        ),
    ],
)
def test_sizes_and_rates_that_do_not_fit_are_refused_by_name(make, message):
    with raises_exactly(ValueError, message):
        make()


def joined(spec=None, **changes):
    spec = spec or network()
    coefs, intercepts = split_parameters(
        spec, initial_parameters(spec, "he_normal", np.random.default_rng(0), "float32")
    )
    arrays = {
        **{f"coefs_[{i}]": w for i, w in enumerate(coefs)},
        **{f"intercepts_[{i}]": b for i, b in enumerate(intercepts)},
    }
    arrays.update(changes)
    n_layers = len(spec["layers"])
    return join_parameters(
        spec,
        [arrays[f"coefs_[{i}]"] for i in range(n_layers)],
        [arrays[f"intercepts_[{i}]"] for i in range(n_layers)],
        "float32",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coefs_[1]": np.ones((4, 3))}, "coefs_[1] has shape (4, 3), but its layer needs (4, 2)"),
        ({"intercepts_[3]": np.ones(4)}, "intercepts_[3] has shape (4,), but its layer needs (5,)"),
        ({"intercepts_[0]": [0, 0, np.nan, 0]}, "intercepts_[0] holds NaN or infinity"),
    ],
)
def test_replaced_arrays_that_do_not_fit_are_refused_by_name(changes, message):
    with raises_exactly(ValueError, message):
        joined(**changes)


def normalised(rng, factor=1.0):
    """(network, parameters) with batch normalisation whose gammas have either sign."""
    spec = network(batch_norm=True)
    parameters = random_parameters(spec, rng)
    for index, parameter in enumerate(parameters):
        if parameter.ndim == 1:
            parameters[index] = factor * rng.uniform(-2, 2, size=parameter.shape)
    for index in (5, 11, 17):
        parameters[index] = np.abs(parameters[index])
    return spec, parameters


def test_hidden_layers_are_normalised_and_the_output_is_not():
    assert [layer["batch_norm"] for layer in network(batch_norm=True)["layers"]] == [True, True, True, False]
    assert [p.shape for p in normalised(np.random.default_rng(0))[1][:6]] == [(5, 4)] + [(4,)] * 5


def test_batch_normalisation_is_folded_into_the_weights():
    spec, parameters = normalised(np.random.default_rng(0))
    read, folded = inference_network(spec, *split_parameters(spec, parameters), "float64")
    assert len(folded) == 8
    x = np.random.default_rng(1).normal(size=(7, 5))
    np.testing.assert_allclose(forward(read, folded, x).z, forward(spec, parameters, x, training=False).z, rtol=1e-12)


def test_folded_normalisation_can_be_unfolded():
    spec, parameters = normalised(np.random.default_rng(0))
    coefs, intercepts = split_parameters(spec, parameters)
    again = join_parameters(spec, coefs, intercepts, "float64", batch_norms(spec, parameters))
    for a, b in zip(again, parameters, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("norms", [None, [], [None] * 4, [np.ones((4, 9))] * 4])
def test_weights_without_their_statistics_start_as_the_function_they_are(norms):
    spec, parameters = normalised(np.random.default_rng(0))
    coefs, intercepts = split_parameters(spec, parameters)
    again = split_parameters(spec, join_parameters(spec, coefs, intercepts, "float64", norms))
    for a, b in zip([*again[0], *again[1]], [*coefs, *intercepts], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_units_that_normalisation_has_put_out_stay_finite():
    spec, parameters = normalised(np.random.default_rng(0))
    parameters[2][:2] = 0
    coefs, intercepts = split_parameters(spec, parameters)
    again = join_parameters(spec, coefs, intercepts, "float64", batch_norms(spec, parameters))
    assert all(np.isfinite(p).all() for p in again)
    for a, b in zip(split_parameters(spec, again)[0], coefs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def gaussian_network():
    def moments(code):
        return [{**code, "units": 2 * code["units"]}, {"kind": "gaussian_code", "units": code["units"]}]

    return network(code_activation="identity", code_layers=moments)


def test_a_drawn_code_is_read_as_its_mean_or_its_log_variance():
    spec = gaussian_network()
    parameters = initial_parameters(spec, "he_normal", np.random.default_rng(0), "float64")
    coefs, intercepts = split_parameters(spec, parameters)
    assert [w.shape for w in coefs] == [(5, 4), (4, 4), (2, 4), (4, 5)]
    for code, columns in (("mean", slice(0, 2)), ("log_variance", slice(2, 4))):
        read, flat = inference_network(spec, coefs, intercepts, "float64", code)
        assert [layer["units"] for layer in read["layers"]] == [4, 2, 4, 5]
        assert read["n_encoder_layers"] == 2
        np.testing.assert_array_equal(flat[2], coefs[1][:, columns])
        np.testing.assert_array_equal(flat[3], intercepts[1][columns])
    read, flat = inference_network(spec, coefs, intercepts, "float64", "draw")
    assert [layer["kind"] for layer in read["layers"]] == ["dense", "dense", "gaussian_code", "dense", "dense"]
    assert read["n_encoder_layers"] == 3
    assert all(a is b or (a == b).all() for a, b in zip(flat, parameters, strict=True))


def test_layer_widths_are_those_used_in_scoring():
    def kept(code):
        return [code, {"kind": "top_k", "units": code["units"], "k": 1}]

    for spec in (network(), gaussian_network(), network(code_layers=kept)):
        assert layer_widths(spec) == [5, 4, 2, 4, 5]


def test_replaced_moments_must_have_their_width():
    spec = gaussian_network()
    coefs, intercepts = split_parameters(
        spec, initial_parameters(spec, "he_normal", np.random.default_rng(0), "float64")
    )
    coefs[1] = coefs[1][:, :2]
    with raises_exactly(ValueError, "coefs_[1] has shape (4, 2), but its layer needs (4, 4)"):
        inference_network(spec, coefs, intercepts, "float64")


def test_layers_of_training_alone_are_not_read():
    def held(code):
        return [code, {"kind": "kl_sparsity", "units": code["units"], "target": 0.1, "weight": 1.0}]

    spec = network(code_layers=held, tied_weights=True, dropout=[0, 0.5, 0])
    assert [layer.get("tied_to") for layer in spec["layers"]] == [-1, -1, None, 1, 0]
    assert [layer["dropout"] for layer in spec["layers"]] == [0, 0, 0.5, 0, 0]
    parameters = initial_parameters(spec, "he_normal", np.random.default_rng(0), "float64")
    read, flat = inference_network(spec, *split_parameters(spec, parameters), "float64")
    assert [layer["kind"] for layer in read["layers"]] == ["dense"] * 4
    assert [layer["tied_to"] for layer in read["layers"]] == [-1] * 4
    assert (read["n_encoder_layers"], len(flat)) == (2, 8)


def test_tied_weights_must_agree():
    with pytest.raises(ValueError, match=r"coefs_\[3\] must be coefs_\[0\] transposed"):
        joined(network(tied_weights=True), **{"coefs_[3]": np.ones((4, 5))})


def test_a_layer_too_few_is_noticed():
    spec = network()
    with pytest.raises(ValueError, match="the network has 4 layers, but there are 1 coefs_ and 0 intercepts_"):
        join_parameters(spec, [np.ones((5, 4))], [], "float32")
