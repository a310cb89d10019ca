"""An output file appears whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from aefast.tables.files import atomic_path
from aefast.tables.formats import parquet
from aefast.tables.formats.base import TableError
from aefast.tables.formats.registry import ENDINGS
from aefast.tables.sink import check_folder, check_writable, open_sink
from aefast.tables.source import Source
from messages import raises_exactly
from small_tables import small_table


@pytest.mark.parametrize("ending", [e for e in ENDINGS if e != ".npy"])
def test_a_written_file_reads_back_equal(tmp_path, ending):
    table = small_table(100)
    path = tmp_path / f"out{ending}"
    with open_sink(path, table.schema) as sink:
        for batch in table.to_batches(max_chunksize=30):
            sink.write(batch)
        assert not path.exists()
    back = pa.Table.from_batches(list(Source([path]).batches(table.column_names, 1000)))
    assert back.to_pydict() == table.to_pydict()
    assert sorted(os.listdir(tmp_path)) == [path.name]


def test_a_parquet_column_is_compressed_if_that_saves_space(tmp_path):
    rng = np.random.default_rng(0)
    flat = pa.table({
        "id": np.arange(10_000), "anomaly_score": rng.normal(size=10_000), "p_value": rng.integers(1, 99, 10_000) / 99
    })  # fmt: skip
    nested = flat.append_column("point", pa.array([{"x": 1.0}] * 10_000))
    codecs = {}
    for name, table in (("flat", flat), ("nested", nested)):
        with open_sink(tmp_path / f"{name}.parquet", table.schema) as sink:
            sink.write(table.to_batches()[0])
        group = pa.parquet.ParquetFile(tmp_path / f"{name}.parquet").metadata.row_group(0)
        codecs[name] = [group.column(i).compression for i in range(group.num_columns)]
        assert group.column(2).total_compressed_size < 10_000
        assert pa.parquet.read_table(tmp_path / f"{name}.parquet").equals(table)
    assert codecs == {"flat": ["SNAPPY", "UNCOMPRESSED", "SNAPPY"], "nested": ["SNAPPY"] * 4}


def test_small_batches_are_measured_once_each_and_written_in_large_groups(tmp_path, monkeypatch):
    measured = []

    class Measured:
        num_rows, schema = 10, pa.schema([("a", pa.float64())])

        @property
        def nbytes(self):
            measured.append(self)
            return 80

    groups = []
    monkeypatch.setattr(parquet, "GROUP_ROWS", 400)
    monkeypatch.setattr(pa, "Table", SimpleNamespace(from_batches=groups.append))
    monkeypatch.setattr(pa.parquet.ParquetWriter, "write_table", lambda self, table: None)
    with open_sink(tmp_path / "out.parquet", Measured.schema) as sink:
        for _ in range(100):
            sink.write(Measured())
    assert len(measured) == 100
    assert [len(group) for group in groups] == [40, 40, 20]


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_rows_make_a_whole_file_too(tmp_path, ending):
    path = tmp_path / f"out{ending}"
    with open_sink(path, pa.schema([("anomaly_score", pa.float64())])):
        pass
    source = Source([path])
    assert sum(b.num_rows for b in source.batches(source.schema.names, 10)) == 0


@pytest.mark.parametrize("n_rows", [0, 1, 9, 12_345])
def test_an_array_grows_to_the_rows_that_came(tmp_path, n_rows):
    values = np.random.default_rng(0).normal(size=n_rows)
    with open_sink(tmp_path / "out.npy", pa.schema([("anomaly_score", pa.float64())])) as sink:
        for start in range(0, n_rows, 1000):
            sink.write(pa.RecordBatch.from_pydict({"anomaly_score": values[start : start + 1000]}))
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), values)


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_error_midway_leaves_the_old_file_and_no_other(tmp_path, ending):
    path = tmp_path / f"out{ending}"
    path.write_text("what was here before")
    schema = pa.schema([("anomaly_score", pa.float64())])
    with pytest.raises(KeyboardInterrupt), open_sink(path, schema) as sink:  # noqa: PT012
        sink.write(pa.RecordBatch.from_pydict({"anomaly_score": [1.0]}))
        raise KeyboardInterrupt
    assert path.read_text() == "what was here before"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_disk_without_room_is_an_error_and_leaves_nothing(tmp_path, ending):
    batch = pa.RecordBatch.from_pydict({"anomaly_score": np.random.default_rng(0).normal(size=50_000)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError) as caught, open_sink(tmp_path / f"out{ending}", batch.schema) as sink:  # noqa: PT011, PT012
            for _ in range(5):
                sink.write(batch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert os.listdir(tmp_path) == []


def test_a_text_file_is_atomic_too(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "page.html") as part:  # noqa: PT012
        part.write_text("half a page")
        1 / 0  # noqa: B018
    assert os.listdir(tmp_path) == []


def test_an_ending_that_cannot_be_written_is_answered_with_those_that_can(tmp_path):
    with (
        pytest.raises(TableError, match=r"out\.xlsx must end in one of \.parquet"),
        open_sink(tmp_path / "out.xlsx", pa.schema([])),
    ):
        pass


def test_obstacles_to_writing_are_reported_before_the_work(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_writable(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"folder .*none of out\.csv does not exist"):
        check_writable(tmp_path / "none" / "out.csv")
    with pytest.raises(ValueError, match=r"must end in one of \.html"):
        check_writable(tmp_path / "out.csv", (".html",))


def test_small_batches_make_row_groups_of_a_decent_size(tmp_path):
    batch = pa.RecordBatch.from_pydict({"anomaly_score": np.arange(100.0)})
    with open_sink(tmp_path / "out.parquet", batch.schema) as sink:
        for _ in range(1000):
            sink.write(batch)
    metadata = pa.parquet.read_metadata(tmp_path / "out.parquet")
    assert metadata.num_rows == 100_000
    assert metadata.num_row_groups == 2


def test_values_that_a_format_cannot_write_are_an_error_that_names_the_file(tmp_path):
    path = tmp_path / "out.csv"
    batch = pa.RecordBatch.from_pydict({"when": pa.array([0], pa.timestamp("s", "Nowhere/At_all"))})
    with (
        pytest.raises(TableError, match=r"out\.csv cannot be written: .*Nowhere/At_all"),
        open_sink(path, batch.schema) as sink,
    ):
        sink.write(batch)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder_to_write_into(tmp_path):
    (tmp_path / "m.st").write_text("a model")
    for path in (tmp_path / "m.st" / "foo", tmp_path / "m.st" / "deep" / "foo"):
        for check in (check_writable, check_folder):
            said = f"{tmp_path / 'm.st'} is a file, not a folder, so that {path} cannot be in it; name another"
            with raises_exactly(NotADirectoryError, said):
                check(path)


@pytest.mark.parametrize("value", [1 << 62, -(1 << 61)])
def test_times_that_csv_has_no_text_for_are_refused_with_their_column(tmp_path, value):
    table = pa.table({"n": [1, 2], "t": pa.array([None, value], pa.timestamp("s"))})
    with (
        pytest.raises(TableError, match=r"out\.csv cannot be written: column 't' \(timestamp\[s\]\) has times.*--keep"),
        open_sink(tmp_path / "out.csv", table.schema) as sink,
    ):
        sink.write(table.to_batches()[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [pa.timestamp("s"), pa.timestamp("us", "UTC"), pa.date32(), pa.date64()])
@pytest.mark.parametrize("year", [-32_767, 0, 32_767])
def test_times_of_far_years_are_written_as_text(tmp_path, kind, year):
    days = int(np.datetime64(f"{year}-01-01", "D").astype(int))
    time = pa.array([days], pa.int32()).cast(pa.date32()).cast(kind)
    table = pa.table({"t": pa.chunked_array([time])})
    with open_sink(tmp_path / "out.csv", table.schema) as sink:
        sink.write(table.to_batches()[0])
    text = (tmp_path / "out.csv").read_text()
    assert f"{year:04d}-01-01" in text or f"{year:05d}-01-01" in text


def test_bytes_that_are_no_text_are_refused_in_csv_with_their_column(tmp_path):
    table = pa.table({"n": [1], "raw": [b"\xff"]})
    with (
        pytest.raises(TableError, match=r"out\.csv cannot be written: column 'raw' \(binary\) .*UTF8.*--keep"),
        open_sink(tmp_path / "out.csv", table.schema) as sink,
    ):
        sink.write(table.to_batches()[0])


def test_errors_of_a_temporary_file_name_the_file_that_was_asked_for(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "none" / "m", tmp_path / "file" / "m"):
        with pytest.raises(OSError, match="m'$") as caught, atomic_path(path) as part:
            part.write_bytes(b"a model")
        assert caught.value.filename == str(path)
