"""Sessions for work on aefast, described in CONTRIBUTING.md: `nox -l` lists them, `nox -s NAME` runs one."""

import json

import nox

nox.needs_version = ">=2024.10"
nox.options.sessions = ["lint", "test"]

PROJECT = nox.project.load_toml("pyproject.toml")


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group of pyproject.toml."""
    return nox.project.dependency_groups(PROJECT, name)


@nox.session
def test(session: nox.Session) -> None:
    """Install aefast with the test extra and run the suite; arguments go to pytest."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def engines(session: nox.Session) -> None:
    """Run the tests of Spark (which needs Java), Dask, Ray, polars and DuckDB; arguments go to pytest."""
    session.install(".[test,spark,dask,ray]", "pyspark[connect]", "polars", "duckdb")
    tests = [f"./tests/test_{name}.py" for name in ("streams", "distributed", "spark")]
    session.run("pytest", *tests, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check lint, format and types of Python and the format of C++."""
    # mypy reads the types of the libraries that aefast uses.
    session.install(
        *group("lint"), *PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["cli"]
    )
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    files = session.run("git", "ls-files", "cpp/*.hpp", "cpp/*.cpp", external=True, silent=True)
    session.run("clang-format", "--dry-run", "--Werror", *files.split())


@nox.session
def types(session: nox.Session) -> None:
    """Check that type checkers know the types of at least 98 % of the public names."""
    session.install("pyright[nodejs]", *PROJECT["project"]["dependencies"])
    command = ("pyright", "--verifytypes", "aefast", "--ignoreexternal")
    # Its exit status is 1 if any type is not known.
    found = session.run(
        *command, "--outputjson", silent=True, stderr=None, success_codes=[0, 1], env={"PYTHONPATH": "python"}
    )
    share = json.loads(found)["typeCompleteness"]["completenessScore"]
    session.log(f"{share:.1%} of the public names have types")
    if share < 0.98:
        session.error(f"PYTHONPATH=python {' '.join(command)} says which have none")


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """Build the documentation site in the current environment, which has the docs extra; check docstrings and pages."""
    strict = ("-W", "--keep-going", "-b", "html")
    session.run("python", "-m", "sphinx", *strict, "docs", "docs/_build/html", *session.posargs)
    session.run("python", "docs/check_docstrings.py", "docs/_build/html")
    session.run("python", "docs/check_site.py", "docs/_build/html")


@nox.session
def bench(session: nox.Session) -> None:
    """Install the peers and run a script of benchmarks/, such as `nox -s bench -- score.py --threads 1`."""
    if not session.posargs:
        session.error("name a script of benchmarks/: nox -s bench -- score.py")
    session.install(".[test]", *group("bench"))
    script, *arguments = session.posargs
    session.run("python", f"benchmarks/{script}", *arguments)


@nox.session(venv_backend="none")
def wheels(session: nox.Session) -> None:
    """Build, check and try the wheels for Linux, without containers: `nox -s wheels -- manylinux_x86_64`."""
    session.run(".ci/wheels", *session.posargs, external=True)


@nox.session(venv_backend="none")
def floors(session: nox.Session) -> None:
    """Run the suite with every dependency at its least version; arguments go to pytest."""
    session.run(".ci/floors", *session.posargs, external=True)


@nox.session(venv_backend="none")
def aarch64(session: nox.Session) -> None:
    """Run the suite with the Arm wheel of dist/ in an emulator; arguments go to pytest."""
    session.run(".ci/aarch64", *session.posargs, external=True)


@nox.session(venv_backend="none")
def sanitize(session: nox.Session) -> None:
    """Run the suite with a sanitizer, in the development environment: `nox -s sanitize -- asan`."""
    session.run(".ci/sanitize", *session.posargs, external=True)


@nox.session(venv_backend="none")
def fuzz(session: nox.Session) -> None:
    """Fuzz untrusted input, in the current environment: `nox -s fuzz -- SECONDS`."""
    session.run(".ci/fuzz", *session.posargs, external=True)
