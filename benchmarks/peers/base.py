"""Base class of the peers."""

import numpy as np

ADAM = {"learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}


class Peer:
    """One library with one network; the package's docstring describes the methods."""

    scores = True
    trains = True
    scoring_batches: tuple[int, ...] = (64, 256, 1024, 4096, 16384)
    row_limit = 2**62  # slow peers lower this and are timed on fewer rows

    def __init__(self, weights, n_threads):
        self.layers = [(np.array(w), np.array(b)) for w, b in weights]
        self.n_threads = n_threads
        self.n_features = self.layers[0][0].shape[0]
        self.widths = [self.n_features, *(len(b) for _, b in self.layers)]

    def score(self, X, batch):
        """Return the mean squared error of each row's reconstruction."""
        raise NotImplementedError

    def train(self, X, batch, epochs, shuffle=True):
        """Train on minibatches of ``X``; the optimiser's state lives for this call or longer."""
        raise NotImplementedError

    def weights(self):
        """Return [(weights (n_in, n_out), biases (n_out,))]."""
        return self.layers


def batches(n_rows, batch):
    """Yield slices of at most ``batch`` rows."""
    return [slice(begin, min(begin + batch, n_rows)) for begin in range(0, n_rows, batch)]


def epoch_order(rng, n_rows, shuffle):
    """Return the order of the rows in one epoch."""
    return rng.permutation(n_rows) if shuffle else np.arange(n_rows)
