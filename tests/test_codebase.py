"""Rules of the house that a reader relies on and a compiler does not check."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import aefast
from aefast.engine import core

ROOT = Path(__file__).parents[1]
ENGINE = ROOT / "cpp/aefast"
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)

needs_sources = pytest.mark.skipif(not ENGINE.is_dir(), reason="the C++ sources are not beside the tests")


def sources(*folders, endings):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in endings)


def offenders(pattern, paths):
    """Names of the files whose code, comments aside, matches."""
    return [path.name for path in paths if re.search(pattern, COMMENT.sub("", path.read_text(encoding="utf-8")))]


@needs_sources
def test_only_files_in_simd_name_packets_and_instructions():
    packets = r"immintrin|arm_neon\.h\b|\b_mm\d*_|\b__m\d+|\bpacket_traits\b|\bp(loadu?|storeu?|madd|mul|add|set1)[(<]"
    files = sources("cpp", endings={".hpp", ".cpp"})
    assert offenders(packets, [path for path in files if path.parent == ENGINE / "simd"])
    assert offenders(packets, [path for path in files if path.parent != ENGINE / "simd"]) == []


@needs_sources
def test_one_file_selects_the_instruction_set_level():
    levels = r"#\s*(if|ifdef|elif).*(__AVX|__SSE|__aarch64__)"
    assert offenders(levels, sources("cpp/aefast", endings={".hpp", ".cpp"})) == ["simd.hpp"]


@needs_sources
def test_folders_of_the_engine_include_only_those_below_them():
    order = ["core", "simd", "product", "layer input", "network", "score", "train"]
    height = {folder: level for level, folders in enumerate(order) for folder in folders.split()}
    for path in sources("cpp/aefast", endings={".hpp", ".cpp"}):
        for folder in re.findall(r'#include "aefast/(\w+)/', path.read_text(encoding="utf-8")):
            assert height[folder] < height[path.parent.name], (path, folder)


@needs_sources
def test_engine_knows_nothing_of_python():
    assert offenders(r"Python\.h|pybind11|\bPyObject\b|\bpy::", sources("cpp/aefast", endings={".hpp", ".cpp"})) == []


@needs_sources
def test_estimators_reach_the_engine_through_one_module():
    outside = [path for path in sources("python/aefast", endings={".py"}) if path.name != "core.py"]
    assert outside
    assert offenders(r"\b(import|from)\b.*\b(_engine_\w+|_cpu)\b", outside) == []


@needs_sources
def test_files_are_short_and_say_first_what_they_are_for():
    for path in sources("cpp", "python", endings={".hpp", ".cpp", ".py"}):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= (600 if path.suffix == ".py" else 500), path
        # An implementation is explained by the header of the same name, which it includes first.
        assert text.startswith(("//", '"""', f'#include "{path.stem}.hpp"')), path


@needs_sources
def test_version_is_the_one_in_pyproject():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^version = "(.*)"$', project, re.MULTILINE)[1] == aefast.__version__ == core.__version__


def test_import_brings_in_no_optional_library():
    code = "import sys, aefast; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    optional = {"pandas", "pyarrow", "matplotlib", "typer", "rich", "jinja2", "torch", "pyod"}
    # What scikit-learn itself brings in is not ours to answer for.
    plain = subprocess.run(
        [sys.executable, "-c", code.replace("aefast", "sklearn.base")], capture_output=True, text=True, check=True
    )
    assert optional & set(run.stdout.split()) <= set(plain.stdout.split())


def test_every_public_name_is_there_and_documented():
    for name in aefast.__all__:
        value = getattr(aefast, name)
        assert name.startswith("__") or value.__doc__, name
