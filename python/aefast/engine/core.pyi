"""Types of the compiled engine: what every ``_engine_<level>`` module offers, and which of them is in use.

Shapes: n rows, d features, q code units. ``network`` describes layers (see `NetworkSpec`), ``parameters``
is the flat list of their arrays in layer order; both are plain data, so nothing here outlives a call unless
you keep it. Every array argument ``X`` may have any numeric dtype and layout and is read in place.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from typing_extensions import NotRequired

Array = NDArray[Any]
Whitening = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

__version__: str

#: The instruction-set level in use: "v2", "v3", "v4" or "v4_bf16" (x86-64-v2 ...), "baseline" on other processors.
isa_level: str

#: The levels that were built and that this processor runs, lowest first.
isa_levels_available: tuple[str, ...]

class LayerSpec(TypedDict, total=False):
    kind: str  # dense top_k kl_sparsity gaussian_code conv2d conv2d_transpose max_pool2d upsample2d
    units: int  # outputs
    activation: str
    tied_to: int  # index of the layer whose weights, transposed, this one uses; -1: its own
    batch_norm: bool  # between product and activation; adds gamma, beta, running mean and variance to the parameters
    dropout: float  # share of this layer's outputs set to zero in training
    k: int  # top_k: how many outputs of a row are kept
    target: float  # kl_sparsity: the mean activation wanted
    weight: float  # kl_sparsity: of the divergence summed over units
    image: tuple[int, int, int]  # the last four: (height, width, channels) of the input, the channel running fastest
    channels: int  # conv2d, conv2d_transpose: of the output
    kernel_size: int  # conv2d, conv2d_transpose: the side of the square kernel
    padding: str  # conv2d, conv2d_transpose: same valid, see below
    factor: int  # max_pool2d: how many times smaller, must divide; conv2d_transpose, upsample2d: how many times larger

# conv2d has stride 1 and gives (h, w, channels) with "same" padding, where tap (kernel_size - 1) // 2 lies on the pixel
# itself, and (h - kernel_size + 1, w - kernel_size + 1, channels) with "valid". conv2d_transpose is the transpose of a
# convolution with stride `factor`. With "same" it gives (h * factor, w * factor, channels), as TensorFlow does: of the
# max(0, kernel_size - factor) pixels too many, half, rounded down, are cut off before the first, the others after the
# last. With "valid" it gives ((h - 1) * factor + kernel_size, ...), as PyTorch does.

class NetworkSpec(TypedDict):
    n_features: int
    layers: list[LayerSpec]
    n_encoder_layers: int  # layers[:n_encoder_layers] end in the code
    groups: list[tuple[int, int]]  # half-open column ranges normalised together by softmax; [] is one range
    # (begin, end, weight) of the features that stand for each column of a table, where those are of several kinds: the
    # features of a column in `groups` then get softmax and categorical crossentropy, the others the last activation
    # and the loss; a column's summed terms are weighted, and means are over columns
    columns: NotRequired[list[tuple[int, int, float]]]

class ObjectiveSpec(TypedDict, total=False):
    loss: str  # mse mae huber binary_crossentropy categorical_crossentropy
    l1: float
    l2: float
    activity_l1: float
    activity_l2: float
    clip_norm: float  # 0: off
    scale: float  # of a row's summed loss; 0 or absent: 1 / n_features
    threshold: float  # features whose output is off by no more pass nothing back
    contraction: float  # weight of a row's squared norm of the code's Jacobian; for encoders of plain dense layers
    noise: str  # gaussian masking salt_pepper: the input is corrupted, the target stays
    noise_level: float
    noise_lowest: list[float]  # salt_pepper: what an element may become, by feature
    noise_highest: list[float]

class OptimizerSpec(TypedDict, total=False):
    kind: str  # sgd rmsprop adam adamw
    momentum: float
    nesterov: bool
    rho: float
    beta_1: float
    beta_2: float
    epsilon: float
    weight_decay: float

class Scaling:
    """The map into the space the network sees: ``clip((x - shift) / scale, -limit, limit)``.

    NaN and infinities become ``fill`` (d,), in that space, where it is given. With ``masks_missing`` the network is
    given 0 for them, and they have no part in losses and errors: a mean over features is one over the others, 0 where
    there are none."""

    def __init__(
        self,
        shift: NDArray[np.float64],
        scale: NDArray[np.float64],
        limit: float,
        fill: NDArray[np.float64] | None = None,
        masks_missing: bool = False,
    ) -> None: ...

class TeamChoice:
    """Whether training steps are for one thread alone rather than a team, by the seconds that steps so far took."""

    def __init__(self) -> None: ...
    @property
    def is_alone(self) -> bool: ...
    def add(self, seconds: float, n_rows: int) -> None: ...

class Trainer:
    """Parameters and optimiser state of a network in training. ``parameters`` per dense layer: weights
    ``(n_in, n_out)`` (absent when tied), then biases ``(n_out,)``. Per convolution: the kernel
    ``(kernel_size, kernel_size, channels in, channels out)`` with all axes but the last made one, then biases
    ``(channels out,)``; the last two axes of a transposed one are ``(..., channels out, channels in)``."""

    def __init__(
        self,
        network: NetworkSpec,
        parameters: Sequence[Array],
        objective: ObjectiveSpec,
        optimizer: OptimizerSpec,
        dtype: str,
        seed: int,
        n_threads: int,
    ) -> None: ...
    def train_epoch(
        self,
        X: Array,
        scaling: Scaling,
        rows: NDArray[np.int64] | None = None,
        sample_weight: NDArray[np.float64] | None = None,
        target: Array | None = None,
        *,
        epoch: int,
        learning_rate: float,
        batch_size: int,
        shuffle: bool = True,
        drop_last: bool = False,
        beta: float = 1.0,
        corrupt: Callable[[Array], Array] | None = None,
        poll: Callable[[], None] | None = None,
    ) -> float:
        """One pass over ``rows`` of ``X`` (all rows when None); the mean data loss over the rows, as seen while
        training. ``epoch`` numbers the pass: with the seed it fixes the shuffle and every random draw.
        ``beta`` weighs the divergence of a gaussian code. ``corrupt`` gets each batch (n, d) float64 in the scaled
        space and returns it corrupted. ``poll`` is called about ten times a second with the GIL; an exception it
        raises ends the epoch."""

    def evaluate(
        self,
        X: Array,
        scaling: Scaling,
        rows: NDArray[np.int64] | None = None,
        sample_weight: NDArray[np.float64] | None = None,
        target: Array | None = None,
        beta: float = 1.0,
    ) -> float:
        """Mean data loss without corruption, dropout or update; a gaussian code is drawn."""

    def penalties(self, X: Array, scaling: Scaling, rows: NDArray[np.int64] | None = None) -> Array:
        """(n,) what the objective adds to each row's loss for its code: activity penalties, contraction, and of a code
        held to a mean activation the divergence in the batch around the row. Weights' penalties are not in it."""

    def gradient(
        self,
        X: Array,
        scaling: Scaling,
        sample_weight: NDArray[np.float64] | None = None,
        target: Array | None = None,
        *,
        epoch: int = 0,
        beta: float = 1.0,
    ) -> tuple[float, list[Array]]:
        """The objective, with penalties, of all rows as one batch, and its gradient, shaped like ``parameters``."""

    def parameters(self) -> list[Array]: ...
    def set_parameters(self, parameters: Sequence[Array]) -> None: ...
    def optimizer_state(self) -> tuple[int, list[Array]]:
        """Steps taken and the optimiser's slots, each shaped like ``parameters`` and listed slot by slot."""

    def set_optimizer_state(self, step: int, slots: Sequence[Array]) -> None: ...

class Predictor:
    """A trained network for reading: codes, reconstructions, errors."""

    def __init__(
        self, network: NetworkSpec, parameters: Sequence[Array], scaling: Scaling, dtype: str, n_threads: int
    ) -> None: ...
    def reduce(self, precision: str, ranges: Sequence[Array] | None = None) -> None:
        """Compute dense layers in "bfloat16" or "int8" from now on; only for dtype "float32". "int8", and it alone,
        takes the ``ranges`` of `input_ranges`."""

    def input_ranges(self, X: Array, n_beyond: int) -> list[Array]:
        """Least and largest inputs (2, n_in) of each dense layer over the rows, when of each input the ``n_beyond``
        least and largest are left out. Only for dtype "float32"; float32."""

    def errors(self, X: Array | Sequence[Array], metric: str, whitening: Whitening | None = None) -> Array:
        """(n,) one error a row, in ``dtype``; ``X`` may also be d contiguous columns (n,) of one dtype. A row
        with NaN or infinity gets NaN. The metric "mahalanobis", and it alone, takes ``whitening``: the centre m
        (p,), the matrix W (p, p), and the usual scaled row and its deviation (d,), p being d + q. The error is
        the mean square of W (v - m) for v = [r; h], residual (row minus output) and code."""

    def feature_errors(self, X: Array, metric: str, whitening: Whitening | None = None) -> Array:
        """(n, d) each feature's share; a row sums to its error. Of the code's squares in a Mahalanobis error a feature
        has the part that its squared distance from the usual row, in deviations, has in the sum of these."""

    def reasons(
        self, X: Array, metric: str, whitening: Whitening | None = None, *, top: int
    ) -> tuple[Array, NDArray[np.int32], Array, Array, NDArray[np.float64]]:
        """Errors (n,) as `errors` gives them and, in the same pass, of the ``top`` features with the largest shares of
        them, at most 16: columns, shares in [0, 1], expected values in input units and the values in X, all (n, top).
        Where features stand for columns of several kinds, it is these: -1 for a missing one; of a category the number
        of its most probable level is expected, of others their outputs, with zeros up to the most that one has,
        (n, top, most), and there are no values, (0, top)."""

    def losses(self, X: Array, loss: str, *, scale: float, beta: float, seed: int) -> Array:
        """(n,) each row's part of the objective: ``scale`` times its summed loss and, with a gaussian code, which is
        drawn from ``seed``, ``beta`` times its divergence."""

    def encode(self, X: Array) -> Array:
        """(n, q)."""

    def decode(self, Z: Array) -> Array:
        """(n, q) codes to (n, d) rows in input units."""

    def reconstruct(self, X: Array, scaled: bool = False) -> Array:
        """(n, d) in input units, or in the scaled space."""

def column_statistics(X: Array, rows: NDArray[np.int64] | None, n_threads: int) -> dict[str, Array]:
    """``mean``, ``std`` (population), ``min``, ``max`` (d,) float64 and ``n_nonfinite`` (d,) int64, in one pass."""

def activation(name: str, z: Array) -> tuple[Array, Array]:
    """The value and the derivative at ``z`` (1-d float32 or float64), as the layers compute them."""

def build_info() -> dict[str, Any]:
    """``isa``, ``compiler``, ``eigen``, ``eigen_packet``, ``bfloat16`` and ``int8`` (all str) and ``fma`` (bool) of
    this module."""

def multiply_adds(n: int) -> float:
    """Some ``n`` dozen float32 vector multiply-adds on registers alone: how many operations that was."""

def read_memory(values: NDArray[np.float32]) -> float:
    """Reads a contiguous array once."""
