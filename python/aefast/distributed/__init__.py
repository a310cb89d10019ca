"""What the modules for Spark, Dask and Ray share: models on workers, tasks, counts of p-values, samples."""
