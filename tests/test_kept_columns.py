"""Kept columns stay as they are, and get one type if several files become one."""

import datetime
import json
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

import aefast
from aefast.exceptions import AefastError
from aefast.tables.formats.csv import CsvTable
from small_tables import done, run_command, write_table


@pytest.fixture(scope="module")
def model():
    X = np.random.default_rng(0).normal(size=(300, 2))
    return aefast.Autoencoder((2,), max_epochs=1, random_state=0).fit(pd.DataFrame(X, columns=["a", "b"]))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, model):
    """A working folder with the model, and folders for files."""
    monkeypatch.chdir(tmp_path)
    model.save("m")
    (tmp_path / "in").mkdir()
    return tmp_path


def rows(n=3, **more):
    return pa.table({"a": np.arange(n) / 4, "b": np.ones(n)} | more)


def csv_of(path, header, *lines):
    path.write_text("\n".join([header, *lines, ""]))


def refused(*arguments):
    result = run_command(*arguments)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    return result.stderr


def scored(*sources, output="o.parquet", **options):
    """Score these sources and return the kept columns of the output."""
    done("score", "m", *sources, "-o", output, *(item for pair in options.items() for item in pair))
    table = pyarrow.feather.read_table(output) if output.endswith("feather") else pyarrow.parquet.read_table(output)
    return table.drop_columns(["anomaly_score", "p_value", "is_anomaly"])


CELLS = ["00123", "12345678901234567890", "1e5", "TRUE", " 7", "2024-01-01", "1.10", "NA", "", 'x "y", z']


@pytest.mark.parametrize("n_cells", [len(CELLS), 1, 2, 4])
def test_kept_cells_of_csv_keep_their_text(folder, n_cells):
    cells = CELLS[:n_cells]
    quoted = ('"' + cell.replace('"', '""') + '"' if '"' in cell else cell for cell in cells)
    csv_of(folder / "z.csv", "acct,a,b", *(f"{cell},1,2" for cell in quoted))
    assert scored("z.csv")["acct"].to_pylist() == cells
    done("score", "m", "z.csv", "-o", "o.csv")
    read = pd.read_csv("o.csv", dtype={"acct": str}, keep_default_na=False)
    assert read["acct"].tolist() == cells


def test_a_later_cell_may_be_of_another_kind(folder, monkeypatch):
    monkeypatch.setattr(CsvTable, "_BLOCK", 1 << 12)
    refs = [*map(str, range(5000)), "X5000", ""]
    csv_of(folder / "z.csv", "ref,a,b", *(f"{ref},1,2" for ref in refs))
    assert scored("z.csv")["ref"].to_pylist() == refs


@pytest.mark.parametrize(
    ("zero", "one"), [("0", "1"), ("0.0", "1.0"), ("false", "true"), ("False", "TRUE"), (" 0", "01")]
)
@pytest.mark.parametrize("blank", ["", "NaN", "null"])
def test_labels_may_be_text_and_are_kept_as_they_are(folder, zero, one, blank):
    labels = [zero, one, blank, one]
    csv_of(folder / "z.csv", "label,a,b", *(f"{label},{i},2" for i, label in enumerate(labels)))
    summary = json.loads(done("score", "m", "z.csv", "-o", "o.parquet", "--label", "label", "--json"))
    assert (summary["unlabelled"], summary["quality"]["n_anomalies"], summary["quality"]["n_rows"]) == (1, 2, 3)
    assert pyarrow.parquet.read_table("o.parquet")["label"].to_pylist() == labels


def test_a_report_has_an_axis_of_time_and_cells_as_they_are(folder):
    lines = [f"00{i},2024-01-{i + 1:02d} 00:00:00,{i},2" for i in range(9)]
    csv_of(folder / "z.csv", "acct,at,a,b", *lines)
    done("report", "m", "z.csv", "-o", "r.html")
    page = (folder / "r.html").read_text()
    assert "in the order of time" in page
    assert "008" in page


def test_later_truth_values_with_other_words_are_levels_if_the_kind_is_set(folder, monkeypatch):
    monkeypatch.setattr(CsvTable, "_BLOCK", 1 << 12)
    flags = [*["true", "false"] * 1000, *["maybe"] * 9]
    csv_of(folder / "f.csv", "flag,a", *(f"{flag},{i % 7}" for i, flag in enumerate(flags)))
    done("fit", "f.csv", "-o", "f", "--epochs", 1, "--kind-of", "flag=categorical")
    assert aefast.load("f").columns_[0].levels == ("false", "true", "maybe")
    done("score", "f", "f.csv", "-o", "o.parquet")


def test_every_file_of_a_folder_keeps_its_own_types(folder):
    noon = [datetime.datetime(2024, 1, 1, 12)] * 3
    zoned = [at.replace(tzinfo=ZoneInfo("Asia/Tokyo")) for at in noon]
    write_table(rows(t=pa.array(noon, pa.timestamp("s")), note=pa.nulls(3)), folder / "in" / "1.parquet")
    second = rows(t=pa.array(zoned, pa.timestamp("s", "Asia/Tokyo")), note=["x", "y", "z"])
    write_table(second, folder / "in" / "2.parquet")
    done("score", "m", "in", "-o", "out")
    first, last = (pyarrow.parquet.read_table(folder / "out" / f"{i}.parquet") for i in (1, 2))
    assert first["t"].to_pylist() == noon
    assert last["t"].to_pylist() == zoned
    assert last["note"].to_pylist() == ["x", "y", "z"]


@pytest.mark.parametrize("order", ["nzx", "xnz", "zxn"])
def test_times_with_a_zone_and_without_are_not_put_into_one_column(folder, order):
    times = pa.array([0, 1, 2], pa.timestamp("s"))
    columns = {"n": times, "z": times.cast(pa.timestamp("s", "Asia/Tokyo")), "x": pa.array(["x", "y", "z"])}
    for index, name in enumerate(order, 1):
        write_table(rows(t=columns[name]), folder / "in" / f"{index}{name}.parquet")
    said = refused("score", "m", "in", "-o", "o.parquet")
    for part in ("column 't'", "n.parquet", "z.parquet", "--keep", "tz=Asia/Tokyo"):
        assert part in said
    assert scored("in", **{"--keep": "a"})["a"].to_pylist() == [0, 0.25, 0.5] * 3


def test_times_of_two_zones_stay_the_same_instants(folder):
    for name, zone in (("1", "Europe/Paris"), ("2", "Asia/Tokyo")):
        write_table(rows(t=pa.array([0, 1, 2], pa.timestamp("ms", zone))), folder / "in" / f"{name}.parquet")
    found = scored("in")["t"]
    assert found.type == pa.timestamp("ms", "UTC")
    assert found.cast(pa.int64()).to_pylist() == [0, 1, 2] * 2


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (pa.nulls(3), pa.array(["x", "y", None]), [None, None, None, "x", "y", None]),
        (pa.array([1, 2, 3], pa.int8()), pa.array([4, 5, 1 << 40]), [1, 2, 3, 4, 5, 1 << 40]),
        (pa.array([17, 18, None]), pa.array(["A17", "", "x"]), ["17", "18", None, "A17", "", "x"]),
        (pa.array([1, 2, 3]), pa.array([0.5, None, 1.0]), [1.0, 2.0, 3.0, 0.5, None, 1.0]),
        (pa.array([True, None, False]), pa.array([1, 2, 3]), ["true", None, "false", "1", "2", "3"]),
        (pa.array(["x", "y", "x"]).dictionary_encode(), pa.array(["z", "y", "x"]), ["x", "y", "x", "z", "y", "x"]),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("output", ["o.parquet", "o.feather"])
def test_a_single_output_has_a_type_that_holds_the_values_of_all_files(folder, one, other, both, backwards, output):
    parts = (other, one) if backwards else (one, other)
    for name, values in zip("12", parts, strict=True):
        write_table(rows(x=values), folder / "in" / f"{name}.parquet")
    assert scored("in", output=output)["x"].to_pylist() == (both[3:] + both[:3] if backwards else both)


def test_files_of_csv_and_their_headers_alone_become_one(folder):
    csv_of(folder / "in" / "0.csv", "ref,a,b")
    csv_of(folder / "in" / "1.csv", "ref,a,b", "17,1,2")
    csv_of(folder / "in" / "2.csv", "ref,a,b", "A17,1,2")
    for output in ("o.parquet", "o.feather"):
        assert scored("in", output=output)["ref"].to_pylist() == ["17", "A17"]


def test_a_file_of_pandas_without_rows_may_be_the_first(folder):
    frame = pd.DataFrame({"id": ["x", "y"], "a": [1.0, 2.0], "b": [3.0, 4.0]}).astype({"id": object})
    frame[:0].to_parquet(folder / "in" / "1.parquet")
    frame.to_parquet(folder / "in" / "2.parquet")
    assert scored("in")["id"].to_pylist() == ["x", "y"]


def test_values_that_the_common_type_does_not_hold_are_refused_with_both_files(folder):
    write_table(rows(x=[0.5, None, 1.0]), folder / "in" / "1.parquet")
    write_table(rows(x=[(1 << 60) + 1, 2, 3]), folder / "in" / "2.parquet")
    said = refused("score", "m", "in", "-o", "o.parquet")
    for part in ("column 'x' is int64", "double", "1.parquet", "2.parquet", "--keep"):
        assert part in said
    done("score", "m", "in", "-o", "out")


def test_batches_do_not_lose_their_zone(model):
    naive, zoned = (
        pa.record_batch({"a": [1.0], "b": [2.0], "t": pa.array([0], pa.timestamp("s", zone))})
        for zone in (None, "Asia/Tokyo")
    )
    for pair in ((naive, zoned), (zoned, naive)):
        with pytest.raises(AefastError, match="column 't' is timestamp.*one has a time zone and the other none"):
            list(aefast.Scorer(model, keep=["t"]).score(pair))


def test_lists_and_numbers_are_of_no_common_type(folder):
    write_table(rows(x=[[1], [2], [3]]), folder / "in" / "1.parquet")
    write_table(rows(x=[1, 2, 3]), folder / "in" / "2.parquet")
    said = refused("score", "m", "in", "-o", "o.parquet")
    assert "column 'x' is list<element: int64> in in/1.parquet and int64 in in/2.parquet" in said


@pytest.mark.parametrize("output", ["o.parquet", "o.csv"])
def test_text_that_is_not_utf_8_is_reported_for_the_input(folder, output):
    (folder / "lat.csv").write_bytes(b"note,a,b\nok,1,2\nZ\xfc\x81rich,1,2\n")
    said = refused("score", "m", "lat.csv", "-o", output)
    assert "lat.csv, row 1 (the first is row 0), column 'note', cannot be read: it is not UTF-8; give" in said
    done("score", "m", "lat.csv", "-o", output, "--keep", "a")
