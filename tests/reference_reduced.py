"""The oracle of reduced precision: bfloat16 and bytes by their definitions, exact to the last bit.

The product of two bfloat16 numbers is a float32 number. Sums of such products in float32 therefore round the same, with
or without fused or special instructions. Sums of bytes are integers.
"""

import numpy as np

# Smallest number of inputs of a layer computed in bfloat16 and in bytes; layers with fewer inputs use float32.
LEAST_DEPTH, LEAST_BYTES = 16, 32


def to_bfloat16(x):
    """Round float32 to the nearest bfloat16, ties to even; denormals become zero."""
    x = np.ascontiguousarray(x, dtype=np.float32)
    word = x.view(np.uint32)
    rounded = ((word + 0x7FFF + ((word >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)
    return np.where(np.abs(x) < np.finfo(np.float32).tiny, np.float32(0), rounded)


def bfloat16_sums(x, weights, biases):
    """Return x @ weights + biases; of each pair of features the second is added first."""
    x, weights = to_bfloat16(x), to_bfloat16(weights)
    total = np.repeat(biases[np.newaxis].astype(np.float32), len(x), axis=0)
    for even in range(0, x.shape[1], 2):
        for feature in (even + 1, even):
            if feature < x.shape[1]:
                total = total + x[:, feature, np.newaxis] * weights[feature]
    return total


def byte_sums(x, weights, biases, ranges):
    """Return x @ weights + biases with quantised operands.

    Inputs have 255 steps within their ranges (2, n_in); weights have 127 steps up to the largest of their output.
    """
    low, high = np.minimum(ranges[0], 0).astype(np.float64), np.maximum(ranges[1], 0).astype(np.float64)
    is_used = high > low
    inverse = 255 / np.where(is_used, high - low, np.inf)
    zero = np.rint(-low * inverse)
    steps = np.clip(x * inverse.astype(np.float32), (-zero).astype(np.float32), (255 - zero).astype(np.float32))
    inputs = np.rint(steps.astype(np.float64) + zero)
    scaled = weights.astype(np.float64) * np.where(is_used, 1 / np.where(is_used, inverse, 1), 0)[:, np.newaxis]
    unit = np.maximum(np.abs(scaled).max(axis=0) / 127, np.abs(biases.astype(np.float64)) * 2.0**-28)
    unit = np.maximum(unit, 1e-30).astype(np.float32)
    scaled = np.clip(np.rint(scaled / unit.astype(np.float64)), -127, 127)
    total = (inputs - zero) @ scaled + np.rint(biases.astype(np.float64) / unit.astype(np.float64))
    return total.astype(np.float32) * unit


def sums(x, weights, biases, precision, ranges, float32_sums):
    """Return a layer's pre-activations; ``float32_sums(x, weights, biases)`` computes a layer in float32."""
    if len(weights) < LEAST_DEPTH:
        return float32_sums(x, weights, biases)
    if precision == "int8" and len(weights) >= LEAST_BYTES:
        return byte_sums(x, weights, biases, ranges)
    return bfloat16_sums(x, weights, biases)
