"""Tables as they are published: titles, sources, repeated names, rows of other widths, and cells of many forms."""

from __future__ import annotations

import datetime
import json
import warnings
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aefast import Autoencoder
from aefast.jobs.left_out import without_information
from aefast.tables.dialect import Dialect, Reading
from aefast.tables.formats.base import TableError
from aefast.tables.formats.csv import CsvTable
from aefast.tables.formats.csv_rows import EvenRows
from aefast.tables.sniffer import find_dialect
from aefast.tables.source import Source
from small_tables import done, run_command

COLOURS = ["red", "green", "blue"]


def lines(row, n=40):
    return "".join(f"{row(i)}\n" for i in range(n))


def write(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(path, reading=None):
    """Return the columns of a file, and the warnings about it."""
    source = Source([path], reading)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = pa.Table.from_batches(source.batches(source.schema.names))
    return found.to_pydict(), [str(warning.message).removeprefix(f"{path}: ") for warning in caught]


def plain(i):
    return f"{i / 4},{COLOURS[i % 3]},{i % 7}"


PLAIN = {"v": [i / 4 for i in range(40)], "k": [COLOURS[i % 3] for i in range(40)], "n": [i % 7 for i in range(40)]}


@pytest.mark.parametrize(
    ("above", "described"),
    [
        ("Report of the stations\n", "1 line above the header"),
        ("Report\n\n", "1 line above the header"),
        ("# made by a tool\n# station 17, run 4\n", "2 lines above the header"),
        ("Station: 12\nParameters: a, b, c\n\n", "2 lines above the header"),
        ("Report,,\n,,\n", "2 lines above the header"),
        ("Station,12,\nFrom,2023,\n\n", "2 lines above the header"),
        ("40,,\n", "1 line above the header"),
        ("".join(f"Line {i} of the licence, which is long\n" for i in range(50)), "50 lines above the header"),
    ],
)
def test_lines_above_the_header_are_left_out_and_said(tmp_path, above, described):
    path = write(tmp_path, above + "v,k,n\n" + lines(plain))
    found, said = read(path)
    assert (found, said) == (PLAIN, [])
    assert Source([path]).dialect.describe() == described
    dialect = Source([path]).dialect
    assert Dialect.from_plain(json.loads(json.dumps(dialect.as_plain()))) == dialect


def test_the_header_may_be_a_comment_and_its_units_a_line_of_their_own(tmp_path):
    rows = lines(lambda i: f"2023 {i % 12 + 1:02d}  {i / 4:6.2f}   {i % 9}")
    found, _ = read(write(tmp_path, "#YY  MM WDIR WSPD\n#yr mo  degT  m/s\n" + rows, "buoy.txt"))
    assert list(found) == ["YY", "MM", "WDIR", "WSPD"]
    path = write(tmp_path, "# t x y\n" + lines(lambda i: f"{i:.3e} {i / 7:.3e} 1.5e-3"), "saved.txt")
    assert list(read(path)[0]) == ["t", "x", "y"]
    units = write(tmp_path, "t,v,w\nUTC,degC,hPa\n" + lines(lambda i: f"2024-01-01 00:00:{i:02d},{i},{i / 8}"))
    assert Source([units]).dialect.describe() == "1 line below the header"
    assert len(read(units)[0]["v"]) == 40


def test_comments_may_be_longer_than_the_table(tmp_path):
    notes = "".join(f"# note {i} of the provider: a time; a place, and a unit\n" for i in range(60))
    path = write(tmp_path, notes + "# t;v;w\n" + lines(lambda i: f"{i};{i / 4};{i % 7}", 6))
    assert Source([path]).dialect.describe() == "separated by ';', 60 lines above the header"
    assert read(path)[0]["v"] == [i / 4 for i in range(6)]


def test_a_first_row_of_text_whose_cells_occur_below_is_no_header(tmp_path):
    path = write(tmp_path, lines(lambda i: f"{COLOURS[i % 2]}\tmessage {i} of many"), "t.tsv")
    assert len(read(path)[0]["x0"]) == 40


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("Country,2008", lambda i: f"Land {i},{i / 3:.3f}"),
        ("Country,2009", lambda i: f"Land {i},{i * i * i}"),
        ("Country,1700,1800,1900", lambda i: f"Land {i},5,{i % 2},{i}"),
        ("Country,1950,1951", lambda i: f"Land {i},{f'({i}17),({i}44)' if i < 9 else f'{i}17,{i}44'}"),
    ],
)
def test_years_above_numbers_of_other_kinds_are_names(tmp_path, header, row):
    found, _ = read(write(tmp_path, f"{header}\n" + lines(row)))
    assert list(found) == header.split(",")
    assert found["Country"] == [f"Land {i}" for i in range(40)]


def test_names_may_stand_below_those_of_groups_and_lack_that_of_the_index(tmp_path):
    path = write(
        tmp_path,
        ",Input,More,,Output\n,v,w,x,y\n" + lines(lambda i: f"{i},{i / 4},{i % 7},{i / 8},{i if i < 9 else ''}"),
    )
    found, _ = read(path)
    assert list(found) == ["", "v", "w", "x", "y"]
    assert found["y"][7:10] == [7, 8, None]


def test_a_first_number_that_could_be_a_year_is_data(tmp_path):
    path = write(tmp_path, lines(lambda i: f"{'MFI'[i % 3]},{2000 + i / 12:.{3 * (i > 0)}f}"))
    assert len(read(path)[0]["x1"]) == 40
    path = write(tmp_path, lines(lambda i: f"{'MFI'[i % 3]},{i * i if i else 1950},{i % 7}"))
    assert len(read(path)[0]["x1"]) == 40


def test_names_that_repeat_or_are_blank_are_told_apart(tmp_path):
    path = write(tmp_path, "v,v,,,v\n" + lines(lambda i: f"{i},{i / 2},{i % 3},{i % 5},1.5"))
    assert list(read(path)[0]) == ["v", "v.1", "", "x3", "v.2"]
    assert list(read(write(tmp_path, "v,v.1,v\n" + lines(lambda i: f"{i},{i},{i}")))[0]) == ["v", "v.1", "v.2"]


def test_a_title_above_two_columns_without_names_names_none(tmp_path):
    path = write(tmp_path, "Report of the stations\n" + lines(lambda i: f"{i / 4},{i % 7}"))
    assert Source([path]).dialect.describe() == "no header (columns x0, x1), 1 line above the first row"


def test_row_names_without_a_name_are_a_column(tmp_path):
    path = write(tmp_path, "mpg cyl\n" + lines(lambda i: f'"car {i}" {i / 4} {i % 3}'), "cars.txt")
    found, _ = read(path)
    assert list(found) == ["", "mpg", "cyl"]
    assert found[""][3] == "car 3"


@pytest.mark.parametrize("header", ["v;k;n", "v;k;n;;"])
def test_separators_at_the_end_of_rows_make_no_columns(tmp_path, header):
    path = write(tmp_path, f"{header}\n" + lines(lambda i: plain(i).replace(",", ";") + ";;"))
    assert read(path) == (PLAIN, [])
    assert "separators at the end of rows" in Source([path]).dialect.describe()


@pytest.mark.parametrize("block", [1 << 10, 1 << 22])
def test_missing_cells_at_the_end_of_rows_are_missing_values_and_counted(tmp_path, monkeypatch, block):
    monkeypatch.setattr(CsvTable, "_BLOCK", block)
    rows = [plain(i % 40) for i in range(20_000)]
    rows[9_001], rows[15_000] = "1.5,red", "1.5"
    path = write(tmp_path, "v,k,n\n" + "\n".join(rows) + "\n")
    found, said = read(path)
    assert said == ["2 rows with fewer cells than columns; their last cells are missing"]
    assert len(found["v"]) == 20_000
    assert [found[name][9_001] for name in "vkn"] == [1.5, "red", None]
    assert found["n"][9_002] == PLAIN["n"][9_002 % 40]


def test_the_last_column_may_end_before_the_table(tmp_path):
    path = write(tmp_path, "d;v;w;x\n" + lines(lambda i: f"{i};{i / 4};{i % 7}" + ";" * (i < 12)))
    found, said = read(path)
    assert list(found) == ["d", "v", "w", "x"]
    assert found["d"] == [*range(40)]
    assert said == ["28 rows with fewer cells than columns; their last cells are missing"]


def test_explanations_below_a_table_may_have_separators_and_digits(tmp_path):
    path = write(tmp_path, "v,k,n\n" + lines(plain) + "\nv: speed at 10 m (0 = calm, 90 = storm)\nn: count\n")
    found, said = read(path)
    assert found == PLAIN
    assert said == ["2 lines with no separator, left out as no rows"]


def test_lines_of_blanks_are_no_rows(tmp_path):
    found, said = read(write(tmp_path, "v,k,n\n" + lines(plain).replace("\n1.0,", "\n \t \n1.0,")))
    assert (found, said) == (PLAIN, [])


def test_sources_below_a_table_are_no_rows(tmp_path):
    below = "\nSource: National Office\nNote: preliminary, table 4\n# end\n"
    found, said = read(write(tmp_path, "v,k,n\n" + lines(plain) + below))
    assert (found, said) == (PLAIN, ["3 lines with no separator, left out as no rows"])


def test_rows_with_more_cells_are_left_out_if_the_table_to_learn_has_some(tmp_path):
    path = write(tmp_path, "v,k,n\n" + lines(lambda i: plain(i) + (",x" if i == 7 else ",," if i == 9 else "")))
    found, said = read(path)
    assert said == ["1 row with more cells than columns, left out"]
    assert found["v"] == [v for i, v in enumerate(PLAIN["v"]) if i != 7]
    learned = Source([path]).dialect
    assert read(path, Reading(learned=learned, columns=("v", "k", "n")))[0] == found
    with pytest.raises(TableError, match=r"row 7 .*Expected 3 columns, got 4: .*--on-bad null or skip"):
        Source([path], Reading(columns=("v", "k", "n")))
    kept, _ = read(path, Reading(columns=("v", "k", "n"), on_bad="skip"))
    assert kept == found


@pytest.mark.filterwarnings("always")
def test_a_longer_row_far_down_is_left_out_by_fit_and_then_by_score(tmp_path):
    rows = [plain(i % 40) for i in range(20_000)]
    even = write(tmp_path, "v,k,n\n" + "\n".join(rows) + "\n", "even.csv")
    rows[9_001] += ",x"
    path = write(tmp_path, "v,k,n\n" + "\n".join(rows) + "\n")
    for fitted, status in ((path, 0), (even, 1)):
        result = run_command("fit", fitted, "-o", tmp_path / "m.safetensors", "--epochs", 1, "--json")
        summary = json.loads(result.stdout)
        assert (summary["rows"], summary["bad_rows"]) == ((19_999, 1) if fitted == path else (20_000, 0))
        result = run_command("score", tmp_path / "m.safetensors", path, "-o", tmp_path / "s.csv", "--json")
        assert result.exit_code == status
        assert status == 0 or "row 9001 (the first is row 0)" in result.stderr


def test_a_row_that_the_end_of_the_file_cuts_off_is_refused(tmp_path):
    path = write(tmp_path, "v,k,n\n" + lines(plain) + "1.5,r")
    with pytest.raises(TableError, match=r"row 40 .*the file ends in it"):
        read(path)


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("second", [b'1,"x,\n""y""",2', b"1,x,2", b'5" pipe,2,"3"'])
def test_rows_are_evened_wherever_blocks_end(size, end, second):
    rows = [b"a,b,c", second, b"", b"1", b"1,2,3,,", b"of no row", b"5 pipe,2,3", b"1,2,3,4", b"7,8,9"]
    wanted = [rows[0], rows[1], b"", b"1,,", b"1,2,3", rows[6], rows[8]]
    even = EvenRows(",", 3, 1, drops_long=True)
    text = end.join([*rows, b""])
    found = b"".join(even(text[k : k + size]) for k in range(0, len(text), size)) + even(b"")
    assert found == end.join([*wanted, b""])
    assert (even.n_short, even.n_long, even.n_notes) == (1, 1, 1)


@pytest.mark.parametrize(
    ("cell", "described", "value"),
    [
        (lambda i: f"{i % 24:02d}:15", "times as %H:%M", datetime.time(3, 15)),
        (lambda i: f"{i % 24:02d}:15:59", "times as %H:%M:%S", datetime.time(3, 15, 59)),
        (lambda i: f"{i % 12 + 1}:15 PM", "times as %I:%M %p", datetime.time(16, 15)),
        (lambda i: f"{i % 24:02d}.00.00", "times as %H.%M.%S", datetime.time(3)),
        (lambda i: f"{i % 5}:02:03", "times as [h:]m:s", 3 * 3600 + 123),
        (lambda i: f"{i}:30", "times as [h:]m:s", 3 * 60 + 30),
        (lambda i: f"{i % 3} days 00:00:{i:02d}", "times as [h:]m:s", 3.0),
        (lambda i: f"{1_700_000_000 + i * 60}", "times as epoch seconds", datetime.datetime(2023, 11, 14, 22, 16, 20)),
        (
            lambda i: f"{1_700_000_000_500 + i * 60_000}",
            "times as epoch milliseconds",
            datetime.datetime(2023, 11, 14, 22, 16, 20, 500_000),
        ),
        (
            lambda i: f"{1_700_000_000 + i}.25",
            "times as epoch seconds",
            datetime.datetime(2023, 11, 14, 22, 13, 23, 250_000),
        ),
        (lambda i: f"202401{i % 31 + 1:02d}", "times as %Y%m%d", datetime.datetime(2024, 1, 4)),
        (lambda i: f"{1990 + i}-05", "times as %Y-%m", datetime.datetime(1993, 5, 1)),
        (lambda i: f"May {1990 + i}", "times as %b %Y", datetime.datetime(1993, 5, 1)),
        (lambda i: f"{i % 12 + 1:02d}/01/{1990 + i // 12}", "times as %m/%d/%Y", datetime.datetime(1990, 4, 1)),
        (
            lambda i: f'"2024-01-01 00:00:{i:02d},250"',
            "decimal comma in times",
            datetime.datetime(2024, 1, 1, 0, 0, 3, 250_000),
        ),
        (lambda i: f'"({i + 1},200)"', "',' between thousands, brackets around negative numbers", -4200.0),
        (lambda i: f"(${i})", "$ beside numbers, brackets around negative numbers", -3.0),
        (lambda i: f"{i + 1}\u202f200 €", "'\\u202f' between thousands, € beside numbers", 4200.0),
        (lambda i: f"{i:05d}", "codes in time", "00003"),
        (lambda i: f"0x{i:x}F", "codes in time", "0x3F"),
    ],
)
def test_cells_are_read_as_a_person_would(tmp_path, cell, described, value):
    path = write(tmp_path, "time,v\n" + lines(lambda i: f"{cell(i)},{i / 4}"))
    assert Source([path]).dialect.describe() == described
    found = read(path)[0]["time"][3]
    assert found == value


@pytest.mark.parametrize("cell", ["1.2.3", "12:34:56:78", "01/02/2024", "Room 5"])
def test_other_cells_stay_text(tmp_path, cell):
    path = write(tmp_path, "k,v\n" + lines(lambda i: f"{cell},{i / 4}"))
    assert Source([path]).spoken_dialect == ""
    assert read(path)[0]["k"][0] == cell


def test_known_kinds_come_before_what_digits_look_like(tmp_path):
    path = write(tmp_path, "date,zip\n" + lines(lambda i: f"202401{i % 31 + 1:02d},{i:05d}"))
    found, _ = read(path, Reading(kinds={"date": "numeric", "zip": "numeric"}))
    assert (found["date"][3], found["zip"][3]) == (20240104, 3)


def test_a_decimal_mark_that_one_column_shows_holds_in_all(tmp_path):
    path = write(tmp_path, "a;b\n" + lines(lambda i: f"{i + 1}.200;{i},5"))
    assert read(path)[0]["a"][3] == 4200.0
    path = write(tmp_path, "a;b\n" + lines(lambda i: f"{i + 1},200;{i}.5"))
    assert read(path)[0]["a"][3] == 4200.0


def test_amounts_above_a_thousand_are_no_missing_words(tmp_path):
    path = write(tmp_path, "a;b\n" + lines(lambda i: f"{'1,004.73' if i == 9 else f'{i}.25'} EUR;{i}"))
    assert read(path)[0]["a"][8:10] == [8.25, 1004.73]
    others = {7: "low", 9: '"1,139"'}
    path = write(tmp_path, "a,b\n" + lines(lambda i: f"{others.get(i, i)},{i}"))
    assert read(path)[0]["a"][7:10] == [None, 8, 1139]


def test_arff_is_read_with_its_names(tmp_path):
    text = "% a title\n@relation weather\n\n@attribute outlook {sunny, rainy}\n@attribute 'the temp' real\n\n@data\n"
    found, _ = read(write(tmp_path, text + lines(lambda i: f"{'sunny' if i % 2 else 'rainy'},{i / 2}"), "w.arff"))
    assert list(found) == ["outlook", "the temp"]
    assert found["the temp"] == [i / 2 for i in range(40)]


@pytest.mark.parametrize("name", ["t.data", "t.dat", "t", "t.data_10_percent", "t.log"])
def test_text_of_any_suffix_is_a_table_and_documents_are_not(tmp_path, name):
    assert read(write(tmp_path, "v,k,n\n" + lines(plain), name))[0] == PLAIN
    for content in ("<html></html>", '{"a": 1}', b"\0\1\2", ""):
        with pytest.raises(TableError, match="neither the suffix of a table nor rows of text"):
            Source([write(tmp_path, content, name)])


def test_numbers_that_name_rows_are_left_out(tmp_path):
    order = [(i * 17) % 40 for i in range(40)]
    path = write(
        tmp_path, "account_id,Unnamed: 0,phone,v\n" + lines(lambda i: f"{order[i]},{order[i]},55{order[i]},{i / 4}")
    )
    source = Source([path])
    wanted = {"account_id": "an identifier", "Unnamed: 0": "an index", "phone": "nearly all values differ"}
    assert without_information(source, source.schema.names) == wanted
    path = write(
        tmp_path, "Id,rownames,,n\n" + lines(lambda i: f"{order[max(i, 2)]},{order[i]},{9 * order[i]},{order[i]}")
    )
    wanted = {"Id": "an identifier", "rownames": "an identifier", "": "an index"}
    assert without_information(Source([path]), ["Id", "rownames", "", "n"]) == wanted


def test_names_of_few_rows_are_left_out(tmp_path):
    path = write(tmp_path, "name,k,n,none\n" + lines(lambda i: f"{'abcde'[i]} street,{COLOURS[i % 2]},{i},", 5))
    wanted = {"name": "nearly all values differ", "none": "no values"}
    assert without_information(Source([path]), ["name", "k", "n", "none"]) == wanted


@pytest.mark.parametrize("unit", ["s", "us"])
def test_times_of_the_day_score_the_same_in_all_tables(tmp_path, unit):
    clock = [datetime.time(i % 24, i % 60) for i in range(200)]
    kind = pa.time32("s") if unit == "s" else pa.time64("us")
    table = pa.table({"at": pa.array(clock, kind), "v": [i % 24 / 4 for i in range(200)]})
    pq.write_table(table, tmp_path / "t.parquet")
    write(tmp_path, "at,v\n" + lines(lambda i: f"{clock[i]:%H:%M},{i % 24 / 4}", 200))
    model = Autoencoder(random_state=0, max_epochs=2).fit(table)
    assert [column.kind for column in model.columns_] == ["timestamp", "numeric"]
    assert model.columns_[0].knows_day
    wanted = model.score_samples(table)
    np.testing.assert_array_equal(model.score_samples(table.to_pandas()), wanted)
    model.save(tmp_path / "m.safetensors")
    for name in ("t.parquet", "t.csv"):
        done("score", tmp_path / "m.safetensors", tmp_path / name, "-o", tmp_path / "s.parquet")
        scores = pq.read_table(tmp_path / "s.parquet").column("anomaly_score").to_numpy()
        np.testing.assert_array_equal(scores, -wanted)


def test_lines_to_skip_can_be_given(tmp_path):
    path = write(tmp_path, "a,b,c\n1,2,3\nv,k,n\n" + lines(plain))
    assert read(path, Reading(skip_rows=2))[0] == PLAIN
    assert Source([path], Reading(skip_rows=2)).dialect.describe() == "2 lines above the header"


@pytest.mark.filterwarnings("always")
def test_what_was_left_out_is_in_the_summaries_of_fit_and_score(tmp_path):
    text = "Report\nv,k,n\n" + lines(lambda i: plain(i)[:-2] if i in (5, 9) else plain(i) + (",x" if i == 7 else ""))
    path, model = write(tmp_path, text + "Source: here\n"), tmp_path / "m.safetensors"
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.write(path, "t.data")
    fitted = run_command("fit", path, "-o", model, "--epochs", 1, "--json")
    for result in (
        fitted,
        *(run_command("score", model, p, "-o", tmp_path / "s.csv", "--json") for p in (path, tmp_path / "t.zip")),
    ):
        assert result.exit_code == 0, result.stderr
        summary = json.loads(result.stdout)
        assert [summary[name] for name in ("bad_rows", "short_rows", "other_lines")] == [1, 2, 1]
        assert "1 line above the header, rows with fewer or more cells" in summary["dialect"]
        assert "2 rows with fewer cells than columns" in result.stderr
    assert summary["rows"] == 40
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 1 + 39


def test_a_file_that_is_scored_is_found_by_the_names_of_the_model(tmp_path):
    known = Reading(columns=("v", "k"), kinds={"v": "numeric", "k": "categorical"})
    dialect = find_dialect("1,2,3\nanything,else\nk,v\nred,1\n", known)
    assert (dialect.names, dialect.n_above) == (("k", "v"), 2)
