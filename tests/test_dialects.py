"""Dialects of CSV files are found in a sample, described in one line and read alike."""

from __future__ import annotations

import datetime
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aefast.tables.dialect import CellFormat, Dialect, Reading
from aefast.tables.formats.base import TableError
from aefast.tables.sniffer import find_dialect
from aefast.tables.source import Source
from small_tables import read_columns as read
from small_tables import write_text as write

#: Cells among numbers, one of which is the missing time of pandas.
ODD = {5: "NaT", 20: "!", 40: "abc", 60: "X&Z"}


def table(header, row, n=40, between="\n"):
    return between.join([*([header] if header else []), *(row(i) for i in range(n))]) + between


@pytest.mark.parametrize(
    ("text", "described"),
    [
        (table("a,b", lambda i: f"{i},{i / 4}"), ""),
        (table("t;v", lambda i: f"{i};{i / 4}".replace(".", ",")), "separated by ';', decimal comma"),
        (table("a\tb", lambda i: f"{i}\tx y"), "separated by tabs"),
        (table("a|b", lambda i: f"{i}|x,y"), "separated by '|'"),
        (table("", lambda i: f"{'MFI'[i % 3]},{i / 8},{i % 7 / 9}"), "no header (columns x0, x1, x2)"),
        (table("age,x", lambda i: f"{'?' if i % 9 == 4 else i},{i / 3}"), "missing: '?'"),
        (table("a,b", lambda i: f"{'--' if i % 5 == 4 else i},{'-' if i % 6 == 1 else i}"), "missing: '-', '--'"),
        (table("a,b", lambda i: f'"{i + 1},200",{i}'), "',' between thousands"),
        (table("a,b", lambda i: f'"${i + 1},200.50",{i}%'), "',' between thousands, $, % beside numbers"),
        (table("a,b", lambda i: f"{i} kg,EUR {i}"), "EUR, kg beside numbers"),
        (table("d,b", lambda i: f"{i % 28 + 1:02d}/02/2024,{i}"), "times as %d/%m/%Y"),
        (table("d,b", lambda i: f"02/{i % 28 + 1:02d}/2024 08:30,{i}"), "times as %m/%d/%Y %H:%M"),
        (table("d,b", lambda i: f"[29/Nov/2017:06:00:{i:02d},{i}"), "times as [%d/%b/%Y:%H:%M:%S"),
        (table("d,b", lambda i: f"Nov  9 06:00:{i:02d},{i}"), "times as %b %d %H:%M:%S"),
        (table("d,b", lambda i: f"Feb 29 06:00:{i:02d},{i}"), "times as %b %d %H:%M:%S"),
        (table("", lambda i: f"{i}  {i / 4}   -1.5"), "separated by blanks, no header (columns x0, x1, x2)"),
        (table("", lambda i: f"{i}::{i % 7}::{i / 4}"), "separated by '::', no header (columns x0, x1, x2)"),
        (table("a||b", lambda i: f"{i}||x|y"), "separated by '||'"),
        (table("a^b", lambda i: f"{i}^x,y"), "separated by '^'"),
        (table("", lambda i: f"red\x01{i}\x01{i / 8}"), "separated by '\\x01', no header (columns x0, x1, x2)"),
        (
            table("town     v", lambda i: f"{'New York' if i % 3 else 'Bern'}   {i / 4}"),
            "separated by two or more blanks",
        ),
        (table("'a','b'", lambda i: f"'x, {i % 3}',{i / 4}"), "quotes '"),
        (table('a, "b", c', lambda i: f'{i}, "x, y", {i / 4}'), "separated by ', '"),
        (table("a,b", lambda i: f"it's {i},'tis"), ""),
        (table("a\tb", lambda i: f"{i}\t{'' if i % 9 else chr(9)}{i / 4}"), "separated by blanks"),
        (table("a,b", lambda i: f"{'M' if i % 5 == 3 else i},{i / 4}"), "missing: 'M'"),
        (table("a,b", lambda i: f"{'#DIV/0!' if i % 3 == 1 else i},{i / 4}"), "missing: '#DIV/0!'"),
        (table("a,b", lambda i: f"{i % 5 if i % 5 else 'low'},{i / 4}"), ""),
        (table("a,b", lambda i: f"{ODD.get(i, i)},x", 90), "missing: '!', 'NaT', 'X&Z', 'abc'"),
        (table("d,b", lambda i: f"0{i // 12 + 3}/05/2023 {i % 12:02d}:10,{i}"), "times as %d/%m/%Y %H:%M"),
        (table("d,b", lambda i: f"{i % 24:02d}.10.00,{i}"), "times as %H.%M.%S"),
        (table("d,b", lambda i: f"{i % 24:02d}:10:00.250,{i}"), "times as %H:%M:%S.%f"),
        (table("d,b", lambda i: f"Sun Mar 05 06:28:{i:02d} +0000 2023,{i}"), "times as %a %b %d %H:%M:%S %z %Y"),
        (
            table("a|b", lambda i: f"{i}|{i / 4}").replace("b\n", "b\n---|----\n"),
            "separated by '|', 1 line below the header",
        ),
        (table("name", lambda i: "foo bar"), ""),
        (table("when", lambda i: f"2024-01-01 00:00:{i:02d}"), ""),
        (table("a,tags", lambda i: f"{i},x;y;z"), ""),
        (table("code,b", lambda i: f"{i if i % 3 else 'X'}{i},1"), ""),
        (table(",0,1", lambda i: f"{i},{i / 3},{i / 7}"), ""),
        (table("name,2019,2021", lambda i: f"n{i % 4},{i / 3},{i / 7}"), ""),
        ("", ""),
        ("a,b\n", ""),
    ],
)
def test_a_dialect_is_described_in_one_line(text, described):
    dialect = find_dialect(text)
    assert dialect.describe() == described
    assert Dialect.from_plain(dialect.as_plain()) == dialect


@pytest.mark.parametrize(
    "change", [{"delimiter": 1}, {"has_header": 1}, {"formats": {"a": {"kind": "x", "missing": []}}}]
)
def test_data_that_is_no_dialect_is_refused(change):
    with pytest.raises((ValueError, TypeError)):
        Dialect.from_plain(find_dialect("a,b\n1,2\n").as_plain() | change)


def test_marked_numbers_and_times_are_read(tmp_path):
    path = write(
        tmp_path,
        table("a,b,c,d", lambda i: f'"-${i + 1},200.50",{i}%,{i + 1:02d}/02/2024 08:30,"{i}\'000 kg"', 29),
    )
    found = read(path)
    assert found["a"][2] == -3200.5
    assert found["b"][3] == 3.0
    assert found["c"][28] == datetime.datetime(2024, 2, 29, 8, 30)
    assert found["d"][5] == 5000.0


def test_semicolons_and_decimal_commas_are_read(tmp_path):
    path = write(tmp_path, table("t;v;w", lambda i: f"{i};{i},5;1.{i:03d},25" if i else "0;0,5;100,25"))
    assert read(path)["v"] == [i + 0.5 for i in range(40)]
    assert read(path)["w"][:3] == [100.25, 1001.25, 1002.25]


@pytest.mark.parametrize("token", ["?", "-", "--", "NA", "n/a", "NULL", "null", "None"])
def test_numbers_with_few_other_tokens_are_numbers(tmp_path, token):
    path = write(tmp_path, table("a,b", lambda i: f"{token if i % 10 == 3 else i},x"))
    assert Source([path]).schema.field("a").type == pa.int64()
    assert read(path)["a"][:5] == [0, 1, 2, None, 4]


def test_the_sample_holds_the_middle_and_the_end_of_a_file(tmp_path):
    path = write(tmp_path, table("a,b", lambda i: f"{i},{'late' if i > 99_000 and i % 50 == 0 else i}", 100_000))
    assert "missing: 'late'" in Source([path]).dialect.describe()
    assert read(path)["b"][99_050] is None


@pytest.mark.parametrize(("n_before", "cell"), [(70_000, "oops"), (500_000, "6 or 7")])
def test_one_bad_cell_far_down_is_named_with_its_row_and_the_option_that_helps(tmp_path, n_before, cell):
    rows = [f"{i},{i / 4}" for i in range(n_before + 200_000)]
    rows[n_before] = f"{n_before},{cell}"
    path = write(tmp_path, "\n".join(["a,b", *rows]) + "\n")
    place = rf"t\.csv, row {n_before} \(the first is row 0\), column 'b', cannot be read"
    with pytest.raises(TableError, match=rf"{place}.*'{cell}'.*--na '?{cell}'? or --kind-of b=categorical") as error:
        read(path)
    assert len(str(error.value)) < 400
    assert read(path, Reading(missing=(cell,)))["b"][n_before] is None


def test_numbers_further_down_may_be_written_in_another_way(tmp_path):
    rows = [f"{i % 900},{i / 4}" for i in range(70_000)]
    rows[60_000] = '"1,139",7'
    path = write(tmp_path, "\n".join(["a,b", *rows]) + "\n")
    assert Source([path]).dialect.describe() == "',' between thousands"
    assert read(path)["a"][60_000] == 1139
    rows[61_000] = rows[62_000] = "unknown,7"
    path = write(tmp_path, "\n".join(["a,b", *rows]) + "\n")
    assert Source([path]).dialect.describe() == "',' between thousands, missing: 'unknown'"
    assert read(path)["a"][59_999:62_001:1000] == [599, 699, 799]
    assert read(path)["a"][60_000:62_001:1000] == [1139, None, None]


def test_times_of_which_several_further_down_are_written_in_other_ways_are_text(tmp_path):
    rows = [f"{1950 + i % 70}, {['May', 'June', 'July'][i % 3]},{i}" for i in range(20_000)]
    rows[15_000:15_005] = [f"{1990 + i},{i}" for i in range(5)]
    rows = [f'"{row.rpartition(",")[0]}",{row.rpartition(",")[2]}' for row in rows]
    found = read(write(tmp_path, "\n".join(["first,b", *rows]) + "\n"))["first"]
    assert found[:1] + found[15_000:15_001] == ["1950, May", "1990"]


def test_missing_words_in_text_are_missing_as_in_parquet(tmp_path):
    cells = ["Bern", "NA", "null", "", "n/a", "Zug", "-", "?", "\\N"]
    path = write(tmp_path, "\n".join(["city,b", *(f"{c},1" for c in cells)]) + "\n")
    source = Source([path]).read_as_text(["city"])
    [batch] = source.batches(["city"])
    assert batch.column(0).to_pylist() == ["Bern", None, None, None, None, "Zug", "-", "?", None]
    [kept] = Source([path]).keep_raw(["city"]).batches(["city"])
    assert kept.column(0).to_pylist() == cells
    known = Source([path]).read_as_text(["city"], {"city": ["NA"]})
    assert next(known.batches(["city"])).column(0).to_pylist()[:3] == ["Bern", "NA", None]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_text_in_one_byte_encodings_is_read(tmp_path, encoding):
    text = table("a,city", lambda i: f"{i},Zürich{'€' if encoding == 'cp1252' else ''}")
    path = write(tmp_path, text, encoding=encoding)
    assert Source([path]).dialect.describe() == f"encoding {encoding}"
    assert read(path)["city"][3].startswith("Zürich")


def test_times_may_have_fractions_of_seconds_after_the_first_block(tmp_path, monkeypatch):
    from aefast.tables.formats.csv import CsvTable

    monkeypatch.setattr(CsvTable, "_BLOCK", 1 << 12)
    path = write(tmp_path, table("t,x", lambda i: f"2024-01-01 00:00:{i % 60:02d}{'.5' if i > 2500 else ''},{i}", 3000))
    assert read(path)["t"][2999] == datetime.datetime(2024, 1, 1, 0, 0, 59, 500_000)


@pytest.mark.parametrize("block", [16, 64, 1 << 20])
def test_cells_may_be_separated_by_several_blanks(tmp_path, monkeypatch, block):
    from aefast.tables.formats.csv import CsvTable

    monkeypatch.setattr(CsvTable, "_BLOCK", max(block, 1 << 10))
    path = write(tmp_path, table("", lambda i: f"  {i}   {i / 4} \t -1.5  ", 300))
    assert read(path) == {"x0": list(range(300)), "x1": [i / 4 for i in range(300)], "x2": [-1.5] * 300}


@pytest.mark.parametrize("block", [1, 3, 16, 1 << 20])
@pytest.mark.parametrize(("delimiter", "between"), [("::", "::"), ("  ", "   "), ("  ", " \t "), (", ", ",  ")])
def test_separators_of_several_characters_are_one_wherever_blocks_end(delimiter, between, block):
    from aefast.tables.formats.csv_bytes import SingleMarks

    rows = [["a b", "1", "x:y"], ["", "2", "z"] if delimiter == "::" else ["c", "2", "z"], ["d", "3", "e f"]]
    text = "\r\n".join(between.join(row) for row in rows).encode() + b"\r\n"
    one = SingleMarks(delimiter)
    found = b"".join(one(text[k : k + block]) for k in range(0, len(text), block)) + one(b"")
    assert found.decode() == "\r\n".join("\x1f".join(row) for row in rows) + "\r\n"


def test_cells_between_other_separators_and_quotes_are_read(tmp_path):
    path = write(tmp_path, table("", lambda i: f"{i}::a:b::{i / 4}"), "ratings.dat")
    assert read(path) == {"x0": [*range(40)], "x1": ["a:b"] * 40, "x2": [i / 4 for i in range(40)]}
    path = write(tmp_path, table("'a','b'", lambda i: f"'it''s x, {i % 3}',{i / 4}"))
    assert read(path)["a"][:2] == ["it's x, 0", "it's x, 1"]
    path = write(tmp_path, table('a, "b", c', lambda i: f'{i}, "x, y", {i / 4}'))
    assert read(path) == {"a": [*range(40)], "b": ["x, y"] * 40, "c": [i / 4 for i in range(40)]}
    path = write(tmp_path, table("town        v   w", lambda i: f"  New York    {i / 4:5.2f}  {i}"), "fixed.txt")
    assert read(path) == {"town": ["New York"] * 40, "v": [i / 4 for i in range(40)], "w": [*range(40)]}
    assert read(write(tmp_path, "a!!b\n1!!2\n"), Reading(delimiter="!!")) == {"a": [1], "b": [2]}


def test_numbers_of_india_and_of_sap_are_read(tmp_path):
    path = write(tmp_path, table("a;b;d", lambda i: f"5,26,29,{100 + i};1.234,{i:02d}-;{i % 28 + 1:02d}.03.2024"))
    found = read(path)
    assert (found["a"][3], found["b"][3]) == (52629103.0, -1234.03)
    path = write(tmp_path, table("b\td", lambda i: f"{i + 1},250\t{i % 12 + 1:02d}.03.2024"))
    assert read(path)["b"][3] == 4.25  # 31.12.2024 goes with decimal commas


def test_what_is_known_comes_before_what_the_sample_shows(tmp_path):
    path = write(tmp_path, table("a,b", lambda i: f'"{i},200",{i % 12 + 1}/5/2024'))
    reading = Reading(decimal=",", time_format="%d/%m/%Y", names=("p", "q"), has_header=False)
    assert read(path, Reading(decimal=","))["a"][3] == 3.2
    assert read(path, Reading(time_format="%d/%m/%Y"))["b"][0] == datetime.datetime(2024, 5, 1)
    assert list(read(path, reading)) == ["p", "q"]
    assert read(write(tmp_path, "a!b\n1!2\n"), Reading(delimiter="!")) == {"a": [1], "b": [2]}


def test_a_later_file_is_read_by_the_learned_dialect(tmp_path):
    first = Source([write(tmp_path, table("d;v", lambda i: f"{i % 28 + 1}/1/2024;{i},5"))]).dialect
    later = write(tmp_path, "d;v\n1/2/2024;1,200\n", "later.csv")
    assert read(later, Reading(learned=first)) == {"d": [datetime.datetime(2024, 2, 1)], "v": [1.2]}
    without = Source([write(tmp_path, table("", lambda i: f"{'MF'[i % 2]},{i / 4}"), "n.csv")]).dialect
    assert read(write(tmp_path, "M,1\n", "m.csv"), Reading(learned=without)) == {"x0": ["M"], "x1": [1]}


def test_parquet_and_csv_of_a_table_are_read_alike(tmp_path):
    rows = pa.table({"a": [1.5, None, 2.0] * 20, "city": ["Bern", None, "Zug"] * 20})
    pq.write_table(rows, tmp_path / "t.parquet")
    rows.to_pandas().to_csv(tmp_path / "t.csv", index=False, na_rep="NA")
    for path in (tmp_path / "t.parquet", tmp_path / "t.csv"):
        source = Source([path]).read_as_text(["city"])
        assert pa.Table.from_batches(source.batches(["a", "city"])).to_pydict() == rows.to_pydict()


def test_an_offending_line_is_shortened_and_the_separator_named(tmp_path):
    path = write(tmp_path, table("a,b", lambda i: f"{i},{i}") + "1,2," + "x" * 5000 + "\n")
    with pytest.raises(TableError, match=re.escape("Expected 2 columns, got 3: 1,2,xxx")) as error:
        read(path, Reading(columns=("a", "b")))
    assert "--delimiter" in str(error.value)
    assert len(str(error.value)) < 300


def test_formats_say_whether_the_reader_understands_them():
    assert CellFormat("number", decimal=",").is_plain
    assert not CellFormat("number", after="%").is_plain
