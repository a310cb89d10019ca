"""Spark's own matters: types, time zones, streams, levels of instructions, a cluster of processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import aefast
from aefast.engine import core
from aefast.tables.formats.base import TableError
from engines import THEIR_WARNINGS, running
from small_tables import FEATURES, mixed_model, mixed_table, small_model, small_table

pytestmark = [pytest.mark.filterwarnings(each) for each in THEIR_WARNINGS]
JOB = Path(__file__).parents[1] / "examples/spark_job.py"


@pytest.fixture(scope="module")
def engine():
    with running("spark") as engine:
        yield engine


@pytest.fixture
def spark(engine):
    return engine.session


#: Columns that can be kept, and how Spark makes them.
KEPT = {
    "list": "array(a, b)",
    "struct": "named_struct('x', id, 'y', array(named_struct('k', 1)))",
    "map": "map('k', a)",
    "instant": "timestamp_seconds(1700000000 + id)",
    "time": "timestamp_ntz'2024-03-31 02:30:00'",
    "decimal": "cast(id as decimal(10, 2))",
    "binary": "cast(name as binary)",
    "interval": "make_dt_interval(1, 2, 3, 4.5)",
    "date": "date'2024-01-02'",
    "null": "null",
    "with.dot": "id + 1",
    "with `quotes`": "id + 2",
}


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_columns_of_every_type_are_kept_as_they_are(engine, spark, zone):
    spark.conf.set("spark.sql.session.timeZone", zone)
    try:
        data = engine.data(small_table(30)).selectExpr(
            "*", *(f"{made} as `{name.replace('`', '``')}`" for name, made in KEPT.items())
        )
        scored = aefast.spark.score(data, small_model(), keep=["id", *KEPT])
        names = ["`" + name.replace("`", "``") + "`" for name in ["id", *KEPT]]
        assert scored.schema.fields[: len(names)] == data.select(names).schema.fields
        found, expected = (sorted(frame.select(names).collect()) for frame in (scored, data))
        assert [row.asDict(recursive=True) for row in found] == [row.asDict(recursive=True) for row in expected]
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_times_are_read_on_the_clock_of_training_whatever_zone_the_session_has(engine, spark, zone):
    table = mixed_table(200, seed=3)
    spark.conf.set("spark.sql.session.timeZone", zone)
    try:
        scored = engine.table(aefast.spark.score(engine.data(table), mixed_model(), keep=["id"], top_features=2))
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")
    scorer = aefast.Scorer(mixed_model(), keep=["id"], top_features=2)
    expected = pa.Table.from_batches(list(scorer.score(table)))
    assert scored.sort_by("id").cast(expected.schema).equals(expected)


def test_a_type_that_spark_does_not_send_to_python_is_refused(engine):
    data = engine.data(small_table(5)).selectExpr("*", "make_ym_interval(1, 2) as months")
    with pytest.raises(TableError, match="a kept column has a type that Spark cannot send to Python: .*YearMonth"):
        aefast.spark.score(data, small_model(), keep=["months"])


def test_columns_of_one_name_and_of_no_numbers_are_refused(engine):
    data = engine.data(small_table(5))
    with pytest.raises(TableError, match="more than one column named 'a'; rename them"):
        aefast.spark.score(data.join(data.select("id", "a"), "id"), small_model())
    with pytest.raises(TableError, match="column 'a' is binary; the model was fitted on numbers there"):
        aefast.spark.score(data.selectExpr("array(a) as a", "b", "c", "d"), small_model())


def test_a_row_without_a_key_is_named_by_partition(engine):
    from pyspark.errors import PythonException

    data = engine.data(small_table(30), 1).selectExpr("if(id = 1017, double('nan'), a) as a", "b", "c", "d")
    with pytest.raises(PythonException, match=r"row \d+ of a batch of partition 0 \(name it with keep=, a list of key"):
        engine.table(aefast.spark.score(data, small_model()))


def test_a_stream_is_scored_as_it_comes(engine, spark, tmp_path):
    table = small_table(200)
    pq.write_table(table, tmp_path / "first.parquet")
    schema = spark.read.parquet(str(tmp_path)).schema
    rows = spark.readStream.schema(schema).parquet(str(tmp_path))
    with pytest.raises(ValueError, match="detect needs all rows, but data is a stream"):
        aefast.spark.detect(rows, small_model(), fdr=0.1)
    with pytest.raises(TypeError, match="data is a stream, which has no end"):
        aefast.spark.fit(rows.select(FEATURES), aefast.Autoencoder())
    scored = aefast.spark.score(rows, small_model(), keep=["id"], top_features=1, on_bad="null")
    query = scored.writeStream.format("memory").queryName("scored").trigger(availableNow=True).start()
    query.awaitTermination()
    found = spark.table("scored").toArrow().sort_by("id")
    scorer = aefast.Scorer(small_model(), keep=["id"], top_features=1)
    expected = pa.Table.from_batches(list(scorer.score(table)))
    assert found.cast(expected.schema).equals(expected)


def test_all_tasks_compute_with_the_level_that_is_asked_for(engine):
    data = engine.data(small_table(100))
    others = [level for level in core.isa_levels_available if level != core.isa_level]
    for level in [core.isa_level, *others[:1]]:
        scored = aefast.spark.score(data, small_model(), keep=["id", *FEATURES], isa_level=level)
        assert scored.schema["anomaly_score"].metadata == {"aefast_isa_level": level}
        code = (
            "import sys, aefast, numpy as np; model = aefast.load(sys.argv[1]);"
            "np.save(sys.argv[3], model.reconstruction_error(np.load(sys.argv[2])))"
        )
        found = engine.table(scored).sort_by("id")
        np.testing.assert_array_equal(found["anomaly_score"].to_numpy(), at_level(level, code, small_table(100)))
    metadata = aefast.spark.score(data, small_model()).schema["anomaly_score"].metadata
    assert metadata["aefast_isa_level"].startswith("not pinned: the last bits may differ")
    assert "AEFAST_ISA" not in engine.session.sparkContext.environment


def at_level(level: str, code: str, table: pa.Table) -> np.ndarray:
    """The scores of a process that computes with a level."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        paths = [f"{folder}/{name}" for name in ("model", "rows.npy", "scores.npy")]
        small_model().save(paths[0])
        np.save(paths[1], np.column_stack([table[name].to_numpy() for name in FEATURES]))
        environment = {**os.environ, "AEFAST_ISA": level}
        subprocess.run([sys.executable, "-c", code, *paths], env=environment, check=True)
        return np.load(paths[2]).astype(np.float64)


def test_a_sample_does_not_depend_on_columns_of_random_numbers(spark):
    data = spark.range(4000, numPartitions=2).selectExpr("rand(0) as a", "rand(1) as b")
    table = data.toArrow()
    model = aefast.spark.fit(data, aefast.Autoencoder((1,), max_epochs=0, scaler="minmax"), rows=1000, seed=0)
    ranges = model.model_.scaling
    assert len(table) == 4000
    assert np.ptp(np.atleast_1d(ranges.shift)) < 0.1


@pytest.mark.skipif(not JOB.is_file(), reason="the examples are not beside the tests")
def test_the_example_finds_the_faults_on_a_cluster_of_processes(tmp_path):
    """Driver and executors are processes of their own, as on several machines."""
    pyspark = pytest.importorskip("pyspark", reason='needs pyspark: pip install "aefast[spark]"')
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("needs Java, which runs Spark")
    quick = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    settings = {
        "spark.executor.extraJavaOptions": quick,
        "spark.executorEnv.PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
    }
    command = [str(Path(pyspark.__file__).parent / "bin/spark-submit"), "--master", "local-cluster[2,1,1024]"]
    command += ["--driver-java-options", quick]
    command += [part for name, value in settings.items() for part in ("--conf", f"{name}={value}")]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable}
    run = subprocess.run(
        [*command, str(JOB), "-o", str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    scores, anomalies = (pq.read_table(tmp_path / name) for name in ("scores", "anomalies"))
    assert scores.num_rows == 2000
    faults = [id < 100 for id in anomalies["id"].to_pylist()]
    assert sum(faults) == 100
    assert len(faults) < 115
    assert {reason[0]["feature"] for reason in anomalies["top_features"].to_pylist()[:50]} == {"pressure"}


#: Run by a process of its own: a process has classic sessions or those of Spark Connect.
REMOTE = """
import sys
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
import aefast.spark

spark = SparkSession.builder.remote("local[2]").config("spark.sql.session.timeZone", "UTC").getOrCreate()
data = spark.createDataFrame(pq.read_table(sys.argv[1])).repartition(3)
results = {
    "scores": aefast.spark.score(data, aefast.load(sys.argv[2]), keep=["id"], top_features=2),
    "found": aefast.spark.detect(data, aefast.load(sys.argv[2]), fdr=0.2, keep=["id"]),
}
for name, result in results.items():
    pq.write_table(result.toArrow(), sys.argv[3] + name)
estimator = aefast.Autoencoder((2,), max_epochs=1, random_state=0, missing="mask")
with_groups = data.drop("id").selectExpr("*", "word as g").where("word is not null")
fleet = aefast.spark.fit_groups(with_groups, estimator, by="g")
fleet.save(sys.argv[3] + "fleet.safetensors")
spark.stop()
"""


def test_sessions_of_spark_connect_score_as_here(tmp_path):
    pytest.importorskip("pyspark", reason='needs pyspark: pip install "aefast[spark]"')
    pytest.importorskip("grpc_status", reason='needs Spark Connect: pip install "pyspark[connect]"')
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("needs Java, which runs Spark")
    table = mixed_table(200, seed=3)
    far = np.where(np.arange(200) < 8, 50.0, table["a"])
    table = table.set_column(table.column_names.index("a"), "a", pa.array(far))
    pq.write_table(table, tmp_path / "rows.parquet")
    mixed_model().save(tmp_path / "model.safetensors")
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable}
    files = [f"{tmp_path}/{name}" for name in ("rows.parquet", "model.safetensors", "")]
    run = subprocess.run(
        [sys.executable, "-c", REMOTE, *files], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    expected = pa.Table.from_batches(list(aefast.Scorer(mixed_model(), keep=["id"], top_features=2).score(table)))
    assert pq.read_table(tmp_path / "scores").sort_by("id").cast(expected.schema).equals(expected)
    flagged = mixed_model().detect(table.drop_columns(["id"]), fdr=0.2)
    assert flagged[:8].all()
    assert sorted(pq.read_table(tmp_path / "found")["id"].to_pylist()) == table["id"].filter(flagged).to_pylist()
    assert [*aefast.load(tmp_path / "fleet.safetensors")] == ["north", "south"]
