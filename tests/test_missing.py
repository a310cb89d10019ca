"""Missing values: masked ones do not influence losses, gradients and errors; filled ones are column means."""

import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone

import aefast
import engine
import reference
import rounding
from aefast.engine import core
from aefast.model.scaling import column_statistics
from small_tables import FEATURES, features_of, run_command, small_table, write_table
from test_gradients import NATURAL_OUTPUT, assert_gradient_is_the_slope, make_case
from test_scoring import METRICS, RESIDUAL_METRICS, random_model

DTYPES = ["float32", "float64"]
VARIANTS = {
    "Autoencoder": {"batch_norm": True},
    "ContractiveAutoencoder": {},
    "ConvolutionalAutoencoder": {"image_shape": (4, 4, 1), "channels": (4,), "code_size": 3},
    "DenoisingAutoencoder": {"noise": "salt_pepper"},
    "SparseAutoencoder": {},
    "VariationalAutoencoder": {},
}


def masking(values):
    """A `Scaling` that masks, from the oracle's (shift, scale, limit)."""
    return core.Scaling(*values, masks_missing=True)


def with_holes(X, share=0.2, seed=0):
    """Return the rows with a share of values replaced by NaN; the second row is all NaN."""
    X = X.copy()
    X[np.random.default_rng(seed).random(X.shape) < share] = np.nan
    X[1:2] = np.nan
    return X


def related_rows(n_rows=600, n_features=8, seed=0):
    """Return rows near a plane, which is the same for every seed."""
    plane, rng = np.random.default_rng(0).normal(size=(2, n_features)), np.random.default_rng(seed + 1)
    return rng.normal(size=(n_rows, 2)) @ plane + 0.05 * rng.normal(size=(n_rows, n_features))


# The engine.


@pytest.mark.parametrize("option", ["rows", "sample_weight", "target"])
@pytest.mark.parametrize("output", ["identity", "relu", "gelu", "sigmoid", "softmax"])
@pytest.mark.parametrize("loss", sorted(reference.LOSSES))
def test_the_gradient_is_the_slope_of_the_loss_over_known_values(loss, output, option, monkeypatch):
    if loss in NATURAL_OUTPUT and output not in ("sigmoid", "softmax"):
        output = NATURAL_OUTPUT[loss]
    network, parameters, objective, x, arguments = make_case(loss, "tanh", output, **{option: True})
    x[0, 1] = x[3, 2:4] = x[2] = np.nan
    if option == "target":
        arguments["target"] = with_holes(arguments["target"])
    monkeypatch.setattr(engine, "identity_scaling", lambda n: masking(reference.no_scaling(n)))
    assert_gradient_is_the_slope(network, parameters, objective, x, arguments)
    trainer = engine.trainer(network, parameters, objective)
    value, gradient = trainer.gradient(x, masking(reference.no_scaling(5)), **arguments)
    data_loss, expected, expected_gradient = reference.objective_and_gradient(
        network, parameters, objective, x, **arguments
    )
    assert value == pytest.approx(expected, rel=1e-12)
    for got, wanted in zip(gradient, expected_gradient, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)
    assert trainer.evaluate(x, masking(reference.no_scaling(5)), **arguments) == pytest.approx(data_loss, rel=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output_activation", ["identity", "sigmoid", "softmax", "gelu"])
@pytest.mark.parametrize("metric", METRICS)
def test_errors_are_means_over_known_values(metric, output_activation, dtype):
    if metric not in RESIDUAL_METRICS and output_activation not in ("sigmoid", "softmax"):
        output_activation = "sigmoid"
    for n_rows, n_features in [(1, 5), (2, 1), (17, 7), (150, 33), (65, 70)]:
        network, parameters, values, whitening = random_model(
            (n_features, 6, 3, 6, n_features), output_activation=output_activation
        )
        if metric not in RESIDUAL_METRICS:
            values = reference.no_scaling(n_features)
        whitening = whitening if metric == "mahalanobis" else None
        X = np.random.default_rng(1).dirichlet(np.ones(n_features), size=n_rows).astype(dtype)
        X = with_holes(X)
        predictor = core.Predictor(network, parameters, masking(values), dtype, 1)
        filled, factors = np.where(np.isnan(X), values[0], X), reference.row_factors(X)
        unit = 2 * rounding.unit_of(dtype)
        bound = rounding.feature_error_bound(
            network, parameters, reference.scale_rows(filled, values), metric, unit, whitening
        ) * np.maximum(factors, 1)
        shares = predictor.feature_errors(X, metric, whitening)
        if metric != "max":
            expected = reference.feature_errors(network, parameters, values, X, metric, whitening)
            assert (np.abs(shares - expected) <= bound).all()
            if metric != "mahalanobis":
                assert (shares[np.isnan(X)] == 0).all()
        errors = predictor.errors(X, metric, whitening)
        expected = reference.errors(network, parameters, values, X, metric, whitening, masks_missing=True)
        assert (np.abs(errors - expected) <= bound.sum(axis=1)).all()
        assert (errors[1:2] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", METRICS)
def test_a_row_keeps_its_error_to_the_bit_whatever_is_missing_beside_it(metric, dtype):
    network, parameters, values, whitening = random_model((13, 6, 3, 6, 13), output_activation="sigmoid")
    if metric == "categorical_crossentropy":
        network["layers"][-1]["activation"] = "softmax"
    whitening = whitening if metric == "mahalanobis" else None
    X = np.random.default_rng(1).uniform(size=(150, 13)).astype(dtype)
    plain = engine.predictor(network, parameters, values, dtype)
    masked = core.Predictor(network, parameters, masking(values), dtype, 2)
    ulp = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(masked.errors(X, metric, whitening), plain.errors(X, metric, whitening), rtol=ulp)
    holes = X.copy()
    holes[::3, 4:9] = np.nan
    is_complete = ~np.isnan(holes).any(axis=1)
    for call in (masked.errors, masked.feature_errors):
        together = call(holes, metric, whitening)
        np.testing.assert_array_equal(together[is_complete], call(X, metric, whitening)[is_complete])
        for rows in (slice(3, 4), slice(60, 95)):
            np.testing.assert_array_equal(call(np.asfortranarray(holes[rows]), metric, whitening), together[rows])


@pytest.mark.parametrize("missing", ["mask", "fill"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_training_does_not_depend_on_the_number_of_threads(missing, batch_norm):
    network = reference.network_spec((40, 30, 5, 30, 40), "relu")
    parameters = reference.random_parameters(network, np.random.default_rng(0))
    for layer in network["layers"][:2] if batch_norm else []:
        layer["batch_norm"] = True
    if batch_norm:
        ones = [np.vstack([np.ones(n), np.zeros(n), np.zeros(n), np.ones(n)]) for n in (30, 5)]
        parameters = [*parameters[:2], *ones[0], *parameters[2:4], *ones[1], *parameters[4:]]
    values = reference.no_scaling(40)
    scaling = masking(values) if missing == "mask" else core.Scaling(*values, np.full(40, 0.5))
    X = with_holes(np.random.default_rng(1).normal(size=(500, 40)))
    after = []
    for n_threads in (1, 3):
        trainer = engine.trainer(network, parameters, dtype="float32", n_threads=n_threads)
        loss = trainer.train_epoch(X, scaling, epoch=0, learning_rate=0.1, batch_size=200)
        after.append([np.float64(loss), *trainer.parameters()])
    for one, three in zip(*after, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, three)


def test_noise_adds_nothing_where_nothing_is_known():
    network = reference.network_spec((6, 4, 6), "tanh")
    parameters = reference.random_parameters(network, np.random.default_rng(0))
    X, scaling = np.random.default_rng(1).normal(size=(70, 6)), masking(reference.no_scaling(6))
    X[:, 2] = np.nan
    step = {"epoch": 0, "learning_rate": 0.1, "batch_size": 35, "shuffle": False}
    for noise in ("gaussian", "masking", "salt_pepper"):
        bounds = {"noise_lowest": [-5.0] * 6, "noise_highest": [5.0] * 6}
        trainer = engine.trainer(network, parameters, {"loss": "mse", "noise": noise, "noise_level": 1.0, **bounds})
        trainer.train_epoch(X, scaling, **step)
        np.testing.assert_array_equal(trainer.parameters()[0][2], parameters[0][2])
        assert noise == "masking" or (trainer.parameters()[0][1] != parameters[0][1]).all()

    def noisy(batch):
        assert (batch[:, 2] == 0).all()
        return np.where(np.arange(6) == 2, 100.0, batch)

    trainer, plain = engine.trainer(network, parameters), engine.trainer(network, parameters)
    trainer.train_epoch(X, scaling, corrupt=noisy, **step)
    plain.train_epoch(X, scaling, **step)
    for got, wanted in zip(trainer.parameters(), plain.parameters(), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_summed_loss_is_summed_over_known_values():
    """All outputs are 0, so that the terms of the loss are the squares of the known values."""
    network = reference.network_spec((5, 3, 5), "identity")
    parameters = [0 * p for p in reference.random_parameters(network, np.random.default_rng(0))]
    X, scaling = with_holes(np.random.default_rng(1).normal(size=(60, 5))), masking(reference.no_scaling(5))
    trainer = engine.trainer(network, parameters, {"loss": "mse", "scale": 0.5})
    expected = 0.5 * np.nansum(X**2) / 60
    value, gradient = trainer.gradient(X, scaling)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient[-1].ravel(), -np.nansum(X, axis=0) / 60, rtol=1e-12)
    assert trainer.evaluate(X, scaling) == pytest.approx(expected, rel=1e-12)


def test_statistics_are_those_of_the_values_that_are_there():
    X = 1e9 + np.random.default_rng(0).normal(size=(9000, 4))
    X[:, 1][np.random.default_rng(1).random(9000) < 0.5] = np.nan
    X[:5000, 2] = np.nan
    X[:, 3] = np.nan
    for rows in (None, np.arange(4000, 8000, dtype=np.int64)):
        part = X[:, :3] if rows is None else X[rows, :3]
        statistics = column_statistics(X, rows, 2)
        for name, of in {"mean": np.nanmean, "std": np.nanstd, "min": np.nanmin, "max": np.nanmax}.items():
            np.testing.assert_allclose(statistics[name][:3], of(part, axis=0), rtol=1e-9, err_msg=name)
        assert statistics["n_finite"].tolist() == [*(~np.isnan(part)).sum(axis=0), 0]


# Estimators.


def test_missing_values_are_refused_by_default_with_count_place_and_remedy():
    X = related_rows()
    X[3, 2] = X[7, 1] = np.nan
    message = r"2 values are not finite, the first \(nan\) in row 3, column 'x2'; missing='mask' or 'mean' takes NaN"
    with pytest.raises(ValueError, match=message):
        aefast.Autoencoder().fit(X)
    model = aefast.Autoencoder(max_epochs=1).fit(related_rows())
    with pytest.raises(ValueError, match=message):
        model.reconstruction_error(X)


@pytest.mark.parametrize("missing", ["mask", "mean"])
def test_infinity_is_refused_still(missing):
    X = with_holes(related_rows())
    model = aefast.Autoencoder(missing=missing, max_epochs=1).fit(X)
    X[5, 2] = np.inf
    for call in (model.fit, model.reconstruction_error, model.transform, model.explain, model.feature_errors):
        with pytest.raises(ValueError, match=r"X contains infinity: 1 value .* \(inf\) in row 5, column 'x2'$"):
            call(X)


@pytest.mark.parametrize("missing", ["mask", "mean"])
def test_a_column_without_values_is_refused_by_name(missing):
    X = with_holes(related_rows())
    X[:, 4] = np.nan
    with pytest.raises(ValueError, match="column 'x4' has no value in any row to learn from: leave it out"):
        aefast.Autoencoder(missing=missing).fit(X)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("metric", ["mse", "mahalanobis"])
def test_every_estimator_trains_on_known_values(name, metric):
    make = getattr(aefast, name)
    sizes = {} if "Convolutional" in name else {"encoder_layer_sizes": (16, 3)}
    options = {**VARIANTS[name], **sizes, "max_epochs": 5, "random_state": 0, "score_metric": metric}
    X = with_holes(related_rows(n_features=16), 0.1)
    model = make(missing="mask", **options).fit(X)
    assert np.isfinite(model.loss_curve_ + model.validation_curve_).all()
    for values in (model.reconstruction_error(X), model.reconstruct(X), model.transform(X), *model.coefs_):
        assert np.isfinite(values).all()
    assert model.reconstruction_error(X)[1] == 0
    np.testing.assert_allclose(model.feature_errors(X).sum(axis=1), model.reconstruction_error(X), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("scaler", ["standard", "minmax", "robust"])
def test_masked_models_find_anomalies_among_known_values(scaler):
    X = with_holes(related_rows(3000), 0.05)
    model = aefast.Autoencoder((16, 2), missing="mask", scaler=scaler, max_epochs=60, random_state=0).fit(X)
    odd = with_holes(related_rows(400, seed=3), 0.05, seed=1)
    odd[1] = related_rows(2)[1]
    odd[:, 5] = np.where(np.arange(400) % 10 == 0, 6.0 * np.nanstd(X[:, 5]), odd[:, 5])
    found = np.argsort(-model.reconstruction_error(odd))[:40]
    assert np.mean(found % 10 == 0) > 0.9


def test_missing_features_are_never_reasons():
    X = with_holes(related_rows())
    for missing in ("mask", "mean"):
        for metric in ("mse", "mahalanobis"):
            model = aefast.Autoencoder(missing=missing, max_epochs=2, score_metric=metric, random_state=0).fit(X)
            table = model.explain(X, top=8)
            assert not table["value"].isna().any()
            n_reasons = table.groupby("row").size().reindex(range(len(X)), fill_value=0)
            np.testing.assert_array_equal(n_reasons, (~np.isnan(X)).sum(axis=1))


def test_known_values_come_before_missing_ones_among_equal_reasons():
    model = aefast.Autoencoder((2,), scaler=None, missing="mask", max_epochs=0, score_metric="mse").fit(related_rows())
    for arrays in (model.coefs_, model.intercepts_):
        arrays[:] = map(np.zeros_like, arrays)
    row = np.full((1, 8), np.nan)
    row[0, 5] = 0
    _, features, *_ = model.model_._reasons(row, 1, "float32")
    assert features.tolist() == [[5]]
    # Neither a missing value nor an expected one is a reason for users.
    assert len(model.explain(row, top=8)) == 0
    assert np.isnan(model.model_.reasons(row, 1).values).all()
    row[0, 5] = 1
    assert list(model.explain(row, top=8)["feature"]) == ["x5"]


def test_missing_values_are_replaced_by_the_mean():
    X = with_holes(related_rows())
    means = np.nanmean(X, axis=0)
    filled = np.where(np.isnan(X), means, X)
    for scaler in ("standard", "minmax", "robust", None):
        options = {"max_epochs": 3, "validation_fraction": 0, "scaler": scaler, "random_state": 0, "dtype": "float64"}
        model = aefast.Autoencoder(missing="mean", **options).fit(X)
        np.testing.assert_allclose(model.column_means_, means)
        np.testing.assert_allclose(model.reconstruction_error(X), model.reconstruction_error(filled), rtol=1e-9)
        np.testing.assert_allclose(model.feature_errors(X), model.feature_errors(filled), rtol=1e-9, atol=1e-12)


def test_the_bound_of_a_variational_model_is_that_of_the_known_features():
    X = related_rows()
    model = aefast.VariationalAutoencoder((8, 2), missing="mask", scaler=None, max_epochs=1, random_state=0).fit(X)
    model.coefs_[-1] = np.zeros_like(model.coefs_[-1])  # the output is then its bias, whatever is drawn
    zero, missing = X.copy(), X.copy()
    zero[:, 3], missing[:, 3] = 0, np.nan
    difference = model.elbo(missing) - model.elbo(zero)
    # Differences of large bounds are rounded as these are.
    rounding = 4 * np.finfo(np.float32).eps * np.abs(model.elbo(zero)).max()
    np.testing.assert_allclose(difference, model.intercepts_[-1][3] ** 2 / 2, rtol=1e-3, atol=rounding)


def test_a_block_may_have_no_known_value_of_a_column():
    X = related_rows(900)
    X[:300, 1] = X[400:, 6] = np.nan
    for batches in (X.reshape(3, 300, 8), X[::-1].reshape(3, 300, 8)):
        model = aefast.Autoencoder(
            missing="mask", scaler="standard", max_epochs=3, random_state=0, validation_fraction=0
        )
        model.fit_batches(list(batches))
        np.testing.assert_allclose(model.scaler_shift_, np.nanmean(X, axis=0))
        np.testing.assert_allclose(model.scaler_scale_, np.nanstd(X, axis=0))
        assert np.isfinite(model.reconstruction_error(X)).all()
        assert np.isfinite(model.partial_fit(X[:300]).reconstruction_error(X)).all()


@pytest.mark.parametrize("missing", ["mask", "mean"])
def test_a_model_keeps_how_it_takes_missing_values(missing, tmp_path):
    X = with_holes(related_rows())
    model = aefast.Autoencoder(missing=missing, max_epochs=2, random_state=0).fit(X)
    model.save(tmp_path / "m.safetensors")
    for again in (aefast.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    assert clone(model).missing == missing


def test_null_in_tables_is_missing():
    X = with_holes(related_rows(200)).round(3)
    frame = pd.DataFrame(X, columns=list("abcdefgh"))
    model = aefast.Autoencoder(missing="mask", max_epochs=2, random_state=0).fit(frame)
    wanted = model.score_samples(frame)
    for table in (
        frame.astype("Float64"),
        frame.astype(object).where(frame.notna(), None),
        pa.Table.from_pandas(frame, preserve_index=False),
    ):
        np.testing.assert_allclose(model.score_samples(table), wanted, rtol=1e-5)


def test_the_command_takes_missing_values(tmp_path):
    table = small_table()
    values = features_of(table)
    values[::7, 2] = values[3] = np.nan
    columns = {n: pa.array(values[:, j], from_pandas=True) for j, n in enumerate(FEATURES)}
    for ending in (".parquet", ".csv"):
        data, model = write_table(pa.table(columns), tmp_path / f"t{ending}"), tmp_path / "m.safetensors"
        refused = run_command("fit", data, "-o", model, "--missing", "error")
        assert refused.exit_code == 1
        assert "--missing mask" in refused.stderr
        assert run_command("fit", data, "-o", model, "--missing", "some").exit_code == 2
        assert run_command("fit", data, "-o", model, "--missing", "mask", "--epochs", 3).exit_code == 0
        for output in (tmp_path / "s.parquet", tmp_path / "s.csv"):
            scored = run_command("score", model, data, "-o", output, "--top-features", 3)
            assert scored.exit_code == 0, scored.stderr
        import pyarrow.parquet

        scores = pyarrow.parquet.read_table(tmp_path / "s.parquet")
        wanted = aefast.load(model).set_params(n_threads=1).reconstruction_error(pa.table(columns))
        np.testing.assert_allclose(scores["anomaly_score"], wanted, rtol=1e-6)
        reasons = scores["top_features"].to_pylist()
        assert [len(row) for row in reasons] == np.minimum(3, (~np.isnan(values)).sum(axis=1)).tolist()
        assert all(reason["feature"] != "c" for row in reasons[::7] for reason in row)


@pytest.mark.parametrize("is_mixed", [False, True])
def test_a_scorer_gives_the_reasons_of_explain_where_means_stand_for_missing_values(is_mixed):
    values = with_holes(related_rows(200))
    table = pa.table({f"c{j}": pa.array(column, from_pandas=True) for j, column in enumerate(values.T)})
    if is_mixed:
        table = table.append_column("level", pa.array(["a", "b", "a", None] * 50))
    model = aefast.Autoencoder(missing="mean", max_epochs=2, random_state=0).fit(table)
    scored = pa.Table.from_batches(aefast.Scorer(model, top_features=3).score(table))
    explained = model.explain(table, top=3)
    found = [(reason["feature"], reason["share"]) for row in scored["top_features"].to_pylist() for reason in row]
    assert [name for name, _ in found] == explained["feature"].tolist()
    np.testing.assert_allclose([share for _, share in found], explained["share"])


def test_files_of_columns_without_values_are_scored(tmp_path):
    X = np.random.default_rng(0).normal(size=(200, 3))
    aefast.Autoencoder((2,), max_epochs=1, missing="mask").fit(pd.DataFrame(X, columns=[*"abc"])).save(tmp_path / "m")
    for name, frame in {
        "nulls": pd.DataFrame({"a": [None, None], "b": [1.0, 2.0], "c": [0.5, None]}),
        "empty": pd.DataFrame({"a": [], "b": [], "c": []}, dtype=object),
    }.items():
        frame.to_parquet(tmp_path / f"{name}.parquet")
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        found = []
        for ending in ("parquet", "csv"):
            output = tmp_path / "o.parquet"
            result = run_command("score", tmp_path / "m", tmp_path / f"{name}.{ending}", "-o", output)
            assert result.exit_code == 0, result.stderr
            found.append(pd.read_parquet(output))
        pd.testing.assert_frame_equal(*found)
        assert len(found[0]) == len(frame)


def test_a_stream_scales_by_the_values_that_are_there():
    X = np.random.default_rng(0).normal(size=(3000, 4))
    X[::20] = np.nan
    model = aefast.Autoencoder(missing="mask", max_epochs=1, random_state=0, n_threads=1)
    model.fit_batches([X[:1500], X[1500:]])
    np.testing.assert_allclose(model.scaler_shift_, np.nanmedian(X, axis=0), atol=0.1)
