"""Durations and times given as text or objects: the same numbers in every library and unit, or refused."""

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.base import clone

from aefast import Autoencoder
from aefast.columns.times import in_microseconds, seconds_since_1970
from aefast.columns.values import numbers_of
from small_tables import run_command, write_table

RNG = np.random.default_rng(0)
# Beyond 2**53 nanoseconds, which are not all doubles.
SECONDS = RNG.integers(0, 10**9, 200) + RNG.integers(0, 1000, 200) / 1000
DURATIONS = pd.Series(pd.to_timedelta((SECONDS * 1000).round().astype(np.int64), unit="ms").as_unit("ms"))
DURATIONS[[3, 50]] = pd.NaT
FRAME = pd.DataFrame({"took": DURATIONS, "x": RNG.normal(size=200)})


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_durations_are_seconds_in_every_unit_and_library(unit):
    in_unit = DURATIONS.astype(f"m8[{unit}]")
    expected = np.where(DURATIONS.isna(), np.nan, SECONDS)
    found = numbers_of(DURATIONS)
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    array = pa.array(in_unit)
    for values in (in_unit, in_unit.astype(object), array, pa.chunked_array([array[:70], array[70:]]), array[:]):
        np.testing.assert_array_equal(numbers_of(values), found)
    np.testing.assert_array_equal(numbers_of(array[7:]), found[7:])


def test_durations_have_the_same_scores_in_every_unit_and_library():
    kinds = {"took": "numeric"}
    model = Autoencoder((3,), column_kinds=kinds, missing="mask", max_epochs=3, random_state=0).fit(FRAME)
    scores = model.score_samples(FRAME)
    others = [FRAME.astype({"took": f"m8[{unit}]"}) for unit in ("us", "ns")]
    others += [pa.Table.from_pandas(frame) for frame in others]
    for table in others:
        np.testing.assert_array_equal(model.score_samples(table), scores)
        again = Autoencoder((3,), column_kinds=kinds, missing="mask", max_epochs=3, random_state=0).fit(table)
        np.testing.assert_array_equal(again.score_samples(FRAME), scores)
    reasons = model.explain(FRAME)
    assert set(reasons["feature"][reasons["row"] == 3]) <= {"x"}
    found = dict(zip(reasons["row"], reasons["value"], strict=True))
    assert all(value == pytest.approx(SECONDS[row]) or value == FRAME["x"][row] for row, value in found.items())
    with pytest.raises(ValueError, match="column 'took'"):
        Autoencoder((3,), column_kinds=kinds, max_epochs=3).fit(FRAME)


@pytest.mark.parametrize("dtype", ["m8[s]", "m8[ns]", object])
@pytest.mark.parametrize("others", [[], ["x"]])
def test_durations_are_inferred_to_be_numbers(dtype, others):
    frame = FRAME.astype({"took": dtype})[["took", *others]]
    estimator = Autoencoder((3,), missing="mask", max_epochs=2, random_state=0)
    model = clone(estimator).fit(frame)
    assert model.columns_ is None
    scores = model.score_samples(frame)
    numbers = frame.assign(took=numbers_of(frame["took"]))
    np.testing.assert_array_equal(scores, clone(estimator).fit(numbers).score_samples(numbers))
    np.testing.assert_array_equal(scores, model.score_samples(numbers))
    np.testing.assert_array_equal(model.model_.errors(frame), model.model_.errors(numbers))
    table = pa.Table.from_pandas(frame, preserve_index=False)
    np.testing.assert_array_equal(scores, clone(estimator).fit(table).score_samples(table))


@pytest.mark.parametrize("others", [{"x": RNG.normal(size=300)}, {"machine": np.resize(["a", "b", "c"], 300)}])
def test_a_table_with_durations_has_the_same_scores_in_all_formats(tmp_path, others):
    seconds = RNG.integers(1, 200_000, 300)
    spans = [None if row == 7 else timedelta(seconds=int(value)) for row, value in enumerate(seconds)]
    table = pa.table({"took": pa.array(spans, pa.duration("ms")), **others})
    texts = [
        None if span is None else f"{int(s) // 3600}:{int(s) // 60 % 60:02}:{int(s) % 60:02}"
        for span, s in zip(spans, seconds, strict=True)
    ]
    paths = [write_table(table, tmp_path / name) for name in ("t.parquet", "t.feather")]
    paths.append(write_table(table.set_column(0, "took", pa.array(texts)), tmp_path / "t.csv"))
    found = []
    for path in paths:
        model, scores = path.with_suffix(".safetensors"), tmp_path / f"{path.name}.scores.parquet"
        for arguments in (
            ["fit", path, "-o", model, "--missing", "mask", "--epochs", "3", "--seed", "0"],
            ["score", model, path, "-o", scores],
        ):
            run = run_command(*arguments)
            assert run.exit_code == 0, run.output
        found.append(pq.read_table(scores)["anomaly_score"].to_numpy())
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@pytest.mark.parametrize(
    "values",
    [[timedelta(seconds=90), None], [datetime(1970, 1, 1, 0, 1, 30), None], [pd.Timestamp(90, unit="s"), None]],
)
def test_times_and_durations_in_columns_of_objects_are_seconds(values):
    np.testing.assert_array_equal(numbers_of(pd.Series(values, dtype=object)), [90, np.nan])
    np.testing.assert_array_equal(numbers_of(pd.Series([date(1970, 1, 2), None], dtype=object)), [86400, np.nan])


@pytest.mark.parametrize(
    ("texts", "row"),
    [
        (["02.09.2024"], 0),
        (["13.09.2024", "02.09.2024"], 1),
        (["2024-09-02", None, "9/2/2024 10:00"], 2),
        (["13-09-24"], 0),
        (["09:30"], 0),
        ([pd.Timestamp("2024-09-02"), "02.03.2024"], 1),
    ],
)
def test_texts_that_may_be_several_times_are_refused(texts, row):
    frame = pd.DataFrame({"at": pd.Series(texts, dtype=object), "x": np.arange(len(texts))})
    model = Autoencoder((2,), column_kinds={"at": "timestamp"}, missing="mask", max_epochs=1)
    with pytest.raises(ValueError, match=f"column 'at' does not hold times .*{texts[row]}' in row {row} can be read"):
        model.fit(frame)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "text", ["13.09.2024 10:00", "13 Sep 2024 10:00", "September 13, 2024 10:00", "9/13/2024 10:00", "2024/09/13 10:00"]
)
def test_texts_that_can_be_one_time_only_are_read(text):
    found = seconds_since_1970(pd.Series([text, "2024-09-13T10:00", "", None]))
    np.testing.assert_array_equal(found, [1726221600, 1726221600, np.nan, np.nan])


@pytest.mark.parametrize("unit", ["D", "s", "ms"])
def test_times_beyond_what_microseconds_hold_are_missing(unit):
    units_a_day = {"D": 1, "s": 86_400, "ms": 86_400_000}[unit]
    days = np.array([0, 300_000_000, -300_000_000]) * units_a_day
    found = in_microseconds(days.astype(f"datetime64[{unit}]"))
    assert found[0] == np.datetime64("1970-01-01", "us")
    assert np.isnat(found[1:]).all()
