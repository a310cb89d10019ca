"""Scores and fits data frames of Dask, on its workers. Needs dask 2025.7: ``pip install "aefast[dask]"``.

aefast must be installed on the workers too. The model is one key of the graph, sent to each worker once, which keeps
it. A task computes with one thread. The scores have the bits of those on one machine, if all processors compute with
the same instruction-set level (see ``isa_level`` in `score`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from aefast.dask.frames import Job, as_frame, numbered, require
from aefast.distributed import sampling
from aefast.distributed.counts import SCHEMA, Counts
from aefast.distributed.models import require_fleet
from aefast.distributed.tasks import score_options
from aefast.model.false_discoveries import check_fdr

__all__ = ["detect", "fit", "fit_groups", "score", "score_groups"]


def score(
    data: Any,
    model: Any,
    *,
    keep: Sequence[str] = (),
    top_features: int = 0,
    p_value_cutoff: float | None = None,
    precision: str = "float32",
    on_bad: str = "error",
    isa_level: str | None = None,
) -> Any:
    """Return the scores of the rows of a data frame, as a lazy data frame with the same index and partitions.

    Parameters
    ----------
    data : dask.dataframe.DataFrame
        Rows with the model's columns, by name; others are not read. For a model that was fitted without names, the
        columns of numbers that are not in ``keep``.
    model : estimator, Model, Fleet, bytes, str or path
        A fitted estimator, its ``model_``, the bytes of a model file, or its path on the client.
    keep : sequence of str
        Columns to copy into the output, of any type. Messages name a row by its index and its kept values.
    top_features : int, at least 0, default 0
        Number of reasons for each row; with 0 the output has no column ``top_features``.
    p_value_cutoff : float in [0, 1], optional
        Rows with a p-value up to this are anomalies. Default: rows whose error exceeds the model's threshold are.
    precision : {"float32", "bfloat16", "int8"}, default "float32"
        As in ``reconstruction_error``.
    on_bad : {"error", "null"}, default "error"
        What to do with rows that have an infinite value, or a missing one where the model needs a value: fail with a
        message that names the row, or give missing scores. These are counted with
        ``scored.anomaly_score.isna().sum().compute()``.
    isa_level : str, optional
        An instruction-set level (`aefast.config`), such as "v3"; workers that compute with another raise an error. They
        get it from the environment variable ``AEFAST_ISA``. By default each worker computes with the best that its
        processor supports, and the last bits of scores may differ between unlike processors; workers whose level is
        not that of the client then warn in their log.

    Returns
    -------
    dask.dataframe.DataFrame
        The kept columns, ``anomaly_score`` (float64, higher is more abnormal), ``p_value`` (float64), ``is_anomaly``
        (bool, or "boolean" with ``on_bad="null"``) and, if asked for, ``top_features`` (Arrow lists of structs).

    Raises
    ------
    ImportError
        If dask is not installed.
    TypeError, ValueError
        If data, model or options do not fit; see `aefast.Scorer`. Errors about values come from ``compute``.

    See Also
    --------
    detect : Limits the share of false alarms.
    aefast.Scorer : The same on one machine.

    Examples
    --------
    ::

        import numpy as np, pandas as pd, aefast
        import dask.dataframe as dd

        rng = np.random.default_rng(0)
        rows = pd.DataFrame({"id": range(900), "a": rng.normal(size=900), "b": rng.normal(size=900)})
        model = aefast.Autoencoder(max_epochs=2, random_state=0).fit(rows[["a", "b"]])
        data = dd.from_pandas(rows, npartitions=4)
        scored = aefast.dask.score(data, model, keep=["id"])
    """
    options = score_options(
        top_features=top_features, p_value_cutoff=p_value_cutoff, precision=precision, on_bad=on_bad
    )
    job = Job(data, model, keep, options, isa_level)
    return job.run(job.task.scores, job.meta)


def detect(
    data: Any,
    model: Any,
    *,
    fdr: float,
    keep: Sequence[str] = (),
    top_features: int = 0,
    precision: str = "float32",
    on_bad: str = "error",
    isa_level: str | None = None,
) -> Any:
    """Return the anomalies of a data frame, with the false-discovery rate controlled over all of its rows.

    The rows are those that ``model.detect`` reports for the same table. The first pass runs now and brings only counts
    of p-values to the client. The second pass is lazy; it scores again and keeps the anomalies. Both passes must see
    the same rows.

    Parameters
    ----------
    data : dask.dataframe.DataFrame
        As in `score`.
    model : estimator, Model, Fleet, bytes, str or path
        As in `score`.
    fdr : float in (0, 1)
        The expected share of false alarms among the reported rows.
    keep, top_features, precision, on_bad, isa_level : optional
        As in `score`. Bad rows with ``on_bad="null"`` are neither tested nor returned.

    Returns
    -------
    dask.dataframe.DataFrame
        The anomalies, with the columns of `score`.

    Raises
    ------
    ImportError, TypeError, ValueError
        As in `score`; also if ``fdr`` is out of range.
    ValueError
        If a row cannot be scored and ``on_bad`` is "error".

    Warns
    -----
    UserWarning
        If no row is reported and too few rows were held out to report one, if rows could not be scored, or if workers
        computed with unlike instruction-set levels.

    See Also
    --------
    score : Returns all rows, with their scores.
    aefast.Autoencoder.detect : The same on one machine.

    Examples
    --------
    ::

        found = aefast.dask.detect(data, model, fdr=0.2, keep=["id"])
    """
    check_fdr(fdr)
    job = Job(
        data, model, keep, score_options(top_features=top_features, precision=precision, on_bad=on_bad), isa_level
    )
    counted = job.run(job.task.counts, SCHEMA.empty_table().to_pandas()).compute()
    parts = pa.Table.from_pandas(counted, SCHEMA, preserve_index=False).to_batches()
    cutoff = Counts.of(parts).cutoff(fdr)
    return job.run(job.task.with_cutoff(cutoff).anomalies, job.meta)


def fit(data: Any, estimator: Any, *, rows: int | None = None, seed: int = 0) -> Any:
    """Fit an estimator on rows of a data frame, on the client.

    Parameters
    ----------
    data : dask.dataframe.DataFrame
        Rows with the columns to learn; select them, or drop keys, beforehand.
    estimator : estimator of aefast
        Fitted in place, as by its ``fit``.
    rows : int, optional
        Fit on a random sample of this many rows, which the workers draw and the client holds in memory. By default all
        rows are streamed, partition by partition, to a temporary file of the client and fitted with ``fit_batches``,
        whose memory does not grow with the rows.
    seed : int, default 0
        Seed of the sample. The same rows in the same partitions give the same sample.

    Returns
    -------
    estimator
        The fitted ``estimator``.

    Raises
    ------
    ImportError
        If dask is not installed.
    TypeError, ValueError, ConvergenceError
        If ``data`` is not a data frame of Dask, ``rows`` is not a positive number, or ``fit`` raises.

    See Also
    --------
    fit_groups : One model for each group of rows.
    aefast.Autoencoder.fit_batches : The training of streamed rows.

    Examples
    --------
    ::

        model = aefast.dask.fit(data.drop(columns="id"), aefast.Autoencoder(max_epochs=2), rows=500)
    """
    require(data)
    import dask
    import pandas as pd

    parts = data.to_delayed()
    if rows is None:
        return sampling.fit_stream(estimator, (part.compute() for part in parts))
    fraction = sampling.fraction_of(rows, lambda: len(data))
    draw = dask.delayed(sampling.drawn, pure=True)
    sample = pd.concat(dask.compute(*(draw(part, fraction, seed, index) for index, part in enumerate(parts))))
    return sampling.fit_sample(estimator, sample, rows, seed)


def fit_groups(data: Any, estimator: Any, by: Any, *, min_rows: int = 50, unseen: str = "pooled") -> Any:
    """Fit one model for each group of rows on the workers, and return them as a Fleet.

    The models have the bits of ``aefast.Fleet(estimator, by).fit`` on the same rows in the same order. Rows are counted
    first and then moved, so that each group is on one worker, which fits it with one thread. All models come to the
    client.

    Parameters
    ----------
    data : dask.dataframe.DataFrame
        Rows with the columns ``by`` and the columns to learn; drop keys beforehand.
    estimator : estimator of aefast
        The one to copy for each group; it stays as it is.
    by : str or list of str
        The columns whose values are a row's group: text, numbers or truth values.
    min_rows : int, at least 1, default 50
        Groups with fewer rows get no model of their own.
    unseen : {"pooled", "error"}, default "pooled"
        What happens to rows of groups without a model, as in `aefast.Fleet`. The pooled model is fitted on the client.

    Returns
    -------
    Fleet
        The fitted fleet, as `aefast.Fleet.fit` returns it.

    Raises
    ------
    ImportError, TypeError
        If dask is not installed, or ``data`` is not a data frame of Dask.
    ValueError
        As of ``Fleet.fit``.

    Warns
    -----
    UserWarning
        If groups cannot be learned.

    See Also
    --------
    score_groups : Scores rows with the fleet.
    aefast.Fleet : The same on one machine.

    Examples
    --------
    ::

        data = data.assign(machine=data["id"] % 3)
        fleet = aefast.dask.fit_groups(data.drop(columns="id"), aefast.Autoencoder(random_state=0), by="machine")
    """
    require(data)
    import dask
    import dask.dataframe as dd

    from aefast.distributed.groups import COUNTS, FITS, POSITION, GroupFit

    job = GroupFit(estimator, by, min_rows, unseen)
    job.require_columns(map(str, data.columns))
    labels = [label for label in data.columns if str(label) in job.by]
    counted = data.map_partitions(as_frame, job.task.count, meta=COUNTS.empty_table().to_pandas()).compute()
    task = job.with_counts([pa.Table.from_pandas(counted, COUNTS, preserve_index=False)])
    number = dask.delayed(numbered, pure=True)
    meta = data._meta.assign(**{POSITION: np.empty(0, np.int64)})
    rows = dd.from_delayed([number(part, index) for index, part in enumerate(data.to_delayed())], meta=meta)
    fits = rows.shuffle(on=labels).map_partitions(as_frame, task.fit, meta=FITS.empty_table().to_pandas())
    return job.fleet_of([pa.Table.from_pandas(fits.compute(), FITS, preserve_index=False)])


def score_groups(data: Any, fleet: Any, **parameters: Any) -> Any:
    """Return the scores of rows, each by the model of its group, as `score` does.

    `score` and `detect` accept a fleet too; the false-discovery rate is then controlled over the rows of all groups.

    Parameters
    ----------
    data : dask.dataframe.DataFrame
        Rows with the columns that name groups and the columns of the models.
    fleet : Fleet, bytes, str or path
        A fitted `aefast.Fleet`, or the content or the path of its file. It is sent once. A worker loads the models
        whose groups occur in its rows.
    **parameters
        Further parameters of `score`. Without ``p_value_cutoff``, the threshold of its group decides about a row.

    Returns
    -------
    dask.dataframe.DataFrame
        The columns of `score`.

    Raises
    ------
    ImportError, TypeError, ValueError
        As in `score`; also if rows belong to groups without a model and the fleet has ``unseen="error"``, when the
        scores are computed.

    See Also
    --------
    fit_groups : Fits the fleet.
    score : The columns of the result.

    Examples
    --------
    ::

        scored = aefast.dask.score_groups(data, fleet, keep=["id"])
    """
    return score(data, require_fleet(fleet), **parameters)
