"""One file a model: safetensors with JSON metadata, data only, written whole and read with suspicion.

The document (see `aefast.model.container`) is the model: class, parameters, network, names. What a reader makes of it
comes from closed lists; nothing in a file is ever run. It becomes an estimator or, for scoring alone, a `ScoringModel`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aefast.columns.column import KINDS, MAX_LEVELS, Column, with_columns
from aefast.engine import core
from aefast.engine.threads import MOST_THREADS
from aefast.exceptions import ModelFileError
from aefast.model.calibration import Calibration
from aefast.model.container import pack, unpack
from aefast.model.model import LOSSES, MISSING, FittedNetwork
from aefast.model.network import join_parameters, level_weight, weight_shapes
from aefast.model.network_checks import checked_network, integer, number
from aefast.model.scaling import SCALERS
from aefast.model.whitening import Whitening
from aefast.tables.files import MISFITS, atomic_path, naming
from aefast.training.optimizers import OPTIMIZERS
from aefast.training.schedules import SCHEDULES

if TYPE_CHECKING:
    from aefast.estimators.base import BaseAutoencoder

Array = NDArray[Any]

FORMAT_VERSION = 1
#: Classes that a file may name.
CLASSES = (
    "Autoencoder",
    "DenoisingAutoencoder",
    "SparseAutoencoder",
    "ContractiveAutoencoder",
    "VariationalAutoencoder",
    "ConvolutionalAutoencoder",
    "ConvolutionalDenoisingAutoencoder",
    "ConvolutionalVariationalAutoencoder",
)
#: Parameters that a file may have.
PARAMETERS = frozenset({
    "activation", "activity_l1", "activity_l2", "alpha", "batch_norm", "batch_size", "beta", "callbacks",
    "channels", "clip_norm", "code_activation", "code_size", "column_kinds", "contamination", "contraction",
    "decoder_layer_sizes", "drop_last", "dropout", "dtype", "early_stopping", "encoder_layer_sizes",
    "error_threshold", "image_shape", "k", "kernel_size", "l1", "l2", "learning_rate", "loss", "max_epochs",
    "missing", "n_epochs_no_change", "n_threads", "noise", "noise_level", "optimizer", "output_activation",
    "padding", "pool", "random_state", "scaler", "score_metric", "shuffle", "sparsity", "sparsity_target",
    "sparsity_weight", "tied_weights", "tol", "upsampling", "validation_fraction", "verbose", "warm_start",
    "weight_init",
})  # fmt: skip
#: Objects that may stand among the parameters.
OBJECTS: dict[str, type[Any]] = {kind.__name__: kind for kind in (*OPTIMIZERS.values(), *SCHEDULES)}


def save(estimator: BaseAutoencoder, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to ``path``, whole or not at all.

    Callbacks are no part of a model and are left out, and so is the state of a ``numpy.random.RandomState``: a loaded
    estimator has the defaults there. The file is written beside its place, flushed to the disk and renamed.

    Raises
    ------
    ValueError
        If a parameter is no data, or has been set to what it may not be, naming it.
    OSError
        If the file cannot be written.
    """
    content = to_bytes(estimator)
    with atomic_path(path) as part, naming(path):
        part.write_bytes(content)


def load(source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> BaseAutoencoder:
    """A fitted estimator from a model file.

    Safe with files from anywhere: sizes are checked before anything is allocated, nothing in the file is run, and
    memory stays in proportion to the file.

    Parameters
    ----------
    source : str, path-like or bytes
        The file, or what is in it.

    Returns
    -------
    estimator
        Of the class that was saved, with its parameters and fitted attributes.

    Raises
    ------
    ModelFileError
        If the file is truncated, altered, of a newer format, or not a model; the message says which.
    OSError
        If there is no such file, or it cannot be read.

    Examples
    --------
    >>> import tempfile, os
    >>> import numpy as np
    >>> import aefast
    >>> X = np.random.default_rng(0).normal(size=(200, 9))
    >>> model = aefast.Autoencoder((4,), max_epochs=2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.safetensors")
    ...     model.save(path)
    ...     again = aefast.load(path)
    >>> bool((again.score_samples(X) == model.score_samples(X)).all())
    True
    """
    model, tensors, name = unpack(source, "model", FORMAT_VERSION)
    try:
        return _restored(model, tensors)
    except MISFITS as error:
        raise ModelFileError(f"{name} is not a valid model: {type(error).__name__}: {error}") from error


def load_to_score(source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> ScoringModel:
    """The model in a file, for scoring alone; errors as of `load`.

    What the estimator would be trained with is not looked at.
    """
    model, tensors, name = unpack(source, "model", FORMAT_VERSION)
    try:
        scoring = ScoringModel(_known_class(model), _known_parameters(model, PARAMETERS))
        _restore_fit(scoring, scoring.loss, model, tensors)
    except MISFITS as error:
        raise ModelFileError(f"{name} is not a valid model: {type(error).__name__}: {error}") from error
    return scoring


class ScoringModel(FittedNetwork):
    """A model from a file as far as scores go, which takes no scikit-learn. Its scores are those of the estimator."""

    def __init__(self, kind: str, parameters: dict[str, Any]) -> None:
        self.kind, self.loss = kind, parameters.get("loss", "mse")
        self.dtype, self.missing = parameters.get("dtype", "float32"), parameters.get("missing", "error")
        self.n_threads = parameters.get("n_threads")
        if self.dtype not in ("float32", "float64") or self.missing not in MISSING:
            raise ValueError(f"dtype={self.dtype!r} or missing={self.missing!r} is unknown")


def digest(model: FittedNetwork) -> str:
    """Of all that scores and decisions follow from."""
    document, tensors = _describe_fit(model)
    document = {**document, "dtype": model.dtype, "missing": model.missing}
    return hashlib.sha256(pack("model", FORMAT_VERSION, document, tensors)).hexdigest()


def to_bytes(estimator: BaseAutoencoder) -> bytes:
    """What the file of a fitted estimator has in it; ValueError for what `load` would refuse."""
    model, tensors = _describe(estimator)
    content = pack("model", FORMAT_VERSION, model, tensors)
    try:
        _restored(json.loads(json.dumps(model)), dict(tensors))
    except MISFITS as error:
        raise ValueError(f"cannot save what could not be loaded again: {error}") from error
    return content


# From estimator to data.


def _describe(estimator: BaseAutoencoder) -> tuple[dict[str, Any], dict[str, Array]]:
    kind = type(estimator).__name__
    if kind not in CLASSES:
        raise ValueError(f"cannot save a {kind}: only {', '.join(CLASSES)} have a file format")
    model = {
        "class": kind,
        "library_version": core.__version__,
        "parameters": {name: _parameter(name, value) for name, value in _kept_parameters(estimator).items()},
    }
    fit, tensors = _describe_fit(estimator)
    return model | fit, tensors


def _describe_fit(estimator: FittedNetwork) -> tuple[dict[str, Any], dict[str, Array]]:
    names = getattr(estimator, "feature_names_in_", None)
    fit = {
        # What follows from the columns is not said twice.
        "network": {**{key: part for key, part in estimator.network_.items() if key != "columns"}, "groups": []},
        "columns": None if estimator.columns_ is None else [asdict(column) for column in estimator.columns_],
        "feature_names": None if names is None else [str(name) for name in names],
        "scaler": estimator._scaler_kind,
        "loss": estimator._loss_kind,
        "score_metric": estimator.score_metric_,
        "offset": float(estimator.offset_),
        "best_loss": float(estimator.best_loss_),
    }
    tensors = {
        "scaler.shift": estimator.scaler_shift_,
        "scaler.scale": estimator.scaler_scale_,
        # Doubles are exact for counts up to 2^53.
        "calibration.counts": estimator.calibration_.counts.astype(np.float64),
        "columns.mean": estimator.column_means_,
        "curves.loss": np.asarray(estimator.loss_curve_, dtype=np.float64),
        "curves.validation": np.asarray(estimator.validation_curve_, dtype=np.float64),
    }
    if estimator.whitening_ is not None:
        tensors |= {f"whitening.{name}": array for name, array in estimator.whitening_._asdict().items()}
    tensors["calibration.errors"] = estimator.calibration_.errors
    for index, ranges in enumerate(getattr(estimator, "input_ranges_", None) or ()):
        tensors[f"ranges.{index}"] = ranges
    for index, (weights, biases) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        tensors[f"coefs.{index}"] = np.ascontiguousarray(weights, dtype=estimator.dtype)
        tensors[f"intercepts.{index}"] = np.ascontiguousarray(biases, dtype=estimator.dtype)
        if estimator.norms_[index] is not None:
            tensors[f"norms.{index}"] = np.ascontiguousarray(estimator.norms_[index], dtype=estimator.dtype)
    return fit, tensors


def _kept_parameters(estimator: BaseAutoencoder) -> dict[str, Any]:
    """The parameters without those that are of one process: callbacks, and a generator of random numbers."""
    parameters = {name: value for name, value in estimator.get_params(deep=False).items() if name != "callbacks"}
    if isinstance(parameters["random_state"], np.random.RandomState):
        parameters["random_state"] = None
    return parameters


def _parameter(name: str, value: Any) -> Any:
    try:
        return plain_value(value)
    except TypeError:
        raise ValueError(
            f"cannot save parameter {name}={value!r}: a model file holds data only; "
            f"set_params({name}=...) to a plain value first, which changes no score"
        ) from None


def plain_value(value: Any) -> Any:
    """A parameter's value as JSON, from the closed list of what may be written."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and np.isfinite(value)):
        return value
    if isinstance(value, np.ndarray):
        value = tuple(value.tolist())
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"mapping": [[key, plain_value(item)] for key, item in value.items()]}
    if isinstance(value, tuple | list):
        items = [plain_value(item) for item in value]
        return {"tuple": items} if isinstance(value, tuple) else items
    if type(value) in OBJECTS.values():
        return {"object": type(value).__name__, "fields": asdict(value)}
    raise TypeError(f"{value!r} is not data")


# From data to estimator.


def _restored(model: dict[str, Any], tensors: dict[str, Array]) -> BaseAutoencoder:
    """The estimator; raises ValueError, TypeError or KeyError for whatever does not fit together."""
    import aefast

    estimator: BaseAutoencoder = getattr(aefast, _known_class(model))()
    estimator.set_params(**_known_parameters(model, set(estimator.get_params(deep=False))))
    estimator._check_parameters()
    _restore_fit(estimator, estimator.loss, model, tensors)
    estimator._n_passes = estimator.n_epochs_
    estimator._take_shape(estimator.network_)
    return estimator


def _known_class(model: dict[str, Any]) -> str:
    if model["class"] not in CLASSES:
        raise ValueError(f"class {model['class']!r} is not one of {', '.join(CLASSES)}")
    return str(model["class"])


def _known_parameters(model: dict[str, Any], known: Collection[str]) -> dict[str, Any]:
    parameters = {key: _decoded(value) for key, value in model["parameters"].items()}
    unknown = set(parameters) - set(known)
    if unknown:
        raise ValueError(f"parameter {min(unknown)!r} is unknown; aefast {model['library_version']} wrote the file")
    return parameters


def _restore_fit(estimator: FittedNetwork, loss: str, model: dict[str, Any], tensors: dict[str, Array]) -> None:
    if estimator.n_threads is not None:
        integer(estimator.n_threads, 1, MOST_THREADS)
    # Files of earlier versions have no other loss than the parameter.
    estimator._loss_kind = loss = model.get("loss", loss)
    if loss not in LOSSES:
        raise ValueError(f"loss {loss!r} is unknown")
    network = checked_network(model["network"])
    n_features, weighted = network["n_features"], weight_shapes(network)
    estimator.columns_ = _columns(model["columns"], n_features)
    n_columns = n_features
    if estimator.columns_ is not None:
        network, n_columns = (
            with_columns(network, estimator.columns_, level_weight(network, loss)),
            len(estimator.columns_),
        )
    estimator.network_ = network
    estimator.n_features_in_ = n_columns
    coefs = [tensors.pop(f"coefs.{index}") for index in range(len(weighted))]
    intercepts = [tensors.pop(f"intercepts.{index}") for index in range(len(weighted))]
    norms = [
        _finite(tensors, f"norms.{index}", (4, layer["units"])).astype(estimator.dtype) if layer["batch_norm"] else None
        for index, (layer, _) in enumerate(weighted)
    ]
    if any(norm is not None and (norm[3] < 0).any() for norm in norms):
        raise ValueError("a running variance is below zero")
    join_parameters(network, coefs, intercepts, estimator.dtype, norms)
    estimator.coefs_, estimator.intercepts_, estimator.norms_ = coefs, intercepts, norms

    names = model["feature_names"]
    if names is not None:
        if not isinstance(names, list) or len(names) != n_columns or not all(isinstance(name, str) for name in names):
            raise ValueError(f"feature_names must be {n_columns} names")
        if estimator.columns_ is not None and names != [column.name for column in estimator.columns_]:
            raise ValueError("feature_names must be the names of the columns")
        estimator.feature_names_in_ = np.asarray(names, dtype=object)
    estimator.scaler_shift_ = _finite(tensors, "scaler.shift", (n_features,))
    estimator.scaler_scale_ = _finite(tensors, "scaler.scale", (n_features,))
    estimator.column_means_ = _finite(tensors, "columns.mean", (n_features,))
    if not (estimator.scaler_scale_ > 0).all():
        raise ValueError("scaler.scale must be above zero")
    if model["scaler"] is not None and model["scaler"] not in SCALERS:
        raise ValueError(f"scaler {model['scaler']!r} is unknown")
    estimator._scaler_kind = model["scaler"]
    n_joint = n_features + estimator._n_features_out
    shapes = {"centre": (n_joint,), "matrix": (n_joint, n_joint), "usual": (n_features,), "deviation": (n_features,)}
    estimator.whitening_ = None
    if "whitening.matrix" in tensors:
        parts = {name: _finite(tensors, f"whitening.{name}", shape) for name, shape in shapes.items()}
        estimator.whitening_ = Whitening(**parts)
        if not (estimator.whitening_.deviation > 0).all():
            raise ValueError("whitening.deviation must be above zero")
    n_inputs = [len(w) for w, (layer, _) in zip(coefs, weighted, strict=True) if layer["kind"] == "dense"]
    estimator.input_ranges_ = None
    if "ranges.0" in tensors:
        ranges = [_finite(tensors, f"ranges.{index}", (2, n)) for index, n in enumerate(n_inputs)]
        estimator.input_ranges_ = [pair.astype(np.float32) for pair in ranges]
    estimator.calibration_ = _calibration(tensors)
    estimator.loss_curve_ = _finite(tensors, "curves.loss", None).tolist()
    estimator.validation_curve_ = _finite(tensors, "curves.validation", None).tolist()
    estimator.n_epochs_ = len(estimator.loss_curve_)
    estimator.best_loss_ = number(model["best_loss"])
    estimator.offset_ = number(model["offset"])
    estimator.score_metric_ = model["score_metric"]
    estimator._metric(None)
    if tensors:
        raise ValueError(f"tensor {min(tensors)!r} is unknown")


def _columns(described: Any, n_features: int) -> tuple[Column, ...] | None:
    if described is None:
        return None
    columns = []
    for each in described:
        name, kind, levels, counts = each["name"], each["kind"], each["levels"], each["counts"]
        is_sound = isinstance(name, str) and kind in KINDS and len(levels) <= MAX_LEVELS
        is_sound = is_sound and all(level is None or isinstance(level, str) for level in levels)
        if not is_sound or len(set(levels)) != len(levels) or (levels and kind != "categorical"):
            raise ValueError(f"column {name!r} is not of a kind, or its levels are not")
        if len(counts) != (len(levels) + 1 if kind == "categorical" else 0):
            raise ValueError(f"column {name!r} has not a count for each level")
        counts = tuple(integer(count, 0, 1 << 62) for count in counts)
        columns.append(Column(name, kind, tuple(levels), counts))
    if sum(column.width for column in columns) != n_features:
        raise ValueError(f"the columns do not make {n_features} features")
    return tuple(columns)


def _calibration(tensors: dict[str, Array]) -> Calibration:
    dtype = tensors["calibration.errors"].dtype
    errors = _finite(tensors, "calibration.errors", None)
    counts = _finite(tensors, "calibration.counts", errors.shape)
    if len(errors) == 0 or (np.diff(errors) <= 0).any():
        raise ValueError("calibration.errors must be in ascending order, and at least one")
    if (counts != np.floor(counts)).any() or (np.diff(counts) >= 0).any() or not 0 < counts[-1] <= counts[0] < 2**53:
        raise ValueError("calibration.counts must be whole numbers above zero in descending order")
    return Calibration(errors.astype(dtype), counts.astype(np.int64))


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"tuple"}:
            return tuple(_decoded(value["tuple"]))
        if value.keys() == {"mapping"}:
            return {key: _decoded(item) for key, item in value["mapping"]}
        if value.keys() == {"object", "fields"} and value["object"] in OBJECTS:
            return OBJECTS[value["object"]](**value["fields"])
        raise ValueError(f"a parameter's value has unknown parts {sorted(value)}")
    return value


def _finite(tensors: dict[str, Array], key: str, shape: tuple[int, ...] | None) -> NDArray[np.float64]:
    """Take a tensor out, as float64, and look at its shape (None: one dimension of any length) and values."""
    tensor = tensors.pop(key).astype(np.float64)
    if (tensor.ndim != 1 if shape is None else tensor.shape != shape) or not np.isfinite(tensor).all():
        raise ValueError(f"tensor {key!r} has a wrong shape or holds NaN or infinity")
    return tensor
