"""JAX: whole epochs in one jitted scan with donated parameters; scoring in one jitted call per batch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from peers.base import ADAM, Peer, batches, epoch_order


def reconstruct(layers, x):
    """Return the network's output."""
    *hidden, (w_last, b_last) = layers
    for w, b in hidden:
        x = jax.nn.relu(x @ w + b)
    return x @ w_last + b_last


@jax.jit
def row_errors(layers, x):
    """Return the mean squared errors, shape (n,)."""
    return jnp.mean(jnp.square(reconstruct(layers, x) - x), axis=1)


def batch_loss(layers, x):
    """Return the mean squared error of a batch."""
    return jnp.mean(jnp.square(reconstruct(layers, x) - x))


@partial(jax.jit, donate_argnums=0)
def train_epoch(state, X, order):
    """Train with Adam on the batches ``order`` of row indices, shape (n_batches, batch)."""

    def step(state, rows):
        layers, mean, square, count = state
        gradient = jax.grad(batch_loss)(layers, X[rows])
        count = count + 1
        correction = jnp.sqrt(1 - ADAM["beta_2"] ** count)
        rate = ADAM["learning_rate"] * correction / (1 - ADAM["beta_1"] ** count)
        epsilon = ADAM["epsilon"] * correction
        mean = jax.tree.map(lambda m, g: ADAM["beta_1"] * m + (1 - ADAM["beta_1"]) * g, mean, gradient)
        square = jax.tree.map(lambda v, g: ADAM["beta_2"] * v + (1 - ADAM["beta_2"]) * g * g, square, gradient)
        layers = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + epsilon), layers, mean, square)
        return (layers, mean, square, count), None

    return jax.lax.scan(step, state, order)[0]


class JaxPeer(Peer):
    """JAX. Rows are passed without a copy, which needs arrays that begin on a cache line."""

    def __init__(self, weights, n_threads):
        super().__init__(weights, n_threads)
        layers = [(jnp.array(w), jnp.array(b)) for w, b in self.layers]
        zeros = jax.tree.map(jnp.zeros_like, layers)
        self.state = (layers, zeros, jax.tree.map(jnp.zeros_like, layers), jnp.zeros((), jnp.float32))
        self.frozen = [(jnp.array(w), jnp.array(b)) for w, b in self.layers]
        self.rng = np.random.default_rng(0)

    def score(self, X, batch):
        pending = [row_errors(self.frozen, jnp.asarray(X[rows])) for rows in batches(len(X), batch)]
        return np.concatenate([np.asarray(errors) for errors in pending])

    def train(self, X, batch, epochs, shuffle=True):
        X, n_whole = jnp.asarray(X), len(X) // batch * batch
        for _ in range(epochs):
            order = epoch_order(self.rng, len(X), shuffle)[:n_whole].astype(np.int32).reshape(-1, batch)
            self.state = train_epoch(self.state, X, order)
        jax.block_until_ready(self.state)

    def weights(self):
        return [(np.array(w), np.array(b)) for w, b in self.state[0]]


PEER = JaxPeer
