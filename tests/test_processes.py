"""One fitted estimator in many processes and threads: after a fork, in pools, and concurrently."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pyarrow as pa
import pytest

import aefast
from aefast.engine import core
from aefast.engine import threads as threads_module
from small_tables import FEATURES, features_of, small_model, small_table

# Newer versions of Python warn about forks of processes with threads, which are what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

ROWS = features_of(small_table(5000))


def model_of(n_threads=2):
    """Nameless, so that arrays need no names."""
    model = aefast.Autoencoder((3,), max_epochs=2, random_state=0, n_threads=n_threads)
    return model.fit(ROWS)


def score(model):
    return model.reconstruction_error(ROWS)


def refit(model):
    return model.fit(ROWS).coefs_[0]


def stream(model):
    scorer = aefast.Scorer(model)
    table = small_table(5000).select(FEATURES)
    return pa.Table.from_batches(scorer.score(table.to_batches(max_chunksize=700)))["anomaly_score"].to_numpy()


def in_child(work, model):
    """Return ``work(model)`` of a forked process; a child that hangs is killed after a while."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)
            os.write(writing, np.ascontiguousarray(work(model)).tobytes()[:60_000])
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        result = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return result


@pytest.mark.parametrize("work", [score, refit, stream])
def test_a_child_works_after_its_parent_has(work):
    model = model_of()
    expected = np.ascontiguousarray(work(model)).tobytes()[:60_000]
    assert in_child(work, model) == expected
    # The parent process still works.
    assert np.ascontiguousarray(work(model)).tobytes()[:60_000] == expected


def test_a_child_works_while_another_thread_of_its_parent_does():
    model, expected = model_of(), score(model_of()).tobytes()[:60_000]
    stop = threading.Event()

    def keep_scoring():
        while not stop.is_set():
            score(model)

    thread = threading.Thread(target=keep_scoring)
    thread.start()
    try:
        for _ in range(5):
            assert in_child(score, model) == expected
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pools_of_processes_score_as_one_process_does(method):
    model = model_of()
    expected = score(model)
    with multiprocessing.get_context(method).Pool(2) as pool:
        for result in pool.map_async(model.reconstruction_error, [ROWS] * 4).get(timeout=120):
            np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_joblib_scores_as_one_process_does(backend):
    model = model_of()
    with joblib.Parallel(n_jobs=2, backend=backend) as parallel:
        parts = parallel(joblib.delayed(model.score_samples)(part) for part in np.array_split(ROWS, 5))
    np.testing.assert_array_equal(np.concatenate(parts), model.score_samples(ROWS))


CALLS = {
    "reconstruction_error": lambda m: m.reconstruction_error(ROWS),
    "transform": lambda m: m.transform(ROWS),
    "predict": lambda m: m.predict(ROWS),
    "p_values": lambda m: m.p_values(ROWS),
    "feature_errors": lambda m: m.feature_errors(ROWS),
    "explain": lambda m: m.explain(ROWS[:50]).to_numpy(),
    "stream": stream,
}


def test_concurrent_calls_of_one_estimator_equal_sequential_calls():
    model = model_of()
    expected = {name: call(model) for name, call in CALLS.items()}
    names = list(CALLS) * 6
    # All threads begin together.
    with ThreadPoolExecutor(8, initializer=threading.Barrier(8, timeout=60).wait) as pool:
        for name, result in zip(names, pool.map(lambda name: CALLS[name](model), names), strict=True):
            np.testing.assert_array_equal(result, expected[name])


def test_concurrent_training_equals_sequential_training():
    expected = model_of().coefs_[0]
    with ThreadPoolExecutor(4) as pool:
        for model in pool.map(model_of, [1, 2, 2, 1]):
            np.testing.assert_array_equal(model.coefs_[0], expected)


@pytest.mark.parametrize(("quota", "expected"), [((1.5, "cpu.max"), 1), ((2.9, "cpu.cfs_quota_us"), 2), (None, 4)])
def test_the_engine_is_given_no_more_threads_than_the_quota_has_cpus(monkeypatch, quota, expected):
    monkeypatch.setattr(threads_module, "_machine_quota", lambda: quota)
    monkeypatch.setattr(threads_module, "_n_cpus_in_affinity", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    given = []

    class Predictor:
        def __new__(cls, *arguments):
            given.append(arguments[-1])
            return predictor(*arguments)

    class Trainer:
        def __new__(cls, *arguments):
            given.append(arguments[-1])
            return trainer(*arguments)

    predictor, trainer = core.Predictor, core.Trainer
    monkeypatch.setattr(core, "Predictor", Predictor)
    monkeypatch.setattr(core, "Trainer", Trainer)
    score(model_of(n_threads=None))
    assert set(given) == {expected}
    assert len(given) > 1


def test_the_scorer_comes_with_pyarrow_and_not_before(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "aefast.scoring.scorer", raising=False)
    vars(aefast).pop("Scorer", None)  # which earlier uses have left
    with pytest.raises(ImportError, match=r'aefast.Scorer needs pyarrow; pip install "aefast\[cli\]"'):
        aefast.Scorer  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'Scorrer'"):
        aefast.Scorrer  # noqa: B018


def test_a_scorer_takes_bytes_and_gives_an_iterator(tmp_path):
    small_model().save(tmp_path / "m.safetensors")
    scorer = aefast.Scorer((tmp_path / "m.safetensors").read_bytes())
    scored = scorer.score(iter(small_table().select(FEATURES).to_batches()))
    assert next(scored).num_rows == 300
    assert next(scored, None) is None


def test_the_command_that_scores_starts_no_threads_of_blas():
    """Idle threads would compete with working ones."""
    script = """
import sys
sys.argv = ["aefast", sys.argv[1], "--help"]
from aefast.__main__ import main
try:
    main()
except SystemExit:
    pass
import numpy  # --help needs no numbers
from threadpoolctl import threadpool_info
print("threads:", *{pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})
"""
    counts = {}
    for command in ("score", "fit"):
        environ = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
        done = subprocess.run([sys.executable, "-c", script, command], env=environ, capture_output=True, text=True)
        counts[command] = done.stdout.splitlines()[-1]
    assert counts["score"] == "threads: 1"
    if len(os.sched_getaffinity(0)) > 1:
        assert counts["fit"] != counts["score"], "BLAS has one thread anyway: this test says nothing"
