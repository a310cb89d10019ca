"""Rows that cannot be scored: refused, written with null scores, or left out; all other rows stay as they would be."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import aefast
from aefast.scoring.errors import BadValueError
from aefast.scoring.scorer import Scorer
from small_tables import FEATURES, small_model, small_table

BAD = [0, 3, 64, 65, 199]
RESULTS = ["anomaly_score", "p_value", "is_anomaly"]


def damaged(table: pa.Table, value: float | None = None, column: str = "c", rows: list[int] = BAD) -> pa.Table:
    """Return the table with this value in some rows of a column."""
    values = table[column].to_pylist()
    for row in rows:
        values[row] = value
    kind = table.schema.field(column).type
    return table.set_column(table.column_names.index(column), column, pa.array(values, kind))


def scored(scorer: Scorer, table: pa.Table, batch_rows: int = 64) -> pa.Table:
    return pa.Table.from_batches(list(scorer.score(table.to_batches(max_chunksize=batch_rows))))


def mixed_model():
    table = small_table().append_column("word", [["even", "odd"] * 150])
    settings = {"encoder_layer_sizes": (8, 2), "max_epochs": 3, "random_state": 0, "n_threads": 1}
    return aefast.Autoencoder(**settings).fit(table.select([*FEATURES, "word"]))


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("options", [{}, {"top_features": 2}, {"top_features": 2, "flat": True}, {"precision": "int8"}])
def test_bad_rows_are_null_or_left_out_and_others_as_before(value, options):
    table = small_table(200)
    good = np.setdiff1d(np.arange(200), BAD)
    expected = scored(Scorer(small_model(), keep=["id"], **options), table).take(good)
    null, skip = (Scorer(small_model(), keep=["id"], on_bad=on_bad, **options) for on_bad in ("null", "skip"))
    found = scored(null, damaged(table, value))
    assert found.take(good).equals(expected)
    assert found["id"].equals(table["id"])
    assert all(found[name].take(pa.array(BAD)).null_count == len(BAD) for name in found.column_names[1:])
    assert scored(skip, damaged(table, value)).equals(expected)
    assert found.schema.equals(null.schema(table.schema))


@pytest.mark.parametrize("options", [{}, {"top_features": 1}])
def test_a_batch_of_bad_rows_alone(options):
    table = damaged(small_table(100), rows=list(range(64)))
    null, skip = (scored(Scorer(small_model(), on_bad=on_bad, **options), table) for on_bad in ("null", "skip"))
    assert (len(null), len(skip)) == (100, 36)
    assert null["p_value"].null_count == null["is_anomaly"].null_count == 64


@pytest.mark.parametrize("missing", ["mask", "mean"])
def test_a_missing_value_is_no_bad_row_for_a_model_that_accepts_it(missing):
    model = small_model(missing=missing)
    table = damaged(small_table(200), None)
    expected = scored(Scorer(model), table)
    assert scored(Scorer(model, on_bad="null"), table).equals(expected)
    infinite = damaged(table, float("inf"), "d", [7])
    found = scored(Scorer(model, on_bad="null"), infinite)
    assert found["anomaly_score"].is_null().to_pylist().index(True) == 7
    assert found["anomaly_score"].null_count == 1
    assert len(scored(Scorer(model, on_bad="skip"), infinite)) == 199


@pytest.mark.parametrize("options", [{}, {"top_features": 2}])
def test_tables_of_several_kinds_of_columns(options):
    table = small_table(200).append_column("word", [["even", "odd"] * 100])
    model, good = mixed_model(), np.setdiff1d(np.arange(200), BAD)
    expected = scored(Scorer(model, **options), table).take(good)
    assert scored(Scorer(model, on_bad="skip", **options), damaged(table)).equals(expected)
    assert scored(Scorer(model, on_bad="null", **options), damaged(table)).take(good).equals(expected)


def test_rows_of_lists_too():
    X = np.column_stack([small_table(50)[name] for name in FEATURES])
    X[[4, 9], 1] = np.nan
    lists = pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 4)})
    found = scored(Scorer(small_model(), on_bad="null"), lists)
    assert np.flatnonzero(found["anomaly_score"].is_null()).tolist() == [4, 9]


def test_a_null_row_is_no_anomaly_by_a_cutoff_of_p_values():
    found = scored(Scorer(small_model(), p_value_cutoff=1.0, on_bad="null"), damaged(small_table(200)))
    assert found["is_anomaly"].null_count == len(BAD)


def test_the_default_refuses_and_other_words_are_refused():
    with pytest.raises(BadValueError, match="row 0"):
        scored(Scorer(small_model()), damaged(small_table(200)))
    with pytest.raises(ValueError, match="on_bad must be one of 'error', 'null', 'skip', got 'drop'"):
        Scorer(small_model(), on_bad="drop")


def test_columns_of_other_types_are_refused_in_any_case():
    table = small_table().set_column(2, "a", pa.array(["x"] * 300))
    with pytest.raises(ValueError, match="column 'a' is string"):
        scored(Scorer(small_model(), on_bad="skip"), table)
