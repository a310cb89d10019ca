"""The table of reasons: its features, their order and their values."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from aefast import Autoencoder
from aefast.model.reasons import as_frame, explanation_table, top_shares

errors = npst.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 5))


@given(errors, st.integers(1, 8))
def test_top_shares_are_the_largest_in_order_with_ties_to_the_first_column(feature_errors, top):
    columns, shares = top_shares(feature_errors, top)
    n_rows, n_features = feature_errors.shape
    assert columns.shape == shares.shape == (n_rows, min(top, n_features))
    for row in range(n_rows):
        total = float(feature_errors[row].sum()) or 1.0
        ranked = sorted(range(n_features), key=lambda j: (-feature_errors[row, j], j))[:top]
        assert columns[row].tolist() == ranked
        assert shares[row].tolist() == [feature_errors[row, j] / total for j in ranked]


def test_table_has_a_line_for_each_row_and_feature():
    table = explanation_table(
        np.array([[1.0, 3.0], [2.0, 0.0]]),
        values=np.array([[10, 20], [30, 40]]),
        expected=np.array([[11.0, 21.0], [31.0, 41.0]]),
        names=["short", "a longer name"],
        top=2,
        first_row=7,
    )
    assert table.tolist() == [
        (7, "a longer name", 20.0, 21.0, 0.75),
        (7, "short", 10.0, 11.0, 0.25),
        (8, "short", 30.0, 31.0, 1.0),
        (8, "a longer name", 40.0, 41.0, 0.0),
    ]


def test_the_table_is_a_data_frame_if_pandas_is_installed(monkeypatch):
    table = explanation_table(np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)), ["a"], 1)
    frame = as_frame(table)
    assert list(frame.columns) == ["row", "feature", "value", "expected", "share"]
    assert frame["feature"].tolist() == ["a"]
    monkeypatch.setattr("aefast.model.reasons.find_spec", lambda name: None)
    assert as_frame(table) is table


def test_the_feature_that_was_changed_is_the_reason():
    rng = np.random.default_rng(0)
    X = rng.normal(loc=100, scale=5, size=(600, 6))
    model = Autoencoder(random_state=0, max_epochs=5).fit(X)
    odd = X[:20].copy()
    changed = rng.integers(6, size=20)
    odd[np.arange(20), changed] += 200
    table = model.explain(odd, top=1)
    assert table["row"].tolist() == list(range(20))
    assert table["feature"].tolist() == [f"x{j}" for j in changed]
    assert table["value"].tolist() == odd[np.arange(20), changed].tolist()
    expected = model.reconstruct(odd)[np.arange(20), changed]
    np.testing.assert_array_equal(table["expected"], expected.astype(float))
    shares = model.feature_errors(odd)[np.arange(20), changed] / model.reconstruction_error(odd)
    np.testing.assert_allclose(table["share"], shares, rtol=1e-5)


def test_shares_of_a_distance_are_shares():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4)) @ rng.normal(size=(4, 6)) + 0.1 * rng.normal(size=(600, 6))
    model = Autoencoder((3,), random_state=0, max_epochs=5, score_metric="mahalanobis").fit(X)
    table = model.explain(X, top=6)
    assert table["share"].between(0, 1).all()
    np.testing.assert_allclose(table.groupby("row")["share"].sum(), 1, rtol=1e-5)


def test_explaining_in_blocks_gives_the_same_table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(70_000, 16))
    model = Autoencoder((2,), random_state=0, max_epochs=1).fit(X[:500])
    whole = model.explain(X, top=1)
    assert len(whole) == 70_000
    piece = model.explain(X[69_000:], top=1)
    assert whole["feature"][69_000:].tolist() == piece["feature"].tolist()
    assert whole["row"].tolist() == list(range(70_000))


@pytest.mark.parametrize("top", [0, -1, 1.5, True, None])
def test_top_must_be_a_positive_integer(top):
    X = np.random.default_rng(0).normal(size=(50, 3))
    model = Autoencoder(max_epochs=0).fit(X)
    with pytest.raises(ValueError, match="top must be an integer of at least 1, got"):
        model.explain(X, top=top)


def printed_alike(value, expected):
    """Whether a reason's value is shown like the expected one, whose time has neither a date nor seconds."""
    if isinstance(value, str) and len(value) >= 19 and value[4] == "-":
        at = pd.Timestamp(value)
        return expected[-5:] == f"{at:%H:%M}" and (len(expected) == 5 or expected[:3] == f"{at:%a}")
    return value == expected if isinstance(value, str) else f"{value:.6g}" == f"{expected:.6g}"


@pytest.mark.parametrize("top", [3, 20])
@pytest.mark.parametrize("missing", ["error", "mask", "mean"])
@pytest.mark.parametrize("score_metric", ["calibrated", "mahalanobis", "mse", "mae"])
@pytest.mark.parametrize("others", [[], ["at"], ["kind", "at"]])
def test_no_reason_has_a_value_that_is_shown_like_the_expected_one(others, score_metric, missing, top):
    rng = np.random.default_rng(0)
    hours = np.where(rng.random(900) < 0.5, 9, rng.integers(7, 19, 900))
    at = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 20, 900) * 24 + hours, unit="h")
    frame = pd.DataFrame(
        {
            "x": rng.integers(0, 2, 900).astype(float),
            "same": np.where(rng.random(900) < 0.01, 7.0, 5.0),
            "kind": np.where(hours < 12, "early", "late"),
            "at": at + pd.to_timedelta(rng.integers(0, 3600, 900), unit="s"),
        }
    )[["x", "same", *others]]
    model = Autoencoder((6, 3), missing=missing, score_metric=score_metric, max_epochs=20, random_state=0).fit(frame)
    reasons = model.explain(frame, top=top)
    assert len(reasons) > 0
    alike = [printed_alike(*pair) for pair in zip(reasons["value"], reasons["expected"], strict=True)]
    assert not any(alike)


def test_a_rare_hour_is_a_reason_also_in_a_table_without_numbers():
    rng = np.random.default_rng(0)
    at = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 20, 3000) * 24 + rng.integers(8, 18, 3000), "h")
    frame = pd.DataFrame({"at": at, "kind": rng.choice(["a", "b"], 3000)})
    for columns in (["at", "kind"], ["at", "kind", "x"]):
        data = frame.assign(x=rng.normal(size=3000))[columns]
        model = Autoencoder((4, 2), max_epochs=3, random_state=0).fit(data)
        odd = data.iloc[:5].assign(at=pd.Timestamp("2024-02-05 03:30:00"))
        reasons = model.explain(odd, top=1)
        assert reasons["feature"].tolist() == ["at"] * 5
        assert all(8 <= int(expected[-5:-3]) < 18 and expected.endswith(":00") for expected in reasons["expected"])
