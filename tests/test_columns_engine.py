"""The engine's output stage for columns of several kinds equals the oracle, row by row."""

import numpy as np
import pytest

import engine
import reference
from aefast.columns.column import Column, RareLevels, expanded, first_elements
from aefast.engine import core
from aefast.model.numbers import input_order
from aefast.model.predictors import Predictors
from aefast.model.scaling import FeatureScaling
from test_gradients import assert_gradient_is_the_slope

# Of a table: two numbers, three levels, a number, a time, one level, two times side by side, five levels.
COLUMNS = [
    (0, 1, 1.0),
    (1, 2, 1.0),
    (2, 5, 1.0),
    (5, 6, 1.0),
    (6, 10, 0.25),
    (10, 11, 1.0),
    (11, 13, 0.5),
    (13, 15, 0.5),
]
COLUMNS += [(15, 20, 2.0)]
GROUPS = [(2, 5), (10, 11), (15, 20)]
LOSSES = {"mse": "identity", "mae": "tanh", "huber": "gelu", "binary_crossentropy": "sigmoid"}


def mixed_case(loss, n_rows=6, seed=0, missing=False):
    """(network, parameters, objective, rows)."""
    rng = np.random.default_rng(seed)
    network = reference.network_spec((20, 7, 3, 7, 20), "tanh", output_activation=LOSSES[loss], groups=GROUPS)
    network["columns"] = COLUMNS
    x = rng.uniform(size=(n_rows, 20))
    for begin, end in GROUPS:
        x[:, begin:end] = np.eye(end - begin)[rng.integers(end - begin, size=n_rows)]
    if missing:
        for begin, end, _ in COLUMNS:
            x[rng.random(n_rows) < 0.2, begin:end] = np.nan
        x[1] = np.nan
    return network, reference.random_parameters(network, rng), {"loss": loss, "l2": 0.01}, x


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_slopes_and_equal_the_oracle(loss, missing, monkeypatch):
    network, parameters, objective, x = mixed_case(loss, missing=missing)
    scaling = core.Scaling(*reference.no_scaling(20), masks_missing=missing)
    monkeypatch.setattr(engine, "identity_scaling", lambda n: scaling)
    weights = np.random.default_rng(1).uniform(0.5, 2, size=len(x))
    assert_gradient_is_the_slope(network, parameters, objective, x, {"sample_weight": weights})
    trainer = engine.trainer(network, parameters, objective)
    value, gradient = trainer.gradient(x, scaling, weights)
    data_loss, expected, wanted = reference.objective_and_gradient(network, parameters, objective, x, weights)
    assert value == pytest.approx(expected, rel=1e-12)
    assert trainer.evaluate(x, scaling, sample_weight=weights) == pytest.approx(data_loss, rel=1e-12)
    for got, want in zip(gradient, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def judged_case(metric, missing, dtype):
    """(network, parameters, predictor, rows, whitening)."""
    loss = metric if metric in LOSSES else "mse"
    network, parameters, _, x = mixed_case(loss, n_rows=150, missing=missing)
    x = x.astype(dtype)
    rng, p = np.random.default_rng(2), 23
    usual, deviation = rng.normal(size=20), rng.uniform(0.5, 2, size=20)
    whitening = (rng.normal(size=p), rng.normal(size=(p, p)) / 5, usual, deviation)
    whitening = whitening if metric == "mahalanobis" else None
    scaling = core.Scaling(*reference.no_scaling(20), masks_missing=missing)
    predictor = core.Predictor(network, parameters, scaling, dtype, 2)
    return network, parameters, predictor, x, whitening


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("metric", ["mse", "mae", "huber", "binary_crossentropy", "max", "mahalanobis"])
def test_errors_equal_the_oracle_and_do_not_depend_on_other_rows(metric, missing, dtype):
    network, parameters, predictor, x, whitening = judged_case(metric, missing, dtype)
    shares, errors = predictor.feature_errors(x, metric, whitening), predictor.errors(x, metric, whitening)
    expected = reference.feature_errors(network, parameters, reference.no_scaling(20), x, metric, whitening)
    tolerance = {"rtol": 1e-10, "atol": 1e-12} if dtype == "float64" else {"rtol": 2e-4, "atol": 1e-5}
    if metric == "max":
        by_column = np.stack([expected[:, b:e].sum(axis=1) for b, e, _ in COLUMNS], axis=1)
        n_known = (~np.isnan(x[:, [b for b, _, _ in COLUMNS]])).sum(axis=1) if missing else len(COLUMNS)
        np.testing.assert_allclose(errors, by_column.max(axis=1) * n_known, **tolerance)
        got = np.stack([shares[:, b:e].sum(axis=1) for b, e, _ in COLUMNS], axis=1)
        assert ((got > 0).sum(axis=1) <= 1).all()
    else:
        np.testing.assert_allclose(shares, expected, **tolerance)
    np.testing.assert_allclose(shares.sum(axis=1), errors, **tolerance)
    np.testing.assert_array_equal(predictor.errors(x[70:93], metric, whitening), errors[70:93])
    outputs = predictor.reconstruct(x)
    for begin, end in GROUPS:
        np.testing.assert_allclose(outputs[:, begin:end].sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("metric", ["mse", "mae", "huber", "binary_crossentropy", "max", "mahalanobis"])
def test_reasons_are_the_columns_with_the_largest_sums_and_what_is_expected_there(metric, missing, dtype):
    _, _, predictor, x, whitening = judged_case(metric, missing, dtype)
    begins = [begin for begin, _, _ in COLUMNS]
    sums = np.add.reduceat(predictor.feature_errors(x, metric, whitening), begins, axis=1)
    is_missing = np.isnan(x[:, begins])
    wanted = np.argsort(np.where(is_missing, 1, -sums), axis=1, kind="stable")
    outputs = predictor.reconstruct(x)
    for top in (1, 3, len(COLUMNS)):
        errors, columns, shares, expected, _ = predictor.reasons(x, metric, whitening, top=top)
        np.testing.assert_array_equal(errors, predictor.errors(x, metric, whitening))
        is_none = np.take_along_axis(is_missing, wanted[:, :top], axis=1)
        np.testing.assert_array_equal(columns, np.where(is_none, -1, wanted[:, :top]))
        total = np.where(errors > 0, errors, 1)[:, None]
        parts = np.take_along_axis(sums, wanted[:, :top], axis=1)
        np.testing.assert_allclose(shares, np.where(is_none, 0, parts / total), rtol=1e-5, atol=1e-6)
        assert expected.shape == (len(x), top, 4)
        for row, rank in np.argwhere(~is_none):
            begin, end, _ = COLUMNS[columns[row, rank]]
            of_column = outputs[row, begin:end]
            of_column = [of_column.argmax()] if (begin, end) in GROUPS else of_column
            np.testing.assert_array_equal(expected[row, rank], [*of_column, *[0] * (4 - len(of_column))])


def test_training_does_not_depend_on_the_number_of_threads():
    network, parameters, objective, x = mixed_case("mse", n_rows=700)
    after = []
    for n_threads in (1, 3):
        trainer = engine.trainer(network, parameters, objective, dtype="float32", n_threads=n_threads)
        trainer.train_epoch(x, engine.identity_scaling(20), epoch=0, learning_rate=0.1, batch_size=300)
        after.append(trainer.parameters())
    for one, three in zip(*after, strict=True):
        np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize("columns", [[(0, 3, 1.0)], [(0, 3, 1.0), (2, 20, 1.0)], [(0, 20, 0.0)], [(0, 21, 1.0)]])
def test_columns_that_do_not_cover_the_features_are_refused(columns):
    network, parameters, objective, _ = mixed_case("mse")
    with pytest.raises(ValueError, match="columns must"):
        engine.trainer({**network, "columns": columns}, parameters, objective)


def encoded_case(dtype, missing, n_rows=300):
    """(columns, encoded rows): two numbers, a text column with rare values, a time, and a truth value."""
    rng = np.random.default_rng(0)
    columns = (
        Column("x", "numeric"),
        Column("city", "categorical", ("a", "b", "c"), (9, 8, 7, 2), rare=RareLevels.of({"d": 1, "e": 1})),
        Column("t", "timestamp"),
        Column("y", "numeric"),
        Column("flag", "categorical", ("True", "False"), (20, 6, 0)),
    )
    times = rng.uniform(0, 2 * np.pi, n_rows)
    circles = [np.sin(times), np.cos(times), np.sin(times / 7), np.cos(times / 7)]
    levels = rng.integers(0, 6, n_rows), rng.integers(0, 3, n_rows)
    rows = np.column_stack([rng.normal(size=n_rows), levels[0], *circles, rng.normal(size=n_rows), levels[1]])
    rows = rows.astype(dtype)
    if missing:
        for at in (slice(0, 1), slice(1, 2), slice(2, 6), slice(6, 7), slice(7, 8)):
            rows[rng.random(n_rows) < 0.2, at] = np.nan
    return columns, rows


@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("missing", ["error", "mask"])
def test_levels_given_by_number_are_read_as_elements(dtype, missing, layout):
    columns, rows = encoded_case(dtype, missing == "mask")
    elements, rows = expanded(rows, columns), layout(rows)
    d = elements.shape[1]
    assert d == 1 + 4 + 4 + 1 + 3
    assert np.nansum(elements[:, 1:5]) == np.count_nonzero(~np.isnan(rows[:, 1]))
    network = reference.network_spec((d, 9, 2, 9, d), "tanh", groups=[(1, 5), (10, 13)])
    network["columns"] = [(0, 1, 1.0), (1, 5, 1.0), (5, 9, 0.25), (9, 10, 1.0), (10, 13, 1.0)]
    parameters = reference.random_parameters(network, np.random.default_rng(1))
    scaling = FeatureScaling("deciles", np.full(d, 0.5), np.full(d, 2.0), np.zeros(d))
    for part in (slice(1, 5), slice(10, 13)):
        scaling.shift[part], scaling.scale[part] = 0, 1
    by_number, by_element = (scaling.for_engine(missing, each) for each in (columns, None))
    predictors = [core.Predictor(network, parameters, each, dtype, 2) for each in (by_number, by_element)]
    for call in (lambda p, x: p.errors(x, "mse"), lambda p, x: p.encode(x), lambda p, x: p.reconstruct(x)):
        np.testing.assert_array_equal(call(predictors[0], rows), call(predictors[1], elements))
    trainers = [core.Trainer(network, parameters, {"loss": "mse"}, {"kind": "sgd"}, dtype, 0, n) for n in (1, 2)]
    options = {"learning_rate": 0.01, "batch_size": 64}
    for epoch in range(3):
        losses = [
            trainer.train_epoch(x, scale, epoch=epoch, **options)
            for trainer, x, scale in zip(trainers, (rows, elements), (by_number, by_element), strict=True)
        ]
        assert losses[0] == losses[1]


@pytest.mark.parametrize("missing", ["error", "mask"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_network_of_the_numbers_is_part_of_the_whole(dtype, missing):
    columns, rows = encoded_case("float64", missing == "mask")
    d = sum(column.width for column in columns)
    network = reference.network_spec((d, 70, 2, 9, d), "relu")
    coefs, intercepts = reference.random_parameters(network, np.random.default_rng(1)), []
    coefs, intercepts = coefs[::2], coefs[1::2]
    scaling = FeatureScaling("deciles", np.full(d, 0.1), np.full(d, 2.0), np.zeros(d))
    for part in (slice(1, 5), slice(10, 13)):
        scaling.shift[part], scaling.scale[part] = 0, 1
    predictors = Predictors(network, coefs, intercepts, scaling, dtype, missing, 1, columns=columns)
    numbers, levels = input_order(columns)
    inputs, elements = rows[:, np.concatenate([numbers, levels])], first_elements(columns)[numbers]
    whole, part = predictors.get(), predictors.get("numbers")
    tolerance = {"rtol": 1e-10, "atol": 1e-12} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(part.encode(inputs), whole.encode(rows), **tolerance)
    outputs = part.reconstruct(inputs, scaled=True)
    np.testing.assert_allclose(
        outputs[:, : len(numbers)], whole.reconstruct(rows, scaled=True)[:, elements], **tolerance
    )
    np.testing.assert_array_equal(part.encode(inputs[40:57]), part.encode(inputs)[40:57])
