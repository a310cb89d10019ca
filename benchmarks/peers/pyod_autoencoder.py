"""PyOD's `AutoEncoder`, without its default batch normalisation, dropout and weight decay."""

import numpy as np
import torch
from pyod.models.auto_encoder import AutoEncoder
from pyod.utils.torch_utility import TorchDataset

from peers.base import ADAM, Peer


class PyodPeer(Peer):
    """PyOD. Its score is the distance between row and reconstruction; here it is squared and divided by d."""

    scoring_batches = (1024, 16384)
    row_limit = 65536

    def __init__(self, weights, n_threads):
        super().__init__(weights, n_threads)
        torch.set_num_threads(n_threads)
        n_hidden = len(self.widths) // 2
        self.detector = AutoEncoder(
            preprocessing=False,
            lr=ADAM["learning_rate"],
            optimizer_params={},
            hidden_neuron_list=list(self.widths[1 : n_hidden + 1]),
            batch_norm=False,
            dropout_rate=0.0,
            verbose=0,
        )
        self.detector.feature_size = self.n_features
        self.detector.build_model()
        for linear, (w, b) in zip(self._linears(), self.layers, strict=True):
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(w.T))
                linear.bias.copy_(torch.from_numpy(b))
        self.detector.training_prepare()

    def _linears(self):
        return [module for module in self.detector.model.modules() if isinstance(module, torch.nn.Linear)]

    def score(self, X, batch):
        distance = self.detector.decision_function(X, batch_size=batch)
        return (distance * distance / self.n_features).astype(np.float32)

    def train(self, X, batch, epochs, shuffle=True):
        loader = torch.utils.data.DataLoader(TorchDataset(X=X), batch_size=batch, shuffle=shuffle, drop_last=True)
        self.detector.epoch_num = epochs
        self.detector.model.train()
        self.detector.train(loader)

    def weights(self):
        return [(m.weight.detach().numpy().T.copy(), m.bias.detach().numpy().copy()) for m in self._linears()]


PEER = PyodPeer
