"""Rules of the code base that no compiler checks."""

import ast
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

PACKAGE = ROOT / "python/aefast"
#: The folders of the package, from top to bottom: a folder imports from its own line and from lower lines.
LAYERS = [
    ["__main__"],
    ["faces"],
    ["cli"],
    ["jobs", "pyod", "spark", "dask", "ray"],
    ["distributed"],
    ["estimators", "report", "export"],
    ["training", "scoring", "plots"],
    ["model"],
    ["columns"],
    ["tables"],
    ["engine"],
    ["exceptions"],
]

needs_sources = pytest.mark.skipif(not ENGINE.is_dir(), reason="the C++ sources are not beside the tests")


def sources(*folders, endings):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in endings)


def offenders(pattern, paths):
    """Return the names of the files whose code, without comments, matches."""
    return [path.name for path in paths if re.search(pattern, COMMENT.sub("", path.read_text(encoding="utf-8")))]


@needs_sources
def test_only_files_in_simd_name_packets_and_instructions():
    packets = r"immintrin|arm_neon\.h\b|\b_mm\d*_|\b__m\d+|\bpacket_traits\b|\bp(loadu?|storeu?|madd|mul|add|set1)[(<]"
    files = sources("cpp", endings={".hpp", ".cpp"})
    assert offenders(packets, [path for path in files if path.parent == ENGINE / "simd"])
    assert offenders(packets, [path for path in files if path.parent != ENGINE / "simd"]) == []


@needs_sources
def test_one_file_selects_the_instruction_set_level():
    levels = r"#\s*(if|ifdef|elif).*(__AVX|__SSE|__ARM_FEATURE)"
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


def layer_of(module):
    """The number of the line in `LAYERS`; public modules beside the folders are faces, which only re-export."""
    parts = module.split(".")
    names = [name for line in LAYERS for name in line]
    name = parts[1] if len(parts) > 1 and parts[1] in names else "faces"
    return next(number for number, line in enumerate(LAYERS) if name in line)


def imports_of(path, modules):
    """The modules of the package that a file imports anywhere: for types only and within functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in inner if name in modules)
            if node.module in modules and not all(name in modules for name in inner):
                yield node.module


def all_imports():
    """Pairs of a module and a module that it imports."""
    paths = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {(module, found) for module, path in paths.items() for found in imports_of(path, paths)}


def imports_in_cycles(imports):
    """The imports that can be followed back to where they stand."""
    found_by = {a: {b for c, b in imports if c == a} for a, _ in imports}

    def reached_from(module):
        reached, ahead = set(), {module}
        while ahead:
            ahead = {found for each in ahead for found in found_by.get(each, ())} - reached
            reached |= ahead
        return reached

    return sorted((a, b) for a, b in imports if a in reached_from(b))


@needs_sources
def test_no_folder_imports_one_above_it_and_no_two_files_import_each_other():
    imports = all_imports()
    assert sorted((a, b) for a, b in imports if layer_of(b) < layer_of(a)) == []
    assert imports_in_cycles(imports) == []


#: Members whose names begin with an underscore although others may use them: those of named tuples, scikit-learn and
#: dask, and the hooks that variants override, which only `aefast.estimators` calls.
SHARED = {"_asdict", "_fields", "_replace", "_parameter_constraints", "_meta", "_meta_nonempty"}
HOOKS = {"_beta", "_check_network", "_corrupt", "_network", "_objective", "_read", "_rows"}


def private_members_of_others(path):
    """The private members of objects other than ``self`` that a file uses and does not define."""
    nodes = [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    members = [node for node in nodes if isinstance(node, ast.Attribute) and re.match("_(?!_)", node.attr)]
    is_own = [ast.unparse(node.value) in {"self", "cls", "super()"} for node in members]
    known = {node.attr for node, own in zip(members, is_own, strict=True) if own}
    known |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    known |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return {node.attr for node in members} - known


@needs_sources
def test_no_file_uses_private_members_that_another_file_defines():
    for path in PACKAGE.rglob("*.py"):
        allowed = SHARED | (HOOKS if path.parent.name == "estimators" else set())
        assert private_members_of_others(path) - allowed == set(), path


@needs_sources
def test_the_package_is_a_few_files_and_folders_of_at_most_two_levels():
    assert len(list(PACKAGE.glob("*.py"))) <= 8
    assert {path.parent for path in PACKAGE.rglob("*.py") if len(path.relative_to(PACKAGE).parts) > 3} == set()
    assert {path.parent.name for path in PACKAGE.glob("*/*.py")} <= {name for line in LAYERS for name in line}


@needs_sources
def test_files_are_short_and_say_first_what_they_are_for():
    for path in sources("cpp", "python", endings={".hpp", ".cpp", ".py"}):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= (400 if path.suffix == ".py" else 500), path
        # An implementation may instead first include the header of the same name, which explains it.
        assert text.startswith(("//", '"""', f'#include "{path.stem}.hpp"')), path


@needs_sources
def test_version_is_the_one_in_pyproject():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^version = "(.*)"$', project, re.MULTILINE)[1] == aefast.__version__ == core.__version__


def test_import_brings_in_no_optional_library():
    code = "import sys, aefast; print(*{name.partition('.')[0] for name in sys.modules})"
    modules = "aefast, aefast.columns.learner, aefast.tables.files, aefast.tables.formats.registry"
    ours = code.replace("aefast", modules)
    run = subprocess.run([sys.executable, "-c", ours], capture_output=True, text=True, check=True)
    optional = {"pandas", "pyarrow", "matplotlib", "typer", "rich", "jinja2", "torch", "pyod", "pyspark", "dask", "ray"}
    # Libraries that scikit-learn itself imports do not count.
    plain = subprocess.run(
        [sys.executable, "-c", code.replace("aefast", "sklearn.base")], capture_output=True, text=True, check=True
    )
    assert optional & set(run.stdout.split()) <= set(plain.stdout.split())


def test_every_public_name_is_there_and_documented():
    for name in aefast.__all__:
        value = getattr(aefast, name)
        assert name.startswith("__") or value.__doc__, name
