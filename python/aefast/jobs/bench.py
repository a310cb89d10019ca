"""Measures rows per second of training and scoring on this machine, and of the same network written in NumPy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.engine import core, limits
from aefast.engine.threads import resolve_threads
from aefast.estimators.autoencoder import Autoencoder

Array = NDArray[np.float32]

SHAPES = ((10, 8, 4, 8, 10), (30, 16, 8, 16, 30), (128, 64, 32, 64, 128), (784, 128, 32, 128, 784))
BATCH_SIZE = 256
VALUES = 6_000_000  # numbers in the rows of one measurement


class NumpyAutoencoder:
    """A plain NumPy autoencoder: ReLU hidden layers, a linear output, mean squared error, Adam."""

    def __init__(self, widths: Sequence[int]) -> None:
        rng = np.random.default_rng(0)
        self.parameters: list[Array] = []
        for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
            bound = np.sqrt(6 / (n_in + n_out))
            self.parameters += [rng.uniform(-bound, bound, (n_in, n_out)).astype("f4"), np.zeros(n_out, "f4")]
        self.means: list[Array] = [np.zeros_like(p) for p in self.parameters]
        self.squares: list[Array] = [np.zeros_like(p) for p in self.parameters]
        self.n_steps: int = 0

    def forward(self, X: Array) -> list[Array]:
        """The input and the outputs of every layer."""
        outputs = [X]
        last = len(self.parameters) // 2 - 1
        for k in range(last + 1):
            z = outputs[-1] @ self.parameters[2 * k]
            z += self.parameters[2 * k + 1]
            outputs.append(z if k == last else np.maximum(z, 0, out=z))
        return outputs

    def errors(self, X: Array) -> Array:
        """The mean squared error of each row, in blocks that stay in cache."""
        result = np.empty(len(X), dtype=np.float32)
        for start in range(0, len(X), 1024):
            rows = X[start : start + 1024]
            residual = self.forward(rows)[-1]
            residual -= rows
            np.einsum("ij,ij->i", residual, residual, out=result[start : start + 1024])
        result /= np.float32(X.shape[1])
        return result

    def step(self, X: Array, rate: float = 1e-3) -> None:
        """Train on one minibatch: forward, backward and Adam (Kingma and Ba 2015, algorithm 1)."""
        outputs = self.forward(X)
        delta = outputs[-1] - X
        delta *= np.float32(2 / X.size)
        gradients: list[Array] = []
        for k in range(len(self.parameters) // 2 - 1, -1, -1):
            gradients[:0] = [outputs[k].T @ delta, delta.sum(axis=0)]
            if k:
                delta = delta @ self.parameters[2 * k].T
                delta *= outputs[k] > 0
        self.n_steps += 1
        size = np.float32(rate * np.sqrt(1 - 0.999**self.n_steps) / (1 - 0.9**self.n_steps))
        for p, g, m, v in zip(self.parameters, gradients, self.means, self.squares, strict=True):
            m += np.float32(0.1) * (g - m)
            v += np.float32(0.001) * (g * g - v)
            p -= size * m / (np.sqrt(v) + np.float32(1e-8))

    def epoch(self, X: Array, rng: np.random.Generator) -> None:
        """Train on all rows once, shuffled."""
        order = rng.permutation(len(X))
        for start in range(0, len(X), BATCH_SIZE):
            self.step(X[order[start : start + BATCH_SIZE]])


def measure(*, seconds: float = 0.3, n_threads: int | None = None) -> dict[str, Any]:
    """The best rows per second found within about ``seconds`` for each figure.

    Parameters
    ----------
    seconds : float
    n_threads : int, optional
        Of aefast and of NumPy. Default: all CPUs this process may use.

    Returns
    -------
    dict
        ``networks`` has ``scoring`` and ``training`` for each shape, each with ``rows_per_second``; ``numpy``, the rows
        per second of `NumpyAutoencoder` with one BLAS thread or all, whichever is faster; and ``share_of_limit``, the
        share of the rows per second that ``limit_gflops`` and ``limit_gbytes`` allow. These limits are measured in the
        same run; a row needs its matrix products and is read once.
    """
    threads = resolve_threads(n_threads)
    machine = limits.measure(threads, seconds)
    networks = [_measure_shape(widths, seconds, threads, machine) for widths in SHAPES]
    return {
        "version": core.__version__,
        "isa_level": core.isa_level,
        "threads": threads,
        "batch_size": BATCH_SIZE,
        "limit_gflops": machine["flops"] / 1e9,
        "limit_gbytes": machine["bytes"] / 1e9,
        "networks": networks,
    }


def _measure_shape(widths: Sequence[int], seconds: float, threads: int, machine: limits.Limits) -> dict[str, Any]:
    X = np.random.default_rng(0).normal(size=(VALUES // widths[0], widths[0])).astype(np.float32)
    n_encoder = len(widths) // 2
    epoch_ends: list[float] = []
    begin = time.perf_counter()

    def stop_when_late(info: Any) -> bool:
        epoch_ends.append(info.seconds)
        return len(epoch_ends) > 2 and time.perf_counter() - begin > seconds

    model = Autoencoder(
        tuple(widths[1 : n_encoder + 1]),
        activation="relu",
        code_activation="relu",
        learning_rate=1e-3,
        batch_size=BATCH_SIZE,
        max_epochs=1000,
        validation_fraction=0.0,
        early_stopping=False,
        scaler=None,
        score_metric="mse",
        random_state=0,
        n_threads=threads,
        callbacks=(stop_when_late,),
    )
    model.fit(X)
    by_hand = NumpyAutoencoder(widths)
    rng = np.random.default_rng(0)
    flops = 2 * sum(a * b for a, b in zip(widths[:-1], widths[1:], strict=True))
    # Training does three products per layer, but needs no gradient of the input.
    training_flops = 3 * flops - 2 * widths[0] * widths[1]
    trained = len(X) / min(np.diff(epoch_ends))
    scored = len(X) / limits.best_seconds(lambda: model.reconstruction_error(X), seconds)

    def share(rows_per_second: float, flops: float) -> float:
        return rows_per_second / limits.rows_per_second(machine, flops, X.strides[0])

    some = X[: max(20 * BATCH_SIZE, len(X) // 16)]
    return {
        "network": "-".join(map(str, widths)),
        "scoring": {
            "rows_per_second": scored,
            "numpy": len(some) / _best_of_blas(lambda: by_hand.errors(some), seconds, threads),
            "share_of_limit": share(scored, flops),
        },
        "training": {
            "rows_per_second": trained,
            "numpy": len(some) / _best_of_blas(lambda: by_hand.epoch(some, rng), seconds, threads),
            "share_of_limit": share(trained, training_flops),
        },
    }


def _best_of_blas(call: Callable[[], Any], seconds: float, threads: int) -> float:
    """The shorter time of one BLAS thread and ``threads``: threads slow small products down and speed large ones up."""
    times = []
    for n in sorted({1, threads}):
        with _blas_threads(n):
            times.append(limits.best_seconds(call, seconds / 2))
    return min(times)


def _blas_threads(n: int) -> Any:
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext()
    return threadpool_limits(n, user_api="blas")
