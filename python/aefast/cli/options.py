"""Reads the values of options, and refuses wrong usage before any row is read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aefast.cli.arguments import choices
from aefast.cli.errors import UsageError, describe_error
from aefast.model.variants import KINDS, VARIANTS

if TYPE_CHECKING:
    from aefast.tables.dialect import Reading
    from aefast.tables.source import Source


Kind: Any = choices("Kind", KINDS)
MOST_UNITS = 1 << 24  # of a layer; more is a typing error
# One name of an option to which a comma was appended: the part in quotes, if any, and what follows up to the comma.
_NAME = re.compile(r'\s*("(?:[^"]|"")*")?([^,]*),')


def names_in(options: Sequence[str] | None) -> list[str] | None:
    """The comma-separated names of an option that may be repeated; None if it was not given.

    As in CSV, a name in double quotes may hold commas and blanks. An empty option is the empty name, as ``""`` is.
    """
    if options is None:
        return None
    names = []
    for option in options:
        for quoted, rest in _NAME.findall(option + ","):
            name = quoted[1:-1].replace('""', '"') + rest.rstrip() if quoted else rest.strip()
            if name or quoted or not option:
                names.append(name)
    return list(dict.fromkeys(names))


def kept_in(options: Sequence[str] | None, source: Source) -> list[str] | None:
    """The names of ``--keep``. An empty option keeps no column, unless there is a column with the empty name."""
    names = names_in(options)
    return [] if names == [""] and "" not in source.all_columns else names


def kinds_of(options: Sequence[str] | None) -> dict[str, str]:
    """The kinds of columns that ``--kind-of`` sets."""
    from aefast.columns.column import KINDS

    kinds = {}
    for option in names_in(options) or []:
        name, equals, kind = option.rpartition("=")
        if not equals or kind not in KINDS:
            raise UsageError(f"--kind-of must be COLUMN=KIND with a kind of {', '.join(KINDS)}, got {option!r}")
        kinds[name] = kind
    return kinds


def layers_in(option: str) -> tuple[int, ...]:
    """The widths of ``--layers``."""
    try:
        widths = tuple(int(width) for width in option.split(","))
    except ValueError:
        raise UsageError(f"--layers must be whole numbers with commas, like 64,32, got {option!r}") from None
    if min(widths) < 1:
        raise UsageError(f"--layers must be at least 1 each, got {option!r}")
    if max(widths) > MOST_UNITS:
        raise UsageError(f"--layers must be at most {MOST_UNITS:,} each, got {option!r}")
    return widths


def as_usage(call: Callable[[], Any]) -> Any:
    """``call()``; its errors become errors of usage."""
    try:
        return call()
    except OSError as error:
        raise UsageError(describe_error(error)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error


def check_apart(outputs: Iterable[Path], others: Mapping[str, Iterable[Path]]) -> None:
    """Refuse to write over a file that the command reads or writes otherwise; ``others`` has these by their role."""
    folders: dict[Path, str] = {}

    def place(path: Path) -> str:
        if path.parent not in folders:
            folders[path.parent] = os.path.realpath(path.parent)
        found = os.path.join(folders[path.parent], path.name)
        return os.path.realpath(found) if os.path.islink(found) or path.name == ".." else found

    written = {place(output): output for output in outputs}
    for role, paths in others.items():
        for path in paths:
            if output := written.get(place(path)):
                raise UsageError(f"{output} is also the {role}; name another file to write to")


def source_of(
    data: Sequence[str | Path], reading: Reading, model: Any = None, failed: dict[str, str] | None = None
) -> Source:
    """The tables that DATA names; ``model`` knows the dialect of the text files that it was fitted on.

    ``failed`` gets the files that cannot be opened, which are then left out. Paths are files that are known to exist.
    """
    from aefast.tables.formats.registry import format_of, open_table
    from aefast.tables.paths import find_files
    from aefast.tables.source import Source
    from aefast.tables.unpacked import unpacked

    def is_packed(name: str) -> bool:
        return name == "-" or (name.lower().endswith(".zip") and Path(name).is_file())

    files = [path for path in data if isinstance(path, Path)]
    if len(files) < len(data):
        names = [str(unpacked(Path(name))) if is_packed(str(name)) else str(name) for name in data]
        files = as_usage(lambda: find_files(names))
    for path in files:
        if format_of(path) is None:
            as_usage(partial(open_table, path, reading))
    if model is not None:
        model = getattr(model, "template", getattr(model, "model_", model))
        columns = tuple(model.feature_names or ())
        kinds = dict.fromkeys(columns, "numeric") | {column.name: column.kind for column in model.columns or ()}
        meanings = model.dialect.formats if model.dialect else {}
        reading = replace(reading, learned=model.dialect, columns=columns, kinds=kinds, meanings=meanings)
    return Source(files, reading, failed)


def check_columns(source: Source, keep: Sequence[str] | None, label: str | None) -> None:
    """Refuse columns of ``--keep`` and ``--label`` that the tables lack."""
    from aefast.scoring.labels import with_label

    wanted = with_label(keep, label)
    if wanted and source.is_matrix:
        raise UsageError(f"{source.title} has no named columns; leave --keep and --label out")
    as_usage(lambda: source.require(wanted, "column"))


def load_model(path: Path, threads: int | None, *, to_score: bool = False, takes_fleets: bool = False) -> Any:
    """The model in a file, or the fleet. ``to_score`` loads it without scikit-learn, for scoring only."""
    from aefast.model.fleet_file import is_fleet
    from aefast.model.model import Model
    from aefast.scoring.fleet_scorer import load_fleet

    if not path.exists():
        raise UsageError(f"there is no model file {path}; make one with aefast fit")
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a model file")
    if is_fleet(path):
        if not takes_fleets:
            raise UsageError(f"{path} is a fleet, one model for each group; this command takes one model, not a fleet")
        return load_fleet(path, threads)
    if to_score:
        model = Model.load(path)
        return model if threads is None else model.replace(n_threads=threads)
    from aefast.estimators.load import load

    estimator = load(path)
    return estimator if threads is None else estimator.set_params(n_threads=threads)


def new_estimator(kind: str, **parameters: Any) -> Any:
    """The estimator of a ``--kind``. Parameters that are None keep their defaults."""
    name = KINDS[kind]
    estimator = getattr(import_module(f"aefast.estimators.{VARIANTS[name].module}"), name)
    return estimator(**{key: value for key, value in parameters.items() if value is not None})


def image_shape(text: str, model: Any) -> tuple[int, ...]:
    """The shape that ``--image`` gives: height, width and perhaps channels, with as many values as the model."""
    try:
        shape = tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        shape = ()
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise UsageError(f"--image must be HEIGHTxWIDTH, like 8x8, got {text!r}")
    if model.columns_ is not None:
        raise UsageError("--image needs a model of pixels, but the columns of this model are of several kinds")
    if prod(shape) != model.n_features_in_:
        raise UsageError(f"--image {text} has {prod(shape)} pixels, the model has {model.n_features_in_} features")
    return shape
