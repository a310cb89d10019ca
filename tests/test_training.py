"""The loop over epochs: when it stops, what it keeps, and how it is interrupted."""

import signal
import subprocess
import sys

import numpy as np
import pytest

import aefast
from aefast import Autoencoder, ConvergenceError
from aefast.schedules import ConstantSchedule, ReduceOnPlateau
from aefast.training.loop import EpochLoop, Settings
from messages import raises_exactly

X = np.random.default_rng(0).normal(size=(300, 5))


class Scripted:
    """A trainer whose only parameter is the number of epochs it has had."""

    def __init__(self, losses, validation=None, spoil=None):
        self.losses, self.validation, self.spoil = losses, validation, spoil
        self.n_epochs, self.rates = 0, []

    def parameters(self):
        return [np.array([np.inf if self.n_epochs == self.spoil else float(self.n_epochs)])]

    def epoch(self, number, rate):
        self.rates.append(rate)
        self.n_epochs += 1
        return self.losses[self.n_epochs - 1]

    def validate(self):
        return self.validation[self.n_epochs - 1]


def run(losses, validation=None, spoil=None, penalties=None, **settings):
    trainer = Scripted(losses, validation, spoil)
    settings = {"max_epochs": len(losses), "schedule": ConstantSchedule(0.1), "first_epoch": 0} | settings
    settings = {"early_stopping": True, "n_epochs_no_change": 2, "tol": 0.0} | settings
    training = EpochLoop(
        trainer,
        trainer.epoch,
        trainer.validate if validation else None,
        lambda: 0.0 if penalties is None else penalties[trainer.n_epochs - 1],
        lambda arrays: (arrays, []),
        Settings(**settings),
    )
    return training, trainer


def kept(training):
    return int(training.parameters[0][0])


def test_training_stops_after_epochs_without_improvement_and_keeps_the_best():
    training, trainer = run([9, 8, 7, 6, 5, 4], validation=[5, 3, 4, 3.5, 1, 0])
    training.run()
    assert trainer.n_epochs == 4
    assert kept(training) == 2
    assert training.best_loss == 3
    assert training.loss_curve == [9, 8, 7, 6]
    assert training.validation_curve == [5, 3, 4, 3.5]


def test_without_held_out_rows_the_training_loss_decides():
    training, trainer = run([5, 3, 4, 3.5, 1])
    training.run()
    assert (trainer.n_epochs, kept(training), training.validation_curve) == (4, 2, [])


def test_without_early_stopping_all_epochs_run_and_the_last_weights_stay():
    training, trainer = run([5, 3, 4, 3.5, 6], early_stopping=False)
    training.run()
    assert (trainer.n_epochs, kept(training), training.best_loss) == (5, 5, 3)


def test_penalties_on_codes_count_with_the_loss():
    training, trainer = run([1, 2, 3, 4, 5], validation=[1, 2, 3, 4, 5], penalties=[9, 6, 4, 3.5, 3.5])
    training.run()
    assert (trainer.n_epochs, kept(training), training.best_loss) == (5, 3, 7)
    assert training.validation_curve == [1, 2, 3, 4, 5]


def test_epochs_before_the_objective_has_settled_are_not_compared():
    training, trainer = run([1, 2, 3, 9, 8, 7, 9, 9, 9], settled=lambda epoch: epoch >= 3)
    training.run()
    assert (trainer.n_epochs, kept(training), training.best_loss) == (8, 6, 7)


def test_the_last_weights_are_kept_if_the_objective_never_settles():
    training, trainer = run([1, 2, 3, 4, 5], settled=lambda epoch: False)
    training.run()
    assert (trainer.n_epochs, kept(training), training.best_loss) == (5, 5, 5)


def test_improvements_within_the_tolerance_count_when_they_add_up():
    training, trainer = run([100, 99.4, 98.8, 98.2, 97.6, 97.0], tol=0.01)
    training.run()
    assert trainer.n_epochs == 6
    training, trainer = run([100, 99.8, 99.6, 99.4, 99.2, 99.0], tol=0.01)
    training.run()
    assert trainer.n_epochs == 3
    assert kept(training) == 3


def test_schedules_see_the_monitored_losses_and_their_epoch():
    seen = []

    class Mine:
        def rate(self, epoch, losses):
            seen.append((epoch, list(losses)))
            return 1 / (epoch + 1)

    training, trainer = run([3, 2, 1], validation=[6, 5, 4], schedule=Mine(), first_epoch=1)
    training.run()
    assert seen == [(1, []), (2, [6]), (3, [6, 5])]
    assert trainer.rates == [1 / 2, 1 / 3, 1 / 4]


def test_reduce_on_plateau_follows_the_held_out_rows():
    schedule = ReduceOnPlateau(1.0, factor=0.5, patience=1)
    training, trainer = run([9, 8, 7, 6], validation=[1, 1, 1, 1], schedule=schedule, n_epochs_no_change=9)
    training.run()
    assert trainer.rates == [1.0, 1.0, 0.5, 0.25]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"losses": [3, 2, np.nan]}, "loss nan"),
        ({"losses": [3, 2, np.inf], "validation": [3, 2, 1]}, "loss inf"),
        ({"losses": [3, 2, 1], "validation": [3, 2, np.inf]}, "validation loss inf"),
        ({"losses": [3, 2, 1], "spoil": 3}, "loss 1"),
    ],
)
def test_divergence_names_epoch_loss_and_remedy_and_keeps_the_last_good_weights(arguments, what):
    training, _ = run(**arguments)
    message = (
        f"training diverged in epoch 3 ({what}, learning rate 0.1), and the last good weights are kept; "
        "lower learning_rate or set clip_norm=1.0"
    )
    with raises_exactly(ConvergenceError, message):
        training.run()
    assert kept(training) == 2
    assert training.loss_curve == [3, 2]


def test_a_part_of_a_first_epoch_is_kept_when_it_is_interrupted():
    training, trainer = run([3, 2])

    def interrupted(number, rate):
        trainer.n_epochs = 7
        raise KeyboardInterrupt

    training.epoch = interrupted
    with pytest.raises(KeyboardInterrupt):
        training.run()
    assert kept(training) == 7


# The same with the engine.


def test_divergence_leaves_a_fitted_estimator():
    model = Autoencoder((3,), optimizer="sgd", learning_rate=1e5, activation="relu", random_state=0, loss="mse")
    model.set_params(score_metric="mse")
    with pytest.raises(ConvergenceError, match="training diverged in epoch 1 "):
        model.fit(X)
    first = Autoencoder((3,), max_epochs=0, score_metric="mse", random_state=0).fit(X)
    np.testing.assert_array_equal(model.score_samples(X), first.score_samples(X))
    assert model.loss_curve_ == []
    assert np.isfinite(model.best_loss_)
    assert (model.predict(X) == -1).sum() == 30


def test_the_remedy_helps():
    Autoencoder((3,), optimizer="sgd", learning_rate=0.1, clip_norm=1.0, random_state=0, max_epochs=20).fit(X * 1e6)


def test_best_weights_are_those_of_the_least_validation_loss():
    model = Autoencoder((4,), learning_rate=0.3, max_epochs=40, n_epochs_no_change=40, random_state=0).fit(X)
    best = int(np.argmin(model.validation_curve_))
    assert best + 1 < model.n_epochs_
    shorter = Autoencoder((4,), learning_rate=0.3, max_epochs=best + 1, early_stopping=False, random_state=0).fit(X)
    np.testing.assert_array_equal(model.coefs_[0], shorter.coefs_[0])


def test_ctrl_c_between_epochs_leaves_the_best_weights():
    def press(info):
        if info.epoch == 3:
            signal.raise_signal(signal.SIGINT)

    model = Autoencoder((3,), random_state=0, score_metric="mse", callbacks=press)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert model.n_epochs_ == 3
    other = Autoencoder((3,), random_state=0, score_metric="mse", max_epochs=3).fit(X)
    np.testing.assert_array_equal(model.score_samples(X), other.score_samples(X))
    assert model.threshold_ == other.threshold_


INTERRUPTED = """
import numpy as np
from functools import partial
from aefast import Autoencoder
from aefast.estimators import recipe

def told(told=[]):
    if not told:
        told.append(print("training", flush=True))

recipe.Settings = partial(recipe.Settings, poll=told)
X = np.random.default_rng(0).normal(size=(1000, 20)).astype("float32")
# An epoch that takes very long: the same rows over and over, with wide layers.
X = np.broadcast_to(X, (1000, 1000, 20)).reshape(-1, 20)
model = Autoencoder((2000, 10), max_epochs=1, validation_fraction=0)
try:
    model.fit(X)
except KeyboardInterrupt:
    print(model.n_epochs_, np.isfinite(model.score_samples(X[:100])).all(), np.mean(model.predict(X[:1000]) == -1))
"""


def test_ctrl_c_within_an_epoch_ends_it_with_a_fitted_estimator():
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "training\n"
    process.send_signal(signal.SIGINT)
    n_epochs, finite, share = process.communicate(timeout=60)[0].split()
    assert process.returncode == 0
    assert (n_epochs, finite) == ("0", "True")
    assert float(share) == pytest.approx(0.1, abs=0.02)


def test_an_iterator_that_fails_is_an_error_that_leaves_a_fitted_estimator():
    def blocks():
        yield X
        raise OSError("the disk is gone")

    model = Autoencoder((3,), random_state=0)
    with pytest.raises(OSError, match="the disk is gone"):
        model.fit_batches(blocks())
    assert np.isfinite(model.score_samples(X)).all()


def test_dropout_is_for_training_alone():
    model = Autoencoder((3,), dropout=0.5, max_epochs=5, random_state=0).fit(X)
    np.testing.assert_array_equal(model.score_samples(X), model.score_samples(X))
    without = Autoencoder((3,), dropout=0.0, max_epochs=5, random_state=0).fit(X)
    assert model.loss_curve_[0] > without.loss_curve_[0]


def test_penalties_reduce_the_penalised_quantity():
    plain = Autoencoder((4,), random_state=0, max_epochs=30, learning_rate=0.01).fit(X)
    options = {"random_state": 0, "max_epochs": 30, "learning_rate": 0.01}
    for name, size in [
        ("l1", lambda m: np.abs(m.coefs_[0]).sum()),
        ("l2", lambda m: (m.coefs_[0] ** 2).sum()),
        ("activity_l1", lambda m: np.abs(m.transform(X)).sum()),
        ("activity_l2", lambda m: (m.transform(X) ** 2).sum()),
    ]:
        assert size(Autoencoder((4,), **options, **{name: 0.1}).fit(X)) < 0.9 * size(plain), name


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw", aefast.SGD(0.9, nesterov=True)])
def test_every_optimiser_lowers_the_loss(optimizer):
    model = Autoencoder(
        (4,), optimizer=optimizer, learning_rate=0.01, max_epochs=20, batch_size=32, random_state=0
    ).fit(X)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_an_incomplete_last_batch_can_be_dropped():
    options = {"validation_fraction": 0, "shuffle": False, "max_epochs": 1, "batch_size": 128, "random_state": 0}
    options |= {"score_metric": "mse"}
    dropped = Autoencoder((4,), drop_last=True, scaler="standard", **options).fit(X)
    alone = Autoencoder((4,), scaler=None, **options)
    alone.fit(((X - X.mean(axis=0)) / X.std(axis=0))[:256])
    for first, second in zip(dropped.coefs_, alone.coefs_, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)
    whole = Autoencoder((4,), scaler="standard", **options).fit(X)
    assert not np.allclose(whole.coefs_[0], dropped.coefs_[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n_rows", "fraction"), [(1, 0.1), (3, 0.1), (9, 0.25), (2, 0.9)])
def test_of_small_blocks_the_share_of_all_rows_is_held_out(n_rows, fraction):
    X = np.random.default_rng(0).normal(size=(34 * n_rows, 4))
    options = {"max_epochs": 2, "random_state": 0, "score_metric": "mse", "validation_fraction": fraction}
    models = [Autoencoder((2,), **options).fit_batches(np.array_split(X, 34)) for _ in range(2)]
    assert len(models[0].validation_curve_) == 2
    assert models[0].calibration_.n_rows == int(fraction * len(X))
    assert models[0].loss_curve_ == models[1].loss_curve_
    once = Autoencoder((2,), **options).fit_batches(iter(np.array_split(X, 34)))
    assert once.calibration_.n_rows == int(fraction * len(X))
