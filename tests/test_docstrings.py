"""The docstrings of public objects name all parameters and results, lead to related objects and have an example."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import aefast

PAGE = Path(__file__).parents[1] / "docs/_templates/autosummary/class.rst"
MODULES = ("pyod", "spark", "dask", "ray", "export", "plots", "report", "schedules", "callbacks")
if not PAGE.is_file():
    pytest.skip("the documents are not beside the tests", allow_module_level=True)
for name in ("pyarrow", "matplotlib", "jinja2"):
    pytest.importorskip(name, reason="public modules need it")
#: Members that other parts of aefast use; the pages leave them out.
LEFT_OUT = set(re.search(r":exclude-members: (.*)", PAGE.read_text(encoding="utf-8"))[1].split(", "))


def objects():
    """Return the public classes and functions by name."""
    found = {f"aefast.{name}": getattr(aefast, name) for name in aefast.__all__}
    for module in MODULES:
        home = importlib.import_module(f"aefast.{module}")
        found |= {f"aefast.{module}.{name}": getattr(home, name) for name in home.__all__}
    return {name: each for name, each in found.items() if inspect.isclass(each) or inspect.isfunction(each)}


def methods():
    """Return the public methods of the public classes by name."""
    found = {}
    for name, kind in objects().items():
        for member, method in inspect.getmembers(kind, inspect.isroutine) if inspect.isclass(kind) else ():
            is_ours = str(getattr(method, "__module__", "")).startswith("aefast.")
            is_step = getattr(method, "__qualname__", "").startswith("ScoringSteps.")
            is_public = member[0] != "_" and member not in LEFT_OUT and callable(method)
            if is_ours and not is_step and is_public:
                found[f"{name}.{member}"] = method
    return found


def section(text, title):
    """Return a section of a docstring, or None."""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\S[^\n]*\n-{{3,}}$|\Z)", text, re.MULTILINE | re.DOTALL)
    return found and found[1]


def named(text):
    """Return the names in a section of parameters."""
    lines = re.findall(r"^(\S.*?)(?: :.*)?$", section(text, "Parameters") or "", re.MULTILINE)
    return {name for line in lines for name in line.split(", ")}


def check_signature(name, function):
    """Check that the docstring names every parameter, and what is returned."""
    text, signature = inspect.getdoc(function), inspect.signature(function)
    assert text, name
    names = named(text)
    wanted = {
        key for key, each in signature.parameters.items() if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }
    if "**parameters" not in names:
        assert wanted - {"self"} == names - {"*others"}, name
    if inspect.isroutine(function) and signature.return_annotation not in ("None", None, inspect.Signature.empty):
        assert section(text, "Returns") or section(text, "Yields"), name


@pytest.mark.parametrize("name", objects())
def test_public_objects_are_described_with_an_example(name):
    found = objects()[name]
    text = inspect.getdoc(found)
    assert section(text, "See Also"), name
    assert section(text, "Examples"), name
    if not (inspect.isclass(found) and (issubclass(found, Exception) or getattr(found, "_is_protocol", False))):
        check_signature(name, found)


@pytest.mark.parametrize("name", methods())
def test_public_methods_are_described(name):
    check_signature(name, methods()[name])
