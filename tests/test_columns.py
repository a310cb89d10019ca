"""Tables with text, booleans, categories and times: how columns are encoded, scored and explained."""

import pickle
from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone

import aefast
from aefast.columns.column import MAX_LEVELS, Column, encode, expanded, input_starts
from aefast.columns.decoding import decode
from aefast.columns.learner import ColumnLearner
from aefast.columns.values import infer_kind
from aefast.engine import core
from aefast.estimators.files import describe
from aefast.exceptions import ModelFileError
from aefast.model.container import pack
from aefast.model.file import FORMAT_VERSION
from aefast.model.parameters import inference_network
from messages import raises_exactly

OF_KINDS = ["proto", "port", "size", "flag", "count", "when"]


def traffic(n_rows=2000, seed=0):
    """Return rows whose ports and sizes depend on the protocol, all in working hours."""
    rng = np.random.default_rng(seed)
    proto = rng.choice(["tcp", "udp", "icmp"], p=[0.6, 0.3, 0.1], size=n_rows)
    port = np.select([proto == "tcp", proto == "udp"], [rng.choice(["80", "443", "22"], size=n_rows), "53"], "0")
    size = np.select([proto == "tcp", proto == "udp"], [5.0, 1.0], 0.0) + 0.1 * rng.normal(size=n_rows)
    minutes = rng.integers(8 * 60, 18 * 60, size=n_rows) + 24 * 60 * rng.integers(0, 5, size=n_rows)
    return pd.DataFrame(
        {
            "proto": proto,
            "port": pd.Categorical(port),
            "size": size,
            "flag": rng.random(n_rows) < 0.3,
            "count": rng.integers(0, 9, size=n_rows),
            "when": pd.Timestamp("2024-03-04") + pd.to_timedelta(minutes, unit="min"),
        }
    )


@pytest.fixture(scope="module")
def table():
    return traffic()


@pytest.fixture(scope="module")
def model(table):
    return aefast.Autoencoder((32, 6), max_epochs=40, score_metric="mse", random_state=0).fit(table)


def plain(frame):
    """The frame with its categories as text, so that cells can be set."""
    return frame.astype({"port": object, "proto": object})


# Kinds and codes.


def test_kinds_follow_from_types(table):
    columns = ColumnLearner(table, None).columns()
    assert [c.name for c in columns] == OF_KINDS
    assert [c.kind for c in columns] == ["categorical"] * 2 + ["numeric", "categorical", "numeric", "timestamp"]
    assert columns == ColumnLearner(pa.Table.from_pandas(table, preserve_index=False), None).columns()
    assert columns[3].levels == ("False", "True")
    assert ColumnLearner(table[["size", "count"]], None).columns() is None
    pieces = {"a": [1.5, None], "b": ["x", None], "c": [datetime(2024, 1, 1), None], "d": [True, False]}
    kinds = ["numeric", "categorical", "timestamp", "categorical"]
    assert [infer_kind(pd.Series(values, dtype=object)) for values in pieces.values()] == kinds
    assert [infer_kind(pa.array(values)) for values in pieces.values()] == kinds
    assert [infer_kind(pa.array(["a"]).cast(kind)) for kind in ("large_string", pa.dictionary("int8", "string"))] == [
        "categorical"
    ] * 2


def test_kinds_can_be_given(table):
    given = {"count": "categorical", "when": "numeric", "flag": "numeric", "port": "numeric"}
    for data in (table, pa.Table.from_pandas(table, preserve_index=False)):
        model = aefast.Autoencoder(max_epochs=1, column_kinds=given, random_state=0).fit(data)
        kinds = {column.name: column.kind for column in model.columns_}
        assert kinds == {"proto": "categorical", "size": "numeric"} | given
        seconds = (table["when"] - pd.Timestamp("1970-01-01")) / pd.Timedelta(seconds=1)
        rows = encode(data, model.columns_, masks_missing=False)
        places = dict(zip(OF_KINDS, input_starts(model.columns_), strict=True))
        np.testing.assert_array_equal(rows[:, places["when"]], seconds)
        np.testing.assert_array_equal(rows[:, places["flag"]], table["flag"])
        np.testing.assert_array_equal(rows[:, places["port"]], table["port"].astype(int))
        assert model.columns_[4].levels[0] == str(table["count"].mode()[0])
    for bad, message in {
        "nothing": "column_kinds names 'nothing', which is not a column: they are " + ", ".join(OF_KINDS),
        "size": "column_kinds: 'size' must be one of numeric, categorical, timestamp, got 'number'",
    }.items():
        with raises_exactly(ValueError, message):
            aefast.Autoencoder(column_kinds={bad: "number"}).fit(table)
    with pytest.raises(ValueError, match="column 'proto' does not hold numbers"):
        aefast.Autoencoder(column_kinds={"proto": "numeric"}).fit(table)
    with raises_exactly(ValueError, "column_kinds needs columns with names: give a data frame or an Arrow table"):
        aefast.Autoencoder(column_kinds={"a": "numeric"}).fit(np.zeros((9, 2)))


@pytest.mark.parametrize("cell", [[1, 2], {"a": 1}, b"bytes"])
def test_columns_of_no_kind_are_refused_by_name_and_not_dropped(cell):
    frame = pd.DataFrame({"a": np.arange(9.0), "odd": [cell] * 9})
    for data in (frame, pa.Table.from_pandas(frame)):
        message = r"column 'odd' can be learned neither .* convert it or leave it out \(--exclude odd\)"
        with pytest.raises(ValueError, match=message):
            aefast.Autoencoder().fit(data)


def test_codes_are_levels_and_circles_and_come_back(table):
    columns = ColumnLearner(table, None).columns()
    rows = encode(table, columns, masks_missing=False)
    assert rows.shape == (len(table), 5 + 4)
    elements = expanded(rows, columns)
    assert elements.shape == (len(table), 4 + 6 + 1 + 3 + 1 + 4)
    values = decode(elements, columns)
    for index, name in enumerate(OF_KINDS[:5]):
        expected = table[name].astype(object).map(str) if columns[index].kind == "categorical" else table[name]
        assert values[:, index].tolist() == expected.tolist()
    assert values[:, 5].tolist() == table["when"].dt.round("min").dt.strftime("%H:%M").tolist()
    weeks = pd.DataFrame({"when": pd.date_range("2024-03-04", periods=40, freq="13h")})
    columns = ColumnLearner(weeks, None).columns()
    values = decode(expanded(encode(weeks, columns, masks_missing=False), columns), columns)
    assert values[:, 0].tolist() == weeks["when"].dt.strftime("%a %H:%M").tolist()


def test_midnight_lies_beside_midnight_and_sunday_beside_monday():
    column = (Column("t", "timestamp"),)
    times = pd.to_datetime(["2024-03-10 23:59:59", "2024-03-11 00:00:00", "2024-03-14 12:00:00", "1901-05-05 01:00:00"])
    rows = encode(pd.DataFrame({"t": times}), column, masks_missing=False)
    assert np.abs(rows[0] - rows[1]).max() < 1e-3
    assert np.abs(rows[0] - rows[2]).max() > 1
    np.testing.assert_allclose((rows**2).sum(axis=1), 2)
    assert decode(rows, column)[1:, 0].tolist() == ["Mon 00:00", "Thu 12:00", "Sun 01:00"]


def test_times_are_those_of_the_clock_on_the_wall():
    column, naive = (Column("t", "timestamp"),), pd.date_range("2024-03-04", periods=50, freq="37min")
    wanted = encode(pd.DataFrame({"t": naive}), column, masks_missing=False)
    local = pd.DataFrame({"t": naive.tz_localize("America/New_York")})
    days = pd.DataFrame({"t": [datetime(2024, 3, 4).date() + timedelta(days=i) for i in range(9)]})
    for data in (local, pa.Table.from_pandas(local), pd.DataFrame({"t": naive.astype("datetime64[s]")})):
        np.testing.assert_allclose(encode(data, column, masks_missing=False), wanted, atol=1e-9)
    by_day = [encode(data, column, masks_missing=False) for data in (days, pa.Table.from_pandas(days))]
    np.testing.assert_allclose(*by_day)
    assert decode(by_day[0], column)[0, 0] == "Mon 00:00"


def of_times(data):
    return encode(data, (Column("t", "timestamp"),), masks_missing=False)


@pytest.mark.parametrize(
    "values", [[1709348645, 1709348646], [1.5, None], [True, False], pd.Categorical([1, 2]), [Decimal(1), Decimal(2)]]
)
def test_numbers_are_no_times(values):
    frame = pd.DataFrame({"t": values})
    for data in (frame, frame.astype(object), pa.Table.from_pandas(frame)):
        with pytest.raises(ValueError, match=r"column 't' does not hold times \(its type is .*convert.*unit='s'"):
            of_times(data)


def test_times_as_text_with_and_without_offset_are_read_alike_in_all_tables():
    texts = [
        "2024-03-02T03:04:05Z",
        "2024-03-02T03:04:05.123Z",
        "2024-03-02 05:04:05+02:00",
        "2024-03-01T22:04:05-05:00",
    ]
    naive = pd.DataFrame({"t": pd.to_datetime(["2024-03-02 03:04:05"] * 4)})
    for given in (texts[:2], texts[:3], texts, ["2024-03-02 03:04:05", "2024-03-02T03:04:05.123456789"]):
        frame = pd.DataFrame({"t": [*given, "", None]})
        words = pa.table({"t": pa.array([*given, "", None]).dictionary_encode()})
        rows = [of_times(data) for data in (frame, frame.astype(object), pa.Table.from_pandas(frame), words)]
        for found in rows:
            np.testing.assert_array_equal(found, rows[0])
            np.testing.assert_allclose(found[:-2], of_times(naive)[: len(given)], atol=1e-4)
            assert np.isnan(found[-2:]).all()


def test_frames_of_arrows_types_are_the_tables_they_hold():
    n = 60
    days = [date(2024, 1, 1 + i % 28) for i in range(n)]
    table = pa.table(
        {
            "x": np.arange(n) / 7,
            "day": pa.array(days, pa.date32()),
            "at": pa.array(days, pa.date32()).cast(pa.timestamp("us", "Asia/Tokyo")),
            "word": pa.array(["u", "v", "w"] * 20).dictionary_encode(),
            "price": pa.array([Decimal(i) for i in range(n)], pa.decimal128(10, 2)),
            "whole": [None if i % 9 == 0 else i for i in range(n)],
            "flag": [True, False, None] * 20,
        }
    )
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    for names in (table.column_names, ["x", "price", "whole"], ["price"]):
        models = [
            aefast.Autoencoder((2,), max_epochs=2, random_state=0, missing="mask").fit(data)
            for data in (table.select(names), frame[names])
        ]
        assert models[0].columns_ == models[1].columns_
        scores = [model.score_samples(data) for model in models for data in (table.select(names), frame[names])]
        np.testing.assert_array_equal(scores, [scores[0]] * 4)
        explained = [
            model.explain(data, top=3) for model, data in zip(models, (table.select(names), frame[names]), strict=True)
        ]
        pd.testing.assert_frame_equal(*map(pd.DataFrame, explained))
    with pytest.raises(ValueError, match=r"column 'price' does not hold numbers \(its type is date32"):
        models[0].score_samples(frame[["day"]].set_axis(["price"], axis=1))


def test_levels_are_the_most_frequent_ones_and_the_others_are_unknown():
    names = [f"l{i:03d}" for i in range(100) for _ in range(200 - i)] + [f"once {i}" for i in range(50)]
    columns = ColumnLearner(pd.DataFrame({"a": names}), None).columns()
    assert columns[0].levels == tuple(f"l{i:03d}" for i in range(MAX_LEVELS))
    assert columns[0].counts == (*range(200, 200 - MAX_LEVELS, -1), len(names) - sum(columns[0].counts[:-1]))
    rows = encode(pd.DataFrame({"a": ["l000", "l063", "l064", "new", None]}), columns, masks_missing=False)
    assert expanded(rows, columns).argmax(axis=1).tolist() == [0, 63, 64, 64, 64]
    # Values that were rare in training and values that were never seen get different numbers.
    assert rows[:2, 0].tolist() == [0, 63]
    assert rows[2, 0] > 64
    assert rows[3:, 0].tolist() == [64, 64]


def test_truth_and_whole_numbers_are_levels_in_any_spelling():
    flag = Column("a", "categorical", ("False", "True"), (3, 2, 0))
    assert (
        flag.places_of(["true", "TRUE", "1", "1.0", "yes", "f", "0", "no", "maybe", "2"]) == [1] * 5 + [0] * 3 + [2] * 2
    )
    code = Column("a", "categorical", ("5", "006", "7.0"), (3, 2, 2, 0))
    assert code.places_of(["5", "5.0", "05", "006", "6", "7", "7.00", "yes"]) == [0, 0, 3, 1, 3, 2, 2, 3]
    for values in ([1, 0, 2], [1.0, 0.0, 2.0], ["true", "false", "?"], pd.Categorical(["T", "f", "x"])):
        for data in (pd.DataFrame({"a": values}), pa.Table.from_pandas(pd.DataFrame({"a": values}))):
            assert encode(data, (flag,), masks_missing=False)[:, 0].tolist() == [1, 0, 2]


@pytest.mark.parametrize("values", [[1.0, 2.0], [1, 2], pd.Categorical([1, 2]), [True, False]])
def test_a_type_that_cannot_be_the_levels_is_refused(values):
    words, codes = (Column("a", "categorical", levels, (2, 2, 0)) for levels in (("tcp", "udp"), ("001", "002")))
    for data in (pd.DataFrame({"a": values}), pa.Table.from_pandas(pd.DataFrame({"a": values}))):
        for column in (words, codes):
            with pytest.raises(
                ValueError, match=rf"column 'a' holds .* which none of its levels .* \({column.levels[0]}"
            ):
                encode(data, (column,), masks_missing=False)
    ports = Column("a", "categorical", ("80", "True"), (2, 2, 0))
    assert encode(pd.DataFrame({"a": values}), (ports,), masks_missing=False).shape == (2, 1)
    nothing = pd.DataFrame({"a": np.full(2, np.nan)})
    assert np.isnan(encode(nothing, (words,), masks_missing=True)).all()


def test_views_of_text_are_text(model, table):
    if not hasattr(pa, "string_view"):
        pytest.skip("this Arrow has no such type")
    arrow = pa.Table.from_pandas(plain(table), preserve_index=False)
    port = arrow["port"].combine_chunks().cast(pa.string()).dictionary_encode()
    port = pa.DictionaryArray.from_arrays(port.indices, port.dictionary.cast(pa.string_view()))
    proto = arrow["proto"].cast(pa.string_view())
    views = arrow.set_column(0, "proto", proto).set_column(1, "port", pa.chunked_array([port[:9], port[9:]]))
    np.testing.assert_array_equal(model.score_samples(views), model.score_samples(table))
    assert aefast.Autoencoder(max_epochs=1).fit(views).columns_ == model.columns_
    assert model.explain(views[:20]).equals(model.explain(table[:20]))


def test_text_that_is_hardly_ever_there_twice_is_refused_by_name_unless_its_kind_is_given(table):
    ids = table.head(500).assign(host=[f"h{i}" for i in range(500)])
    numbers = table.head(500).assign(host=[str(i) for i in range(499)] + ["n.a."])
    for data, said in (
        (ids, r"column 'host' is text of 500 values that nearly all differ, like 'h0'; .* \(--exclude host\)"),
        (numbers, r"column 'host' is text of 500 values .* \(all but 1, like 'n.a.', look like numbers: correct"),
        (numbers.assign(host=numbers["host"].replace("n.a.", "1e5")), r"column 'host' .* differ \(numbers\)"),
    ):
        for each in (data, pa.Table.from_pandas(data, preserve_index=False)):
            for fit in ("fit", "partial_fit"):
                with pytest.raises(ValueError, match=said):
                    getattr(aefast.Autoencoder(), fit)(each)
            with pytest.raises(ValueError, match=said):
                aefast.Autoencoder().fit_batches([each[:200], each[200:]])
    given = {"host": "categorical"}
    assert aefast.Autoencoder(max_epochs=1, column_kinds=given).fit(ids).columns_[-1].levels == ()
    # A level that occurs often in all rows may occur only once in each block.
    blocks = [pd.DataFrame({"host": list("abcdefgh"), "x": np.arange(8.0)}) for _ in range(20)]
    assert len(aefast.Autoencoder(max_epochs=1).fit_batches(blocks).columns_[0].levels) == 8


def test_levels_do_not_depend_on_the_type_of_the_column():
    column = (Column("a", "categorical", ("80", "443", "0.5", "True"), (3, 2, 2, 2, 0)),)
    wanted = [0, 1, 2, 4]
    for values in (["80", "443", "0.5", "9"], [80.0, 443.0, 0.5, 9.0], pd.Categorical([80, 443, 0.5, 9])):
        data = pd.DataFrame({"a": values})
        for each in (data, pa.Table.from_pandas(data)):
            assert encode(each, column, masks_missing=False)[:, 0].tolist() == wanted
    chunked = pa.chunked_array([pa.array(["80", "x"]).dictionary_encode(), pa.array(["443", "80"]).dictionary_encode()])
    assert encode(pa.table({"a": chunked}), column, masks_missing=False)[:, 0].tolist() == [0, 4, 1, 0]


# Models.


def scaled_outputs(estimator, rows):
    """Outputs of the network in the scaled space."""
    model = estimator.model_
    network, parameters = inference_network(model.network, model.coefs, model.intercepts, model.dtype)
    predictor = core.Predictor(
        network, parameters, model.scaling.for_engine(model.missing, model.columns), model.dtype, 1
    )
    return predictor.reconstruct(rows, scaled=True)


def test_errors_are_means_over_columns(model, table):
    errors, shares = model.reconstruction_error(table), model.feature_errors(table)
    assert shares.shape == (len(table), 6)
    np.testing.assert_allclose(shares.sum(axis=1), errors, rtol=1e-4, atol=1e-6)
    rows = encode(table, model.columns_, masks_missing=False)
    outputs, rows = scaled_outputs(model, rows), expanded(rows, model.columns_)
    scaled = (rows - model.scaler_shift_) / model.scaler_scale_
    np.testing.assert_allclose(shares[:, 0], -np.log((rows * outputs)[:, :4].sum(axis=1)) / 6, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(shares[:, 2], (scaled - outputs)[:, 10] ** 2 / 6, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(shares[:, 5], ((scaled - outputs)[:, 15:] ** 2).mean(axis=1) / 6, rtol=1e-3, atol=1e-6)
    assert outputs[:, :4].sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("metric", ["mse", "mae", "huber", "max", "mahalanobis"])
def test_inconsistent_values_score_high_and_their_column_is_the_reason(table, metric):
    model = aefast.Autoencoder((64, 8), score_metric=metric, random_state=0).fit(traffic(4000))
    odd = plain(traffic(8, seed=1))
    odd.loc[0, "proto"] = "gre"
    odd.loc[1, "port"] = "31337"
    odd.loc[2, "port"] = "53" if odd.loc[2, "proto"] == "tcp" else "443"
    odd.loc[3, "when"] = pd.Timestamp("2024-03-10 03:00")
    odd.loc[4, "size"] = 30.0
    errors = model.reconstruction_error(odd)
    assert (errors[:5] > np.quantile(model.reconstruction_error(table), 0.99)).all()
    reasons = model.explain(odd, top=1)
    assert reasons["feature"][:2].tolist() == ["proto", "port"]
    assert reasons["feature"][2] in ("proto", "port")
    assert reasons["value"][:2].tolist() == ["gre", "31337"]
    assert reasons["expected"][1] in ("22", "53", "80", "443", "0")


@pytest.mark.parametrize("max_epochs", [0, 1, 100])
def test_a_level_that_training_rows_did_not_have_is_improbable_however_long_it_was_trained(table, max_epochs):
    model = aefast.Autoencoder(max_epochs=max_epochs, random_state=0).fit(table)
    new = plain(table.head(50)).assign(proto="new")
    # None of 2000 rows had the level, so its probability is below one in a few hundred.
    least = model.feature_errors(new)[:, 0].min()
    assert least > np.log(200) / 6
    assert model.feature_errors(table)[:, 0].mean() < least / 5


def test_tables_of_any_make_give_the_same_scores(model, table):
    wanted = model.score_samples(table)
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    for data in (arrow, arrow.slice(0, 2000), table.convert_dtypes(), plain(table), table.astype({"proto": "string"})):
        np.testing.assert_array_equal(model.score_samples(data), wanted)
    np.testing.assert_array_equal(model.score_samples(arrow.slice(100, 50)), wanted[100:150])
    assert model.explain(arrow[:3]).equals(model.explain(table[:3]))


def test_tables_that_do_not_fit_are_refused_with_the_reason(model, table):
    with pytest.raises(ValueError, match="The feature names should match"):
        model.predict(table.rename(columns={"port": "gate"}))
    with pytest.raises(ValueError, match="Feature names must be in the same order|feature names should match"):
        model.predict(table[OF_KINDS[::-1]])
    with pytest.raises(ValueError, match=r"columns of several kinds: give a data frame or an Arrow table, got ndarray"):
        model.predict(table.to_numpy())
    with pytest.raises(ValueError, match="column 'size' does not hold numbers"):
        model.predict(table.assign(size="big"))
    with pytest.raises(ValueError, match="column 'when' does not hold times"):
        model.predict(table.assign(when="some day"))
    with pytest.raises(ValueError, match="minimum of 1 is required"):
        model.predict(table[:0])
    with pytest.raises(ValueError, match="output_activation='softmax' and loss='categorical_crossentropy' are for"):
        aefast.Autoencoder(output_activation="softmax").fit(table)


def test_missing_cells(table):
    holes = plain(table).astype({"count": float})
    holes.loc[::5, "proto"] = holes.loc[1::5, "size"] = holes.loc[2::5, "when"] = None
    with pytest.raises(ValueError, match=r"1200 values are not finite, the first \(nan\) in row 0, column 'proto'"):
        aefast.Autoencoder().fit(holes)
    for data in (holes, holes.convert_dtypes(), pa.Table.from_pandas(holes, preserve_index=False)):
        levels = data.select(["proto"]) if isinstance(data, pa.Table) else data[["proto"]]
        for make in (aefast.Autoencoder().fit, aefast.Autoencoder(max_epochs=1).fit(table[["proto"]]).predict):
            with pytest.raises(
                ValueError, match=r"400 values are not finite, the first \(nan\) in row 0, column 'proto'"
            ):
                make(levels)
        masked = aefast.Autoencoder(max_epochs=5, missing="mask", score_metric="mse", random_state=0).fit(data)
        is_missing = holes.isna().to_numpy()
        shares = masked.feature_errors(data)
        assert (shares[is_missing] == 0).all()
        assert (shares[~is_missing] > 0).all()
        reasons = masked.explain(data, top=6)
        assert not is_missing[reasons["row"], [list(holes).index(name) for name in reasons["feature"]]].any()
        assert (reasons["value"] != reasons["expected"]).all()
        assert 0.5 * (~is_missing).sum() < len(reasons) < (~is_missing).sum()
        filled = aefast.Autoencoder(max_epochs=5, missing="mean", random_state=0).fit(data)
        assert None in filled.columns_[0].levels
        assert np.isfinite(filled.reconstruction_error(data)).all()
        shown = filled.explain(data[:1], top=6).set_index("feature")["value"]
        assert shown["proto"] == "(missing)"


@pytest.mark.parametrize(
    "make",
    [
        aefast.DenoisingAutoencoder,
        aefast.SparseAutoencoder,
        aefast.ContractiveAutoencoder,
        aefast.VariationalAutoencoder,
    ],
)
def test_every_estimator_of_rows_learns_them(make, table):
    model = make(max_epochs=3, random_state=0).fit(table)
    assert np.isfinite(model.reconstruction_error(table)).all()
    assert model.reconstruct(table[:3]).shape == (3, 6)
    assert model.transform(table[:3]).shape[0] == 3
    assert model.partial_fit(table).fit_batches([table[:1000], table[1000:]]).predict(table).shape == (2000,)


def test_a_variational_bound_has_every_likelihood_in_full(table):
    frame = table[["proto", "size"]]
    model = aefast.VariationalAutoencoder((8, 2), max_epochs=0, random_state=0).fit(frame)
    model.coefs_[-1] = np.zeros_like(model.coefs_[-1])  # the outputs are then their biases, whatever is drawn
    same_input = pd.concat([frame[:1]] * 2, ignore_index=True)
    bound = model.elbo(same_input)[0]
    mean, log_variance = model.encode_distribution(frame[:1])
    kl = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum()
    share = (frame["proto"] == frame["proto"][0]).mean()
    z = (frame["size"][0] - model.scaler_shift_[-1]) / model.scaler_scale_[-1]
    assert bound == pytest.approx(np.log(share) - (z - model.intercepts_[-1][-1]) ** 2 / 2 - kl, rel=2e-3)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_reduced_precision_judges_levels_too(model, table, precision):
    exact, reduced = model.reconstruction_error(table), model.reconstruction_error(table, precision=precision)
    assert np.corrcoef(exact, reduced)[0, 1] > (0.99 if precision == "bfloat16" else 0.95)
    new = plain(table.head(5)).assign(proto="new")
    np.testing.assert_allclose(
        model.reconstruction_error(new, precision=precision), model.reconstruction_error(new), rtol=0.1
    )


def test_images_have_no_such_columns(table):
    with pytest.raises(ValueError, match="ConvolutionalAutoencoder takes numbers, but column 'proto' is categorical"):
        aefast.ConvolutionalAutoencoder().fit(table)


def test_a_model_keeps_its_columns(model, table, tmp_path):
    model.save(tmp_path / "m.safetensors")
    for again in (aefast.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(model))):
        assert again.columns_ == model.columns_
        np.testing.assert_array_equal(again.score_samples(table), model.score_samples(table))
        assert again.explain(table[:5]).equals(model.explain(table[:5]))
    given = clone(model).set_params(column_kinds={"count": "categorical"}, max_epochs=1).fit(table)
    given.save(tmp_path / "m.safetensors")
    assert aefast.load(tmp_path / "m.safetensors").column_kinds == {"count": "categorical"}
    # A later fit to numbers alone forgets the columns.
    assert clone(model).fit(table).fit(table[["size", "count"]]).columns_ is None


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "text"},
        {"levels": ["a", "a", "b"]},
        {"levels": [1, 2, 3]},
        {"levels": ["a"] * 1000},
        {"counts": [1, 2, 3]},
        {"counts": [1, 2, 3, -1]},
        {"name": 3},
        {"kind": "numeric"},
    ],
)
def test_columns_of_a_damaged_model_file_are_refused(model, change):
    described, tensors = describe(model)
    described["columns"][0] |= change
    with pytest.raises(ModelFileError, match="not a valid model"):
        aefast.load(pack("model", FORMAT_VERSION, described, tensors))


def test_kinds_are_reported_while_training(table, capsys):
    aefast.Autoencoder(max_epochs=1, verbose=1).fit(table)
    told = capsys.readouterr().err
    assert "numeric: size, count\n" in told
    assert "categorical: proto (3 levels), port (5 levels), flag (2 levels)\n" in told
    assert "timestamp: when\n" in told


@pytest.mark.parametrize("zone", ["Europe/Zurich", "UTC", "America/New_York"])
@pytest.mark.parametrize("kind", ["timestamp", "numeric"])
def test_an_instant_is_read_on_the_clock_of_training_whatever_its_zone(zone, kind):
    rng = np.random.default_rng(0)
    utc = pd.date_range("2024-03-29", periods=400, freq="61min", tz="UTC")  # over the change to summer time
    frame = pd.DataFrame({"a": rng.normal(size=400), "t": utc.tz_convert(zone)})
    settings = {"encoder_layer_sizes": (2,), "max_epochs": 1, "random_state": 0, "column_kinds": {"t": kind}}
    model = aefast.load(aefast.Autoencoder(**settings).fit(frame).model_.to_bytes())
    assert [column.zone for column in model.columns_] == [None, zone]
    expected, reasons = model.reconstruction_error(frame), model.explain(frame, top=2)
    for other in ("UTC", "Asia/Tokyo", "+05:30"):
        moved = frame.assign(t=frame["t"].dt.tz_convert(other))
        for data in (moved, pa.Table.from_pandas(moved, preserve_index=False)):
            np.testing.assert_array_equal(model.reconstruction_error(data), expected)
            assert [list(row) for row in model.explain(data, top=2).to_numpy()] == [
                list(row) for row in reasons.to_numpy()
            ]
    wall = frame.assign(t=frame["t"].dt.tz_localize(None))
    np.testing.assert_array_equal(model.reconstruction_error(wall), expected)


def test_times_without_a_zone_in_training_take_any_clock_on_the_wall():
    frame = pd.DataFrame({"a": np.arange(50.0) % 7, "t": pd.date_range("2024-01-01", periods=50, freq="7h")})
    model = aefast.Autoencoder((2,), max_epochs=1, random_state=0).fit(frame)
    assert [column.zone for column in model.columns_] == [None, None]
    local = frame.assign(t=frame["t"].dt.tz_localize("Asia/Tokyo"))
    np.testing.assert_array_equal(model.reconstruction_error(local), model.reconstruction_error(frame))
