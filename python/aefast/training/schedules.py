"""Learning-rate schedules: frozen objects that return the rate of an epoch from its number and the losses so far.

A schedule is any object with ``rate(epoch, losses) -> float``. The schedules here depend on their arguments alone, so
that one object can serve several estimators, and training that continues later uses the right rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, isfinite, pi
from typing import Protocol, runtime_checkable

from aefast.training.checks import require_count, require_number


@runtime_checkable
class Schedule(Protocol):
    """Interface of a learning-rate schedule: any object with such a method is one.

    See Also
    --------
    aefast.CosineSchedule : One of aefast's own schedules.

    Examples
    --------
    A rate that is halved once, after ten epochs:

    >>> import numpy as np
    >>> from aefast import Autoencoder
    >>> class Halved:
    ...     def rate(self, epoch, losses):
    ...         return 2e-3 if epoch < 10 else 1e-3
    >>> X = np.random.default_rng(0).normal(size=(500, 9))
    >>> Autoencoder(learning_rate=Halved(), max_epochs=12, early_stopping=False, random_state=0).fit(X).n_epochs_
    12
    """

    def rate(self, epoch: int, losses: Sequence[float]) -> float:
        """Return the rate of an epoch; for the ``beta`` of a variational autoencoder, its value.

        Parameters
        ----------
        epoch : int
            Number of the epoch, from 0 on.
        losses : sequence of float
            The monitored losses of the epochs before it: of the held-out rows, or of training if there are none.

        Returns
        -------
        float
            The rate.
        """


Schedule.__module__ = "aefast.schedules"  # messages name the public module


@dataclass(frozen=True)
class ConstantSchedule(Schedule):
    """A constant rate in every epoch.

    Parameters
    ----------
    initial : float above 0
        The learning rate.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    StepSchedule : Falls at regular intervals.

    Examples
    --------
    >>> from aefast import ConstantSchedule
    >>> ConstantSchedule(0.01).rate(5, [])
    0.01
    """

    initial: float

    def __post_init__(self) -> None:
        require_number(self, "initial", "a number above 0", lambda rate: rate > 0)

    def rate(self, epoch: int, losses: Sequence[float]) -> float:
        return self.initial


@dataclass(frozen=True)
class StepSchedule(Schedule):
    """``initial * factor ** (epoch // every)``: the rate falls by a factor at regular intervals.

    Parameters
    ----------
    initial : float above 0
        The rate at the start.
    every : int, at least 1
        Epochs between two falls.
    factor : float in (0, 1], default 0.1
        Factor of each fall.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    ExponentialSchedule : Falls in every epoch.

    Examples
    --------
    >>> from aefast import StepSchedule
    >>> schedule = StepSchedule(0.1, every=10, factor=0.5)
    >>> [schedule.rate(epoch, []) for epoch in (0, 9, 10, 20)]
    [0.1, 0.1, 0.05, 0.025]
    """

    initial: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        require_number(self, "initial", "a number above 0", lambda rate: rate > 0)
        require_count(self, "every", 1)
        require_number(self, "factor", "in (0, 1]", lambda factor: 0 < factor <= 1)

    def rate(self, epoch: int, losses: Sequence[float]) -> float:
        return self.initial * self.factor ** (epoch // self.every)


@dataclass(frozen=True)
class ExponentialSchedule(Schedule):
    """``initial * factor ** epoch``: the rate falls by a factor in every epoch.

    Parameters
    ----------
    initial : float above 0
        The rate at the start.
    factor : float in (0, 1]
        Factor of each epoch.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    StepSchedule : Falls every few epochs.

    Examples
    --------
    >>> from aefast import ExponentialSchedule
    >>> ExponentialSchedule(0.1, factor=0.5).rate(2, [])
    0.025
    """

    initial: float
    factor: float

    def __post_init__(self) -> None:
        require_number(self, "initial", "a number above 0", lambda rate: rate > 0)
        require_number(self, "factor", "in (0, 1]", lambda factor: 0 < factor <= 1)

    def rate(self, epoch: int, losses: Sequence[float]) -> float:
        return self.initial * self.factor**epoch


@dataclass(frozen=True)
class CosineSchedule(Schedule):
    """Half a cosine from ``initial`` down to ``final`` over ``n_epochs``, after a linear warm-up.

    The formula is that of Loshchilov and Hutter (2017, equation 5), without restarts.

    Parameters
    ----------
    initial : float above 0
        The largest rate.
    n_epochs : int, at least 1
        Epochs until the rate reaches ``final``, including the warm-up. It stays there.
    final : float in [0, initial], default 0
        The rate at the end.
    warmup : int, at least 0 and less than ``n_epochs``, default 0
        Epochs in which the rate first rises to ``initial``.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    LinearSchedule : Falls or rises in equal steps.

    Examples
    --------
    >>> from aefast import CosineSchedule
    >>> schedule = CosineSchedule(0.1, n_epochs=10, warmup=2)
    >>> [round(schedule.rate(epoch, []), 3) for epoch in (0, 1, 2, 6, 10)]
    [0.05, 0.1, 0.1, 0.05, 0.0]
    """

    initial: float
    n_epochs: int
    final: float = 0.0
    warmup: int = 0

    def __post_init__(self) -> None:
        require_number(self, "initial", "a number above 0", lambda rate: rate > 0)
        require_count(self, "n_epochs", 1)
        require_number(self, "final", f"in [0, initial={self.initial!r}]", lambda rate: 0 <= rate <= self.initial)
        require_count(self, "warmup", 0)
        require_number(self, "warmup", f"less than n_epochs={self.n_epochs}", lambda epochs: epochs < self.n_epochs)

    def rate(self, epoch: int, losses: Sequence[float]) -> float:
        if epoch < self.warmup:
            return self.initial * (epoch + 1) / self.warmup
        share = min(1.0, (epoch - self.warmup) / (self.n_epochs - self.warmup))
        return self.final + (self.initial - self.final) * (1 + cos(pi * share)) / 2


@dataclass(frozen=True)
class LinearSchedule(Schedule):
    """From ``initial`` to ``final`` in equal steps over ``n_epochs``, then constant.

    It is mostly used for the ``beta`` of a variational autoencoder (Bowman et al. 2016, section 3.1; Sonderby et al.
    2016, section 2.4).

    Parameters
    ----------
    initial : float, at least 0
        The value in the first epoch.
    final : float, at least 0
        The value from epoch ``n_epochs`` on.
    n_epochs : int, at least 1
        Epochs until the value reaches ``final``.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    CosineSchedule : Falls slowly, quickly and slowly again.

    Examples
    --------
    >>> from aefast import LinearSchedule
    >>> schedule = LinearSchedule(0.0, 1.0, n_epochs=4)
    >>> [schedule.rate(epoch, []) for epoch in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """

    initial: float
    final: float
    n_epochs: int

    def __post_init__(self) -> None:
        require_number(self, "initial", "a number, at least 0", lambda rate: rate >= 0)
        require_number(self, "final", "a number, at least 0", lambda rate: rate >= 0)
        require_count(self, "n_epochs", 1)

    def rate(self, epoch: int, losses: Sequence[float]) -> float:
        share = min(1.0, epoch / self.n_epochs)
        return (1 - share) * self.initial + share * self.final


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """The rate falls when the monitored loss, of held-out rows or else of training, has stopped improving.

    Each call of `partial_fit` is an epoch. It holds no rows out, so that the losses are those of ``loss_curve_``.

    Parameters
    ----------
    initial : float above 0
        The rate at the start.
    factor : float in (0, 1), default 0.5
        Factor of each fall.
    patience : int, at least 1, default 5
        Epochs without improvement before a fall; keep it below the estimator's ``n_epochs_no_change``.
    tol : float, at least 0, default 1e-4
        Relative decrease of the loss that counts as an improvement.
    minimum : float, at least 0, default 0
        Lower limit of the rate.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    StepSchedule : Falls at regular intervals, whatever the loss.

    Examples
    --------
    >>> from aefast import ReduceOnPlateau
    >>> schedule = ReduceOnPlateau(0.1, factor=0.5, patience=2)
    >>> schedule.rate(3, [1.0, 0.8, 0.7]), schedule.rate(3, [1.0, 1.0, 1.0])
    (0.1, 0.05)
    """

    initial: float
    factor: float = 0.5
    patience: int = 5
    tol: float = 1e-4
    minimum: float = 0.0

    def __post_init__(self) -> None:
        require_number(self, "initial", "a number above 0", lambda rate: rate > 0)
        require_number(self, "factor", "in (0, 1)", lambda factor: 0 < factor < 1)
        require_count(self, "patience", 1)
        require_number(self, "tol", "a number, at least 0", lambda tol: tol >= 0)
        require_number(self, "minimum", f"in [0, initial={self.initial!r}]", lambda rate: 0 <= rate <= self.initial)

    def rate(self, epoch: int, losses: Sequence[float]) -> float:
        rate, plateau = self.initial, Plateau(self.patience, self.tol)
        for loss in losses:
            if plateau.reached_with(loss):
                rate = max(self.minimum, rate * self.factor)
                plateau.wait = 0
        return rate


@dataclass
class Plateau:
    """Counts the epochs since the last improvement: a decrease of the loss by more than ``tol`` times its value before.

    Small decreases add up: the loss is compared with that of the last improvement, not with the lowest loss.
    """

    patience: int
    tol: float
    reference: float = float("inf")
    wait: int = 0

    def reached_with(self, loss: float) -> bool:
        """Add a loss; return whether ``patience`` losses without improvement have been added."""
        # The loss of a variational autoencoder can be negative, so reference * (1 - tol) would be wrong.
        if not isfinite(self.reference) or loss < self.reference - self.tol * abs(self.reference):
            self.reference, self.wait = loss, 0
        else:
            self.wait += 1
        return self.wait >= self.patience


SCHEDULES: tuple[type[Schedule], ...] = (
    ConstantSchedule,
    StepSchedule,
    ExponentialSchedule,
    CosineSchedule,
    LinearSchedule,
    ReduceOnPlateau,
)


def as_schedule(learning_rate: float | Schedule) -> Schedule:
    """Return a schedule for a number or a schedule."""
    return learning_rate if isinstance(learning_rate, Schedule) else ConstantSchedule(float(learning_rate))
