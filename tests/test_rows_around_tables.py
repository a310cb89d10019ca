"""Rows that are no data: headers of several rows or with too few names, and totals; and the messages about bad rows."""

from __future__ import annotations

import json

import pytest

from aefast.jobs.left_out import without_information
from aefast.tables.arrow import is_text
from aefast.tables.dialect import Dialect
from aefast.tables.formats.base import TableError
from aefast.tables.headers import of_groups
from aefast.tables.source import Source
from small_tables import read_columns as read
from small_tables import run_command
from small_tables import write_text as write


def rows(row, n=40):
    return "".join(f"{row(i)}\n" for i in range(n))


def day(i):
    return f"2024-01-{i % 28 + 1:02d}"


@pytest.mark.parametrize(
    ("header", "row", "names"),
    [
        (",2019,2019,2020,2020\nsite,v,k,v,k", lambda i: f"{'abc'[i % 3]},{i / 4},{i % 7},{i / 8},{i % 5}", None),
        ("site,wind,,rain,\n,v,k,v,k", lambda i: f"S{i % 4},{i / 4},{i % 7},{i / 8},{i % 5}", None),
        ("site,wind,,rain,\n,v,k,x,y\n,m/s,deg,mm,h", lambda i: f"S{i % 4},{i / 4},1,{i / 8},2", "site v k x y"),
        ("year,GDP,GDP,pop\n,nominal,real,all", lambda i: f"{1960 + i},{i / 4},{i / 8},{i}", "year nominal real all"),
        ("v;k;n;\n", lambda i: f"{i / 4};{i % 7};{i}", "v k n"),
        ("Series: 12\nType of data: percent\n\nv,k,n,", lambda i: f"{i / 4},{i % 7},{i}", "v k n"),
        ("v,k,n", lambda i: f"{i / 4},{i % 7},{i % 3},{i % 5},{i / 8}", "v k n x3 x4"),
        ("time,v", lambda i: f"{day(i)},{i % 7},{i / 8},{i % 3}", "time v x2 x3"),
        ("time,v", lambda i: f"{day(i)},{i % 7},{i / 8}", "time v x2"),
        ("v,k", lambda i: f"{i % 3},{i % 7},{i / 8}", "v k x2"),
    ],
)
def test_headers_of_several_rows_or_with_too_few_or_too_many_cells_are_read(tmp_path, header, row, names):
    found = read(write(tmp_path, f"{header}\n" + rows(row)))
    if names is None:
        groups = ["2019", "2020"] if "2019" in header else ["wind", "rain"]
        assert list(found) == ["site", *(f"{group} {name}" for group in groups for name in "vk")]
    else:
        assert list(found) == names.split()
    assert {len(values) for values in found.values()} == {40}


@pytest.mark.parametrize(
    ("below", "row"),
    [
        ("string\td\tc\nmeta\t\tclass\n", lambda i: f"animal {i}\t{i % 2}\t{'xy'[i % 2]}"),
        ("string\ta b\ts\n\t\tmeta\n", lambda i: f"animal {i % 9}\t{'ab'[i % 2]}\t{'xy'[i % 2]}"),
        ("string\td\tc\n\t\t\n", lambda i: f"animal {i}\t{i % 7}\t{i / 4}"),
    ],
)
def test_types_and_roles_below_the_header_are_no_rows(tmp_path, below, row):
    found = read(write(tmp_path, "name\tlegs\ttype\n" + below + rows(row), "t.tab"))
    assert list(found) == ["name", "legs", "type"]
    assert len(found["legs"]) == 40


@pytest.mark.filterwarnings("ignore:.*the header again")
def test_a_header_that_the_sample_does_not_have_again_is_no_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header = "k,when,price\n"
    lines = [f"{'abc'[i % 3]},{day(i)} 10:{i % 60:02d},{i % 91 / 4}\n" for i in range(12_000)]
    write(tmp_path, "".join([header, *lines[:3200], header, *lines[3200:]]), "t.csv")
    assert run_command("fit", "t.csv", "-o", "m", "--epochs", "1").exit_code == 0
    assert run_command("score", "m", "t.csv", "-o", "o.csv").exit_code == 0
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 12_001


def test_values_that_grow_are_names_unless_the_rows_grow_alike(tmp_path):
    header = ",".join(["turbine", *(f"{k / 2}" for k in range(9))])
    path = write(tmp_path, header + "\n" + rows(lambda i: ",".join([f"T{i}", *(f"{i * k % 7}" for k in range(9))])))
    assert list(read(path))[:3] == ["turbine", "0.0", "0.5"]
    path = write(tmp_path, rows(lambda i: ",".join([f"T{i}", *(f"{i + k / 2}" for k in range(9))])))
    assert len(read(path)["x1"]) == 40


def test_a_column_of_words_alone_is_a_table(tmp_path):
    assert read(write(tmp_path, "cluster\n" + rows(lambda i: f"cluster{i % 4}")))["cluster"][:2] == [
        "cluster0",
        "cluster1",
    ]


def test_words_below_a_table_with_blanks_are_no_row(tmp_path):
    path = write(tmp_path, "year v k\n" + rows(lambda i: f"{1960 + i} {i / 4} {i % 7}") + "Site Closed\n", "t.txt")
    with pytest.warns(UserWarning, match="1 line with no separator, left out"):
        assert len(read(path)["year"]) == 40


@pytest.mark.parametrize("above", ["Report, July\n", "Station: 12, Berlin\n"])
def test_a_title_of_two_cells_names_no_columns(tmp_path, above):
    path = write(tmp_path, above + rows(lambda i: f"{i / 4},{i % 7},{i % 3},{i % 5}"))
    assert not Source([path]).dialect.has_header


def test_names_of_groups_are_used_only_where_they_tell_columns_apart():
    assert of_groups(["a", "b"], ["x", "x"]) == ["a", "b"]
    assert of_groups(["a", "a"], ["x", "x"]) == ["a", "a"]
    assert of_groups(["", "a", "a"], ["t", "x", "y"]) == ["t", "x a", "y a"]


def sums(n, *columns):
    return ",".join(f"{sum(map(column, range(n))):g}" for column in columns)


@pytest.mark.parametrize(
    ("row", "total"),
    [
        (lambda i: f"{'abcd'[i % 4]},{i % 9},{i / 4}", "Total,180,195\n"),
        (lambda i: f"{'abcd'[i % 4]},{i % 9},{i / 4}", "Total,180,195"),
        (lambda i: f"{'abcd'[i % 4]},{i % 9},{i / 4}", "State Totals - all,180,195\n"),
        (lambda i: f"{'abcd'[i % 4]},{i % 9},{i / 4}" if i != 20 else "Subtotal,80,40", "Grand total:,180,195\n"),
        (lambda i: f"{1000 + 7 * i},{i % 9},{i / 4}", "Total,180,195\n"),
        (lambda i: f"{day(i)},{i % 9},{i / 4}", "Total,180,195\nMean,4,9\n"),
        (lambda i: f"{day(i)},{i % 9},{i / 4}", '"Total of all days",180,195\n'),
        (lambda i: f"{day(i)},{i % 9},{i / 4}", ",Total,195\n"),
        (lambda i: f"{day(i)},{i % 9},{i / 4}", "," + sums(40, lambda i: i % 9, lambda i: i / 4) + "\n"),
    ],
)
def test_rows_of_totals_are_no_rows(tmp_path, row, total):
    path = write(tmp_path, "a,units,sales\n" + rows(row) + total)
    with pytest.warns(UserWarning, match=r"rows? with totals, left out"):
        found = read(path)
    assert len(found["a"]) == (39 if row(20).startswith("Sub") else 40)
    assert max(found["sales"]) == 39 / 4
    dialect = Source([path]).dialect
    assert dialect.describe().startswith("rows of totals (")
    assert Dialect.from_plain(json.loads(json.dumps(dialect.as_plain()))) == dialect


@pytest.mark.parametrize(
    ("row", "last"),
    [
        (lambda i: f"{['men', 'women', 'Total'][i % 3]},{i % 9},{i / 4}", "Total,180,195\n"),
        (lambda i: f"{'abcd'[i % 4]},{i % 9},{i / 4}", "Mean,4,9\n"),
        (lambda i: f"{day(i)},{i % 9},{i / 4}", ",181,196\n"),
        (lambda i: f"{day(i)},{i % 9},{i / 4}", "2024-02-01,180,195\n"),
    ],
)
def test_rows_that_may_be_data_are_no_totals(tmp_path, row, last):
    assert len(read(write(tmp_path, "a,units,sales\n" + rows(row) + last))["a"]) == 41


def test_long_numbers_that_all_differ_are_identifiers_in_a_first_column_without_a_name(tmp_path):
    def left_out(row):
        source = Source([write(tmp_path, rows(row, 200))])
        return without_information(source, source.schema.names)

    assert left_out(lambda i: f"{842302 + i * 7919 % 99991},{'MB'[i % 2]},{i / 4}") == {"x0": "an identifier"}
    assert left_out(lambda i: f"{842302 + i * 7919 % 101},{'MB'[i % 2]},{i / 4}") == {}
    assert left_out(lambda i: f"{i * 7919 % 99991 / 8},{'MB'[i % 2]},{i / 4}") == {}


def test_a_column_with_a_single_value_is_left_out(tmp_path):
    source = Source([write(tmp_path, "v,w\n" + rows(lambda i: f"{i % 7 / 4},{'0.39' if i == 30 else ''}"))])
    assert without_information(source, source.schema.names) == {"w": "a single value"}


def test_a_label_before_the_names_is_no_name(tmp_path):
    lines = "Model:      Exponential\n\nData:   y             x\n" + rows(lambda i: f"     {i / 4:.4f}E0    {i}.5E0")
    assert list(read(write(tmp_path, lines, "t.dat"))) == ["y", "x"]


def test_numbers_named_code_that_all_differ_are_identifiers(tmp_path):
    source = Source(
        [
            write(
                tmp_path,
                "city_code,placeid,code,v\n" + rows(lambda i: f"{i * 7919 % 9973},{i * 31 % 997},{i % 7},{i / 7}"),
            )
        ]
    )
    assert without_information(source, source.schema.names) == dict.fromkeys(["city_code", "placeid"], "an identifier")


@pytest.mark.parametrize("name", ["#", "No.", "S.No", "Serial No"])
def test_numbers_that_count_rows_are_an_index_though_some_repeat(tmp_path, name):
    source = Source([write(tmp_path, f"{name},v\n" + rows(lambda i: f"{i - (i == 20)},{i % 7 / 4}"))])
    assert without_information(source, source.schema.names) == {name: "an index"}


def test_text_that_mostly_looks_like_numbers_that_differ_is_left_out_and_said(tmp_path):
    table = "v,label\n" + rows(lambda i: f'{i / 4},"{10000 + i}{f", {20000 + i}" if i % 20 == 0 else ""}"', 200)
    source = Source([write(tmp_path, table)])
    reason = "all but 10, like '10000, 20000', look like numbers"
    assert without_information(source, source.schema.names) == {"label": reason}


@pytest.mark.parametrize(
    ("name", "cell", "is_code"),
    [
        ("mobile_wt", lambda i: 100 + i, False),
        ("post", lambda i: i % 9, False),
        ("phone_service", lambda i: i % 2, False),
        ("post_code", lambda i: 1000 + i, True),
        ("Phone Number", lambda i: 5550100 + i, True),
        ("codice_regione", lambda i: f"{i % 20 + 1:02d}", True),
        ("month", lambda i: f"{i % 12 + 1:02d}", False),
    ],
)
def test_names_show_which_digits_are_codes(tmp_path, name, cell, is_code):
    source = Source([write(tmp_path, f"{name},v\n" + rows(lambda i: f"{cell(i)},{i / 4}"))])
    assert is_text(source.type_of(name)) == is_code


def test_messages_name_the_row_and_the_option_that_helps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = "k,u,w\n" + rows(lambda i: f"City {i % 9},{i / 4},{i % 7}", 20_000)
    quoted = rows(lambda i: f"City {i % 9},{i / 4},{i}").replace("City 3,7.5", '"City 3,7.5')
    quote = write(tmp_path, "k,u,w\n" + quoted, "quote.csv")
    with pytest.raises(TableError, match=r"row 30 .*a quote is not closed: close it, or give --quote none$"):
        read(quote)
    assert run_command("fit", "quote.csv", "-o", "m", "--epochs", "1", "--quote", "none").exit_code == 0
    lines = table.splitlines(keepends=True)
    write(tmp_path, "".join([*lines[:7000], "City 1,”12.5”;”3,4\n", *lines[7000:]]), "cell.csv")
    refused = run_command("fit", "cell.csv", "-o", "m", "--epochs", "1")
    assert refused.exit_code == 1
    assert "row 6999 " in refused.stderr
    assert "or give --on-bad skip" in refused.stderr
    assert run_command("fit", "cell.csv", "-o", "m", "--epochs", "1", "--on-bad", "skip").exit_code == 0
