"""Starts the ``aefast`` command, or names the package that it needs and how to install it."""

from __future__ import annotations

import gc
import io
import os
import sys

from aefast.cli.terminal import missing_extra


def main() -> None:
    """Run the command line. If a package is missing, print one line about it and exit with status 1."""
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
    """Make the start faster; called before NumPy is imported.

    Imports make a hundred thousand objects, none of them garbage, so collections would be wasted. Scoring calls no
    BLAS, but its idle threads would spin and take processor time from scoring.
    """
    gc.set_threshold(100_000, 20, 20)
    if sys.argv[1:2] in (["score"], ["run"]):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _open_streams() -> None:
    """Open closed standard streams as the null device, so that no output file gets their descriptors.

    Characters that the encoding of standard output lacks are printed as question marks.
    """
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(spare)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


if __name__ == "__main__":
    main()
