"""Forms of numbers, times, headers and encodings that exports of machines, banks and offices have."""

from __future__ import annotations

import datetime
import warnings

import pytest

from aefast.tables.dialect import NO_QUOTE, Dialect, Reading
from aefast.tables.fixed_width import FixedColumns
from aefast.tables.formats.base import TableError
from aefast.tables.source import Source
from small_tables import read_columns as read
from small_tables import write_text as write


def rows(row, n=40):
    return "".join(f"{row(i)}\n" for i in range(n))


def utc(*parts):
    return datetime.datetime(*parts, tzinfo=datetime.timezone.utc)


def day(*parts):
    return datetime.datetime(*parts)


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        (lambda i: ["1.5M", "20K", "300", "2.25K"][i % 4], [1.5e6, 20e3, 300, 2250]),
        (lambda i: ["$1.5M", "$20K"][i % 2], [1.5e6, 20e3]),
        (lambda i: ["1KiB", "2MiB"][i % 2], [1024, 2 * 1024**2]),
        (lambda i: f"{i}.5{['', ' p', ' b'][i % 3]}", [0.5, 1.5, 2.5]),
        (lambda i: f"{i}.5{['', '*', ''][i % 3]}", [0.5, 1.5, 2.5]),
        (lambda i: f"{i}.5 out of 5", [0.5, 1.5]),
        (lambda i: f"{i}.5/100", [0.5, 1.5]),
        (lambda i: f"{i}.25° N", [0.25, 1.25]),
        (lambda i: f"R$ {i}", [0, 1]),
        (lambda i: f"−{i}.5", [-0.5, -1.5]),
        (lambda i: f"({i}.5)%" if i % 2 else f"{i}.5%", [0.5, -1.5]),
        (lambda i: f"{i}.5D+03", [500, 1500]),
        (lambda i: ["T", "0.02", "0.11", "0.05"][i % 4], [None, 0.02, 0.11]),
        (lambda i: f"{i // 2}h {i}m" if i % 2 else f"{i}m 20s", [20, 60, 140]),
        (lambda i: f"PT1H{i}M", [3600, 3660]),
        (lambda i: f"00:{i * 7 % 40:02d}:05", [5, 425]),
    ],
)
def test_numbers_are_read_with_what_stands_around_them(tmp_path, cells, first):
    found = read(write(tmp_path, "v,k\n" + rows(lambda i: f"{cells(i)},x{i % 3}")))["v"]
    assert found[: len(first)] == pytest.approx(first)


@pytest.mark.parametrize(
    ("cells", "second"),
    [
        (lambda i: f"03.01.2024 09:15:{i:02d};250", None),
        (lambda i: f"03.01.2024 09:15:{i:02d},250", day(2024, 1, 3, 9, 15, 1, 250_000)),
        (lambda i: f"2024/01/03 09:15:{i:02d}.125", day(2024, 1, 3, 9, 15, 1, 125_000)),
        (lambda i: f"2024-01-03, 09:15:{i:02d}", day(2024, 1, 3, 9, 15, 1)),
        (lambda i: f"Jan 3, 2024, 9:15:{i:02d} PM", day(2024, 1, 3, 21, 15, 1)),
        (lambda i: f"Wednesday, January {3 + 7 * (i % 4)}, 2024", day(2024, 1, 10)),
        (lambda i: f"{i % 28 + 1}. März 2024", day(2024, 3, 2)),
        (lambda i: f"mar. {5 + 7 * (i % 3)} mars 2024", day(2024, 3, 12)),
        (lambda i: f"{i % 28 + 1:02d}-févr.-2024", day(2024, 2, 2)),
        (lambda i: f"2024年1月{i % 28 + 1}日", day(2024, 1, 2)),
        (lambda i: f"{i % 28 + 1:02d}.01.2024 10:00:00 UTC", day(2024, 1, 2, 10)),
        (lambda i: f"03-JAN-24 07.15.{i:02d}.000000 PM", day(2024, 1, 3, 19, 15, 1)),
        (lambda i: f"Wed Jan 03 2024 09:00:{i:02d} GMT+0100 (CET)", utc(2024, 1, 3, 8, 0, 1)),
        (lambda i: f"[2024-01-03T09:15:{i:02d}.125+0000]", utc(2024, 1, 3, 9, 15, 1, 125_000)),
        (lambda i: f"2024-01-03-07.15.{i:02d}.250000", day(2024, 1, 3, 7, 15, 1, 250_000)),
        (lambda i: f"20240103-07:15:{i:02d}:250", day(2024, 1, 3, 7, 15, 1, 250_000)),
        (lambda i: f"01-{i % 28 + 1:02d} 07:15:01.250", day(1900, 1, 2, 7, 15, 1, 250_000)),
        (lambda i: f"03.{i % 12 + 1:02d} 07:15", day(1900, 2, 3, 7, 15)),
        (lambda i: f"{i % 12 + 1:02d}/2024", day(2024, 2, 1)),
        (lambda i: f"{i % 4 + 1}. Quartal {2000 + i // 4}", day(2000, 4, 1)),
        (lambda i: f"{2000 + i // 4}-Q{i % 4 + 1}", day(2000, 4, 1)),
        (lambda i: f"2024-W{i + 1:02d}", day(2024, 1, 8)),
        (lambda i: f"KW {i + 1:02d}/2024", day(2024, 1, 8)),
        (lambda i: f"{2000 + i // 12}M{i % 12 + 1:02d}", day(2000, 2, 1)),
        (lambda i: f"2024 {['JAN', 'FEB'][i % 2]}", day(2024, 2, 1)),
    ],
)
def test_times_are_read_in_the_words_of_other_languages_and_with_fractions(tmp_path, cells, second):
    found = read(write(tmp_path, "t\tv\n" + rows(lambda i: f"{cells(i)}\t{i / 4}")))["t"]
    assert (found[1] == second) if second else isinstance(found[1], str)


@pytest.mark.parametrize(
    ("name", "cells", "kind"),
    [
        ("ValueDate", lambda i: f"2401{i % 28 + 1:02d}", datetime.datetime),
        ("utc", lambda i: f"0915{i:02d}", datetime.time),
        ("time", lambda i: f"{1_700_000_000 + i}000000000", datetime.datetime),
        ("count", lambda i: f"2401{i % 28 + 1:02d}", int),
    ],
)
def test_digits_are_times_in_columns_whose_name_says_so(tmp_path, name, cells, kind):
    assert {type(c) for c in read(write(tmp_path, f"{name},v\n" + rows(lambda i: f"{cells(i)},{i / 4}")))[name]} == {
        kind
    }


def test_columns_that_a_model_knows_as_text_stay_text(tmp_path):
    path = write(
        tmp_path, "q;w;size;v\n" + rows(lambda i: f"2024-Q{i % 4 + 1};2h {i % 5}m;{['1K', '2M'][i % 2]};{i / 4}")
    )
    known = Reading(columns=("q", "w", "size", "v"), kinds=dict.fromkeys(("q", "w", "size"), "categorical"))
    found = read(path, known)
    assert (found["q"][0], found["w"][1], found["size"][:2], found["v"][1]) == ("2024-Q1", "2h 1m", ["1K", "2M"], 0.25)


def test_points_between_thousands_differ_from_decimals_of_three_digits(tmp_path):
    grouped = write(tmp_path, "v;k\n" + rows(lambda i: f"{i + 1}.250;x" if i % 5 else "845;y"), "a.csv")
    decimal = write(tmp_path, "v;k\n" + rows(lambda i: f"{i}.250;x" if i % 5 else "0.845;y"), "b.csv")
    assert read(grouped)["v"][:2] == [845, 2250]
    assert read(decimal)["v"][:2] == [0.845, 1.25]


@pytest.mark.parametrize(
    ("above", "row", "names"),
    [
        ("a\tb\n", lambda i: f"{i},5\tx{i % 3},y", ["a", "b"]),
        ("when\tv\ts\n", lambda i: f"03-Jan-24 07:15:{i:02d}\t{i / 4}\tOpen", ["when", "v", "s"]),
        ("user:n:kb\n", lambda i: f"ann:{i}:{i / 4}", ["user", "n", "kb"]),
        ('"a", "b"\n', lambda i: f'"x{i % 3}", "{i / 4}"', ["a", "b"]),
        ("#Fields: a b c\n", lambda i: f"{i / 4}\tx\t{i}", ["a", "b", "c"]),
        ("# name: A\n# rows: 40\n", lambda i: f" {i / 4} {i}", ["x0", "x1"]),
        ('"Length" "Width" "Kind"\n', lambda i: f'"{i}" {i / 4} {i / 8} "k"', ["", "Length", "Width", "Kind"]),
        ("a,b,c\n", lambda i: f"{i / 4},{i},,", ["a", "b", "c"]),
        (",/cpu/0,/cpu/1\nTime,Core 1,Core 2\n", lambda i: f"{i},{i / 4},{i}", ["Time", "Core 1", "Core 2"]),
        ("Channels\t2\t\nSamples\t40\t40\nX\tU\tI\n", lambda i: f"{i / 4}\t{i}\t{i / 8}", ["X", "U", "I"]),
        ("Name;Lat;Kind\nHome;52.5;x\nTime;U;I\n", lambda i: f"{i};{i / 4};{i / 8}", ["Time", "U", "I"]),
        ('@    title "x y"\n@TYPE xy\n@ s0 legend "U"\n', lambda i: f"  {i}.00   {i / 4}", ["x0", "x1"]),
        (
            "Files   Size Use% Mounted on\n",
            lambda i: f"{i % 3:<5}{i:>6}K{i:>4}% /u{i % 2}",
            ["Files", "Size", "Use%", "Mounted on"],
        ),
        ("date,a,b\nTicker,X,X\nkey,,\n", lambda i: f"2024-01-{i % 28 + 1:02d},{i / 4},{i}", ["date", "a", "b"]),
    ],
)
def test_separators_and_headers_of_exports_are_found(tmp_path, above, row, names):
    found = read(write(tmp_path, above + rows(row), "t.txt"))
    assert list(found) == names
    assert {len(cells) for cells in found.values()} == {40}
    assert any(isinstance(cells[1], float) for cells in found.values()) or len(names) == 2


def test_a_header_between_the_rows_is_no_row(tmp_path):
    path = write(tmp_path, "t,v\n" + rows(lambda i: ("t,v\n" if i in (10, 30) else "") + f"x{i % 3},{i / 4}"))
    source = Source([path])
    with pytest.warns(UserWarning, match="2 lines with the header again or without cells, left out"):
        assert sum(batch.num_rows for batch in source.batches(["t", "v"])) == 40
    assert (source.spoken_dialect, source.other_rows["other_lines"]) == ("the header again between rows", 2)
    learned = Dialect.from_plain(source.dialect.as_plain())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert read(path, Reading(learned=learned, columns=("t", "v")))["v"] == [i / 4 for i in range(40)]


def test_lines_below_a_table_that_begin_with_words_are_no_rows(tmp_path):
    path = write(
        tmp_path, "t;v;w\n" + rows(lambda i: f"{i};{i / 4};{i}") + "\nEnd Time:;03.01.2024\nMade by us; 2024\n"
    )
    with pytest.warns(UserWarning, match="2 lines with no separator"):
        assert read(path)["t"] == list(range(40))


def test_columns_of_fixed_width_below_no_name_are_parts_of_others(tmp_path):
    row = "{:<9}{:>5} {:<5} {}".format
    commands = ["nginx: worker process", "sshd: -D --listen", "python app --port 80"]
    text = row("USER", "CPU", "START", "COMMAND") + "\n"
    text += rows(
        lambda i: row(["root", "www-data"][i % 2], i / 4, f"{i % 24:02d}:00", commands[i % 3].replace("-", " "))
    )
    found = read(write(tmp_path, text, "ps.txt"))
    assert list(found) == ["USER", "CPU", "START", "COMMAND"]
    assert found["CPU"][:3] == [0, 0.25, 0.5]


def test_lines_of_separators_alone_are_no_rows(tmp_path):
    path = write(tmp_path, "a;b;c\n" + rows(lambda i: f"x{i % 3};{i / 4};{i}") + ";;\n;;\n")
    source = Source([path])
    with pytest.warns(UserWarning, match="2 lines with the header again or without cells, left out"):
        assert sum(batch.num_rows for batch in source.batches(["a", "b"])) == 40
    assert source.other_rows["other_lines"] == 2
    between = write(tmp_path, "a;b;c\n" + rows(lambda i: ";;" if i == 3 else f"x{i % 3};{i / 4};{i}"), "v.csv")
    assert read(between)["b"] == [None if i == 3 else i / 4 for i in range(40)]
    longer = write(tmp_path, "a;b;c\n" + rows(lambda i: f"x;{i / 4};{i}{';1' * (i == 9)}") + ";;\n", "u.csv")
    reading = Reading(learned=source.dialect, columns=("a", "b"))
    with pytest.raises(TableError, match="row 9"):
        read(longer, reading)


@pytest.mark.parametrize(
    ("text", "encoding", "found"),
    [
        ("Город,Сумма\nМосква,", "cp1251", "cp1251"),
        ("Город,Сумма\nМосква,", "koi8-r", "koi8-r"),
        ("日付,金額\n大阪,", "cp932", "cp932"),
        ("城市,金额\n重庆,", "gbk", "gb18030"),
        ("地區,數值\n臺北,", "big5", "big5"),
        ("지역,값\n서울,", "euc_kr", "euc_kr"),
        ("Größe,Höhe\nFüße,", "latin-1", "latin-1"),
        ("créée,élevée\nnée,", "cp1252", "latin-1"),
    ],
)
def test_encodings_of_other_scripts_are_found(tmp_path, text, encoding, found):
    source = Source([write(tmp_path, text + "1\n" + text.split("\n")[1] + "2\n", encoding=encoding)])
    assert source.dialect.encoding == found
    assert source.schema.names == text.split("\n")[0].split(",")


TOWNS = ["New York", "Bern", "Rio de Janeiro", "Bonn"]


def test_columns_of_fixed_width_are_found_by_their_positions(tmp_path):
    row = "{:<15}{:<3}{:>7}{:>6}{}".format
    text = row("town", "cc", "pop", "v", " q") + "\n"
    text += rows(lambda i: row(TOWNS[i % 4], "US", i * 1000, "" if i % 5 == 3 else i / 4, f" {i % 7}"))
    path = write(tmp_path, text + "Source: the office\n", "t.txt")
    with pytest.warns(UserWarning, match="1 line with no separator"):
        found = read(path)
    assert list(found) == ["town", "cc", "pop", "v", "q"]
    assert found["town"][:4] == TOWNS
    assert found["pop"][:3] == [0, 1000, 2000]
    assert found["v"][2:5] == [0.5, None, 1.0]
    assert [len(cells) for cells in found.values()] == [40] * 5


def test_names_show_where_columns_of_fixed_width_touch(tmp_path):
    text = "code     v1    v2\n"
    text += rows(lambda i: f"{'AB'[i % 2]:<4}{(-1) ** i * 123456:>7}{-99999 if i % 2 else i:>6}")
    found = read(write(tmp_path, text, "t.txt"))
    assert list(found) == ["code", "v1", "v2"]
    assert (found["v1"][:2], found["v2"][:2]) == ([123456, -123456], [0, -99999])


def test_widths_are_given_and_stored(tmp_path):
    path = write(tmp_path, rows(lambda i: f"USC{i % 3}2024{i % 12 + 1:02d}TMAX{i * 10 - 99:5d}"), "t.dly")
    source = Source([path], Reading(starts=(0, 4, 8, 10, 14), has_header=False))
    assert source.spoken_dialect.startswith("columns at the positions 0, 4, 8, 10, 14, no header")
    learned = Dialect.from_plain(source.dialect.as_plain())
    found = read(path, Reading(learned=learned))
    assert (found["x0"][1], found["x2"][:2], found["x4"][:2]) == ("USC1", [1, 2], [-99, -89])


@pytest.mark.parametrize("starts", [[3, 0], [-1, 2], [0, 1.5], ["a"], [True]])
def test_starts_that_are_no_positions_are_refused(starts):
    plain = Dialect("\x1f", starts=(0, 4)).as_plain()
    assert Dialect.from_plain(plain).starts == (0, 4)
    with pytest.raises(ValueError, match="not valid"):
        Dialect.from_plain(plain | {"starts": starts})


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_lines_of_fixed_width_are_cut_wherever_blocks_end(block):
    data = "ab  1 é  2\r\nTitel\n\nc  22 x\n".encode()
    cut = FixedColumns((0, 3, 6))
    parts = [data[k : k + block] for k in range(0, len(data), block)]
    assert b"".join(map(cut, [*parts, b""])).decode() == "ab\x1f1\x1fé  2\r\nTitel\n\nc\x1f22\x1fx\n"


@pytest.mark.parametrize(
    ("row", "quote", "first"),
    [
        (lambda i: f"'x;y';{i}", "'", "x;y"),
        (lambda i: f"%x;y%;{i}", "%", "x;y"),
        (lambda i: f'{i % 7}" pipe;{i}', NO_QUOTE, '0" pipe'),
        (lambda i: f'"{i % 7}" pipe;{i}', NO_QUOTE, '"0" pipe'),
    ],
)
def test_the_quote_is_given_and_stored(tmp_path, row, quote, first):
    path = write(tmp_path, "a;b\n" + rows(row))
    source = Source([path], Reading(quote=quote))
    learned = Dialect.from_plain(source.dialect.as_plain())
    for reading in (Reading(quote=quote), Reading(learned=learned)):
        found = read(path, reading)
        assert (found["a"][0], found["b"]) == (first, list(range(40)))


def test_a_byte_far_down_shows_the_encoding(tmp_path):
    lines = [f"{i},{i / 4},plain text number {i % 9} of a long file" for i in range(8000)]
    lines[2500] = "2500,625.0,caf\xe9 at the corner"
    path = tmp_path / "t.csv"
    path.write_bytes("\n".join(["k,v,name", *lines, ""]).encode("latin-1"))
    assert Source([path]).dialect.describe() == "encoding latin-1"
    assert read(path)["name"][2500] == "caf\xe9 at the corner"


def test_spans_of_time_have_no_offsets(tmp_path):
    path = write(tmp_path, "t,v\n" + rows(lambda i: f"{i // 4:02d}:{i % 4 * 15:02d}-{i // 4 + 1:02d}:00,{i / 3:.3f}"))
    assert read(path)["t"][1] == "00:15-01:00"


def test_a_word_among_numbers_with_decimals_is_missing(tmp_path):
    path = write(tmp_path, "k,v\n" + rows(lambda i: f"{'xyz'[i % 3]},{'Calm' if i % 4 == 0 else i % 16 + 0.5}", 200))
    assert read(path)["v"][:3] == [None, 1.5, 2.5]


def test_a_column_with_few_numbers_and_then_words_is_text(tmp_path):
    def note(i):
        return {1500: "3", 1501: "2"}.get(i, "Ada" if 4500 < i < 4900 and i % 20 == 0 else "")

    path = write(tmp_path, "k,v,note\n" + rows(lambda i: f"{i % 7},{i / 8},{note(i)}", 12_000))
    assert read(path)["note"][4600] == "Ada"


def test_names_of_arff_end_before_their_levels(tmp_path):
    text = "@relation r\n@attribute a{0,1}\n@attribute 'b c' numeric\n@data\n" + rows(lambda i: f"{i % 2},{i / 2}")
    assert list(read(write(tmp_path, text, "t.arff"))) == ["a", "b c"]


def test_letters_alone_are_no_durations_and_created_is_a_time(tmp_path):
    path = write(tmp_path, "v,created_utc\n" + rows(lambda i: f"p,{1397113470 + 86400 * (i * 7 % 40)}"))
    found = read(path)
    assert (found["v"][0], found["created_utc"][0].year) == ("p", 2014)


def test_long_cells_fill_the_gap_before_a_column_whose_cells_begin_at_one_position(tmp_path):
    def line(i):
        town = " ".join(["BAY", "OLD", "SAINTE", "ROCHESTER"[: 3 + i % 7]][i % 3 :])
        call = "CYGM4" if i == 390 else "KNIX" if i % 4 else ""
        return f"{690000 + i} {town:24} {call:5} {47000 + i * 7:+06d} {-124000 - i:+07d}"

    assert read(write(tmp_path, rows(line, 400), "t.txt"))["x3"][390] == 47000 + 390 * 7
