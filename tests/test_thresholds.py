"""Thresholds, conformal p-values and false-discovery control agree with their definitions and guarantees."""

import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.stats import ks_2samp

from aefast import Autoencoder, load
from aefast.engine import core
from aefast.estimators.files import to_bytes
from aefast.model.calibration import Calibration, contamination_offset
from aefast.model.false_discoveries import benjamini_hochberg, reported_up_to, too_few_held_out
from aefast.training.standardise import as_fresh

# Few distinct values, so that ties are common.
scores = npst.arrays(np.float64, st.integers(1, 40), elements=st.integers(-9, 9).map(float))


@given(st.permutations(range(50)), st.sampled_from([0.02, 0.1, 0.5]))
def test_contamination_is_the_share_of_rows_below_the_offset(order, contamination):
    values = np.array(order, dtype=float)
    assert np.sum(values < contamination_offset(values, contamination)) == contamination * 50


def test_equal_scores_leave_no_row_below_the_offset():
    assert contamination_offset(np.full(7, -0.1), 0.3) == -0.1


def p_value(calibration, error):
    return (1 + np.sum(calibration >= error)) / (1 + len(calibration))


def ranks(n, seed=0):
    """n different errors of either sign over many decades, in any order."""
    return np.random.default_rng(seed).permutation(np.sinh(np.linspace(-20, 20, n)))


@given(scores, scores)
def test_p_value_counts_calibration_errors_at_least_as_large(calibration, errors):
    expected = [p_value(calibration, e) for e in errors]
    assert Calibration.of(calibration).p_values(errors).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("n", [1, 2, 1024, 1025, 1026, 1200, 30_000])
def test_p_values_from_the_sketch_are_never_too_small_and_nearly_exact(n):
    calibration = ranks(n)
    ascending = np.sort(calibration)
    errors = np.concatenate([ascending, np.nextafter(ascending, np.inf), np.nextafter(ascending, -np.inf), [0.0]])
    exact = (1 + n - np.searchsorted(ascending, errors)) / (1 + n)
    p = Calibration.of(calibration).p_values(errors)
    assert (p >= exact).all()
    assert (p <= exact * (129 / 128) * (1 + 1e-15)).all()
    in_tail = exact <= 1025 / (n + 1)
    np.testing.assert_array_equal(p[in_tail], exact[in_tail])


@pytest.mark.parametrize("n", [1, 900, 5000])
@pytest.mark.parametrize("n_values", [1, 3, 200, 3000])
def test_ties_in_the_sketch_are_on_the_safe_side(n, n_values):
    rng = np.random.default_rng(n)
    calibration = (rng.zipf(1.3, size=n) % n_values).astype(np.float32) / 7
    sketch = Calibration.of(calibration)
    errors = np.arange(-1, n_values + 1, dtype=np.float32) / 7
    exact = np.array([p_value(calibration, e) for e in errors])
    assert (exact <= sketch.p_values(errors)).all()
    assert (sketch.p_values(errors) <= exact * (129 / 128) * (1 + 1e-15)).all()


def test_a_sketch_is_small_however_many_errors_it_stands_for():
    sizes = [len(Calibration.of(np.arange(n, dtype=np.float32)).errors) for n in (100, 20_000, 2_000_000)]
    assert sizes[0] == 100
    assert sizes[1] < 1500 < sizes[2] < 2100


def test_the_order_of_the_calibration_rows_does_not_matter():
    first, second = Calibration.of(ranks(5000, 0)), Calibration.of(ranks(5000, 1))
    np.testing.assert_array_equal(first.errors, second.errors)
    np.testing.assert_array_equal(first.counts, second.counts)


@pytest.mark.parametrize("kept", [np.float32, np.float64])
@pytest.mark.parametrize("asked", [np.float32, np.float64])
@pytest.mark.parametrize("draw", ["exponential", "standard_cauchy", "standard_normal"])
def test_many_errors_are_looked_up_as_one_by_one(kept, asked, draw):
    rng = np.random.default_rng(0)
    sketch = Calibration.of(getattr(rng, draw)(size=20_000).astype(kept))
    errors = np.concatenate([getattr(rng, draw)(size=20_000).astype(asked), sketch.errors.astype(asked), [0.0, -0.0]])
    errors = np.append(errors, np.array([np.inf, -np.inf, 3e38, -3e38], dtype=asked))
    few = np.concatenate([sketch.places(part) for part in np.array_split(errors, 50)])
    np.testing.assert_array_equal(sketch.places(errors), few)
    np.testing.assert_array_equal(few, [np.sum(sketch.errors < e) for e in errors])


@pytest.mark.parametrize("calibration", [[0.0], [-0.0, 0.0], np.zeros(9000), [1e-300, 1e300], np.full(5000, 3.0)])
def test_calibration_errors_that_hardly_differ_are_looked_up_too(calibration):
    errors = np.tile([-1.0, 0.0, -0.0, 3.0, 1e300], 2000)
    expected = [p_value(np.asarray(calibration), e) for e in errors[:5]]
    np.testing.assert_array_equal(Calibration.of(calibration).p_values(errors), np.tile(expected, 2000))


def test_the_distance_is_that_of_kolmogorov_and_smirnov():
    rng = np.random.default_rng(0)
    for n, m, factor in ((1, 1, 1.0), (40, 300, 1.0), (700, 900, 1.4), (2000, 20_000, 0.5)):
        known, errors = rng.exponential(size=m), factor * rng.exponential(size=n)
        exact = ks_2samp(known, errors).statistic
        # The distance is computed at the kept errors, so it misses what lies between two of them in either sample.
        assert exact - 1 / n - 1 / 128 <= Calibration.of(known).distance(errors) <= exact + 1e-12


def test_weights_are_how_many_errors_each_kept_one_stands_for():
    sketch = Calibration.of(ranks(3000))
    assert sketch.weights().sum() == 3000
    assert (sketch.weights()[-1024:] == 1).all()


# Guarantees, by simulation: shares must not exceed their bounds by more than chance explains.


def test_p_values_are_valid_on_average_over_calibration_sets():
    # P(p <= a) <= a for exchangeable rows, here exactly floor(a (m + 1)) / (m + 1) as errors are continuous.
    rng = np.random.default_rng(0)
    n_sets, m = 4000, 19
    errors = rng.exponential(size=(n_sets, m + 1))
    p = np.array([Calibration.of(row[:m]).p_values(row[m:])[0] for row in errors])
    for level in (0.03, 0.051, 0.101, 0.501):
        expected = np.floor(level * (m + 1)) / (m + 1)
        assert abs(np.mean(p <= level) - expected) <= 4 * np.sqrt(expected * (1 - expected) / n_sets)


@pytest.mark.parametrize("m", [19, 3000])
def test_p_values_of_tied_errors_are_valid_too(m):
    # A few values, of which the largest are rare; with 3000 errors the sketch has more ties than kept errors.
    rng, n_sets = np.random.default_rng(11), 2000
    errors = rng.poisson(1.0, size=(n_sets, m + 1)).astype(np.float64)
    p = np.array([Calibration.of(row[:m]).p_values(row[m:])[0] for row in errors])
    for level in (0.02, 0.1, 0.3, 0.65, 0.7):
        assert np.mean(p <= level) <= level + 3 * np.sqrt(level * (1 - level) / n_sets)


def test_p_values_from_a_sketch_are_valid_too():
    # Where the sketch has dropped errors: levels between those kept, down from 1.
    rng = np.random.default_rng(3)
    n_sets, m, n_new = 300, 4000, 50
    p = []
    for _ in range(n_sets):
        errors = rng.lognormal(sigma=2, size=m + n_new).astype(np.float32)
        p.append(Calibration.of(errors[:m]).p_values(errors[m:]))
    for level in (0.01, 0.1, 0.37, 0.61, 0.9):
        shares = np.mean(np.array(p) <= level, axis=1)
        assert np.mean(shares) < level + 4 * np.std(shares) / np.sqrt(n_sets)
        assert np.mean(shares) > level * 128 / 129 - 4 * np.std(shares) / np.sqrt(n_sets)


def normal_rows(rng, n):
    """Rows near a plane, with tails."""
    return rng.standard_t(5, size=(n, 2)) @ np.array([[1.0, 2, 0, -1, 1], [0, 1, 1, 2, -1]]) + rng.normal(size=(n, 5))


def odd_rows(rng, n):
    """Rows with the same spread but off the plane."""
    return rng.normal(scale=7, size=(n, 5))


def overfitted(rows, seed, **parameters):
    """A model for which training rows have far smaller errors than others, so that they could not calibrate it."""
    settings = {"max_epochs": 100, "learning_rate": 0.02, "batch_size": 32, "validation_fraction": 0.25, "n_threads": 1}
    return Autoencoder((32, 4), random_state=seed, **{**settings, **parameters}).fit(rows)


@pytest.mark.parametrize("parameters", [{"early_stopping": False}, {"learning_rate": 1e-3, "batch_size": 256}])
def test_normal_rows_are_called_abnormal_at_the_rate_allowed(parameters):
    # Training sets vary too: everything is drawn again each time, so that runs are independent.
    rng, n_runs = np.random.default_rng(4), 200
    p = []
    for run in range(n_runs):
        rows = normal_rows(rng, 160 + 100)
        p.append(overfitted(rows[:160], run, **parameters).p_values(rows[160:]))
    for level in (0.05, 0.1, 0.25, 0.5):
        shares = np.mean(np.array(p) <= level, axis=1)
        assert np.mean(shares) < level + 3 * np.std(shares) / np.sqrt(n_runs)


def test_early_stopping_by_few_rows_does_not_spoil_the_p_values_of_the_defaults():
    rng, n_runs = np.random.default_rng(10), 300
    p = []
    for run in range(n_runs):
        rows = normal_rows(rng, 300 + 200)
        p.append(Autoencoder(random_state=run, n_threads=1).fit(rows[:300]).p_values(rows[300:]))
    for level in (0.05, 0.1, 0.25, 0.5):
        shares = np.mean(np.array(p) <= level, axis=1)
        assert np.mean(shares) < level + 3 * np.std(shares) / np.sqrt(n_runs)


@pytest.mark.parametrize("fraction", [0.1, 0.3])
@pytest.mark.parametrize("in_blocks", [False, True])
def test_p_values_compare_with_the_rows_that_training_has_not_seen_and_all_of_them(monkeypatch, in_blocks, fraction):
    seen = set()

    class Watched:
        def __new__(cls, *arguments):
            return Trainer(trainer(*arguments))

    class Trainer:
        def __init__(self, trainer):
            self._trainer = trainer

        def __getattr__(self, name):
            return getattr(self._trainer, name)

        def train_epoch(self, X, scaling, rows, *arguments, **options):
            seen.update(map(bytes, np.ascontiguousarray(X if rows is None else X[rows])))
            return self._trainer.train_epoch(X, scaling, rows, *arguments, **options)

        def run_epochs(self, history, X, scaling, rows, *arguments, **options):
            seen.update(map(bytes, np.ascontiguousarray(X if rows is None else X[rows])))
            return self._trainer.run_epochs(history, X, scaling, rows, *arguments, **options)

    trainer = core.Trainer
    monkeypatch.setattr(core, "Trainer", Watched)
    rows = normal_rows(np.random.default_rng(9), 300)
    options = {"max_epochs": 3, "score_metric": "mse", "random_state": 0, "callbacks": lambda info: None}
    model = Autoencoder((8, 2), validation_fraction=fraction, **options)
    model = model.fit_batches(rows.reshape(3, 100, 5)) if in_blocks else model.fit(rows)
    unseen = np.array([bytes(row) not in seen for row in np.ascontiguousarray(rows)])
    assert unseen.sum() == 300 * fraction
    np.testing.assert_array_equal(model.calibration_.errors, np.unique(model.reconstruction_error(rows[unseen])))


def test_detection_keeps_the_rate_of_false_discoveries():
    rng, n_runs, fdr = np.random.default_rng(5), 120, 0.2
    shares, found = [], []
    for run in range(n_runs):
        model = overfitted(normal_rows(rng, 300), run, validation_fraction=0.5)
        mask = model.detect(np.vstack([normal_rows(rng, 90), odd_rows(rng, 30)]), fdr=fdr)
        shares.append(mask[:90].sum() / max(1, mask.sum()))
        found.append(mask[90:].mean())
    assert np.mean(shares) < fdr + 3 * np.std(shares) / np.sqrt(n_runs)
    assert np.mean(found) > 0.5


def test_detection_keeps_the_rate_where_rare_values_are_learned_by_heart():
    rates = np.random.default_rng(0).gamma(0.3, 1, size=30)
    rng = np.random.default_rng(1)

    def counts(n_rows):
        return rng.poisson(rates * rng.gamma(2, 0.5, size=(n_rows, 1))).astype(float)

    shares, small = [], []
    for run in range(6):
        model = Autoencoder(random_state=run, n_threads=1).fit(counts(5000))
        small.append((model.p_values(counts(10_000)) <= 0.01).mean())
        odd = counts(100) + 15 * rng.integers(0, 2, size=(100, 30))
        for _ in range(4):
            mask = model.detect(np.vstack([counts(4900), odd]), fdr=0.05)
            assert mask[4900:].mean() > 0.9
            shares.append(mask[:4900].sum() / mask.sum())
    assert np.mean(small) < 0.014
    assert np.mean(shares) < 0.05 + 2 * np.std(shares) / np.sqrt(6)


def test_scores_that_were_learned_get_the_end_that_fresh_ones_have():
    rng = np.random.default_rng(0)
    fresh, wide = rng.normal(size=(2, 100_000))
    ninth = np.quantile(wide, 0.9)
    learned = np.where(wide > ninth, ninth + 0.7 * (wide - ninth), wide) - 0.2
    rows, others = np.arange(100_000), np.arange(100_000, 200_000)
    for weights in (None, np.ones(200_000)):
        moved = as_fresh(np.concatenate([learned, fresh]), rows, others, weights)
        for share in (0.1, 0.01, 0.002):
            found = (moved > np.quantile(fresh, 1 - share)).mean() / share
            assert abs(found - 1) < 0.15
    assert (learned + 0.2 > np.quantile(fresh, 0.99)).mean() < 0.006
    few = as_fresh(np.concatenate([learned, fresh[:20]]), rows, others[:20], None)
    above = learned > np.quantile(learned, 0.9)
    assert np.ptp((few - learned)[~above]) < 1e-9  # moved, not stretched
    assert np.ptp((few - learned)[above]) < 0.5


def test_without_abnormal_rows_detection_is_rarely_wrong():
    # Without anomalies every report is false, so the rate is that of any report at all.
    rng, n_runs, fdr = np.random.default_rng(6), 2000, 0.2
    reports = []
    for _ in range(n_runs):
        errors = rng.exponential(size=400 + 60)
        reports.append(benjamini_hochberg(Calibration.of(errors[:400]).p_values(errors[400:]), fdr).any())
    assert np.mean(reports) < fdr + 3 * np.sqrt(fdr * (1 - fdr) / n_runs)


def test_recalibration_on_drifted_rows_makes_p_values_valid_again():
    rng, n_runs, level = np.random.default_rng(7), 60, 0.1
    before, after = [], []
    model = Autoencoder((8, 2), random_state=0, max_epochs=30, n_threads=1).fit(normal_rows(rng, 500))
    weights = [w.copy() for w in model.coefs_]
    for _ in range(n_runs):
        drifted = 1.5 * normal_rows(rng, 300)
        before.append(np.mean(model.p_values(drifted[200:]) <= level))
        after.append(np.mean(model.recalibrate(drifted[:200]).p_values(drifted[200:]) <= level))
    assert before[0] > 1.5 * level
    assert np.mean(after) < level + 3 * np.std(after) / np.sqrt(n_runs)
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.coefs_, strict=True))


def test_recalibration_sets_threshold_and_calibration_by_its_rows_alone():
    rng = np.random.default_rng(8)
    model = Autoencoder((8, 2), random_state=0, max_epochs=3, n_threads=1).fit(normal_rows(rng, 300))
    rows = normal_rows(rng, 150)
    errors = model.reconstruction_error(rows)
    assert model.set_params(contamination=0.3).recalibrate(rows) is model
    # The share holds for fresh rows: 45 of 151, of which one is not among these.
    assert model.offset_ == -model.threshold_ == -np.sort(errors)[105]
    assert np.sum(model.predict(rows) == -1) == 44
    np.testing.assert_array_equal(model.calibration_.errors, np.unique(errors))
    with pytest.raises(ValueError, match="'contamination' parameter"):
        model.set_params(contamination=0.7).recalibrate(rows)


@given(npst.arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1)), st.sampled_from([0.05, 0.2, 0.9]))
def test_reports_are_the_least_p_values_up_to_the_last_below_the_line(p_values, fdr):
    ascending = sorted(p_values)
    n = len(ascending)
    k = max((i for i in range(1, n + 1) if ascending[i - 1] <= fdr * i / n), default=0)
    mask = benjamini_hochberg(p_values, fdr)
    assert mask.dtype == bool
    assert mask.tolist() == [k > 0 and p <= ascending[k - 1] for p in p_values]


@pytest.mark.parametrize("fdr", [0, 1, -0.1, 1.5, float("nan")])
def test_rates_outside_zero_and_one_are_refused(fdr):
    with pytest.raises(ValueError, match=r"fdr must be in \(0, 1\), got"):
        benjamini_hochberg([0.5], fdr)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_many_errors_get_the_p_values_of_each_and_leave_the_calibration_as_it_was(kind):
    rng = np.random.default_rng(0)
    calibration = Calibration.of(rng.normal(size=20_000).astype(np.float32))
    before = pickle.dumps(calibration)
    errors = np.concatenate([rng.normal(size=40_000), calibration.errors, [-1e30, -0.0, 0.0, 1e30]]).astype(kind)
    single = np.concatenate([calibration.p_values(part) for part in np.array_split(errors, 20)])
    for _ in range(2):
        np.testing.assert_array_equal(calibration.p_values(errors), single)
        np.testing.assert_array_equal(calibration.places(errors), np.searchsorted(calibration.errors, errors))
    assert pickle.dumps(calibration) == before


def test_detect_warns_if_no_single_row_could_be_reported():
    rng = np.random.default_rng(0)
    model = Autoencoder((2,), max_epochs=1, score_metric="mse", random_state=0).fit(rng.normal(size=(400, 4)))
    X = rng.normal(size=(400, 4))
    assert model.calibration_.least == 1 / 41
    said = "no p-value is below 0.0244, so with fdr=0.05 at least 196 of 400 rows would have to be flagged together"
    with pytest.warns(UserWarning, match=said) as told:
        assert not model.detect(X, fdr=0.05).any()
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not model.detect(X[:2], fdr=0.05).any()
        assert model.detect(np.full((400, 4), 50.0), fdr=0.05).all()


def test_too_few_held_out_rows_are_those_that_leave_a_row_alone_unreported():
    assert too_few_held_out(0.01, 10, 0.1) == ""
    assert "at least 2 of 11 rows would have to be flagged together" in too_few_held_out(0.01, 11, 0.1)
    assert "at least 10 of 10 rows would have to be flagged together" in too_few_held_out(0.1, 10, 0.1)


@pytest.mark.parametrize("n_rows", [1, 50, 10_000])
def test_p_values_all_above_the_rate_report_no_row_among_any_number(n_rows):
    said = too_few_held_out(0.084, n_rows, 0.05)
    assert said.startswith("nothing is reported: no p-value is below 0.084, so with fdr=0.05 no row can be")
    least, others = 0.01, np.ones(9)
    assert benjamini_hochberg([least, *others], 0.1).sum() == 1
    assert benjamini_hochberg([least, *others, 1], 0.1).sum() == 0
    assert benjamini_hochberg([least, least, *others], 0.1).sum() == 2


def test_threshold_and_offset_follow_each_other():
    rng = np.random.default_rng(0)
    X = normal_rows(rng, 300)
    model = Autoencoder((2,), max_epochs=1, random_state=0).fit(X)
    model.threshold_ = -50.0
    assert model.offset_ == 50
    assert (model.predict(X) == -1).all()
    model.offset_ = -2.5
    assert model.threshold_ == 2.5
    again = pickle.loads(pickle.dumps(model))
    assert (again.threshold_, again.offset_) == (2.5, -2.5)
    assert load(to_bytes(model)).threshold_ == 2.5
    assert not hasattr(Autoencoder(), "threshold_")


def test_rows_far_beyond_training_are_refused_by_recalibrate():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 6))
    model = Autoencoder(max_epochs=2, random_state=0).fit(X)
    before = model.threshold_
    message = "most of these rows are beyond the range that the model learned"
    with pytest.raises(ValueError, match=message):
        model.recalibrate(X * 400 + 5000)
    assert model.threshold_ == before
    assert 0.05 < np.mean(model.recalibrate(X * 1.5).predict(X * 1.5) == -1) < 0.15


@pytest.mark.parametrize("seed", range(20))
def test_counts_of_parts_decide_like_all_p_values_together(seed):
    rng = np.random.default_rng(seed)
    known = Calibration.of(rng.normal(size=rng.integers(1, 3000)))
    errors = rng.normal(size=rng.integers(1, 2000)) + rng.choice([0.0, 3.0], p=[0.9, 0.1])
    n_levels = len(known.levels())
    parts = [np.bincount(known.places(part), minlength=n_levels) for part in np.array_split(errors, 7)]
    for fdr in (0.001, 0.05, 0.3):
        cutoff = reported_up_to(known.levels(), np.sum(parts, axis=0), fdr)
        p_values = known.p_values(errors)
        np.testing.assert_array_equal(p_values <= cutoff, benjamini_hochberg(p_values, fdr))


def test_no_rows_report_none():
    known = Calibration.of([1.0, 2.0])
    assert reported_up_to(known.levels(), np.zeros(3, int), 0.1) == 0
    with pytest.raises(ValueError, match=r"fdr must be in \(0, 1\), got 1"):
        reported_up_to(known.levels(), np.zeros(3, int), 1)
