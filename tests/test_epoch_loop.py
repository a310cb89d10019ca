"""The loop over epochs in the engine gives the same bits as the loop in Python, which serves callbacks."""

import numpy as np
import pandas as pd
import pytest

import aefast
from aefast.engine import core
from aefast.exceptions import ConvergenceError
from aefast.model.parameters import join_parameters

X = np.random.default_rng(0).normal(size=(300, 3)) @ np.random.default_rng(1).normal(size=(3, 9))
X += 0.3 * np.random.default_rng(2).normal(size=X.shape)
MIXED = pd.DataFrame({"size": X[:, 0], "other": X[:, 1], "kind": np.where(X[:, 2] > 0, "a", "b")})
WITH_GAPS = np.where(np.random.default_rng(3).random(X.shape) < 0.1, np.nan, X)
IMAGES = np.random.default_rng(4).random((120, 6, 6, 1))


def nothing(info):
    """Do nothing; a callback makes training call Python after each epoch."""


def noise(batch):
    return batch + 0.1 * np.sin(100 * batch)


CASES = {
    "plain": (aefast.Autoencoder((6, 2)), X),
    "float64": (aefast.Autoencoder((6, 2), dtype="float64"), X),
    "no held-out rows": (aefast.Autoencoder((6, 2), validation_fraction=0), X),
    "no early stopping": (aefast.Autoencoder((6, 2), early_stopping=False), X),
    "neither": (aefast.Autoencoder((6, 2), early_stopping=False, validation_fraction=0, drop_last=True), X),
    "patience": (aefast.Autoencoder((6, 2), n_epochs_no_change=1, tol=0.02, learning_rate=0.01), X),
    "penalties on the code": (aefast.Autoencoder((6, 2), activity_l1=0.01, activity_l2=0.02), X),
    "weights, dropout, clipping": (aefast.Autoencoder((6, 2), l1=1e-3, l2=1e-3, dropout=0.1, clip_norm=0.5), X),
    "batch norm": (aefast.Autoencoder((6, 2), batch_norm=True, optimizer="rmsprop"), X),
    "tied": (aefast.Autoencoder((6, 2), tied_weights=True, optimizer=aefast.SGD(momentum=0.9)), X),
    "missing": (aefast.Autoencoder((6, 2), missing="mask"), WITH_GAPS),
    "mixed": (aefast.Autoencoder((6, 2)), MIXED),
    "starts": (aefast.Autoencoder((6, 2), n_init=2), X),
    "crossentropy": (
        aefast.Autoencoder((6, 2), scaler="minmax", loss="binary_crossentropy", output_activation="sigmoid"),
        X,
    ),
    "denoising": (aefast.DenoisingAutoencoder((6, 2)), X),
    "masking": (aefast.DenoisingAutoencoder((6, 2), noise="masking"), X),
    "own noise": (aefast.DenoisingAutoencoder((6, 2), noise=noise), X),
    "sparse": (aefast.SparseAutoencoder((12,)), X),
    "sparse, l1": (aefast.SparseAutoencoder((12,), sparsity="l1"), X),
    "sparse, topk": (aefast.SparseAutoencoder((12,), sparsity="topk", k=3), X),
    "contractive": (aefast.ContractiveAutoencoder((6, 2), contraction=0.01), X),
    "variational": (aefast.VariationalAutoencoder((6, 2)), X),
    "convolutional": (aefast.ConvolutionalAutoencoder((6, 6, 1), channels=(4,)), IMAGES),
    "convolutional, normalised": (
        aefast.ConvolutionalAutoencoder((6, 6, 1), channels=(4, 2), strides=(2, 1), pool=(1, 2), batch_norm=True),
        IMAGES,
    ),
}


def everything(model):
    """All that training has led to, as arrays."""
    model = model.model_
    of_norms = [norm for norm in model.norms if norm is not None]
    curves = [model.loss_curve, model.validation_curve, [model.best_loss, model.offset], model.calibration.errors]
    return [*model.coefs, *model.intercepts, *of_norms, *map(np.asarray, curves)]


def assert_same(first, second):
    for one, other in zip(everything(first), everything(second), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_both_loops_give_the_same_bits(case, seed):
    estimator, rows = CASES[case]
    one, other = (
        type(estimator)(**{**estimator.get_params(), "max_epochs": 25, "random_state": seed, "callbacks": callbacks})
        for callbacks in ((), nothing)
    )
    assert_same(one.fit(rows), other.fit(rows))


@pytest.mark.parametrize("case", ["plain", "sparse", "mixed"])
def test_the_engine_runs_all_epochs_of_a_plain_fit(case, monkeypatch):
    estimator, rows = CASES[case]

    def refuse(*args, **kwargs):
        raise AssertionError("Python was called after an epoch")

    monkeypatch.setattr("aefast.training.loop.EpochLoop._take", refuse)
    fitted = type(estimator)(**{**estimator.get_params(), "max_epochs": 3, "random_state": 0}).fit(rows)
    assert fitted.n_epochs_ == 3
    with pytest.raises(AssertionError, match="Python was called"):
        fitted.set_params(callbacks=nothing).fit(rows)


def test_both_loops_give_the_same_bits_with_weights_validation_data_and_recorded_noise():
    weights = np.random.default_rng(5).integers(0, 3, size=len(X))
    for arguments in (
        {"sample_weight": weights},
        {"validation_data": X[:40]},
        {"sample_weight": weights, "validation_data": X[:40]},
    ):
        one, other = (
            aefast.SparseAutoencoder((12,), max_epochs=12, random_state=0, callbacks=callbacks).fit(X, **arguments)
            for callbacks in ((), nothing)
        )
        assert_same(one, other)
    one, other = (
        aefast.DenoisingAutoencoder((6, 2), max_epochs=12, random_state=0, callbacks=callbacks).fit(X, X_noisy=noise(X))
        for callbacks in ((), nothing)
    )
    assert_same(one, other)


def test_further_training_goes_on_alike_in_both_loops():
    one, other = (
        aefast.Autoencoder((6, 2), dropout=0.1, max_epochs=4, random_state=0, warm_start=True, callbacks=callbacks)
        for callbacks in ((), nothing)
    )
    for model in (one, other):
        model.fit(X)
        for begin in range(0, 300, 100):
            model.partial_fit(X[begin : begin + 100])
        model.fit(X)
    assert_same(one, other)
    assert one.n_epochs_ == 11


def test_divergence_is_reported_alike_in_both_loops():
    messages = []
    for callbacks in ((), nothing):
        model = aefast.Autoencoder(
            (6, 2), activation="relu", optimizer="sgd", learning_rate=300.0, scaler=None, random_state=0
        )
        model.set_params(callbacks=callbacks)
        with pytest.raises(ConvergenceError) as raised:
            model.fit(1e3 * X)
        messages.append((str(raised.value), everything(model)))
    assert messages[0][0] == messages[1][0]
    for one, other in zip(messages[0][1], messages[1][1], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("n_calls", [1, 8])
def test_an_exception_ends_both_loops_with_the_same_weights(n_calls):
    fitted = []
    for callbacks in ((), nothing):
        n_left = n_calls

        def stop(batch):
            nonlocal n_left
            n_left -= 1
            if n_left < 0:
                raise KeyboardInterrupt
            return batch

        options = {"score_metric": "mse", "random_state": 0, "callbacks": callbacks}
        model = aefast.DenoisingAutoencoder((6, 2), noise=stop, **options)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X)
        fitted.append(model)
    assert_same(*fitted)
    assert fitted[0].n_epochs_ == n_calls // 3


def test_the_history_is_there_after_an_exception():
    model = aefast.Autoencoder((6, 2), random_state=0, max_epochs=1).fit(X)
    network = model.network_
    parameters = join_parameters(network, model.coefs_, model.intercepts_, "float32")
    trainer = core.Trainer(network, parameters, {"loss": "mse"}, {"kind": "sgd"}, "float32", 0, 1)
    scaling = model.model_.scaling.for_engine("error")
    history = {}

    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        trainer.run_epochs(
            history,
            X,
            scaling,
            max_epochs=9,
            first_pass=5,
            learning_rate=0.1,
            batch_size=50,
            stops_early=True,
            patience=3,
            tol=0.0,
            poll=stop,
        )
    assert history["n_passes"] == 1
    assert history["losses"] == history["held_out_losses"] == history["monitored"] == []
    assert history["diverged"] is None
    for kept, before in zip(history["best"], parameters, strict=True):
        np.testing.assert_array_equal(kept, before)
