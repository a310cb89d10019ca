"""The table of reasons: its features, their order and their values."""

import numpy as np
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
