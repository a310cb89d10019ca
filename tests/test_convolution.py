"""Layers of images (convolution, its transpose, pooling, upsampling) agree with a slow oracle and PyTorch."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

import engine
import reference_convolution as oracle
import rounding


def conv(channels, kernel_size=3, padding="same", activation="tanh", **options):
    return {
        "kind": "conv2d",
        "channels": channels,
        "kernel_size": kernel_size,
        "padding": padding,
        "activation": activation,
        **options,
    }


def transposed(channels, kernel_size, factor, padding="same", activation="tanh", **options):
    layer = conv(channels, kernel_size, padding, activation, **options)
    return layer | {"kind": "conv2d_transpose", "factor": factor}


def pool(factor):
    return {"kind": "max_pool2d", "factor": factor}


def upsample(factor, **options):
    return {"kind": "upsample2d", "factor": factor, **options}


def dense(*units, activation="tanh", **options):
    """A dense layer whose outputs may be taken as an image."""
    return {"kind": "dense", "units": int(np.prod(units)), "activation": activation, "gives": units, **options}


def chain(image, *layers, n_encoder_layers=1):
    """Return a network of `layers` on images of that shape; each layer gets the shape of its input."""
    n_features, filled = int(np.prod(image)), []
    for layer in layers:
        given = {key: value for key, value in layer.items() if key != "gives"}
        if layer["kind"] != "dense":
            given["image"] = image
        filled.append(given)
        image = layer["gives"] if layer["kind"] == "dense" else oracle.output_image(given)
    filled[-1] = {**filled[-1], "activation": "identity"}
    assert int(np.prod(image)) == n_features
    return {"n_features": n_features, "layers": filled, "n_encoder_layers": n_encoder_layers, "groups": []}


NETWORKS = {
    "one channel": chain((5, 7, 1), conv(3), conv(1)),
    "one pixel": chain((1, 1, 2), conv(3), conv(2)),
    "a kernel larger than the image": chain((2, 3, 2), conv(5, 7), conv(2, 7)),
    "a kernel of few channels larger than the image": chain((2, 3, 1), conv(5, 5), conv(1, 5)),
    "kernels of one tap": chain((4, 3, 3), conv(2, 1), conv(3, 1)),
    "even kernels": chain((5, 4, 2), conv(3, 2), conv(2, 4)),
    "channels beyond a register": chain((3, 3, 2), conv(17), conv(19), conv(2), n_encoder_layers=2),
    "channels beyond a panel": chain((3, 2, 3), conv(67), conv(35), conv(3), n_encoder_layers=2),
    "many channels to one": chain((4, 5, 1), conv(40), conv(1)),
    "two channels": chain((5, 5, 2), conv(9), conv(2)),
    "valid": chain((6, 5, 2), conv(3, 3, "valid"), transposed(2, 3, 1, "valid")),
    "valid down to one pixel": chain((3, 3, 1), conv(4, 3, "valid"), transposed(1, 3, 1, "valid")),
    "valid with many channels": chain((4, 5, 18), conv(20, 3, "valid"), transposed(18, 3, 1, "valid")),
    "pooling by 2": chain((4, 6, 1), conv(3), pool(2), upsample(2), conv(1), n_encoder_layers=2),
    "pooling by 3": chain((6, 3, 2), conv(4), pool(3), upsample(3), conv(2), n_encoder_layers=2),
    "pooling to one pixel": chain((2, 2, 3), pool(2), conv(5), upsample(2), conv(3), n_encoder_layers=2),
    "transposed by 2": chain((4, 6, 1), conv(3), pool(2), transposed(2, 3, 2), conv(1), n_encoder_layers=2),
    "transposed by 2 without overlap": chain((4, 4, 3), conv(5), pool(2), transposed(3, 2, 2), n_encoder_layers=2),
    "transposed by 2, kernel of 5": chain((6, 4, 2), pool(2), conv(20), transposed(2, 5, 2), n_encoder_layers=2),
    "transposed by 3 with gaps": chain((6, 3, 2), pool(3), conv(3), transposed(2, 2, 3), n_encoder_layers=2),
    "transposed by 3, a margin of one": chain((3, 6, 1), pool(3), conv(4), transposed(1, 4, 3), n_encoder_layers=2),
    "transposed by 2, valid": chain((7, 9, 2), pool(1), dense(3, 4, 5), transposed(2, 3, 2, "valid")),
    "transposed from one channel": chain((4, 4, 18), pool(2), conv(1), transposed(18, 3, 2), n_encoder_layers=2),
    "stride of 2": chain((4, 6, 2), conv(5, stride=2), transposed(2, 3, 2)),
    "stride of 2, odd sides": chain((5, 7, 1), conv(4, stride=2), transposed(1, 3, 2, output=(5, 7))),
    "stride of 2, a kernel of 5": chain((7, 4, 3), conv(17, 5, stride=2), transposed(3, 5, 2, output=(7, 4))),
    "stride of 3, a kernel of 1": chain((5, 7, 2), conv(3, 1, stride=3), transposed(2, 4, 3, output=(5, 7))),
    "stride of 3 on one pixel": chain((1, 1, 2), conv(3, stride=3), transposed(2, 3, 3, output=(1, 1))),
    "stride of 2, few channels": chain((9, 9, 1), conv(2, stride=2), upsample(2, output=(9, 9)), conv(1)),
    "stride of 2, valid": chain((8, 7, 2), conv(3, 3, "valid", stride=2), transposed(2, 4, 2, "valid", output=(8, 7))),
    "stride of 3, valid, a rest": chain(
        (7, 9, 1),
        conv(20, 2, "valid", stride=3),
        upsample(3, output=(6, 8)),
        transposed(1, 2, 1, "valid"),
        n_encoder_layers=1,
    ),
    "pooling by 2, odd sides": chain((5, 7, 2), conv(3), pool(2), upsample(2, output=(5, 7)), conv(2)),
    "pooling by 3, odd sides": chain((5, 7, 1), conv(9), pool(3), conv(4), transposed(1, 4, 3, output=(5, 7))),
    "pooling by 3 on a line": chain((1, 4, 2), pool(3), conv(3), upsample(3, output=(1, 4)), conv(2)),
    "digits": chain((28, 28, 1), conv(4, 5, stride=2), pool(3), conv(3, 1), upsample(6, output=(28, 28)), conv(1)),
    "a dense code": chain(
        (4, 4, 2),
        conv(6, activation="silu"),
        pool(2),
        dense(5),
        dense(2, 2, 6, activation="gelu"),
        upsample(2),
        conv(2),
        n_encoder_layers=3,
    ),
    "every activation": chain(
        (3, 4, 2),
        *(conv(3, activation=a) for a in ("sigmoid", "elu", "selu", "gelu", "silu", "softplus")),
        conv(2),
        n_encoder_layers=3,
    ),
}


NORM = {"batch_norm": True}
NORMALISED = {
    "normalised": chain((5, 7, 2), conv(3, **NORM), conv(2)),
    "normalised one pixel": chain((1, 1, 2), conv(3, **NORM), conv(2)),
    "normalised one channel": chain((7, 5, 1), conv(1, 1, activation="gelu", **NORM), conv(1, 5)),
    "normalised strides": chain(
        (5, 7, 1), conv(17, stride=2, **NORM), transposed(4, 3, 2, output=(5, 7), **NORM), conv(1), n_encoder_layers=1
    ),
    "normalised pooling": chain((9, 8, 2), conv(4, **NORM), pool(3), upsample(3, output=(9, 8)), conv(2)),
    "normalised digits": chain(
        (28, 28, 1), conv(9, 5, stride=3, **NORM), conv(5, **NORM), upsample(3, output=(28, 28)), conv(1)
    ),
    "normalised around a dense code": chain(
        (4, 4, 2), conv(6, **NORM), pool(2), dense(5, **NORM), dense(2, 2, 6, **NORM), upsample(2), conv(2)
    ),
}


def make_rows(network, n_rows, seed=0):
    """(parameters, rows)."""
    rng = np.random.default_rng(seed)
    return oracle.random_parameters(network, rng), rng.normal(size=(n_rows, network["n_features"]))


def assert_gradient_equals_the_oracle(network, n_rows, dtype, seed=0):
    parameters, x = make_rows(network, n_rows, seed)
    value, gradient = oracle.objective_and_gradient(network, parameters, x)
    _, gradient_bounds = oracle.bounds(network, parameters, x, rounding.unit_of(dtype))
    trainer = engine.trainer(network, parameters, dtype=dtype)
    got_value, got = trainer.gradient(x, engine.identity_scaling(network["n_features"]))
    assert got_value == pytest.approx(value, rel=1e-12 if dtype == "float64" else 1e-5)
    for g, expected, bound in zip(got, gradient, gradient_bounds, strict=True):
        assert g.shape == expected.shape
        assert (np.abs(g - expected) <= 2 * bound).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_equals_the_oracle(name, dtype):
    assert_gradient_equals_the_oracle(NETWORKS[name], 21, dtype)


@pytest.mark.parametrize("n_rows", [1, 2, 16, 64, 130])
def test_gradient_equals_the_oracle_for_any_number_of_rows(n_rows):
    for name in ("one channel", "channels beyond a register", "transposed by 2"):
        assert_gradient_equals_the_oracle(NETWORKS[name], n_rows, "float64")


@strategies.composite
def two_convolutions(draw):
    """Draw layers that change the size of the image, and layers that change it back."""
    size = strategies.integers(1, 5)
    channels = strategies.sampled_from([1, 2, 3, 8, 9, 17, 33])
    kernel_size, factor = draw(size), draw(strategies.integers(1, 3))
    padding = draw(strategies.sampled_from(["same", "valid"]))
    small, other = (draw(size), draw(size)), draw(channels)
    is_strided = draw(strategies.booleans())
    if padding == "valid" and factor == 1:
        image = (small[0] + kernel_size - 1, small[1] + kernel_size - 1, draw(channels))
        return chain(image, conv(other, kernel_size, "valid"), transposed(image[2], kernel_size, 1, "valid"))
    cut = strategies.integers(0, factor - 1)
    if padding == "valid" and is_strided:
        sides = [(n - 1) * factor + kernel_size + draw(cut) for n in small]
        image, whole = (*sides, draw(channels)), factor + kernel_size - 1
        restored = transposed(image[2], whole, factor, "valid", output=tuple(sides))
        return chain(image, conv(other, kernel_size, "valid", stride=factor), restored)
    sides = tuple(n * factor - draw(cut) for n in small)
    image = (*sides, draw(channels))
    if is_strided:
        return chain(image, conv(other, draw(size), stride=factor), upsample(factor, output=sides), conv(image[2]))
    restored = transposed(image[2], kernel_size, factor, output=sides)
    return chain(image, pool(factor), conv(other, draw(size)), restored)


@hypothesis.settings(max_examples=60)
@hypothesis.given(two_convolutions(), strategies.integers(1, 20), strategies.integers(0, 5))
def test_gradient_equals_the_oracle_for_any_sizes(network, n_rows, seed):
    assert_gradient_equals_the_oracle(network, n_rows, "float64", seed)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NETWORKS)
def test_reconstructions_equal_the_oracle(name, dtype):
    network = NETWORKS[name]
    parameters, x = make_rows(network, 19)
    d = network["n_features"]
    bound, _ = oracle.bounds(network, parameters, x, rounding.unit_of(dtype))
    predictor = engine.predictor(network, parameters, (np.zeros(d), np.ones(d), 1e6), dtype)
    expected = oracle.forward(network, parameters, x)[-1][2]
    assert (np.abs(predictor.reconstruct(x) - expected) <= 2 * bound).all()


@pytest.mark.parametrize(("dtype", "error"), [("float64", 1e-11), ("float32", 1e-4)])
@pytest.mark.parametrize("n_rows", [2, 21, 130])
@pytest.mark.parametrize("name", NORMALISED)
def test_a_normalised_gradient_equals_the_oracle(name, n_rows, dtype, error):
    network = NORMALISED[name]
    parameters, x = make_rows(network, n_rows)
    value, gradient = oracle.objective_and_gradient(network, parameters, x)
    trainer = engine.trainer(network, parameters, dtype=dtype)
    got_value, got = trainer.gradient(x, engine.identity_scaling(network["n_features"]))
    assert got_value == pytest.approx(value, rel=error)
    largest = max(np.abs(g).max() for g in gradient)
    for g, expected in zip(got, gradient, strict=True):
        np.testing.assert_allclose(g, expected, rtol=0, atol=error * largest)


@pytest.mark.parametrize("name", NORMALISED)
def test_scoring_normalises_by_the_running_statistics(name):
    network = NORMALISED[name]
    parameters, x = make_rows(network, 19)
    d = network["n_features"]
    predictor = engine.predictor(network, parameters, (np.zeros(d), np.ones(d), 1e6), "float64")
    expected = oracle.forward(network, parameters, x)[-1][2]
    np.testing.assert_allclose(predictor.reconstruct(x), expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("n_rows", [1, 30])
def test_running_statistics_are_those_of_rows_and_pixels(n_rows):
    network = NORMALISED["normalised digits"]
    parameters, x = make_rows(network, n_rows)
    trainer = engine.trainer(network, parameters)
    trainer.train_epoch(x, engine.identity_scaling(784), epoch=0, learning_rate=0.0, batch_size=n_rows)
    linear = oracle.linear_layers(network, parameters)[0]
    pixels = (x @ linear.matrix + linear.bias).reshape(-1, 9)
    after = trainer.parameters()
    np.testing.assert_allclose(after[4], 0.9 * parameters[4] + 0.1 * pixels.mean(axis=0), rtol=1e-11)
    np.testing.assert_allclose(after[5], 0.9 * parameters[5] + 0.1 * pixels.var(axis=0, ddof=1), rtol=1e-11)


SLOPES = ["pooling by 2", "transposed by 2", "valid", "a dense code", "stride of 2, odd sides", "stride of 2, valid"]


@pytest.mark.parametrize(
    "name", [*SLOPES, "pooling by 2, odd sides", "stride of 3, a kernel of 1", *list(NORMALISED)[:-2]]
)
def test_gradient_is_the_slope_of_the_objective(name):
    network, step = (NETWORKS | NORMALISED)[name], 1e-6
    parameters, x = make_rows(network, 5)
    scaling = engine.identity_scaling(network["n_features"])

    def objective(moved):
        return engine.trainer(network, moved).gradient(x, scaling)[0]

    _, gradient = engine.trainer(network, parameters).gradient(x, scaling)
    largest = max(np.abs(g).max() for g in gradient)
    for index, g in enumerate(gradient):
        for at in list(np.ndindex(g.shape))[::3]:
            ends = []
            for sign in (1, -1):
                moved = [p.copy() for p in parameters]
                moved[index][at] += sign * step
                ends.append(objective(moved))
            assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(g[at], abs=1e-6 * max(1, largest))


def test_of_equal_maxima_the_first_takes_the_gradient():
    """With zero weights all pixels tie in pooling; the gradient of the weights shows which pixel was chosen."""
    network = chain((4, 4, 2), conv(2, 1, activation="identity"), pool(2), upsample(2), conv(2, 1), n_encoder_layers=2)
    parameters, x = make_rows(network, 18)
    parameters[0][:] = 0
    expected = oracle.objective_and_gradient(network, parameters, x)[1]
    got = engine.trainer(network, parameters).gradient(x, engine.identity_scaling(32))[1]
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=0, atol=1e-14)


WIDE_NORMALISED = chain((7, 5, 1), conv(16, stride=2, **NORM), conv(20, **NORM), transposed(1, 3, 2, output=(7, 5)))
WIDE = chain((8, 6, 1), conv(16), pool(2), conv(20), transposed(2, 3, 2), upsample(1), conv(1), n_encoder_layers=3)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n_threads", [2, 3, 7])
@pytest.mark.parametrize("network", [WIDE, WIDE_NORMALISED], ids=["plain", "normalised"])
def test_any_number_of_threads_trains_the_same_network(network, n_threads, dtype):
    """The number of threads also changes the number of rows that go through the network together."""
    parameters, x = make_rows(network, 150)
    scaling = engine.identity_scaling(network["n_features"])
    adam = {"kind": "adam"}
    trainers = [engine.trainer(network, parameters, None, adam, dtype, n_threads=n) for n in (1, n_threads)]
    for trainer in trainers:
        for epoch in range(2):
            trainer.train_epoch(x, scaling, epoch=epoch, learning_rate=1e-2, batch_size=100)
    for one, several in zip(*(trainer.parameters() for trainer in trainers), strict=True):
        np.testing.assert_array_equal(one, several)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_row_scores_the_same_alone_and_among_others(dtype):
    parameters, x = make_rows(WIDE, 75)
    predictor = engine.predictor(WIDE, parameters, (np.zeros(48), np.ones(48), 1e6), dtype)
    together = predictor.errors(x, "mse"), predictor.reconstruct(x), predictor.encode(x)
    for i in range(0, len(x), 7):
        row = x[i : i + 1]
        alone = predictor.errors(row, "mse"), predictor.reconstruct(row), predictor.encode(row)
        for a, t in zip(alone, together, strict=True):
            np.testing.assert_array_equal(a[0], t[i])


@pytest.mark.parametrize("name", [*NETWORKS, *NORMALISED])
def test_parameters_come_back_as_they_were_given(name):
    network = (NETWORKS | NORMALISED)[name]
    parameters, _ = make_rows(network, 1)
    for got, given in zip(engine.trainer(network, parameters).parameters(), parameters, strict=True):
        np.testing.assert_array_equal(got, given)


def test_weight_penalties_count_every_element_of_a_kernel_once():
    network = NETWORKS["one channel"]
    parameters, x = make_rows(network, 6)
    scaling = engine.identity_scaling(network["n_features"])
    plain_value, plain = engine.trainer(network, parameters).gradient(x, scaling)
    value, gradient = engine.trainer(network, parameters, {"loss": "mse", "l1": 0.1, "l2": 0.2}).gradient(x, scaling)
    kernels = parameters[::2]
    penalty = sum(0.1 * np.abs(k).sum() + 0.1 * (k * k).sum() for k in kernels)
    assert value == pytest.approx(plain_value + penalty, rel=1e-12)
    for g, before, kernel in zip(gradient[::2], plain[::2], kernels, strict=True):
        np.testing.assert_allclose(g, before + 0.1 * np.sign(kernel) + 0.2 * kernel, rtol=0, atol=1e-13)
    for g, before in zip(gradient[1::2], plain[1::2], strict=True):
        np.testing.assert_array_equal(g, before)


def one_layer(**changes):
    """Return an invalid network of one layer on 4 x 6 pixels of 2 channels."""
    layer = {"kind": "conv2d", "image": (4, 6, 2), "channels": 2, "kernel_size": 3} | changes
    return {"n_features": 48, "layers": [layer], "n_encoder_layers": 1, "groups": []}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel_size": 5, "padding": "valid"}, "a kernel of 5 .* does not fit an image of 4 x 6 x 2"),
        ({"stride": 0}, "conv2d needs a stride of at least 1, not 0"),
        ({"stride": 2}, "the last layer must give n_features"),
        ({"kind": "max_pool2d", "factor": 3}, "the last layer must give n_features"),
        ({"kind": "upsample2d", "factor": 2, "output": (6, 12)}, "upsample2d cannot be cut from .* 8 x 12 x 2"),
        ({"kind": "upsample2d", "factor": 2, "output": (7,)}, "upsample2d cannot be cut from .* 8 x 12 x 2"),
        ({"kind": "conv2d_transpose", "factor": 2, "output": (8, 13)}, "cannot be cut from an image of 8 x 12 x 2"),
        ({"image": (4, 6, 1)}, "an image of 4 x 6 x 1 does not fit 48 features"),
        ({"image": (4, 0, 2)}, "conv2d needs an image .* not 0"),
        ({"channels": 0}, "conv2d needs channels of at least 1, not 0"),
        ({"kernel_size": -1}, "conv2d needs a kernel_size of at least 1, not -1"),
        ({"kind": "upsample2d"}, "upsample2d needs a factor of at least 1, not 0"),
        ({"padding": "full"}, "padding must be 'same' or 'valid', not 'full'"),
        ({"kind": "conv3d"}, "unknown kind of layer 'conv3d'"),
        ({"channels": 3}, "the last layer must give n_features"),
        ({"tied_to": 0}, "conv2d takes no ties"),
    ],
)
def test_sizes_that_do_not_fit_are_named(changes, message):
    parameters = [np.zeros((18, 2)), np.zeros(2)]
    with pytest.raises(ValueError, match=message):
        engine.trainer(one_layer(**changes), parameters)


def torch_gradient(torch, network, parameters, x):
    """(objective, gradient, parameters) by PyTorch's own layers and autograd, whose images are (channel, y, x).

    Of the parameters, only the running statistics have changed.
    """
    functional = torch.nn.functional
    tensors = [torch.tensor(p, requires_grad=True) for p in parameters]  # copies
    rest = iter(tensors)
    h = t = torch.tensor(x)
    for layer in network["layers"]:
        if layer["kind"] == "dense":
            h = h.reshape(len(x), -1) @ next(rest) + next(rest)
        else:
            height, width, channels = layer["image"]
            h = h.reshape(len(x), height, width, channels).permute(0, 3, 1, 2)
            size, factor = layer.get("kernel_size"), layer.get("factor", layer.get("stride", 1))
            lost = max(0, size - factor) if layer.get("padding") == "same" else 0
            sides = oracle.output_image(layer)[:2]
        if layer["kind"] == "conv2d":
            kernel = next(rest).reshape(size, size, channels, -1).permute(3, 2, 0, 1).contiguous()
            before = lost // 2
            after = [(n - 1) * factor + size - before - m for n, m in zip(sides, (height, width), strict=True)]
            h = functional.pad(h, (before, max(0, after[1]), before, max(0, after[0])))
            h = functional.conv2d(h, kernel, next(rest), stride=factor)
        elif layer["kind"] == "conv2d_transpose":
            kernel = next(rest).reshape(size, size, -1, channels).permute(3, 2, 0, 1).contiguous()
            gap = max(0, factor - size) if layer["padding"] == "same" else 0
            h = functional.conv_transpose2d(h, kernel, next(rest), stride=factor, output_padding=gap)
            h = h[:, :, lost // 2 : lost // 2 + sides[0], lost // 2 : lost // 2 + sides[1]]
        elif layer["kind"] == "max_pool2d":
            h = functional.max_pool2d(h, factor, ceil_mode=True)
        elif layer["kind"] == "upsample2d":
            h = functional.interpolate(h, scale_factor=factor, mode="nearest")[:, :, : sides[0], : sides[1]]
        if layer.get("batch_norm"):
            gamma, beta, mean, variance = (next(rest) for _ in range(4))
            statistics = mean.detach(), variance.detach()  # which are updated in place
            h = functional.batch_norm(h, *statistics, gamma, beta, training=True, momentum=0.1, eps=1e-5)
        if layer["kind"] != "dense":
            h = h.permute(0, 2, 3, 1)
        h = {"tanh": torch.tanh, "relu": torch.relu}.get(layer.get("activation"), lambda z: z)(h)
    value = functional.mse_loss(h.reshape(len(x), -1), t)
    value.backward()
    gradient = [np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy() for tensor in tensors]
    return value.item(), gradient, [tensor.detach().numpy() for tensor in tensors]


ALL = NETWORKS | NORMALISED
OTHER_ACTIVATIONS = ("a dense code", "every activation", "normalised one channel")


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("name", [name for name in ALL if name not in OTHER_ACTIVATIONS])
def test_gradient_and_step_are_those_of_pytorch(name, activation):
    torch = pytest.importorskip("torch", reason="compares with PyTorch where it is installed")
    network = ALL[name]
    hidden = [{**layer, "activation": activation} if "activation" in layer else layer for layer in network["layers"]]
    network = {**network, "layers": [*hidden[:-1], network["layers"][-1]]}
    parameters, x = make_rows(network, 23)
    value, gradient, statistics = torch_gradient(torch, network, parameters, x)
    scaling = engine.identity_scaling(network["n_features"])
    got_value, got = engine.trainer(network, parameters).gradient(x, scaling)
    assert got_value == pytest.approx(value, rel=1e-10)
    largest = max(np.abs(g).max() for g in gradient)
    for g, expected in zip(got, gradient, strict=True):
        np.testing.assert_allclose(g, expected, rtol=0, atol=1e-10 * largest)
    # One step of plain gradient descent, whose statistics PyTorch has updated.
    for dtype, error in (("float64", 1e-10), ("float32", 1e-4)):
        trainer = engine.trainer(network, parameters, dtype=dtype)
        trainer.train_epoch(x, scaling, epoch=0, learning_rate=0.5, batch_size=23, shuffle=False)
        for after, before, g in zip(trainer.parameters(), statistics, gradient, strict=True):
            np.testing.assert_allclose(after, before - 0.5 * g, rtol=error, atol=error * max(1, largest))
