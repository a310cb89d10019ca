"""The plan of a scoring job: which columns are read, kept and written, decided before any row is read."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa

from aefast.columns.values import kind_of_type
from aefast.exceptions import AefastError
from aefast.jobs.clock import Clock
from aefast.model.fleet import ModelFleet
from aefast.model.model import Model
from aefast.scoring.errors import BadValueError, MisfitError
from aefast.scoring.fleet_scorer import FleetScorer, fleet_of, is_fleet
from aefast.scoring.labels import with_label
from aefast.scoring.models import model_of
from aefast.scoring.passthrough import kept_schema
from aefast.scoring.scorer import Scorer
from aefast.scoring.steps import RESULT_NAMES
from aefast.tables.formats.base import TableError
from aefast.tables.numbers import may_be_numbers
from aefast.tables.source import Source, prefetch
from aefast.tables.text import option_of

#: Cells of a table that is scored together with others.
SMALL = 1 << 14


@dataclass(frozen=True)
class ScorePlan:
    """What a scoring job reads and writes. `plan_scoring` makes it; nothing changes it afterwards.

    Attributes
    ----------
    model : Model
    source : Source
        The rows. Every column already has the type in which it is read.
    features : tuple of str or None
        The columns that the model scores, in its order; None if the rows are an array without names.
    keep : tuple of str
        Input columns that are copied to the output.
    label : str or None
        The column that is 1 for known anomalies.
    left_out : dict
        Columns that are neither scored nor kept, and why.
    top_features, precision, flat, p_value_cutoff, on_bad
        As in `Scorer`.
    batch_rows : int or None
        None lets the source decide.
    scores_only : bool
        Write the anomaly scores alone, into a format that holds one column.
    fleet : ModelFleet or None
        One model for each group of rows. ``model`` then has what all of them share.
    """

    model: Model
    source: Source
    features: tuple[str, ...] | None
    keep: tuple[str, ...] = ()
    label: str | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    top_features: int = 0
    precision: str = "float32"
    flat: bool = False
    batch_rows: int | None = None
    scores_only: bool = False
    p_value_cutoff: float | None = None
    on_bad: str = "error"
    fleet: ModelFleet | None = None

    @cached_property
    def scorer(self) -> Scorer:
        """The `Scorer` of this plan."""
        options: dict[str, Any] = {
            "columns": self.features,
            "keep": self.keep,
            "top_features": self.top_features,
            "precision": self.precision,
            "p_value_cutoff": self.p_value_cutoff,
            "flat": self.flat,
            "on_bad": self.on_bad,
        }
        return Scorer(self.model, **options) if self.fleet is None else FleetScorer(self.fleet, **options)

    @property
    def by(self) -> tuple[str, ...]:
        """The columns that name a row's group; none if there is one model."""
        return () if self.fleet is None else self.fleet.by or ()

    def digest(self) -> str:
        """The digest of everything that scores and decisions follow from."""
        return self.model.digest() if self.fleet is None else self.fleet.digest()

    def output_schema(self, source: Source) -> pa.Schema:
        """The schema of the scored batches of ``source``: all rows, or one part of them."""
        return self.scorer.schema(kept_schema(source, self.keep))

    def written(self, schema: pa.Schema) -> pa.Schema:
        """The columns of an `output_schema` that are written."""
        return pa.schema([schema.field("anomaly_score")]) if self.scores_only else schema

    def batches(
        self, source: Source, clock: Clock, first_row: int = 0, *, unscored: bool = False, ahead: bool = True
    ) -> Generator[pa.RecordBatch, None, None]:
        """The columns that the plan needs of ``source``, read ahead by a thread unless ``ahead`` is False.

        ``unscored`` leaves out the features: the batches then cover the same rows, with the other columns only.
        """
        kept = list(dict.fromkeys([*with_label(self.keep, self.label), *self.by]))
        features = list(self.features or ())
        wanted = source.schema.names if self.features is None else list(dict.fromkeys([*features, *kept]))
        kinds = {column.name: column.kind for column in self.model.columns or ()}
        numbers = [name for name in features if kinds.get(name, "numeric") == "numeric"]
        batch_rows = self.batch_rows or source.batch_rows(len(wanted))
        batches = source.batches(kept if unscored else wanted, batch_rows, numbers, first_row=first_row)
        return prefetch(clock.timed(batches)) if ahead else clock.timed(batches)

    def is_one_batch(self, source: Source) -> bool:
        """Whether the rows of a source are known to be few."""
        return source.n_rows is not None and source.n_rows <= (self.batch_rows or source.batch_rows(self.n_columns))

    def is_small(self, source: Source) -> bool:
        """Whether reading a source takes longer than scoring its rows."""
        return self.is_one_batch(source) and (source.n_rows or 0) * self.n_columns <= SMALL

    @property
    def n_columns(self) -> int:
        """The number of columns that are read."""
        features = self.source.schema.names if self.features is None else self.features
        return len({*features, *with_label(self.keep, self.label)})


def plan_scoring(
    model: Any,
    source: Source,
    *,
    keep: Sequence[str] | None,
    label: str | None = None,
    keeps_times: bool = False,
    **options: Any,
) -> ScorePlan:
    """Check the columns of ``source`` against the model and the options, and decide what is read and written.

    Parameters
    ----------
    model : estimator, Model, or what else `Scorer` accepts
    source : Source
        Stays as it is. The source of the plan reads the same files, with the columns' types decided.
    keep : list of str or None
        None keeps every column that the model does not read, if all files have it and no result has its name.
    label : str, optional
    keeps_times : bool
        Read times in text files as times, even if they are only kept. Otherwise kept cells stay as they are written.
    **options
        Further attributes of `ScorePlan`.

    Raises
    ------
    TableError
        If a column is missing or does not hold what the model learned.
    """
    fleet = fleet_of(model) if is_fleet(model) else None
    model = model_of(model) if fleet is None else fleet.template
    options["fleet"] = fleet
    by = [] if fleet is None else list(fleet.by or ())
    if fleet is not None and label is not None:
        raise TableError("labels judge the scores of one model; scores of the groups of a fleet cannot be compared")
    if source.is_matrix:
        return _plan_matrix(model, source, keep, label, options)
    source.require(with_label(keep, label), "column")
    source.require(by, "columns that name groups:")
    features = _features(model, source, keep, label)
    source = _read_levels_as_text(model, source)
    _check_types(model, source, features)
    left_out = {}
    if keep is None:
        left_out = columns_left_out(source, features)
        keep = [name for name in source.schema.names if name not in {*features, *left_out}]
    unscored = [name for name in dict.fromkeys([*with_label(keep, label), *by]) if name not in features]
    source = source.keep_raw(unscored, except_times=keeps_times)
    plan = ScorePlan(model, source, tuple(features), tuple(keep), label, left_out, **options)
    with _naming(source):
        _ = plan.scorer  # raises what is wrong with the options
    return plan


def without_unfit(
    model: Any, source: Source, keep: Sequence[str] | None, label: str | None, failed: dict[str, str]
) -> Source:
    """Return the files that a model can score; ``failed`` gets the others and why. Raise `TableError` if all are."""
    model, good, known = model_of(model), [], None
    for file in source.files:
        if known is not None and not file.types_are_guessed and file.schema.equals(known):
            good.append(file)
            continue
        try:
            one = Source([file])
            if not one.is_matrix:
                one.require(with_label(keep, label), "column")
                features = _features(model, one, keep, label)
                _check_types(model, _read_levels_as_text(model, one), features)
            good.append(file)
            known = None if one.is_matrix else file.schema
        except TableError as error:
            failed[str(file.path)] = str(error)
    if not good:
        raise TableError(failed[str(source.files[0].path)])
    return source if len(good) == len(source.files) else Source(good)


def _plan_matrix(
    model: Model, source: Source, keep: Sequence[str] | None, label: str | None, options: dict[str, Any]
) -> ScorePlan:
    """The plan for rows of ``.npy`` files, whose columns have no names."""
    path = source.files[0].path
    if keep or label is not None:
        raise TableError(f"{path} has no named columns to keep or to take labels from")
    if options["fleet"] is not None:
        raise TableError(f"{path} has no named columns, but the fleet needs columns that name groups")
    if model.columns is not None:
        raise TableError(f"{path} has no named columns, but the model needs names: its columns are of several kinds")
    plan = ScorePlan(model, source, None, **options)
    with _naming(source):
        plan.scorer.columns(source.schema)
    return plan


def _features(model: Model, source: Source, keep: Sequence[str] | None, label: str | None) -> list[str]:
    """The columns that the model scores, in its order."""
    if model.feature_names is None:
        unread = {*(keep or ()), label}
        features = [name for name in source.schema.names if source.holds_numbers(name) and name not in unread]
        source.require(features, "columns of the first file:")
        return features
    features = list(model.feature_names)
    source.require(features, "columns the model was fitted on:")
    if label is not None and label in features:
        raise TableError(
            f"the model scores column {label!r}, so it cannot be the label; fit a model with "
            f"--exclude {option_of([label])}"
        )
    return features


def _read_levels_as_text(model: Model, source: Source) -> Source:
    """The source with the model's categorical columns read as text, if text files can be read so."""
    known = {column.name: column for column in model.columns or () if column.kind == "categorical"}
    for file in source.files:
        for name, column in known.items() if file.types_are_guessed else ():
            refusal = column.refusal(file.schema.field(name).type, guessed=True)
            if refusal:
                raise TableError(f"{file.path}: {refusal}")
    return source.read_as_text(known, {name: column.levels for name, column in known.items()})


def _check_types(model: Model, source: Source, features: Sequence[str]) -> None:
    """Raise `TableError` for a feature whose type the model cannot read."""
    is_mixed, known = model.columns is not None, None
    for file in source.files:
        if known is not None and not file.types_are_guessed and file.schema.equals(known):
            continue
        known = file.schema
        file.check_text(features)
        if file.types_are_guessed:
            continue  # a cell may be no number; the reader raises then, with the row
        for name in features:
            kind = file.schema.field(name).type
            if not (kind_of_type(kind) is not None if is_mixed else may_be_numbers(kind)):
                wanted = "numbers, categories or times" if is_mixed else "numbers"
                raise TableError(f"{file.path}: column {name!r} is {kind}; the model was fitted on {wanted} there")


def columns_left_out(source: Source, features: Sequence[str]) -> dict[str, str]:
    """The columns that are neither scored nor can be kept, and why."""
    present = [name for name in source.all_columns if name not in features]
    in_every = set(present).intersection(*(file.schema.names for file in source.files))
    why = {name: "not in every file" for name in present if name not in in_every}
    why |= {name: "the scores have a column of that name" for name in present if name in RESULT_NAMES}
    return why | dict.fromkeys(source.folder_columns, "in folder names")


@contextmanager
def _naming(source: Source) -> Iterator[None]:
    """Name the first file in errors about the columns of a table."""
    try:
        yield
    except TableError as error:
        raise TableError(f"{source.files[0].path}: {error}") from error


@contextmanager
def located(source: Source) -> Iterator[None]:
    """Name file and row in errors about a value."""
    try:
        yield
    except BadValueError as error:
        raise AefastError(error.describe(source.place(error.row), for_command=True)) from error
    except MisfitError as error:
        raise AefastError(error.describe(source.place(error.row))) from error
