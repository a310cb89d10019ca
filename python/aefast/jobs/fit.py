"""Trains an estimator on the rows of files and saves it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aefast.columns.values import kind_of_type
from aefast.exceptions import AefastError, ConvergenceError
from aefast.jobs.clock import Clock
from aefast.jobs.csv_hints import csv_hints
from aefast.jobs.drift import shares_in_training
from aefast.jobs.left_out import without_information
from aefast.jobs.training_rows import Blocks, TableBlocks, count_missing, fits_in_memory
from aefast.model.network import layer_widths
from aefast.tables.formats.base import TableError
from aefast.tables.numbers import find_nonfinite
from aefast.tables.source import Source
from aefast.tables.text import option_of, quote_names
from aefast.training.checkpoint import Checkpoint
from aefast.training.display import Silence


def training_columns(
    source: Source, columns: Sequence[str] | None, exclude: Sequence[str], kinds: Collection[str] = ()
) -> tuple[list[str] | None, dict[str, str]]:
    """The columns to learn, and the columns left out with the reason.

    A column of a type that cannot be learned is refused unless it is excluded by name. Columns that say nothing about
    a row are left out unless they are named by ``columns`` or have one of the ``kinds`` that are given.
    The columns of an array have no names and are all learned; the first value is then None.
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
            f"{kinds}; leave such columns out with --exclude {option_of(others)}"
        )
    if not names:
        raise TableError(f"{source.files[0].path}: no columns are left to learn; exclude fewer columns")
    source.require(names, "column")
    empty = {}
    if columns is None:
        empty = without_information(source, [n for n in names if n not in kinds])
        names = [n for n in names if n not in empty]
        if not names:
            reasons = ", ".join(f"{name!r} ({why})" for name, why in list(empty.items())[:8])
            raise TableError(
                f"{source.files[0].path}: no column says anything about a row: {reasons}; learn them in any case with "
                f"--columns {option_of(list(empty))}"
            )
    why = "not in every file" if columns is None else "not in --columns"
    left_out = {n: "--exclude" if n in exclude else why for n in source.all_columns if n not in names}
    return names, left_out | empty | in_folders


def fit_job(
    estimator: Any,
    source: Source,
    output: str | Path,
    *,
    columns: Sequence[str] | None,
    sample: int | None = None,
    stream: bool | None = None,
    checkpoint: str | Path | None = None,
    finds_missing: bool = False,
    on_bad: str = "error",
    display: Silence | None = None,
) -> dict[str, Any]:
    """Fit ``estimator`` on the named columns and save it; returns a summary as plain data.

    Parameters
    ----------
    estimator : estimator
        Gets matrices if all columns are numbers, by their types or its ``column_kinds``, and else Arrow tables.
    source : Source
    output : path
        The model file.
    columns : sequence of str or None
        None for arrays.
    sample : int, optional
        Learn from a random sample of this many rows.
    stream : bool, optional
        True reads the files again for every epoch; False holds all rows in memory. None streams if the rows do not
        fit into memory.
    checkpoint : path, optional
        Where training is saved after every epoch. A job that was killed continues from there.
    finds_missing : bool
        If values are missing, learn with ``missing="mask"``. Streamed rows are read once more for that.
    on_bad : {"error", "null", "skip"}
        Unless it is "error", leave out rows with infinite values, with missing ones that the estimator does not accept,
        and those that cannot be read.
    display : Silence, optional
        Shows the progress of reading and training.
    """
    reading, training = Clock(), Clock()
    own_callbacks = estimator.callbacks
    save = [] if checkpoint is None else [Checkpoint(checkpoint, keep=True)]
    estimator.set_params(callbacks=[*save, *([] if display is None else [display])])
    display = display or Silence()
    estimator.check_parameters()
    may_miss = finds_missing or estimator.missing != "error"
    rows, texts = training_rows(estimator, source, columns, partial(good_rows, may_miss, on_bad))
    n_missing: dict[str, int] = {}
    if sample is None and (stream or (stream is None and not fits_in_memory(source, columns))):
        how = "streamed"
        if finds_missing:
            with reading:
                n_missing = count_missing(rows, columns)
                accept_missing(estimator, n_missing)
        rows.on_pass = display.passes(source.about_rows)
        with training, naming_table(source):
            estimator.fit_batches(rows)
        n_learned = rows.n_rows - rows.n_bad
    else:
        how = "in memory" if sample is None else "sampled"
        with reading:
            advance = display.rows("reading", source.about_rows)
            X = rows.read(advance) if sample is None else rows.sample(sample, estimator.random_state, advance)
            n_missing = count_missing([X], columns)
        n_learned = len(X)
        if finds_missing:
            accept_missing(estimator, n_missing)
        display.epochs(estimator.max_epochs, n_learned)
        with training, naming_table(source):
            estimator.fit(X)
    for hint in csv_hints(rows.source, texts):
        warnings.warn(hint, stacklevel=2)
    estimator.set_params(callbacks=own_callbacks)
    if rows.source.dialect is not None:
        estimator.model_ = estimator.model_.replace(dialect=rows.source.dialect)
    estimator.save(output)
    if checkpoint is not None:
        Path(checkpoint).unlink(missing_ok=True)
    validation = list(getattr(estimator, "validation_curve_", None) or [])
    n_epochs = int(estimator.n_epochs_)
    return {
        "model": str(output),
        **about_fit(estimator, rows, n_learned, columns, n_missing, reading, training),
        "rows_there": rows.n_rows,
        "how": how,
        "epochs": n_epochs,
        "loss": float(estimator.loss_curve_[-1]) if len(estimator.loss_curve_) else None,
        "validation_loss": float(min(validation)) if validation else None,
        "threshold": float(estimator.threshold_),
        # The threshold comes from the held-out rows if rows are streamed, as p-values do, and else from all rows.
        "threshold_rows": estimator.calibration_.n_rows if how == "streamed" else n_learned,
        "drift": estimator.drift_.as_plain(),
        "in_training": shares_in_training(estimator.drift_),
        "rows_per_second": n_learned * n_epochs / training.seconds,
    }


def about_fit(
    fitted: Any,
    rows: Blocks,
    n_learned: int,
    columns: Sequence[str] | None,
    n_missing: Mapping[str, int],
    reading: Clock,
    training: Clock,
) -> dict[str, Any]:
    """Return what the summaries of all fits have, of one model and of a fleet."""
    return {
        "kind": type(fitted).__name__,
        "layers": layer_widths(fitted.network_),
        "rows": n_learned,
        "bad_rows": rows.n_bad,
        **rows.source.other_rows,
        "missing": fitted.missing,
        "missing_values": {name: count for name, count in n_missing.items() if count},
        "dialect": rows.source.spoken_dialect,
        "n_features": int(fitted.n_features_in_),
        "columns": None if columns is None else list(columns),
        "kinds": None if fitted.columns_ is None else {c.name: c.kind for c in fitted.columns_},
        "contamination": float(fitted.contamination),
        "reading_seconds": reading.seconds,
        "training_seconds": training.seconds,
    }


def accept_missing(estimator: Any, n_missing: Mapping[str, int]) -> None:
    """Let the estimator ignore missing values, if there are any."""
    if any(n_missing.values()):
        estimator.set_params(missing="mask")


def training_rows(
    estimator: Any, source: Source, columns: Sequence[str] | None, check: Callable[..., NDArray[np.bool_] | None]
) -> tuple[Blocks, list[str]]:
    """The rows to learn, and the columns that are learned as text because of their type alone."""
    if columns is None:
        return Blocks(source, None, partial(check, columns, source)), []
    kinds = estimator.column_kinds or {}
    numeric = _numeric_columns(source, columns, kinds)
    source = source.read_as_text(_text_columns(source, columns, numeric, kinds))
    check = partial(check, columns, source)
    if not kinds and len(numeric) == len(columns):
        return Blocks(source, columns, check), []
    return TableBlocks(source, columns, numeric, check), [n for n in columns if n not in {*kinds, *numeric}]


def _numeric_columns(source: Source, columns: Sequence[str], kinds: Mapping[str, str]) -> list[str]:
    """The columns that are numbers, by ``kinds`` or else by their type."""
    inferred = {
        n: "numeric" if all(n in f.guessed for f in source.files) else kind_of_type(source.type_of(n)) for n in columns
    }
    found = [n for n, kind in (inferred | dict(kinds)).items() if kind == "numeric"]
    for file in source.files:
        for name in found:
            kind = file.schema.field(name).type if name in file.schema.names else pa.null()
            # Text files can be read as numbers; the reader raises with the row of a cell that is none.
            if kind_of_type(kind) == "categorical" and not pa.types.is_boolean(kind) and not file.types_are_guessed:
                raise TableError(
                    f"{file.path}: column {name!r} is {kind}, but its kind is numeric; give another with "
                    f"--kind-of {option_of([name], '=categorical')}"
                )
    return found


def _text_columns(
    source: Source, columns: Sequence[str], numeric: Sequence[str], kinds: Mapping[str, str]
) -> list[str]:
    """The categorical columns, by ``kinds`` or else by their type, without booleans."""
    others = {n: source.type_of(n) for n in columns if n not in numeric and n not in kinds}
    inferred = [
        n for n, kind in others.items() if kind_of_type(kind) == "categorical" and not pa.types.is_boolean(kind)
    ]
    return inferred + [n for n in columns if kinds.get(n) == "categorical"]


@contextmanager
def naming_table(source: Source) -> Iterator[None]:
    """Name the table in errors about the rows that the estimator is fitted on."""
    try:
        yield
    except ConvergenceError as error:
        problem = vars(error).get("problem", str(error))
        remedy = "leave out columns with extreme values with --exclude, or give fewer --epochs"
        raise ConvergenceError(f"{source.title}: {problem}; {remedy}") from error
    except ValueError as error:
        if isinstance(error, AefastError):
            raise
        raise TableError(f"{source.title}: {error}") from error


def good_rows(
    may_miss: bool, on_bad: str, columns: Sequence[str] | None, source: Source, X: NDArray[Any], first_row: int
) -> NDArray[np.bool_] | None:
    """Return which rows can be learned, None if all can.

    If ``on_bad`` is "error", raise `TableError` with the first place of a missing or infinite value that cannot.
    """
    found = find_nonfinite(X, may_miss=may_miss)
    if found is not None and on_bad != "error":
        is_bad = np.isinf(X) if may_miss else ~np.isfinite(X)
        return np.asarray(~is_bad.any(axis=1))
    if found is not None:
        name = columns[found.column] if columns is not None else f"x{found.column}"
        place = f"{source.place(first_row + found.row)} (the first is row 0)"
        what = "the rows have infinite values" if may_miss else "the rows have missing or infinite values"
        remedy = f"; give --on-bad skip, or leave the column out with --exclude {option_of([name])}"
        if found.are_missing:
            remedy += ", or give --missing mask or mean"
        short = [token for token in (source.dialect.missing if source.dialect else ()) if len(token) <= 8]
        if short:
            remedy += f" ({quote_names(short, 3)} is missing)"
        raise TableError(found.message(what, place, name, remedy))
    return None
