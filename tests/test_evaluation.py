"""Evaluation with labels equals scikit-learn's metrics, and labels that cannot be used are refused."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn import metrics

import aefast
from messages import raises_exactly


def check_at(result, labels, found):
    assert result["precision"] == pytest.approx(metrics.precision_score(labels, found, zero_division=0))
    assert result["recall"] == pytest.approx(metrics.recall_score(labels, found))
    assert result["f1"] == pytest.approx(metrics.f1_score(labels, found, zero_division=0))
    assert result["confusion_matrix"] == metrics.confusion_matrix(labels, found).tolist()


# Few distinct scores, so that ties are common.
rows = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        npst.arrays(np.bool_, n), npst.arrays(np.float32, n, elements=st.integers(-5, 5).map(lambda k: k / 4))
    )
)


@settings(max_examples=40)
@given(rows, st.integers(-6, 6).map(lambda k: k / 4))
def test_all_figures_are_those_of_scikit_learn(drawn, threshold):
    labels, scores = drawn
    assume(0 < labels.sum() < len(labels))
    result = aefast.evaluate(labels, scores, threshold)
    assert (result.n_rows, result.n_anomalies) == (len(labels), labels.sum())
    assert result.aucroc == metrics.roc_auc_score(labels, scores)
    assert result.average_precision == pytest.approx(metrics.average_precision_score(labels, scores), rel=1e-12)
    assert result.threshold == threshold
    check_at(result, labels, scores > threshold)
    check_at(result.best, labels, scores > result.best["threshold"])


@settings(max_examples=15)
@given(rows)
def test_no_threshold_has_a_larger_f1_than_the_best(drawn):
    labels, scores = drawn
    assume(0 < labels.sum() < len(labels))
    best = aefast.evaluate(labels, scores, 0.0).best
    others = [t for t in (*scores, scores.min() - 1) if t != best["threshold"]]
    f1 = np.array([metrics.f1_score(labels, scores > t, zero_division=0) for t in others])
    assert (f1 <= best["f1"] + 1e-12).all()
    assert all(f < best["f1"] - 1e-12 for t, f in zip(others, f1, strict=True) if t > best["threshold"])


@pytest.mark.parametrize("kind", [list, np.asarray, pd.Series, lambda y: np.asarray(y, dtype=object)])
def test_labels_may_be_numbers_or_truth_values(kind):
    scores = [3.0, 1.0, 2.0, 0.5]
    expected = aefast.evaluate(np.array([True, False, True, False]), scores, 1.5)
    for labels in ([1, 0, 1, 0], [1.0, 0.0, 1.0, 0.0], [True, False, True, False]):
        assert aefast.evaluate(kind(labels), scores, 1.5) == expected


def test_the_result_is_plain_data():
    result = aefast.evaluate([0, 1, 0], np.float32([0.5, 2, 1]), np.float32(1.5))
    assert json.loads(json.dumps(result)) == result
    assert result["f1"] == result.f1 == 1.0


@pytest.mark.parametrize(
    ("labels", "scores", "threshold", "message"),
    [
        ([0, 1], [0.5], 0, "y and scores must be of one length, got 2 labels and scores of (1,)"),
        ([0, 1], [[0.5], [1]], 0, "y and scores must be of one length, got 2 labels and scores of (2, 1)"),
        ([[0, 1]], [0.5, 1], 0, "y must have one dimension, got shape (1, 2)"),
        ([0, 1, 2], [0.5, 1, 2], 0, "y must hold 0 and 1 (1 for anomalies), but row 2 has 2"),
        ([1, -1], [0.5, 1], 0, "y must hold 0 and 1 (1 for anomalies), but row 1 has -1"),
        ([0, np.nan, 1], [0.5, 1, 2], 0, "y must hold 0 and 1 (1 for anomalies), but row 1 has nan"),
        (["0", "1"], [0.5, 1], 0, "y must hold 0 and 1 (1 for anomalies), but row 0 has '0'"),
        ([0, 0], [0.5, 1], 0, "y must have labels of both kinds, but all 2 are 0"),
        ([True] * 3, [0.5, 1, 2], 0, "y must have labels of both kinds, but all 3 are 1"),
        ([], [], 0, "y must have labels of both kinds, but it is empty"),
        ([0, 1], [0.5, np.nan], 0, "scores must be finite, but that of row 1 is nan"),
        ([0, 1], [-np.inf, 1], 0, "scores must be finite, but that of row 0 is -inf"),
        ([0, 1], [0.5, 1], np.nan, "threshold must be finite, got nan"),
    ],
)
def test_labels_that_cannot_be_evaluated_are_refused(labels, scores, threshold, message):
    with raises_exactly(ValueError, message):
        aefast.evaluate(labels, scores, threshold)
