"""aefast: the engine calls that its estimators make."""

import numpy as np

import shapes
from aefast.engine import core
from peers.base import ADAM, Peer

OPTIMIZER = {"kind": "adam", "beta_1": ADAM["beta_1"], "beta_2": ADAM["beta_2"], "epsilon": ADAM["epsilon"]}


def network_of(widths):
    """Return the `NetworkSpec` of a benchmark network."""
    activations = ["relu"] * (len(widths) - 2) + ["identity"]
    return {
        "n_features": widths[0],
        "layers": [
            {"kind": "dense", "units": units, "activation": activation, "tied_to": -1, "dropout": 0.0}
            for units, activation in zip(widths[1:], activations, strict=True)
        ],
        "n_encoder_layers": len(widths) // 2,
        "groups": [],
    }


class AefastPeer(Peer):
    """aefast; ``score`` passes all rows at once, because the engine makes its own blocks."""

    scoring_batches = (2**62,)
    precision = "float32"

    def __init__(self, weights, n_threads):
        super().__init__(weights, n_threads)
        network = network_of(self.widths)
        parameters = [array for pair in self.layers for array in pair]
        self.scaling = core.Scaling(np.zeros(self.n_features), np.ones(self.n_features), 1e6)
        self.predictor = core.Predictor(network, parameters, self.scaling, "float32", n_threads)
        if self.precision != "float32":
            rows = shapes.random_rows(2048, self.n_features, seed=2)
            is_int8 = self.precision == "int8"
            self.predictor.reduce(self.precision, self.predictor.input_ranges(rows, 2) if is_int8 else None)
        self.trainer = core.Trainer(network, parameters, {"loss": "mse"}, OPTIMIZER, "float32", 0, n_threads)
        self.epoch = 0

    def score(self, X, batch):
        """Score all rows in one call; ``batch`` is ignored."""
        return self.predictor.errors(X, "mse")

    def train(self, X, batch, epochs, shuffle=True):
        """Run whole epochs in the engine."""
        for _ in range(epochs):
            self.trainer.train_epoch(
                X,
                self.scaling,
                epoch=self.epoch,
                learning_rate=ADAM["learning_rate"],
                batch_size=batch,
                shuffle=shuffle,
            )
            self.epoch += 1

    def weights(self):
        """Return the trainer's weights."""
        flat = self.trainer.parameters()
        return list(zip(flat[::2], flat[1::2], strict=True))


class AefastBfloat16Peer(AefastPeer):
    """aefast, scoring in bfloat16."""

    precision = "bfloat16"


class AefastInt8Peer(AefastPeer):
    """aefast, scoring in int8."""

    precision = "int8"


PEER = AefastPeer
