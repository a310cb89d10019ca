"""Files with columns of several kinds: learned, scored and reported as the tables they hold."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import aefast
from aefast.tables import Source
from aefast.training_rows import TableBlocks, read_table
from small_tables import run_command, write_table
from test_columns import OF_KINDS, plain, traffic

FIT = ("fit", "--exclude", "id", "--layers", "16,4", "--epochs", "5")


@pytest.fixture(scope="module")
def table():
    frame = traffic(1500)
    frame.insert(0, "id", np.arange(1500))
    return pa.Table.from_pandas(frame.astype({"port": object}), preserve_index=False)


@pytest.fixture
def folder(tmp_path, monkeypatch, table):
    """A working folder with the table in three formats."""
    monkeypatch.chdir(tmp_path)
    for ending in (".parquet", ".csv", ".feather"):
        write_table(table, tmp_path / f"t{ending}")
    return tmp_path


def done(*arguments):
    result = run_command(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def refused(*arguments):
    result = run_command(*arguments)
    assert result.exit_code in (1, 2)
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".feather"])
def test_models_of_files_are_those_of_the_tables_in_them(folder, table, ending):
    port = ("--kind-of", "port=categorical")
    told = done(*FIT, f"t{ending}", "-o", "m.safetensors", *port)
    assert "categorical" in told
    assert "proto (3 levels), port (5 levels), flag (2 levels)" in " ".join(told.split())
    model = aefast.load("m.safetensors")
    assert model.feature_names_in_.tolist() == OF_KINDS
    features = table.select(OF_KINDS)
    options = {"encoder_layer_sizes": (16, 4), "max_epochs": 5, "random_state": 0}
    wanted = aefast.Autoencoder(**options, column_kinds={"port": "categorical"}).fit(features)
    assert model.columns_ == wanted.columns_
    np.testing.assert_allclose(model.score_samples(features), wanted.score_samples(features), rtol=1e-3, atol=1e-5)
    done("score", "m.safetensors", f"t{ending}", "-o", "s.parquet", "--batch-rows", 400)
    scored = pyarrow.parquet.read_table("s.parquet")
    assert scored["id"].to_pylist() == list(range(1500))
    np.testing.assert_array_equal(scored["anomaly_score"], model.reconstruction_error(features).astype(float))


def test_reasons_are_columns_with_values_as_text(folder, table):
    done(*FIT, "t.parquet", "-o", "m.safetensors")
    odd = plain(table.slice(0, 20).to_pandas())
    odd.loc[3, "proto"] = "gre"
    write_table(pa.Table.from_pandas(odd, preserve_index=False), folder / "o.parquet")
    done("score", "m.safetensors", "o.parquet", "-o", "s.parquet", "--top-features", 2)
    reasons = pyarrow.parquet.read_table("s.parquet")["top_features"].to_pylist()
    assert [len(row) for row in reasons] == [2] * 20
    first = reasons[3][0]
    assert (first["feature"], first["value"]) == ("proto", "gre")
    assert first["expected"] in ("tcp", "udp", "icmp")
    wanted = aefast.load("m.safetensors").explain(odd[OF_KINDS], top=2)
    assert [reason["feature"] for row in reasons for reason in row] == wanted["feature"].tolist()
    np.testing.assert_allclose([reason["share"] for row in reasons for reason in row], wanted["share"])
    done("score", "m.safetensors", "o.parquet", "-o", "s.csv", "--top-features", 1)
    assert "proto=gre (expected " in (folder / "s.csv").read_text()
    done("report", "m.safetensors", "o.parquet", "-o", "r.html")
    page = (folder / "r.html").read_text()
    assert "proto = gre" in page


def test_sampled_and_streamed_rows_are_learned(folder):
    for options, how, rows in ((("--sample", 400), "sampled", 400), (("--stream",), "streamed", 1500)):
        summary = json.loads(done(*FIT, "t.csv", "-o", "m.safetensors", *options, "--json"))
        assert (summary["how"], summary["rows"], summary["rows_there"]) == (how, rows, 1500)
        assert summary["kinds"]["proto"] == "categorical"
        assert summary["kinds"]["when"] == "timestamp"
        model = aefast.load("m.safetensors")
        assert sum(model.columns_[0].counts) == rows
        assert json.loads(done("info", "m.safetensors", "--json"))["kinds"] == summary["kinds"]


def test_files_in_several_types_are_one_table(folder, table):
    (folder / "parts").mkdir()
    first, second = table.slice(0, 700), table.slice(700)
    write_table(first, folder / "parts" / "1.parquet")
    proto = second["proto"].combine_chunks().dictionary_encode()
    write_table(second.set_column(1, "proto", proto), folder / "parts" / "2.parquet")
    done(*FIT, "t.parquet", "-o", "whole.safetensors")
    done(*FIT, "parts", "-o", "parts.safetensors")
    whole, parts = aefast.load("whole.safetensors"), aefast.load("parts.safetensors")
    assert whole.columns_ == parts.columns_
    np.testing.assert_array_equal(whole.coefs_[0], parts.coefs_[0])


def test_wrong_uses_are_answered_in_one_line(folder, table):
    odd = table.append_column("nested", pa.array([[1]] * 1500)).append_column("raw", pa.array([b"x"] * 1500))
    write_table(odd, folder / "odd.parquet")
    said = refused(*FIT, "odd.parquet", "-o", "m.safetensors")
    assert "'nested' is list" in said
    assert "--exclude nested,raw" in said
    assert "lacks column 'gate'" in refused(*FIT, "t.csv", "-o", "m.safetensors", "--kind-of", "gate=numeric")
    kinds = "--kind-of must be COLUMN=KIND with a kind of numeric, categorical, timestamp, got 'port=text'"
    assert kinds in refused(*FIT, "t.csv", "-o", "m.safetensors", "--kind-of", "port=text")
    np.save(folder / "x.npy", np.zeros((9, 2)))
    assert "named columns" in refused("fit", "x.npy", "-o", "m.safetensors", "--kind-of", "a=numeric")

    done(*FIT, "t.parquet", "-o", "m.safetensors")
    holes = table.set_column(3, "size", pa.array([1.0] * 900 + [None] * 600))
    write_table(holes, folder / "holes.parquet")
    said = refused(*FIT, "holes.parquet", "-o", "n.safetensors")
    assert "holes.parquet, row 900 (the first is row 0), column 'size': missing or infinite" in said
    said = refused("score", "m.safetensors", "holes.parquet", "-o", "s.parquet")
    assert "holes.parquet, row 900 (the first is row 0), column 'size': missing or infinite" in " ".join(
        said.replace(str(folder) + "/", "").split()
    )
    write_table(table.set_column(3, "size", pa.array(["big"] * 1500)), folder / "text.parquet")
    assert "column 'size' does not hold numbers" in refused("score", "m.safetensors", "text.parquet", "-o", "s.parquet")
    assert not (folder / "s.parquet").exists()


def test_several_kinds_are_sampled_by_the_seed_and_streamed_where_they_do_not_fit(folder, table, monkeypatch):
    def learned(*options):
        summary = json.loads(done(*FIT, "t.parquet", "-o", "m.safetensors", "--json", *options))
        return summary["how"], summary["rows"], aefast.load("m.safetensors")

    (how, n_rows, model), (_, _, again) = (learned("--sample", 200) for _ in range(2))
    assert (how, n_rows) == ("sampled", 200)
    np.testing.assert_array_equal(model.coefs_[0], again.coefs_[0])
    assert not np.array_equal(model.coefs_[0], learned("--sample", 200, "--seed", 1)[2].coefs_[0])
    monkeypatch.setattr("aefast.training_rows.available_memory", lambda: 1500 * len(OF_KINDS) * 8 * 2)
    assert learned()[:2] == ("in memory", 1500)
    monkeypatch.setattr("aefast.training_rows.available_memory", lambda: 1500 * len(OF_KINDS) * 8 * 2 - 1)
    assert learned()[:2] == ("streamed", 1500)
    assert learned("--no-stream")[:2] == ("in memory", 1500)


@pytest.mark.parametrize("sample", [None, 40])
def test_a_sample_of_a_table_is_rows_of_it_in_their_order(folder, table, sample):
    blocks = TableBlocks(Source(["t.parquet"]), ["id", *OF_KINDS], ["id"], lambda X, first_row: None)
    chosen = read_table(blocks, sample, 3)
    numbers = chosen["id"].to_numpy()
    assert len(numbers) == (sample or 1500)
    assert (np.diff(numbers) > 0).all()
    assert chosen.to_pylist() == table.take(pa.array(numbers)).select(chosen.column_names).to_pylist()
