"""Files are scored without scikit-learn and pandas, with the same bits as the estimator's scores."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aefast
from aefast.estimators.files import describe, to_bytes
from aefast.model.container import pack
from aefast.model.file import FORMAT_VERSION
from aefast.model.model import Model
from aefast.tables.arrow import arrow_array, arrow_text, arrow_values
from hostile import model_seeds, rows_for
from small_tables import FEATURES, small_model, small_table, write_table

WITHOUT = """
import sys
from aefast.cli.app import app
app(sys.argv[1:], standalone_mode=False)
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"sklearn", "scipy", "pandas", "matplotlib"}))
"""


@pytest.mark.parametrize("options", [[], ["--top-features", "2"], ["--fdr", "0.1"]])
@pytest.mark.parametrize("ending", [".parquet", ".feather", ".csv", ".npy"])
def test_the_command_scores_without_slow_imports(tmp_path, ending, options):
    small_model().save(tmp_path / "m.safetensors")
    table = write_table(small_table(), tmp_path / f"table{ending}")
    command = ["score", tmp_path / "m.safetensors", table, "-o", tmp_path / "scores.parquet", *options]
    run = subprocess.run([sys.executable, "-c", WITHOUT, *command], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == ""
    assert (tmp_path / "scores.parquet").exists()


def test_the_command_scores_columns_of_several_kinds_without_it(tmp_path):
    table = small_table().select(FEATURES).append_column("name", pa.array(["x", "y", "z"] * 100))
    table = table.append_column("flag", pa.array([None if i % 5 == 0 else i % 3 > 0 for i in range(300)]))
    aefast.Autoencoder(max_epochs=1, missing="mean", random_state=0).fit(table).save(tmp_path / "m.safetensors")
    write_table(table, tmp_path / "table.parquet")
    command = ["score", tmp_path / "m.safetensors", tmp_path / "table.parquet", "-o", tmp_path / "scores.parquet"]
    run = subprocess.run([sys.executable, "-c", WITHOUT, *command], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == ""


def test_commands_work_where_pandas_is_not_installed(tmp_path):
    table = small_table().append_column("name", pa.array(["x", "y", "z"] * 100))
    data = write_table(table.append_column("took", pa.array(range(300), pa.duration("s"))), tmp_path / "table.parquet")
    model = tmp_path / "m.safetensors"
    for arguments in (
        ["fit", data, "--max-epochs", "1", "-o", model],
        ["score", model, data, "--top-features", "2", "-o", tmp_path / "scores.csv"],
        ["report", model, data, "-o", tmp_path / "report.html"],
    ):
        code = "import sys; sys.modules['pandas'] = None\n" + WITHOUT
        run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr


def test_importing_the_package_imports_no_scikit_learn_before_it_is_needed():
    code = "import sys, aefast; print('sklearn' in sys.modules); aefast.Autoencoder; print('sklearn' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]


def test_every_name_is_listed_and_comes_with_a_star_and_modules_come_as_attributes():
    code = (
        "import aefast; listed = set(dir(aefast)); assert listed > {*aefast.__all__, 'Scorer'}, listed\n"
        "assert not [name for name in listed if name.startswith('_') and not name.startswith('__')], listed\n"
        "assert aefast.plots.roc_curve and aefast.callbacks.Checkpoint\n"
        "from aefast import *\n"
        "assert all(name in globals() for name in aefast.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_file_of_every_kind_of_model_scores_as_its_estimator():
    for content in model_seeds():
        estimator, model = aefast.load(content), Model.load(content)
        assert model.digest() == estimator.model_.digest()
        assert model.to_bytes() == content
        X = rows_for(model)
        if model.columns is None:
            del estimator.feature_names_in_
        np.testing.assert_array_equal(model.errors(X), estimator.reconstruction_error(X))
        np.testing.assert_array_equal(model.feature_errors(X), estimator.feature_errors(X))


def test_models_that_score_otherwise_have_another_digest():
    one = Model.load(to_bytes(small_model()))
    assert one.replace(n_threads=2).digest() == one.digest()
    assert one.with_threshold(one.threshold + 1e-9).digest() != one.digest()


@pytest.mark.parametrize(
    "change", [{"dtype": "float16"}, {"missing": "drop"}, {"n_threads": 0}, {"n_threads": 10**9}, {"n_threads": True}]
)
@pytest.mark.parametrize("load", [Model.load, aefast.load])
def test_a_file_with_a_parameter_out_of_range_is_refused(load, change):
    described, tensors = describe(small_model())
    described["parameters"] |= change
    with pytest.raises(aefast.ModelFileError, match="not a valid model"):
        load(pack("model", FORMAT_VERSION, described, tensors))


def test_a_model_of_numbers_says_which_shape_of_rows_it_takes():
    model = Model.load(to_bytes(small_model()))
    with pytest.raises(ValueError, match=r"rows of 4 values, got an array of shape \(3, 5\)"):
        model.errors(np.zeros((3, 5)))


@given(
    values=st.lists(st.one_of(st.none(), st.integers(0, 100)), max_size=30),
    kind=st.sampled_from([pa.float32(), pa.float64(), pa.float16(), pa.int8(), pa.int64(), pa.uint16(), pa.bool_()]),
    begin=st.integers(0, 10),
)
def test_values_of_arrow_arrays_are_those_that_pyarrow_gives(values, kind, begin):
    numbers = [None if v is None else v % 2 == 0 if kind == pa.bool_() else np.float16(v) if kind == pa.float16() else v
               for v in values]  # fmt: skip
    array = pa.array(numbers, kind)
    chunked = pa.chunked_array([array.slice(begin), array[:begin]], kind)
    for each in (array, array.slice(begin), chunked):
        expected = each.to_numpy() if isinstance(each, pa.ChunkedArray) else each.to_numpy(zero_copy_only=False)
        found = arrow_values(each)
        np.testing.assert_array_equal(found, expected.astype(found.dtype))
        if not (expected.dtype == object or each.null_count):
            assert found.dtype == expected.dtype


@given(values=st.lists(st.text(max_size=5), max_size=20))
def test_text_and_numbers_go_to_arrow_as_pyarrow_takes_them(values):
    assert arrow_text(values).equals(pa.array(values, pa.string()))
    lengths = np.array([len(value) for value in values], dtype=np.int32)
    for numbers in (lengths, lengths[::2], lengths.astype(np.float64), lengths > 2):
        array = arrow_array(numbers)
        array.validate(full=True)
        assert array.equals(pa.array(numbers))
