"""Wrong uses of the estimators and their one-line errors."""

import numpy as np
import pytest

import aefast
from aefast import Autoencoder
from messages import TAKES_MISSING, raises_exactly

X = np.random.default_rng(0).normal(size=(60, 4))
BAD = X.copy()
BAD[[7, 9, 9], [2, 0, 1]] = [np.inf, np.nan, np.nan]
# Two rows repeated, so that every sample has the same range.
OUTSIDE = np.tile([[0.5, 0.5, -1, 0.5], [0.25, 0.5, 3, 0.5]], (30, 1))
MODEL = Autoencoder((3, 2), score_metric="mse", max_epochs=1, random_state=0).fit(X)
ACTIVATIONS = "'identity', 'sigmoid', 'tanh', 'relu', 'leaky_relu', 'elu', 'selu', 'gelu', 'silu', 'softplus'"
METRICS = "mse, mae, max, huber, binary_crossentropy, categorical_crossentropy, mahalanobis, calibrated"
REMEDY = "use scaler='minmax', or scaler=None for values that are in [0, 1] already"
CROSSENTROPY = {"loss": "binary_crossentropy", "output_activation": "sigmoid"}


def warm_started(**parameters):
    model = Autoencoder((3, 2), max_epochs=1, random_state=0, warm_start=True).fit(X)
    return model.set_params(**parameters).fit(X)


def replaced(**attributes):
    model = Autoencoder((3, 2), max_epochs=1, random_state=0).fit(X)
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


# A wrong use and its message.
WRONG = {
    "a loss of one's own": (
        lambda: Autoencoder(loss=lambda x, y: abs(x - y)).fit(X),
        (
            "loss must be one of mse, mae, huber, binary_crossentropy, categorical_crossentropy, not a function: the "
            "engine computes it in compiled code, with several threads and without Python"
        ),
    ),
    "a metric of one's own": (
        lambda: Autoencoder(score_metric=np.linalg.norm).fit(X),
        (
            f"score_metric must be one of auto, {METRICS}, not a function: the engine computes it in compiled code, "
            "with several threads and without Python"
        ),
    ),
    "an activation of one's own": (
        lambda: aefast.SparseAutoencoder(code_activation=np.tanh).fit(X),
        (
            "code_activation must be one of identity, sigmoid, tanh, relu, leaky_relu, elu, selu, gelu, silu, "
            "softplus, not a function: the engine computes it in compiled code, with several threads and without Python"
        ),
    ),
    "too few columns": (
        lambda: MODEL.predict(X[:, :3]),
        "X has 3 features, but Autoencoder is expecting 4 features as input.",
    ),
    "no rows": (
        lambda: Autoencoder().fit(X[:0]),
        "Found array with 0 sample(s) (shape=(0, 4)) while a minimum of 1 is required by Autoencoder.",
    ),
    "an array of three dimensions": (
        lambda: Autoencoder().fit(X.reshape(-1, 2, 2)),
        "Found array with dim 3, while dim <= 2 is required by Autoencoder.",
    ),
    "missing values in fit": (
        lambda: Autoencoder().fit(BAD),
        "X contains NaN or infinity: 3 values are not finite, the first (inf) in row 7, column 'x2'" + TAKES_MISSING,
    ),
    "missing values in scoring": (
        lambda: MODEL.score_samples(BAD),
        "X contains NaN or infinity: 3 values are not finite, the first (inf) in row 7, column 'x2'" + TAKES_MISSING,
    ),
    "codes of the wrong width": (
        lambda: MODEL.inverse_transform(X),
        "Z has 4 columns, but the code of this Autoencoder has 2",
    ),
    "unknown metric": (
        lambda: MODEL.reconstruction_error(X, metric="rmse"),
        f"metric must be None or one of {METRICS}, got 'rmse'",
    ),
    "metric that needs probabilities": (
        lambda: MODEL.reconstruction_error(X, metric="binary_crossentropy"),
        "metric='binary_crossentropy' needs output_activation='sigmoid' or 'softmax', got 'identity'",
    ),
    "metric that needs a covariance": (
        lambda: MODEL.reconstruction_error(X, metric="mahalanobis"),
        "metric='mahalanobis' needs a model that was fitted with score_metric='mahalanobis'",
    ),
    "unknown precision": (
        lambda: MODEL.reconstruction_error(X, precision="float8"),
        "precision must be one of float32, bfloat16, int8, got 'float8'",
    ),
    "false-discovery rate of one": (lambda: MODEL.detect(X, fdr=1), "fdr must be in (0, 1), got 1"),
    "false-discovery rate that is no number": (lambda: MODEL.detect(X, fdr="a"), "fdr must be in (0, 1), got 'a'"),
    "no features to explain by": (lambda: MODEL.explain(X, top=0), "top must be an integer of at least 1, got 0"),
    "unknown activation": (
        lambda: Autoencoder(activation="swish").fit(X),
        f"The 'activation' parameter of Autoencoder must be a str among {{{ACTIVATIONS}}}. Got 'swish' instead.",
    ),
    "contamination above a half": (
        lambda: Autoencoder(contamination=0.6).fit(X),
        "The 'contamination' parameter of Autoencoder must be a float in the range (0.0, 0.5]. Got 0.6 instead.",
    ),
    "schedule from zero": (
        lambda: Autoencoder(learning_rate=aefast.ConstantSchedule(0)),
        "ConstantSchedule: initial must be a number above 0, got 0",
    ),
    "layer of no units": (
        lambda: Autoencoder((64, 0)).fit(X),
        "encoder_layer_sizes must hold integers of at least 1, got 0",
    ),
    "dropout for some layers": (
        lambda: Autoencoder((64, 8), dropout=(0.1, 0.2)).fit(X),
        "dropout must be one rate, or one for each of the 3 hidden layers, got 2",
    ),
    "tied weights without a mirror": (
        lambda: Autoencoder((8, 2), decoder_layer_sizes=(6,), tied_weights=True).fit(X),
        (
            "tied_weights=True needs a decoder that mirrors the encoder: "
            "decoder_layer_sizes must be None or (8,), got (6,)"
        ),
    ),
    "crossentropy of outputs that are no probabilities": (
        lambda: Autoencoder(loss="binary_crossentropy").fit(X),
        "loss='binary_crossentropy' needs output_activation='sigmoid' or 'softmax', got 'identity'",
    ),
    "crossentropy of data outside [0, 1]": (
        lambda: Autoencoder(**CROSSENTROPY, scaler=None).fit(OUTSIDE),
        (
            "loss='binary_crossentropy' needs values in [0, 1] after scaling, but with "
            f"scaler=None column 'x2' lies in [-1, 3]: {REMEDY}"
        ),
    ),
    "crossentropy of standardised data": (
        lambda: Autoencoder(**CROSSENTROPY, scaler="standard", validation_fraction=0).fit(OUTSIDE),
        (
            "loss='binary_crossentropy' needs values in [0, 1] after scaling, but with "
            f"scaler='standard' column 'x0' lies in [-1, 1]: {REMEDY}"
        ),
    ),
    "crossentropy of rows beyond those the scaler was fitted to": (
        lambda: (
            Autoencoder(**CROSSENTROPY, scaler="minmax")
            .partial_fit(np.resize(OUTSIDE, (2000, OUTSIDE.shape[1])))
            .partial_fit(2 * OUTSIDE)
        ),
        (
            "loss='binary_crossentropy' needs values in [0, 1] after scaling, but with scaler='minmax' column 'x0' "
            "lies in [1, 3]: it was fitted to earlier rows; bring all rows into [0, 1] beforehand and use scaler=None"
        ),
    ),
    "large values without a scaler": (
        lambda: Autoencoder(scaler=None).fit(OUTSIDE * 1e7),
        "column 'x0' has values from 2.5e+06 to 5e+06, too large to train on without a scaler; set scaler='standard'",
    ),
    "callback that cannot be called": (
        lambda: Autoencoder(callbacks=["print"]).fit(X),
        "callbacks must hold callables, got 'print'",
    ),
    "weights of all rows zero": (
        lambda: Autoencoder().fit(X, sample_weight=np.zeros(60)),
        "sample_weight is zero for every row",
    ),
    "no blocks": (lambda: Autoencoder().fit_batches([]), "fit_batches needs at least one block of rows, got none"),
    "warm start into another network": (
        lambda: warm_started(encoder_layer_sizes=(5, 2)),
        "coefs_[0] has shape (4, 3), but its layer needs (4, 5)",
    ),
    "replaced weights that do not fit": (
        lambda: replaced(coefs_=[np.ones((2, 2))] * 4).predict(X),
        "coefs_[0] has shape (2, 2), but its layer needs (4, 3)",
    ),
}


@pytest.mark.parametrize("use", WRONG)
def test_wrong_uses_are_answered_in_one_line(use):
    do, message = WRONG[use]
    with raises_exactly(ValueError, message):
        do()


def test_a_model_is_as_good_as_before_after_a_wrong_use():
    scores = MODEL.score_samples(X)
    for do, _ in WRONG.values():
        with pytest.raises(ValueError):  # noqa: PT011 - the messages are above
            do()
    np.testing.assert_array_equal(MODEL.score_samples(X), scores)
