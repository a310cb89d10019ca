"""ScoreSketch and Calibration.merge: what partitions count adds up to what all rows give."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import aefast
from aefast import Autoencoder, ModelFileError, ScoreSketch
from aefast.model.calibration import N_EXACT, Calibration
from aefast.model.false_discoveries import benjamini_hochberg, reported_up_to
from test_drift import QUICK, day, table

ROWS = np.random.default_rng(0).normal(size=(6000, 5))


@pytest.fixture(scope="module")
def model():
    return Autoencoder(**QUICK).fit(ROWS[:3000])


@pytest.fixture(scope="module")
def mixed():
    return Autoencoder(missing="mask", **QUICK).fit(table(1000))


def parts_of(rows, n_parts, seed):
    """Return random parts of rows, in a random order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    cuts = np.sort(rng.integers(0, len(rows), n_parts - 1))
    return [rows[part] if isinstance(rows, np.ndarray) else rows.iloc[part] for part in np.split(order, cuts)]


@pytest.mark.parametrize("n_parts", [1, 2, 7, 40])
@pytest.mark.parametrize("seed", [0, 1])
def test_partitions_of_any_number_and_order_give_the_same_bytes(model, mixed, n_parts, seed):
    for fitted, rows in ((model, ROWS), (mixed, day(0))):
        whole = ScoreSketch(fitted).update(rows).to_bytes()
        parts = [ScoreSketch(fitted).update(part) for part in parts_of(rows, n_parts, seed)]
        read = [ScoreSketch.from_bytes(part.to_bytes(), fitted) for part in parts]
        assert read[0].merge(*read[1:]).to_bytes() == whole
        one_by_one = ScoreSketch(fitted)
        for part in parts:
            one_by_one = part.merge(one_by_one)
        assert one_by_one.to_bytes() == whole


@pytest.mark.parametrize("n_further", [0, 1])
def test_columns_are_found_by_name_in_any_order(mixed, n_further):
    rows, whole = day(0), ScoreSketch(mixed).update(day(0)).to_bytes()
    others = rows.assign(**dict.fromkeys(["other"][:n_further], 1.0)).iloc[:, ::-1]
    for each in (others, pa.Table.from_pandas(others, preserve_index=False)):
        assert ScoreSketch(mixed).update(each).to_bytes() == whole


def test_counts_are_those_of_the_rows(model):
    sketch = ScoreSketch(model).update(ROWS)
    errors = model.reconstruction_error(ROWS)
    assert (sketch.n_rows, sketch.n_scored) == (6000, 6000)
    assert sketch.n_flagged == (model.predict(ROWS) == -1).sum()
    levels, p = model.calibration_.levels(), model.p_values(ROWS)
    np.testing.assert_array_equal(sketch.p_value_counts(), [(p == level).sum() for level in levels])
    assert sketch.drift().distance == pytest.approx(model.calibration_.distance(errors))
    for q in (0, 0.01, 0.3, 0.9, 0.999, 1):
        assert q <= (errors <= sketch.quantile(q)).mean() <= q + 0.01


@pytest.mark.parametrize("fdr", [0.01, 0.1, 0.5])
def test_the_cutoff_is_that_of_all_rows_together(model, fdr):
    rows = ROWS.copy()
    rows[::20] *= 3
    parts = [ScoreSketch(model).update(part) for part in parts_of(rows, 5, 0)]
    cutoff = parts[0].merge(*parts[1:]).p_value_cutoff(fdr)
    p = model.p_values(rows)
    flagged = np.zeros(len(p), bool) if cutoff is None else p <= cutoff
    np.testing.assert_array_equal(flagged, benjamini_hochberg(p, fdr))
    with pytest.raises(ValueError, match="fdr"):
        reported_up_to(np.array([1.0]), np.array([1]), 1.0)


def test_recalibration_from_counts_is_that_from_rows(model):
    fresh = 1.2 * np.random.default_rng(1).normal(size=(30_000, 5))
    errors = model.reconstruction_error(fresh)
    sketch = ScoreSketch(model).update(fresh)
    for contamination in (0.001, 0.05, 0.1, 0.5):
        again = sketch.recalibrated(contamination)
        share = (errors > again.threshold).mean()
        assert contamination * 0.97 - 1e-3 <= share <= contamination
    exact = (1 + len(errors) - np.searchsorted(np.sort(errors), errors)) / (1 + len(errors))
    found = sketch.calibration().p_values(errors)
    assert (found >= exact - 1e-12).all()
    assert (found <= exact * 1.03).all()
    rarest = np.argsort(-errors)[:N_EXACT]
    np.testing.assert_allclose(found[rarest], exact[rarest])
    assert sketch.recalibrated().threshold == sketch.recalibrated(model.contamination).threshold


def test_recalibration_from_counts_refuses_what_recalibration_refuses(model):
    with pytest.raises(ValueError, match="most of these rows are beyond"):
        ScoreSketch(model).update(ROWS * 400 + 5000).recalibrated(0.1)
    with pytest.raises(ValueError, match="contamination"):
        ScoreSketch(model).update(ROWS).recalibrated(0.7)
    for read in (ScoreSketch.recalibrated, ScoreSketch.calibration, lambda sketch: sketch.quantile(0.5)):
        with pytest.raises(ValueError, match="no rows"):
            read(ScoreSketch(model))
    with pytest.raises(ValueError, match="q must be"):
        ScoreSketch(model).update(ROWS).quantile(1.1)


def test_a_sketch_takes_what_is_scored(mixed, tmp_path):
    rows = day(0)
    whole = ScoreSketch(mixed).update(rows).to_bytes()
    arrow = pa.Table.from_pandas(rows.assign(id=range(len(rows))), preserve_index=False)
    mixed.save(tmp_path / "m")
    for given in (mixed, mixed.model_, tmp_path / "m", (tmp_path / "m").read_bytes()):
        assert ScoreSketch(given).update(arrow).to_bytes() == whole
    errors = mixed.reconstruction_error(rows)
    assert ScoreSketch(mixed).update(rows, errors).to_bytes() == whole
    assert ScoreSketch(mixed).update(rows.assign(id=1)).to_bytes() == whole
    batches = ScoreSketch(mixed)
    for batch in arrow.to_batches(max_chunksize=100):
        batches.update(batch)
    assert batches.to_bytes() == whole
    assert ScoreSketch(mixed).update(rows[:0]).n_rows == 0
    with pytest.raises(ValueError, match="errors must be 1440 numbers"):
        ScoreSketch(mixed).update(rows, errors[:7])
    with pytest.raises(ValueError, match="feature names"):
        ScoreSketch(mixed).update(rows.drop(columns="city"))


def test_rows_without_a_score_count_in_the_columns_alone(model):
    errors = model.reconstruction_error(ROWS[:100])
    errors[:40] = np.nan
    sketch = ScoreSketch(model).update(ROWS[:100], errors)
    assert (sketch.n_rows, sketch.n_scored, sketch.p_value_counts().sum()) == (100, 60, 60)
    assert ScoreSketch.from_bytes(sketch.to_bytes(), model).n_scored == 60


def test_double_precision_lists_and_names():
    frame = pd.DataFrame(ROWS[:500], columns=list("abcde"))
    fitted = Autoencoder(dtype="float64", **QUICK).fit(frame)
    assert ScoreSketch(fitted).update(frame).n_rows == 500
    assert ScoreSketch(Autoencoder(**QUICK).fit(ROWS[:500])).update(ROWS[:3].tolist()).n_rows == 3


def test_sketches_of_other_models_are_refused(model):
    other = Autoencoder(**{**QUICK, "random_state": 1}).fit(ROWS[:3000])
    sketch = ScoreSketch(model).update(ROWS)
    with pytest.raises(ValueError, match="different models"):
        sketch.merge(ScoreSketch(other))
    with pytest.raises(ModelFileError, match="another model"):
        ScoreSketch.from_bytes(sketch.to_bytes(), other)
    with pytest.raises(TypeError, match="model must be"):
        ScoreSketch(3)


def test_damaged_bytes_are_refused(model):
    data = ScoreSketch(model).update(ROWS[:200]).to_bytes()
    for bad in (data[:-3], data[:100], b"", data.replace(b"sketch", b"sketck")):
        with pytest.raises(ModelFileError):
            ScoreSketch.from_bytes(bad, model)
    altered = bytearray(data)
    altered[-5] ^= 1
    with pytest.raises(ModelFileError, match="altered"):
        ScoreSketch.from_bytes(altered, model)


@pytest.mark.parametrize("change", ["cells", "counts", "largest", "columns", "rows", "flagged"])
def test_counts_that_contradict_each_other_are_refused(model, change):
    from aefast.model.container import pack, unpack

    document, tensors, _ = unpack(ScoreSketch(model).update(ROWS[:200]).to_bytes(), "sketch", 1)
    if change in tensors:
        tensors[change] = tensors[change] + 1
        if change == "largest":
            tensors[change] = tensors[change][::-1].copy()
        if change == "cells":
            tensors[change][-1] = 1e9
    else:
        document[change] = 201
    with pytest.raises(ModelFileError, match="not valid"):
        ScoreSketch.from_bytes(pack("sketch", 1, document, tensors), model)


# Calibration.merge


@pytest.mark.parametrize("n", [1, 5, 1500, 40_000])
def test_merged_calibrations_are_nearly_those_of_all_rows(n):
    errors = np.random.default_rng(n).gamma(2, size=n).astype(np.float32)
    errors[: n // 5] = errors[0]  # ties
    parts = [Calibration.of(part) for part in parts_of(errors, 4, 0) if len(part)]
    merged, exact = Calibration.merge(parts), Calibration.of(errors)
    assert merged.n_rows == exact.n_rows
    assert merged.errors.dtype == np.float32
    p, q = merged.p_values(errors), exact.p_values(errors)
    assert (p >= (1 + np.searchsorted(np.sort(-errors), -errors, side="right")) / (n + 1) - 1e-12).all()
    assert (p <= q * (129 / 128) ** 2 + 1e-12).all()
    backwards = Calibration.merge(parts[::-1])
    np.testing.assert_array_equal(backwards.errors, merged.errors)
    np.testing.assert_array_equal(backwards.counts, merged.counts)
    if n <= N_EXACT:
        np.testing.assert_array_equal(merged.errors, exact.errors)
        np.testing.assert_array_equal(merged.counts, exact.counts)


def test_a_calibration_of_counts_is_that_of_the_errors():
    errors = np.round(np.random.default_rng(0).normal(size=20_000), 3)
    values, counts = np.unique(errors + 0, return_counts=True)
    found, expected = Calibration.of_counts(values, counts), Calibration.of(errors)
    np.testing.assert_array_equal(found.errors, expected.errors)
    np.testing.assert_array_equal(found.counts, expected.counts)
    with pytest.raises(ValueError, match="at least one calibration"):
        Calibration.merge([])


def test_the_public_name():
    assert aefast.ScoreSketch is ScoreSketch
