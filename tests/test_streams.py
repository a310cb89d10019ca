"""Everything that gives Arrow tables in parts is scored alike: frames, relations, readers, datasets, their lists."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

from aefast.scoring.errors import BadValueError
from aefast.scoring.scorer import Scorer
from pages import run_page
from small_tables import FEATURES, mixed_model, mixed_table, small_model, small_table


class Stream:
    """Only what the protocol asks for; it can be read once."""

    def __init__(self, table: pa.Table) -> None:
        self._reader = table.to_reader(max_chunksize=64)

    def __arrow_c_stream__(self, requested_schema=None):
        return self._reader.__arrow_c_stream__(requested_schema)


def scored(data, model=None, **options) -> pa.Table:
    scorer = Scorer(small_model() if model is None else model, **{"keep": ["id"], **options})
    return pa.Table.from_batches(list(scorer.score(data)))


def as_polars(table):
    return pytest.importorskip("polars", reason="needs polars").from_arrow(table)


def as_relation(table):
    duckdb = pytest.importorskip("duckdb", reason="needs DuckDB")
    return duckdb.connect(config={"threads": 1}).from_arrow(table)


def as_dataset(table, folder):
    pa.dataset.write_dataset(table, folder, format="parquet")
    return pa.dataset.dataset(folder)


FORMS = {
    "stream": Stream,
    "reader": lambda table: table.to_reader(max_chunksize=50),
    "batches": lambda table: table.to_batches(max_chunksize=30),
    "iterator of tables": lambda table: iter([table[:77], table[77:]]),
    "list of frames": lambda table: [table[:77].to_pandas(), table[77:].to_pandas()],
    "pandas": lambda table: table.to_pandas(),
    "polars": as_polars,
    "DuckDB": as_relation,
    "dataset in memory": pa.dataset.dataset,
    "scanner": lambda table: pa.dataset.dataset(table).scanner(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", [{}, {"top_features": 2}, {"p_value_cutoff": 0.2, "precision": "int8"}])
def test_the_form_does_not_change_a_bit(form, options):
    table = small_table()
    assert scored(FORMS[form](table), **options).equals(scored(table, **options))


@pytest.mark.parametrize("form", FORMS)
def test_nor_with_several_kinds_of_columns_and_missing_values(form):
    table, model = mixed_table(seed=1), mixed_model()
    expected = scored(table, model, top_features=3)
    found = scored(FORMS[form](table), model, top_features=3)
    assert found.equals(expected)
    np.testing.assert_array_equal(found["p_value"], model.p_values(table.drop_columns(["id"])))


@pytest.mark.parametrize("form", FORMS)
def test_bad_rows_are_told_by_their_place_in_the_whole_or_null(form):
    table = small_table()
    values = table["c"].to_pylist()
    values[130] = None
    table = table.set_column(4, "c", pa.array(values, pa.float64()))
    with pytest.raises(BadValueError, match="row 130 .*column 'c'"):
        scored(FORMS[form](table))
    found = scored(FORMS[form](table), on_bad="null")
    assert np.flatnonzero(found["anomaly_score"].is_null()).tolist() == [130]


def test_a_dataset_reads_the_columns_that_are_needed_from_its_files(tmp_path, monkeypatch):
    table = small_table()
    dataset = as_dataset(table, tmp_path)
    assert scored(dataset).equals(scored(table))
    read = []

    monkeypatch.setattr(Scorer, "score_batch", lambda self, batch, first_row: read.append(batch.schema.names))
    next(Scorer(small_model(), keep=["a", "id"]).score(dataset))
    assert read == [[*FEATURES, "id"]]


def test_a_stream_is_read_a_batch_at_a_time():
    taken = []

    def batches():
        for batch in small_table().to_batches(max_chunksize=100):
            taken.append(batch.num_rows)
            yield batch

    reader = pa.RecordBatchReader.from_batches(small_table().schema, batches())
    stream = Scorer(small_model()).score(reader)
    next(stream)
    assert taken == [100]


class LazyFrame:
    columns = FEATURES


@pytest.mark.parametrize(
    ("data", "given"),
    [
        (LazyFrame(), "LazyFrame"),
        (np.zeros((3, 4)), "ndarray of ndarray"),
        ([{"a": 1}], "list of dict"),
        ("rows.parquet", "str"),
        (small_table()["a"], "ChunkedArray, which is a single column"),
        (None, "NoneType"),
    ],
)
def test_anything_else_is_refused_with_what_it_is(data, given):
    with pytest.raises(TypeError, match=rf"score takes a table, .* got {given}; compute a lazy frame first"):
        list(Scorer(small_model()).score(data))


def test_the_page_of_the_documentation_runs(tmp_path, monkeypatch, capsys):
    for name in ("polars", "duckdb"):
        pytest.importorskip(name, reason=f"needs {name}")
    names = run_page("streams", tmp_path, monkeypatch)
    assert "1 row without a score" in capsys.readouterr().out
    assert pa.parquet.read_table("scores.parquet").num_rows == 1000
    assert names["scored"].num_rows == 1000
