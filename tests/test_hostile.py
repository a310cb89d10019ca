"""Files that nobody meant well with, drawn from fixed seeds: refused in words, or read; never anything else."""

import json
import random
import struct
import tracemalloc
from copy import deepcopy

import numpy as np
import pyarrow as pa
import pytest

import aefast
import hostile
from aefast import ModelFileError
from aefast.network_checks import checked_network
from small_tables import run_command, small_model


@pytest.fixture(scope="module")
def models():
    return hostile.model_seeds()


@pytest.mark.parametrize("which", range(12))
def test_a_forged_model_works_or_is_refused(models, which):
    assert hostile.check_model(models[which])
    accepted = sum(hostile.check_model(hostile.forged_model(models[which], random.Random(seed))) for seed in range(25))
    # Both happen, so that what comes after the first check is reached too.
    assert 0 < accepted < 25


def test_a_model_file_takes_memory_in_proportion_to_its_size(models):
    """Forged counts, however large, are held against the file before anything is made for them."""
    contents = [hostile.forged_model(content, random.Random(seed)) for content in models for seed in range(8)]
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


def test_a_model_that_asks_for_a_machine_of_its_own_is_refused(models):
    header, data = hostile.split(models[8])
    model = json.loads(header["__metadata__"]["model"])
    network = deepcopy(model["network"])
    model["parameters"]["n_threads"] = 10**6
    header["__metadata__"]["model"] = json.dumps(model)
    with pytest.raises(ModelFileError, match="n_threads=1000000 is more than 1024"):
        aefast.load(hostile.joined(header, data))

    first = network["layers"][0]
    first.update(channels=1 << 21, units=16 << 21)
    with pytest.raises(ValueError, match="33554432 is not an integer"):
        checked_network(network)


@pytest.mark.parametrize("which", range(len(hostile.ENDINGS)), ids=hostile.ENDINGS)
def test_the_command_ends_a_changed_table_in_one_line(which, tmp_path):
    seed = hostile.table_seeds(tmp_path)[which]
    assert hostile.check_table(seed, tmp_path) == 0
    codes = [hostile.check_table(hostile.changed_table(seed, random.Random(n)), tmp_path) for n in range(15)]
    assert 1 in codes


def test_text_of_an_arrow_file_that_points_beyond_it_is_refused(tmp_path):
    """Arrow maps such a file as it is, and would read wherever its offsets point."""
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


def test_a_header_that_python_cannot_split_into_tokens_is_refused(tmp_path):
    """NumPy gives some headers to Python's tokenizer, whose errors are of a kind of their own."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4L), "
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    assert hostile.check_table(bytes([4]) + content, tmp_path) == 1
