"""What all tests share: where optional real data is, and settings of the libraries they use."""

import os
import signal
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

collect_ignore = ["fuzz"]  # run by .ci/fuzz, with libraries of its own

# A shell ignores Ctrl-C for what it starts in the background, and nohup a closed terminal; children inherit that, and
# the tests of these signals cannot do with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The same examples in every run, so that a failure is about the code; and no deadline, since no test is about time.
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
    """The folder of optional real data; without it the test is skipped."""
    folder = request.config.getoption("--aefast-data")
    if not folder:
        pytest.skip("needs a folder of real data: set AEFAST_DATA or give --aefast-data")
    if not Path(folder).is_dir():
        pytest.fail(f"--aefast-data: there is no folder {folder}")
    return Path(folder)
