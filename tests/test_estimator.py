"""Autoencoder with scikit-learn's tools: estimator checks, copies, data frames, pipelines, searches."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import aefast
from aefast import Autoencoder

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 6))
FRAME = pd.DataFrame(X, columns=list("abcdef"))

NOT_EXACT = {
    "check_sample_weight_equivalence_on_dense_data": (
        "minibatches and held-out rows are drawn by position, so a row given twice is not a row of twice the weight"
    )
}
OF_FRESH_ROWS = NOT_EXACT | dict.fromkeys(
    ("check_outliers_train", "check_outliers_fit_predict"),
    "contamination is the share of fresh rows that are flagged, and rows that were learned are less strange",
)
UNFITTED = ("transform", "inverse_transform", "reconstruct", "reconstruction_error", "feature_errors", "score_samples")
UNFITTED += ("decision_function", "predict", "score", "p_values", "p_values_of", "detect", "explain", "save")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        Autoencoder(),
        Autoencoder((4, 2), dtype="float64", tied_weights=True, activation="tanh", dropout=0.1),
        Autoencoder(
            (3,), loss="huber", score_metric="mahalanobis", scaler="robust", optimizer=aefast.SGD(0.9), max_epochs=5
        ),
        Autoencoder(
            (5, 3), loss="binary_crossentropy", output_activation="sigmoid", scaler="minmax", validation_fraction=0
        ),
    ],
    expected_failed_checks=lambda estimator: OF_FRESH_ROWS if estimator.score_metric == "auto" else NOT_EXACT,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")
@pytest.mark.parametrize(
    "check",
    [
        "check_param_validation",
        "check_dataframe_column_names_consistency",
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
        "check_get_feature_names_out_error",
        "check_set_output_transform",
        "check_set_output_transform_pandas",
        "check_global_output_transform_pandas",
        "check_inplace_ensure_writeable",
    ],
)
def test_further_scikit_learn_checks(check):
    getattr(estimator_checks, check)("Autoencoder", Autoencoder(max_epochs=2))


@pytest.fixture(scope="module")
def model():
    return Autoencoder((4, 2), max_epochs=3, random_state=0).fit(FRAME)


@pytest.mark.parametrize("method", UNFITTED)
def test_unfitted_use_is_not_fitted_error(method, tmp_path):
    with pytest.raises(NotFittedError, match="This Autoencoder instance is not fitted yet"):
        getattr(Autoencoder(), method)(tmp_path / "model" if method == "save" else X)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "duplicate", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy], ids=["pickle", "deepcopy"]
)
def test_copies_answer_and_train_as_the_original(model, duplicate):
    other = duplicate(model)
    np.testing.assert_array_equal(other.score_samples(FRAME), model.score_samples(FRAME))
    assert other.get_params() == model.get_params()
    again = [duplicate(model).partial_fit(FRAME).coefs_ for _ in range(2)]
    for first, second in zip(*again, strict=True):
        np.testing.assert_array_equal(first, second)


def test_joblib_files_hold_the_model(model, tmp_path):
    joblib.dump(model, tmp_path / "model.joblib")
    for mode in (None, "r"):
        again = joblib.load(tmp_path / "model.joblib", mmap_mode=mode)
        np.testing.assert_array_equal(again.score_samples(FRAME), model.score_samples(FRAME))


def test_processes_fit_and_score_as_this_one(model):
    with joblib.Parallel(n_jobs=2) as pool:
        for other in pool(joblib.delayed(clone(model).fit)(FRAME) for _ in range(2)):
            np.testing.assert_array_equal(other.score_samples(FRAME), model.score_samples(FRAME))


def test_a_clone_is_unfitted_with_equal_parameters():
    model = Autoencoder((3,), optimizer=aefast.SGD(0.9), learning_rate=aefast.StepSchedule(0.1, 2), max_epochs=1).fit(X)
    other = clone(model)
    assert not hasattr(other, "coefs_")
    assert other.get_params() == model.get_params()


def test_transform_returns_data_frames_if_set(model):
    frame = clone(model).set_output(transform="pandas").fit(FRAME).transform(FRAME)
    assert list(frame.columns) == ["autoencoder0", "autoencoder1"]
    assert frame.index.equals(FRAME.index)
    np.testing.assert_array_equal(frame.to_numpy(), model.transform(FRAME))


def test_names_come_from_the_training_frame(model):
    assert model.feature_names_in_.tolist() == list("abcdef")
    assert model.n_features_in_ == 6
    assert not hasattr(Autoencoder(max_epochs=0).fit(X), "feature_names_in_")


def test_codes_are_features_in_a_pipeline():
    y = (X[:, 0] > 0).astype(int)
    search = GridSearchCV(
        make_pipeline(Autoencoder(max_epochs=20, random_state=0), LogisticRegression()),
        {"autoencoder__encoder_layer_sizes": [(1,), (12, 6)]},
        cv=3,
    )
    search.fit(X, y)
    assert search.best_params_ == {"autoencoder__encoder_layer_sizes": (12, 6)}


def test_model_selection_maximises_minus_the_error():
    scores = [
        cross_val_score(
            Autoencoder((units,), score_metric="mse", max_epochs=60, learning_rate=0.01, random_state=0), X, cv=3
        ).mean()
        for units in (1, 5)
    ]
    assert scores[0] < scores[1] < 0


def test_user_threads_may_share_a_model(model):
    scores = model.score_samples(FRAME)
    with ThreadPoolExecutor(4) as pool:
        for other in pool.map(lambda _: model.score_samples(FRAME), range(32)):
            np.testing.assert_array_equal(other, scores)


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(Autoencoder((8,), loss="mae")) == "Autoencoder(encoder_layer_sizes=(8,), loss='mae')"
