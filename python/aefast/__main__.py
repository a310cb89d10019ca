"""The ``aefast`` command; says how to get what it needs where that is missing."""

from __future__ import annotations

import sys

from aefast.terminal import missing_extra


def main() -> None:
    """Run the command line, or say in one line which extra it needs."""
    try:
        from aefast.cli import app
    except ModuleNotFoundError as error:
        message = missing_extra(error)
        if message is None:
            raise
        sys.stderr.write(f"aefast: {message}\n")
        sys.exit(1)
    app()


if __name__ == "__main__":
    main()
