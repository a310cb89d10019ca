"""Model files: what is saved is loaded, and everything else is refused."""

import hashlib
import json
import os
import struct

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

import aefast
from aefast import Autoencoder, ModelFileError, load
from aefast.estimators.files import to_bytes
from aefast.model import container as data_file
from aefast.model.file import FORMAT_VERSION
from aefast.model.network import checked_network
from messages import raises_exactly

X = np.random.default_rng(0).normal(size=(120, 5))
FITTED = ("n_features_in_", "n_epochs_", "loss_curve_", "validation_curve_", "best_loss_", "offset_", "threshold_")


def fitted(**parameters):
    parameters = {"encoder_layer_sizes": (6, 2), "max_epochs": 3, "random_state": 0, **parameters}
    return Autoencoder(**parameters).fit(pd.DataFrame(X, columns=list("abcde")))


@pytest.fixture(scope="module")
def model():
    return fitted()


@pytest.fixture(scope="module")
def content(model):
    return to_bytes(model)


def split(content):
    """Return the header as a dict and the bytes of the tensors."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header, data):
    """Return a file of the parts with a correct digest, as a forger would make it."""
    header = {**header, "__metadata__": {**header["__metadata__"], "digest": "0" * 64}}
    text = json.dumps(header, separators=(",", ":")).encode()
    whole = struct.pack("<Q", len(text)) + text + data
    return whole.replace(b"0" * 64, hashlib.sha256(whole).hexdigest().encode(), 1)


def forged(content, change):
    """The file after ``change(model, header)``."""
    header, data = split(content)
    model = json.loads(header["__metadata__"]["model"])
    change(model, header)
    header["__metadata__"]["model"] = json.dumps(model)
    return joined(header, data)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"dtype": "float64", "tied_weights": True},
        {"score_metric": "mse", "scaler": "robust"},
        {"optimizer": aefast.SGD(0.9, nesterov=True), "learning_rate": aefast.CosineSchedule(0.01, 5)},
        {"encoder_layer_sizes": [np.int64(3)], "dropout": (0.1,), "validation_fraction": np.float32(0.25)},
        {"scaler": None, "validation_fraction": 0, "max_epochs": 0, "encoder_layer_sizes": "auto"},
    ],
    ids=["default", "tied", "robust", "objects", "sequences", "untrained"],
)
def test_a_loaded_object_equals_the_saved_one(parameters, tmp_path):
    model = fitted(**parameters)
    model.save(tmp_path / "model.safetensors")
    again = aefast.load(tmp_path / "model.safetensors")
    assert type(again) is Autoencoder
    frame = pd.DataFrame(X, columns=list("abcde"))
    np.testing.assert_array_equal(again.reconstruction_error(frame), model.reconstruction_error(frame))
    np.testing.assert_array_equal(again.transform(frame), model.transform(frame))
    np.testing.assert_array_equal(again.p_values(frame), model.p_values(frame))
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
    assert again.feature_names_in_.tolist() == list("abcde")
    for name in FITTED:
        assert getattr(again, name) == getattr(model, name), name
    assert (again.whitening_ is None) == (model.whitening_ is None)
    for array, expected in zip(again.whitening_ or (), model.whitening_ or (), strict=True):
        np.testing.assert_array_equal(array, expected)
    for name, value in model.get_params().items():
        assert np.array_equal(getattr(again, name), value), name
        assert isinstance(getattr(again, name), type(value)) or isinstance(value, np.generic), name


@pytest.mark.parametrize("value", [5e-324, 1e-310, 1e-300, 1e30])
def test_a_model_of_a_constant_column_of_any_size_is_loaded_again(value):
    table = np.column_stack([X, np.full(len(X), value)])
    model = Autoencoder(max_epochs=2, random_state=0).fit(table)
    again = load(to_bytes(model))
    np.testing.assert_array_equal(again.score_samples(table), model.score_samples(table))
    assert again.p_values(np.append(X[0], 2 * value).reshape(1, -1)) > 0


def test_a_loaded_model_trains_on():
    model = fitted(warm_start=True)
    again = load(to_bytes(model))
    again.fit(pd.DataFrame(X, columns=list("abcde")))
    assert again.n_epochs_ == 6
    np.testing.assert_array_equal(again.scaler_shift_, model.scaler_shift_)
    assert any((a != b).any() for a, b in zip(again.coefs_, model.coefs_, strict=True))
    again.partial_fit(pd.DataFrame(X, columns=list("abcde")))
    assert again.n_epochs_ == 7


def test_the_same_model_gives_the_same_bytes(model, content):
    assert to_bytes(model) == content == to_bytes(load(content))


def test_a_model_of_a_thousand_rows_of_twenty_columns_has_forty_kilobytes():
    X = np.random.default_rng(0).normal(size=(1000, 20))
    assert len(to_bytes(Autoencoder(random_state=0, n_threads=1).fit(X))) < 40_000


def test_a_model_without_names_comes_back_without_names():
    model = Autoencoder((2,), max_epochs=1).fit(X)
    assert not hasattr(load(to_bytes(model)), "feature_names_in_")


def test_other_readers_of_the_format_read_the_tensors(model, content, tmp_path):
    tensors = safetensors.numpy.load(content)
    np.testing.assert_array_equal(tensors["coefs.0"], model.coefs_[0])
    np.testing.assert_array_equal(tensors["calibration.errors"], model.calibration_.errors)
    np.testing.assert_array_equal(tensors["calibration.counts"], model.calibration_.counts)


# Writing.


def test_a_file_appears_whole_or_not_at_all(model, tmp_path, monkeypatch):
    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    (tmp_path / "old").write_bytes(b"as it was")
    for name in ("old", "new"):
        with pytest.raises(OSError, match="No space left") as caught:
            model.save(tmp_path / name)
        assert caught.value.filename == str(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_bytes() == b"as it was"


def test_saving_replaces_what_a_link_points_to(model, content, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder/model")
    model.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder/model").read_bytes() == content


def test_permissions_are_those_of_any_new_file(model, tmp_path):
    model.save(tmp_path / "model")
    (tmp_path / "other").touch()
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_missing_folder_is_an_os_error(model, tmp_path):
    with pytest.raises(FileNotFoundError):
        model.save(tmp_path / "no/model")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (
            "learning_rate",
            type("Mine", (), {"rate": lambda self, epoch, losses: 0.1, "__repr__": lambda self: "Mine()"})(),
        ),
    ],
)
def test_parameters_that_are_no_data_are_refused_by_name(name, value):
    remedy = f"a model file holds data only; set_params({name}=...) to a plain value first, which changes no score"
    message = f"cannot save parameter {name}={value!r}: {remedy}"
    with raises_exactly(ValueError, message):
        to_bytes(fitted(**{name: value}))


def test_other_classes_have_no_format(model):
    class Mine(Autoencoder):
        pass

    with pytest.raises(ValueError, match="cannot save a Mine: only Autoencoder, .* have a file format"):
        to_bytes(Mine((2,), max_epochs=0).fit(X))


# Reading what is damaged.


def test_a_file_cut_anywhere_is_noticed(content, tmp_path):
    for length in range(len(content)):
        with pytest.raises(ModelFileError, match="truncated"):
            load(content[:length])


def test_a_change_of_any_byte_is_noticed(content):
    for place in range(len(content)):
        for change in (0x01, 0x80):
            damaged = bytearray(content)
            damaged[place] ^= change
            with pytest.raises(ModelFileError):
                load(damaged)


def test_a_change_among_the_tensors_is_called_an_alteration(content):
    damaged = bytearray(content)
    damaged[-1] ^= 1
    with raises_exactly(ModelFileError, "the model is altered: its digest does not match what is in it"):
        load(damaged)


def test_bytes_after_the_end_are_an_alteration(content):
    with pytest.raises(ModelFileError, match="is altered: 3 bytes stand after its last tensor"):
        load(content + b"abc")


def test_a_newer_format_is_refused_as_newer(content):
    header, data = split(content)
    header["__metadata__"]["format_version"] = str(FORMAT_VERSION + 1)
    message = f"the model has format version 2, but aefast {aefast.__version__} reads up to 1: upgrade aefast"
    with raises_exactly(ModelFileError, message):
        load(joined(header, data))


@given(st.binary(max_size=200))
def test_other_bytes_are_not_a_model(data):
    with pytest.raises(ModelFileError, match="is not an aefast model"):
        load(data)


def test_the_message_names_the_file(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n" * 100)
    with raises_exactly(
        ModelFileError, f"{path} is not an aefast model, or truncated: its header is not one of aefast's"
    ):
        load(path)


def test_loading_refuses_folders_and_pipes_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ModelFileError, match="is not a regular file"):
            load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")


# Reading what is forged: the digest is right, the content is not.


def set_path(*path_and_value):
    *path, last, value = path_and_value

    def change(model, header):
        place = model
        for key in path:
            place = place[key]
        place[last] = value

    return change


def nothing_at_the_end(header, shape):
    """A tensor of no elements after all others."""
    end = max(entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
    return {"dtype": "F32", "shape": shape, "data_offsets": [end, end]}


@pytest.mark.parametrize(
    "change",
    [
        set_path("class", "os.system"),
        set_path("class", "__builtins__"),
        set_path("class", ["Autoencoder"]),
        set_path("parameters", "activation", "exec"),
        set_path("parameters", "callbacks", {"object": "SGD", "fields": {}}),
        set_path("parameters", "optimizer", {"object": "Popen", "fields": {}}),
        set_path("parameters", "optimizer", {"object": "SGD", "fields": {"momentum": "x"}}),
        set_path("parameters", "optimizer", {"object": "SGD", "fields": {"nothing": 1}}),
        set_path("parameters", "n_threads", {"tuple": 3}),
        set_path("parameters", "not_a_parameter", 1),
        set_path("parameters", None),
        set_path("feature_names", ["a"]),
        set_path("feature_names", [1, 2, 3, 4, 5]),
        set_path("network", "n_features", 10**12),
        set_path("network", "n_features", 5.0),
        set_path("network", "n_encoder_layers", 4),
        set_path("network", "layers", []),
        set_path("network", "layers", [{}] * 100_000),
        set_path("network", "groups", [[0, 5]]),
        set_path("network", "layers", 0, "units", 7),
        set_path("network", "layers", 0, "units", -6),
        set_path("network", "layers", 0, "activation", "softmax"),
        set_path("network", "layers", 0, "kind", "lambda"),
        set_path("network", "layers", 3, "tied_to", 3),
        set_path("network", "layers", 3, "tied_to", 0),
        set_path("network", "layers", 0, "dropout", 1.0),
        set_path("offset", "high"),
        set_path("offset", True),
        set_path("score_metric", "auto"),
        set_path("score_metric", "binary_crossentropy"),
        set_path("score_metric", []),
        set_path("scaler", "quantile"),
        set_path("loss", "quantile"),
        set_path("loss", []),
        lambda model, header: model.clear(),
        lambda model, header: header.pop("coefs.3"),
        lambda model, header: header["coefs.0"].update(dtype="BF16"),
        lambda model, header: header["coefs.0"].update(dtype=["F32"]),
        lambda model, header: header["coefs.0"].update(shape=[6, 5]),
        lambda model, header: header["coefs.0"].update(shape=[1 << 62, 1 << 62]),
        lambda model, header: header["coefs.0"].update(shape=[-5, -6]),
        lambda model, header: header["coefs.0"].update(shape=[5.0, 6.0]),
        lambda model, header: header["coefs.0"].update(shape=None),
        lambda model, header: header["coefs.0"].update(data_offsets=[0, 120]),
        lambda model, header: header["coefs.0"].update(data_offsets=[10**30, 10**30 + 120]),
        lambda model, header: header["coefs.0"].update(data_offsets=[0]),
        lambda model, header: header.update({"coefs.0": []}),
        lambda model, header: header.update({"extra": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}),
        lambda model, header: header.update({"extra": nothing_at_the_end(header, [0, 1 << 62])}),
        lambda model, header: header.update({"extra": nothing_at_the_end(header, [1 << 40, 0, 1 << 40])}),
        lambda model, header: header["__metadata__"].update(format_version="-1"),
        lambda model, header: header["__metadata__"].update(format_version="one"),
    ],
)
def test_forged_descriptions_are_refused(content, change):
    with pytest.raises(ModelFileError):
        load(forged(content, change))


def test_a_metric_without_its_whitening_is_refused():
    with pytest.raises(ModelFileError):
        load(forged(to_bytes(fitted(score_metric="mse")), set_path("score_metric", "mahalanobis")))


@pytest.mark.parametrize("part", ["centre", "matrix", "usual", "deviation"])
def test_a_whitening_that_does_not_fit_is_refused(part):
    whole = to_bytes(fitted(score_metric="mahalanobis"))
    changes = [
        lambda model, header: header[f"whitening.{part}"].update(shape=header[f"whitening.{part}"]["shape"] + [1]),
        lambda model, header: header[f"whitening.{part}"].update(shape=[1 << 40, 1 << 40]),
        lambda model, header: header.update({"whitening.other": header.pop(f"whitening.{part}")}),
    ]
    for change in changes:
        with pytest.raises(ModelFileError):
            load(forged(whole, change))


@pytest.mark.parametrize(
    ("tensor", "value"),
    [
        ("coefs.0", np.nan),
        ("intercepts.1", np.inf),
        ("scaler.scale", 0.0),
        ("scaler.shift", np.nan),
        ("curves.loss", np.nan),
        ("calibration.errors", np.nan),
        ("calibration.errors", 1e9),
        ("calibration.counts", 0.5),
        ("calibration.counts", 1e300),
        ("calibration.counts", -1),
    ],
)
def test_forged_numbers_are_refused(content, tensor, value):
    header, data = split(content)
    begin = header[tensor]["data_offsets"][0]
    with np.errstate(over="ignore"):
        number = np.array([value], dtype={"F32": "<f4", "F64": "<f8"}[header[tensor]["dtype"]]).tobytes()
    with pytest.raises(ModelFileError, match="is not a valid model"):
        load(joined(header, data[:begin] + number + data[begin + len(number) :]))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"class":"Autoencoder","class":"Autoencoder"}',
        "1e999999999",
        '"' + "9" * 5000 + '"',
        "9" * 5000,
        "null",
    ],
    ids=["deep", "doubled key", "huge number", "string", "long number", "null"],
)
def test_hostile_json_is_refused(content, text):
    header, data = split(content)
    header["__metadata__"]["model"] = text
    with pytest.raises(ModelFileError):
        load(joined(header, data))


def test_a_header_of_impossible_length_allocates_nothing(content):
    for length in (0, 8, 1 << 40, (1 << 64) - 1):
        with pytest.raises(ModelFileError, match="truncated|altered"):
            load(struct.pack("<Q", length) + content[8:])


# What can be fitted can be saved, and what is saved can be loaded.


@pytest.mark.parametrize(
    ("image", "parameters"),
    [
        ((1024, 1024, 1), {"channels": (32, 1)}),
        ((2, 2, 1), {"channels": (1,), "kernel_size": 7}),
        ((1, 1, 1), {"channels": (1,), "pool": 1}),
        ((1, 3, 1), {"channels": (1,), "strides": 2, "pool": 2}),
        ((1, 19, 2), {"channels": (1, 2), "strides": (2, 3), "pool": (3, 1), "upsampling": "transposed"}),
        ((31, 5, 1), {"channels": (1, 1), "kernel_size": 2, "strides": 2, "pool": 1, "padding": "valid"}),
    ],
    ids=["large images", "a kernel larger than the image", "one pixel", "a step beyond", "long steps", "steps inside"],
)
def test_images_and_kernels_of_any_sense_are_loaded_again(image, parameters):
    for batch_norm in (False, True):
        network = aefast.ConvolutionalAutoencoder(image, batch_norm=batch_norm, **parameters)
        network.image_shape_ = image
        made = network._network(int(np.prod(image)))
        assert checked_network(json.loads(json.dumps(made)))["layers"] == made["layers"]


def test_a_kernel_larger_than_its_image_is_saved(tmp_path):
    rows = np.random.default_rng(0).random((30, 4))
    model = aefast.ConvolutionalAutoencoder((2, 2, 1), channels=(2,), kernel_size=7, max_epochs=1).fit(rows)
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(load(tmp_path / "m").reconstruct(rows), model.reconstruct(rows))


def test_images_beyond_reason_are_refused_in_fit():
    model = aefast.ConvolutionalAutoencoder((8, 8, 1), channels=(1 << 21,), max_epochs=0)
    message = (
        "channels=(2097152,) makes images of 8 x 8 x 2097152 = 134,217,728 values, and inside the network there may be "
        "at most 1,048,576: use fewer channels"
    )
    with raises_exactly(ValueError, message):
        model.fit(np.ones((2, 64)))


def test_fit_refuses_more_threads_than_a_model_file_may_have():
    with pytest.raises(ValueError, match=r"'n_threads' parameter .* in the range \[1, 1024\]. Got 2000"):
        fitted(n_threads=2000)


def test_a_model_with_a_parameter_that_is_not_allowed_is_not_saved(tmp_path):
    model = fitted().set_params(contamination=0.9)
    with pytest.raises(ValueError, match=r"could not be loaded again: The 'contamination' parameter .* Got 0.9"):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_very_many_long_names_are_read_again():
    names = {"feature_names": [f"{i:063d}" for i in range(300_000)]}
    assert data_file.unpack(data_file.pack("model", 1, names, {}), "model", 1)[0] == names


def test_names_that_no_file_holds_are_refused_before_it_is_written(monkeypatch, model):
    monkeypatch.setattr(data_file, "MAX_HEADER", 1000)
    with pytest.raises(ValueError, match="a header of .* bytes, and a file can have 1,000: give the columns shorter"):
        to_bytes(model)


def test_a_model_contains_nothing_of_its_process(tmp_path):
    mine = tmp_path / "t.checkpoint"
    for callbacks in ((print_nothing,), print_nothing, [aefast.Checkpoint(mine)]):
        estimator = fitted(callbacks=callbacks, random_state=np.random.RandomState(0))
        estimator.save(tmp_path / "m")
        again = aefast.load(tmp_path / "m")
        assert (again.callbacks, again.random_state) == ((), None)
        np.testing.assert_array_equal(again.coefs_[0], estimator.coefs_[0])
        assert estimator.callbacks is callbacks


def print_nothing(info):
    pass


def test_a_file_that_does_not_tell_the_loss_was_fitted_with_that_of_its_parameters(content):
    assert load(forged(content, lambda model, header: model.pop("loss"))).model_.loss == "mse"
