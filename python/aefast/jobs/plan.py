"""What the commands do: train on files, recalibrate, report; and what they share. Printing is not done here."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.columns.values import kind_of_type
from aefast.exceptions import AefastError
from aefast.jobs.csv_hints import lookalikes
from aefast.jobs.training_rows import Blocks, TableBlocks, fits_in_memory, read_sample, read_table
from aefast.model.network import layer_widths
from aefast.scoring.labels import Labels, with_label
from aefast.scoring.scorer import RESULT_NAMES, BadValueError, MisfitError, Scorer
from aefast.tables.files import atomic_path, naming
from aefast.tables.formats.base import TableError
from aefast.tables.numbers import find_nonfinite, may_be_numbers
from aefast.tables.source import Source, prefetch, read_matrix
from aefast.training.checkpoint import Checkpoint

__all__ = ["fit_job", "recalibrate_job", "report_job", "training_columns"]

Progress = Callable[[int], None]


def no_progress(rows: int) -> None:
    pass


class Clock:
    """Time spent inside iterators and blocks; one for each thing that goes on beside the others."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.seconds += time.perf_counter() - self._begin

    def timed(self, items: Iterable[Any]) -> Iterator[Any]:
        """The same items; making each is counted."""
        iterator = iter(items)
        done = object()
        while True:
            with self:
                item = next(iterator, done)
            if item is done:
                return
            yield item


def training_columns(
    source: Source, columns: Sequence[str] | None, exclude: Sequence[str]
) -> tuple[list[str] | None, dict[str, str]]:
    """The columns to learn, and those left out with the reason.

    Nothing is left out in silence: a column of no kind that can be learned is refused until it is excluded by name.
    The nameless columns of an array are all learned; the first value is then None.
    """
    in_folders = dict.fromkeys(source.folder_columns, "in folder names")
    if source.is_matrix:
        return None, in_folders
    names = [n for n in (source.schema.names if columns is None else columns) if n not in exclude]
    for file in source.files:
        file.check_text([n for n in names if n in file.schema.names])
    others = [n for n in names if kind_of_type(source.type_of(n)) is None]
    if others:
        kinds = ", ".join(f"{n!r} is {source.type_of(n)}" for n in others[:8])
        raise TableError(
            f"{source.files[0].path}: columns of numbers, text, categories, booleans and times can be learned, but "
            f"{kinds}; leave out what is not to be learned with --exclude {','.join(others)}"
        )
    if not names:
        raise TableError(f"{source.files[0].path}: no columns are left to learn")
    source.require(names, "column")
    why = "not in every file" if columns is None else "not in --columns"
    left_out = {n: "--exclude" if n in exclude else why for n in source.all_columns if n not in names}
    return names, left_out | in_folders


def numeric_columns(source: Source, columns: Sequence[str], kinds: Mapping[str, str]) -> list[str]:
    """Those of the columns that are numbers, by ``kinds`` or else by their type."""
    inferred = {
        n: "numeric" if all(n in f.guessed for f in source.files) else kind_of_type(source.type_of(n)) for n in columns
    }
    found = [n for n, kind in (inferred | dict(kinds)).items() if kind == "numeric"]
    for file in source.files:
        for name in found:
            kind = file.schema.field(name).type if name in file.schema.names else pa.null()
            # A text file is asked for numbers, and tells the row that holds none.
            if kind_of_type(kind) == "categorical" and not pa.types.is_boolean(kind) and not file.types_are_guessed:
                raise TableError(
                    f"{file.path}: column {name!r} is {kind}, but its kind is numeric; give another with "
                    f"--kind-of {name}=categorical"
                )
    return found


def text_columns(source: Source, columns: Sequence[str], numeric: Sequence[str], kinds: Mapping[str, str]) -> list[str]:
    """Those of the columns that are levels by ``kinds``, or else by their type, but for booleans."""
    others = {n: source.type_of(n) for n in columns if n not in numeric and n not in kinds}
    inferred = [
        n for n, kind in others.items() if kind_of_type(kind) == "categorical" and not pa.types.is_boolean(kind)
    ]
    return inferred + [n for n in columns if kinds.get(n) == "categorical"]


def fit_job(
    estimator: Any,
    source: Source,
    output: str | Path,
    *,
    columns: Sequence[str] | None,
    sample: int | None = None,
    stream: bool | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress = no_progress,
    verbose: int = 0,
) -> dict[str, Any]:
    """Fit ``estimator`` on the named columns and save it; what happened, as plain data.

    Where they are not all numbers, by their types or by ``column_kinds``, tables are what it is given.

    It learns a random choice of ``sample`` rows, or all of them: from memory, or with ``stream`` from the files in
    every epoch. None lets the memory there is decide. With ``checkpoint`` a job that was killed goes on from there.
    """
    reading, training = Clock(), Clock()
    callbacks = estimator.callbacks
    estimator.set_params(verbose=verbose)
    if checkpoint is not None:
        estimator.set_params(callbacks=(Checkpoint(checkpoint, keep=True),))
    estimator._check_parameters()
    told = _told_of(estimator, source, columns)
    may_miss = estimator.missing != "error"
    given = estimator.column_kinds or {}
    numeric = None if columns is None else numeric_columns(source, columns, given)
    is_mixed = columns is not None and (given or len(numeric or ()) < len(columns))
    if columns is not None:
        source = source.read_as_text(text_columns(source, columns, numeric or (), given))

    def check(X: NDArray[Any], first_row: int) -> None:
        _check_finite(X, columns, source, may_miss=may_miss, first_row=first_row)

    if is_mixed:
        tables = TableBlocks(source, columns or (), numeric or (), check)
        if sample is None and (stream or (stream is None and not fits_in_memory(source, columns))):
            how = "streamed"
            with training, told:
                estimator.fit_batches(tables)
            n_learned = tables.n_rows
        else:
            how = "in memory" if sample is None else "sampled"
            with reading:
                table = read_table(tables, sample, estimator.random_state, progress)
            n_learned = len(table)
            with training, told:
                estimator.fit(table)
        n_rows = tables.n_rows
        for remark in lookalikes(source, [n for n in columns or () if n not in {*given, *(numeric or ())}]):
            warnings.warn(remark, stacklevel=2)
    elif sample is None and (stream or (stream is None and not fits_in_memory(source, columns))):
        how, blocks = "streamed", Blocks(source, columns, check)
        with training, told:
            estimator.fit_batches(blocks)
        n_rows = n_learned = blocks.n_rows
    else:
        with reading:
            if sample is None:
                how, X = "in memory", read_matrix(source, columns, progress=progress)
                n_rows = len(X)
            else:
                how, (X, n_rows) = (
                    "sampled",
                    read_sample(source, columns, sample, estimator.random_state, check, progress),
                )
        if len(X) == 0:
            raise TableError(f"{source.title} has no rows to learn from")
        if sample is None:
            check(X, 0)
        n_learned = len(X)
        with training, told:
            estimator.fit(X)
    estimator.set_params(verbose=0, callbacks=callbacks)
    if columns is not None:
        # Set as scikit-learn sets it from a data frame: the rows were gathered into a nameless array.
        estimator.feature_names_in_ = np.asarray(columns, dtype=object)
    estimator.save(output)
    if checkpoint is not None:
        Path(checkpoint).unlink(missing_ok=True)
    validation = list(getattr(estimator, "validation_curve_", None) or [])
    n_epochs = int(estimator.n_epochs_)
    return {
        "model": str(output),
        "kind": type(estimator).__name__,
        "layers": layer_widths(estimator.network_),
        "rows": n_learned,
        "rows_there": n_rows,
        "how": how,
        "n_features": int(estimator.n_features_in_),
        "columns": None if columns is None else list(columns),
        "kinds": None if estimator.columns_ is None else {c.name: c.kind for c in estimator.columns_},
        "epochs": n_epochs,
        "loss": float(estimator.loss_curve_[-1]) if len(estimator.loss_curve_) else None,
        "validation_loss": float(min(validation)) if validation else None,
        "threshold": float(estimator.threshold_),
        # Of streamed rows those that are held out decide; they are what p-values compare with, too.
        "threshold_rows": estimator.calibration_.n_rows if how == "streamed" else n_learned,
        "contamination": float(estimator.contamination),
        "reading_seconds": reading.seconds,
        "training_seconds": training.seconds,
        "rows_per_second": n_learned * n_epochs / training.seconds,
    }


@contextmanager
def _told_of(estimator: Any, source: Source, columns: Sequence[str] | None) -> Iterator[None]:
    """What is wrong with the rows that the estimator is fitted to is told of the table and its columns."""
    estimator._called = columns
    try:
        yield
    except ValueError as error:
        if isinstance(error, AefastError):
            raise
        raise TableError(f"{source.title}: {error}") from error
    finally:
        del estimator._called


def recalibrate_job(
    estimator: Any,
    source: Source,
    output: str | Path,
    *,
    batch_rows: int | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """`recalibrate` the estimator on every row of ``source`` and save it; what happened, as plain data."""
    begin = time.perf_counter()
    scorer, source = make_scorer(estimator, source, keep=[])
    parts: list[NDArray[Any]] = []
    n_read = 0
    with closing(read_batches(scorer, source, None, batch_rows, Clock())) as batches, located(source):
        for batch in batches:
            parts.append(scorer.batch_errors(batch, first_row=n_read).astype(estimator.dtype))
            n_read += batch.num_rows
            progress(batch.num_rows)
    if n_read == 0:
        raise TableError(f"{source.title} has no rows to calibrate with")
    errors, before = np.concatenate(parts), float(estimator.threshold_)
    n_above = int(np.count_nonzero(errors > before))
    estimator._decide_by(errors, errors)
    estimator.save(output)
    return {
        "model": str(output),
        "rows": n_read,
        "contamination": float(estimator.contamination),
        "threshold_before": before,
        "above_before": n_above,
        "threshold": float(estimator.threshold_),
        "seconds": time.perf_counter() - begin,
    }


def _check_finite(
    X: NDArray[Any], columns: Sequence[str] | None, source: Source, *, may_miss: bool, first_row: int = 0
) -> None:
    found = find_nonfinite(X, may_miss=may_miss)
    if found is not None:
        name = columns[found.column] if columns is not None else f"x{found.column}"
        place = f"{source.place(first_row + found.row)} (the first is row 0)"
        what = "the rows have infinite values" if may_miss else "the rows have missing or infinite values"
        remedy = "" if may_miss else ", or take them as missing with --missing mask or mean"
        raise TableError(found.message(what, place, name, "; fill or drop such rows, --exclude the column" + remedy))


def make_scorer(
    estimator: Any,
    source: Source,
    *,
    keep: Sequence[str] | None,
    label: str | None = None,
    **options: Any,
) -> tuple[Scorer, Source]:
    """A `Scorer` for the rows of ``source``, whose columns are checked against the model and the options; and the
    source whose text columns are read as the model needs them."""
    names = getattr(estimator, "feature_names_in_", None)
    if source.is_matrix:
        if keep or label is not None:
            raise TableError(f"{source.files[0].path} has no named columns to keep or to take labels from")
        if estimator.columns_ is not None:
            raise TableError(f"{source.files[0].path} has no named columns, and the model's are of several kinds")
        with _of(source):
            scorer = Scorer(estimator, **options)
            scorer.columns(source.schema)
        return scorer, source
    present = source.schema.names
    source.require(with_label(keep, label), "column")
    if names is not None:
        features = [str(n) for n in names]
        source.require(features, "columns the model was fitted on:")
        if label in features:
            raise TableError(
                f"column {label!r} is one that the model judges rows by, so it cannot be their label; fit a model with "
                f"--exclude {label}"
            )
    else:
        unread = set(keep or []) | {label}
        features = [n for n in present if source.holds_numbers(n) and n not in unread]
    known = {c.name: c for c in estimator.columns_ or () if c.kind == "categorical"}
    for file in source.files:
        for name, column in known.items() if file.types_are_guessed else ():
            refusal = column.refusal(file.schema.field(name).type, guessed=True)
            if refusal:
                raise TableError(f"{file.path}: {refusal}")
    source = source.read_as_text(known)
    if keep is None:
        unkept = {*features, *columns_left_out(source, features)}
        keep = [n for n in present if n not in unkept]
    for file in source.files:
        file.check_text(features)
        for name in features:
            kind = file.schema.field(name).type
            is_mixed = estimator.columns_ is not None
            fits = kind_of_type(kind) is not None if is_mixed else may_be_numbers(kind)
            # A text file may hold a single cell that is no number, of which the reader will tell the row.
            if not fits and not file.types_are_guessed:
                wanted = "numbers, categories or times" if is_mixed else "numbers"
                raise TableError(f"{file.path}: column {name!r} is {kind}; the model was fitted on {wanted} there")
    with _of(source):
        return Scorer(estimator, columns=features, keep=keep, **options), source


def handed_on(scorer: Scorer, label: str | None) -> list[str]:
    """The columns that the model does not read: those that are kept, and the label."""
    features = scorer.feature_names
    return [n for n in dict.fromkeys(with_label(scorer.keep, label)) if n not in features]


@contextmanager
def _of(source: Source) -> Iterator[None]:
    """Errors about the columns of a table say which file it is."""
    try:
        yield
    except TableError as error:
        raise TableError(f"{source.files[0].path}: {error}") from error


def columns_left_out(source: Source, features: Sequence[str]) -> dict[str, str]:
    """The columns that are neither ``features`` nor can be handed on, and why."""
    present = [name for name in source.all_columns if name not in features]
    in_every = set(present).intersection(*(file.schema.names for file in source.files))
    why = {n: "not in every file" for n in present if n not in in_every}
    why |= {n: "the scores have a column of that name" for n in present if n in RESULT_NAMES}
    return why | dict.fromkeys(source.folder_columns, "in folder names")


def read_batches(
    scorer: Scorer,
    source: Source,
    label: str | None,
    batch_rows: int | None,
    clock: Clock,
    first_row: int = 0,
    *,
    unscored: bool = False,
) -> Generator[pa.RecordBatch, None, None]:
    """What the scorer needs of the rows, read ahead by a thread; of rows that stay ``unscored`` in the same batches
    what is handed on, and the label."""
    features = [] if source.is_matrix else scorer.feature_names
    kept = with_label(scorer.keep, label)
    wanted = list(dict.fromkeys(source.schema.names if source.is_matrix else [*features, *kept]))
    kinds = {c.name: c.kind for c in scorer.estimator.columns_ or ()}
    numbers = [n for n in features if kinds.get(n, "numeric") == "numeric"]
    batch_rows = batch_rows or source.batch_rows(len(wanted))
    batches = source.batches(
        list(dict.fromkeys(kept)) if unscored else wanted, batch_rows, numbers, first_row=first_row
    )
    return prefetch(clock.timed(batches))


class located:
    """Names the file in which a bad value was met."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, BadValueError | MisfitError):
            raise AefastError(error.describe(self._source.place(error.row))) from error


def report_job(
    estimator: Any,
    source: Source,
    output: str | Path,
    *,
    title: str,
    keep: Sequence[str] | None = None,
    label: str | None = None,
    image_shape: tuple[int, ...] | None = None,
    batch_rows: int | None = None,
    subtitle: str = "",
    notes: Sequence[str] = (),
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Write the page of `report.render` about every row of ``source``; what happened, as plain data."""
    from aefast.report.page import examine, render

    scorer, source = make_scorer(estimator, source, keep=keep, label=label)
    if keep is None:
        scorer.keep = [name for name in scorer.keep if name != label]
    source = source.keep_raw(handed_on(scorer, label), except_times=True)
    labels = None if label is None else Labels(source, label)
    if labels is not None:
        labels.check()
    with closing(read_batches(scorer, source, label, batch_rows, Clock())) as batches, located(source):
        findings = examine(scorer, batches, label=labels, progress=progress)
    about = scorer.keep[:3] if keep is None else keep
    page = render(findings, title=title, subtitle=subtitle, image_shape=image_shape, notes=notes, about=about)
    with atomic_path(output) as part, naming(output):
        part.write_text(page, encoding="utf-8", errors="backslashreplace")
    return {
        "report": str(output),
        "rows": len(findings.errors),
        "anomalies": findings.n_flagged,
        "seconds": findings.seconds,
        "quality": findings.quality,
        **({} if findings.labels is None else {"unlabelled": findings.n_unlabelled}),
    }
