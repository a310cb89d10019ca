"""From parameters to networks: sizes, layers, initial weights, and the two forms of the parameters."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from aefast.networks import (
    INITIALIZERS,
    auto_layer_sizes,
    dense_network,
    initial_parameters,
    join_parameters,
    layer_sizes,
    split_parameters,
    untied,
)
from messages import raises_exactly

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
    assert [layer["tied_to"] for layer in untied(tied)["layers"]] == [-1] * 4
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


@pytest.mark.parametrize("weight_init", INITIALIZERS)
def test_initial_weights_have_the_variance_of_their_source(weight_init):
    n_in, n_out = 300, 200
    spec = network(n_in, (n_out,), (n_in,))
    weights = initial_parameters(spec, weight_init, np.random.default_rng(0), "float64")[0]
    kind, size = reference.initializer_distribution(weight_init, n_in, n_out)
    variance = size**2 / 3 if kind == "uniform" else size**2
    # The variance of n values of kurtosis at most 3 is known to sqrt(2 / n) of itself.
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
        (
            lambda: network(dropout=[0.1]),
            "dropout must be one rate, or one for each of the 3 hidden layers, got 1",
        ),
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


def test_tied_weights_must_agree():
    with pytest.raises(ValueError, match=r"coefs_\[3\] must be coefs_\[0\] transposed"):
        joined(network(tied_weights=True), **{"coefs_[3]": np.ones((4, 5))})


def test_a_layer_too_few_is_noticed():
    spec = network()
    with pytest.raises(ValueError, match="the network has 4 layers, but there are 1 coefs_ and 0 intercepts_"):
        join_parameters(spec, [np.ones((5, 4))], [], "float32")
