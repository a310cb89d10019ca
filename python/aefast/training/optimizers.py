"""Optimizers as small frozen objects: their names and constants. The engine takes the steps.

The learning rate is a parameter of the estimator (`learning_rate`, a number or a schedule), not of the optimizer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar, cast

from aefast.engine import core
from aefast.training.checks import require_number


@dataclass(frozen=True)
class Optimizer:
    """Base of the optimizers."""

    kind: ClassVar[str] = ""

    def spec(self) -> core.OptimizerSpec:
        """Return the optimizer as the engine reads it."""
        return cast("core.OptimizerSpec", {"kind": self.kind, **asdict(self)})


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent: v <- momentum v + g, w <- w - rate v.

    Parameters
    ----------
    momentum : float in [0, 1), default 0
        Share of the previous velocity that a step keeps.
    nesterov : bool, default False
        Step along g + momentum v, which evaluates the gradient at the point that momentum leads to (Nesterov 1983, in
        the form of Sutskever et al. 2013). Requires ``momentum`` above 0.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    Adam : Adapts the step to each weight.

    Examples
    --------
    >>> import aefast
    >>> aefast.Autoencoder((8,), optimizer=aefast.SGD(momentum=0.9, nesterov=True), learning_rate=0.05)
    Autoencoder(encoder_layer_sizes=(8,), learning_rate=0.05,
                optimizer=SGD(momentum=0.9, nesterov=True))
    """

    kind = "sgd"
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        require_number(self, "momentum", "in [0, 1)", lambda share: 0 <= share < 1)
        if not isinstance(self.nesterov, bool):
            raise ValueError(f"SGD: nesterov must be True or False, got {self.nesterov!r}")
        if self.nesterov and self.momentum == 0:
            raise ValueError("SGD: nesterov=True needs momentum above 0")


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop: steps divided by a running root mean square of the gradient (Hinton 2012, lecture 6e).

    Parameters
    ----------
    rho : float in [0, 1), default 0.9
        Share of the running mean of squares that a step keeps.
    epsilon : float above 0, default 1e-8
        Added to the root.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    Adam : Also keeps a running mean of the gradient.

    Examples
    --------
    >>> from aefast import RMSprop
    >>> RMSprop(rho=0.95)
    RMSprop(rho=0.95, epsilon=1e-08)
    """

    kind = "rmsprop"
    rho: float = 0.9
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        require_number(self, "rho", "in [0, 1)", lambda share: 0 <= share < 1)
        require_number(self, "epsilon", "a number above 0", lambda value: value > 0)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adaptive moment estimation (Kingma and Ba 2015, algorithm 1).

    Parameters
    ----------
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.999
        Shares of the running means of the gradient and of its square that a step keeps.
    epsilon : float above 0, default 1e-8
        Added to the root.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    AdamW : Adam with decay of weights.

    Examples
    --------
    >>> from aefast import Adam
    >>> Adam(beta_2=0.99)
    Adam(beta_1=0.9, beta_2=0.99, epsilon=1e-08)
    """

    kind = "adam"
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        require_number(self, "beta_1", "in [0, 1)", lambda share: 0 <= share < 1)
        require_number(self, "beta_2", "in [0, 1)", lambda share: 0 <= share < 1)
        require_number(self, "epsilon", "a number above 0", lambda value: value > 0)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam that also shrinks weights by rate x ``weight_decay`` in each step (Loshchilov and Hutter 2019, algorithm 2).

    It does not shrink biases.

    Parameters
    ----------
    beta_1, beta_2, epsilon : float
        As in `Adam`.
    weight_decay : float, at least 0, default 0.01
        Share of a weight that a step at learning rate 1 removes.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    Adam : Without decay. The estimator's ``l2`` is a penalty in the loss.

    Examples
    --------
    >>> from aefast import AdamW
    >>> AdamW(weight_decay=0.1).weight_decay
    0.1
    """

    kind = "adamw"
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "weight_decay", "a number, at least 0", lambda decay: decay >= 0)


OPTIMIZERS: dict[str, type[Optimizer]] = {kind.kind: kind for kind in (SGD, RMSprop, Adam, AdamW)}


def optimizer_spec(optimizer: str | Optimizer) -> core.OptimizerSpec:
    """Return the engine's description of an optimizer, given as an object or by name (with its default constants)."""
    return (OPTIMIZERS[optimizer]() if isinstance(optimizer, str) else optimizer).spec()
