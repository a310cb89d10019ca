"""Scores of a stream equal those of the table in memory, row by row, with the kept columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

import aefast
from aefast.scoring.errors import BadValueError
from aefast.scoring.scorer import Scorer
from aefast.tables.formats.base import TableError
from small_tables import FEATURES, features_of, small_model, small_table


def scored(scorer: Scorer, table: pa.Table, batch_rows: int = 64) -> pa.Table:
    return pa.Table.from_batches(list(scorer.score(table.to_batches(max_chunksize=batch_rows))))


@given(batch_rows=st.integers(1, 350), n_rows=st.integers(1, 300))
def test_scores_are_those_in_memory_bit_for_bit_however_the_rows_are_cut(batch_rows, n_rows):
    table = small_table(300).slice(300 - n_rows)
    result = scored(Scorer(small_model()), table, batch_rows)
    expected = small_model().reconstruction_error(table.select(FEATURES))
    np.testing.assert_array_equal(result["anomaly_score"].to_numpy(), expected.astype(np.float64))


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.int16(), pa.int64(), pa.uint8(), pa.decimal128(22, 3)])
def test_columns_of_any_number_type_score_as_in_memory(kind):
    table = small_table(100).select(FEATURES)
    whole = pa.table({c: pa.array(np.abs(np.rint(table[c].to_numpy())).astype(np.int64)).cast(kind) for c in FEATURES})
    expected = small_model().reconstruction_error(whole)
    np.testing.assert_array_equal(scored(Scorer(small_model()), whole)["anomaly_score"], expected.astype(np.float64))


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.int32()])
def test_plain_columns_are_scored_without_copies(kind, monkeypatch):
    table = pa.table({c: np.rint(column.to_numpy()) for c, column in zip(FEATURES, features_only(), strict=True)})
    table = table.cast(pa.schema([(c, kind) for c in FEATURES]))
    expected = small_model().reconstruction_error(table)
    monkeypatch.setattr("aefast.scoring.steps.feature_matrix", None)
    for each in (table, pa.concat_tables([table.slice(7), table[:7]])):
        found = scored(Scorer(small_model()), each)["anomaly_score"].to_numpy()
        np.testing.assert_array_equal(np.sort(found), np.sort(expected.astype(np.float64)))


def features_only() -> list[pa.ChunkedArray]:
    return small_table().select(FEATURES).columns


@pytest.mark.parametrize("other", [pa.float32(), pa.int16(), pa.bool_(), pa.decimal128(22, 3)])
def test_columns_of_several_types_of_numbers_score_as_in_memory(other):
    table = small_table().select(FEATURES)
    whole = table.set_column(1, "b", pa.array(np.rint(np.abs(table["b"].to_numpy()))).cast(pa.int8()).cast(other))
    expected = small_model().reconstruction_error(whole)
    np.testing.assert_array_equal(scored(Scorer(small_model()), whole)["anomaly_score"], expected.astype(np.float64))


def test_decisions_and_p_values_are_those_of_the_estimator():
    table = small_table(seed=1)
    X = table.select(FEATURES)
    result = scored(Scorer(small_model()), table)
    np.testing.assert_array_equal(result["is_anomaly"].to_numpy(), small_model().predict(X) == -1)
    np.testing.assert_array_equal(result["p_value"].to_numpy(), small_model().p_values(X))


def test_a_p_value_cutoff_decides_instead_of_the_threshold():
    result = scored(Scorer(small_model(), p_value_cutoff=0.25), small_table())
    np.testing.assert_array_equal(result["is_anomaly"].to_numpy(), result["p_value"].to_numpy() <= 0.25)


def test_kept_columns_stand_before_the_scores_in_the_order_asked_for():
    table = small_table()
    result = scored(Scorer(small_model(), keep=["name", "a", "id"]), table)
    assert result.column_names == ["name", "a", "id", "anomaly_score", "p_value", "is_anomaly"]
    assert result.select(["name", "a", "id"]).equals(table.select(["name", "a", "id"]))


def test_the_order_of_columns_does_not_matter_and_others_are_left_alone():
    table = small_table()
    turned = table.select(table.column_names[::-1])
    expected = scored(Scorer(small_model()), table)
    assert scored(Scorer(small_model()), turned).equals(expected)


def test_reasons_are_those_that_explain_gives():
    table = small_table()
    result = scored(Scorer(small_model(), top_features=2), table)["top_features"].to_pylist()
    explained = small_model().explain(table.select(FEATURES), top=2)
    found = [tuple(reason.values()) for row in result for reason in row]
    expected = list(explained[["feature", "value", "expected", "share"]].itertuples(index=False, name=None))
    assert [f[0] for f in found] == [e[0] for e in expected]
    numbers = [[float(value) for value in f[1:]] for f in found]
    np.testing.assert_allclose(numbers, [e[1:] for e in expected], rtol=1e-5)


def test_reasons_can_be_written_as_text():
    result = scored(Scorer(small_model(), top_features=2, flat=True), small_table())["top_features"].to_pylist()
    assert all(text.count("expected") == 2 and text.count(";") == 1 for text in result)


def test_more_reasons_than_features_are_all_of_them():
    result = scored(Scorer(small_model(), top_features=9), small_table(20))["top_features"].to_pylist()
    assert all(sorted(reason["feature"] for reason in row) == FEATURES for row in result)
    assert all(sum(reason["share"] for reason in row) == pytest.approx(1) for row in result)


def test_the_output_schema_is_known_beforehand():
    for options in ({}, {"top_features": 2, "keep": ["name"]}, {"top_features": 1, "flat": True}):
        scorer = Scorer(small_model(), **options)
        assert scorer.schema(small_table().schema) == scored(scorer, small_table()).schema


def test_the_columns_needed_are_the_features_and_those_kept():
    assert Scorer(small_model(), keep=["id", "a"]).columns(small_table().schema) == [*FEATURES, "id"]


def test_one_batch_is_held_at_a_time():
    taken = []

    def batches():
        for batch in small_table(300).to_batches(max_chunksize=100):
            taken.append(batch.num_rows)
            yield batch

    stream = Scorer(small_model()).score(batches())
    assert taken == []
    assert next(stream).num_rows == 100
    assert taken == [100]


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf")])
def test_the_first_bad_value_is_named_with_row_and_column(bad):
    values = small_table(200)["c"].to_pylist()
    values[130] = values[131] = values[160] = bad
    table = small_table(200).set_column(4, "c", pa.array(values, pa.float64()))
    assert table.column_names[4] == "c"
    remedy = "fill or drop such rows, or fit a model" if bad != np.inf else "fill or drop such rows, or set on_bad"
    with pytest.raises(
        BadValueError, match=rf"rows 100 to 199 have .*: 3 values are .*row 130 .*column 'c'; {remedy}"
    ) as caught:
        scored(Scorer(small_model()), table, 100)
    assert (caught.value.row, caught.value.column, caught.value.count) == (130, "c", 3)


def test_lacking_columns_are_named():
    with pytest.raises(TableError, match="lacks columns the model was fitted on: 'b', 'd'"):
        scored(Scorer(small_model()), small_table().drop_columns(["b", "d"]))


def test_a_column_that_holds_no_numbers_is_named():
    table = small_table().set_column(2, "a", pa.array(["x"] * 300))
    with pytest.raises(TableError, match="column 'a' is string"):
        scored(Scorer(small_model()), table)


def test_a_kept_column_must_not_bear_the_name_of_a_score():
    with pytest.raises(TableError, match="'p_value' cannot be kept"):
        Scorer(small_model(), keep=["p_value"])


def test_a_model_without_names_takes_the_columns_of_numbers_that_are_not_kept():
    table = small_table()
    model = nameless_model()
    result = scored(Scorer(model, keep=["id", "label"]), table)
    np.testing.assert_array_equal(
        result["anomaly_score"].to_numpy(), model.reconstruction_error(features_of(table)).astype(np.float64)
    )
    with pytest.raises(TableError, match="has 5 columns of numbers to score, .* needs 4"):
        scored(Scorer(model, keep=["id"]), table)


def nameless_model():
    return aefast.Autoencoder((2,), max_epochs=1, random_state=0, n_threads=1).fit(features_of(small_table()))


def test_rows_may_come_as_one_column_of_lists():
    X = features_of(small_table()).astype(np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 4)
    for model in (small_model(), nameless_model()):
        result = scored(Scorer(model, top_features=1), pa.table({"x": lists}))
        expected = model.model_.errors(X)
        np.testing.assert_array_equal(result["anomaly_score"].to_numpy(), expected.astype(np.float64))
    with pytest.raises(TableError, match="the rows have 2 columns"):
        scored(Scorer(small_model()), pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 2)}))


def test_a_model_is_given_as_estimator_bytes_or_path(tmp_path):
    small_model().save(tmp_path / "m.safetensors")
    path = tmp_path / "m.safetensors"
    results = [scored(Scorer(m), small_table()) for m in (small_model(), path, str(path), path.read_bytes())]
    assert all(r.equals(results[0]) for r in results)


def test_dictionaries_that_differ_from_batch_to_batch_are_kept_as_values():
    table = small_table(200)
    parts = [table.slice(0, 100), table.slice(100)]
    batches = [
        part.set_column(1, "name", part["name"].combine_chunks().dictionary_encode()).to_batches()[0] for part in parts
    ]
    result = pa.Table.from_batches(list(Scorer(small_model(), keep=["name"]).score(batches)))
    assert result["name"].to_pylist() == table["name"].to_pylist()


def test_no_rows_have_no_scores():
    empty = small_table(10).to_batches()[0].slice(0, 0)
    assert [b.num_rows for b in Scorer(small_model(), top_features=2).score([empty])] == [0]


def test_a_table_is_scored_as_its_batches_are():
    table = small_table()
    assert pa.Table.from_batches(Scorer(small_model()).score(table)).equals(scored(Scorer(small_model()), table, 300))


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"keep": "id"}, ValueError, r"keep must be a sequence of names, got 'id': write \['id'\]"),
        ({"columns": "abcd"}, ValueError, "columns must be a sequence of names, got 'abcd'"),
        ({"columns": ["a"]}, ValueError, "the model was fitted on, 'a', 'b', 'c', 'd', got 'a'; leave columns out"),
        ({"top_features": -1}, ValueError, "top_features must be an integer of at least 0, got -1"),
        ({"top_features": 1.5}, ValueError, "top_features must be an integer of at least 0, got 1.5"),
        ({"precision": "foo"}, ValueError, "precision must be one of float32, bfloat16, int8, got 'foo'"),
        ({"p_value_cutoff": 5}, ValueError, r"p_value_cutoff must be None or a number in \[0, 1\], got 5"),
    ],
)
def test_wrong_options_are_refused_before_any_row(options, kind, said):
    with pytest.raises(kind, match=said):
        Scorer(small_model(), **options)


def test_anything_but_a_fitted_model_is_refused():
    with pytest.raises(NotFittedError):
        Scorer(aefast.Autoencoder())
    with pytest.raises(TypeError, match="model must be an estimator of aefast, or the path or bytes of a model file"):
        Scorer(None)


def test_kept_columns_that_are_not_there_are_named():
    with pytest.raises(TableError, match="the table lacks columns to keep: 'zzz'"):
        scored(Scorer(small_model(), keep=["id", "zzz"]), small_table())


@pytest.mark.parametrize("keep", [[], ["id"]])
def test_batches_with_columns_of_one_name_are_refused(keep):
    batch, name = small_table(5).select(["id", *FEATURES]).to_batches()[0], keep[0] if keep else "a"
    twice = pa.RecordBatch.from_arrays([*batch.columns, batch.column(name)], [*batch.schema.names, name])
    with pytest.raises(TableError, match=f"more than one column named '{name}'; rename them"):
        list(Scorer(small_model(), keep=keep).score([twice]))


def test_a_column_without_values_may_have_type_null():
    model = small_model(missing="mask")
    batch = small_table(50).select(FEATURES).to_batches()[0]
    nulls = batch.set_column(1, "b", pa.nulls(50))
    typed = batch.set_column(1, "b", pa.nulls(50, pa.float64()))
    found, wanted = (next(Scorer(model).score([each])) for each in (nulls, typed))
    assert found.equals(wanted)
    assert next(Scorer(model).score([nulls.slice(0, 0)])).num_rows == 0
    with pytest.raises(BadValueError, match=r"missing .*row 0 .*column 'b'"):
        list(Scorer(small_model()).score([nulls]))
