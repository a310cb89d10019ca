"""Fixtures and settings of all tests: optional real data, signals, hypothesis."""

import os
import signal
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

collect_ignore = ["fuzz"]  # run by .ci/fuzz, with libraries of its own

# Shells ignore Ctrl-C for background processes, and nohup ignores a closed terminal. Child processes inherit this, but
# the tests of these signals need the default handlers.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Every run uses the same examples, so that a failure comes from the code. No test measures time: there is no deadline.
hypothesis.settings.register_profile("aefast", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("aefast")


def pytest_addoption(parser):
    parser.addoption(
        "--aefast-data",
        default=os.environ.get("AEFAST_DATA"),
        metavar="FOLDER",
        help="folder of real data sets, for the tests that need one (default: the environment variable AEFAST_DATA)",
    )


@pytest.fixture(scope="session")
def data_path(request):
    """Return the folder of optional real data; skip the test if there is none."""
    folder = request.config.getoption("--aefast-data")
    if not folder:
        pytest.skip("needs a folder of real data: set AEFAST_DATA or give --aefast-data")
    if not Path(folder).is_dir():
        pytest.fail(f"--aefast-data: there is no folder {folder}")
    return Path(folder)
