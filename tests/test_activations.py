"""Each activation and its derivative agree with 40-digit arithmetic, over the whole range of floats."""

import mpmath
import numpy as np
import pytest

import engine
import reference
from aefast.engine import core

NAMES = sorted(reference.ACTIVATIONS)
DTYPES = ["float32", "float64"]

# Without fused multiply-adds every step of a polynomial is rounded twice.
MAX_ULP_VALUE = 4 if core.build_info()["fma"] else 6
# Derivatives come from the output where they can (tanh: 1 - y^2), so that they are exact to a few ulp of what their
# formula adds up, not of the difference.
MAX_ULP_DERIVATIVE = 8


def exact(name, z):
    """(value, derivative, magnitude of what the derivative's formula adds up) of one number, at 40 digits."""
    z, one = mpmath.mpf(float(z)), mpmath.mpf(1)
    if name == "gelu" and abs(z) > 1e4:  # the density has left even mpmath's reach
        return (z, one, one) if z > 0 else (mpmath.mpf(0),) * 3
    below = mpmath.exp(min(z, 0))
    sigmoid = one / (1 + mpmath.exp(-z))
    if name == "sigmoid":
        return sigmoid, sigmoid * (1 - sigmoid), sigmoid
    if name == "tanh":
        return mpmath.tanh(z), mpmath.sech(z) ** 2, one
    if name == "softplus":
        return mpmath.log1p(mpmath.exp(z)) if z < 0 else z + mpmath.log1p(mpmath.exp(-z)), sigmoid, sigmoid
    if name == "silu":
        return z * sigmoid, sigmoid * (1 + z * (1 - sigmoid)), sigmoid * (1 + abs(z) * (1 - sigmoid))
    if name == "gelu":
        phi, density = mpmath.erfc(-z / mpmath.sqrt(2)) / 2, mpmath.npdf(z)
        return z * phi, phi + z * density, phi + abs(z) * density
    if name == "elu":
        return (z, one, one) if z > 0 else (mpmath.expm1(z), below, one)
    if name == "selu":
        scale, alpha = mpmath.mpf(reference.SELU_SCALE), mpmath.mpf(reference.SELU_ALPHA)
        return (
            (scale * z, scale, scale)
            if z > 0
            else (scale * alpha * mpmath.expm1(z), scale * alpha * below, scale * alpha)
        )
    slope = {"identity": one, "relu": mpmath.mpf(0), "leaky_relu": mpmath.mpf(reference.LEAKY_SLOPE)}[name]
    return (z, one, one) if z > 0 else (slope * z, slope, one)


def as_float(number):
    """The nearest double, infinite beyond the largest; what is far below the smallest is zero."""
    limits = np.finfo(np.float64)
    if abs(number) < float(limits.smallest_subnormal) / 4:
        return 0.0
    return float(number) if abs(number) <= float(limits.max) else float(mpmath.sign(number)) * np.inf


def every_magnitude(dtype, n_uniform, rng):
    """Numbers of every exponent and sign, and more where activations bend."""
    limits = np.finfo(dtype)
    step = max(1, (limits.maxexp - limits.minexp) // 256)
    exponents = np.arange(limits.minexp, limits.maxexp, step)
    magnitudes = np.ldexp(rng.uniform(1, 2, size=len(exponents)), exponents)
    uniform = [rng.uniform(-r, r, size=n_uniform) for r in (1, 8, 40, 120)]
    edges = [limits.smallest_subnormal, -limits.smallest_subnormal, -88.5, -104, -709.5, -746, limits.max, -limits.max]
    with np.errstate(over="ignore"):
        return np.concatenate([magnitudes, -magnitudes, *uniform, edges]).astype(dtype)


def assert_within(got, expected, magnitude, max_ulp, z):
    """|got - expected| is at most ``max_ulp`` ulp of ``magnitude``, or as much as flushing a subnormal factor to zero
    may change a result."""
    limits = np.finfo(got.dtype)
    allowed = max_ulp * float(limits.eps) * magnitude + float(limits.tiny) * np.maximum(1, np.abs(z.astype(np.float64)))
    with np.errstate(invalid="ignore"):
        difference = np.abs(got.astype(np.float64) - expected)
    may_overflow = np.abs(expected) > float(limits.max) * (1 - float(limits.eps))
    wrong = np.flatnonzero(
        ~((difference <= allowed) | (may_overflow & np.isinf(got) & (np.sign(got) == np.sign(expected))))
    )
    first = wrong[:1]
    assert len(wrong) == 0, f"{len(wrong)} of {len(z)}: f({z[first]}) gave {got[first]}, expected {expected[first]}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_value_and_derivative_are_a_few_ulp_from_exact(name, dtype):
    z = every_magnitude(dtype, 150, np.random.default_rng(1))
    with mpmath.workdps(40):
        expected = np.array([[as_float(part) for part in exact(name, number)] for number in z])
    value, derivative = core.activation(name, z)
    assert value.dtype == derivative.dtype == z.dtype
    assert_within(value, expected[:, 0], np.abs(expected[:, 0]), MAX_ULP_VALUE, z)
    assert_within(derivative, expected[:, 1], expected[:, 2], MAX_ULP_DERIVATIVE, z)


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_agrees_with_the_oracle_everywhere_between_minus_and_plus_twenty(name):
    z = np.linspace(-20, 20, 200_003, dtype=np.float32)
    value, _ = core.activation(name, z)
    expected = reference.ACTIVATIONS[name][0](z.astype(np.float64))
    assert_within(value, expected, np.abs(expected), MAX_ULP_VALUE, z)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_a_number_gives_the_same_bits_at_every_position_of_an_array(name, dtype):
    z = np.random.default_rng(2).normal(scale=3, size=67).astype(dtype)
    whole = core.activation(name, z)
    for length in range(1, 67):
        for part, expected in zip(core.activation(name, z[:length].copy()), whole, strict=True):
            np.testing.assert_array_equal(part, expected[:length])
    for begin in range(1, 66):
        for part, expected in zip(core.activation(name, z[begin:].copy()), whole, strict=True):
            np.testing.assert_array_equal(part, expected[begin:])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_derivative_at_a_kink_is_between_the_slopes_on_both_sides(name, dtype):
    z = np.array([-1e-12, 0.0, -0.0, 1e-12], dtype=dtype)
    below, at_zero, at_negative_zero, above = core.activation(name, z)[1]
    slack = 1e-6
    for slope in (at_zero, at_negative_zero):
        assert min(below, above) - slack <= slope <= max(below, above) + slack


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_bounded_activations_stay_in_their_bounds(name):
    value, derivative = core.activation(name, every_magnitude("float32", 2000, np.random.default_rng(3)))
    assert (np.abs(value) <= 1).all()
    assert (derivative >= 0).all()
    assert (derivative <= 1).all()


def test_an_unknown_activation_is_refused_by_name():
    with pytest.raises(ValueError, match="swoosh"):
        core.activation("swoosh", np.zeros(3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_layers_compute_the_activation_as_it_is_tested_here(name, dtype):
    rows = np.random.default_rng(4).normal(scale=4, size=(50, 1)).astype(dtype)
    network = reference.network_spec((1, 1, 1), name)
    parameters = [np.ones((1, 1)), np.zeros(1)] * 2
    codes = engine.predictor(network, parameters, reference.no_scaling(1), dtype).encode(rows)
    np.testing.assert_array_equal(codes[:, 0], core.activation(name, rows[:, 0].copy())[0])
