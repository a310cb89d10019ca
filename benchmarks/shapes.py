"""The networks that all benchmarks use, their operation counts, weights and rows."""

from math import prod, sqrt

import numpy as np

SHAPES = {
    "-".join(map(str, widths)): widths
    for widths in [
        (10, 8, 4, 8, 10),
        (30, 16, 8, 16, 30),
        (128, 64, 32, 64, 128),
        (784, 128, 32, 128, 784),
        (784, 8, 784),
        (1024, 512, 256, 512, 1024),
        (256, 128, 64, 32, 64, 128, 256),
        (2048, 64, 2048),
    ]
}


def flops_per_row(widths, training=False):
    """Return the multiplications and additions of a row's matrix products.

    Training adds twice the forward count for the backward pass, without the gradient of the input.
    """
    pairs = list(zip(widths[:-1], widths[1:], strict=True))
    forward = 2 * sum(map(prod, pairs))
    return 3 * forward - 2 * prod(pairs[0]) if training else forward


def bytes_per_row(widths):
    """Return the bytes that scoring a float32 row must read and write: the row and one error."""
    return 4 * widths[0] + 4


def random_weights(widths, seed=0):
    """Return [(weights (n_in, n_out), biases (n_out,))] in float32, Glorot uniform."""
    rng = np.random.default_rng(seed)
    layers = []
    for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
        bound = sqrt(6 / (n_in + n_out))
        weights = rng.uniform(-bound, bound, size=(n_in, n_out)).astype(np.float32)
        layers.append((weights, rng.uniform(-0.1, 0.1, size=n_out).astype(np.float32)))
    return layers


def aligned(shape, dtype=np.float32, alignment=64):
    """Return an empty array that begins on a cache line, so that no library has to copy it."""
    n_bytes = prod(shape) * np.dtype(dtype).itemsize
    buffer = np.empty(n_bytes + alignment, dtype=np.uint8)
    begin = -buffer.ctypes.data % alignment
    return buffer[begin : begin + n_bytes].view(dtype).reshape(shape)


def random_rows(n_rows, n_features, seed=1):
    """Return float32 rows: standard normal noise plus four common factors."""
    rng = np.random.default_rng(seed)
    X = aligned((n_rows, n_features))
    mixing = rng.normal(size=(4, n_features)).astype(np.float32) / 2
    for begin in range(0, n_rows, 65536):
        block = X[begin : begin + 65536]
        block[:] = rng.standard_normal(size=block.shape, dtype=np.float32)
        block += rng.standard_normal(size=(len(block), 4), dtype=np.float32) @ mixing
    return X


def scoring_rows(widths):
    """Return the number of rows to score: 64 MB, more than the last-level cache, as a multiple of 16384."""
    return max(1, 64 * 2**20 // (4 * widths[0]) // 16384) * 16384


def training_rows(widths):
    """Return the number of rows to train on: about 16 MB, a multiple of 1024, at most 131072."""
    return min(131072, max(8, 16 * 2**20 // (4 * widths[0]) // 1024) * 1024)
