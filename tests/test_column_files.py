"""Files with columns of several kinds train, score and report like the tables in them."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

import aefast
from aefast.jobs.training_rows import TableBlocks
from aefast.tables.source import Source
from small_tables import done, run_command, write_table
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
    assert scored["id"].to_pylist() == [str(i) if ending == ".csv" else i for i in range(1500)]
    np.testing.assert_array_equal(scored["anomaly_score"], model.reconstruction_error(features).astype(float))


def test_reasons_are_columns_with_values_as_text(folder, table):
    done(*FIT, "t.parquet", "-o", "m.safetensors")
    odd = plain(table.slice(0, 20).to_pandas())
    odd.loc[3, "proto"] = "gre"
    write_table(pa.Table.from_pandas(odd, preserve_index=False), folder / "o.parquet")
    done("score", "m.safetensors", "o.parquet", "-o", "s.parquet", "--top-features", 2)
    reasons = pyarrow.parquet.read_table("s.parquet")["top_features"].to_pylist()
    assert {len(row) for row in reasons} <= {1, 2}  # a value that was expected is no reason
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
    said = refused(*FIT, "holes.parquet", "-o", "n.safetensors", "--missing", "error")
    assert "missing or infinite values: 600 values are not finite, the first (nan) in holes.parquet, row 900" in said
    said = refused("score", "m.safetensors", "holes.parquet", "-o", "s.parquet")
    assert (
        "the first (nan) in holes.parquet, row 900 (the first is row 0), column 'size'; fill or drop such rows"
        in " ".join(said.replace(str(folder) + "/", "").split())
    )
    assert "or fit a model with --missing mask or mean" in " ".join(said.split())
    write_table(table.set_column(3, "size", pa.array([*[1.0] * 1499, float("inf")])), folder / "far.parquet")
    for command in ((*FIT, "far.parquet", "-o", "n"), ("score", "m.safetensors", "far.parquet", "-o", "s.parquet")):
        said = " ".join(refused(*command).split())
        assert "(inf) in far.parquet, row 1499" in said
        assert "--on-bad" in said
        assert "--missing" not in said
    write_table(table.set_column(3, "size", pa.array(["big"] * 1500)), folder / "text.parquet")
    assert "column 'size' does not hold numbers" in refused("score", "m.safetensors", "text.parquet", "-o", "s.parquet")
    assert not (folder / "s.parquet").exists()


def test_several_kinds_are_sampled_by_the_seed_or_streamed_if_they_do_not_fit(folder, table, monkeypatch):
    def learned(*options):
        summary = json.loads(done(*FIT, "t.parquet", "-o", "m.safetensors", "--json", *options))
        return summary["how"], summary["rows"], aefast.load("m.safetensors")

    (how, n_rows, model), (_, _, again) = (learned("--sample", 200) for _ in range(2))
    assert (how, n_rows) == ("sampled", 200)
    np.testing.assert_array_equal(model.coefs_[0], again.coefs_[0])
    assert not np.array_equal(model.coefs_[0], learned("--sample", 200, "--seed", 1)[2].coefs_[0])
    monkeypatch.setattr("aefast.jobs.training_rows.available_memory", lambda: 1500 * len(OF_KINDS) * 8 * 2)
    assert learned()[:2] == ("in memory", 1500)
    monkeypatch.setattr("aefast.jobs.training_rows.available_memory", lambda: 1500 * len(OF_KINDS) * 8 * 2 - 1)
    assert learned()[:2] == ("streamed", 1500)
    assert learned("--no-stream")[:2] == ("in memory", 1500)


@pytest.mark.parametrize("sample", [None, 40])
def test_a_sample_of_a_table_is_rows_of_it_in_their_order(folder, table, sample):
    blocks = TableBlocks(Source(["t.parquet"]), ["id", *OF_KINDS], ["id"], lambda X, first_row: None)
    chosen = blocks.read() if sample is None else blocks.sample(sample, 3)
    numbers = chosen["id"].to_numpy()
    assert len(numbers) == (sample or 1500)
    assert (np.diff(numbers) > 0).all()
    assert chosen.to_pylist() == table.take(pa.array(numbers)).select(chosen.column_names).to_pylist()


def coded(n_rows=600, seed=0):
    """Codes with leading zeros, truth, whole numbers and times, with a number that goes along."""
    rng = np.random.default_rng(seed)
    code = rng.integers(0, 7, size=n_rows)
    return pd.DataFrame(
        {
            "code": [f"{c:03d}" for c in code],
            "a": code + 0.1 * rng.normal(size=n_rows),
            "flag": code > 3,
            "k": code % 3,
            "when": pd.Timestamp("2024-03-04") + pd.to_timedelta(rng.integers(0, 10_000, n_rows), unit="min"),
        }
    )


def write_frame(frame, path):
    if path.endswith(".csv"):
        frame.to_csv(path, index=False)
    else:
        pyarrow.parquet.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
    return path


def scores(model, path):
    done("score", model, path, "-o", "s.parquet", "--keep", "a")
    return pyarrow.parquet.read_table("s.parquet")["anomaly_score"].to_numpy()


def test_levels_that_look_like_numbers_are_the_same_from_text_files(folder):
    for ending in (".csv", ".parquet"):
        write_frame(coded(), f"c{ending}")
        done("fit", f"c{ending}", "-o", f"m{ending}", "--kind-of", "code=categorical,k=categorical", "--epochs", 3)
        assert set(aefast.load(f"m{ending}").columns_[0].levels) == {f"{c:03d}" for c in range(7)}
    for model in ("m.csv", "m.parquet"):
        np.testing.assert_array_equal(scores(model, "c.csv"), scores(model, "c.parquet"))
    done("recalibrate", "m.parquet", "c.csv", "-o", "again", "--contamination", "0.1")
    assert (
        aefast.load("again").threshold_
        == np.sort(found := scores("m.parquet", "c.csv"))[int(np.ceil(0.9 * (len(found) + 1))) - 1]
    )
    done("report", "m.parquet", "c.csv", "-o", "r.html")
    done("score", "m.parquet", "c.csv", "-o", "s.csv", "--keep", "code")
    assert pd.read_csv("s.csv", dtype={"code": str})["code"].tolist() == coded()["code"].tolist()


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_truth_and_whole_numbers_are_the_same_however_they_are_written(folder, ending):
    frame = coded()
    done("fit", write_frame(frame, "c.parquet"), "-o", "m", "--epochs", 3, "--kind-of", "k=categorical")
    wanted = scores("m", "c.parquet")
    truth = frame["flag"]
    words = [truth.map({True: yes, False: no}) for yes, no in (("true", "FALSE"), ("yes", "no"), ("T", "F"))]
    for flag in (truth.astype(int), truth.astype(float), *words):
        path = write_frame(frame.assign(flag=flag, k=frame["k"].astype(float)), f"o{ending}")
        np.testing.assert_array_equal(scores("m", path), wanted)
    other = scores("m", write_frame(frame.assign(flag="maybe"), f"o{ending}"))
    assert (other > wanted).all()


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_numbers_are_refused_if_the_column_held_text(folder, ending):
    table = traffic(300)[["proto", "size"]]
    done("fit", write_frame(table, "t.parquet"), "-o", "m", "--epochs", 1)
    said = " ".join(refused("score", "m", write_frame(table.assign(proto=1.5), f"n{ending}"), "-o", "s.csv").split())
    assert f"n{ending}" in said
    # The levels are the text, although the first rows look like truth values or numbers.
    words = pd.DataFrame({"word": ["true", "1.50", "x"] * 100, "a": table["size"]})
    done("fit", write_frame(words, "w.parquet"), "-o", "w", "--epochs", 1)
    for word in ("true", "1.50"):
        alike = words.assign(word=word)
        found = [scores("w", write_frame(alike, f"n{each}")) for each in (".csv", ".parquet")]
        np.testing.assert_array_equal(*found)
    assert "column 'proto' holds numbers (its type is double), which none of its levels in training is" in said


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("column", ["code", "flag", "when"])
def test_missing_cells_of_any_kind_are_refused_by_file_and_row(folder, column, ending):
    frame = coded()
    holes = frame.astype({"flag": object})
    holes.loc[[77, 90], column] = None
    write_frame(holes, f"h{ending}")
    kinds = ("--kind-of", "code=categorical", "--epochs", 2)
    for stream in ("--stream", "--no-stream"):
        printed = done("fit", f"h{ending}", "-o", "m", stream, *kinds)
        assert f"missing       {column} (" in printed
        assert "ignored (--missing mask)" in printed
        done("score", "m", f"h{ending}", "-o", "s.csv")
    kinds += ("--missing", "error")
    for stream in ("--stream", "--no-stream"):
        said = " ".join(refused("fit", f"h{ending}", "-o", "m", stream, *kinds).split())
        assert f"h{ending}, row 77 (the first is row 0), column '{column}'; give --on-bad skip" in said
    done("fit", write_frame(frame, "c.parquet"), "-o", "m", *kinds)
    said = " ".join(refused("score", "m", f"h{ending}", "-o", "s.csv").split())
    assert f"h{ending}, row 77 (the first is row 0), column '{column}'; fill or drop such rows" in said
    assert "rows 0 to 599 have missing or infinite values: 2 values are not finite, the first (nan) in" in said


@pytest.mark.parametrize("missing", ["mask", "mean"])
def test_an_empty_cell_is_the_null_of_other_formats(folder, missing):
    frame = coded().astype({"flag": object})
    frame.loc[::5, "code"] = frame.loc[1::5, "flag"] = frame.loc[2::5, "a"] = None
    for ending in (".csv", ".parquet"):
        write_frame(frame, f"h{ending}")
    for ending in (".csv", ".parquet"):
        done("fit", f"h{ending}", "-o", "m", "--missing", missing, "--epochs", 2, "--kind-of", "code=categorical")
        np.testing.assert_array_equal(scores("m", "h.csv"), scores("m", "h.parquet"))
        assert None in aefast.load("m").columns_[0].levels


def test_text_outside_the_model_is_kept_as_it_is(folder):
    frame = coded()[["code", "a"]].assign(note="")
    done("fit", write_frame(frame, "c.csv"), "-o", "m", "--exclude", "note", "--epochs", 1)
    done("score", "m", write_frame(frame.assign(note=["NA", ""] * 300), "c.csv"), "-o", "s.parquet")
    assert pyarrow.parquet.read_table("s.parquet")["note"].to_pylist() == ["NA", ""] * 300


def test_times_are_numbers_if_the_kind_is_set(folder):
    for ending in (".csv", ".parquet"):
        write_frame(coded(), f"c{ending}")
        done("fit", f"c{ending}", "-o", "m", "--kind-of", "k=categorical,when=numeric", "--exclude", "code")
        kinds = {column.name: column.kind for column in aefast.load("m").columns_}
        assert (kinds["when"], kinds["k"]) == ("numeric", "categorical")
        assert np.isfinite(scores("m", f"c{ending}")).all()


def test_names_of_rows_are_refused_and_numbers_with_a_bad_cell_too(folder):
    frame = coded().assign(host=[f"h{i}" for i in range(600)])
    path = write_frame(frame, "c.csv")
    said = " ".join(refused("fit", path, "-o", "m", "--columns", ",".join(frame.columns)).split())
    assert "column 'host' is text of 600 values that nearly all differ, like 'h0'" in said
    assert "--exclude host" in said
    bad = coded().astype({"a": object})
    bad.loc[3, "a"] = "n.a."
    said = " ".join(refused("fit", write_frame(bad, "c.csv"), "-o", "m", "--missing", "error").split())
    assert "1 value is not finite, the first (nan) in c.csv, row 3" in said


@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
def test_string_views_are_read_and_kept(folder, ending):
    if not hasattr(pa, "string_view"):
        pytest.skip("this Arrow has no such type")
    table = pa.Table.from_pandas(coded().drop(columns="when"), preserve_index=False)
    view = table["code"].combine_chunks().cast(pa.string_view())
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1] * 300, pa.uint32()), pa.array(["x", "y"], pa.string_view()))
    views = table.set_column(0, "code", view).append_column("word", words).append_column("name", view)
    if ending == ".parquet":  # which has views of text, but not in dictionaries
        views = views.set_column(4, "word", pa.array(["x", "y"] * 300, pa.string_view()))
        pyarrow.parquet.write_table(views, "v.parquet")
    else:
        with pa.ipc.new_file("v.arrow", views.schema) as writer:
            writer.write_table(views)
    done("fit", f"v{ending}", "-o", "m", "--exclude", "name", "--epochs", 2, "--sample", 500)
    wanted = aefast.load("m").reconstruction_error(views.select(["code", "a", "flag", "k", "word"]))
    np.testing.assert_array_equal(scores("m", f"v{ending}"), wanted)
    done("score", "m", f"v{ending}", "-o", "s.csv", "--keep", "name,word", "--top-features", 1)
    assert pd.read_csv("s.csv", dtype=str)["name"].tolist() == table["code"].to_pylist()
    scorer = aefast.Scorer("m", keep=["name", "word"], top_features=2)
    (scored,) = scorer.score(views.to_batches())
    assert scored["name"].to_pylist() == table["code"].to_pylist()
    assert scored["word"].to_pylist() == ["x", "y"] * 300


def test_times_with_offsets_are_the_same_in_every_format(folder):
    texts = [f"2024-03-{1 + i % 9:02d}T{i % 24:02d}:04:05.123{'Z' if i % 2 else '+02:00'}" for i in range(600)]
    frame = coded()[["a"]].assign(ts=texts)
    for ending in (".csv", ".parquet"):
        write_frame(frame, f"z{ending}")
    for ending in (".csv", ".parquet"):
        done("fit", f"z{ending}", "-o", "m", "--epochs", 2, "--kind-of", "ts=timestamp")
        np.testing.assert_array_equal(scores("m", "z.csv"), scores("m", "z.parquet"))


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_numbers_are_refused_if_the_column_held_times(folder, ending):
    frame = coded()[["a", "when"]]
    done("fit", write_frame(frame, f"t{ending}"), "-o", "m", "--epochs", 1)
    seconds = frame["when"].astype("datetime64[s]").astype("int64")
    said = refused("score", "m", write_frame(frame.assign(when=seconds), f"n{ending}"), "-o", "s.csv")
    assert f"n{ending}, row 0 and the 599 after it" in said
    assert "column 'when' does not hold times (its type is int64)" in said
    assert "unit='s'" in said
