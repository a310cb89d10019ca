"""Training rows that crossentropies refuse, for all estimators and ways of fitting."""

import numpy as np
import pytest

import aefast
from aefast.training.data import TrainingRows
from aefast.training.targets import BLOCK_ROWS, check_sums
from messages import raises_exactly

rng = np.random.default_rng(0)
SHARES = rng.dirichlet(np.ones(16), size=60)
CHANCES = rng.uniform(size=(60, 16))
OUTSIDE = np.where(np.arange(16) == 2, 3.0, CHANCES)
SETTINGS = {"scaler": None, "max_epochs": 1, "random_state": 0}
BINARY = {"loss": "binary_crossentropy", "output_activation": "sigmoid", **SETTINGS}
CATEGORICAL = {"loss": "categorical_crossentropy", "output_activation": "softmax", **SETTINGS}
REMEDIES = {
    None: "use scaler='minmax', or scaler=None for values that are in [0, 1] already",
    "minmax": "it was fitted to earlier rows; bring all rows into [0, 1] beforehand and use scaler=None",
}

ESTIMATORS = {
    "Autoencoder": {},
    "DenoisingAutoencoder": {},
    "SparseAutoencoder": {"sparsity": "topk", "k": 2},
    "ContractiveAutoencoder": {},
    "VariationalAutoencoder": {},
    "ConvolutionalAutoencoder": {"image_shape": (4, 4, 1)},
    "ConvolutionalDenoisingAutoencoder": {"image_shape": (4, 4, 1)},
    "ConvolutionalVariationalAutoencoder": {"image_shape": (4, 4, 1), "code_size": 3},
}
WAYS = {
    "fit": lambda model, X: model.fit(X),
    "partial_fit": lambda model, X: model.partial_fit(X),
    "the first block": lambda model, X: model.fit_batches([X]),
}


def lies_in(column, low, high, scaler=None):
    return (
        f"loss='binary_crossentropy' needs values in [0, 1] after scaling, but with scaler={scaler!r} column "
        f"'{column}' lies in [{low:.6g}, {high:.6g}]: {REMEDIES[scaler]}"
    )


def sums_to(row, value, where="", scaler=None):
    return (
        f"loss='categorical_crossentropy' needs rows of shares that sum to 1, but with scaler={scaler!r} row {row} "
        f"sums to {value:.6g}{where}: give shares or one-hot columns with scaler=None, or use "
        "loss='binary_crossentropy' if each column is a probability of its own"
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_values_outside_the_unit_interval_are_refused(name, way):
    with raises_exactly(ValueError, lies_in("x2", 3, 3)):
        WAYS[way](getattr(aefast, name)(**ESTIMATORS[name], **BINARY), OUTSIDE)
    assert WAYS[way](getattr(aefast, name)(**ESTIMATORS[name], **BINARY), CHANCES).n_epochs_ == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_rows_that_do_not_sum_to_one_are_refused(name, way):
    X = SHARES.copy()
    X[7, 3] += 0.25
    with raises_exactly(ValueError, sums_to(7, 1.25)):
        WAYS[way](getattr(aefast, name)(**ESTIMATORS[name], **CATEGORICAL), X)
    assert WAYS[way](getattr(aefast, name)(**ESTIMATORS[name], **CATEGORICAL), SHARES).n_epochs_ == 1


@pytest.mark.parametrize("row", range(0, 60, 7))
def test_rows_held_out_count(row):
    X = CHANCES.copy()
    X[row, 5] = -2
    with pytest.raises(ValueError, match=r"column 'x5' lies in \[-2, "):
        aefast.Autoencoder(validation_fraction=0.5, **BINARY).fit(X)


def test_held_out_rows_may_exceed_the_range_of_the_scaler():
    for seed in range(10):  # the largest value is held out in half of them
        model = aefast.Autoencoder(validation_fraction=0.5, **{**BINARY, "scaler": "minmax", "random_state": seed})
        assert np.isfinite(model.fit(OUTSIDE * 10).validation_curve_).all()


@pytest.mark.parametrize("blocks", [list, iter], ids=["list", "iterator"])
def test_later_blocks_count(blocks):
    X = SHARES.copy()
    X[0] /= 2
    with raises_exactly(ValueError, sums_to(0, 0.5)):
        aefast.Autoencoder(**CATEGORICAL).fit_batches(blocks([SHARES, X]))
    with pytest.raises(ValueError, match=r"column 'x2' lies in \[.*, 3\]"):
        aefast.Autoencoder(**BINARY).fit_batches(blocks([CHANCES, OUTSIDE]))


def test_blocks_beyond_the_first_to_which_the_scaler_was_fitted_are_refused():
    blocks = [np.tile([[0.0, 0.0], [1.0, 2.0]], (1000, 1)), np.array([[0.5, 3.0], [0.5, 1.0]])]
    model = aefast.Autoencoder(**{**BINARY, "scaler": "minmax"})
    with raises_exactly(ValueError, lies_in("x1", 0.5, 1.5, "minmax")):
        model.fit_batches(iter(blocks))


def test_rows_of_weight_zero_do_not_count():
    X = np.vstack([SHARES, 2 * SHARES])
    model = aefast.Autoencoder(**CATEGORICAL)
    assert model.fit(X, sample_weight=np.repeat([1.0, 0.0], 60)).n_epochs_ == 1
    with raises_exactly(ValueError, sums_to(60, 2)):
        model.fit(X)


def test_one_hot_columns_pass_whatever_their_type_and_scaler():
    labels = np.arange(60) % 16
    for dtype in (bool, np.uint8, np.float16):
        for scaler in (None, "minmax"):
            X = (labels[:, None] == np.arange(16)).astype(dtype)
            assert aefast.Autoencoder(**{**CATEGORICAL, "scaler": scaler}).fit(X).n_epochs_ == 1


def test_each_group_of_columns_sums_to_one():
    X = np.tile([0.25, 0.75, 0.5, 0.3, 0.2], (BLOCK_ROWS + 3, 1))
    groups, shift, scale = [(0, 2), (2, 5)], np.zeros(5), np.ones(5)
    check_sums("categorical_crossentropy", None, TrainingRows(X, None), shift, scale, groups)
    X[BLOCK_ROWS + 1, 4] = 0
    for rows in (None, np.array([0, BLOCK_ROWS + 1])):
        with raises_exactly(ValueError, sums_to(BLOCK_ROWS + 1, 0.8, " in columns 2 to 4")):
            check_sums("categorical_crossentropy", None, TrainingRows(X, rows), shift, scale, groups)
    check_sums("mse", None, TrainingRows(X, None), shift, scale, groups)


def test_a_model_keeps_its_scaling_when_new_rows_are_refused():
    model = aefast.Autoencoder(**CATEGORICAL).fit(SHARES)
    scores = model.score_samples(SHARES)
    for X in (CHANCES, 2 * SHARES):
        with pytest.raises(ValueError, match="sum to 1"):
            model.set_params(scaler="minmax").fit(X)
    np.testing.assert_array_equal(model.score_samples(SHARES), scores)
