"""CSV files as users have them: quotes, encodings, compression, and kept cells that stay as they are."""

import gzip

import pytest

from aefast.tables.formats.base import TableError
from aefast.tables.formats.csv import CsvTable
from aefast.tables.source import Source

OK = "1,2,ok\n"


def rows_of(path, columns=("a", "b", "note")):
    return [row for batch in Source([path]).batches(list(columns), 1000) for row in batch.to_pylist()]


@pytest.mark.parametrize("columns", [("a", "b"), ("a", "b", "note")])
@pytest.mark.parametrize("n_before", [1, 3000])
@pytest.mark.parametrize("n_after", [0, 10, 3000])
def test_a_quote_that_is_not_closed_is_named_with_its_row(tmp_path, monkeypatch, columns, n_before, n_after):
    monkeypatch.setattr(CsvTable, "_BLOCK", 1 << 12)
    path = tmp_path / "t.csv"
    path.write_text("a,b,note\n" + OK * n_before + '1,2,"5 inch\n' + OK * n_after)
    with pytest.raises(TableError, match=rf"t\.csv, row {n_before} \(the first is row 0\), .* a quote is not closed"):
        rows_of(path, columns)


def test_a_quote_that_swallows_its_delimiters_is_an_error(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,note\n" + OK + '1,"2,5 inch\n' + OK * 1000)
    with pytest.raises(TableError, match=r"row 1 \(the first is row 0\).*a quote is not closed"):
        rows_of(path)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_quotes_within_cells_are_text(tmp_path, end):
    path = tmp_path / "t.csv"
    path.write_bytes(b'a,b,note\n1,2,5" pipe\n3,4,"say ""so"""' + end.encode())
    assert [row["note"] for row in rows_of(path)] == ['5" pipe', 'say "so"']


def test_lines_in_cells_may_stand_anywhere_in_a_long_file(tmp_path, monkeypatch):
    monkeypatch.setattr(CsvTable, "_BLOCK", 1 << 12)
    path = tmp_path / "t.csv"
    path.write_text("a,b,note\n" + '1,2,"two\nlines"\n' * 5000)
    assert rows_of(path) == [{"a": 1, "b": 2, "note": "two\nlines"}] * 5000


def test_a_header_is_a_table_without_rows(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,note\n")
    assert rows_of(path) == []


@pytest.mark.parametrize("name", ["T.CSV.GZ", "t.csv.Gz", "t.tsv.gz"])
def test_compressed_files_are_known_by_their_ending_in_any_case(tmp_path, name):
    separator = "\t" if "tsv" in name else ","
    (tmp_path / name).write_bytes(gzip.compress((separator.join("ab") + "\n" + separator.join("12") + "\n").encode()))
    assert rows_of(tmp_path / name, "ab") == [{"a": 1, "b": 2}]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_file_in_utf_16_is_read(tmp_path, encoding):
    path = tmp_path / "t.csv"
    text = "a,b,note\n" + "1,2,Zürich\n" * 3
    path.write_bytes((("" if encoding == "utf-16" else "\ufeff") + text).encode(encoding))
    source = Source([path])
    assert rows_of(path) == [{"a": 1, "b": 2, "note": "Zürich"}] * 3
    assert source.dialect.describe() == "encoding utf-16"


def test_lines_may_end_in_carriage_returns_alone(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"v;k;n\r" + b"".join(b"%d,25;red;x\r" % (i % 40) for i in range(20_000)))
    assert Source([path]).dialect.describe() == "separated by ';', decimal comma"
    assert rows_of(path, ["v"])[19_999] == {"v": 39.25}


def test_a_document_of_one_line_has_no_rows(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("A sentence, which goes on, and ends.")
    with pytest.raises(TableError, match="there are no rows below its header"):
        Source([path])


def test_last_columns_with_cells_in_the_first_rows_alone_are_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("".join(f"{i / 4},{i % 7},{i / 8},{i if i < 9 else ''}\n" for i in range(40)))
    assert [row["x3"] for row in rows_of(path, ["x3"])[7:10]] == [7, 8, None]
