"""Scores and fits datasets of Ray Data, on its workers. Needs ray: ``pip install "aefast[ray]"``.

aefast must be installed on the workers too. The model is one object of Ray's store, fetched once per node, and every
worker process keeps it. A task computes with one thread. The scores have the bits of those on one machine, if all
processors compute with the same instruction-set level (see ``isa_level`` in `score`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from aefast.distributed import sampling
from aefast.distributed.counts import SCHEMA, Counts
from aefast.distributed.models import require_fleet
from aefast.distributed.tasks import score_options
from aefast.model.false_discoveries import check_fdr
from aefast.ray.datasets import Job, in_order, numbered, require

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
    """Return the scores of the rows of a dataset, as a lazy dataset.

    Parameters
    ----------
    data : ray.data.Dataset
        Rows with the model's columns, by name; others are not read. For a model that was fitted without names, the
        columns of numbers that are not in ``keep``.
    model : estimator, Model, Fleet, bytes, str or path
        A fitted estimator, its ``model_``, the bytes of a model file, or its path on the driver.
    keep : sequence of str
        Columns to copy into the output, of any type. Messages name a row by its kept values, so keep a key.
    top_features : int, at least 0, default 0
        Number of reasons for each row; with 0 the output has no column ``top_features``.
    p_value_cutoff : float in [0, 1], optional
        Rows with a p-value up to this are anomalies. Default: rows whose error exceeds the model's threshold are.
    precision : {"float32", "bfloat16", "int8"}, default "float32"
        As in ``reconstruction_error``.
    on_bad : {"error", "null"}, default "error"
        What to do with rows that have an infinite value, or a missing one where the model needs a value: fail with a
        message that names the row's kept values, or write null scores.
    isa_level : str, optional
        An instruction-set level (`aefast.config`), such as "v3", with which all workers compute. By default each
        computes with the best that its processor supports, and the last bits of scores may differ between unlike
        processors; workers whose level is not that of the driver then warn in their log.

    Returns
    -------
    ray.data.Dataset
        The kept columns, ``anomaly_score`` (double, higher is more abnormal), ``p_value`` (double), ``is_anomaly``
        (bool) and, if asked for, ``top_features`` (lists of structs). Rows are in the order of ``data`` if Ray is asked
        to preserve it (``ray.data.DataContext.get_current().execution_options.preserve_order = True``).

    Raises
    ------
    ImportError
        If ray is not installed.
    TypeError, ValueError
        If data, model or options do not fit; see `aefast.Scorer`. Errors about values come from the call that computes
        the scores, and so do those about columns if Ray does not know the schema yet.

    See Also
    --------
    detect : Limits the share of false alarms.
    aefast.Scorer : The same on one machine.

    Examples
    --------
    ::

        import numpy as np, pandas as pd, aefast
        import ray

        rng = np.random.default_rng(0)
        rows = pd.DataFrame({"id": range(900), "a": rng.normal(size=900), "b": rng.normal(size=900)})
        model = aefast.Autoencoder(max_epochs=2, random_state=0).fit(rows[["a", "b"]])
        data = ray.data.from_pandas(rows)
        scored = aefast.ray.score(data, model, keep=["id"])
    """
    options = score_options(
        top_features=top_features, p_value_cutoff=p_value_cutoff, precision=precision, on_bad=on_bad
    )
    job = Job(data, model, keep, options, isa_level)
    return job.run(job.task.score)


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
    """Return the anomalies of a dataset, with the false-discovery rate controlled over all of its rows.

    The rows are those that ``model.detect`` reports for the same table. The first pass runs now and brings only counts
    of p-values to the driver. The second pass is lazy; it scores again and keeps the anomalies. Both passes must see
    the same rows.

    Parameters
    ----------
    data : ray.data.Dataset
        As in `score`.
    model : estimator, Model, Fleet, bytes, str or path
        As in `score`.
    fdr : float in (0, 1)
        The expected share of false alarms among the reported rows.
    keep, top_features, precision, on_bad, isa_level : optional
        As in `score`. Bad rows with ``on_bad="null"`` are neither tested nor returned.

    Returns
    -------
    ray.data.Dataset
        The anomalies, with the columns of `score`.

    Raises
    ------
    ImportError, TypeError, ValueError
        As in `score`; also if ``fdr`` is out of range.
    ray.exceptions.RayTaskError
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

        found = aefast.ray.detect(data, model, fdr=0.2, keep=["id"])
    """
    check_fdr(fdr)
    options = score_options(top_features=top_features, precision=precision, on_bad=on_bad)
    job = Job(data, model, keep, options, isa_level)
    counted = job.run(job.task.count).iter_batches(batch_format="pyarrow", batch_size=None)
    parts = (part for table in counted if table.num_columns for part in table.cast(SCHEMA).to_batches())
    cutoff = Counts.of(parts).cutoff(fdr)
    return job.run(job.task.with_options(p_value_cutoff=cutoff).anomalies)


def fit(data: Any, estimator: Any, *, rows: int | None = None, seed: int = 0) -> Any:
    """Fit an estimator on rows of a dataset, on the driver.

    Parameters
    ----------
    data : ray.data.Dataset
        Rows with the columns to learn; select them, or drop keys, beforehand.
    estimator : estimator of aefast
        Fitted in place, as by its ``fit``.
    rows : int, optional
        Fit on a random sample of this many rows, which the workers draw and the driver holds in memory. By default all
        rows are streamed to a temporary file of the driver and fitted with ``fit_batches``, whose memory does not grow
        with the rows.
    seed : int, default 0
        Seed of the sample. The same rows in the same blocks give the same sample.

    Returns
    -------
    estimator
        The fitted ``estimator``.

    Raises
    ------
    ImportError
        If ray is not installed.
    TypeError, ValueError, ConvergenceError
        If ``data`` is not a dataset of Ray, ``rows`` is not a positive number, or ``fit`` raises.

    See Also
    --------
    fit_groups : One model for each group of rows.
    aefast.Autoencoder.fit_batches : The training of streamed rows.

    Examples
    --------
    ::

        model = aefast.ray.fit(data.drop_columns(["id"]), aefast.Autoencoder(max_epochs=2), rows=500)
    """
    require(data)
    if rows is None:
        return sampling.fit_stream(estimator, in_order(data, 1 << 17))
    fraction = sampling.fraction_of(rows, data.count)

    def draw(table: pa.Table) -> pa.Table:
        return sampling.drawn(table, fraction, seed, sampling.checksum(table))

    parts = in_order(data.map_batches(draw, batch_format="pyarrow", batch_size=None))
    sample = pa.concat_tables([part for part in parts if part.num_columns], promote_options="permissive")
    return sampling.fit_sample(estimator, sample, rows, seed)


def fit_groups(data: Any, estimator: Any, by: Any, *, min_rows: int = 50, unseen: str = "pooled") -> Any:
    """Fit one model for each group of rows on the workers, and return them as a Fleet.

    The models have the bits of ``aefast.Fleet(estimator, by).fit`` on the same rows in the same order. Rows are counted
    first and then moved, so that each group is on one worker, which fits it with one thread. All models come to the
    driver.

    Parameters
    ----------
    data : ray.data.Dataset
        Rows with the columns ``by`` and the columns to learn; drop keys beforehand.
    estimator : estimator of aefast
        The one to copy for each group; it stays as it is.
    by : str or list of str
        The columns whose values are a row's group: text, numbers or truth values.
    min_rows : int, at least 1, default 50
        Groups with fewer rows get no model of their own.
    unseen : {"pooled", "error"}, default "pooled"
        What happens to rows of groups without a model, as in `aefast.Fleet`. The pooled model is fitted on the driver.

    Returns
    -------
    Fleet
        The fitted fleet, as `aefast.Fleet.fit` returns it.

    Raises
    ------
    ImportError, TypeError
        If ray is not installed, or ``data`` is not a dataset.
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

        data = data.add_column("machine", lambda batch: batch["id"] % 3)
        fleet = aefast.ray.fit_groups(data.drop_columns(["id"]), aefast.Autoencoder(random_state=0), by="machine")
    """
    require(data)
    from aefast.distributed.groups import COUNTS, FITS, POSITION, GroupFit

    job = GroupFit(estimator, by, min_rows, unseen)
    job.require_columns(data.columns())
    counted = in_order(data.map_batches(job.task.count, batch_format="pyarrow", batch_size=None))
    task = job.with_counts(part.cast(COUNTS) for part in counted if part.num_columns)
    groups = numbered(data, POSITION).groupby(list(job.by))
    fits = groups.map_groups(task.fit, batch_format="pyarrow").iter_batches(batch_format="pyarrow", batch_size=None)
    return job.fleet_of([part.cast(FITS) for part in fits if part.num_columns])


def score_groups(data: Any, fleet: Any, **parameters: Any) -> Any:
    """Return the scores of rows, each by the model of its group, as `score` does.

    `score` and `detect` accept a fleet too; the false-discovery rate is then controlled over the rows of all groups.

    Parameters
    ----------
    data : ray.data.Dataset
        Rows with the columns that name groups and the columns of the models.
    fleet : Fleet, bytes, str or path
        A fitted `aefast.Fleet`, or the content or the path of its file. It is sent once. A worker loads the models
        whose groups occur in its rows.
    **parameters
        Further parameters of `score`. Without ``p_value_cutoff``, the threshold of its group decides about a row.

    Returns
    -------
    ray.data.Dataset
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

        scored = aefast.ray.score_groups(data, fleet, keep=["id"])
    """
    return score(data, require_fleet(fleet), **parameters)
