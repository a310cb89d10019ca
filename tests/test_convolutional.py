"""ConvolutionalAutoencoder: networks of every valid shape, errors for the others, and images in all forms."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import parametrize_with_checks

import aefast
import reference_convolution as oracle
from aefast import (
    ContractiveAutoencoder,
    ConvolutionalAutoencoder,
    ConvolutionalDenoisingAutoencoder,
    ConvolutionalVariationalAutoencoder,
    SparseAutoencoder,
)
from aefast.estimators.files import to_bytes
from messages import raises_exactly
from test_estimator import OF_FRESH_ROWS
from test_model_file import forged, set_path

DIGITS = load_digits().images / 16  # (1797, 8, 8)
RNG = np.random.default_rng(0)
COLOURS = RNG.uniform(size=(60, 6, 12, 3))
FAST = {"max_epochs": 2, "random_state": 0, "scaler": None}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [ConvolutionalAutoencoder(channels=(4,), max_epochs=3)], expected_failed_checks=lambda estimator: OF_FRESH_ROWS
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def parameters_of(model):
    """Return the parameters in the order of the oracle."""
    flat = []
    for weights, biases in zip(model.coefs_, model.intercepts_, strict=True):
        flat += [weights.reshape(-1, weights.shape[-1]), biases]
    return flat


SHAPES = {
    "(64, 32) is 64-32-32-64-1": ({"channels": (64, 32)}, [512 * 8, 1024, 512, 128, 128, 512, 1024, 4096, 64]),
    "one list": ({"channels": 5}, [320, 80, 80, 320, 64]),
    "not pooled": ({"channels": (5, 3), "pool": 1}, [320, 192, 192, 320, 64]),
    "transposed": ({"channels": (5, 3), "upsampling": "transposed"}, [320, 80, 48, 12, 48, 320, 64]),
    "a dense code": ({"channels": (5, 3), "code_size": 7}, [320, 80, 48, 12, 7, 12, 12, 48, 80, 320, 64]),
    "inside": ({"channels": 5, "padding": "valid"}, [180, 45, 45, 180, 64]),
    "inside, transposed": ({"channels": 5, "padding": "valid", "upsampling": "transposed"}, [180, 45, 320, 64]),
    "inside, not pooled": ({"channels": (5, 3), "padding": "valid", "pool": 1}, [180, 48, 48, 180, 64]),
    "pooled by four": ({"channels": 5, "pool": 4, "kernel_size": 5}, [320, 20, 20, 320, 64]),
    "pooled by three": ({"channels": (5, 3), "pool": 3}, [320, 45, 27, 3, 3, 27, 45, 320, 64]),
    "pooled differently": ({"channels": (5, 3), "pool": (1, 3)}, [320, 192, 27, 27, 192, 320, 64]),
    "strides": ({"channels": (5, 3), "strides": 3, "pool": 1}, [45, 3, 3, 27, 45, 320, 64]),
    "strides, transposed": ({"channels": 5, "strides": 3, "pool": 1, "upsampling": "transposed"}, [45, 320, 64]),
    "strides and pooling": ({"channels": 5, "strides": 2, "upsampling": "transposed"}, [80, 20, 320, 64]),
    "strides inside": ({"channels": 5, "strides": 2, "pool": 1, "padding": "valid"}, [45, 45, 180, 64]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_network_is_as_wide_as_documented(name):
    parameters, widths = SHAPES[name]
    model = ConvolutionalAutoencoder((8, 8, 1), **parameters, **{**FAST, "max_epochs": 0}).fit(DIGITS)
    assert [layer["units"] for layer in model.network_["layers"]] == widths


@pytest.mark.parametrize("code_size", [None, 5])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("kernel_size", [1, 2, 3])
def test_every_network_gives_back_its_image_as_the_oracle_does(kernel_size, pool, upsampling, padding, code_size):
    # Sides that two stages of pooling divide, with any padding.
    rest = (kernel_size - 1) * (1 + pool) if padding == "valid" else 0
    images = RNG.normal(size=(20, pool**2 + rest, 2 * pool**2 + rest, 2))
    model = ConvolutionalAutoencoder(
        channels=(3, 4),
        kernel_size=kernel_size,
        pool=pool,
        upsampling=upsampling,
        padding=padding,
        code_size=code_size,
        activation="tanh",
        dtype="float64",
        **FAST,
    ).fit(images)
    assert model.image_shape_ == images.shape[1:]
    rows = images.reshape(20, -1)
    records = oracle.forward(model.network_, parameters_of(model), rows)
    np.testing.assert_allclose(model.reconstruct(images), records[-1][2], rtol=0, atol=1e-12)
    code = records[model.network_["n_encoder_layers"] - 1][2]
    np.testing.assert_allclose(model.transform(images), code, rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.inverse_transform(code), records[-1][2], rtol=0, atol=1e-12)
    assert code.shape[1] == (code_size or 1 * 2 * 4)


DEFAULTS = (("kernel_size", 3), ("strides", 1), ("pool", 2))
STEPS = {
    "one pixel": ((1, 1, 2), {"kernel_size": (3, 1), "pool": 1}),
    "kernels of their own": ((5, 7, 1), {"kernel_size": (1, 5), "pool": 1}),
    "pooled by 2": ((5, 7, 2), {"kernel_size": (5, 3)}),
    "pooled by 3": ((28, 28, 1), {"kernel_size": (5, 1), "pool": 3}),
    "pooled once": ((5, 7, 1), {"pool": (4, 1)}),
    "strides of 2": ((5, 7, 2), {"strides": 2, "pool": 1}),
    "strides of 2 and 3": ((28, 27, 1), {"kernel_size": (3, 5), "strides": (2, 3), "pool": 1}),
    "strides of 3, kernels of 1": ((11, 10, 1), {"kernel_size": 1, "strides": (3, 1), "pool": 1}),
    "strides and pooling": ((17, 14, 2), {"kernel_size": (2, 3), "strides": (1, 2), "pool": (3, 2)}),
}


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
@pytest.mark.parametrize("name", STEPS)
def test_every_step_gives_back_its_image_as_the_oracle_does(name, upsampling, padding):
    (height, width, n), steps = STEPS[name]
    stages = list(zip(*(np.broadcast_to(steps.get(k, d), 2) for k, d in DEFAULTS), strict=True))
    (first, stride, pool), (second, _, _) = stages
    # With "valid" padding, the same sizes are left after more pixels.
    more = first - 1 + (second - 1) * stride * pool if padding == "valid" else 0
    images = RNG.normal(size=(10, height + more, width + more, n))
    settings = {**FAST, "upsampling": upsampling, "padding": padding, "dtype": "float64", "activation": "tanh"}
    model = ConvolutionalAutoencoder(channels=(3, 4), **steps, **settings).fit(images)
    encoder = model.network_["layers"][: model.network_["n_encoder_layers"]]
    sides = images.shape[1:3]
    for size, stride, pool in stages:
        # The formulas of the docstring.
        sides = [-(-side // stride) if padding == "same" else (side - size) // stride + 1 for side in sides]
        sides = [-(-side // pool) for side in sides]
    assert oracle.output_image(encoder[-1]) == (*sides, 4)
    records = oracle.forward(model.network_, parameters_of(model), images.reshape(10, -1))
    np.testing.assert_allclose(model.reconstruct(images), records[-1][2], rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.transform(images), records[len(encoder) - 1][2], rtol=0, atol=1e-12)
    again = aefast.load(to_bytes(model))
    assert again.network_ == model.network_
    np.testing.assert_array_equal(again.score_samples(images), model.score_samples(images))


def test_every_pixel_of_a_decoder_with_strides_has_weights():
    """A kernel narrower than the step would leave pixels that are always the bias."""
    for steps in ({"strides": 2}, {"strides": 3, "pool": 1, "kernel_size": 1}, {"pool": 1, "strides": (2, 4)}):
        for padding in ("same", "valid"):
            model = ConvolutionalAutoencoder(
                channels=(3, 3), upsampling="transposed", padding=padding, **steps, **{**FAST, "max_epochs": 0}
            ).fit(RNG.normal(size=(2, 31, 29, 1)))
            for layer in model.network_["layers"]:
                if layer["kind"] == "conv2d_transpose":
                    assert layer["kernel_size"] >= layer["factor"]


def test_weights_are_kernels():
    model = ConvolutionalAutoencoder(channels=(5,), kernel_size=3, code_size=2, upsampling="transposed", **FAST).fit(
        COLOURS
    )
    assert [w.shape for w in model.coefs_] == [(3, 3, 3, 5), (90, 2), (2, 90), (3, 3, 5, 5), (3, 3, 5, 3)]
    assert [b.shape for b in model.intercepts_] == [(5,), (2,), (90,), (5,), (3,)]
    # A transposed one is (.., channels out, channels in).
    wide = ConvolutionalAutoencoder(channels=(5, 4), pool=2, upsampling="transposed", **FAST).fit(COLOURS[:, :4])
    assert [w.shape for w in wide.coefs_] == [(3, 3, 3, 5), (3, 3, 5, 4), (3, 3, 4, 4), (3, 3, 5, 4), (3, 3, 5, 3)]


@pytest.mark.parametrize("weight_init", ["glorot_uniform", "he_normal", "lecun_normal"])
def test_initial_kernels_have_the_variance_of_their_fans(weight_init):
    images = np.zeros((3, 4, 4, 16))
    model = ConvolutionalAutoencoder(
        channels=(32,), kernel_size=5, upsampling="transposed", weight_init=weight_init, **{**FAST, "max_epochs": 0}
    ).fit(images)
    for weights, n_in, n_out in zip(model.coefs_, (16, 32, 32), (32, 32, 16), strict=True):
        fan_in, fan_out = 25 * n_in, 25 * n_out
        variance = {"glorot": 2 / (fan_in + fan_out), "he": 2 / fan_in, "lecun": 1 / fan_in}[weight_init.split("_")[0]]
        assert weights.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / weights.size))


def test_images_and_rows_are_the_same():
    model = ConvolutionalAutoencoder((6, 12, 3), channels=4, **FAST)
    rows = COLOURS.reshape(60, -1)
    fitted = [clone(model).fit(X) for X in (COLOURS, rows, COLOURS.tolist(), np.asfortranarray(COLOURS))]
    for other in fitted:
        for X in (COLOURS, rows, COLOURS[::1]):
            np.testing.assert_array_equal(other.score_samples(X), fitted[0].score_samples(rows))
            assert other.reconstruct(X).shape == (60, 216)
            assert other.feature_errors(X).shape == (60, 216)
    assert fitted[0].n_features_in_ == 216


def test_images_of_one_channel_need_not_say_so():
    model = ConvolutionalAutoencoder(channels=4, **FAST).fit(DIGITS)
    assert model.image_shape_ == (8, 8, 1)
    np.testing.assert_array_equal(model.transform(DIGITS), model.transform(DIGITS[..., np.newaxis]))
    np.testing.assert_array_equal(model.transform(DIGITS), model.transform(DIGITS.reshape(-1, 64)))
    small = (DIGITS * 16).astype(np.uint8)
    model = ConvolutionalAutoencoder((8, 8, 1), channels=4, **{**FAST, "scaler": "minmax"}).fit(small)
    assert np.isfinite(model.score_samples(small)).all()


def test_rows_of_no_shape_are_lines_that_are_not_pooled():
    model = ConvolutionalAutoencoder(channels=(4, 2), **FAST).fit(RNG.normal(size=(50, 7)))
    assert model.image_shape_ == (1, 7, 1)
    assert [layer["kind"] for layer in model.network_["layers"]] == ["conv2d"] * 5


@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
def test_training_lowers_the_loss_and_repeats_with_any_threads(upsampling):
    settings = {"channels": (12, 6), "upsampling": upsampling, "dropout": 0.05, **FAST, "max_epochs": 6}
    models = [
        ConvolutionalAutoencoder((8, 8, 1), n_threads=n, learning_rate=3e-3, **settings).fit(DIGITS) for n in (1, 2, 3)
    ]
    assert models[0].validation_curve_[-1] < 0.75 * models[0].validation_curve_[0]
    for model in models[1:]:
        for a, b in zip(model.coefs_, models[0].coefs_, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(model.score_samples(DIGITS), models[0].score_samples(DIGITS))


@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
def test_normalisation_by_channel_is_folded_into_kernels(upsampling):
    settings = {"channels": (5, 3), "upsampling": upsampling, "dtype": "float64", "batch_norm": True, **FAST}
    model = ConvolutionalAutoencoder((8, 8, 1), code_size=6, warm_start=True, **settings).fit(DIGITS)
    layers = [layer for layer in model.network_["layers"] if "activation" in layer]
    assert [layer["batch_norm"] for layer in layers] == [True] * 6 + [False]
    widths = [None if norm is None else norm.shape[1] for norm in model.norms_]
    assert widths == [*(len(biases) for biases in model.intercepts_[:-1]), None]
    # A network without normalisation that has the folded weights gives the same images,
    plain = {**model.network_, "layers": [{**layer, "batch_norm": False} for layer in model.network_["layers"]]}
    rows = DIGITS.reshape(-1, 64)
    expected = oracle.forward(plain, parameters_of(model), rows)[-1][2]
    np.testing.assert_allclose(model.reconstruct(rows), expected, rtol=0, atol=1e-11)
    # and so does one that is unfolded again to be trained on.
    model.set_params(max_epochs=0).fit(DIGITS)
    np.testing.assert_allclose(model.reconstruct(rows), expected, rtol=0, atol=1e-11)


def test_normalisation_helps_deep_sigmoid_networks():
    settings = {"channels": (8, 8, 8), "pool": (2, 1, 1), "activation": "sigmoid", "learning_rate": 0.01, **FAST}
    errors = [
        ConvolutionalAutoencoder(batch_norm=norm, **{**settings, "max_epochs": 12}).fit(DIGITS).best_loss_
        for norm in (False, True)
    ]
    assert errors[1] < 0.7 * errors[0]


def test_an_anomalous_image_is_found():
    model = ConvolutionalAutoencoder((8, 8, 1), channels=(8, 4), code_size=8, **{**FAST, "max_epochs": 15}).fit(DIGITS)
    stranger = np.indices((8, 8)).sum(axis=0) % 2  # a chessboard
    errors = model.reconstruction_error(np.concatenate([DIGITS, stranger[np.newaxis]]))
    assert errors.argmax() == len(DIGITS)


def test_dropout_is_one_rate_or_one_a_hidden_layer():
    model = ConvolutionalAutoencoder((8, 8, 1), channels=(4, 2), code_size=3, dropout=0.25, **FAST).fit(DIGITS)
    rates = [layer["dropout"] for layer in model.network_["layers"] if "activation" in layer]
    assert rates == [0.25] * 6 + [0]
    model.set_params(dropout=(0, 0, 0.5, 0.1, 0, 0)).fit(DIGITS)
    rates = [layer["dropout"] for layer in model.network_["layers"] if "activation" in layer]
    assert rates == [0, 0, 0.5, 0.1, 0, 0, 0]


def test_all_ways_to_fit():
    rows = DIGITS[:300].reshape(-1, 64)
    for fit in (
        lambda model: model.partial_fit(DIGITS[:300]).partial_fit(DIGITS[:100]),
        lambda model: model.fit_batches([DIGITS[:200], DIGITS[200:300]]),
        lambda model: model.set_params(warm_start=True).fit(DIGITS[:300]).fit(rows),
        lambda model: model.fit(rows, sample_weight=np.linspace(0, 1, 300)),
    ):
        model = fit(ConvolutionalAutoencoder((8, 8, 1), channels=(4,), **FAST))
        assert np.isfinite(model.score_samples(DIGITS)).all()
        assert len(model.loss_curve_) >= 2


CASES = {
    "plain": ConvolutionalAutoencoder((8, 8, 1), channels=(4, 2), **FAST),
    "strides": ConvolutionalAutoencoder(channels=(4, 2), kernel_size=(5, 3), strides=(3, 1), pool=(1, 2), **FAST),
    "inside, dense": ConvolutionalAutoencoder(channels=(4,), padding="valid", code_size=3, **FAST),
    "transposed": ConvolutionalAutoencoder(channels=(4,), upsampling="transposed", dtype="float64", **FAST),
    "denoising": ConvolutionalDenoisingAutoencoder(channels=(4,), noise="salt_pepper", **FAST),
    "normalised": ConvolutionalAutoencoder(
        channels=(4, 2), upsampling="transposed", strides=(2, 1), pool=1, code_size=3, batch_norm=True, **FAST
    ),
    "variational": ConvolutionalVariationalAutoencoder(channels=(4,), code_size=3, **FAST),
}


@pytest.mark.parametrize("name", CASES)
def test_a_loaded_object_equals_the_saved_one(name):
    model = clone(CASES[name]).fit(DIGITS)
    content = to_bytes(model)
    again = aefast.load(content)
    assert type(again) is type(model)
    assert again.image_shape_ == (8, 8, 1)
    assert again.network_ == model.network_
    for method in ("score_samples", "transform", "reconstruct", "p_values"):
        np.testing.assert_array_equal(getattr(again, method)(DIGITS), getattr(model, method)(DIGITS))
    assert to_bytes(again) == content
    again.partial_fit(DIGITS.reshape(-1, 64))
    assert again.n_epochs_ == 3


def layer(index, **fields):
    def change(model, header):
        model["network"]["layers"][index].update(fields)

    return change


@pytest.mark.parametrize(
    "change",
    [
        layer(0, image=[4, 16, 1]),
        layer(0, image=[8, 8]),
        layer(0, image=[8, 8, 2]),
        layer(0, image=[8.0, 8, 1]),
        layer(0, image=[-8, -8, 1]),
        layer(0, image="8x8x1"),
        layer(0, channels=5),
        layer(0, kernel_size=10**9),
        layer(0, kernel_size=0),
        layer(0, padding="reflect"),
        layer(0, padding="valid"),
        layer(0, tied_to=0),
        layer(0, batch_norm=True),  # without statistics
        layer(0, batch_norm=1),
        layer(0, stride=2),
        layer(0, stride=0),
        layer(0, stride=10**12),
        layer(5, output=[3, 3]),
        layer(5, output=[5, 4]),
        layer(5, output=[2, 2]),
        layer(5, output=[4]),
        layer(0, units=255),
        layer(0, kind="conv2d_transpose", factor=1000),
        layer(1, factor=3),
        layer(1, factor=0),
        layer(1, factor=10**12),
        layer(1, kind="upsample2d"),
        layer(5, factor=10**6),
        layer(1, kind="dense"),
        set_path("class", "Autoencoder"),
        set_path("parameters", "image_shape", [8, 8]),
        set_path("parameters", "pool", 0),
        set_path("parameters", "strides", [1, 1, 1]),
        set_path("network", "n_features", 65),
    ],
)
def test_forged_networks_of_images_are_refused(change):
    content = to_bytes(clone(CASES["plain"]).fit(DIGITS))
    with pytest.raises(aefast.ModelFileError):
        aefast.load(forged(content, change))


def test_a_network_without_images_is_none_of_this_class():
    content = to_bytes(aefast.Autoencoder((3,), max_epochs=0).fit(DIGITS.reshape(-1, 64)))
    with pytest.raises(aefast.ModelFileError):
        aefast.load(
            forged(content, lambda model, header: model.update({"class": "ConvolutionalAutoencoder", "parameters": {}}))
        )


# Combinations.


def test_denoising_images():
    noisy = DIGITS + RNG.normal(scale=0.3, size=DIGITS.shape)
    settings = {"channels": (12, 8), "learning_rate": 3e-3, **FAST, "max_epochs": 15}
    model = ConvolutionalDenoisingAutoencoder((8, 8, 1), noise_level=0.3, **settings).fit(DIGITS)
    recorded = ConvolutionalDenoisingAutoencoder((8, 8, 1), **settings).fit(DIGITS, X_noisy=noisy)
    rows = DIGITS.reshape(-1, 64)
    for each in (model, recorded):
        assert ((each.reconstruct(noisy) - rows) ** 2).mean() < 0.7 * 0.09


def test_generating_images():
    settings = {"channels": (8,), "loss": "binary_crossentropy", "output_activation": "sigmoid", **FAST}
    model = ConvolutionalVariationalAutoencoder((8, 8, 1), code_size=4, **{**settings, "max_epochs": 10}).fit(DIGITS)
    assert model.transform(DIGITS).shape == (1797, 4)
    assert model.coefs_[1].shape == (4 * 4 * 8, 8)
    assert model.sample(5).shape == (5, 64)
    mean, log_variance = model.encode_distribution(DIGITS)
    assert mean.shape == log_variance.shape == (1797, 4)
    assert -model.elbo(DIGITS).mean() == pytest.approx(model.validation_curve_[-1], rel=0.1)


class ConvolutionalSparse(SparseAutoencoder, ConvolutionalAutoencoder):
    """Channels, then a sparse dense code."""


class ConvolutionalContractive(ContractiveAutoencoder, ConvolutionalAutoencoder):
    """An invalid combination: the contractive norm is defined for dense layers only."""


def test_a_sparse_code_of_images():
    model = ConvolutionalSparse((8, 8, 1), channels=4, code_size=20, sparsity="topk", k=3, **FAST).fit(DIGITS)
    assert set((model.transform(DIGITS) != 0).sum(axis=1)) == {3}


ROWS = DIGITS.reshape(-1, 64)
WRONG = {
    "a shape that is not the columns": (
        lambda: ConvolutionalAutoencoder((8, 9, 1)).fit(ROWS),
        (
            "image_shape=(8, 9, 1) has 72 values, but X has 64 columns: height, width and channels must multiply to "
            "these"
        ),
    ),
    "a shape that is not the images": (
        lambda: ConvolutionalAutoencoder((8, 9, 1)).fit(DIGITS),
        "image_shape=(8, 9, 1) does not fit X, whose images are (8, 8)",
    ),
    "other images later": (
        lambda: ConvolutionalAutoencoder(channels=2, max_epochs=0).fit(DIGITS).predict(np.zeros((2, 4, 16, 1))),
        "image_shape=(8, 8, 1) does not fit X, whose images are (4, 16, 1)",
    ),
    "other rows later": (
        lambda: ConvolutionalAutoencoder(channels=2, max_epochs=0).fit(DIGITS).predict(np.zeros((2, 65))),
        "X has 65 features, but ConvolutionalAutoencoder is expecting 64 features as input.",
    ),
    "two sides": (
        lambda: ConvolutionalAutoencoder((8, 8)).fit(ROWS),
        "image_shape must be three integers of at least 1, height, width and channels, got (8, 8)",
    ),
    "half a pixel": (
        lambda: ConvolutionalAutoencoder((8, 8, 0.5)).fit(ROWS),
        "image_shape must be three integers of at least 1, height, width and channels, got (8, 8, 0.5)",
    ),
    "no channels": (
        lambda: ConvolutionalAutoencoder((8, 8, 1), channels=()).fit(ROWS),
        "channels must be integers of at least 1, got ()",
    ),
    "a channel of none": (
        lambda: ConvolutionalAutoencoder((8, 8, 1), channels=(4, 0)).fit(ROWS),
        "channels must be integers of at least 1, got (4, 0)",
    ),
    "a pool larger than the image": (
        lambda: ConvolutionalAutoencoder((8, 8, 1), pool=9).fit(ROWS),
        (
            "pool=9 does not fit the 8 x 8 pixels that are left of image_shape=(8, 8, 1) after convolution 1 of 2: use "
            "smaller strides or pool, or fewer channels"
        ),
    ),
    "a pool larger than what is left": (
        lambda: ConvolutionalAutoencoder((8, 8, 1), channels=(4, 4, 4, 4)).fit(ROWS),
        (
            "pool=2 does not fit the 1 x 1 pixels that are left of image_shape=(8, 8, 1) after convolution 4 of 4: use "
            "smaller strides or pool, or fewer channels"
        ),
    ),
    "a pool larger than what is left inside": (
        lambda: ConvolutionalAutoencoder((8, 8, 1), padding="valid").fit(ROWS),
        (
            "pool=2 does not fit the 1 x 1 pixels that are left of image_shape=(8, 8, 1) after convolution 2 of 2: use "
            "smaller strides or pool, or fewer channels"
        ),
    ),
    "strides larger than the image": (
        lambda: ConvolutionalAutoencoder((8, 8, 1), strides=(3, 4), pool=1).fit(ROWS),
        (
            "strides=4 does not fit the 3 x 3 pixels that are left of image_shape=(8, 8, 1) before convolution 2 of 2: "
            "use smaller strides or pool, or fewer channels"
        ),
    ),
    "a kernel that leaves nothing": (
        lambda: ConvolutionalAutoencoder((8, 8, 1), padding="valid", kernel_size=(3, 5), pool=(2, 1)).fit(ROWS),
        (
            "kernel_size=5 with padding='valid' does not fit the 3 x 3 pixels that are left of image_shape=(8, 8, 1) "
            "before convolution 2 of 2: use a smaller kernel_size, strides or pool, fewer channels or padding='same'"
        ),
    ),
    "kernels for other layers": (
        lambda: ConvolutionalAutoencoder((8, 8, 1), kernel_size=(3, 5, 7)).fit(ROWS),
        "kernel_size must be an integer from 1 to 16384, or 2 of them, one for each of the channels, got (3, 5, 7)",
    ),
    "a kernel of half a pixel": (
        lambda: ConvolutionalAutoencoder((8, 8, 1), kernel_size=(3, 1.5)).fit(ROWS),
        "kernel_size must be an integer from 1 to 16384, or 2 of them, one for each of the channels, got (3, 1.5)",
    ),
    "strides of none": (
        lambda: ConvolutionalAutoencoder((8, 8, 1), strides=(1, 0)).fit(ROWS),
        "strides must be an integer of at least 1, or 2 of them, one for each of the channels, got (1, 0)",
    ),
    "no pools": (
        lambda: ConvolutionalAutoencoder((8, 8, 1), pool=()).fit(ROWS),
        "pool must be an integer of at least 1, or 2 of them, one for each of the channels, got ()",
    ),
    "dense sizes": (
        lambda: ConvolutionalAutoencoder((8, 8, 1), encoder_layer_sizes=(4, 2)).fit(ROWS),
        (
            "encoder_layer_sizes must be 'auto' in a ConvolutionalAutoencoder, whose layers are given by channels and "
            "code_size, got (4, 2)"
        ),
    ),
    "ties": (
        lambda: ConvolutionalAutoencoder((8, 8, 1), tied_weights=True).fit(ROWS),
        (
            "tied_weights must be False in a ConvolutionalAutoencoder, whose layers are given by channels and "
            "code_size, got True"
        ),
    ),
    "a drawn code that is not dense": (
        lambda: ConvolutionalVariationalAutoencoder((8, 8, 1)).fit(ROWS),
        "code_size must be an integer in a ConvolutionalVariationalAutoencoder, whose code is dense, got None",
    ),
    "contracted convolutions": (
        lambda: ConvolutionalContractive((8, 8, 1), code_size=4).fit(ROWS),
        (
            "contraction=0.001 needs an encoder of dense layers, but that of a ConvolutionalContractive has conv2d and "
            "max_pool2d"
        ),
    ),
    "rates for other layers": (
        lambda: ConvolutionalAutoencoder((8, 8, 1), dropout=(0.1,)).fit(ROWS),
        "dropout must be one rate, or one for each of the 4 hidden layers, got 1",
    ),
}


@pytest.mark.parametrize("use", WRONG)
def test_wrong_uses_are_answered_in_one_line(use):
    do, message = WRONG[use]
    with raises_exactly(ValueError, message):
        do()
