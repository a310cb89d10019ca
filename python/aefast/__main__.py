"""The ``aefast`` command; says how to get what it needs where that is missing."""

from __future__ import annotations

import gc
import io
import os
import sys

from aefast.cli.terminal import missing_extra


def main() -> None:
    """Run the command line, or say in one line which extra it needs."""
    _start_lightly()
    _open_streams()
    try:
        from aefast.cli.app import app
    except ModuleNotFoundError as error:
        message = missing_extra(error)
        if message is None:
            raise
        sys.stderr.write(f"aefast: {message}\n")
        sys.exit(1)
    app()


def _start_lightly() -> None:
    """Before NumPy is there. Importing makes a hundred thousand objects, none of which is garbage; and scoring calls no
    BLAS, whose threads would keep the processors from it while they wait for work."""
    gc.set_threshold(100_000, 20, 20)
    if sys.argv[1:2] == ["score"]:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _open_streams() -> None:
    """Standard streams that were closed lead nowhere, and no file of ours takes their place; letters that the
    encoding of standard output lacks are question marks there."""
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(spare)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


if __name__ == "__main__":
    main()
