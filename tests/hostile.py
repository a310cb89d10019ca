"""Hostile model files: valid ones to start from, ways to change them, and a check that must hold for any content.

`tests/test_hostile.py` makes a few hundred of them from fixed seeds; the fuzzers in `tests/fuzz/` search for more.
"""

from __future__ import annotations

import hashlib
import json
import random
import struct
import warnings
from math import prod
from typing import Any

import numpy as np
import pandas as pd

import aefast
from aefast.estimators.files import to_bytes
from aefast.model.model import Model

# Values that are valid in some places and out of bounds in others.
NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    16,
    255,
    1 << 15,
    (1 << 31) - 1,
    1 << 31,
    1 << 32,
    (1 << 62) + 1,
    1 << 63,
    1 << 64,
    10**30,
)
VALUES = (
    *NUMBERS,
    0.5,
    -0.5,
    1e-300,
    1e300,
    True,
    False,
    None,
    "",
    "softmax",
    "top_k",
    "conv2d",
    "nan",
    [],
    {},
    [0],
    {"tuple": [1]},
)
DOUBLES = (0.0, -0.0, 1e-310, 1e-38, -1.0, 1e30, 1e300, -1e300, np.inf, -np.inf, np.nan)


def model_seeds() -> list[bytes]:
    """Return model files of every class and every kind of layer."""
    rows = np.random.default_rng(0).uniform(size=(40, 16))
    common: dict[str, Any] = {"max_epochs": 1, "random_state": 0, "n_threads": 1}
    image: dict[str, Any] = {"image_shape": (4, 4, 1), "channels": (3, 2), "code_size": 3, **common}
    models = [
        aefast.Autoencoder((5, 2), score_metric="mahalanobis", **common),
        aefast.Autoencoder((5, 2), dtype="float64", tied_weights=True, output_activation="sigmoid", **common),
        aefast.Autoencoder((5, 2), batch_norm=True, dropout=0.1, missing="mask", **common),
        aefast.DenoisingAutoencoder((5, 2), missing="mean", learning_rate=aefast.CosineSchedule(0.01, 5), **common),
        aefast.SparseAutoencoder((5, 4), sparsity="topk", k=2, optimizer=aefast.SGD(0.9), **common),
        aefast.SparseAutoencoder((5, 4), sparsity="kl", **common),
        aefast.ContractiveAutoencoder((5,), **common),
        aefast.VariationalAutoencoder((5, 2), **common),
        aefast.ConvolutionalAutoencoder(**image),
        aefast.ConvolutionalDenoisingAutoencoder(upsampling="transposed", padding="same", **image),
        aefast.ConvolutionalVariationalAutoencoder(**image),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = [model.fit(rows) for model in models]
        models.append(aefast.Autoencoder((5, 2), **common).fit(mixed_rows(40)))
    return [to_bytes(model) for model in models]


def mixed_rows(n_rows: int) -> pd.DataFrame:
    """Return a table with columns of every kind."""
    times = pd.date_range("2024-01-01", periods=n_rows, freq="h")
    return pd.DataFrame({"a": np.arange(n_rows) % 7.0, "b": ["x", "y"] * (n_rows // 2), "c": times})


def rows_for(model: Model) -> Any:
    """Return three rows with the model's columns."""
    n = model.n_features_in
    if model.columns is None:
        return np.linspace(-2, 2, 3 * n).reshape(3, n)
    values = {"numeric": [0.0, 1.5, -3.0], "categorical": ["x", "y", "other"], "timestamp": mixed_rows(4)["c"][:3]}
    table = pd.DataFrame({j: values[column.kind] for j, column in enumerate(model.columns)})
    return table.set_axis([column.name for column in model.columns], axis=1)


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header as a dict and the bytes of the tensors."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: dict[str, Any], data: bytes) -> bytes:
    """Return a file of the parts with a correct digest, as a forger would make it."""
    header = {**header, "__metadata__": {**header["__metadata__"], "digest": "0" * 64}}
    text = json.dumps(header, separators=(",", ":")).encode()
    whole = struct.pack("<Q", len(text)) + text + data
    return whole.replace(b"0" * 64, hashlib.sha256(whole).hexdigest().encode(), 1)


def forged(content: bytes, rng: random.Random, kind: str = "model") -> bytes:
    """Return the file with up to three changes of its description or its tensors and a correct digest."""
    header, data = split(content)
    for _ in range(rng.randint(1, 3)):
        which = rng.random()
        if which < 0.6:
            document = json.loads(header["__metadata__"][kind])
            change_json(document, rng)
            header["__metadata__"][kind] = json.dumps(document)
        elif which < 0.75:
            change_json({key: value for key, value in header.items() if key != "__metadata__"}, rng)
        elif which < 0.85:
            header, data = _resized_tensor(header, data, rng)
        elif data:
            data = _changed_number(data, rng)
    return joined(header, data)


def change_json(tree: Any, rng: random.Random) -> None:
    """Change one value at a random place of ``tree``."""
    place = tree
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = rng.choice(keys)
        if not (isinstance(place[key], dict | list) and place[key]) or rng.random() < 0.05:
            break
        place = place[key]
    kind = rng.random()
    if kind < 0.1 and isinstance(place, dict):
        del place[key]
    elif kind < 0.2 and isinstance(place, list):
        place.insert(rng.randrange(len(place) + 1), place[key])
    elif kind < 0.3:
        place[key] = place[rng.choice(keys)]
    elif kind < 0.5 and type(place[key]) is int:
        place[key] += rng.choice((-2, -1, 1, 2))
    else:
        place[key] = rng.choice(VALUES)


def _resized_tensor(header: dict[str, Any], data: bytes, rng: random.Random) -> tuple[dict[str, Any], bytes]:
    """Make one tensor longer or shorter and adjust the offsets."""
    tensors = {key: entry for key, entry in header.items() if key != "__metadata__"}
    try:
        chosen = rng.choice(list(tensors))
        parts: list[bytes] = []
        begin = 0
        for key, entry in tensors.items():
            shape = list(entry["shape"])
            part = data[entry["data_offsets"][0] : entry["data_offsets"][1]]
            if key == chosen:
                shape[rng.randrange(len(shape))] += rng.choice((-1, 1))
                size = min(prod(shape) * {"F32": 4, "F64": 8}[entry["dtype"]], 2 * len(part) + 64)
                part = (part + bytes(size))[:size]
            header[key] = {**entry, "shape": shape, "data_offsets": [begin, begin + len(part)]}
            parts.append(part)
            begin += len(part)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):  # of what an earlier change has left
        return header, data
    return header, b"".join(parts)


def _changed_number(data: bytes, rng: random.Random) -> bytes:
    value = rng.choice(DOUBLES)
    with np.errstate(over="ignore"):
        number = np.array([value], dtype=rng.choice(("<f4", "<f8"))).tobytes()
    at = rng.randrange(0, max(1, len(data) - len(number) + 1), 4)
    return data[:at] + number + data[at + len(number) :]


def check_model(content: bytes) -> bool:
    """Return True if ``content`` is a model, which must then work; otherwise loading must raise ModelFileError."""
    try:
        scoring = Model.load(content)
    except aefast.ModelFileError:
        scoring = None
    try:
        model = aefast.load(content)
    except aefast.ModelFileError:
        if scoring is not None:  # what it would be trained with is out of range
            _scores(scoring)
        return False
    assert scoring is not None
    np.testing.assert_array_equal(_scores(scoring), _scores(model.model_))
    assert aefast.load(to_bytes(model)).n_features_in_ == model.n_features_in_
    repr(model)
    X = rows_for(model.model_)
    if model.columns_ is None:
        del model.feature_names_in_
    codes = np.linspace(-1, 1, 3 * model.model_.n_codes).reshape(3, -1)
    for call in (
        lambda: model.predict(X),
        lambda: model.p_values(X),
        lambda: model.explain(X),
        lambda: model.transform(X),
        lambda: model.inverse_transform(codes),
        lambda: model.reconstruct(X),
        lambda: model.feature_errors(X),
        lambda: model.model_.reasons(X, min(3, X.shape[1])),
        lambda: model.reconstruction_error(X, precision="bfloat16"),
        lambda: model.reconstruction_error(X, precision="int8"),
    ):
        try:
            assert _is_finite(call())
        except ValueError as error:  # numbers that no network can compute with, or a precision that is not for it
            known = ("too large", "does not fit", "do not fit", "precision=", "not finite")
            if not any(words in str(error) for words in known):
                raise
    return True


def _is_finite(found: Any) -> bool:
    """Whether there is no NaN or infinity in an array, a table or a tuple of arrays."""
    if isinstance(found, tuple):  # reasons: a column without a value has number -1
        return all(map(_is_finite, (found.errors, found.shares, found.expected[found.columns >= 0])))
    table = pd.DataFrame(found)
    return bool(np.isfinite(table.select_dtypes("number").to_numpy()).all())


def _scores(model: Model) -> Any:
    """Return the errors of three rows, or the reason for refusing them."""
    try:
        return model.errors(rows_for(model))
    except ValueError as error:
        return str(error)
