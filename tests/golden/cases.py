"""Small estimators of every kind on fixed rows, and what they answer: golden results for `test_golden.py`.

usage: python tests/golden/cases.py

writes ``refits.npz`` and ``refits.json`` beside this file with the version of aefast that is installed: what estimators
whose score is chosen for them learn. Make them anew only if results are meant to change. Version 0.1.0 made the other
files, which stay: models that it saved, and what it answered. ``refits.npz`` also keeps what the model answered that is
in ``calibrated.safetensors``.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import aefast

FOLDER = Path(__file__).parent
#: Rows whose results are kept.
N_SHOWN = 24
FEW = {"max_epochs": 3, "random_state": 0, "n_threads": 1}


def inputs():
    """Rows of numbers, of numbers in [0, 1], with missing values, of images, and of columns of several kinds."""
    rng = np.random.default_rng(0)
    X = np.tanh(rng.normal(size=(300, 3)) @ rng.normal(size=(3, 7))) + 0.1 * rng.normal(size=(300, 7))
    X[:8] += 3 * rng.normal(size=(8, 7))
    holes = X.copy()
    holes[rng.random(X.shape) < 0.05] = np.nan
    kinds = rng.choice(["a", "b", "c", None], 300, p=[0.5, 0.3, 0.15, 0.05])
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 10**7, 300), "s")
    table = pd.DataFrame(
        {"kind": kinds, "ok": rng.random(300) < 0.9, "at": times, "u": rng.normal(size=300) + (kinds == "a")}
    )
    images = rng.random((120, 6, 6, 1)).astype(np.float32)
    return {"X": X, "unit": 1 / (1 + np.exp(-X)), "holes": holes, "images": images, "table": table}


def cases():
    """Name, input and estimator of each case."""
    plain = aefast.Autoencoder
    yield "default", "X", plain(random_state=0, max_epochs=8, n_threads=1)
    yield (
        "relu",
        "X",
        plain((12, 3), activation="relu", score_metric="mse", optimizer="sgd", learning_rate=0.05, **FEW),
    )
    yield "tied", "X", plain((5, 3), activation="tanh", tied_weights=True, dtype="float64", l2=1e-4, **FEW)
    yield (
        "norm",
        "X",
        plain((9, 3), batch_norm=True, dropout=0.1, optimizer=aefast.RMSprop(), score_metric="huber", **FEW),
    )
    yield (
        "bernoulli",
        "unit",
        plain((6, 2), output_activation="sigmoid", loss="binary_crossentropy", scaler=None, **FEW),
    )
    yield "mae", "X", plain((4,), loss="mae", score_metric="mae", activity_l1=1e-3, scaler="robust", **FEW)
    yield "mask", "holes", plain((6, 2), missing="mask", **FEW)
    yield "mean", "holes", plain((6, 2), missing="mean", score_metric="max", scaler="minmax", **FEW)
    yield "table", "table", plain((8, 3), missing="mask", **FEW)
    yield "denoising", "X", aefast.DenoisingAutoencoder((8, 3), noise="masking", noise_level=0.2, **FEW)
    yield "kl", "unit", aefast.SparseAutoencoder((10,), sparsity="kl", **FEW)
    yield "topk", "X", aefast.SparseAutoencoder((12,), sparsity="topk", k=4, **FEW)
    yield "contractive", "X", aefast.ContractiveAutoencoder((6, 3), contraction=1e-2, **FEW)
    yield "variational", "X", aefast.VariationalAutoencoder((8, 2), **FEW)
    yield "images", "images", aefast.ConvolutionalAutoencoder(channels=(3, 2), pool=1, code_size=3, **FEW)


def results(model, X):
    """Return the results of a fitted estimator for the first rows."""
    X = X[:N_SHOWN]
    found = {"errors": model.reconstruction_error(X), "codes": model.transform(X), "p": model.p_values(X)}
    found["labels"] = model.predict(X)
    if isinstance(X, np.ndarray):
        found |= {"rows": model.reconstruct(X), "features": model.feature_errors(X)}
        if X.ndim == 2 and model.dtype == "float32" and not np.isnan(X).any():
            found |= {name: model.reconstruction_error(X, precision=name) for name in ("bfloat16", "int8")}
    return {name: np.asarray(values) for name, values in found.items()}


def fitted_results(model, X):
    """Results, and weights."""
    return results(model, X) | {f"weights{i}": np.asarray(weights) for i, weights in enumerate(model.coefs_)}


def linear_algebra():
    """Digest of products and factorisations in float64, in whose last bits machines differ."""
    matrix = np.random.default_rng(0).normal(size=(48, 48))
    product = matrix @ matrix.T
    parts = [product, np.linalg.inv(product), *np.linalg.eigh(product), *np.linalg.svd(matrix)]
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def chooses(estimator, X):
    """Return whether the estimator's score is the one that aefast chooses."""
    return estimator.score_metric == "auto"


def machine():
    """Return what the bits of a training depend on."""
    config = aefast.config()
    return {
        "isa_level": config["isa_level"],
        "compiler": config["compiler"].split()[0],
        "linear_algebra": linear_algebra(),
    }


def main():
    warnings.filterwarnings("ignore")
    data = inputs()
    with np.load(FOLDER / "refits.npz") as before:
        kept = {key: before[key] for key in before if key.startswith("calibrated.")}
    for name, of, estimator in cases():
        if chooses(estimator, data[of]):
            model = estimator.fit(data[of])
            kept |= {f"{name}.{what}": values for what, values in fitted_results(model, data[of]).items()}
    np.savez_compressed(FOLDER / "refits.npz", **kept)
    (FOLDER / "refits.json").write_text(json.dumps(machine(), indent=2) + "\n")


if __name__ == "__main__":
    main()
