"""Estimators in files of skops and in MLflow: they come back whole, and hold only the types that the guide lists."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import aefast
from golden.cases import cases, inputs

io = pytest.importorskip("skops.io", reason="needs skops, which is optional")
GUIDE = Path(__file__).parents[1] / "docs" / "guide" / "tracking.md"
CASES = {name: (rows, estimator) for name, rows, estimator in cases()}
X = inputs()["X"]


def stored(estimator):
    """Return the estimator from a file of skops, and the types that had to be trusted."""
    content = io.dumps(estimator)
    types = io.get_untrusted_types(data=content)
    return io.loads(content, trusted=types), set(types)


def listed_types():
    """Return the types that the guide lists; "and the other ..." stands for what is public."""
    public = {f"{each.__module__}.{each.__qualname__}" for each in map(aefast.__getattr__, PUBLIC)}
    return public | set(re.findall(r"`(aefast\.[a-z_.]+\.[A-Z]\w+)`", GUIDE.read_text(encoding="utf-8")))


ESTIMATORS = [name for name in dir(aefast) if name.endswith("Autoencoder")]
PUBLIC = [*ESTIMATORS, "Adam", "AdamW", "RMSprop", "SGD", "ConstantSchedule", "StepSchedule", "ExponentialSchedule"]
PUBLIC += ["LinearSchedule", "CosineSchedule", "ReduceOnPlateau"]


@pytest.mark.parametrize("name", CASES)
def test_an_estimator_comes_back_whole(name):
    rows, estimator = CASES[name]
    rows = inputs()[rows]
    estimator.fit(rows)
    again, types = stored(estimator)
    np.testing.assert_array_equal(again.score_samples(rows), estimator.score_samples(rows))
    np.testing.assert_array_equal(again.p_values(rows), estimator.p_values(rows))
    assert again.get_params().keys() == estimator.get_params().keys()
    assert types <= listed_types()
    # It can be trained on, and its model is as unchangeable as ever.
    again.partial_fit(rows)
    with pytest.raises(TypeError, match="a model cannot be changed"):
        again.model_.network["n_features"] = 1


def test_every_optimiser_and_schedule_comes_back():
    for optimizer in (aefast.Adam(), aefast.AdamW(), aefast.RMSprop(), aefast.SGD()):
        for rate in (
            aefast.CosineSchedule(1e-3, n_epochs=2),
            aefast.ReduceOnPlateau(1e-3),
            aefast.StepSchedule(1e-3, every=1),
        ):
            model = aefast.Autoencoder((3,), optimizer=optimizer, learning_rate=rate, max_epochs=2, random_state=0)
            again, types = stored(model.fit(X))
            np.testing.assert_array_equal(again.fit(X).coefs_[0], model.coefs_[0])
            assert types <= listed_types()


def test_a_fleet_comes_back_whole():
    table = pd.DataFrame(X, columns=list("abcdefg")).assign(machine=["u", "v", "w"] * 100)
    fleet = aefast.Fleet(aefast.Autoencoder((3,), max_epochs=2, random_state=0), by="machine").fit(table)
    again, types = stored(fleet)
    np.testing.assert_array_equal(again.score_samples(table), fleet.score_samples(table))
    assert all(each.startswith("aefast.") for each in types)


@pytest.mark.filterwarnings("default")  # of MLflow's own modules
def test_a_model_of_mlflow_scores_alike(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="needs MLflow, which is optional")
    sklearn = pytest.importorskip("mlflow.sklearn", reason="needs MLflow, which is optional")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    epochs = []

    def log_epoch(info):
        epochs.append(info.epoch)
        mlflow.log_metrics({"loss": info.loss, "validation_loss": info.validation_loss}, step=info.epoch)

    model = aefast.Autoencoder((3,), max_epochs=4, callbacks=log_epoch, random_state=0)
    with mlflow.start_run() as run:
        model.fit(X).set_params(callbacks=())
        logged = sklearn.log_model(model, name="model", skops_trusted_types=sorted(stored(model)[1]))
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "validation_loss")
    assert [each.step for each in history] == epochs == list(range(1, 1 + model.n_epochs_))
    np.testing.assert_allclose([each.value for each in history], model.validation_curve_)
    again = sklearn.load_model(logged.model_uri)
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
