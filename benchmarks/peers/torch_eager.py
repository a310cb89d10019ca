"""PyTorch in eager mode: inference mode for scoring, fused Adam for training, one gather per batch."""

import numpy as np
import torch
from torch import nn

from peers.base import ADAM, Peer, batches


def build_model(layers):
    """Return an `nn.Sequential` with these weights."""
    modules = []
    for index, (w, b) in enumerate(layers):
        linear = nn.Linear(*w.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T))
            linear.bias.copy_(torch.from_numpy(b))
        modules.append(linear)
        if index < len(layers) - 1:
            modules.append(nn.ReLU(inplace=True))
    return nn.Sequential(*modules)


class TorchPeer(Peer):
    """PyTorch. Subclasses compile ``loss`` and ``row_errors``."""

    def __init__(self, weights, n_threads):
        super().__init__(weights, n_threads)
        torch.set_num_threads(n_threads)
        self.model = build_model(self.layers)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(),
            lr=ADAM["learning_rate"],
            betas=(ADAM["beta_1"], ADAM["beta_2"]),
            eps=ADAM["epsilon"],
            fused=True,
        )

    def row_errors(self, x):
        """Return the mean squared errors, shape (n,)."""
        return (self.model(x) - x).square().mean(dim=1)

    def loss(self, x):
        """Return the mean squared error of a batch."""
        return nn.functional.mse_loss(self.model(x), x)

    def score(self, X, batch):
        X, errors = torch.from_numpy(X), torch.empty(len(X))
        with torch.inference_mode():
            for rows in batches(len(X), batch):
                errors[rows] = self.row_errors(X[rows])
        return errors.numpy()

    def train(self, X, batch, epochs, shuffle=True):
        X = torch.from_numpy(X)
        for _ in range(epochs):
            order = torch.randperm(len(X)) if shuffle else torch.arange(len(X))
            for rows in order.split(batch):
                loss = self.loss(X.index_select(0, rows))
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self.optimizer.step()

    def weights(self):
        linears = [module for module in self.model if isinstance(module, nn.Linear)]
        return [(np.ascontiguousarray(m.weight.detach().numpy().T), m.bias.detach().numpy().copy()) for m in linears]


PEER = TorchPeer
