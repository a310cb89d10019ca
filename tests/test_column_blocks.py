"""Tables in blocks: kinds and levels come from all rows, or a warning counts the rows with other levels."""

import json
import re
import warnings
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import aefast
from aefast.columns import learner as column_learner
from aefast.columns.column import Column, encode
from aefast.columns.learner import ColumnLearner
from aefast.jobs.training_rows import TableBlocks
from aefast.tables.source import Source
from small_tables import run_command, write_table
from test_columns import OF_KINDS, plain, traffic

OPTIONS = {"encoder_layer_sizes": (8, 2), "max_epochs": 2, "random_state": 0}


def sorted_table(n_rows=900):
    """Rows by protocol, so that the first block has one of the three."""
    return plain(traffic(n_rows)).sort_values("proto", ignore_index=True)


def as_arrow(frame):
    return pa.Table.from_pandas(frame, preserve_index=False)


def in_blocks(table, ends):
    return [table[begin:end] for begin, end in zip([0, *ends], [*ends, len(table)], strict=True)]


MAKE = {
    "pandas": lambda frame: frame,
    "pandas categories": lambda frame: frame.astype({"proto": "category", "port": "category"}),
    "Arrow": as_arrow,
    "Arrow dictionaries": lambda frame: as_arrow(frame.astype({"proto": "category", "port": "category"})),
}


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
@pytest.mark.parametrize("ends", [[20], [20, 300, 301]])
def test_levels_are_those_of_all_blocks(make, ends):
    frame = sorted_table()
    blocks = [make(block.reset_index(drop=True)) for block in in_blocks(frame, ends)]
    model = aefast.Autoencoder(**OPTIONS).fit_batches(blocks)
    assert model.columns_ == ColumnLearner(frame, None).columns()
    assert sorted(model.columns_[0].levels) == ["icmp", "tcp", "udp"]
    assert model.columns_[0].counts[-1] == 0
    whole = aefast.Autoencoder(**OPTIONS).fit(frame)
    assert model.intercepts_[-1].shape == whole.intercepts_[-1].shape


def test_one_row_of_a_level_in_each_of_two_blocks_makes_a_level():
    blocks = [pd.DataFrame({"a": ["x"] * 30 + ["y"], "b": 1.0}), pd.DataFrame({"a": ["x"] * 30 + ["y", "z"], "b": 2.0})]
    model = aefast.Autoencoder(**OPTIONS).fit_batches(blocks)
    assert model.columns_[0] == Column("a", "categorical", ("x", "y"), (60, 2, 1))


@pytest.mark.parametrize("make", ["pandas", "Arrow"])
@pytest.mark.parametrize(
    ("first", "later", "kind"),
    [
        ([np.nan] * 20, ["a", "b"] * 10, "categorical"),
        ([None] * 20, ["a", "b"] * 10, "categorical"),
        ([None] * 20, [True, False] * 10, "categorical"),
        ([None] * 20, [datetime(2024, 3, 4, 5), datetime(2024, 3, 5)] * 10, "timestamp"),
        ([np.nan] * 20, [datetime(2024, 3, 4, 5), datetime(2024, 3, 5)] * 10, "timestamp"),
        ([pd.NaT] * 20, ["a", "b"] * 10, "categorical"),
        ([pd.NaT] * 20, [1.5, 2.5] * 10, "numeric"),
        ([None] * 20, [1.5, 2.5] * 10, "numeric"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_kind_is_that_of_the_first_block_with_values(make, first, later, kind, turned):
    parts = [first, first, later, first][:: -1 if turned else 1]
    blocks = [MAKE[make](pd.DataFrame({"a": part, "b": np.arange(20.0), "c": ["u", "v"] * 10})) for part in parts]
    model = aefast.Autoencoder(missing="mask", **OPTIONS).fit_batches(blocks)
    assert [column.kind for column in model.columns_] == [kind, "numeric", "categorical"]
    if kind == "categorical":
        # Missing cells are a level too, the most frequent one here.
        assert model.columns_[0].levels[0] is None
        assert model.columns_[0].counts == (60, 10, 10, 0)
    for block, part in zip(blocks, parts, strict=True):
        is_missing = np.isnan(encode(block, model.columns_, masks_missing=True)[:, : model.columns_[0].n_inputs])
        assert (is_missing == (part is first)).all()


@pytest.mark.parametrize("given", [None, {"b": "categorical"}])
def test_numbers_stay_numbers_unless_another_kind_is_set(given):
    blocks = [pd.DataFrame({"a": [np.nan] * 9, "b": 1.0}), pd.DataFrame({"a": np.arange(9.0), "b": [2.0] * 8 + [3.0]})]
    model = aefast.Autoencoder(missing="mask", column_kinds=given, **OPTIONS).fit_batches(blocks)
    wanted = None if given is None else (Column("a", "numeric"), Column("b", "categorical", ("1", "2"), (9, 8, 1)))
    assert model.columns_ == wanted


def test_a_kind_that_a_later_block_does_not_have_is_refused_by_name():
    blocks = [pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), pd.DataFrame({"a": ["p", "q"], "b": ["x", "y"]})]
    with pytest.raises(ValueError, match="column 'a' does not hold numbers"):
        aefast.Autoencoder(**OPTIONS).fit_batches(blocks)


@pytest.mark.parametrize("scaler", ["minmax", "standard"])
def test_ranges_beside_levels_are_those_of_all_blocks(scaler):
    frame = sorted_table().sort_values("size", ignore_index=True)
    options = {**OPTIONS, "scaler": scaler, "validation_fraction": 0}
    model = aefast.Autoencoder(**options).fit_batches(in_blocks(frame, [100, 500]))
    whole = aefast.Autoencoder(**options).fit(frame)
    np.testing.assert_allclose(model.scaler_shift_, whole.scaler_shift_, rtol=1e-12)
    np.testing.assert_allclose(model.scaler_scale_, whole.scaler_scale_, rtol=1e-12)


def test_an_iterator_has_the_levels_of_its_first_block_and_warns(capsys):
    frame = sorted_table()
    blocks = in_blocks(frame, [50, 400])
    n_unknown = int((frame["proto"][50:] != "icmp").sum())
    port = frame["port"][:50].value_counts()
    n_ports = int((~frame["port"][50:].isin(port.index[port > 1])).sum())
    message = (
        "levels come from the first block: of 850 later rows, some have levels that were not learned there and "
        f"count as unknown, in 'proto' ({n_unknown}), 'port' ({n_ports}); "
        "pass a list of blocks instead, whose levels are all learned"
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$") as told:
        model = aefast.Autoencoder(**OPTIONS, verbose=1).fit_batches(iter(blocks))
    assert len(told) == 1
    assert told[0].filename == __file__
    assert model.columns_[0].levels == ("icmp",)
    assert "categorical: proto (1 level of the first block), port (" in capsys.readouterr().err


def test_no_warning_if_no_level_is_new(capsys):
    frame = traffic(900)
    blocks = in_blocks(frame, [500])
    once = aefast.Autoencoder(**OPTIONS, verbose=1).fit_batches(iter(blocks))
    assert once.columns_ == ColumnLearner(blocks[0], None).columns()
    capsys.readouterr()
    aefast.Autoencoder(**OPTIONS, verbose=1).fit_batches(blocks)
    assert "categorical: proto (3 levels), port (5 levels), flag (2 levels)\n" in capsys.readouterr().err
    numbers = np.random.default_rng(0).normal(size=(60, 3))
    aefast.Autoencoder(**OPTIONS).fit_batches(iter([numbers, numbers])).partial_fit(numbers)


def test_partial_fit_counts_rows_with_new_levels():
    frame = sorted_table()
    model = aefast.Autoencoder(**OPTIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.partial_fit(frame[-600:])
    n_unknown = int((frame["proto"][:40] == "icmp").sum())
    assert n_unknown == 40
    with pytest.warns(
        UserWarning, match=r"of 40 later rows, .* in 'proto' \(40\).*; let these have all levels"
    ) as told:
        model.partial_fit(frame[:40])
    assert told[0].filename == __file__


def test_the_rarest_of_very_many_levels_are_forgotten_and_the_frequent_ones_kept(monkeypatch):
    monkeypatch.setattr(column_learner, "MAX_COUNTED", 40)
    rng = np.random.default_rng(0)
    frequent = np.repeat([f"often {i}" for i in range(8)], np.arange(120, 200, 10))
    cells = rng.permutation([*frequent, *(f"id {i}" for i in range(1000))])
    blocks = [pd.DataFrame({"a": part}) for part in np.array_split(cells, 50)]
    learner = ColumnLearner(blocks[0], None)
    for block in blocks[1:]:
        learner.add(block)
        assert len(learner._counts["a"]._by_name) <= 40
    (column,) = learner.columns()
    true = dict(zip(*np.unique(frequent, return_counts=True), strict=True))
    counts = dict(zip(column.levels, column.counts, strict=False))
    assert set(column.levels[:8]) == set(true)
    assert all(true[name] - 2 * len(cells) / 40 <= counts[name] <= true[name] for name in true)
    assert sum(column.counts) == len(cells)


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".feather"])
def test_a_streamed_file_has_the_levels_of_all_its_rows(tmp_path, ending):
    table = as_arrow(sorted_table(3000))
    write_table(table, tmp_path / f"t{ending}")
    told = {}
    for how in ("--stream", "--no-stream"):
        output = tmp_path / f"m{how}.safetensors"
        done = run_command("fit", tmp_path / f"t{ending}", "-o", output, "--epochs", 1, how, "--json")
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["rows"] == 3000
        told[how] = aefast.load(output).columns_
    assert told["--stream"] == told["--no-stream"]
    levels = next(column for column in told["--stream"] if column.name == "proto").levels
    assert sorted(levels) == ["icmp", "tcp", "udp"]


def test_only_columns_with_levels_are_read_before_the_others(tmp_path, monkeypatch):
    """Errors name the places in the files, although two readers read them."""
    halves = in_blocks(traffic(3000), [1500])
    paths = [write_table(as_arrow(half), tmp_path / f"{i}.parquet") for i, half in enumerate(halves)]
    read = []
    batches = Source.batches

    def recorded(self, columns, *arguments, **options):
        read.append(list(columns))
        return batches(self, columns, *arguments, **options)

    monkeypatch.setattr(Source, "batches", recorded)
    source = Source(paths)
    blocks = TableBlocks(source, OF_KINDS, ["size", "count"], lambda X, first_row: None)
    model = aefast.Autoencoder(**OPTIONS).fit_batches(blocks)
    assert read.count(["proto", "port", "flag", "when"]) == 1
    assert read.count(OF_KINDS) == len(read) - 1
    assert sum(model.columns_[0].counts) == blocks.n_rows == 3000
    assert source.place(2999) == f"{paths[1]}, row 1499"


@pytest.mark.parametrize("endings", [(".parquet", ".parquet"), (".csv", ".csv"), (".parquet", ".feather")])
@pytest.mark.parametrize("how", ["--stream", "--no-stream"])
def test_a_kind_is_that_of_the_first_file_with_values(tmp_path, how, endings):
    names = pa.array(["a", "b"] * 20)
    tables = [pa.table({"name": cells, "x": np.arange(40.0)}) for cells in (pa.nulls(40), names, pa.nulls(40))]
    paths = [write_table(t, tmp_path / f"{i}{endings[i > 0]}") for i, t in enumerate(tables)]
    done = run_command("fit", *paths, "-o", tmp_path / "m", "--epochs", 1, how, "--json", "--missing", "mask")
    assert done.exit_code == 0, done.stderr
    column = aefast.load(tmp_path / "m").columns_[0]
    assert column == Column("name", "categorical", (None, "a", "b"), (80, 20, 20, 0))


def test_text_is_refused_if_other_files_have_numbers(tmp_path):
    tables = [pa.table({"name": cells, "x": np.arange(40.0)}) for cells in (np.arange(40) // 2, ["a", "b"] * 20)]
    paths = [write_table(t, tmp_path / f"{i}.parquet") for i, t in enumerate(tables)]
    said = run_command("fit", *paths, "-o", tmp_path / "m").stderr
    assert "1.parquet: column 'name' is string, but its kind is numeric" in " ".join(said.split())
    assert "--kind-of name=categorical" in " ".join(said.split())
    done = run_command("fit", *paths, "-o", tmp_path / "m", "--epochs", 1, "--kind-of", "name=categorical", "--stream")
    assert done.exit_code == 0, done.stderr
    assert aefast.load(tmp_path / "m").columns_[0].levels[:3] == ("a", "b", "0")
