"""Optimisers as objects: the specification for the engine, and invalid parameters."""

import numpy as np
import pytest

from aefast import SGD, Adam, AdamW, Autoencoder, RMSprop, load
from aefast.estimators.files import to_bytes
from aefast.training.optimizers import OPTIMIZERS, optimizer_spec
from messages import raises_exactly


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_name_stands_for_the_object_with_its_defaults(name):
    assert optimizer_spec(name) == OPTIMIZERS[name]().spec()
    assert optimizer_spec(name)["kind"] == name


def test_an_object_tells_the_engine_its_constants():
    assert SGD(0.9, nesterov=True).spec() == {"kind": "sgd", "momentum": 0.9, "nesterov": True}
    assert RMSprop().spec() == {"kind": "rmsprop", "rho": 0.9, "epsilon": 1e-8}
    assert Adam(0.8).spec() == {"kind": "adam", "beta_1": 0.8, "beta_2": 0.999, "epsilon": 1e-8}
    assert AdamW().spec() == {"kind": "adamw", "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.01}


def test_objects_are_values():
    assert SGD(0.9) == SGD(momentum=0.9) != SGD()
    assert len({Adam(), Adam(), AdamW()}) == 2
    with pytest.raises(AttributeError):
        SGD().momentum = 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(momentum=1.0), "SGD: momentum must be in [0, 1), got 1.0"),
        (lambda: SGD(momentum="0.9"), "SGD: momentum must be in [0, 1), got '0.9'"),
        (lambda: SGD(nesterov=1), "SGD: nesterov must be True or False, got 1"),
        (lambda: SGD(nesterov=True), "SGD: nesterov=True needs momentum above 0"),
        (lambda: RMSprop(rho=-0.1), "RMSprop: rho must be in [0, 1), got -0.1"),
        (lambda: Adam(beta_2=float("nan")), "Adam: beta_2 must be in [0, 1), got nan"),
        (lambda: Adam(epsilon=0), "Adam: epsilon must be a number above 0, got 0"),
        (lambda: AdamW(weight_decay=-1), "AdamW: weight_decay must be a number, at least 0, got -1"),
        (lambda: AdamW(beta_1=True), "AdamW: beta_1 must be in [0, 1), got True"),
    ],
)
def test_constants_out_of_range_are_refused_by_name(make, message):
    with raises_exactly(ValueError, message):
        make()


def test_numbers_of_numpy_become_those_of_python():
    optimizer = SGD(momentum=np.float32(0.5))
    assert optimizer == SGD(0.5)
    assert type(optimizer.momentum) is float
    model = Autoencoder((2,), optimizer=optimizer, max_epochs=1).fit(np.eye(6))
    assert load(to_bytes(model)).optimizer == optimizer
    with pytest.raises(ValueError, match="momentum must be in"):
        SGD(momentum=np.float32(1.5))
