"""Labels of columns that are not text are names: they are compared, shown and saved as text."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from aefast import Autoencoder, load, pyod
from messages import raises_exactly

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3))
YEARS = pd.DataFrame(X, columns=[2019, 2020, 2021])
# Columns 0, 1 and 3 are numbers, column 2 is text.
MIXED = pd.DataFrame(X).assign(word=np.where(X[:, 0] > 0, "x", "y")).set_axis([0, 1, 3, 2], axis=1)[[0, 1, 2, 3]]
WORDS = MIXED.set_axis([2019, 2020, 2021, 2022], axis=1)


def small(**parameters):
    return Autoencoder((3, 2), max_epochs=2, random_state=0, **parameters)


@pytest.mark.parametrize("frame", [YEARS, WORDS, MIXED], ids=["numbers", "mixed", "mixed from 0"])
def test_columns_in_another_order_are_refused(frame, tmp_path):
    model = small().fit(frame)
    names = [str(label) for label in frame.columns]
    assert model.feature_names_in_.tolist() == model.model_.column_names == names
    model.save(tmp_path / "model")
    swapped = frame[[frame.columns[1], frame.columns[0], *frame.columns[2:]]]
    there = f"There is '{names[1]}' where fit had '{names[0]}', '{names[0]}' where fit had '{names[1]}'."
    for each in (model, load(tmp_path / "model")):
        np.testing.assert_array_equal(each.score_samples(frame), model.score_samples(frame))
        np.testing.assert_array_equal(each.score_samples(pa.Table.from_pandas(frame)), model.score_samples(frame))
        np.testing.assert_array_equal(each.model_.errors(frame), -model.score_samples(frame).astype(np.float32))
        for method in (each.predict, each.explain, each.model_.errors, each.partial_fit, each.recalibrate):
            with pytest.raises(ValueError, match="same order") as error:
                method(swapped)
            assert there in str(error.value)


def test_a_frame_of_numbers_without_labels_of_its_own_is_an_array():
    model = small().fit(pd.DataFrame(X))
    assert not hasattr(model, "feature_names_in_")
    np.testing.assert_array_equal(model.score_samples(X), model.score_samples(pd.DataFrame(X)))
    message = "The columns must be in the order of their labels. There is 1 where fit had 0, 0 where fit had 1."
    for each in (model, small().fit(X)):
        for method in (each.predict, each.explain, each.model_.errors):
            with raises_exactly(ValueError, message):
                method(pd.DataFrame(X)[[1, 0, 2]])


def test_messages_and_reasons_name_labels(tmp_path):
    model = small().fit(YEARS)
    assert set(model.explain(YEARS)["feature"]) == {"2019", "2020", "2021"}
    bad = YEARS.copy()
    bad.iloc[7, 1] = np.nan
    detector = pyod.AutoEncoder(hidden_neuron_list=(2,), epoch_num=1)
    for method in (small().fit, model.predict, model.model_.errors, detector.fit, detector.fit(YEARS).predict):
        with pytest.raises(ValueError, match="row 7, column '2020'"):
            method(bad)
    with pytest.raises(ValueError, match="column '2020' does not hold numbers"):
        model.predict(YEARS.astype({2020: str}) + YEARS.astype({2020: str}))


@pytest.mark.parametrize("key", [1, np.int64(1), "1"])
def test_kinds_are_given_by_label(key, tmp_path):
    frame = (
        pd.DataFrame(X).assign(**{"1": RNG.integers(0, 3, 200)}).drop(columns=1).set_axis([0, 2, 1], axis=1)[[0, 1, 2]]
    )
    model = small(column_kinds={key: "categorical"}).fit(frame)
    assert [column.kind for column in model.columns_] == ["numeric", "categorical", "numeric"]
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.column_kinds == {key: "categorical"}
    np.testing.assert_array_equal(again.score_samples(frame), model.score_samples(frame))
    with raises_exactly(ValueError, "column_kinds names '9', which is not a column: they are 0, 1, 2"):
        small(column_kinds={9: "categorical"}).fit(frame)


@pytest.mark.parametrize("label", [2.5, pd.Timestamp("2024-01-01"), ("a", "b"), None])
def test_every_label_is_a_name(label):
    frame = pd.DataFrame(X, columns=pd.Index([label, "b", 7], dtype=object, tupleize_cols=False))
    model = small().fit(frame)
    assert model.feature_names_in_.tolist() == [str(label), "b", "7"]
    with pytest.raises(ValueError, match="same order"):
        model.predict(frame.iloc[:, [1, 0, 2]])


def test_labels_of_the_same_text_are_refused():
    with raises_exactly(ValueError, "two columns have labels of the same text '1': rename one of them"):
        small().fit(pd.DataFrame(X, columns=pd.Index([1, "1", 2], dtype=object)))


@pytest.mark.parametrize("frame", [YEARS, WORDS, MIXED], ids=["numbers", "mixed", "mixed from 0"])
def test_blocks_have_labels(frame):
    model = small().fit_batches([frame[:100], frame[100:]])
    assert model.feature_names_in_.tolist() == [str(label) for label in frame.columns]
    with pytest.raises(ValueError, match="same order"):
        small().fit_batches([frame, frame[frame.columns[::-1]]])
