"""Each drawing function draws on the given axes, returns them and shows the right values."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import aefast
from aefast import plots
from aefast.model.calibration import Calibration
from aefast.plots.drawing import on_time_axis
from small_tables import features_of, small_table


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


@pytest.fixture(scope="module")
def model():
    return aefast.Autoencoder((8, 3), max_epochs=12, random_state=0, n_threads=1).fit(features_of(small_table()))


def texts(ax) -> list[str]:
    legend = ax.get_legend()
    return [t.get_text() for t in (*ax.texts, *(legend.get_texts() if legend else ()))]


DRAWINGS = {
    "loss_curves": lambda model, X, ax: plots.loss_curves(model, ax=ax),
    "error_histogram": lambda model, X, ax: plots.error_histogram(X[:, 0] ** 2, ax=ax),
    "scores_over_rows": lambda model, X, ax: plots.scores_over_rows(X[:, 0] ** 2, ax=ax),
    "reconstruction_grid": lambda model, X, ax: plots.reconstruction_grid(model, X[:5], image_shape=(2, 2), ax=ax),
    "latent_walk": lambda model, X, ax: plots.latent_walk(model, X[0], X[1], image_shape=(2, 2), ax=ax),
    "code_scatter": lambda model, X, ax: plots.code_scatter(model, X, ax=ax),
    "feature_error_bars": lambda model, X, ax: plots.feature_error_bars(model, X, ax=ax),
    "calibration": lambda model, X, ax: plots.calibration(model.p_values(X), ax=ax),
    "score_drift": lambda model, X, ax: plots.score_drift(X[:, 0] ** 2, model.calibration_, ax=ax),
    "roc_curve": lambda model, X, ax: plots.roc_curve(X[:, 0] > 0, X[:, 1], ax=ax),
    "precision_recall_curve": lambda model, X, ax: plots.precision_recall_curve(X[:, 0] > 0, X[:, 1], ax=ax),
}


def test_every_public_drawing_is_tested():
    assert set(DRAWINGS) == set(plots.__all__)


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_returns_the_axes_it_was_given(name, model, ax):
    assert DRAWINGS[name](model, features_of(small_table()), ax) is ax
    assert ax.has_data()


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_makes_its_own_axes_if_none_are_given(name, model):
    ax = DRAWINGS[name](model, features_of(small_table()), None)
    assert ax.has_data()
    plt.close(ax.figure)


def test_loss_curves_mark_the_epoch_with_the_least_validation_loss(model, ax):
    plots.loss_curves(model, ax=ax)
    training, validation, best = ax.get_lines()
    np.testing.assert_array_equal(training.get_ydata(), model.loss_curve_)
    np.testing.assert_array_equal(validation.get_ydata(), model.validation_curve_)
    epoch = int(np.argmin(model.validation_curve_)) + 1
    assert best.get_xdata() == [epoch]
    assert f"best, epoch {epoch}" in texts(ax)


def test_loss_curves_without_validation_show_training_alone(ax):
    rows = features_of(small_table())
    model = aefast.Autoencoder((2,), max_epochs=3, validation_fraction=0.0, random_state=0).fit(rows)
    assert len(plots.loss_curves(model, ax=ax).get_lines()) == 1


def test_every_error_is_in_the_histogram_and_the_threshold_is_a_line(ax):
    errors = np.random.default_rng(0).exponential(size=250)
    plots.error_histogram(errors, threshold=1.5, labels=errors > 2, ax=ax)
    assert sum(bar.get_height() for bar in ax.patches) == 250
    assert ax.get_lines()[0].get_xdata() == [1.5, 1.5]
    assert texts(ax) == ["normal", "labelled anomalous", "threshold"]


def test_every_threshold_of_a_histogram_has_its_line(ax):
    plots.error_histogram(np.arange(50.0), threshold={"usual": 40.0, "none": np.inf, "strict": 45.0}, ax=ax)
    assert [line.get_xdata()[0] for line in ax.get_lines()] == [40.0, 45.0]
    assert texts(ax) == ["rows", "usual", "strict"]


@pytest.mark.parametrize("errors", [[], [0.0], [3.0] * 5, [0.0, 0.0, 1e-30, 1e30]])
def test_histograms_of_extreme_errors_are_drawn(errors, ax):
    plots.error_histogram(errors, threshold=1.0, ax=ax)
    assert sum(bar.get_height() for bar in ax.patches) == len(errors)
    ax.figure.canvas.draw()


def test_a_single_high_score_stays_visible_in_a_long_table(ax):
    errors = np.ones(1_000_000)
    errors[123_456] = 2.0
    plots.scores_over_rows(errors, threshold=1.5, columns=200, ax=ax)
    over = next(line for line in ax.get_lines() if line.get_label() == "above the threshold")
    assert len(over.get_xdata()) == 1
    assert abs(over.get_xdata()[0] - 123_456) < 5_000


@pytest.mark.parametrize("n_rows", [50, 5000])
def test_scores_are_drawn_in_the_order_of_time(n_rows, ax):
    rng = np.random.default_rng(0)
    order = rng.permutation(n_rows)
    times = np.datetime64("2026-01-01") + order * np.timedelta64(1, "h")
    plots.scores_over_rows(order.astype(float), times=times, columns=100, ax=ax)
    line = ax.get_lines()[0]
    assert (np.diff(line.get_xdata()) > 0).all()
    assert (np.diff(line.get_ydata()) > 0).all()
    assert ax.get_xlabel() == "time"
    ax.figure.canvas.draw()
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert "2026" in " ".join([*labels, ax.xaxis.get_major_formatter().get_offset()])


def test_drift_shows_the_shares_of_both_sets_of_rows(ax):
    rng = np.random.default_rng(0)
    known = rng.exponential(size=5000)
    plots.score_drift(rng.exponential(size=300), Calibration.of(known), bins=30, ax=ax)
    before, now = ax.patches
    edges = before.get_data().edges
    for drawn, errors, allowed in ((before, known, 1 / 64), (now, None, 0)):
        assert drawn.get_data().values.sum() == pytest.approx(1)
        if errors is not None:
            expected = np.histogram(errors, edges)[0] / len(errors)
            # The sketch rounds up, by 1/128 of a rank.
            assert np.abs(np.cumsum(drawn.get_data().values) - np.cumsum(expected)).max() < allowed


def test_curves_mark_the_threshold(ax):
    labels, scores = np.array([0, 0, 0, 0, 1, 1]), np.array([1.0, 2.0, 3.0, 8.0, 4.0, 9.0])
    plots.roc_curve(labels, scores, threshold=3.5, ax=ax)
    assert [float(v[0]) for v in ax.get_lines()[-1].get_data()] == [0.25, 1.0]
    plots.precision_recall_curve(labels, scores, threshold=3.5, ax=ax)
    assert [float(v[0]) for v in ax.get_lines()[-1].get_data()] == [1.0, pytest.approx(2 / 3)]


def test_curves_mark_every_threshold_that_finds_something(ax):
    labels, scores = np.array([0, 0, 0, 0, 1, 1]), np.array([1.0, 2.0, 3.0, 8.0, 4.0, 9.0])
    thresholds = {"usual": 3.5, "strict": 8.5, "none": 9.0}
    plots.roc_curve(labels, scores, threshold=thresholds, ax=ax)
    assert texts(ax) == ["AUC 0.8750", *thresholds]
    assert [float(v[0]) for v in ax.get_lines()[-2].get_data()] == [0.0, 0.5]
    ax.clear()
    plots.precision_recall_curve(labels, scores, threshold=thresholds, ax=ax)
    assert texts(ax)[1:] == ["usual", "strict"]
    assert [float(v[0]) for v in ax.get_lines()[-1].get_data()] == [0.5, 1.0]


@pytest.mark.parametrize("errors", [[], [1.0]])
def test_scores_of_very_few_rows_are_drawn(errors, ax):
    plots.scores_over_rows(errors, threshold=0.5, ax=ax)
    ax.figure.canvas.draw()


def test_the_grid_shows_rows_reconstructions_and_differences(model, ax):
    X = features_of(small_table())[:6]
    plots.reconstruction_grid(model, X, image_shape=(2, 2), titles=list("abcdef"), ax=ax)
    [image] = ax.get_images()
    assert image.get_array().shape == (3 * 3 - 1, 6 * 3 - 1, 4)
    assert texts(ax) == ["row", "reconstruction", "difference", *"abcdef"]


@pytest.mark.parametrize(("first", "last"), [("0200-01-01", "2026-01-01"), ("2026-01-01", "9799-12-31")])
def test_every_time_on_the_axis_can_be_drawn(ax, first, last):
    times = np.array([first, last], "datetime64[D]")
    assert on_time_axis(times)
    plots.scores_over_rows([1.0, 2.0], times=times, ax=ax)
    ax.figure.canvas.draw()
    assert ax.get_xlabel() == "time"


def test_a_walk_begins_and_ends_at_the_reconstructions_of_its_ends(model, ax):
    X = features_of(small_table())[:2]
    plots.latent_walk(model, X[0], X[1], image_shape=(2, 2), steps=5, ax=ax)
    shown = 1 - np.asarray(ax.get_images()[0].get_array())[:, :, 0]
    ends = np.stack([shown[:, :2].ravel(), shown[:, -2:].ravel()])
    rebuilt = model.reconstruct(X)
    assert np.corrcoef(ends.ravel(), rebuilt.ravel())[0, 1] > 1 - 1e-6


def test_codes_wider_than_two_are_shown_by_their_principal_components(model, ax):
    X = features_of(small_table())
    plots.code_scatter(model, X, labels=X[:, 0] > 0, ax=ax)
    points = np.concatenate([c.get_offsets() for c in ax.collections])
    codes = model.transform(X) - model.transform(X).mean(axis=0)
    variances = np.linalg.eigvalsh(codes.T @ codes / len(X))[::-1]
    np.testing.assert_allclose(points.var(axis=0), variances[:2], rtol=1e-4)
    assert texts(ax) == ["False", "True"]


def test_features_are_ranked_by_their_share_of_the_error(model, ax):
    X = np.zeros((10, 4))
    X[:, 2] = 9.0
    plots.feature_error_bars(model, X, top=3, ax=ax)
    widths = [bar.get_width() for bar in ax.patches]
    errors = model.feature_errors(X).sum(axis=0)
    np.testing.assert_allclose(widths, np.sort(errors / errors.sum())[:0:-1], rtol=1e-5)
    assert ax.get_yticklabels()[0].get_text() == f"x{errors.argmax()}"


def test_calibration_of_uniform_p_values_is_the_diagonal(ax):
    plots.calibration(np.linspace(0.001, 1, 1000), ax=ax)
    curve = next(line for line in ax.get_lines() if line.get_label() == "these rows")
    np.testing.assert_allclose(curve.get_xdata(), curve.get_ydata(), atol=0.002)


def test_the_roc_curve_states_its_area(ax):
    rng = np.random.default_rng(0)
    labels, scores = rng.random(100) < 0.3, rng.random(100)
    plots.roc_curve(labels, scores, ax=ax)
    assert texts(ax) == [f"AUC {roc_auc_score(labels, scores):.4f}"]
