"""The ``aefast`` command; says how to get what it needs where that is missing."""

from __future__ import annotations

import sys

EXTRA = ("typer", "rich", "pyarrow", "matplotlib", "jinja2")


def main() -> None:
    """Run the command line, or say in one line which extra it needs."""
    try:
        from aefast.cli import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        sys.stderr.write(f'aefast: the command line needs {error.name}; pip install "aefast[cli]"\n')
        sys.exit(1)
    app()


if __name__ == "__main__":
    main()
