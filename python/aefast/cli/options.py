"""What the options of a command say, checked as far as can be without reading rows: wrong usage is told here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aefast.cli.group import UsageError, told

if TYPE_CHECKING:
    from aefast.tables.source import Source

__all__ = [
    "KINDS",
    "as_usage",
    "check_apart",
    "check_columns",
    "check_contamination",
    "image_shape",
    "kept_in",
    "kinds_of",
    "load_model",
    "names_in",
    "new_estimator",
    "source_of",
]


#: What ``--kind`` can name, and the estimator each is.
KINDS = {
    "plain": "Autoencoder",
    "denoising": "DenoisingAutoencoder",
    "sparse": "SparseAutoencoder",
    "contractive": "ContractiveAutoencoder",
    "variational": "VariationalAutoencoder",
}
MOST_UNITS = 1 << 24  # of a layer: more is a slip of the finger
# Of an option with a comma at its end: what stands in quotes, if anything does, and what follows up to the next comma.
_NAME = re.compile(r'\s*("(?:[^"]|"")*")?([^,]*),')


def names_in(options: Sequence[str] | None) -> list[str] | None:
    """Comma-separated names of an option that may also be repeated; None where it was not given. As in CSV, a name in
    double quotes stands as it is, with its commas and blanks; so does the name without letters, also as an option that
    is empty."""
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
    """The names of ``--keep``; where no column is without a name, an empty option keeps none."""
    names = names_in(options)
    return [] if names == [""] and "" not in source.all_columns else names


def kinds_of(options: Sequence[str] | None) -> dict[str, str]:
    """What ``--kind-of`` says of columns."""
    from aefast.columns.column import KINDS

    kinds = {}
    for option in names_in(options) or []:
        name, equals, kind = option.rpartition("=")
        if not equals or kind not in KINDS:
            raise UsageError(f"--kind-of must be COLUMN=KIND with a kind of {', '.join(KINDS)}, got {option!r}")
        kinds[name] = kind
    return kinds


def as_usage(call: Callable[[], Any]) -> Any:
    """``call()``, whose complaints are about the command as typed."""
    try:
        return call()
    except OSError as error:
        raise UsageError(told(error)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error


def check_apart(outputs: Iterable[Path], others: Mapping[str, Iterable[Path]]) -> None:
    """Refuse to write over what a command reads, or writes elsewhere: ``others``, by what each is to it."""
    for what, paths in others.items():
        taken = {path.resolve() for path in paths}
        for output in outputs:
            if output.resolve() in taken:
                raise UsageError(f"{output} is also the {what}; name another file to write to")


def source_of(data: Sequence[str]) -> Source:
    """The tables that DATA names."""
    from aefast.tables.formats.registry import format_of, open_table
    from aefast.tables.paths import find_files
    from aefast.tables.source import Source

    files = as_usage(lambda: find_files(data))
    for path in files:
        if format_of(path) is None:
            as_usage(lambda path=path: open_table(path))  # type: ignore[misc]
    return Source(files)


def check_columns(source: Source, keep: Sequence[str] | None, label: str | None) -> None:
    """Refuse columns of ``--keep`` and ``--label`` that the tables lack."""
    from aefast.scoring.labels import with_label

    wanted = with_label(keep, label)
    if wanted and source.is_matrix:
        raise UsageError(f"{source.title} has no named columns; leave --keep and --label out")
    as_usage(lambda: source.require(wanted, "column"))


def load_model(path: Path, threads: int | None, *, to_score: bool = False) -> Any:
    """The model in a file; without scikit-learn, where it is only ``to_score``."""
    from aefast.model.file import load, load_to_score

    if not path.exists():
        raise UsageError(f"there is no model file {path}; aefast fit makes one")
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a model file")
    estimator = load_to_score(path) if to_score else load(path)
    if threads is not None:
        estimator.n_threads = threads
    return estimator


def new_estimator(
    kind: str,
    layers: str | None,
    epochs: int | None,
    contamination: float | None,
    missing: str,
    seed: int,
    threads: int | None,
) -> Any:
    """What ``fit`` is to train."""
    import aefast

    if kind not in KINDS:
        raise UsageError(f"--kind {kind} is not known; these are: {', '.join(KINDS)}")
    if missing not in ("error", "mask", "mean"):
        raise UsageError(f"--missing must be error, mask or mean, got {missing!r}")
    given: dict[str, Any] = {"random_state": seed, "n_threads": threads, "missing": missing}
    if layers is not None:
        try:
            widths = tuple(int(w) for w in layers.split(","))
        except ValueError:
            raise UsageError(f"--layers must be whole numbers with commas, like 64,32, got {layers!r}") from None
        if min(widths) < 1:
            raise UsageError(f"--layers must be at least 1 each, got {layers!r}")
        if max(widths) > MOST_UNITS:
            raise UsageError(f"--layers must be at most {MOST_UNITS:,} each, got {layers!r}")
        given["encoder_layer_sizes"] = widths
    if epochs is not None:
        given["max_epochs"] = epochs
    check_contamination(contamination)
    if contamination is not None:
        given["contamination"] = contamination
    return getattr(aefast, KINDS[kind])(**given)


def check_contamination(contamination: float | None) -> None:
    """Refuse what is no share of rows to call anomalies."""
    if contamination is not None and not 0 < contamination <= 0.5:
        raise UsageError(f"--contamination must be above 0 and at most 0.5, got {contamination:g}")


def image_shape(text: str, model: Any) -> tuple[int, ...]:
    """What ``--image`` says: height, width and perhaps channels, as many values as ``model`` has features."""
    try:
        shape = tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        shape = ()
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise UsageError(f"--image must be HEIGHTxWIDTH, like 8x8, got {text!r}")
    if model.columns_ is not None:
        raise UsageError(
            "--image needs a model of pixels, and the columns of this one are of several kinds; leave it out"
        )
    if prod(shape) != model.n_features_in_:
        raise UsageError(f"--image {text} has {prod(shape)} pixels, the model has {model.n_features_in_} features")
    return shape
