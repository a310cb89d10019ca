"""Scoring as a stream: a model and a table, a data frame or a stream of Arrow in, record batches with scores out.

`Scorer` does not read files, start threads or show progress, so that a command, a notebook and a distributed engine can
all use it. It holds one batch at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from aefast.scoring.passthrough import value_type
from aefast.scoring.steps import ScoringSteps
from aefast.tables.formats.base import TableError
from aefast.tables.streams import record_batches


class Scorer(ScoringSteps):
    """Scores tables, data frames and streams of record batches, row by row and in order.

    Parameters
    ----------
    model : estimator, Model, bytes, str or path
        A fitted estimator, its ``model_``, the bytes of a model file, or its path.
    columns : sequence of str, optional
        The feature columns in order, for a model that was fitted without names. Default: every column of numbers that
        is not in ``keep``. A model with names needs no ``columns``; if they are given, they must equal its names.
    keep : sequence of str
        Input columns to copy into the output.
    top_features : int, at least 0, default 0
        Number of reasons for each row; with 0 the output has no column ``top_features``. A reason is a struct of
        ``feature``, ``value``, ``expected`` (text, also of numbers) and ``share`` (float64, of the row's score).
    precision : {"float32", "bfloat16", "int8"}, default "float32"
        As in ``reconstruction_error``.
    p_value_cutoff : float in [0, 1], optional
        Rows with a p-value up to this are anomalies. Default: rows whose error exceeds the model's threshold are.
    flat : bool, default False
        Write ``top_features`` as text, for formats without nested values.
    on_bad : {"error", "null", "skip"}, default "error"
        What to do with rows that have an infinite value, or a missing one where the model needs a value: raise
        ValueError, write them with null scores, or leave them out.

    Raises
    ------
    ValueError
        If a parameter is out of range or does not fit the model, if the number of ``columns`` is not the model's, or if
        a kept column has the name of a column that `score` adds.
    TypeError
        If ``model`` is not a model.
    NotFittedError
        If ``model`` is not fitted.

    See Also
    --------
    Autoencoder.reconstruction_error : Scores of rows in memory.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa, aefast
    >>> rng = np.random.default_rng(0)
    >>> table = pa.table({"id": range(500), "a": rng.normal(size=500), "b": rng.normal(size=500)})
    >>> model = aefast.Autoencoder(max_epochs=2, random_state=0).fit(table.select(["a", "b"]))
    >>> scored = pa.Table.from_batches(aefast.Scorer(model, keep=["id"]).score(table))
    >>> scored.column_names
    ['id', 'anomaly_score', 'p_value', 'is_anomaly']
    """

    _schema: pa.Schema | None = None

    def columns(self, schema: pa.Schema) -> list[str]:
        """Return the columns that `score` reads; batches may leave out all others.

        Parameters
        ----------
        schema : pyarrow.Schema
            The schema of the batches to score.

        Returns
        -------
        list of str
            The feature columns in the model's order, then the kept columns.

        Raises
        ------
        ValueError
            If feature columns are missing, doubled or not of the kind that the model was fitted on.
        """
        features = self._features(schema)
        features = list(schema.names) if features is None else features
        return features + [c for c in self.keep if c not in features]

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """Return the schema of the scored batches, for example to open a file for them.

        Parameters
        ----------
        schema : pyarrow.Schema
            The schema of the batches to score.

        Returns
        -------
        pyarrow.Schema
            The kept columns and those that `score` adds.

        Raises
        ------
        ValueError
            If a column to keep is missing.
        """
        lacking = [c for c in self.keep if c not in schema.names]
        if lacking:
            raise TableError(f"the table lacks columns to keep: {', '.join(map(repr, lacking))}")
        kept = [pa.field(c, value_type(schema.field(c).type)) for c in self.keep]
        results = [("anomaly_score", pa.float64()), ("p_value", pa.float64()), ("is_anomaly", pa.bool_())]
        return pa.schema(kept + [pa.field(*r) for r in results + self._reasons_fields])

    def score(self, data: Any) -> Iterator[pa.RecordBatch]:
        """Yield one scored batch for each batch of ``data``.

        Parameters
        ----------
        data : object with ``__arrow_c_stream__``, pyarrow.Table, Dataset or Scanner, or iterable of record batches
            Data frames of pandas (from 2.2) and polars, relations of DuckDB and readers of pyarrow have
            ``__arrow_c_stream__``. One batch is held at a time, and a dataset reads only the columns that are needed.
            The items of an iterable may be tables and streams too.

        Yields
        ------
        pyarrow.RecordBatch
            The kept columns, ``anomaly_score`` (float64, higher is more abnormal), ``p_value`` (float64, in (0, 1]),
            ``is_anomaly`` (bool) and, if asked for, ``top_features``. With ``on_bad="null"``, all of these are null in
            bad rows; with ``on_bad="skip"``, bad rows are left out.

        Raises
        ------
        TypeError
            If ``data`` is anything else, such as a lazy frame.
        ValueError
            If a batch has missing or infinite values and ``on_bad`` is "error" (the message names row and column), if
            it lacks a column, or if a column does not hold what the model was fitted on.
        """
        n_read = 0
        for batch in record_batches(data, self.columns):
            yield self.score_batch(batch, first_row=n_read)
            n_read += batch.num_rows

    def score_batch(self, batch: pa.RecordBatch, *, first_row: int = 0) -> pa.RecordBatch:
        """Score one batch, as `score` does. All batches have the types of the first one.

        Parameters
        ----------
        batch : pyarrow.RecordBatch
            The rows to score.
        first_row : int, default 0
            Number of the first row, for messages.

        Returns
        -------
        pyarrow.RecordBatch
            The scored rows; `score` describes the columns.

        Raises
        ------
        ValueError
            As of `score`.
        """
        judged = self.judge(batch, first_row=first_row)
        self._schema = self._schema or self.schema(batch.schema)
        return self.results(judged, batch, self._schema)
