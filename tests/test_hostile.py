"""Hostile files, made from fixed seeds, are refused with a message or read correctly."""

import json
import random
import struct
import tracemalloc
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

import aefast
import hostile
import hostile_progress
import hostile_tables
from aefast import ModelFileError
from aefast.columns.values import cells
from aefast.model.network import checked_network
from small_tables import run_command, small_model, small_table, write_table


@pytest.fixture(scope="module")
def models():
    return hostile.model_seeds()


@pytest.mark.parametrize("which", range(12))
def test_a_forged_model_works_or_is_refused(models, which):
    assert hostile.check_model(models[which])
    accepted = sum(hostile.check_model(hostile.forged(models[which], random.Random(seed))) for seed in range(25))
    # Some changed files load, so the code after the first check is reached too.
    assert 0 < accepted < 25


def test_a_model_file_takes_memory_in_proportion_to_its_size(models):
    """Forged counts are compared with the size of the file before memory is allocated."""
    contents = [hostile.forged(content, random.Random(seed)) for content in models for seed in range(8)]
    for content in contents:
        tracemalloc.start()
        try:
            aefast.load(content)
        except ModelFileError:
            pass
        finally:
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert most < 1_000_000 + 50 * len(content)


def test_a_model_that_contradicts_itself_or_asks_for_a_machine_of_its_own_is_refused(models):
    header, data = hostile.split(models[8])
    model = json.loads(header["__metadata__"]["model"])
    network = deepcopy(model["network"])
    model["parameters"]["n_threads"] = 10**6
    header["__metadata__"]["model"] = json.dumps(model)
    with pytest.raises(ModelFileError, match="'n_threads' parameter .* range .1, 1024.*Got 1000000"):
        aefast.load(hostile.joined(header, data))

    header, data = hostile.split(models[-1])
    model = json.loads(header["__metadata__"]["model"])
    model["feature_names"][0] = "other"
    header["__metadata__"]["model"] = json.dumps(model)
    with pytest.raises(ModelFileError, match="feature_names must be the names of the columns"):
        aefast.load(hostile.joined(header, data))

    first = network["layers"][0]
    first.update(channels=1 << 23, units=16 << 23)
    with pytest.raises(ValueError, match="134217728 is not an integer from 1 to 1048576"):
        checked_network(network)


@pytest.mark.filterwarnings("ignore:.*(cells than columns|no separator)")
@pytest.mark.parametrize("which", range(len(hostile_tables.ENDINGS)), ids=hostile_tables.ENDINGS)
def test_the_command_ends_a_changed_table_in_one_line(which, tmp_path):
    seed = hostile_tables.table_seeds(tmp_path)[which]
    assert hostile_tables.check_table(seed, tmp_path) == 0
    contents = [hostile_tables.changed_table(seed, random.Random(n)) for n in range(14)]
    contents = [hostile_tables.for_command(content, n % hostile_tables.N_QUICK) for n, content in enumerate(contents)]
    assert {1, 2} & {hostile_tables.check_table(content, tmp_path) for content in contents}


@pytest.mark.filterwarnings("ignore:.*(cells than columns|no separator)")
@pytest.mark.parametrize("command", range(len(hostile_tables.COMMANDS)))
def test_every_command_handles_unusual_columns_with_one_line_at_most(command, tmp_path):
    for seed in range(3 if hostile_tables.COMMANDS[command][0] == "report" else 8):
        content = hostile_tables.strange_file(random.Random(100 * command + seed), tmp_path)
        hostile_tables.check_table(hostile_tables.for_command(content, command), tmp_path)


def test_times_that_python_has_none_for_are_shown_as_text(tmp_path):
    beyond = np.array([0, 1 << 61] * 45)
    table = hostile_tables.mixed_table()
    for name, times in {
        "when": pa.array(beyond).view(pa.timestamp("s")),
        "day": pa.array(np.array([0, 1 << 30] * 45, np.int32)).view(pa.date32()),
        "flag": pa.array(beyond).view(pa.timestamp("us", "Nowhere/At_all")).dictionary_encode(),
    }.items():
        table = table.set_column(table.column_names.index(name), name, times)
    assert cells(table["when"].chunk(0))[1] == "<value out of range: 2305843009213693952>"
    for command, rows in (("score", table.drop_columns("day")), ("report", table)):
        which = [words[:2] for words in hostile_tables.COMMANDS].index((command, "MIXED"))
        content = hostile_tables.of_table(rows, ".feather", which, tmp_path)
        assert hostile_tables.check_table(content, tmp_path) == 0


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_column_that_an_output_cannot_hold_is_named(ending, tmp_path):
    values = [{"a": 1}] * 90 if ending == ".csv" else None
    column = pa.array(values) if values else pa.RunEndEncodedArray.from_arrays([90], pa.array([1.0]))
    write_table(small_table(90).append_column("parts", column), tmp_path / "rows.feather")
    small_model().save(tmp_path / "model")
    result = run_command("score", tmp_path / "model", tmp_path / "rows.feather", "-o", tmp_path / f"out{ending}")
    assert result.exit_code == 1
    assert f"out{ending} cannot hold column 'parts' (" in result.stderr
    assert (
        run_command(
            "score", tmp_path / "model", tmp_path / "rows.feather", "-o", tmp_path / f"out{ending}", "--keep", "id"
        ).exit_code
        == 0
    )


def test_text_of_an_arrow_file_that_points_beyond_it_is_refused(tmp_path):
    """Arrow maps such files without checks and would follow their offsets anywhere."""
    table = pa.table({name: np.linspace(0, 1, 20) for name in "abcd"} | {"name": [f"row {i}" for i in range(20)]})
    path = tmp_path / "rows.arrow"
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    offsets = np.array([len(f"row {i}") for i in range(20)]).cumsum()[:3].astype(np.int32).tobytes()
    content = path.read_bytes()
    assert content.count(offsets) == 1
    path.write_bytes(content.replace(offsets, struct.pack("<3i", 5, 1 << 30, 15)))
    small_model().save(tmp_path / "model")
    result = run_command("score", tmp_path / "model", path, "-o", tmp_path / "scores.parquet")
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr
    assert not (tmp_path / "scores.parquet").exists()


@pytest.mark.parametrize("ending", [".parquet", ".feather", ".csv"])
def test_text_that_is_not_utf_8_is_refused_by_file(ending, tmp_path):
    """Parquet files may declare any bytes as text."""
    table = small_table(90)
    name = pa.array([b"a", b"\xff\xfe", b"b"] * 30)
    path = tmp_path / f"rows{ending}"
    small_model().save(tmp_path / "model")
    for in_name in (False, True):
        if ending == ".csv":
            path.write_bytes(b"a,b,c,d,\xff\x81\n1,2,3,4,x\n")
        elif not in_name:
            write_table(table.set_column(1, "name", name.view(pa.string())), path)
        else:
            content = write_table(table.rename_columns(["id", "eman", *table.column_names[2:]]), path).read_bytes()
            path.write_bytes(content.replace(b"eman", b"\xff\xff\xff\xff"))
        result = run_command("score", tmp_path / "model", path, "-o", tmp_path / "out.parquet")
        assert result.exit_code == 1
        assert f"rows{ending} cannot be read" in result.stderr
        assert "UTF" in result.stderr


def test_an_array_for_a_model_of_named_columns_is_refused_by_name(tmp_path):
    hostile_tables.mixed_model().save(tmp_path / "model")
    for width in (7, 13):
        np.save(tmp_path / "rows.npy", np.zeros((9, width)))
        result = run_command("score", tmp_path / "model", tmp_path / "rows.npy", "-o", tmp_path / "out.npy")
        assert result.exit_code == 1
        assert "rows.npy has no named columns, but the model needs names" in result.stderr


def test_a_header_that_python_cannot_split_into_tokens_is_refused(tmp_path):
    """NumPy passes some headers to Python's tokenizer, which raises errors of other types."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4L), "
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    assert hostile_tables.check_table(bytes([4]) + content, tmp_path) == 1


@pytest.mark.parametrize("which", range(len(hostile_progress.KINDS)), ids=[k.decode() for k in hostile_progress.KINDS])
def test_progress_that_was_tampered_with_is_gone_on_from_or_refused_by_name(which, tmp_path):
    seed = hostile_progress.seeds(tmp_path)[which]
    assert hostile_progress.check(seed, tmp_path)
    contents = [hostile_progress.changed(seed, random.Random(n)) for n in range(40)]
    assert {hostile_progress.check(content, tmp_path) for content in contents} == {False, True}


def test_results_that_are_not_finite_are_refused_for_a_forged_model(models):
    """Weights may be as large as numbers get; every method then says so instead of returning NaN."""
    model = aefast.load(models[0])
    X = hostile.rows_for(model.model_)
    weights = [np.full_like(each, 1e37) for each in model.coefs_]
    model.model_ = model.model_.with_weights(weights, model.intercepts_)
    for method in (model.transform, model.feature_errors, model.explain, model.reconstruction_error):
        with pytest.raises(ValueError, match="of row 0 is .*: the network's weights or outputs are too large"):
            method(X)
    for which in (0, 3):  # the second takes several passes over the rows, because means stand for missing values
        large = aefast.load(models[which])
        scaling = replace(large.model_.scaling, scale=np.full(16, 1e300))
        large.model_ = large.model_.replace(scaling=scaling)
        assert np.isfinite(large.reconstruction_error(X)).all()
        for method in (large.reconstruct, large.explain):
            with pytest.raises(ValueError, match="the reconstruction of column 'x.*' does not fit into float32: use"):
                method(X)


def test_parameters_of_a_file_do_not_describe_a_network_that_its_size_does_not_explain(models):
    """Fitting the loaded estimator again would ask for 128 GiB."""
    header, data = hostile.split(models[0])
    model = json.loads(header["__metadata__"]["model"])
    for size, is_refused in (((1 << 31) - 1, True), (10_000, False)):
        model["parameters"]["encoder_layer_sizes"] = {"tuple": [size]}
        header["__metadata__"]["model"] = json.dumps(model)
        content = hostile.joined(header, data)
        if is_refused:
            with pytest.raises(ModelFileError, match="describe a network of .* weights; for the .* of its own"):
                aefast.load(content)
        else:
            assert aefast.load(content).encoder_layer_sizes == (size,)
