"""Fits a model on past rows, scores new rows and finds their anomalies: a job of Spark for ``spark-submit``.

Usage: spark-submit examples/spark_job.py [--past FOLDER --new FOLDER] [--key COLUMN] [-o FOLDER]

Without ``--past`` and ``--new``, folders of Parquet files, the job makes readings of four sensors. It fits a model on a
sample of the past rows and writes two tables: all new rows with their scores and the three main reasons, and the
anomalies, among which at most one in twenty is expected to be a false alarm.
"""

import argparse

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import aefast


def readings(spark: SparkSession, n_rows: int, seed: int, share_of_faults: float = 0.0) -> DataFrame:
    """Make readings of sensors that follow the load. In a fault, the pressure does not."""
    random = (F.rand(seed=10 * seed + number) for number in range(4))
    rows = spark.range(n_rows, numPartitions=4).withColumn("load", next(random)).withColumn("noise", next(random))
    usual = 3 * F.col("load") + next(random) / 10
    fault = 5 + next(random)
    return rows.select(
        "id",
        "load",
        (20 + 40 * F.col("load") + F.col("noise")).alias("temperature"),
        (1 + 2 * F.col("load") - F.col("noise") / 10).alias("current"),
        F.when(F.col("id") < share_of_faults * n_rows, fault).otherwise(usual).alias("pressure"),
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--past", metavar="FOLDER", help="Parquet files of past rows; default: made up")
    parser.add_argument("--new", metavar="FOLDER", help="Parquet files of new rows; default: made up")
    parser.add_argument("--key", metavar="COLUMN", default="id", help="the column that names a row (default: id)")
    parser.add_argument("-o", "--output", metavar="FOLDER", default="spark_job", help="default: spark_job")
    options = parser.parse_args(arguments)

    spark = SparkSession.builder.appName("aefast").getOrCreate()
    past = spark.read.parquet(options.past) if options.past else readings(spark, 20_000, seed=0)
    new = spark.read.parquet(options.new) if options.new else readings(spark, 2_000, seed=1, share_of_faults=0.05)

    model = aefast.spark.fit(past.drop(options.key), aefast.Autoencoder(random_state=0), rows=10_000)
    scores = aefast.spark.score(new, model, keep=[options.key], top_features=3)
    scores.write.mode("overwrite").parquet(f"{options.output}/scores")

    anomalies = aefast.spark.detect(new, model, fdr=0.05, keep=[options.key], top_features=3)
    anomalies.write.mode("overwrite").parquet(f"{options.output}/anomalies")
    spark.stop()


if __name__ == "__main__":
    main()
