"""scikit-learn: an `MLPRegressor` that predicts the rows from themselves."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from peers.base import ADAM, Peer, batches


class SklearnPeer(Peer):
    """scikit-learn. Its loss is half the squared error summed over features, so epsilon is multiplied by d / 2."""

    def __init__(self, weights, n_threads):
        super().__init__(weights, n_threads)
        self.model = MLPRegressor(
            hidden_layer_sizes=tuple(self.widths[1:-1]),
            alpha=0.0,
            learning_rate_init=ADAM["learning_rate"],
            epsilon=ADAM["epsilon"] * self.n_features / 2,
            tol=0.0,
            n_iter_no_change=2**31,
            warm_start=True,
            max_iter=1,
            batch_size=2,
        )
        rows = np.zeros((2, self.n_features), dtype=np.float32)
        self._fit(rows)
        self.model.coefs_ = [w for w, _ in self.layers]
        self.model.intercepts_ = [b for _, b in self.layers]

    def _fit(self, X):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model.fit(X, X)

    def score(self, X, batch):
        errors = np.empty(len(X), dtype=np.float32)
        for rows in batches(len(X), batch):
            residual = self.model.predict(X[rows])
            residual -= X[rows]
            np.einsum("ij,ij->i", residual, residual, out=errors[rows])
        errors /= self.n_features
        return errors

    def train(self, X, batch, epochs, shuffle=True):
        self.model.set_params(batch_size=batch, max_iter=epochs, shuffle=shuffle)
        self._fit(X)

    def weights(self):
        return list(zip(self.model.coefs_, self.model.intercepts_, strict=True))


PEER = SklearnPeer
