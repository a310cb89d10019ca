"""The detectors have PyOD's names and signs, and work in PyOD's ensembles."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.stats import binom
from sklearn.base import clone, is_outlier_detector
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler

import aefast
from aefast import pyod
from aefast.pyod import VAE, AutoEncoder
from messages import raises_exactly

DETECTORS = [getattr(pyod, name) for name in pyod.__all__]
RNG = np.random.default_rng(0)
N_ROWS, N_ODD = 400, 40


def table(rng, n_rows=N_ROWS, n_odd=N_ODD):
    """Return rows near a plane, of which the last ones are off it, and their labels."""
    rows = rng.normal(size=(n_rows, 2)) @ np.array([[1.0, 2, 0, -1, 1, 3], [0, 1, 1, 2, -1, -2]])
    rows += 0.1 * rng.normal(size=rows.shape)
    rows[-n_odd:] = 4 * rng.normal(size=(n_odd, 6))
    return rows, np.repeat([0, 1], [n_rows - n_odd, n_odd])


X, Y = table(RNG)
X_NEW, Y_NEW = table(RNG)


def small(kind=AutoEncoder, **parameters):
    sizes = {"encoder_neuron_list": (8,), "decoder_neuron_list": (8,)} if kind is VAE else {}
    sizes = sizes or {"hidden_neuron_list": (8, 2)}
    return kind(**{**sizes, "epoch_num": 30, "lr": 0.01, "n_threads": 1, **parameters})


@pytest.fixture(scope="module")
def fitted():
    return small().fit(X)


@pytest.mark.parametrize("kind", DETECTORS)
def test_every_detector_has_the_attributes_and_signs_of_pyod(kind):
    detector = small(kind, contamination=0.1)
    assert detector.fit(X) is detector
    assert detector.decision_scores_.shape == detector.labels_.shape == (N_ROWS,)
    np.testing.assert_array_equal(detector.decision_function(X), detector.decision_scores_)
    assert detector.threshold_ == np.percentile(detector.decision_scores_, 90)
    assert set(detector.labels_) == {0, 1}
    assert detector.labels_.sum() == N_ODD
    np.testing.assert_array_equal(detector.predict(X), detector.labels_)
    np.testing.assert_array_equal(small(kind).fit_predict(X), detector.labels_)
    assert roc_auc_score(Y_NEW, detector.decision_function(X_NEW)) > 0.9
    assert len(detector.history_["loss"]) == 30
    assert detector.n_features_in_ == 6
    assert is_outlier_detector(detector)


@pytest.mark.parametrize("kind", DETECTORS)
def test_parameters_are_those_of_the_constructor_and_survive_cloning(kind):
    detector = kind(contamination=0.2, epoch_num=3)
    parameters = detector.get_params()
    assert {"contamination", "preprocessing", "lr", "epoch_num", "batch_size", "optimizer_name"} <= set(parameters)
    assert "parameters" not in parameters
    again = clone(detector.set_params(lr=0.1))
    assert again is not detector
    assert again.get_params() == {**parameters, "lr": 0.1}


def test_the_score_is_the_distance_of_the_scaled_row_and_its_reconstruction(fitted):
    scaled = (X_NEW - X.mean(axis=0)) / X.std(axis=0)
    rebuilt = (fitted.model.reconstruct(X_NEW) - X.mean(axis=0)) / X.std(axis=0)
    expected = np.linalg.norm(scaled - rebuilt, axis=1)
    np.testing.assert_allclose(fitted.decision_function(X_NEW), expected, rtol=1e-4)


@pytest.mark.parametrize("kind", DETECTORS)
@pytest.mark.parametrize("constant", [0.0, 0.0005, 1 / 3, -12345.678, 1e9])
def test_a_constant_that_changes_is_far_out_in_any_unit(kind, constant):
    rows, fresh = (np.column_stack([each, np.full(len(each), constant)]) for each in (X, X_NEW))
    detector = small(kind, epoch_num=2).fit(rows)
    usual = detector.decision_function(fresh)
    assert usual.max() < 10
    np.testing.assert_allclose(detector.decision_function(fresh.astype(np.float32)), usual, rtol=0.1, atol=0.1)
    fresh[7, 6] = 1.2 * constant if constant else 0.1
    scores = detector.decision_function(fresh)
    assert scores[7] > 1000
    np.testing.assert_array_equal(np.delete(scores, 7), np.delete(usual, 7))
    unscaled = small(kind, epoch_num=2, preprocessing=False).fit(rows / 1e9).model
    assert unscaled.scaler_scale_.tolist() == [1.0] * 7


def test_levels_of_text_are_not_scaled():
    frame = pd.DataFrame({"x": X[:, 0], "one": "a", "two": np.where(Y, "a", "b"), "constant": 5.0})
    detector = small(epoch_num=2).fit(frame)
    scale = detector.model.scaler_scale_
    assert scale[1:-1].tolist() == [1.0] * (len(scale) - 2)
    assert scale[-1] == pytest.approx(5e-6)
    scores = detector.decision_function(frame.assign(constant=[5.0] * (N_ROWS - 1) + [6.0]))
    np.testing.assert_array_equal(scores[:-1], detector.decision_scores_[:-1])
    assert scores[-1] > 1000


def test_parameters_reach_the_network():
    detector = small(
        hidden_neuron_list=[7, 3], hidden_activation_name="tanh", batch_norm=False, dropout_rate=0.1, epoch_num=2,
        optimizer_name="sgd", optimizer_params={"momentum": 0.9, "weight_decay": 0.5}, lr=0.02, batch_size=50,
        preprocessing=False,
    ).fit(X)  # fmt: skip
    assert [w.shape for w in detector.model.coefs_] == [(6, 7), (7, 3), (3, 7), (7, 6)]
    wanted = {
        "activation": "tanh", "code_activation": "tanh", "batch_norm": False, "dropout": 0.1, "max_epochs": 2,
        "optimizer": aefast.SGD(0.9), "l2": 0.5, "learning_rate": 0.02, "batch_size": 50, "scaler": None,
        "validation_fraction": 0.0, "early_stopping": False, "drop_last": True,
    }  # fmt: skip
    parameters = detector.model.get_params()
    assert {name: parameters[name] for name in wanted} == wanted
    adam = small(optimizer_params={"betas": (0.8, 0.9), "eps": 1e-6})._model()
    assert (adam.optimizer, adam.l2) == (aefast.Adam(0.8, 0.9, 1e-6), 0.0)
    assert small()._model().l2 == 1e-5
    assert small(optimizer_params={})._model().l2 == 0.0


@pytest.mark.parametrize(
    ("name", "expected"), [("adam", aefast.Adam(epsilon=1e-6)), ("sgd", aefast.SGD(0.9, nesterov=True))]
)
def test_the_optimiser_takes_the_names_of_pyod(name, expected):
    parameters = {"adam_eps": 1e-6, "sgd_momentum": 0.9, "sgd_nesterov": True, "weight_decay": 0.5}
    model = small(optimizer_name=name, optimizer_params=parameters)._model()
    assert (model.optimizer, model.l2) == (expected, 0.5)


def test_a_variational_detector_has_its_code_and_its_decoder():
    detector = VAE(encoder_neuron_list=[9, 5], decoder_neuron_list=[4], latent_dim=3, beta=0.5, epoch_num=1).fit(X)
    assert [w.shape for w in detector.model.coefs_] == [(6, 9), (9, 5), (5, 6), (3, 4), (4, 6)]
    assert detector.model.beta == 0.5


def test_linear_probabilities_are_places_between_the_training_scores(fitted):
    low, high = fitted.decision_scores_.min(), fitted.decision_scores_.max()
    probabilities = fitted.predict_proba(X_NEW)
    expected = np.clip((fitted.decision_function(X_NEW) - low) / (high - low), 0, 1)
    np.testing.assert_allclose(probabilities, np.column_stack([1 - expected, expected]), atol=1e-12)


def test_unified_probabilities_rise_from_the_mean_on(fitted):
    p = fitted.predict_proba(X_NEW, method="unify")[:, 1]
    scores = fitted.decision_function(X_NEW)
    assert (p[scores <= fitted.decision_scores_.mean()] == 0).all()
    order = np.argsort(scores)
    assert (np.diff(p[order]) >= 0).all()
    assert 0 <= p.min() < p.max() <= 1


def test_confidence_is_a_tail_probability_of_the_binomial(fitted):
    labels, confidence = fitted.predict(X_NEW, return_confidence=True)
    scores = fitted.decision_function(X_NEW)
    for row in (0, 100, N_ROWS - 1, int(np.argmin(np.abs(scores - fitted.threshold_)))):
        chance = (1 + np.sum(fitted.decision_scores_ <= scores[row])) / (2 + N_ROWS)
        as_outlier = binom.sf(N_ROWS - 40, N_ROWS, chance)
        assert confidence[row] == pytest.approx(as_outlier if labels[row] else 1 - as_outlier, abs=1e-12)
    np.testing.assert_array_equal(fitted.predict_confidence(X_NEW), confidence)
    np.testing.assert_array_equal(fitted.predict_proba(X_NEW, return_confidence=True)[1], confidence)


def test_uncertain_rows_are_rejected(fitted):
    labels, confidence = fitted.predict(X_NEW, return_confidence=True)
    rejected, stats = fitted.predict_with_rejection(X_NEW, T=3, return_stats=True)
    uncertain = 2 * np.abs(confidence - 0.5) <= 1 - 2 * np.exp(-3)
    assert 0 < uncertain.sum() < len(labels)
    np.testing.assert_array_equal(rejected, np.where(uncertain, -2, labels))
    expected, bound, cost = stats
    assert 0 <= expected <= bound
    # The bounds are where the binomial distribution function is 1 - e^-T and e^-T.
    assert binom.cdf(39, N_ROWS, small_share(0)) == pytest.approx(1 - np.exp(-3))
    assert expected == pytest.approx(small_share(1) - small_share(0))
    assert cost == pytest.approx(min(0.1, small_share(0)) + min(1 - small_share(1), 0.1) + expected * 0.1)


def small_share(side):
    from scipy.optimize import brentq

    wanted = (1 - np.exp(-3), np.exp(-3))[side]
    return brentq(lambda p: binom.cdf(39, N_ROWS, p) - wanted, 0, 1, xtol=1e-14)


def test_training_scores_can_be_evaluated_with_labels():
    detector = small()
    assert detector.fit_predict_score(X, Y) == roc_auc_score(Y, detector.decision_scores_)
    highest = np.argsort(-detector.decision_scores_)[:N_ODD]
    assert detector.fit_predict_score(X, Y, scoring="prc_n_score") == Y[highest].mean()
    with pytest.raises(NotImplementedError, match="scoring must be"):
        detector.fit_predict_score(X, Y, scoring="something")


def test_scores_repeat_for_all_detectors():
    first, second = (VAE(epoch_num=2, random_state=3).fit(X) for _ in range(2))
    np.testing.assert_array_equal(first.decision_scores_, second.decision_scores_)
    np.testing.assert_array_equal(first.decision_function(X), first.decision_scores_)


def test_detectors_work_with_pickle_data_frames_and_pipelines(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X_NEW), fitted.predict(X_NEW))
    frame = pd.DataFrame(X, columns=list("abcdef"))
    np.testing.assert_array_equal(small().fit(frame).predict(frame), fitted.labels_)
    pipeline = make_pipeline(RobustScaler(), small())
    assert pipeline.fit(X).predict(X_NEW).sum() > 0


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function", "predict_confidence"])
def test_unfitted_use_is_refused(method):
    with pytest.raises(NotFittedError):
        getattr(AutoEncoder(), method)(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"contamination": 0.6}, "contamination must be a number in (0, 0.5], got 0.6"),
        ({"contamination": "auto"}, "contamination must be a number in (0, 0.5], got 'auto'"),
        ({"device": "cuda:0"}, "device must be None or 'cpu', the only device of aefast, got 'cuda:0'"),
        ({"optimizer_name": "lbfgs"}, "optimizer_name must be one of adam, sgd, got 'lbfgs'"),
        ({"optimizer_params": {"amsgrad": True}}, "optimizer_params has 'amsgrad', unknown to optimizer_name='adam'"),
        ({"dropout_rate": (0.1,)}, "dropout_rate must be one rate, or one for each of the 3 hidden layers, got 1"),
        ({"hidden_neuron_list": ()}, "hidden_neuron_list must have at least one width, that of the code, got ()"),
        ({"hidden_neuron_list": (8, 0)}, "hidden_neuron_list must hold integers of at least 1, got 0"),
    ],
)
def test_invalid_parameters_are_refused(parameters, message):
    with raises_exactly(ValueError, message):
        small(**parameters).fit(X)


def test_the_variational_detector_refuses_unsupported_parameters():
    with pytest.raises(ValueError, match="capacity must be a number of at least 0, got -1"):
        VAE(capacity=-1).fit(X)
    for clip in ((1,), (5, -5)):
        with pytest.raises(ValueError, match="logvar_clip must be a pair"):
            VAE(logvar_clip=clip)
    with pytest.raises(ValueError, match="method must be 'linear' or 'unify', got 'something'"):
        small().fit(X).predict_proba(X, method="something")


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        (AutoEncoder, {"lr": 0}),
        (AutoEncoder, {"epoch_num": -1}),
        (AutoEncoder, {"batch_size": 0}),
        (AutoEncoder, {"dropout_rate": 1}),
        (AutoEncoder, {"hidden_neuron_list": 5}),
        (AutoEncoder, {"optimizer_params": "none"}),
        (VAE, {"latent_dim": 0}),
        (VAE, {"decoder_neuron_list": 5}),
        (pyod.DenoisingAutoEncoder, {"noise_level": -1}),
        (pyod.SparseAutoEncoder, {"k": 0}),
        (pyod.ContractiveAutoEncoder, {"contraction": -1}),
    ],
)
def test_parameters_are_refused_by_the_names_they_have_here(kind, parameters):
    (name,) = parameters
    with pytest.raises(ValueError, match=f"The '{name}' parameter of {kind.__name__} must be"):
        small(kind, **parameters).fit(X)


@pytest.mark.parametrize("name", ["encoder_neuron_list", "decoder_neuron_list"])
def test_widths_of_the_variational_detector_are_refused_by_name(name):
    with raises_exactly(ValueError, f"{name} must hold integers of at least 1, got 0"):
        VAE(**{name: (8, 0)}).fit(X)


def test_advice_names_parameters_of_the_detector():
    with raises_exactly(
        ValueError,
        "column 'x0' has values from 0 to 9e+09, too large to train on without a scaler; set preprocessing=True",
    ):
        small(preprocessing=False).fit(np.array([[0.0, 1], [9e9, 2]]))
    with pytest.raises(aefast.ConvergenceError, match=r", and the last good weights are kept; lower lr$"):
        small(lr=1e30, optimizer_name="sgd").fit(X)


def test_pyod_itself_is_not_imported():
    code = "import sys, aefast.pyod; assert 'pyod' not in sys.modules and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("kind", DETECTORS)
def test_the_constructor_refuses_a_share_out_of_range(kind):
    for share in (0.6, 0, -0.1, 1):
        with raises_exactly(ValueError, f"contamination must be a number in (0, 0.5], got {share!r}"):
            kind(contamination=share)


def test_the_capacity_of_pyods_example_is_accepted():
    options = {"epoch_num": 3, "beta": 0.8, "latent_dim": 2}
    limited, free = (VAE(capacity=capacity, **options).fit(X) for capacity in (0.2, 0))
    np.testing.assert_array_equal(limited.decision_scores_, free.decision_scores_)


class Thresholder:
    """An object with the interface of PyThresh: outliers are beyond twice the median."""

    def __init__(self, *, has_threshold=True):
        self._has_threshold = has_threshold

    def fit(self, scores):
        self._limit = 2 * np.median(scores)
        self.thresh_ = self._limit if self._has_threshold else None
        self.labels_ = self.predict(scores)
        return self

    def predict(self, scores):
        return (scores > self._limit).astype(float)


@pytest.mark.parametrize("kind", DETECTORS)
@pytest.mark.parametrize("has_threshold", [True, False])
def test_a_thresholder_decides_in_place_of_a_share(kind, has_threshold):
    detector = small(kind, contamination=Thresholder(has_threshold=has_threshold)).fit(X)
    scores = small(kind).fit(X).decision_scores_
    np.testing.assert_array_equal(detector.decision_scores_, scores)
    limit = 2 * np.median(scores)
    np.testing.assert_array_equal(detector.labels_, scores > limit)
    assert detector.labels_.dtype == np.int64
    share = detector.labels_.mean()
    assert 0 < share < 0.5
    assert detector.threshold_ == (limit if has_threshold else share)
    np.testing.assert_array_equal(detector.predict(X_NEW), detector.decision_function(X_NEW) > limit)
    same_share = small(kind, contamination=share).fit(X)
    assert detector.compute_rejection_stats() == same_share.compute_rejection_stats()
    agree = detector.predict(X_NEW) == same_share.predict(X_NEW)
    np.testing.assert_array_equal(
        detector.predict_confidence(X_NEW)[agree], same_share.predict_confidence(X_NEW)[agree]
    )
    assert isinstance(clone(detector).contamination, Thresholder)


@pytest.mark.parametrize("T", [5, 32, 38, 60])
def test_the_expected_rejection_rate_is_below_its_bound(fitted, T):
    rate, bound, _ = fitted.compute_rejection_stats(T=T)
    assert 0 < rate < bound
    # The binomial distribution function at the larger share is e^-T.
    n, k = N_ROWS, N_ROWS // 10 - 1
    low = binom.ppf(0.5, n, 0.1)  # the middle, from which the search starts
    high = brentq(lambda p: binom.logcdf(k, n, p) + T, low / n, 0.9)
    low = brentq(lambda p: binom.logsf(k, n, p) + T, 1e-9, low / n)
    assert rate == pytest.approx(high - low, rel=1e-6)


def test_the_rejection_statistics_are_printed_on_request(fitted, capsys):
    found = fitted.compute_rejection_stats(verbose=True)
    assert found == fitted.compute_rejection_stats()
    rate, bound, cost = (f"{value:.4g}" for value in found)
    assert capsys.readouterr().out == (
        f"expected rejection rate {rate}, upper bounds: rate {bound}, cost of a row {cost}\n"
    )


@pytest.mark.parametrize("kind", DETECTORS)
def test_detectors_are_saved_and_loaded(kind, tmp_path):
    detector = small(kind, epoch_num=3).fit(X)
    detector.save(tmp_path / "detector")
    for found in (kind.load(str(tmp_path / "detector")), type(detector).load(tmp_path / "detector")):
        np.testing.assert_array_equal(found.decision_function(X_NEW), detector.decision_function(X_NEW))
        np.testing.assert_array_equal(found.predict(X_NEW), detector.predict(X_NEW))
    other = AutoEncoder if kind is VAE else VAE
    with pytest.raises(TypeError, match=f"holds a {kind.__name__}, not a {other.__name__}"):
        other.load(tmp_path / "detector")


# Comparisons with PyOD itself, if it is installed.


@pytest.mark.parametrize("kind", DETECTORS)
def test_detectors_are_those_of_pyod_where_it_is_imported(kind):
    base = pytest.importorskip("pyod.models.base", reason="needs pyod, which is optional", exc_type=ImportError)
    assert isinstance(kind(), base.BaseDetector)
    assert isinstance(clone(pickle.loads(pickle.dumps(kind()))), base.BaseDetector)


def test_time_series_of_pyod_take_these_detectors():
    series = pytest.importorskip("pyod.models.ts_od", reason="needs pyod, which is optional", exc_type=ImportError)
    values = np.sin(np.arange(600) / 5)
    values[400:405] += 4
    detector = series.TimeSeriesOD(detector=small(epoch_num=5), window_size=20).fit(values)
    assert detector.decision_scores_.shape == (600,)
    assert detector.decision_scores_[390:415].max() == detector.decision_scores_.max()


def test_answers_for_a_thresholder_are_those_of_pyod():
    base = pytest.importorskip("pyod.models.base", reason="needs pyod, which is optional", exc_type=ImportError)
    ours = small(contamination=Thresholder()).fit(X)

    class Same(base.BaseDetector):
        def __init__(self, contamination):
            super().__init__(contamination)

        def fit(self, X, y=None):
            self._set_n_classes(y)
            self.decision_scores_ = ours.decision_scores_
            self._process_decision_scores()
            return self

        def decision_function(self, X):
            return ours.decision_function(X)

    theirs = Same(Thresholder()).fit(X)
    assert ours.threshold_ == theirs.threshold_
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_array_equal(ours.predict(X_NEW), theirs.predict(X_NEW))
    np.testing.assert_allclose(ours.predict_confidence(X_NEW), theirs.predict_confidence(X_NEW), atol=1e-10)


def test_answers_are_those_of_pyod_for_the_same_scores(fitted):
    base = pytest.importorskip("pyod.models.base", reason="needs pyod, which is optional", exc_type=ImportError)

    class Same(base.BaseDetector):
        def __init__(self, contamination=0.1):
            super().__init__(contamination)

        def fit(self, X, y=None):
            self._set_n_classes(y)
            self.decision_scores_ = fitted.decision_scores_
            self._process_decision_scores()
            return self

        def decision_function(self, X):
            return fitted.decision_function(X)

    theirs = Same().fit(X)
    assert fitted.threshold_ == theirs.threshold_
    np.testing.assert_array_equal(fitted.labels_, theirs.labels_)
    np.testing.assert_array_equal(fitted.predict(X_NEW), theirs.predict(X_NEW))
    for method in ("linear", "unify"):
        np.testing.assert_allclose(fitted.predict_proba(X_NEW, method), theirs.predict_proba(X_NEW, method), atol=1e-12)
    np.testing.assert_allclose(fitted.predict_confidence(X_NEW), theirs.predict_confidence(X_NEW), atol=1e-10)
    for T in (5, 32):
        options = {"T": T, "return_stats": True, "c_r": 0.1}
        ours, stats = fitted.predict_with_rejection(X_NEW, **options)
        other, their_stats = theirs.predict_with_rejection(X_NEW, **options)
        np.testing.assert_array_equal(ours, other)
        np.testing.assert_allclose(stats, their_stats, rtol=1e-4)  # they search where we invert
    for scoring in ("roc_auc_score", "prc_n_score"):
        ours = small().fit_predict_score(X, Y, scoring=scoring)
        with pytest.warns(FutureWarning):
            assert ours == pytest.approx(theirs.fit_predict_score(X, Y, scoring=scoring))


def test_ensembles_of_pyod_take_these_detectors():
    reason = "needs pyod and combo, which are optional"
    combination = pytest.importorskip("pyod.models.combination", reason=reason, exc_type=ImportError)
    from pyod.models.feature_bagging import FeatureBagging
    from pyod.models.knn import KNN
    from pyod.models.lscp import LSCP
    from pyod.utils.utility import standardizer

    detectors = [small().fit(X), VAE(epoch_num=5).fit(X), KNN().fit(X)]
    scores = standardizer(np.column_stack([d.decision_function(X_NEW) for d in detectors]))
    for combine in (combination.average, combination.maximization):
        assert roc_auc_score(Y_NEW, combine(scores)) > 0.9
    for ensemble in (
        FeatureBagging(small(epoch_num=5), n_estimators=3, random_state=0),
        LSCP([small(epoch_num=5), small(epoch_num=5, random_state=1), KNN()], n_bins=3, random_state=0),
    ):
        ensemble.fit(X)
        assert roc_auc_score(Y_NEW, ensemble.decision_function(X_NEW)) > 0.8


@pytest.mark.parametrize("kind", DETECTORS)
def test_the_repr_shows_the_parameters_that_are_not_defaults(kind):
    assert repr(kind()) == f"{kind.__name__}()"
    assert repr(kind(lr=0.5, contamination=0.2)) == f"{kind.__name__}(contamination=0.2, lr=0.5)"
    assert set(kind().get_params()) >= {"lr", "epoch_num", "n_threads"}
    assert kind(lr=0.5).lr == clone(kind(lr=0.5)).lr == 0.5


def test_missing_values_are_refused_with_advice_that_fits_detectors(fitted):
    holes = np.vstack([X[:5], [[np.nan] * 6]])
    message = "X contains NaN or infinity: 6 values are not finite, the first (nan) in row 5, column 'x0'"
    for call in (fitted.decision_function, small().fit):
        with raises_exactly(ValueError, message + "; fill or drop missing values"):
            call(holes)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_trained_alike_the_detector_of_pyod_gives_the_same_scores(batch_norm):
    """Both start from the same weights. A batch is all rows, so that the order of the rows does not matter.

    Adam with a small epsilon would turn rounding errors into steps of the biases before a batch normalisation.
    """
    theirs = pytest.importorskip("pyod.models.auto_encoder", reason="needs pyod and torch", exc_type=ImportError)
    torch = pytest.importorskip("torch", reason="needs pyod and torch")
    options = {"hidden_neuron_list": [8, 3], "batch_norm": batch_norm, "dropout_rate": 0, "batch_size": N_ROWS}
    options["optimizer_params"] = {"adam_eps": 1e-4}
    start = AutoEncoder(epoch_num=0, **options).fit(X).model
    # The weights of the start hold the normalisation by a variance of 1, to which 1e-5 is added.
    factors = [np.sqrt(1 + 1e-5) if batch_norm else 1.0] * 3 + [1.0]

    class Same(theirs.AutoEncoder):
        def build_model(self):
            super().build_model()
            linear = [layer for layer in self.model.modules() if isinstance(layer, torch.nn.Linear)]
            for layer, weights, biases, factor in zip(linear, start.coefs_, start.intercepts_, factors, strict=True):
                layer.weight.data = torch.tensor(weights.T * factor, dtype=torch.float32)
                layer.bias.data = torch.tensor(biases * factor, dtype=torch.float32)

    for n_epochs in (0, 1, 30):
        expected = Same(epoch_num=n_epochs, verbose=0, **options)
        if n_epochs == 0:
            expected.train = lambda batches: None
        expected.fit(X)
        ours = AutoEncoder(epoch_num=n_epochs, **options).fit(X)
        np.testing.assert_allclose(ours.decision_scores_, expected.decision_scores_, rtol=1e-4)
        np.testing.assert_allclose(ours.decision_function(X_NEW), expected.decision_function(X_NEW), rtol=1e-4)
