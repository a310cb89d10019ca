"""The compiled engine, built from the same plain cases as the oracle."""

import numpy as np

from aefast.engine import core

SGD = {"kind": "sgd", "momentum": 0.0}


def scaling(values):
    """A `Scaling` from the oracle's (shift, scale, limit)."""
    shift, scale, limit = values
    return core.Scaling(np.ascontiguousarray(shift, np.float64), np.ascontiguousarray(scale, np.float64), limit)


def identity_scaling(n_features):
    """A `Scaling` that changes nothing in the range of tests."""
    return scaling((np.zeros(n_features), np.ones(n_features), 1e6))


def trainer(network, parameters, objective=None, optimizer=None, dtype="float64", seed=0, n_threads=1):
    """A `Trainer` with the mean squared error and plain SGD unless told otherwise."""
    return core.Trainer(
        network, parameters, objective or {"loss": "mse"}, optimizer or SGD, dtype, seed=seed, n_threads=n_threads
    )


def predictor(network, parameters, values, dtype="float32", n_threads=1):
    """A `Predictor` with the oracle's (shift, scale, limit)."""
    return core.Predictor(network, parameters, scaling(values), dtype, n_threads)
