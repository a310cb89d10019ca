"""Accepted inputs: arrays of any dtype and layout without copies, data frames and tables by name; and refused ones."""

import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aefast import Autoencoder
from aefast.estimators.inputs import read_rows, read_sample_weight
from aefast.tables.numbers import nonfinite_error, table_values
from messages import TAKES_MISSING, raises_exactly

RNG = np.random.default_rng(0)
BASE = RNG.integers(0, 100, size=(300, 4))
MODEL = Autoencoder((3, 2), max_epochs=3, random_state=0, dtype="float64").fit(BASE)
SCORES = MODEL.score_samples(BASE)
NUMBERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", ">f8", ">i4", "g", "O"]
LAYOUTS = {
    "C": lambda X: X,
    "Fortran": np.asfortranarray,
    "every second row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "every second column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "backwards": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "broadcast": lambda X: np.broadcast_to(X, (2, *X.shape))[1],
    "read-only": lambda X: read_only(X),
}


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


class Holder:
    """An object with __array__."""

    def __init__(self, X):
        self._X = X

    def __array__(self, dtype=None, copy=None):
        return np.array(self._X, dtype=dtype)


class Stream:
    """An object with Arrow's C stream interface only."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


class Interchange:
    """An object with the data-frame interchange protocol only."""

    def __init__(self, frame):
        self._frame = frame

    def __dataframe__(self, nan_as_null=False, allow_copy=True):
        return self._frame.__dataframe__(nan_as_null, allow_copy)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", NUMBERS)
def test_dtype_and_layout_do_not_matter(dtype, layout):
    # The engine scales in the precision of the rows, float32 for the narrower dtypes.
    X = LAYOUTS[layout](BASE.astype(dtype))
    np.testing.assert_allclose(MODEL.score_samples(X), SCORES, rtol=1e-5, atol=1e-6)
    model = Autoencoder((3, 2), max_epochs=3, random_state=0, dtype="float64").fit(X)
    np.testing.assert_allclose(model.score_samples(BASE), SCORES, rtol=1e-4, atol=1e-4)


def test_booleans_are_zeros_and_ones():
    X = BASE > 50
    model = Autoencoder((3,), max_epochs=2, random_state=0).fit(X)
    np.testing.assert_array_equal(model.score_samples(X), model.score_samples(X.astype(np.uint8)))


@pytest.mark.parametrize("dtype", ["i1", "i8", "u2", "f2", "f4", "f8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_of_numbers_are_not_copied(dtype, layout):
    X = LAYOUTS[layout](BASE.astype(dtype))
    assert np.shares_memory(read_rows(Autoencoder(), X, reset=True), X)


@pytest.mark.parametrize("order", ["C", "F"])
def test_fit_and_scoring_take_little_memory_beside_the_rows(order):
    X = np.asarray(RNG.normal(size=(200_000, 20)), dtype="float32", order=order)
    model = Autoencoder((4,), max_epochs=1, random_state=0)
    tracemalloc.start()
    model.fit(X).score_samples(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A few numbers per row, and a sample of 20,000 rows in double precision, but no copy of the table.
    assert peak < X.nbytes


@given(st.integers(1, 40), st.integers(1, 5), st.sampled_from(["f4", "f8", "i4"]))
def test_any_shape_is_read(n_rows, n_columns, dtype):
    X = RNG.integers(0, 9, size=(n_rows, n_columns)).astype(dtype)
    model = Autoencoder(max_epochs=1, random_state=0).fit(X)
    assert model.score_samples(X).shape == (n_rows,)
    assert model.reconstruct(X).shape == X.shape


FRAME = pd.DataFrame(BASE, columns=list("abcd"))
NAMED = Autoencoder((3, 2), max_epochs=3, random_state=0, dtype="float64").fit(FRAME)
TABLE = pa.table({name: BASE[:, j] for j, name in enumerate("abcd")})


@pytest.mark.parametrize(
    "X",
    [
        FRAME,
        FRAME.astype("float64"),
        FRAME.astype({"a": "float32", "b": "int8", "c": "Int64", "d": "Float64"}),
        FRAME.convert_dtypes(dtype_backend="pyarrow"),
        TABLE,
        TABLE.to_batches()[0],
        pa.Table.from_batches(TABLE.to_batches(max_chunksize=70)),
        TABLE.set_column(1, "b", TABLE["b"].cast(pa.float32())),
        TABLE.set_column(1, "b", TABLE["b"].cast(pa.decimal128(22, 2))),
        Stream(TABLE),
        Interchange(TABLE),
    ],
    ids=[
        "pandas",
        "floats",
        "mixed",
        "pandas on Arrow",
        "table",
        "batch",
        "chunks",
        "mixed table",
        "decimal",
        "stream",
        "interchange",
    ],
)
def test_named_columns_are_read_from_any_table(X):
    np.testing.assert_allclose(NAMED.score_samples(X), SCORES, rtol=1e-12)
    model = Autoencoder((3, 2), max_epochs=3, random_state=0, dtype="float64").fit(X)
    assert model.feature_names_in_.tolist() == list("abcd")
    np.testing.assert_allclose(model.score_samples(FRAME), SCORES, rtol=1e-9)


@pytest.mark.parametrize(
    "make", [lambda X: X.tolist(), Holder, lambda X: pd.DataFrame(X)], ids=["list", "__array__", "unnamed"]
)
def test_rows_without_names_are_read(make):
    np.testing.assert_array_equal(MODEL.score_samples(make(BASE)), SCORES)


@pytest.mark.parametrize(
    "make", [lambda frame: frame, lambda frame: pa.Table.from_pandas(frame)], ids=["pandas", "Arrow"]
)
@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (list("abdc"), ["must be in the same order", "There is 'd' where fit had 'c', 'c' where fit had 'd'."]),
        (list("abc"), ["yet now missing", "- d"]),
        (list("abcde"), ["unseen at fit time", "- e"]),
        (list("abcX"), ["unseen at fit time", "- X", "yet now missing", "- d"]),
    ],
)
def test_columns_must_be_those_of_fit_by_name(make, columns, words):
    frame = FRAME.assign(e=1, X=2)[columns]
    for method in (NAMED.predict, NAMED.transform, NAMED.explain):
        with pytest.raises(ValueError, match="feature names should match") as error:
            method(make(frame))
        assert all(word in str(error.value) for word in words)


def test_numbers_of_tables_with_missing_values_are_float64_unless_they_are_floats():
    columns = {"i": pa.array([1, None], pa.int8()), "b": [True, None], "f": pa.array([0.5, None], pa.float32())}
    for name, dtype in {"i": np.float64, "b": np.float64, "f": np.float32}.items():
        values = table_values(pa.table({name: columns[name]}))
        assert values.dtype == dtype
        np.testing.assert_array_equal(values, [[0.5 if name == "f" else 1], [np.nan]])
    assert table_values(pa.table({"b": [True, False]})).dtype == np.uint8


def test_missing_values_of_tables_are_found():
    table = TABLE.set_column(2, "c", pa.array([*BASE[:7, 2].tolist(), None, *BASE[8:, 2].tolist()]))
    message = "X contains NaN or infinity: 1 value is not finite, the first (nan) in row 7, column 'c'" + TAKES_MISSING
    for method in (
        NAMED.score_samples,
        NAMED.transform,
        NAMED.reconstruct,
        NAMED.feature_errors,
        NAMED.explain,
        NAMED.fit,
    ):
        with raises_exactly(ValueError, message):
            method(table)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (
            FRAME.assign(b=pd.array(["x"] * 300, "string")),
            "column 'b' does not hold numbers (its type is string): encode it as numbers or leave it out",
        ),
        (
            FRAME.assign(b=pd.Categorical(["x"] * 300)),
            "column 'b' does not hold numbers (its type is category): encode it as numbers or leave it out",
        ),
        (
            FRAME.assign(b=np.array(["2020-01-01"] * 300, "M8[s]")),
            "column 'b' does not hold numbers (its type is datetime64[s]): encode it as numbers or leave it out",
        ),
        (
            TABLE.set_column(1, "b", pa.array(["x"] * 300)),
            "column 'b' does not hold numbers (its type is string): encode it as numbers or leave it out",
        ),
        (
            TABLE.set_column(1, "b", pa.array([0] * 300, pa.timestamp("s"))),
            "column 'b' does not hold numbers (its type is timestamp[s]): encode it as numbers or leave it out",
        ),
    ],
    ids=["text", "category", "time", "Arrow text", "Arrow time"],
)
def test_columns_without_numbers_are_named_if_the_model_needs_numbers(X, message):
    with raises_exactly(ValueError, message):
        NAMED.score_samples(X)


@pytest.mark.parametrize("X", [np.zeros((3, 2), "M8[s]"), np.zeros((3, 2), "m8[s]")])
def test_times_are_no_numbers(X):
    with raises_exactly(ValueError, f"X must hold numbers, got dtype {X.dtype}"):
        Autoencoder().fit(X)


def test_pyarrow_is_imported_only_if_it_is_needed(monkeypatch):
    monkeypatch.setattr("aefast.tables.collect.find_spec", lambda name: None)
    np.testing.assert_array_equal(NAMED.score_samples(TABLE), SCORES)
    with raises_exactly(ImportError, "reading a Stream needs pyarrow: pip install pyarrow"):
        NAMED.score_samples(Stream(TABLE))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_bad_value_is_found_in_any_place(bad, dtype, layout):
    X = BASE.astype(dtype)
    X[211, 3] = bad
    X = LAYOUTS[layout](X)
    message = f"X contains NaN or infinity: 1 value is not finite, the first ({bad}) in row 211, column 'x3'"
    message += TAKES_MISSING if np.isnan(bad) else ""
    for method in ("score_samples", "transform", "reconstruct", "feature_errors", "explain", "p_values", "score"):
        with raises_exactly(ValueError, message):
            getattr(MODEL, method)(X)
    for method in ("fit", "partial_fit", "fit_predict"):
        with raises_exactly(ValueError, message):
            getattr(Autoencoder(), method)(X)
    with raises_exactly(ValueError, message.replace("X", "block 1")):
        Autoencoder().fit_batches([BASE, X])
    with raises_exactly(ValueError, message.replace("X", "block 1")):
        Autoencoder().fit_batches(iter([BASE, X]))


def test_the_count_goes_over_blocks_and_the_first_is_in_reading_order():
    X = np.zeros((300_000, 8), dtype="float32")
    X[200_000, 5] = np.nan
    X[200_001, 0] = np.inf
    X[290_000:] = np.nan
    expected = "rows contains NaN or infinity: 80002 values are not finite, the first (nan) in row 200000, column 'f'"
    assert str(nonfinite_error(X, list("abcdefgh"), "rows")) == expected + TAKES_MISSING


def test_codes_must_fit_the_network_and_be_finite():
    with raises_exactly(ValueError, "Z has 3 columns, but the code of this Autoencoder has 2"):
        MODEL.inverse_transform(np.zeros((5, 3)))
    message = "Z contains NaN or infinity: 2 values are not finite, the first (inf) in row 1, column 0"
    with raises_exactly(ValueError, message):
        MODEL.inverse_transform([[0, 0], [np.inf, np.nan]])


def test_sample_weights_are_scaled_to_a_mean_of_one():
    X = np.zeros((4, 1))
    assert read_sample_weight([0, 1, 2, 3], X).tolist() == [0, 0.5, 1, 1.5]
    assert read_sample_weight([1e308] * 4, X).tolist() == [1] * 4
    assert read_sample_weight(None, X) is None


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1, 2], r"sample_weight.shape == \(2,\), expected \(4,\)"),
        ([-1, 1, 1, 1], "Negative values in data passed to `sample_weight`"),
        ([1, 1, np.nan, 1], "sample_weight contains NaN"),
        ([0, 0, 0, 0], "sample_weight is zero for every row"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weights, words):
    with pytest.raises(ValueError, match=words):
        Autoencoder().fit(np.zeros((4, 1)), sample_weight=weights)


ODD = FRAME.astype({"b": object})
ODD.loc[[7, 9], "b"] = ["n/a", None]
ODD_MESSAGE = (
    "column 'b' does not hold numbers only (its type is {}): 1 value is not a number, the first is 'n/a' in row 7; "
    "replace such values by numbers or, if they are missing, by None, or leave the column out"
)
ODD_TABLE = TABLE.set_column(1, "b", pa.array([None if v is None else str(v) for v in ODD["b"]]))


@pytest.mark.parametrize(
    ("X", "kind"),
    [(ODD, "object"), (ODD.assign(b=ODD["b"].astype("string")), "string"), (ODD_TABLE, "string")],
)
def test_a_value_that_is_no_number_is_named_with_its_row(X, kind):
    message = ODD_MESSAGE.format(kind)
    mixed = FRAME.assign(c=np.where(BASE[:, 0] > 50, "x", "y"))
    of_kinds = Autoencoder((3, 2), max_epochs=1, missing="mask").fit(mixed)
    words = X.set_column(2, "c", pa.array(mixed["c"])) if X is ODD_TABLE else X.assign(c=mixed["c"])
    calls = [(NAMED.predict, X), (NAMED.model_.errors, X), (of_kinds.predict, words), (of_kinds.model_.errors, words)]
    if kind == "object":
        calls += [(Autoencoder().fit, X), (Autoencoder().fit, words), (Autoencoder().fit_batches, [words])]
    else:
        calls += [(Autoencoder(column_kinds={"b": "numeric"}).fit, X)]
    for method, rows in calls:
        with raises_exactly(ValueError, message):
            method(rows)


def test_how_many_values_are_no_numbers():
    X = ODD.assign(b=ODD["b"].where(np.arange(300) % 3 > 0, "?"))
    n_odd = sum(isinstance(value, str) for value in X["b"])
    with pytest.raises(
        ValueError, match=rf"{n_odd} of {X['b'].count()} values are not numbers, the first is '\?' in row 0"
    ):
        Autoencoder().fit(X)


def test_a_value_of_an_array_of_objects_is_named_with_its_place():
    X = BASE.astype(object)
    X[5, 2], X[6, 0] = "n/a", None
    for method in (MODEL.predict, MODEL.model_.errors, Autoencoder().fit):
        with raises_exactly(ValueError, "X does not hold numbers only: 'n/a' in row 5, column 2, is none"):
            method(X)
