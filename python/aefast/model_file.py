"""One file a model: safetensors with JSON metadata, data only, written whole and read with suspicion.

The file is the length of the header (8 bytes, little-endian), the header (JSON) and the tensors, as safetensors
prescribes. In the header, ``__metadata__`` holds the format's name and version, a SHA-256 digest of the whole file
(taken with zeros in the digest's place, so that no byte can change unnoticed) and the model as JSON: class, parameters,
network, names. What a reader makes of it comes from closed lists; nothing in a file is ever run.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import struct
import uuid
from dataclasses import asdict
from math import prod
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aefast import _core
from aefast.exceptions import ModelFileError
from aefast.network_checks import checked_network, number
from aefast.networks import join_parameters, weight_shapes
from aefast.optimizers import OPTIMIZERS
from aefast.scaling import SCALERS
from aefast.schedules import SCHEDULES
from aefast.thresholds import Calibration
from aefast.whitening import Whitening

if TYPE_CHECKING:
    from aefast._base import BaseAutoencoder

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
#: Objects that may stand among the parameters.
OBJECTS: dict[str, type[Any]] = {kind.__name__: kind for kind in (*OPTIMIZERS.values(), *SCHEDULES)}

_MAGIC = b'{"__metadata__":{"format":"aefast-model","format_version":"'
# What reading data of the wrong shape raises.
_MISFITS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
    NotImplementedError,
)
_DIGEST_PLACE = "0" * 64
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
# JSON in memory takes tens of times its size as text; this is a hundred thousand column names.
_MAX_HEADER = 1 << 24


def save(estimator: BaseAutoencoder, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to ``path``, whole or not at all.

    The file is written beside its place, flushed to the disk and renamed.

    Raises
    ------
    ValueError
        If a parameter is no data, naming it.
    OSError
        If the file cannot be written.
    """
    content = to_bytes(estimator)
    # Through a link, so that the file it points to is replaced and not the link.
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex}.part")
    try:
        with open(temporary, "xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


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
    if isinstance(source, bytes | bytearray | memoryview):
        return _read(io.BytesIO(source), len(source), "the model")
    name = os.fspath(source)
    if not stat.S_ISREG(os.stat(name).st_mode):
        raise ModelFileError(f"{name} is not an aefast model: it is not a regular file")
    with open(name, "rb") as stream:
        return _read(stream, os.fstat(stream.fileno()).st_size, name)


def to_bytes(estimator: BaseAutoencoder) -> bytes:
    """What the file of a fitted estimator has in it."""
    model, tensors = _describe(estimator)
    metadata = {
        "format": "aefast-model",
        "format_version": str(FORMAT_VERSION),
        "digest": _DIGEST_PLACE,
        "model": json.dumps(model, allow_nan=False, separators=(",", ":")),
    }
    header: dict[str, Any] = {"__metadata__": metadata}
    begin = 0
    for name, tensor in tensors.items():
        kind = "F32" if tensor.dtype == np.float32 else "F64"
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [begin, begin + tensor.nbytes]}
        begin += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    # Tensors begin at a multiple of eight.
    text += b" " * (-len(text) % 8)
    data = b"".join(tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes() for tensor in tensors.values())
    content = struct.pack("<Q", len(text)) + text + data
    digest = hashlib.sha256(content).hexdigest()
    place = content.index(_DIGEST_PLACE.encode())
    return content[:place] + digest.encode() + content[place + len(digest) :]


def _sync_folder(folder: str) -> None:
    """Make the rename last through a crash, where the system can open folders."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# From estimator to data.


def _describe(estimator: BaseAutoencoder) -> tuple[dict[str, Any], dict[str, Array]]:
    kind = type(estimator).__name__
    if kind not in CLASSES:
        raise ValueError(f"cannot save a {kind}: only {', '.join(CLASSES)} have a file format")
    names = getattr(estimator, "feature_names_in_", None)
    model = {
        "class": kind,
        "library_version": _core.__version__,
        "parameters": {name: _parameter(name, value) for name, value in estimator.get_params(deep=False).items()},
        "network": estimator.network_,
        "feature_names": None if names is None else [str(name) for name in names],
        "scaler": estimator._scaler_kind,
        "score_metric": estimator.score_metric_,
        "offset": float(estimator.offset_),
        "best_loss": float(estimator.best_loss_),
    }
    tensors = {
        "scaler.shift": estimator.scaler_shift_,
        "scaler.scale": estimator.scaler_scale_,
        # Doubles are exact for counts up to 2^53.
        "calibration.counts": estimator.calibration_.counts.astype(np.float64),
        "curves.loss": np.asarray(estimator.loss_curve_, dtype=np.float64),
        "curves.validation": np.asarray(estimator.validation_curve_, dtype=np.float64),
    }
    if estimator.whitening_ is not None:
        tensors |= {f"whitening.{name}": array for name, array in estimator.whitening_._asdict().items()}
    tensors["calibration.errors"] = estimator.calibration_.errors
    for index, (weights, biases) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        tensors[f"coefs.{index}"] = np.ascontiguousarray(weights, dtype=estimator.dtype)
        tensors[f"intercepts.{index}"] = np.ascontiguousarray(biases, dtype=estimator.dtype)
        if estimator.norms_[index] is not None:
            tensors[f"norms.{index}"] = np.ascontiguousarray(estimator.norms_[index], dtype=estimator.dtype)
    return model, tensors


def _parameter(name: str, value: Any) -> Any:
    try:
        return _encoded(value)
    except TypeError:
        raise ValueError(
            f"cannot save parameter {name}={value!r}: a model file holds data only; "
            f"set_params({name}=...) to a plain value first"
        ) from None


def _encoded(value: Any) -> Any:
    """A parameter's value as JSON, from the closed list of what may be written."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and np.isfinite(value)):
        return value
    if isinstance(value, np.ndarray):
        value = tuple(value.tolist())
    if isinstance(value, tuple | list):
        items = [_encoded(item) for item in value]
        return {"tuple": items} if isinstance(value, tuple) else items
    if type(value) in OBJECTS.values():
        return {"object": type(value).__name__, "fields": asdict(value)}
    raise TypeError(f"{value!r} is not data")


# From data to estimator.


def _read(stream: IO[bytes], size: int, name: str) -> BaseAutoencoder:
    header, header_bytes = _read_header(stream, size, name)
    extents = _extents(header, size - len(header_bytes), name)
    data = stream.read(size - len(header_bytes))
    if len(data) != size - len(header_bytes):
        raise ModelFileError(f"{name} is truncated: it became shorter while it was read")

    digest = header["__metadata__"]["digest"].encode()
    whole = hashlib.sha256(header_bytes.replace(digest, _DIGEST_PLACE.encode(), 1))
    whole.update(data)
    if whole.hexdigest().encode() != digest:
        raise ModelFileError(f"{name} is altered: its digest does not match what is in it")

    tensors = {
        key: np.frombuffer(data, dtype, prod(shape), begin).reshape(shape).astype(dtype.newbyteorder("="))
        for key, (dtype, shape, begin) in extents.items()
    }
    try:
        model = json.loads(header["__metadata__"]["model"], object_pairs_hook=_without_doubles)
        return _restored(model, tensors)
    except _MISFITS as error:
        raise ModelFileError(f"{name} is not a valid model: {type(error).__name__}: {error}") from error


def _read_header(stream: IO[bytes], size: int, name: str) -> tuple[dict[str, Any], bytes]:
    """The header, and the bytes it came from with the eight before it."""
    beginning = stream.read(8 + len(_MAGIC))
    if len(beginning) <= 8 or not _MAGIC.startswith(beginning[8:]):
        few = f"it has only {size} bytes" if size <= 8 else "its header is not one of aefast's"
        raise ModelFileError(f"{name} is not an aefast model, or truncated: {few}")
    (length,) = struct.unpack("<Q", beginning[:8])
    if length > size - 8:
        raise ModelFileError(f"{name} is truncated: its header has {length} bytes, but only {size - 8} are there")
    if not len(_MAGIC) < length <= _MAX_HEADER:
        raise ModelFileError(f"{name} is altered: its header cannot have {length} bytes")
    header_bytes = beginning + stream.read(8 + length - len(beginning))
    try:
        header = json.loads(header_bytes[8:].decode(), object_pairs_hook=_without_doubles)
        metadata = header["__metadata__"]
        version = int(metadata["format_version"])
        digest, model = metadata["digest"], metadata["model"]
        complete = isinstance(digest, str) and len(digest) == 64 and isinstance(model, str)
    except _MISFITS as error:
        raise ModelFileError(
            f"{name} is altered: its header cannot be read ({type(error).__name__}: {error})"
        ) from error
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{name} has format version {version}, but aefast {_core.__version__} reads up to {FORMAT_VERSION}: "
            "upgrade aefast"
        )
    if version < 1 or not complete:
        raise ModelFileError(f"{name} is altered: its header lacks the digest or the model")
    return header, header_bytes


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _extents(header: dict[str, Any], n_bytes: int, name: str) -> dict[str, tuple[np.dtype[Any], tuple[int, ...], int]]:
    """dtype, shape and place of each tensor; together they fill the file after its header."""
    extents: dict[str, tuple[np.dtype[Any], tuple[int, ...], int]] = {}
    end = 0
    for key, entry in header.items():
        if key == "__metadata__":
            continue
        try:
            dtype, shape, (begin, stop) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
            counts = [*shape, begin, stop]
            sound = len(shape) <= 4 and all(type(count) is int and count >= 0 for count in counts)
            if not sound or begin != end or stop - begin != prod(shape) * dtype.itemsize:
                raise ValueError(f"shape {shape} and place {begin}:{stop} do not fit")
        except _MISFITS as error:
            raise ModelFileError(f"{name} is altered: tensor {key!r} ({type(error).__name__}: {error})") from error
        extents[key], end = (dtype, tuple(shape), begin), stop
    if end > n_bytes:
        raise ModelFileError(f"{name} is truncated: its tensors have {end} bytes, but only {n_bytes} are there")
    if end < n_bytes:
        raise ModelFileError(f"{name} is altered: {n_bytes - end} bytes stand after its last tensor")
    return extents


def _restored(model: dict[str, Any], tensors: dict[str, Array]) -> BaseAutoencoder:
    """The estimator; raises ValueError, TypeError or KeyError for whatever does not fit together."""
    import aefast

    if model["class"] not in CLASSES:
        raise ValueError(f"class {model['class']!r} is not one of {', '.join(CLASSES)}")
    estimator: BaseAutoencoder = getattr(aefast, model["class"])()
    parameters = {key: _decoded(value) for key, value in model["parameters"].items()}
    unknown = set(parameters) - set(estimator.get_params(deep=False))
    if unknown:
        raise ValueError(f"parameter {min(unknown)!r} is unknown; aefast {model['library_version']} wrote the file")
    estimator.set_params(**parameters)
    estimator._check_parameters()

    network = checked_network(model["network"])
    n_features, weighted = network["n_features"], weight_shapes(network)
    estimator.network_ = network
    estimator.n_features_in_ = n_features
    estimator._take_shape(network)
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
        if not isinstance(names, list) or len(names) != n_features or not all(isinstance(name, str) for name in names):
            raise ValueError(f"feature_names must be {n_features} names")
        estimator.feature_names_in_ = np.asarray(names, dtype=object)
    estimator.scaler_shift_ = _finite(tensors, "scaler.shift", (n_features,))
    estimator.scaler_scale_ = _finite(tensors, "scaler.scale", (n_features,))
    if not (estimator.scaler_scale_ > 0).all():
        raise ValueError("scaler.scale must be above zero")
    if model["scaler"] is not None and model["scaler"] not in SCALERS:
        raise ValueError(f"scaler {model['scaler']!r} is unknown")
    estimator._scaler_kind = model["scaler"]
    n_code = estimator._n_features_out
    n_joint = n_features + n_code
    shapes = {"centre": (n_joint,), "matrix": (n_joint, n_joint), "code_shares": (n_code, n_features)}
    estimator.whitening_ = None
    if "whitening.matrix" in tensors:
        parts = {name: _finite(tensors, f"whitening.{name}", shape) for name, shape in shapes.items()}
        estimator.whitening_ = Whitening(**parts)
    estimator.calibration_ = _calibration(tensors)
    estimator.loss_curve_ = _finite(tensors, "curves.loss", None).tolist()
    estimator.validation_curve_ = _finite(tensors, "curves.validation", None).tolist()
    estimator.n_epochs_ = estimator._n_passes = len(estimator.loss_curve_)
    estimator.best_loss_ = number(model["best_loss"])
    estimator.offset_ = number(model["offset"])
    estimator.threshold_ = -estimator.offset_
    estimator.score_metric_ = model["score_metric"]
    estimator._metric(None)
    if tensors:
        raise ValueError(f"tensor {min(tensors)!r} is unknown")
    return estimator


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
