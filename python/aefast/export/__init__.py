"""Exports a model's whole decision to ONNX, C or SQL: from the columns of a table to score, p-value and flag.

Scaling in double precision, clipping, network, anomaly score, threshold, p-value, levels of text and missing values are
all part of an export. Each export is compared with the model when it is made, and says so in its first lines or its
metadata.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aefast.export.check import describe, require_agreement, run_c, run_onnx, run_sql
from aefast.export.columns import texts_of
from aefast.export.decision import program_of
from aefast.export.program import ExportError
from aefast.scoring.models import model_of
from aefast.tables.files import write_whole

__all__ = ["ExportError", "c", "onnx", "sql"]


def onnx(model: Any, path: str | os.PathLike[str], *, values: Any = None) -> None:
    """Write a model as an ONNX file.

    The graph has one input for each column, of shape (rows, 1): numbers as double, text as strings, times as double
    seconds since 1970 on the clock of the column's time zone. Missing numbers are NaN, missing text is "". The outputs,
    also of shape (rows, 1), are ``anomaly_score`` (double), ``p_value`` (double) and ``is_anomaly`` (bool).

    Parameters
    ----------
    model : estimator, Model, bytes, str or path
        A fitted estimator, its ``model_``, the bytes of a model file, or its path.
    path : str or path
        The file to write.
    values : data frame or Arrow table, optional
        The training rows, of which only columns of text are read. A model knows the rare values of text by their hashes
        only, which ONNX cannot compute, so that it needs these values if there are any.

    Raises
    ------
    ExportError
        If the model has a part that ONNX cannot express, or the graph does not agree with the model.
    TypeError, ValueError
        If ``values`` is no table, or lacks a column of text.
    ImportError
        If the package onnx is not installed.

    See Also
    --------
    c : A C header, which needs no library.
    sql : A query, which needs no program.

    Notes
    -----
    Scores differ from the model's by at most 1e-5 times the larger of 1 and the score, which is checked on 500 made-up
    rows with ONNX Runtime, or with the evaluator of the package onnx if ONNX Runtime is not installed. The p-value of a
    row whose score equals one of the calibration scores may be one step higher or lower.

    Examples
    --------
    >>> import numpy as np, aefast, aefast.export
    >>> X = np.random.default_rng(0).normal(size=(300, 4))
    >>> model = aefast.Autoencoder(max_epochs=2, random_state=0).fit(X)
    >>> aefast.export.onnx(model, "model.onnx")  # doctest: +SKIP
    """
    from aefast.export.onnx_graph import model_proto

    if find_spec("onnx") is None:
        raise ImportError('aefast.export.onnx needs onnx; pip install "aefast[export]"')

    given = model_of(model)
    texts = None if values is None else texts_of(values, given.columns or ())
    program = program_of(given, texts)
    proto = model_proto(program, {})
    largest, engine = require_agreement(given, program, lambda columns: run_onnx(proto, columns))
    proto = model_proto(program, describe(given, largest, engine))
    write_whole(path, proto.SerializeToString())


def c(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model as a C99 header without dependencies.

    The names of the header begin with the name of the file: ``pump.h`` has the function ``pump_score``, which scores
    one row in double precision. The comment at its top shows how to call it.

    Parameters
    ----------
    model : estimator, Model, bytes, str or path
        As for `onnx`.
    path : str or path
        The file to write.

    Raises
    ------
    ExportError
        If the model has a part that cannot be exported, or the header does not agree with the model.

    See Also
    --------
    onnx : A graph for ONNX Runtime.

    Notes
    -----
    The header is compiled and compared with the model as in `onnx` if the command ``cc`` is there. Otherwise the same
    operations are compared in NumPy, and the header says so.

    Examples
    --------
    >>> import numpy as np, aefast, aefast.export
    >>> X = np.random.default_rng(0).normal(size=(300, 4))
    >>> model = aefast.Autoencoder(max_epochs=2, random_state=0).fit(X)
    >>> aefast.export.c(model, "pump.h")  # doctest: +SKIP
    """
    from aefast.export.c_header import header, prefix_of

    given = model_of(model)
    program, prefix = program_of(given), prefix_of(Path(path).stem)
    text = header(program, prefix, {})
    largest, engine = require_agreement(given, program, lambda columns: run_c(program, text, prefix, columns))
    write_whole(path, header(program, prefix, describe(given, largest, engine)).encode())


def sql(model: Any, dialect: str = "duckdb", table: str = "rows") -> str:
    """Return a query that scores the rows of a table in a database.

    The query selects all columns of the table, and ``anomaly_score``, ``p_value`` and ``is_anomaly``. NULL is a missing
    value; without ``missing="mean"`` or ``"mask"`` its row has the score NULL. Networks should have at most some 2,000
    weights: every weight is written into the query.

    Parameters
    ----------
    model : estimator, Model, bytes, str or path
        As for `onnx`.
    dialect : {"duckdb", "postgres"}, default "duckdb"
        The database's SQL.
    table : str, default "rows"
        The table as the query names it, quoted if it has to be.

    Returns
    -------
    str
        The query.

    Raises
    ------
    ExportError
        If the model has a part that SQL cannot express, such as a convolution or the calibrated score of columns of
        several kinds, or is too large.
    ValueError
        If the dialect is unknown.

    See Also
    --------
    onnx : A graph for ONNX Runtime.
    c : A C header.

    Notes
    -----
    A query for DuckDB is compared with the model as in `onnx` if duckdb is installed. Otherwise the same operations are
    compared in NumPy, and the query says so.

    Examples
    --------
    >>> import numpy as np, aefast, aefast.export
    >>> X = np.random.default_rng(0).normal(size=(300, 4))
    >>> model = aefast.Autoencoder((2,), max_epochs=2, random_state=0).fit(X)
    >>> query = aefast.export.sql(model)
    >>> query.splitlines()[-1].split(" FROM")[0].endswith("AS is_anomaly")
    True
    """
    from aefast.export.sql_query import query

    given = model_of(model)
    program = program_of(given)

    checked = query(program, dialect, "aefast_rows", {})
    runs = dialect == "duckdb"
    largest, engine = require_agreement(given, program, lambda columns: run_sql(program, checked, columns, runs))
    return query(program, dialect, table, describe(given, largest, engine))
