"""Builds engine objects from the plain cases that the oracle uses."""

import numpy as np

from aefast.engine import core

SGD = {"kind": "sgd", "momentum": 0.0}


def scaling(values):
    """Return a `Scaling` from the oracle's (shift, scale, limit)."""
    shift, scale, limit = values
    return core.Scaling(np.ascontiguousarray(shift, np.float64), np.ascontiguousarray(scale, np.float64), limit)


def identity_scaling(n_features):
    """Return a `Scaling` that changes nothing in the range of the tests."""
    return scaling((np.zeros(n_features), np.ones(n_features), 1e6))


def trainer(network, parameters, objective=None, optimizer=None, dtype="float64", seed=0, n_threads=1):
    """Return a `Trainer`; the defaults are the mean squared error and plain SGD."""
    return core.Trainer(
        network, parameters, objective or {"loss": "mse"}, optimizer or SGD, dtype, seed=seed, n_threads=n_threads
    )


def predictor(network, parameters, values, dtype="float32", n_threads=1):
    """Return a `Predictor` with the oracle's (shift, scale, limit)."""
    return core.Predictor(network, parameters, scaling(values), dtype, n_threads)
