"""The names of the package: one registry of variants, and a stub that type checkers read."""

import ast
import inspect
from pathlib import Path

import pytest

import aefast
from aefast.cli.options import new_estimator
from aefast.estimators.base import BaseAutoencoder
from aefast.model.variants import KINDS, VARIANTS, known_class

STUB = Path(aefast.__file__).with_suffix(".pyi")


def names_of_stub():
    """Names and the modules they come from, as the stub has them."""
    found = {}
    for node in ast.parse(STUB.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            for each in node.names:
                assert each.name == each.asname
                found[each.name] = node.module
    return found


def test_the_stub_has_the_names_that_the_package_has():
    stub = names_of_stub()
    public = set(aefast.__all__) | {"Scorer"}
    modules = {name for name, module in stub.items() if module == "aefast"}
    assert set(stub) - modules == public
    assert modules == {"callbacks", "dask", "export", "plots", "pyod", "ray", "report", "schedules", "spark"}
    for name, module in stub.items():
        found = getattr(aefast, name)
        if module != "aefast" and not isinstance(found, str):
            home = inspect.getmodule(found).__name__
            assert home == module or module in ("aefast.callbacks", "aefast.schedules"), name


def test_every_variant_is_a_public_estimator():
    for name, variant in VARIANTS.items():
        cls = getattr(aefast, name)
        assert issubclass(cls, BaseAutoencoder)
        assert (cls.__name__, cls.__module__) == (name, f"aefast.estimators.{variant.module}")
        assert known_class(name) == name
    public = [getattr(aefast, name) for name in dir(aefast)]
    variants = {cls for cls in public if inspect.isclass(cls) and issubclass(cls, BaseAutoencoder)}
    assert {cls.__name__ for cls in variants} == set(VARIANTS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_the_command_is_a_variant(kind):
    estimator = new_estimator(kind)
    assert type(estimator).__name__ == KINDS[kind]


def test_a_class_that_is_no_variant_has_no_file():
    with pytest.raises(ValueError, match="class 'os.system' is not one of Autoencoder, "):
        known_class("os.system")
