"""Files of all formats give the same rows, in order, in batches of bounded size; errors name the place."""

from __future__ import annotations

import gzip
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aefast.jobs.training_rows import read_matrix
from aefast.tables.formats import registry
from aefast.tables.formats.base import COMPRESSED, TableError, TableFile, Writer, rebatch
from aefast.tables.formats.registry import ENDINGS, FORMATS, format_of, open_table, readable_formats, writer_class
from aefast.tables.numbers import feature_matrix, is_number
from aefast.tables.paths import find_files
from aefast.tables.source import Source, prefetch
from small_tables import FEATURES, features_of, small_table, write_table

NAMED = [".parquet", ".csv", ".feather", ".arrows"]


def read_all(source: Source, columns: list[str], batch_rows: int = 64) -> pa.Table:
    return pa.Table.from_batches(list(source.batches(columns, batch_rows, FEATURES)))


@pytest.mark.parametrize("ending", NAMED)
def test_every_format_gives_the_same_rows_in_order(tmp_path, ending):
    table = small_table()
    source = Source([write_table(table, tmp_path / f"t{ending}")])
    columns = ["d", "id", "a"]
    assert read_all(source, columns).to_pydict() == table.select(columns).to_pydict()


@pytest.mark.parametrize("ending", [*NAMED, ".npy"])
def test_batches_are_as_large_as_asked_however_the_file_is_cut(tmp_path, ending):
    source = Source([write_table(small_table(300), tmp_path / f"t{ending}")])
    columns = source.schema.names[:1]
    assert [b.num_rows for b in source.batches(columns, 128)] == [128, 128, 44]


@pytest.mark.parametrize("ending", [".parquet", ".npy"])
def test_formats_that_store_the_number_of_rows_tell_it(tmp_path, ending):
    paths = [write_table(small_table(n), tmp_path / f"t{n}{ending}") for n in (30, 40)]
    assert Source(paths).n_rows == 70


def test_a_format_is_a_line_of_the_registry_from_which_suffixes_and_messages_follow():
    suffixes = [suffix for known in FORMATS for suffix in known.reads]
    assert len(set(suffixes)) == len(suffixes)
    for known in FORMATS:
        assert set(known.writes) <= set(known.reads)
        assert all(suffix in readable_formats() for suffix in known.reads)
        for suffix in known.reads:
            assert format_of(Path(f"t{suffix.upper()}")) is known
            packed = {format_of(Path(f"t{suffix}{packing}")) for packing in COMPRESSED}
            assert packed == {known if known.compressed else None}
        module, _, reader = known.reader.partition(".")
        assert issubclass(getattr(import_module(f"aefast.tables.formats.{module}"), reader), TableFile)
    assert all(issubclass(writer_class(Path(f"t{suffix}")), Writer) for suffix in ENDINGS)
    assert format_of(Path("t")) is format_of(Path("t.gz")) is None


def test_a_new_format_is_a_file_and_a_line(tmp_path, monkeypatch):
    class JsonTable(TableFile):
        def __init__(self, path):
            super().__init__(path)
            self._table = pa.json.read_json(path)
            self.schema, self.n_rows = self._table.schema, len(self._table)

        def batches(self, columns, batch_rows, as_numbers=(), *, first_row=0):
            yield from rebatch(self._table.slice(first_row).select(columns).to_batches(), batch_rows)

    monkeypatch.setitem(sys.modules, "aefast.tables.formats.json", SimpleNamespace(JsonTable=JsonTable))
    line = registry.Format("JSON", "json.JsonTable", "", (".jsonl",), ())
    monkeypatch.setattr(registry, "FORMATS", (*FORMATS, line))
    (tmp_path / "t.jsonl").write_text('{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n')
    source = Source(find_files([tmp_path]))
    assert source.n_rows == 2
    assert read_all(source, ["b", "a"]).to_pydict() == {"b": ["x", "y"], "a": [1, 2]}
    assert source.read_as_text(["b"]).keep_raw(["a"]).schema == source.schema
    assert "JSON (.jsonl)" in readable_formats()
    with pytest.raises(TableError, match=r"must end in one of \.parquet"):
        writer_class(tmp_path / "t.jsonl")


@pytest.mark.parametrize(("ending", "guesses"), [(".csv", True), (".parquet", False), (".feather", False)])
def test_a_source_does_not_change_when_another_reads_columns_as_text(tmp_path, ending, guesses):
    path = tmp_path / f"t{ending}"
    if guesses:
        path.write_text("n,word,when\n1,x,2024-01-01 00:00:00\n,,2024-01-02 00:00:00\n")
    else:
        times = pa.array([0, 1], pa.timestamp("s"))
        write_table(pa.table({"n": [1, None], "word": ["x", ""], "when": times}), path)
    source = Source([path])
    names, before = source.schema.names, source.schema
    as_text, raw = source.read_as_text(["n", "word"]), source.keep_raw(["n", "word", "when"], except_times=True)
    assert source.schema == before

    def rows(each):
        return pa.Table.from_batches(list(each.batches(names, 10)))

    assert rows(source).schema == before
    assert rows(source)["n"].to_pylist() == [1, None]
    if not guesses:
        assert rows(as_text) == rows(raw) == rows(source)
        return
    assert [rows(as_text)[name].to_pylist() for name in ("n", "word")] == [["1", None], ["x", None]]
    assert [rows(raw)[name].to_pylist() for name in ("n", "word")] == [["1", ""], ["x", ""]]
    assert rows(raw)["when"].type == before.field("when").type
    assert rows(source.keep_raw(["when"]))["when"].type == pa.string()


def test_two_passes_over_one_source_place_rows_alike(tmp_path):
    paths = [write_table(small_table(n, seed=n), tmp_path / f"t{n}.csv") for n in (30, 40)]
    source = Source(paths)
    first = source.batches(["a"], 10)
    assert sum(next(first).num_rows for _ in range(5)) == 50
    second = source.batches(["id"], 10)
    assert next(second).num_rows == 10
    assert source.place(45) == f"{paths[1]}, row 15"
    assert source.file_of(29).path == paths[0]


def test_files_are_read_one_after_the_other_and_rows_are_placed_in_them(tmp_path):
    paths = [write_table(small_table(n, seed=n), tmp_path / f"t{n}.parquet") for n in (30, 40)]
    source = Source(paths)
    assert read_all(source, ["a"]).num_rows == 70
    assert source.place(29) == f"{paths[0]}, row 29"
    assert source.place(30) == f"{paths[1]}, row 0"


@pytest.mark.parametrize(("ending", "header"), [(".csv", "a;b"), (".csv", "a\tb"), (".tsv", "a,b"), (".csv", "a|b")])
def test_separators_that_contradict_the_suffix_are_found(tmp_path, ending, header):
    path = tmp_path / f"t{ending}"
    path.write_text(f"{header}\n1{header[1]}2\n")
    assert Source([path]).schema.names == ["a", "b"]


def test_text_that_is_not_utf_8_is_named_if_its_column_is_needed(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,city\n1,Bern\n2,Z\xfcrich\x00\n")
    file = open_table(path)
    file.check_text(["a"])
    with pytest.raises(TableError, match=r"t\.csv, row 1 \(the first is row 0\), column 'city'.*not UTF-8; give"):
        file.check_text(["a", "city"])


def test_files_of_one_source_are_alike(tmp_path):
    table = write_table(small_table(20), tmp_path / "t.parquet")
    for width in (2, 4):
        np.save(tmp_path / f"w{width}.npy", np.zeros((5, width)))
    two, four = tmp_path / "w2.npy", tmp_path / "w4.npy"
    with pytest.raises(TableError, match=r"w4\.npy has rows of 4 values, but .*w2\.npy of 2; give arrays of one width"):
        Source([two, four])
    for pair in ([two, table], [table, two]):
        with pytest.raises(TableError, match=r"w2\.npy has no named columns, but .*t\.parquet has"):
            Source(pair)


def test_an_unknown_ending_is_answered_with_those_that_are_known(tmp_path):
    with pytest.raises(TableError, match=r"Parquet .*CSV .*\.npy"):
        open_table(tmp_path / "table.xlsx")


@pytest.mark.parametrize("ending", [*NAMED, ".npy"])
def test_a_file_that_is_something_else_is_named(tmp_path, ending):
    path = tmp_path / f"t{ending}"
    path.write_bytes(b"")
    with pytest.raises(TableError, match=rf"t\{ending} cannot be read") as caught:
        Source([path])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".parquet", ".feather", ".npy"])
def test_a_truncated_file_is_an_error_and_not_fewer_rows(tmp_path, ending):
    path = write_table(small_table(), tmp_path / f"t{ending}")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(TableError, match=rf"t\{ending}"):
        read_matrix(Source([path]), None if ending == ".npy" else FEATURES)


def test_a_damaged_row_group_is_named_with_its_column(tmp_path):
    path = tmp_path / "t.parquet"
    pa.parquet.write_table(small_table(300), path, row_group_size=100, compression="snappy", use_dictionary=False)
    chunk = pa.parquet.ParquetFile(path).metadata.row_group(1).column(3)
    assert chunk.path_in_schema == "b"
    data = bytearray(path.read_bytes())
    start = chunk.data_page_offset
    data[start : start + chunk.total_compressed_size] = bytes([255]) * chunk.total_compressed_size
    path.write_bytes(data)
    with pytest.raises(TableError, match="row group 1, column 'b'"):
        read_all(Source([path]), FEATURES)


def test_integers_in_csv_may_turn_into_decimals(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,id\n" + "1,7\n" * 1_200_000 + "2.5,8\n")
    batches = list(Source([path]).batches(["a", "id"], 1_000_000, ["a"]))
    assert batches[-1].column("a")[-1].as_py() == 2.5
    assert batches[0].schema.field("id").type == pa.int64()


def test_a_cell_of_csv_that_is_no_number_is_named_with_row_and_column(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,a,b\n1,2,3\n2,3,4\n3,x7,5\n")
    with pytest.raises(TableError, match=r"t\.csv, row 2 \(the first is row 0\), column 'a'.*'x7'"):
        list(Source([path]).batches(["a", "b"], 10, ["a", "b"]))


def test_a_last_line_of_csv_that_is_not_complete_is_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3")
    with pytest.raises(TableError, match=r"t\.csv, row 1 .*Expected 2 columns, got 1: 3; the file ends in it"):
        Source([path])


def test_tabs_compression_and_byte_order_marks_are_understood(tmp_path):
    tabs, packed = tmp_path / "t.tsv", tmp_path / "t.csv.gz"
    tabs.write_text("\ufeffa\tb\n1\t2\n")
    with gzip.open(packed, "wt") as file:
        file.write("a,b\n1,2\n")
    for path in (tabs, packed):
        assert read_all(Source([path]), ["a", "b"]).to_pydict() == {"a": [1], "b": [2]}


def test_columns_of_the_same_name_are_refused(tmp_path):
    path = tmp_path / "t.arrow"
    batch = pa.record_batch([[1], [2], [3]], ["a", "b", "a"])
    with pa.ipc.new_file(path, batch.schema) as writer:
        writer.write(batch)
    with pytest.raises(TableError, match="more than one column named 'a'"):
        Source([path])


def test_a_column_that_is_lacking_is_named_with_the_one_that_was_meant(tmp_path):
    source = Source([write_table(small_table(), tmp_path / "t.parquet")])
    with pytest.raises(TableError, match=r"t\.parquet lacks column 'lable' \(did you mean 'label'\?\)"):
        source.require(["lable"], "column")


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8", "u1", "i2", "i8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_read_as_they_are(tmp_path, dtype, order):
    values = np.random.default_rng(0).normal(size=(100, 7)) * 50
    # What a negative number becomes as an unsigned one differs between processors.
    values = (np.abs(values) if dtype == "u1" else values).astype(dtype)
    np.save(tmp_path / "t.npy", np.asarray(values, order=order))
    source = Source([tmp_path / "t.npy"])
    blocks = [feature_matrix(batch) for batch in source.batches(["x"], 33)]
    expected = values.view("u1") if dtype == "?" else values
    assert all(block.dtype == expected.dtype.newbyteorder("=") for block in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks), expected)


def test_images_in_an_array_become_rows(tmp_path):
    images = np.arange(60).reshape(5, 3, 4)
    np.save(tmp_path / "t.npy", images)
    np.testing.assert_array_equal(read_matrix(Source([tmp_path / "t.npy"]), None), images.reshape(5, 12))


@pytest.mark.parametrize("values", [np.array(["a"]), np.array([1j]), np.array(1.0), np.array([{}], dtype=object)])
def test_arrays_of_anything_but_rows_of_numbers_are_refused(tmp_path, values):
    np.save(tmp_path / "t.npy", values, allow_pickle=True)
    with pytest.raises(TableError, match=r"t\.npy"):
        Source([tmp_path / "t.npy"])


def test_the_matrix_has_the_dtype_that_the_table_has_in_memory():
    frame = pd.DataFrame(
        {"u": np.uint8([1, 2]), "f": np.float32([0.5, 1]), "g": [0.1, 0.2], "i": [3, 4], "b": [True, False]}
    )
    batch = pa.RecordBatch.from_pandas(frame)
    for columns in (["u", "f"], ["u"], ["i"], ["u", "g"], ["f", "i"]):
        X = feature_matrix(batch, columns)
        assert X.dtype == frame[columns].to_numpy().dtype
        np.testing.assert_array_equal(X, frame[columns].to_numpy())
    np.testing.assert_array_equal(feature_matrix(batch, ["b"]), [[1], [0]])


def test_missing_values_become_nan_in_a_dtype_that_has_room_for_it():
    batch = pa.RecordBatch.from_pydict({"i": pa.array([1, None, 3]), "u": pa.array([None, 2, 3], pa.uint8())})
    np.testing.assert_array_equal(feature_matrix(batch, ["i"]), [[1], [np.nan], [3]])
    X = feature_matrix(batch, ["u"])
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, [[np.nan], [2], [3]])


def test_lists_of_fixed_size_become_rows_without_a_copy():
    values = np.arange(12, dtype=np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values), 3)
    batch = pa.RecordBatch.from_pydict({"x": lists}).slice(1, 2)
    X = feature_matrix(batch)
    np.testing.assert_array_equal(X, values.reshape(4, 3)[1:3])
    assert np.shares_memory(X, lists.values.to_numpy())


def test_numbers_are_distinguished_from_similar_text():
    assert all(map(is_number, [pa.int8(), pa.float16(), pa.bool_(), pa.decimal128(5, 2)]))
    assert not any(map(is_number, [pa.string(), pa.timestamp("s"), pa.date32(), pa.list_(pa.int8())]))


@pytest.mark.parametrize("endings", [[".parquet"], [".csv"], [".parquet", ".feather", ".csv"]])
def test_the_matrix_of_all_rows_equals_the_files(tmp_path, endings):
    tables = [small_table(50, seed=i) for i in range(len(endings))]
    paths = [write_table(t, tmp_path / f"{i}{e}") for i, (t, e) in enumerate(zip(tables, endings, strict=True))]
    seen = []
    X = read_matrix(Source(paths), FEATURES, progress=seen.append)
    np.testing.assert_array_equal(X, np.concatenate([features_of(t) for t in tables]))
    assert X.flags.c_contiguous
    assert sum(seen) == len(X)


def test_a_matrix_of_small_numbers_is_float32(tmp_path):
    table = pa.table({"a": pa.array([1, 2], pa.uint8()), "b": pa.array([0.5, 0.25], pa.float32())})
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    assert read_matrix(Source([tmp_path / "t.parquet"]), ["a", "b"]).dtype == np.float32


def test_no_rows_are_a_matrix_without_rows(tmp_path):
    pa.parquet.write_table(small_table(10).slice(0, 0), tmp_path / "t.parquet")
    assert read_matrix(Source([tmp_path / "t.parquet"]), FEATURES).shape == (0, 4)


@given(st.lists(st.integers(0, 40), max_size=8), st.integers(1, 50))
def test_rows_keep_their_order_when_batches_are_cut_anew(sizes, batch_rows):
    table = pa.table({"x": np.arange(sum(sizes))})
    starts = np.cumsum([0, *sizes])
    batches = [pa.RecordBatch.from_pydict({"x": np.arange(a, a + n)}) for a, n in zip(starts, sizes, strict=False)]
    cut = list(rebatch(batches, batch_rows))
    assert all(b.num_rows == batch_rows for b in cut[:-1])
    assert [x for b in cut for x in b.column("x").to_pylist()] == table["x"].to_pylist()


def test_items_made_ahead_come_in_order():
    assert list(prefetch(range(100))) == list(range(100))


def test_an_error_while_prefetching_is_raised_in_the_consumer():
    def items():
        yield 1
        raise OSError("disk gone")

    ahead = prefetch(items())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="disk gone"):
        next(ahead)


def test_items_are_made_only_as_far_ahead_as_allowed():
    made = []

    def items():
        for i in range(100):
            made.append(i)
            yield i

    ahead = prefetch(items(), depth=2)
    next(ahead)
    time.sleep(0.2)
    assert len(made) <= 4
    ahead.close()
    assert not any(t.name == "aefast-reader" for t in threading.enumerate())


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_a_first_line_of_numbers_is_data_unless_some_cell_is_a_name(ending, tmp_path):
    path, between = tmp_path / f"t{ending}", "\t" if ending == ".tsv" else ","
    rows = np.random.default_rng(0).normal(size=(20, 4)).round(4)
    rows[0] = 0.1257, -1.0, 3e-7, 2.0
    np.savetxt(path, rows, delimiter=between)
    np.testing.assert_array_equal(read_matrix(Source([path]), ["x0", "x1", "x2", "x3"]), rows)
    for names in ("0,1,2,3", ",0.5,1.5,2.5", "a,0.5,1.5,2.5"):
        np.savetxt(path, rows, delimiter=between, header=names.replace(",", between), comments="")
        assert len(read_matrix(Source([path]), names.split(","))) == 20
