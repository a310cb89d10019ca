"""Inputs that are not plain arrays or tables: labelled and masked arrays, streams, lazy frames, empty blocks."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import aefast.pyod
from aefast import Autoencoder, ConvolutionalAutoencoder, load
from aefast.model.model import Model
from aefast.tables.collect import collected
from messages import TAKES_MISSING, raises_exactly

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 6))
FRAME = pd.DataFrame(X, columns=list("abcdef"))
MIXED = FRAME.assign(kind=np.where(X[:, 0] > 0, "x", "y"))


def small(**parameters):
    return Autoencoder((4, 2), **{"max_epochs": 2, "random_state": 0, "n_threads": 1, **parameters})


FITTED = small().fit(X)
SCORES = FITTED.score_samples(X)


class Stream:
    """Rows that can be read only once."""

    def __init__(self, frame):
        self._table = pa.Table.from_pandas(frame, preserve_index=False)

    def __arrow_c_stream__(self, requested_schema=None):
        table, self._table = self._table, self._table.slice(0, 0)
        return table.__arrow_c_stream__(requested_schema)


def reader(frame):
    return pa.Table.from_pandas(frame, preserve_index=False).to_reader()


class Lazy:
    """A table that is computed by a method."""

    def __init__(self, method, table):
        setattr(type(self), method, lambda self: table)


def lazy(method, table):
    return type("Lazy", (Lazy,), {})(method, table)


# Arrays with named dimensions.


def test_arrays_of_xarray_are_read_as_their_values():
    xarray = pytest.importorskip("xarray", reason="tries an array of xarray")
    array = xarray.DataArray(X, dims=("time", "sensor"))
    np.testing.assert_array_equal(small().fit(array).score_samples(array), SCORES)
    np.testing.assert_array_equal(FITTED.model_.errors(array), -SCORES.astype(np.float32))
    images = xarray.DataArray(X.reshape(100, 2, 3), dims=("time", "y", "x"))
    model = ConvolutionalAutoencoder(channels=(2,), pool=1, max_epochs=1, random_state=0).fit(images)
    assert model.image_shape_ == (2, 3, 1)
    with pytest.raises(ValueError, match="Expected 2D array"):
        small().fit(xarray.DataArray(X[:, 0], dims=("time",)))


class Labelled:
    """An array with dimensions, which offers Arrow's streams too, of a row a value."""

    def __init__(self, values):
        self._values = values
        self.shape, self.ndim = values.shape, values.ndim

    def __array__(self, dtype=None, copy=None):
        return np.array(self._values, dtype=dtype)

    def __arrow_c_stream__(self, requested_schema=None):
        return pa.table({"value": self._values.ravel()}).__arrow_c_stream__(requested_schema)

    shape = ()


def test_an_array_that_offers_a_stream_keeps_its_dimensions():
    np.testing.assert_array_equal(FITTED.score_samples(Labelled(X)), SCORES)
    assert small().fit(Labelled(X)).n_features_in_ == 6


# Masked arrays.


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_masked_values_are_missing(dtype):
    values = (X * 100).astype(dtype)
    mask = RNG.uniform(size=X.shape) < 0.05
    masked = np.ma.masked_array(np.where(mask, -9999, values), mask)
    with_nan = np.where(mask, np.nan, values).astype(np.result_type(dtype, np.float32))
    for missing in ("mask", "mean"):
        model, expected = (small(missing=missing).fit(rows) for rows in (masked, with_nan))
        np.testing.assert_array_equal(model.score_samples(masked), expected.score_samples(with_nan))
        np.testing.assert_array_equal(model.model_.errors(masked), model.model_.errors(with_nan))
    row, column = np.argwhere(mask)[0]
    place = f"row {row}, column 'x{column}'"
    message = f"X contains NaN or infinity: {mask.sum()} values are not finite, the first (nan) in {place}"
    for method in (small().fit, FITTED.predict, FITTED.model_.errors):
        with raises_exactly(ValueError, message + TAKES_MISSING):
            method(masked)


def test_a_masked_array_without_masked_values_is_its_values():
    masked = np.ma.masked_array(X, np.zeros(X.shape, bool))
    np.testing.assert_array_equal(FITTED.score_samples(masked), SCORES)
    assert collected(np.ma.masked_array(np.arange(4))).dtype == np.int64


def test_masked_images_and_codes_are_not_read_as_numbers():
    images = np.ma.masked_array(X.reshape(100, 2, 3), X.reshape(100, 2, 3) > 2.5)
    with pytest.raises(ValueError, match="NaN"):
        ConvolutionalAutoencoder(channels=(2,), pool=1, max_epochs=1).fit(images)
    codes = FITTED.transform(X)
    with pytest.raises(ValueError, match="Z contains"):
        FITTED.inverse_transform(np.ma.masked_array(codes, codes > codes.mean()))


# Streams.


@pytest.mark.parametrize("stream", [Stream, reader])
@pytest.mark.parametrize("frame", [FRAME, MIXED], ids=["numbers", "mixed"])
def test_a_stream_is_read_once(stream, frame):
    model = small().fit(frame)
    expected = model.predict(frame)
    np.testing.assert_array_equal(small().fit_predict(stream(frame)), expected)
    np.testing.assert_array_equal(small().fit_transform(stream(frame)), model.transform(frame))
    np.testing.assert_array_equal(model.predict(stream(frame)), expected)
    for explain in (model.explain, model.model_.explain):
        pd.testing.assert_frame_equal(explain(stream(frame)), model.explain(frame))


@pytest.mark.parametrize("missing", ["mask", "mean"])
def test_a_stream_with_missing_values_is_explained(missing):
    frame = MIXED.mask(RNG.uniform(size=MIXED.shape) < 0.1)
    model = small(missing=missing).fit(frame)
    pd.testing.assert_frame_equal(model.model_.explain(Stream(frame)), model.explain(frame))


def test_detectors_of_pyod_read_a_stream_once():
    make = lambda: aefast.pyod.AutoEncoder(epoch_num=1, hidden_neuron_list=(4, 2))  # noqa: E731
    expected = make().fit(FRAME).decision_scores_
    np.testing.assert_array_equal(make().fit(Stream(FRAME)).decision_scores_, expected)
    assert make().fit_predict_score(Stream(FRAME), X[:, 0] > 1) == make().fit_predict_score(FRAME, X[:, 0] > 1)


@pytest.mark.parametrize("frame", [FRAME, MIXED], ids=["numbers", "mixed"])
def test_streams_can_be_blocks(frame):
    expected = small().fit_batches([frame[:60], frame[60:]]).score_samples(frame)
    for stream in (Stream, reader):
        streams = [stream(frame[:60]), stream(frame[60:])]
        np.testing.assert_array_equal(small().fit_batches(streams).score_samples(frame), expected)


def test_the_batches_of_a_reader_are_blocks():
    batches = pa.Table.from_pandas(FRAME).to_reader(max_chunksize=30)
    assert small().fit_batches(batches).n_epochs_ == 1


# Lazy tables.


@pytest.mark.parametrize("method", ["collect", "compute", "toPandas", "to_table"])
@pytest.mark.parametrize("frame", [FRAME, MIXED], ids=["numbers", "mixed"])
def test_lazy_tables_are_computed(method, frame):
    model = small().fit(frame)
    rows = lazy(method, frame if method == "toPandas" else pa.Table.from_pandas(frame))
    again = small().fit(rows)
    assert again.feature_names_in_.tolist() == list(frame.columns)
    expected = model.score_samples(frame)
    np.testing.assert_array_equal(again.score_samples(rows), expected)
    np.testing.assert_array_equal(Model.load(model.model_.to_bytes()).errors(rows), -expected.astype(np.float32))
    blocks = [lazy(method, frame[:60]), lazy(method, frame[60:])]
    np.testing.assert_array_equal(
        small().fit_batches(blocks).score_samples(rows),
        small().fit_batches([frame[:60], frame[60:]]).score_samples(frame),
    )


@pytest.mark.parametrize("frame", [FRAME, MIXED], ids=["numbers", "mixed"])
def test_frames_of_polars_are_read_lazy_or_not(frame, tmp_path):
    polars = pytest.importorskip("polars", reason="tries frames of polars")
    expected = small().fit(frame).score_samples(frame)
    eager = polars.from_arrow(pa.Table.from_pandas(frame))
    for rows in (eager, eager.lazy()):
        model = small().fit(rows)
        np.testing.assert_array_equal(model.score_samples(rows), expected)
        model.save(tmp_path / "model")
        np.testing.assert_array_equal(load(tmp_path / "model").score_samples(rows), expected)


@pytest.mark.parametrize("frame", [FRAME, MIXED], ids=["numbers", "mixed"])
def test_frames_and_arrays_of_dask_are_computed(frame):
    dask = pytest.importorskip("dask.dataframe", reason="tries frames of dask")
    expected = small().fit(frame).score_samples(frame)
    rows = dask.from_pandas(frame, npartitions=3)
    np.testing.assert_allclose(small().fit(rows).score_samples(rows), expected, rtol=1e-6)
    array = dask.from_pandas(FRAME, npartitions=3).to_dask_array(lengths=True)
    np.testing.assert_array_equal(FITTED.score_samples(array), SCORES)


@pytest.mark.parametrize(
    "make", [lambda: (row for row in X), lambda: iter(X.tolist()), lambda: map(list, X)], ids=["generator", "i", "map"]
)
def test_iterators_are_refused_with_what_to_call(make):
    message = (
        f"X is a {type(make()).__name__}, which gives its rows only once: give the array or table of all rows, "
        "numpy.array(list(X)) for instance, or give blocks of rows to fit_batches"
    )
    for method in (small().fit, small().partial_fit, FITTED.predict, FITTED.explain, FITTED.model_.errors):
        with raises_exactly(TypeError, message):
            method(make())


# Blocks without rows.


@pytest.mark.parametrize("frame", [FRAME, MIXED, X], ids=["numbers", "mixed", "array"])
@pytest.mark.parametrize("once", [False, True])
def test_blocks_without_rows_are_skipped(frame, once):
    given = iter if once else list
    expected = small().fit_batches(given([frame[:60], frame[60:]])).score_samples(frame)
    blocks = [frame[:0], frame[:60], frame[:0], frame[60:], frame[:0]]
    np.testing.assert_array_equal(small().fit_batches(given(blocks)).score_samples(frame), expected)
    with raises_exactly(ValueError, "fit_batches needs at least one block of rows, got none"):
        small().fit_batches(given([frame[:0]]))
