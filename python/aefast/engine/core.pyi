"""Types of the compiled engine: the contents of every ``_engine_<level>`` module, and which level is in use.

Shapes: n rows, d features, q code units. ``network`` describes the layers (see `NetworkSpec`); ``parameters`` is the
flat list of their arrays in layer order. Both are plain data, so nothing here outlives a call unless you keep it. Every
array argument ``X`` may have any numeric dtype and layout and is read in place.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from typing_extensions import NotRequired

Array = NDArray[Any]

# The arrays of `aefast.model.whitening.Whitening` or `aefast.model.distances.Distances`, in their order.
Arrays = Sequence[NDArray[Any]]

__version__: str

#: The instruction-set level in use: "v2", "v3", "v4" or "v4_bf16" (x86-64-v2 ...), "neon" or "neon_bf16" on Arm,
#: "baseline" on other processors.
isa_level: str

#: The levels that were built and that this processor supports, lowest first.
isa_levels_available: tuple[str, ...]

class LayerSpec(TypedDict, total=False):
    kind: str  # a name in `aefast.model.layers.LAYERS`
    units: int  # outputs
    activation: str
    tied_to: int  # index of the layer whose transposed weights this one uses; -1: it has its own
    batch_norm: bool  # between product and activation; adds gamma, beta, running mean and variance to the parameters,
    # by output or, in convolutions, by channel
    dropout: float  # share of the outputs that are set to zero in training
    k: int  # top_k: outputs of a row that are kept
    target: float  # kl_sparsity: desired mean activation
    weight: float  # kl_sparsity: weight of the divergence summed over units
    image: tuple[int, int, int]  # image layers: (height, width, channels) of the input, channels adjacent in memory
    channels: int  # conv2d, conv2d_transpose: channels of the output
    kernel_size: int  # conv2d, conv2d_transpose: side of the square kernel
    padding: str  # conv2d, conv2d_transpose: same valid; see below
    stride: int  # conv2d: pixels between positions of the kernel; absent: 1
    factor: int  # max_pool2d: divides the sides, rounded up; conv2d_transpose, upsample2d: multiplies them
    output: tuple[int, int]  # conv2d_transpose, upsample2d: (height, width), if up to factor - 1 at the end are cut off

# conv2d: with "same" padding the output is (h / stride, w / stride, channels), rounded up, and tap
# max(0, kernel_size - stride) // 2 of the first position is on the first pixel. With "valid" the output is
# ((h - kernel_size + 1) / stride, ...), rounded up.
#
# conv2d_transpose is the transpose of a convolution with stride `factor`. With "same" the output is (h * factor,
# w * factor, channels), as in TensorFlow: max(0, kernel_size - factor) pixels are cut off, half of them (rounded down)
# at the start and the rest at the end. With "valid" the output is ((h - 1) * factor + kernel_size, ...), as in PyTorch.

class NetworkSpec(TypedDict):
    n_features: int
    layers: list[LayerSpec]
    n_encoder_layers: int  # layers[:n_encoder_layers] end in the code
    groups: list[tuple[int, int]]  # half-open column ranges, each normalised by softmax; []: one range of all columns
    # (begin, end, weight) of the features that encode each column of a table with columns of several kinds. Columns in
    # `groups` get softmax and categorical crossentropy, the others the last activation and the loss. The summed terms
    # of a column are weighted, and means are over columns.
    columns: NotRequired[list[tuple[int, int, float]]]

class ObjectiveSpec(TypedDict, total=False):
    loss: str  # a name in `aefast.model.metrics.LOSSES`
    l1: float
    l2: float
    activity_l1: float
    activity_l2: float
    clip_norm: float  # 0: off
    scale: float  # factor of a row's summed loss; 0 or absent: 1 / n_features
    threshold: float  # errors up to this size have no gradient
    contraction: float  # weight of the squared norm of the code's Jacobian; for encoders of plain dense layers
    noise: str  # gaussian masking salt_pepper: applied to the input, not to the target
    noise_level: float
    noise_lowest: list[float]  # salt_pepper: the two values of each feature that replace others
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
    """The map into the scaled space that the network sees: ``clip((x - shift) / scale, -limit, limit)``.

    NaN and infinities become ``fill`` (d,), in the scaled space, if it is given. With ``masks_missing`` the network
    reads 0 for them and losses and errors leave them out: a mean over features is the mean over the known ones, or 0 if
    there are none.

    ``n_levels`` has for each input column how many elements it has as a level: 1 for the number of the level, the last
    one for all larger numbers, 0 for the others. It is 0 for a column of numbers. Empty: all columns are numbers."""

    def __init__(
        self,
        shift: NDArray[np.float64],
        scale: NDArray[np.float64],
        limit: float,
        fill: NDArray[np.float64] | None = None,
        masks_missing: bool = False,
        n_levels: Sequence[int] = (),
    ) -> None: ...

class TeamChoice:
    """Decides from the duration of past training steps whether one thread alone is faster than a team."""

    def __init__(self) -> None: ...
    @property
    def is_alone(self) -> bool: ...
    def add(self, seconds: float, n_rows: int) -> None: ...

class Trainer:
    """Parameters and optimiser state of a network in training.

    ``parameters`` has for each dense layer the weights ``(n_in, n_out)``, unless they are tied, then the biases
    ``(n_out,)``. For each convolution it has the kernel ``(kernel_size, kernel_size, channels in, channels out)`` with
    all axes but the last flattened into one, then the biases ``(channels out,)``. The last two axes of a transposed
    kernel are ``(..., channels out, channels in)``."""

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
        """Train for one pass over ``rows`` of ``X`` (None: all rows); return the mean data loss as seen while training.

        ``epoch`` is the number of the pass: with the seed it fixes the shuffle and all random numbers. ``beta`` is the
        weight of the divergence of a gaussian code. ``corrupt`` gets each batch (n, d) float64 in the scaled space and
        returns it with noise. ``poll`` is called about ten times a second with the GIL; if it raises an exception, the
        epoch ends."""

    def evaluate(
        self,
        X: Array,
        scaling: Scaling,
        rows: NDArray[np.int64] | None = None,
        sample_weight: NDArray[np.float64] | None = None,
        target: Array | None = None,
        beta: float = 1.0,
    ) -> float:
        """The mean data loss without noise, dropout or update; a gaussian code is drawn at random."""

    def run_epochs(
        self,
        history: dict[str, Any],
        X: Array,
        scaling: Scaling,
        rows: NDArray[np.int64] | None = None,
        sample_weight: NDArray[np.float64] | None = None,
        target: Array | None = None,
        *,
        held_out: NDArray[np.int64] | None = None,
        penalised: NDArray[np.int64] | None = None,
        max_epochs: int,
        first_pass: int,
        learning_rate: float,
        batch_size: int,
        shuffle: bool = True,
        drop_last: bool = False,
        beta: float = 1.0,
        stops_early: bool,
        patience: int,
        tol: float,
        corrupt: Callable[[Array], Array] | None = None,
        poll: Callable[[], None] | None = None,
    ) -> None:
        """Run epochs of `train_epoch`, until the last one or until the monitored loss stops falling.

        The monitored loss is that of the rows ``held_out`` (None: of training), plus the mean penalty of the rows
        ``penalised`` (None: none). With ``stops_early`` the parameters of its lowest value are kept, and training stops
        after ``patience`` epochs without a decrease by more than ``tol`` times the value before.

        ``history`` gets, also if an exception ends an epoch: ``losses``, ``held_out_losses`` and ``monitored``, lists
        with a number for each epoch; ``best``, the parameters to keep; ``best_loss``; ``n_passes``, the number of
        epochs begun; and ``diverged``, the loss and the held-out loss of a last epoch whose values were not finite, or
        None."""

    def mean_penalty(
        self,
        X: Array,
        scaling: Scaling,
        rows: NDArray[np.int64] | None = None,
        sample_weight: NDArray[np.float64] | None = None,
    ) -> float:
        """The mean of `penalties`, in which each row has its sample weight."""

    def penalties(self, X: Array, scaling: Scaling, rows: NDArray[np.int64] | None = None) -> Array:
        """The penalty (n,) that the objective adds to each row's loss for its code: activity penalties, contraction,
        and for "kl_sparsity" the divergence of the batch around the row. Penalties on weights are left out."""

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
        """The objective with penalties, of all rows as one batch, and its gradient, shaped like ``parameters``."""

    def parameters(self) -> list[Array]: ...
    def set_parameters(self, parameters: Sequence[Array]) -> None: ...
    def optimizer_state(self) -> tuple[int, list[Array]]:
        """The number of steps taken and the optimiser's slots, one after the other, each shaped like ``parameters``."""

    def set_optimizer_state(self, step: int, slots: Sequence[Array]) -> None: ...

class Predictor:
    """A trained network: codes, reconstructions, errors."""

    def __init__(
        self, network: NetworkSpec, parameters: Sequence[Array], scaling: Scaling, dtype: str, n_threads: int
    ) -> None: ...
    def reduce(self, precision: str, ranges: Sequence[Array] | None = None) -> None:
        """Compute dense layers in "bfloat16" or "int8" from now on. Requires dtype "float32". "int8" also requires the
        ``ranges`` of `input_ranges`; "bfloat16" takes none."""

    def set_whitening(self, whitening: Arrays) -> None:
        """Keep the whitening for calls with the metric "mahalanobis" that do not give one. Call it after `reduce`."""

    def set_distances(self, distances: Arrays) -> None:
        """Keep the distances for calls with the metric "calibrated" that do not give them. Call it after `reduce`."""

    def finite_errors(self, X: Array, metric: str) -> Array | None:
        """As `errors`; None if an error is not finite."""

    def input_ranges(self, X: Array, n_beyond: int) -> list[Array]:
        """The smallest and largest value (2, n_in) of each input of each dense layer over the rows, as float32, without
        the ``n_beyond`` smallest and largest. Requires dtype "float32"."""

    def errors(self, X: Array | Sequence[Array], metric: str, arrays: Arrays | None = None) -> Array:
        """The error (n,) of each row, in ``dtype``; a row with NaN or infinity gets NaN. ``X`` may also be a list of d
        contiguous columns (n,) of one dtype.

        The metric "calibrated" requires ``arrays``: those of `aefast.model.distances.Distances`. The metric
        "mahalanobis" requires a whitening, and other metrics take no arrays: with p = d + q, the centre m
        (p,), the matrix W (p, p), and the typical scaled row and its deviation (d,). The error is the mean square of
        W (v - m), v = [r; h] being the residual (row minus output) and the code."""

    def feature_errors(self, X: Array, metric: str, arrays: Arrays | None = None) -> Array:
        """Each feature's share (n, d) of the error; a row sums to its error. In a Mahalanobis error, the squares of the
        code are divided among features in proportion to their squared distance, in deviations, from the typical row."""

    def parts(self, X: Array, distances: Arrays | None = None) -> Array:
        """The parts (n, 4) of calibrated scores before they are standardised: log D, log J, log P and B."""

    def reasons(
        self, X: Array, metric: str, arrays: Arrays | None = None, *, top: int
    ) -> tuple[Array, NDArray[np.int32], Array, Array, NDArray[np.float64]]:
        """The errors (n,) of `errors`, and the ``top`` features, at most 16, with the largest shares of each.

        Returns errors, columns, shares in [0, 1], expected values in input units and the values in ``X``, the last four
        (n, top). If features encode columns of several kinds, the columns of the table are ranked instead, a missing
        one as -1. Expected values are then (n, top, most): the number of the most probable level of a category, or the
        outputs of another column, with zeros up to the largest number that a column has. Values are empty, (0, top)."""

    def losses(self, X: Array, loss: str, *, scale: float, beta: float, seed: int) -> Array:
        """Each row's part (n,) of the objective: ``scale`` times its summed loss, and with a gaussian code, drawn from
        ``seed``, ``beta`` times its divergence."""

    def encode(self, X: Array) -> Array:
        """The codes (n, q)."""

    def residuals_and_codes(self, X: Array, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """The rows in the scaled space (n, d) less the outputs, then the codes (n, d + q), in double precision, from
        one pass through the network."""

    def decode(self, Z: Array) -> Array:
        """The rows (n, d) of codes (n, q), in input units."""

    def reconstruct(self, X: Array, scaled: bool = False) -> Array:
        """The outputs (n, d), in input units or in the scaled space."""

class Evidence:
    """Evidence of columns of several kinds (see `aefast.model.evidence`), for encoded rows ``X`` (n, m).

    ``contexts`` has for each context a dict with ``column``, ``kind``, ``input`` and ``n``; of levels ``own`` and
    perhaps ``left_own`` and ``left_state``, of hours perhaps the first two, of numbers ``edges`` and perhaps
    ``margin``. ``targets`` are tuples of context, margin, its factors of rows that are left out, parents (context,
    table, factors) and tail. ``tails`` has one or None for each family. A tail is a tuple of knots, nats and the slope
    beyond."""

    def __init__(
        self,
        n_columns: int,
        n_inputs: int,
        contexts: Sequence[dict[str, Any]],
        targets: Sequence[tuple[Any, ...]],
        tails: Sequence[tuple[Any, ...] | None],
        n_threads: int,
    ) -> None: ...
    def surprises(self, X: Array, leaves_out: bool = False) -> NDArray[np.float64]:
        """The surprise (n, number of targets) of each row in each target, in nats, before its tail.

        With ``leaves_out`` rows are training rows, each judged as if training had not had it."""

    def families(self, X: Array, leaves_out: bool = False) -> NDArray[np.float64]:
        """The largest evidence (n, 3) of levels, of numbers and of targets, before the tails of the families."""

    def errors(
        self, X: Array, joint: NDArray[np.float64] | None = None, leaves_out: bool = False
    ) -> NDArray[np.float64]:
        """The joined score (n,); ``joint`` (n,) is the score of the numbers together, NaN for none."""

    def contributions(
        self, X: Array, joint: NDArray[np.float64] | None = None, shares: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Each column's part (n, C) of the joined score, and the most probable state of its level or hour, or -1.

        ``shares`` (n, C) divides ``joint`` among the columns."""

def column_statistics(X: Array, rows: NDArray[np.int64] | None, n_threads: int) -> dict[str, Array]:
    """``mean``, ``std`` (population), ``min``, ``max`` (d,) float64 and ``n_nonfinite`` (d,) int64, in one pass."""

def count_above(X: Array | list[Array], limits: Array, n_threads: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count, for each column, the values above each of its ``limits`` (d, k) and the missing values: (d, k) and (d,).

    ``X`` is an array (n, d), or a list of contiguous columns of one dtype. Types that float32 holds exactly are
    compared with the limits as float32.
    """

def centres(
    rows: NDArray[np.float64],
    start: NDArray[np.float64],
    weights: NDArray[np.float64] | None,
    n_steps: int,
    trimmed: float,
) -> NDArray[np.float64]:
    """Move centres (k, d) from ``start`` by ``n_steps`` of Lloyd's algorithm (k-means) on rows (n, d).

    From the second step on the share ``trimmed`` of the rows, those with the largest mean distance from their three
    nearest centres, moves none.
    """

def local_means(
    rows: NDArray[np.float64], anchors: NDArray[np.float64], mass: float, weights: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean (k, d) of the rows nearest to each anchor (k, d) that have the share ``mass`` of all, and their mean
    squared distance (k,) from it."""

def power_distances(
    rows: NDArray[np.float64], means: NDArray[np.float64], spreads: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The least squared distance (n,) of each row from a mean (k, d) plus the spread (k,) of that mean."""

def activation(name: str, z: Array) -> tuple[Array, Array]:
    """The value and the derivative at ``z`` (1-d float32 or float64), as the layers compute them."""

def build_info() -> dict[str, Any]:
    """``isa``, ``compiler``, ``eigen``, ``eigen_packet``, ``bfloat16`` and ``int8`` (all str) and ``fma`` (bool) of
    this module."""

def multiply_adds(n: int) -> float:
    """Do ``n`` rounds of float32 vector multiply-adds on registers; return the number of floating-point operations."""

def read_memory(values: NDArray[np.float32]) -> float:
    """Read a contiguous array once; return a sum, so that the compiler keeps the loop."""
