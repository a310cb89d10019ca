"""The options of the benchmark commands, and one process for each number of threads."""

import argparse
import os
import subprocess
import sys

from timing import limit_threads, use_cpu_clock


def parse(description, default_threads="1,all", **more):
    """Parse the options; ``threads`` is a single number in the process that measures.

    Libraries fix their thread pools at import, so each number of threads needs a process of its own. The first process
    starts the others and ends.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", default=default_threads, help="numbers or 'all', comma-separated (%(default)s)")
    parser.add_argument("--shapes", help="networks, comma-separated (all eight)")
    parser.add_argument("--peers", help="peers, comma-separated (all that are installed)")
    parser.add_argument(
        "--rounds", type=int, default=5, help="number of measurements, of which the best counts (%(default)s)"
    )
    parser.add_argument("--json", help="file that results are appended to")
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu: for one thread on a busy machine"
    )
    for name, settings in more.items():
        parser.add_argument(f"--{name}", **settings)
    options = parser.parse_args()

    available = len(os.sched_getaffinity(0))
    counts = [available if text == "all" else int(text) for text in options.threads.split(",")]
    if len(counts) > 1 or "all" in options.threads:
        arguments = _without_threads(sys.argv[1:])
        for count in dict.fromkeys(counts):
            subprocess.run([sys.executable, sys.argv[0], *arguments, "--threads", str(count)], check=True)
        raise SystemExit
    options.threads = counts[0]
    limit_threads(options.threads)
    if options.clock == "cpu":
        if options.threads > 1:
            parser.error("--clock cpu adds up the times of all threads; use it with --threads 1")
        use_cpu_clock()
    return options


def _without_threads(arguments):
    kept, skip = [], False
    for argument in arguments:
        if not skip and argument != "--threads" and not argument.startswith("--threads="):
            kept.append(argument)
        skip = argument == "--threads"
    return kept


def chosen(text, names):
    """Return the comma-separated names, or all ``names`` if there are none; stop if one is unknown."""
    if not text:
        return list(names)
    picked = text.split(",")
    unknown = [name for name in picked if name not in names]
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}; choose from {', '.join(names)}")
    return picked
