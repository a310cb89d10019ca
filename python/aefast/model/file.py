"""The model file: a model as one JSON document and tensors (see `aefast.model.container`), data only.

The document names class, parameters, network and columns. Everything that a reader makes of it comes from closed lists,
and nothing in a file is ever run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import KINDS, MAX_COUNTED, MAX_LEVELS, NO_LEVELS, Column, RareLevels
from aefast.columns.times import checked_zone
from aefast.engine import core
from aefast.engine.threads import MOST_THREADS
from aefast.model.calibration import Calibration
from aefast.model.container import Source, pack, unpack, valid
from aefast.model.data import ModelData
from aefast.model.distances import Distances, checked_distances
from aefast.model.evidence import Evidence
from aefast.model.gaps import Gaps, checked_gaps
from aefast.model.layer import integer, number
from aefast.model.layers import LAYERS, Dense
from aefast.model.metrics import COMPARING, DTYPES, LOSSES, MISSING, checked_metric
from aefast.model.network import checked_network, code_size, with_columns
from aefast.model.parameters import join_parameters, n_biases, weight_shapes
from aefast.model.reference import BINS, MEASURES, ColumnCounts, Reference
from aefast.model.scaling import SCALERS, FeatureScaling
from aefast.model.variants import VARIANTS, known_class
from aefast.model.whitening import Whitening
from aefast.tables.dialect import Dialect
from aefast.tables.files import MISFITS

if TYPE_CHECKING:
    from aefast.engine.core import LayerSpec

Array = NDArray[Any]
Document = dict[str, Any]
Tensors = dict[str, Array]

FORMAT_VERSION = 1


@contextmanager
def opened(source: Source) -> Iterator[tuple[Document, Tensors]]:
    """Give document and tensors of a model file to a ``with`` block, which makes the model of them.

    Raises
    ------
    ModelFileError
        If the file is truncated, altered, of a newer format, or not a model, or if the block finds a value that is not
        valid; the message says which.
    OSError
        If there is no such file, or it cannot be read.
    """
    document, tensors, name = unpack(source, "model", FORMAT_VERSION)
    with valid(name, "model"):
        yield document, tensors


def content_of(document: Document, tensors: Tensors, restore: Callable[[Document, Tensors], object]) -> bytes:
    """Return the content of a model file; raise ValueError for what ``restore`` would refuse."""
    content = packed(document, tensors)
    try:
        restore(json.loads(json.dumps(document)), dict(tensors))
    except MISFITS as error:
        raise ValueError(f"cannot save what could not be loaded again: {error}") from error
    return content


def packed(document: Document, tensors: Tensors) -> bytes:
    """Return the content of a model file without trying to load it."""
    return pack("model", FORMAT_VERSION, document, tensors)


# From a model to data.


def describe(model: ModelData) -> tuple[Document, Tensors]:
    """Return document and tensors of a `Model`; ValueError if its class has no file format."""
    if model.kind not in VARIANTS:
        raise ValueError(f"cannot save a {model.kind}: only {', '.join(VARIANTS)} have a file format")
    document = {"class": model.kind, "library_version": core.__version__, "parameters": dict(model.parameters)}
    fit, tensors = _describe_fit(model)
    if model.reference is not None:
        counts, worst = _shortened(model.reference.counts.packed()), model.reference.worst
        fit["reference"] = {"rows": model.reference.counts.n_rows, "distance": float(model.reference.distance)}
        tensors |= {"reference.edges": model.reference.edges, "reference.counts": counts}
        tensors["reference.worst"] = worst.astype(np.float32)
    return document | fit, tensors


def digest(model: ModelData) -> str:
    """Return a SHA-256 digest of everything that a model's scores and decisions follow from."""
    document, tensors = _describe_fit(model)
    document = {**document, "dtype": model.dtype, "missing": model.missing}
    return hashlib.sha256(pack("model", FORMAT_VERSION, document, tensors)).hexdigest()


def _describe_fit(model: ModelData) -> tuple[Document, Tensors]:
    fit = {
        # What follows from the columns is not written twice.
        "network": {**{key: part for key, part in model.network.items() if key != "columns"}, "groups": []},
        "columns": None if model.columns is None else [_plain(column) for column in model.columns],
        "feature_names": None if model.feature_names is None else list(model.feature_names),
        "scaler": model.scaling.kind,
        "loss": model.loss,
        "score_metric": model.score_metric,
        "offset": float(model.offset),
        "best_loss": float(model.best_loss),
        **({} if model.best_epoch is None else {"best_epoch": model.best_epoch}),
        **({} if model.dialect is None else {"dialect": model.dialect.as_plain()}),
    }
    tensors = {
        "scaler.shift": model.scaling.shift,
        "scaler.scale": model.scaling.scale,
        # Doubles are exact for counts up to 2^53.
        "calibration.counts": _shortened(model.calibration.counts),
        "columns.mean": model.scaling.means,
        "curves.loss": np.asarray(model.loss_curve, dtype=np.float64),
        "curves.validation": np.asarray(model.validation_curve, dtype=np.float64),
    }
    for index, column in enumerate(model.columns or ()):
        if len(column.rare.hashes):
            # Doubles are exact for these integers.
            tensors[f"rare.{index}"] = np.stack([column.rare.hashes, column.rare.counts]).astype(np.float64)
    if model.whitening is not None:
        tensors |= {f"whitening.{name}": array for name, array in model.whitening._asdict().items()}
    if model.distances is not None:
        tensors |= {f"distances.{name}": _shortened(array) for name, array in model.distances._asdict().items()}
    if model.gaps is not None:
        tensors |= {f"gaps.{name}": array for name, array in model.gaps._asdict().items()}
    if model.evidence is not None:
        tensors |= model.evidence.tensors()
    tensors["calibration.errors"] = model.calibration.errors
    for index, ranges in enumerate(model.input_ranges or ()):
        tensors[f"ranges.{index}"] = ranges
    n_coefs, n_intercepts, n_norms = len(model.coefs), len(model.intercepts), len(model.norms)
    if not n_coefs == n_intercepts == n_norms:
        raise ValueError(
            f"there are {n_coefs} coefs_, {n_intercepts} intercepts_ and {n_norms} norms_, but each layer has one"
        )
    for index, (weights, biases) in enumerate(zip(model.coefs, model.intercepts, strict=True)):
        tensors[f"coefs.{index}"] = np.ascontiguousarray(weights, dtype=model.dtype)
        tensors[f"intercepts.{index}"] = np.ascontiguousarray(biases, dtype=model.dtype)
        if model.norms[index] is not None:
            tensors[f"norms.{index}"] = np.ascontiguousarray(model.norms[index], dtype=model.dtype)
    return fit, tensors


def _shortened(array: Array) -> Array:
    """Return an array as float32 if that is exact, else as float64."""
    with np.errstate(over="ignore"):
        short = array.astype(np.float32)
    return short if (short == array).all() else array.astype(np.float64)


def _plain(column: Column) -> Document:
    plain = {"name": column.name, "kind": column.kind, "levels": column.levels, "counts": column.counts}
    unknown = [part for part in ("week", "day") if not getattr(column, f"knows_{part}")]
    zone = {} if column.zone is None else {"zone": column.zone}
    return {**plain, **({"unknown": unknown} if unknown else {}), **zone}


# From data to a model.


def model_fields(document: Document, tensors: Tensors) -> dict[str, Any]:
    """Return the attributes of a `Model`, each checked.

    Raises
    ------
    ValueError, TypeError, KeyError, ...
        If a value is missing, not valid, or does not fit the others (see `MISFITS`).
    """
    kind, parameters = known_class(document["class"]), dict(document["parameters"])
    dtype, missing = parameters.get("dtype", "float32"), parameters.get("missing", "error")
    if dtype not in DTYPES or missing not in MISSING:
        raise ValueError(f"dtype={dtype!r} or missing={missing!r} is unknown")
    n_threads = parameters.get("n_threads")
    if n_threads is not None:
        integer(n_threads, 1, MOST_THREADS)
    # Files of earlier versions have the loss among the parameters alone.
    loss = document.get("loss", parameters.get("loss", "mse"))
    if loss not in LOSSES:
        raise ValueError(f"loss {loss!r} is unknown")
    network = checked_network(document["network"])
    n_features, weighted = network["n_features"], weight_shapes(network)
    columns = _columns(document["columns"], n_features, tensors)
    network = with_columns(network, columns, loss)
    coefs = [tensors.pop(f"coefs.{index}") for index in range(len(weighted))]
    intercepts = [tensors.pop(f"intercepts.{index}") for index in range(len(weighted))]
    norms = [_norm(tensors, index, layer, dtype) for index, (layer, _) in enumerate(weighted)]
    join_parameters(network, coefs, intercepts, dtype, norms)
    whitening = _whitening(tensors, n_features, n_features + code_size(network))
    distances = _distances(tensors, n_features, code_size(network))
    evidence = None if columns is None else Evidence.from_tensors(tensors, columns)
    calibrated = distances if columns is None else evidence
    has = [name for name, each in zip(COMPARING, (whitening, calibrated), strict=True) if each is not None]
    checked_metric(None, document["score_metric"], network, has=has)
    fields = {
        "kind": kind,
        "network": network,
        "coefs": tuple(coefs),
        "intercepts": tuple(intercepts),
        "norms": tuple(norms),
        "scaling": _scaling(document["scaler"], tensors, n_features),
        "columns": columns,
        "feature_names": _feature_names(document["feature_names"], columns, n_features),
        "loss": loss,
        "score_metric": document["score_metric"],
        "dtype": dtype,
        "missing": missing,
        "n_threads": n_threads,
        "whitening": whitening,
        "reference": _reference(document.get("reference"), tensors, n_features if columns is None else len(columns)),
        "distances": distances,
        "gaps": _gaps(tensors, distances),
        "evidence": evidence,
        "input_ranges": _input_ranges(tensors, coefs, [layer for layer, _ in weighted]),
        "calibration": _calibration(tensors),
        "offset": number(document["offset"]),
        "loss_curve": tuple(_finite(tensors, "curves.loss", None).tolist()),
        "validation_curve": tuple(_finite(tensors, "curves.validation", None).tolist()),
        "best_loss": number(document["best_loss"]),
        "best_epoch": integer(document["best_epoch"], 0, 1 << 62) if "best_epoch" in document else None,
        "parameters": parameters,
        "dialect": Dialect.from_plain(document["dialect"]) if "dialect" in document else None,
    }
    if tensors:
        raise ValueError(f"tensor {min(tensors)!r} is unknown")
    return fields


def _norm(tensors: Tensors, index: int, layer: LayerSpec, dtype: str) -> Array | None:
    if not layer["batch_norm"]:
        return None
    norm = _finite(tensors, f"norms.{index}", (4, n_biases(layer))).astype(dtype)
    if (norm[3] < 0).any():
        raise ValueError("a running variance is below zero")
    return norm


def _feature_names(names: Any, columns: tuple[Column, ...] | None, n_features: int) -> tuple[str, ...] | None:
    if names is None:
        return None
    n_columns = n_features if columns is None else len(columns)
    if not isinstance(names, list) or len(names) != n_columns or not all(isinstance(name, str) for name in names):
        raise ValueError(f"feature_names must be {n_columns} names")
    if columns is not None and names != [column.name for column in columns]:
        raise ValueError("feature_names must be the names of the columns")
    return tuple(names)


def _scaling(kind: Any, tensors: Tensors, n_features: int) -> FeatureScaling:
    shift, scale, means = (
        _finite(tensors, name, (n_features,)) for name in ("scaler.shift", "scaler.scale", "columns.mean")
    )
    if not (scale > 0).all():
        raise ValueError("scaler.scale must be above zero")
    if kind is not None and kind not in SCALERS:
        raise ValueError(f"scaler {kind!r} is unknown")
    return FeatureScaling(kind, shift, scale, means)


def _whitening(tensors: Tensors, n_features: int, n_joint: int) -> Whitening | None:
    if "whitening.matrix" not in tensors:
        return None
    shapes = {"centre": (n_joint,), "matrix": (n_joint, n_joint), "usual": (n_features,), "deviation": (n_features,)}
    whitening = Whitening(**{name: _finite(tensors, f"whitening.{name}", shape) for name, shape in shapes.items()})
    if not (whitening.deviation > 0).all():
        raise ValueError("whitening.deviation must be above zero")
    return whitening


def _reference(described: Any, tensors: Tensors, n_columns: int) -> Reference | None:
    if described is None:
        return None
    edges = _finite(tensors, "reference.edges", (n_columns, BINS - 1))
    counts = _finite(tensors, "reference.counts", (n_columns, 3 + BINS))
    worst, distance = _finite(tensors, "reference.worst", (n_columns, len(MEASURES))), number(described["distance"])
    if (np.diff(edges) < 0).any() or (worst < 0).any() or not 0 <= distance <= 1:
        raise ValueError("reference.edges must ascend, and reference.worst must not be negative")
    n_rows = integer(described["rows"], 1, 1 << 53)
    return Reference(edges, ColumnCounts.unpacked(n_rows, counts), worst, distance)


def _distances(tensors: Tensors, n_features: int, n_codes: int) -> Distances | None:
    if "distances.matrix" not in tensors:
        return None
    arrays: dict[str, Any]
    # The guard of the first models of this score was less steep.
    tensors.setdefault("distances.slope", np.array([2.0]))
    arrays = {name: tensors.pop(f"distances.{name}").astype(np.float64) for name in Distances._fields}
    elements = arrays["elements"]
    if (elements != np.floor(elements)).any() or (np.abs(elements) > n_features).any():
        raise ValueError("distances.elements must be numbers of inputs")
    return checked_distances(Distances(**{**arrays, "elements": elements.astype(np.int64)}), n_features, n_codes)


def _gaps(tensors: Tensors, distances: Distances | None) -> Gaps | None:
    if "gaps.mean" not in tensors or distances is None:
        return None
    arrays = {name: tensors.pop(f"gaps.{name}").astype(np.float64) for name in Gaps._fields}
    return checked_gaps(Gaps(**arrays), len(distances.elements))


def _input_ranges(tensors: Tensors, coefs: list[Array], layers: list[LayerSpec]) -> tuple[Array, ...] | None:
    if "ranges.0" not in tensors:
        return None
    n_inputs = [len(weights) for weights, layer in zip(coefs, layers, strict=True) if LAYERS[layer["kind"]] is Dense]
    ranges = [_finite(tensors, f"ranges.{index}", (2, n)) for index, n in enumerate(n_inputs)]
    return tuple(pair.astype(np.float32) for pair in ranges)


def _columns(described: Any, n_features: int, tensors: Tensors) -> tuple[Column, ...] | None:
    if described is None:
        return None
    columns = []
    for index, each in enumerate(described):
        name, kind, levels, counts = each["name"], each["kind"], each["levels"], each["counts"]
        is_sound = isinstance(name, str) and kind in KINDS and len(levels) <= MAX_LEVELS
        is_sound = is_sound and all(level is None or isinstance(level, str) for level in levels)
        if not is_sound or len(set(levels)) != len(levels) or (levels and kind != "categorical"):
            raise ValueError(f"column {name!r} is not of a kind, or its levels are not")
        if len(counts) != (len(levels) + 1 if kind == "categorical" else 0):
            raise ValueError(f"column {name!r} has not a count for each level")
        counts = tuple(integer(count, 0, 1 << 62) for count in counts)
        unknown = each.get("unknown", [])
        if not isinstance(unknown, list) or not set(unknown) <= {"week", "day"} or (unknown and kind != "timestamp"):
            raise ValueError(f"column {name!r} has parts of times that are unknown: {unknown!r}")
        rare = _rare(tensors, index, kind)
        week, day = "week" not in unknown, "day" not in unknown
        zone = checked_zone(each.get("zone"))
        columns.append(Column(name, kind, tuple(levels), counts, week, day, rare, zone))
    if sum(column.width for column in columns) != n_features:
        raise ValueError(f"the columns do not make {n_features} features")
    return tuple(columns)


def _rare(tensors: Tensors, index: int, kind: str) -> RareLevels:
    """Take the rare levels of a column out, if it has any."""
    name = f"rare.{index}"
    if name not in tensors:
        return NO_LEVELS
    hashes, counts = _finite(tensors, name, (2, tensors[name].shape[-1]))
    is_sound = kind == "categorical" and (hashes == np.floor(hashes)).all() and (counts == np.floor(counts)).all()
    if not is_sound or not 0 < len(hashes) <= MAX_COUNTED or (np.diff(hashes) <= 0).any() or (counts < 1).any():
        raise ValueError(f"tensor {name!r} does not hold rare levels")
    if not 0 <= hashes[0] <= hashes[-1] < 2**32 or counts.sum() >= 2**53:
        raise ValueError(f"tensor {name!r} does not hold rare levels")
    return RareLevels(hashes.astype(np.uint32), counts.astype(np.int64))


def _calibration(tensors: dict[str, Array]) -> Calibration:
    dtype = tensors["calibration.errors"].dtype
    errors = _finite(tensors, "calibration.errors", None)
    counts = _finite(tensors, "calibration.counts", errors.shape)
    if len(errors) == 0 or (np.diff(errors) <= 0).any():
        raise ValueError("calibration.errors must be in ascending order, and at least one")
    if (counts != np.floor(counts)).any() or (np.diff(counts) >= 0).any() or not 0 < counts[-1] <= counts[0] < 2**53:
        raise ValueError("calibration.counts must be whole numbers above zero in descending order")
    return Calibration(errors.astype(dtype), counts.astype(np.int64))


def _finite(tensors: dict[str, Array], key: str, shape: tuple[int, ...] | None) -> NDArray[np.float64]:
    """Take a tensor out as float64 and check its values and its shape; None is one dimension of any length."""
    tensor = tensors.pop(key).astype(np.float64)
    if (tensor.ndim != 1 if shape is None else tensor.shape != shape) or not np.isfinite(tensor).all():
        raise ValueError(f"tensor {key!r} has a wrong shape or holds NaN or infinity")
    return tensor
