"""Rows by group: the same keys from every kind of table, and each group's rows in their order."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from aefast.tables.groups import groups_by, split_off, taken

TEXT = ["b", "a", None, "b", "c"]
NUMBERS = [2, 1, None, 2, 10]


def arrow(values):
    return pa.chunked_array([values[:2], values[2:]])


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(TEXT),
        pd.Series(TEXT, dtype="category"),
        pd.Series(TEXT, dtype="string"),
        pd.Series(TEXT, index=[7, 7, 3, 1, 0]),
        np.array(TEXT, dtype=object),
        arrow(TEXT),
        arrow(TEXT).dictionary_encode(),
        arrow(TEXT).cast(pa.large_string()),
        pa.array(TEXT),
    ],
)
def test_keys_of_text_are_the_same_from_every_table(column):
    groups = groups_by({"m": column}, one=True)
    assert groups.counts == {None: 1, "a": 1, "b": 2, "c": 1}
    assert {key: rows.tolist() for key, rows in groups} == {None: [2], "a": [1], "b": [0, 3], "c": [4]}
    assert list(groups.rows) == [None, "a", "b", "c"]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(NUMBERS),
        pd.Series(NUMBERS, dtype="Int64"),
        np.array([2, 1, np.nan, 2, 10]),
        np.array([2, 1.0, float("nan"), 2.0, np.int16(10)], dtype=object),
        arrow(NUMBERS),
        arrow([2.0, 1.0, None, 2.0, 10.0]),
    ],
)
def test_keys_of_numbers_are_integers_and_a_missing_one_is_none(column):
    groups = groups_by({"m": column}, one=True)
    assert list(groups.counts.items()) == [(None, 1), (1, 1), (2, 2), (10, 1)]
    assert all(type(key) in (int, type(None)) for key in groups.keys)


def test_fractions_truth_values_and_several_columns_are_keys():
    assert groups_by({"m": np.array([0.5, -1.5, 0.5])}, one=True).counts == {-1.5: 1, 0.5: 2}
    assert groups_by({"m": np.array([True, False, True])}, one=True).counts == {False: 1, True: 2}
    several = groups_by({"a": pd.Series(TEXT), "b": arrow([1, 1, 1, 1, None])}, one=False)
    assert several.counts == {(None, 1): 1, ("a", 1): 1, ("b", 1): 2, ("c", None): 1}
    assert groups_by({"a": np.array([3, 3])}, one=False).counts == {(3,): 2}


def test_many_groups_of_many_rows_are_complete_and_in_order():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 70_000, size=200_000)
    groups = groups_by({"m": values}, one=True)
    assert sorted(groups.keys) == groups.keys
    assert len(groups.keys) > 1 << 16
    assert np.array_equal(np.sort(groups.order), np.arange(len(values)))
    for key, rows in list(groups)[::5000]:
        assert np.array_equal(rows, np.flatnonzero(values == key))


def test_no_rows_are_no_groups():
    assert groups_by({"m": pd.Series([], dtype=object)}, one=True).keys == []
    assert groups_by({"m": pa.array([], pa.string())}, one=True).keys == []


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        (pd.Series(pd.to_datetime(["2024-01-01"])), "Timestamp"),
        (np.array([1.0, np.inf]), "inf"),
        (np.array([(1, 2), "a"], dtype=object), r"\(1, 2\)"),
    ],
)
def test_other_values_are_refused_with_the_column(column, shown):
    with pytest.raises(
        ValueError, match=f"groups must be text, numbers or truth values, but column 'when' has .*{shown}"
    ):
        groups_by({"when": column}, one=True)


def test_columns_are_split_off_by_name():
    frame = pd.DataFrame({"a": [1.0, 2.0], "m": ["x", "y"], "b": [3.0, 4.0]})
    for table in (frame, pa.Table.from_pandas(frame)):
        columns, others = split_off(table, ["m"])
        assert list(columns) == ["m"]
        assert [
            str(name)
            for name in (others.columns if others is not table and hasattr(others, "iloc") else others.column_names)
        ] == ["a", "b"]
    with pytest.raises(ValueError, match="X has no column 'machine', which by names; its columns are a, m, b"):
        split_off(frame, ["machine"])
    with pytest.raises(ValueError, match="X has 2 columns 'm'"):
        split_off(pd.concat([frame, frame[["m"]]], axis=1), ["m"])


@pytest.mark.parametrize("rows", [[], [3], [2, 3, 4], [4, 2], [0, 2, 3], [1, 3, 2]])
def test_some_rows_are_taken_from_every_kind_of_table(rows):
    X = np.arange(12.0).reshape(6, 2)
    numbers = np.array(rows, dtype=np.int64)
    frame = pd.DataFrame(X, columns=["a", "b"], index=list("uvwxyz"))
    assert taken(X, numbers).tolist() == X[rows].tolist()
    assert taken(frame, numbers).to_numpy().tolist() == X[rows].tolist()
    assert taken(pa.Table.from_pandas(frame), numbers)["b"].to_pylist() == X[rows, 1].tolist()
