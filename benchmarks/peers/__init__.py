"""Other libraries that do the same work, each used as an expert of the library would.

A peer is built from the weights of a network with ReLU hidden layers and a linear output. It has these methods:

- ``score(X, batch)``: the mean squared error of each row's reconstruction, float32 (n,),
- ``train(X, batch, epochs, shuffle=True)``: Adam (1e-3, 0.9, 0.999, 1e-8) on the mean squared error,
- ``weights()``: the current weights.

`scores` and `trains` say which of them the library supports. `load` leaves out a module whose library is missing and
returns the reason.
"""

from importlib import import_module

from peers.base import ADAM, Peer

MODULES = {
    "aefast": "aefast_engine",
    "numpy": "numpy_hand",
    "torch": "torch_eager",
    "torch.compile": "torch_compiled",
    "jax": "jax_jit",
    "scikit-learn": "sklearn_mlp",
    "onnxruntime": "onnx_runtime",
    "openvino": "openvino_cpu",
    "pyod": "pyod_autoencoder",
}

__all__ = ["ADAM", "MODULES", "Peer", "load", "load_reduced"]


def load(names=None):
    """Return ({name: peer class}, {name: reason for leaving it out}) for ``names``, or for all."""
    found, missing = {}, {}
    for name in names or MODULES:
        try:
            found[name] = import_module(f"peers.{MODULES[name]}").PEER
        except ImportError as error:
            missing[name] = str(error)
    return found, missing


def load_reduced():
    """Return what `load` returns, for the peers that score in reduced precision: aefast, and OpenVINO in bfloat16."""
    found, missing = load(["aefast", "openvino"])
    engine = import_module("peers.aefast_engine")
    found |= {"aefast bfloat16": engine.AefastBfloat16Peer, "aefast int8": engine.AefastInt8Peer}
    if "openvino" in found:
        found["openvino bfloat16"] = import_module("peers.openvino_cpu").OpenVinoBfloat16Peer
        del found["openvino"]
    return found, missing
