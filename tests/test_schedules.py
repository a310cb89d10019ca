"""Learning-rate schedules: the rate of each epoch, and invalid parameters."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aefast import (
    Autoencoder,
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    ReduceOnPlateau,
    StepSchedule,
    load,
)
from aefast.estimators.files import to_bytes
from aefast.training.schedules import Plateau, Schedule, as_schedule
from messages import raises_exactly


def rates(schedule, n_epochs):
    return [schedule.rate(epoch, []) for epoch in range(n_epochs)]


def test_a_number_is_a_constant_schedule():
    assert as_schedule(0.1) == ConstantSchedule(0.1)
    assert rates(as_schedule(1), 3) == [1.0, 1.0, 1.0]


def test_a_schedule_is_itself():
    schedule = StepSchedule(0.1, every=2)
    assert as_schedule(schedule) is schedule


def test_anything_with_a_rate_is_a_schedule():
    class Mine:
        def rate(self, epoch, losses):
            return 0.5

    assert isinstance(Mine(), Schedule)


def test_step_falls_every_so_many_epochs():
    assert rates(StepSchedule(8.0, every=2, factor=0.5), 6) == [8.0, 8.0, 4.0, 4.0, 2.0, 2.0]


def test_exponential_falls_every_epoch():
    assert rates(ExponentialSchedule(8.0, factor=0.5), 4) == [8.0, 4.0, 2.0, 1.0]


def test_cosine_falls_from_initial_to_final_and_stays_there():
    got = rates(CosineSchedule(1.0, n_epochs=4, final=0.2), 7)
    assert got[0] == 1.0
    assert got[2] == pytest.approx(0.6)
    assert got[4:] == pytest.approx([0.2] * 3)
    assert got == sorted(got, reverse=True)


def test_cosine_warms_up_linearly():
    assert rates(CosineSchedule(1.0, n_epochs=10, warmup=4), 5) == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_plateau_reduces_after_patience_epochs_and_counts_anew():
    schedule = ReduceOnPlateau(1.0, factor=0.5, patience=2)
    losses = [5.0] * 6
    assert [schedule.rate(n, losses[:n]) for n in range(7)] == [1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_plateau_rate_does_not_fall_below_its_minimum():
    assert ReduceOnPlateau(1.0, factor=0.1, patience=1, minimum=0.3).rate(9, [5.0] * 9) == 0.3


@given(st.lists(st.floats(0.5, 0.99), min_size=1, max_size=30))
def test_plateau_keeps_the_rate_while_losses_fall(factors):
    loss, losses = 100.0, []
    for factor in factors:
        loss *= factor
        losses.append(loss)
    assert ReduceOnPlateau(1.0, patience=1).rate(len(losses), losses) == 1.0


def test_small_improvements_add_up():
    plateau = Plateau(patience=3, tol=0.1)
    assert not any(plateau.reached_with(loss) for loss in (1.0, 0.95, 0.92, 0.89, 0.85, 0.82))
    assert plateau.reference == 0.89


def test_negative_losses_improve_downwards():
    plateau = Plateau(patience=1, tol=0.1)
    assert [plateau.reached_with(loss) for loss in (-1.0, -1.2, -1.25)] == [False, False, True]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConstantSchedule(0), "ConstantSchedule: initial must be a number above 0, got 0"),
        (lambda: ConstantSchedule("fast"), "ConstantSchedule: initial must be a number above 0, got 'fast'"),
        (lambda: ConstantSchedule(inf), "ConstantSchedule: initial must be a number above 0, got inf"),
        (lambda: StepSchedule(0.1, every=0), "StepSchedule: every must be an integer, at least 1, got 0"),
        (lambda: StepSchedule(0.1, every=2, factor=1.5), "StepSchedule: factor must be in (0, 1], got 1.5"),
        (lambda: ExponentialSchedule(0.1, factor=0), "ExponentialSchedule: factor must be in (0, 1], got 0"),
        (lambda: CosineSchedule(0.1, n_epochs=2.5), "CosineSchedule: n_epochs must be an integer, at least 1, got 2.5"),
        (lambda: CosineSchedule(0.1, 5, final=1), "CosineSchedule: final must be in [0, initial=0.1], got 1"),
        (lambda: CosineSchedule(0.1, 5, warmup=5), "CosineSchedule: warmup must be less than n_epochs=5, got 5"),
        (lambda: ReduceOnPlateau(0.1, factor=1), "ReduceOnPlateau: factor must be in (0, 1), got 1"),
        (lambda: ReduceOnPlateau(0.1, patience=0), "ReduceOnPlateau: patience must be an integer, at least 1, got 0"),
        (lambda: ReduceOnPlateau(0.1, tol=-1), "ReduceOnPlateau: tol must be a number, at least 0, got -1"),
        (lambda: ReduceOnPlateau(0.1, minimum=1), "ReduceOnPlateau: minimum must be in [0, initial=0.1], got 1"),
    ],
)
def test_constants_out_of_range_are_refused_by_name(make, message):
    with raises_exactly(ValueError, message):
        make()


def test_numbers_of_numpy_are_numbers():
    schedule = CosineSchedule(np.float32(0.5), n_epochs=np.int64(5), warmup=np.uint8(2))
    assert schedule == CosineSchedule(0.5, n_epochs=5, warmup=2)
    assert repr(schedule) == repr(CosineSchedule(0.5, n_epochs=5, warmup=2))
    for wrong in (np.bool_(True), np.float64(2.0), np.array([2])):
        with pytest.raises(ValueError, match="every must be an integer"):
            StepSchedule(0.1, every=wrong)


def test_a_plateau_is_one_over_the_calls_of_partial_fit():
    X = np.random.default_rng(0).normal(size=(300, 5))
    model = Autoencoder((2,), learning_rate=ReduceOnPlateau(1e-9, patience=2, tol=0.5), random_state=0, batch_size=300)
    seen = []
    model.set_params(callbacks=[lambda info: seen.append(info.learning_rate)])
    for _ in range(6):
        model.partial_fit(X)
    assert seen == [1e-9, 1e-9, 1e-9, 5e-10, 5e-10, 2.5e-10]
    again = load(to_bytes(model)).set_params(callbacks=model.callbacks)
    for each in (model, again):
        each.partial_fit(X).partial_fit(X)
    assert seen[6:] == [2.5e-10, 1.25e-10] * 2
    model.fit(X)
    assert seen[10] == 1e-9
