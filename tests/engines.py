"""Spark, Dask and Ray as the tests use them: two workers each, tables in, tables out."""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest

#: What the engines warn of in their own code.
THEIR_WARNINGS = [
    "ignore:PySpark does not yet fully support pandas:FutureWarning",
    "ignore::DeprecationWarning:pyspark",
    "ignore::DeprecationWarning:ray",
    "ignore::FutureWarning:ray",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
]


class SparkEngine:
    """A session in this process with two tasks at once."""

    #: What an action raises if a task fails.
    failure = "pyspark.errors.PythonException"

    def __init__(self) -> None:
        pytest.importorskip("pyspark", reason='needs pyspark: pip install "aefast[spark]"')
        if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
            pytest.skip("needs Java, which runs Spark")
        os.environ["PYSPARK_PYTHON"] = sys.executable
        from pyspark.sql import SparkSession

        settings = {
            "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",  # starts in half the time
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.session.timeZone": "UTC",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
        }
        builder = SparkSession.builder.master("local[2]")
        for name, value in settings.items():
            builder = builder.config(name, value)
        self.session = builder.getOrCreate()
        self.session.sparkContext.setLogLevel("OFF")

    def close(self) -> None:
        self.session.stop()

    def data(self, table: pa.Table, n_parts: int = 3) -> Any:
        return self.session.createDataFrame(table).repartition(n_parts)

    def table(self, result: Any) -> pa.Table:
        return result.toArrow()


class DaskEngine:
    """A cluster of two worker processes."""

    failure = "aefast.distributed.tasks.BadRowError"

    def __init__(self) -> None:
        pytest.importorskip("dask.dataframe", reason='needs dask: pip install "aefast[dask]"')
        distributed = pytest.importorskip("distributed", reason='needs distributed: pip install "aefast[dask]"')
        self.client = distributed.Client(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
        )

    def close(self) -> None:
        self.client.close()
        self.client.cluster.close()

    def data(self, table: pa.Table, n_parts: int = 3) -> Any:
        import dask.dataframe as dd

        return dd.from_pandas(table.to_pandas(), npartitions=n_parts)

    def table(self, result: Any) -> pa.Table:
        return pa.Table.from_pandas(result.compute(), preserve_index=False).replace_schema_metadata()


class RayEngine:
    """A runtime with two worker processes."""

    failure = "ray.exceptions.RayTaskError"

    def __init__(self) -> None:
        self.ray = pytest.importorskip("ray", reason='needs ray: pip install "aefast[ray]"')
        pytest.importorskip("ray.data", reason='needs ray: pip install "aefast[ray]"')
        paths = os.pathsep.join(path for path in sys.path if path)
        self.ray.init(
            num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL,
            runtime_env={"env_vars": {"PYTHONPATH": paths}},
        )  # fmt: skip
        context = self.ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.verbose_progress = False
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)

    def close(self) -> None:
        self.ray.shutdown()

    def data(self, table: pa.Table, n_parts: int = 3) -> Any:
        size = -(-len(table) // n_parts)
        return self.ray.data.from_arrow([table[begin : begin + size] for begin in range(0, len(table), size)])

    def table(self, result: Any) -> pa.Table:
        found = [t for t in result.iter_batches(batch_format="pyarrow", batch_size=None) if t.num_columns]
        return pa.concat_tables(found) if found else pa.table({})  # Ray has no schema without rows


ENGINES = {"spark": SparkEngine, "dask": DaskEngine, "ray": RayEngine}


@contextmanager
def running(name: str) -> Iterator[Any]:
    """Start an engine for a block; ``module`` is the module of aefast for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine = ENGINES[name]()
    engine.name, engine.module = name, importlib.import_module(f"aefast.{name}")
    try:
        yield engine
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            engine.close()
