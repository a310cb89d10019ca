"""Three runs of `figures` in PyTorch: the same network, data, batches and Adam, written as an expert would."""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as crossentropy

set_threads = torch.set_num_threads


def fit(module, loss, X, targets, batch_size, max_epochs, seed=0):
    """Train with shuffled minibatches and the fused optimiser, without copying the rows."""
    torch.manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    X, targets = torch.from_numpy(X), torch.from_numpy(targets)
    for _ in range(max_epochs):
        for rows in torch.randperm(len(X)).split(batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss(module, X[rows], targets[rows]).backward()
            optimizer.step()
    return module.eval()


def dense(code, X, targets, batch_size):
    """784-code-784, ReLU code, sigmoid output, binary crossentropy, 30 epochs."""
    module = nn.Sequential(nn.Linear(784, code), nn.ReLU(), nn.Linear(code, 784))
    return fit(module, lambda m, x, t: crossentropy(m(x), t), X, targets, batch_size, 30)


@torch.inference_mode()
def encode(module, X):
    return module[:2](torch.from_numpy(X)).numpy()


@torch.inference_mode()
def reconstruct(module, X):
    return torch.sigmoid(module(torch.from_numpy(X))).numpy()


class Variational(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 40))
        self.decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784))

    def negative_elbo(self, x):
        """Return the mean over rows, in nats."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum()
        return (crossentropy(self.decoder(z), x, reduction="sum") + kl) / len(x)


def variational(X, seed):
    return fit(Variational(), lambda m, x, t: m.negative_elbo(x), X, X, 128, 10, seed)


@torch.inference_mode()
def negative_elbo(module, X):
    torch.manual_seed(0)
    return float(np.mean([module.negative_elbo(rows).item() for rows in torch.from_numpy(X).split(1000)]))
