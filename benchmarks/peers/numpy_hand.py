"""NumPy by hand: operations write into preallocated buffers, and Adam works on one flat vector."""

import numpy as np

from peers.base import ADAM, Peer, batches, epoch_order


class NumpyPeer(Peer):
    """NumPy. Weights, gradients and both moments are views into flat vectors."""

    def __init__(self, weights, n_threads):
        super().__init__(weights, n_threads)
        self.flat = np.concatenate([array.ravel() for pair in self.layers for array in pair])
        self.gradient, self.mean, self.square, self.work = (np.zeros_like(self.flat) for _ in range(4))
        self.layers = self._views(self.flat)
        self.gradients = self._views(self.gradient)
        self.step = 0
        self.rng = np.random.default_rng(0)
        self.buffers = {}

    def _views(self, flat):
        views, begin = [], 0
        for n_in, n_out in zip(self.widths[:-1], self.widths[1:], strict=True):
            middle = begin + n_in * n_out
            views.append((flat[begin:middle].reshape(n_in, n_out), flat[middle : middle + n_out]))
            begin = middle + n_out
        return views

    def _outputs(self, n_rows):
        if n_rows not in self.buffers:
            self.buffers[n_rows] = [np.empty((n_rows, units), dtype=np.float32) for units in self.widths]
        return self.buffers[n_rows]

    def _forward(self, x, outputs):
        for index, (w, b) in enumerate(self.layers):
            y = np.matmul(x, w, out=outputs[index + 1])
            y += b
            if index < len(self.layers) - 1:
                np.maximum(y, 0, out=y)
            x = y
        return x

    def score(self, X, batch):
        errors = np.empty(len(X), dtype=np.float32)
        for rows in batches(len(X), batch):
            x = X[rows]
            residual = self._forward(x, self._outputs(len(x)))
            residual -= x
            np.einsum("ij,ij->i", residual, residual, out=errors[rows])
        errors /= self.n_features
        return errors

    def train(self, X, batch, epochs, shuffle=True):
        for _ in range(epochs):
            order = epoch_order(self.rng, len(X), shuffle)
            for rows in batches(len(X), batch):
                self._train_step(X, order[rows])

    def _train_step(self, X, rows):
        outputs = self._outputs(len(rows))
        np.take(X, rows, axis=0, out=outputs[0], mode="clip")
        delta = self._forward(outputs[0], outputs)
        delta -= outputs[0]
        delta *= np.float32(2 / (len(rows) * self.n_features))
        for index in reversed(range(len(self.layers))):
            d_weights, d_bias = self.gradients[index]
            np.matmul(outputs[index].T, delta, out=d_weights)
            delta.sum(axis=0, out=d_bias)
            if index:
                active = outputs[index] > 0
                delta = np.matmul(delta, self.layers[index][0].T, out=outputs[index])
                delta *= active
        self._adam()

    def _adam(self):
        self.step += 1
        beta_1, beta_2 = np.float32(ADAM["beta_1"]), np.float32(ADAM["beta_2"])
        correction = np.sqrt(1 - ADAM["beta_2"] ** self.step)
        self.mean *= beta_1
        np.multiply(self.gradient, 1 - beta_1, out=self.work)
        self.mean += self.work
        np.multiply(self.gradient, self.gradient, out=self.work)
        self.work *= 1 - beta_2
        self.square *= beta_2
        self.square += self.work
        np.sqrt(self.square, out=self.work)
        self.work += np.float32(ADAM["epsilon"] * correction)
        np.divide(self.mean, self.work, out=self.work)
        self.work *= np.float32(ADAM["learning_rate"] * correction / (1 - ADAM["beta_1"] ** self.step))
        self.flat -= self.work


PEER = NumpyPeer
