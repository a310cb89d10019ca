"""The values that callbacks receive, how they stop training, and the output of ``verbose``."""

import io
import sys
import time

import numpy as np
import pytest

from aefast import Autoencoder, EpochInfo, StopTraining
from aefast.training.display import Silence
from aefast.training.progress import Lines, progress

X = np.random.default_rng(0).normal(size=(200, 5))


def fitted(**parameters):
    parameters = {"encoder_layer_sizes": (3,), "max_epochs": 6, "random_state": 0, **parameters}
    return Autoencoder(**parameters).fit(X)


def info(epoch=1, validation_loss=0.5):
    return EpochInfo(epoch, 10, 0.25, validation_loss, 0.25, 0.001, 1.5, weights=lambda: ([], []), state=None)


def test_callbacks_receive_each_epoch():
    told = []
    model = fitted(callbacks=[told.append], learning_rate=0.01)
    assert [each.epoch for each in told] == [1, 2, 3, 4, 5, 6]
    assert [each.loss for each in told] == model.loss_curve_
    assert [each.validation_loss for each in told] == model.validation_curve_
    assert [each.best_loss for each in told] == np.minimum.accumulate(model.validation_curve_).tolist()
    assert {(each.max_epochs, each.learning_rate) for each in told} == {(6, 0.01)}
    assert all(before.seconds <= after.seconds for before, after in zip(told, told[1:], strict=False))


def test_without_held_out_rows_there_is_no_validation_loss():
    told = []
    fitted(callbacks=told.append, validation_fraction=0)
    assert {each.validation_loss for each in told} == {None}


def test_callbacks_see_the_weights_of_their_epoch():
    seen = []

    def remember(told):
        coefs, intercepts = told.weights()
        seen.append(coefs)
        # The callback may change its copy.
        for array in coefs + intercepts:
            array[...] = np.nan

    model = fitted(callbacks=remember, early_stopping=False)
    assert [w.shape for w in seen[0]] == [(5, 3), (3, 5)]
    other = fitted(early_stopping=False)
    for mine, theirs in zip(model.coefs_, other.coefs_, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def stop(told):
    raise StopTraining


@pytest.mark.parametrize("ask", [lambda told: True, lambda told: np.bool_(True), stop])
def test_a_callback_stops_training_after_its_epoch(ask):
    told = []
    model = fitted(callbacks=[lambda each: ask(each) if each.epoch == 3 else None, told.append])
    assert model.n_epochs_ == 3
    assert len(told) == 3


@pytest.mark.parametrize("answer", [None, False, 1, "yes", []])
def test_nothing_but_true_stops_training(answer):
    assert fitted(callbacks=lambda told: answer).n_epochs_ == 6


def test_an_exception_of_a_callback_is_raised_and_leaves_a_fitted_estimator():
    def fail(told):
        if told.epoch == 2:
            raise LookupError("of mine")

    model = Autoencoder((3,), max_epochs=6, random_state=0, callbacks=fail)
    with pytest.raises(LookupError, match="of mine"):
        model.fit(X)
    assert model.n_epochs_ == 2
    np.testing.assert_array_equal(model.score_samples(X), fitted(max_epochs=2).score_samples(X))
    np.testing.assert_array_equal(model.predict(X), fitted(max_epochs=2).predict(X))


def test_an_epoch_reads_as_one_line():
    assert str(info()) == "epoch 1/10  loss 0.25  validation 0.5  learning rate 0.001  1.5 s"
    assert str(info(validation_loss=None)) == "epoch 1/10  loss 0.25  learning rate 0.001  1.5 s"


def test_without_a_terminal_verbose_writes_a_line_an_epoch(capsys):
    model = fitted(verbose=1)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert len(lines) == 6
    assert lines[3].startswith(
        f"epoch 4/6  loss {model.loss_curve_[3]:.6g}  validation {model.validation_curve_[3]:.6g}  "
    )


def test_by_default_nothing_is_shown(capsys):
    fitted()
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_verbose_draws_a_bar(monkeypatch):
    pytest.importorskip("rich", reason="the progress bar needs rich")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fitted(verbose=1)
    assert "training" in terminal.getvalue()
    assert "6/6" in terminal.getvalue()


def test_the_bar_shows_one_step_at_a_time_with_rate_and_remaining_time(monkeypatch):
    pytest.importorskip("rich", reason="the progress bar needs rich")
    from aefast.training.bars import Bars

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")

    def drawn():
        begin, deadline = len(terminal.getvalue()), time.monotonic() + 20
        time.sleep(0.3)
        while len(terminal.getvalue()) == begin and time.monotonic() < deadline:
            time.sleep(0.1)
        return terminal.getvalue()[begin:]

    with Bars() as bars:
        advance = bars.rows("reading", 1000)
        assert "left" not in drawn()
        advance(600)
        line = drawn()
        for part in ("reading", "600 rows", "rows/s", " left"):
            assert part in line
        bars.epochs(5, 1000)
        advance(10)  # of a step that has ended
        assert "reading" not in drawn()
        bars(EpochInfo(2, 5, 0.5, 0.25, 0.25, 0.1, 1.0, dict, dict))
        line = drawn()
        for part in ("training", "2/5 epochs, loss 0.25", "rows/s", " left"):
            assert part in line
        begin_pass = bars.passes(1000)
        bars(EpochInfo(3, 5, 0.5, None, 0.25, 0.1, 1.0, dict, dict))
        begin_pass()(500)
        assert "3/5 epochs, loss 0.5" in drawn()
    assert "\x1b[1A" not in terminal.getvalue()  # it never goes up a line


def test_passes_before_the_first_epoch_are_reading(monkeypatch):
    pytest.importorskip("rich", reason="the progress bar needs rich")
    from aefast.training.bars import Bars

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Bars() as bars:
        begin_pass = bars.passes(1000)
        begin_pass()(500)
        time.sleep(0.3)
        assert "training" not in terminal.getvalue()
        assert "500 rows" in terminal.getvalue()
        bars(EpochInfo(1, 5, 0.5, None, 0.5, 0.1, 1.0, dict, dict))
    assert "1/5 epochs" in terminal.getvalue()


def test_progress_depends_on_the_terminal(monkeypatch):
    assert isinstance(progress(0, 5), Silence)
    assert isinstance(progress(1, 0), Silence)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(progress(1, 5), Lines)
    monkeypatch.setattr(sys, "stderr", Terminal())
    pytest.importorskip("rich", reason="the progress bar needs rich")
    assert type(progress(1, 5)).__name__ == "Bars"
    monkeypatch.setattr("aefast.training.progress.find_spec", lambda name: None)
    assert isinstance(progress(1, 5), Lines)
