"""The fleet file: whole, lazily read, and refused if a byte of it is damaged."""

import hashlib
import json
import os
import pickle
import struct

import numpy as np
import pandas as pd
import pytest

import aefast
from aefast import Autoencoder, Fleet, ModelFileError
from aefast.model import fleet_file
from aefast.model.model import Model

COLUMNS = ["a", "b", "c"]
KEYS = {"str": ["m-1", "m-2", 'ü"\n'], "int": [1, 2, -7], "float": [0.5, 2, -1.25], "none": [None, "x", "y"]}


def table_of(keys, n=60):
    rng = np.random.default_rng(0)
    column = pd.Series([key for key in keys for _ in range(n)] + [keys[0]] * 3, dtype=object)
    return pd.DataFrame(rng.normal(size=(len(column), 3)), columns=COLUMNS).assign(m=column)


TABLE = table_of(KEYS["str"])


def fleet_of(table, **options):
    estimator = Autoencoder((4, 2), max_epochs=2, learning_rate=0.01, random_state=0)
    return Fleet(estimator, **{"by": "m", **options}).fit(table)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("fleet") / "fleet.safetensors"
    fleet = fleet_of(TABLE)
    fleet.save(path)
    return fleet, path


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("unseen", ["pooled", "error"])
def test_a_loaded_fleet_answers_as_the_one_saved(tmp_path, kind, unseen):
    table = table_of(KEYS[kind])
    fleet = fleet_of(table, unseen=unseen, min_rows=30)
    fleet.save(tmp_path / "f.safetensors")
    again = aefast.load(tmp_path / "f.safetensors")
    assert list(again) == list(fleet)
    assert set(again) == set(KEYS[kind])
    assert again.counts_ == fleet.counts_
    assert str(again.get_params()) == str(fleet.get_params())
    assert (again.pooled_ is None) == (unseen == "error")
    for method in ("reconstruction_error", "p_values", "predict"):
        np.testing.assert_array_equal(getattr(again, method)(table), getattr(fleet, method)(table))


def test_keys_of_several_columns_and_groups_beside_arrays(tmp_path):
    table = TABLE.assign(part=np.arange(len(TABLE)) % 2)
    fleet = fleet_of(table, by=["m", "part"], min_rows=20)
    fleet.save(tmp_path / "f.safetensors")
    again = aefast.load(tmp_path / "f.safetensors")
    assert again.by == ["m", "part"]
    assert ("m-1", 1) in again
    np.testing.assert_array_equal(again.p_values(table), fleet.p_values(table))
    X, groups = TABLE[COLUMNS].to_numpy(), TABLE["m"].to_numpy()
    beside = Fleet(Autoencoder((2,), max_epochs=1, random_state=0)).fit(X, groups=groups)
    beside.save(tmp_path / "g.safetensors")
    again = aefast.load((tmp_path / "g.safetensors").read_bytes())
    np.testing.assert_array_equal(again.p_values(X, groups=groups), beside.p_values(X, groups=groups))


def test_the_same_fleet_gives_the_same_bytes(saved, tmp_path):
    _, path = saved
    fleet_of(TABLE).save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    aefast.load(path).save(tmp_path / "loaded.safetensors")
    assert (tmp_path / "loaded.safetensors").read_bytes() == path.read_bytes()


def test_it_is_a_safetensors_file_of_model_files(saved):
    safetensors = pytest.importorskip("safetensors.numpy")
    fleet, path = saved
    tensors = safetensors.load_file(path)
    assert {name: (str(each.dtype), each.shape[1:]) for name, each in tensors.items()} == {
        "models": ("uint8", ()),
        "ends": ("int64", ()),
        "digests": ("uint8", (32,)),
    }
    for key, end, begin in zip(fleet, tensors["ends"], [0, *tensors["ends"]], strict=False):
        content = tensors["models"][begin:end].tobytes()
        assert content == fleet[key].model_.to_bytes()
        assert Model.load(content).digest() == fleet[key].model_.digest()


def test_one_group_is_read_without_the_others(saved, monkeypatch):
    _, path = saved
    read = []
    original = os.pread
    monkeypatch.setattr(os, "pread", lambda file, n, at: read.append(n) or original(file, n, at))
    fleet = aefast.load(path)
    assert len(fleet) == 3
    assert "m-2" in fleet
    n_before = len(read)
    fleet["m-2"].predict(TABLE[COLUMNS])
    assert len(read) == n_before + 1
    assert sum(read) < os.path.getsize(path) / 1.5


def test_damage_in_one_group_leaves_the_others_usable(saved, tmp_path):
    fleet, path = saved
    content = bytearray(path.read_bytes())
    place = content.index(fleet["m-2"].model_.to_bytes()) + 2000
    content[place] ^= 1
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(content)
    again = aefast.load(damaged)
    assert again["m-1"].predict(TABLE[COLUMNS]).shape == (183,)
    with pytest.raises(ModelFileError, match=r"damaged.safetensors is altered: group 'm-2' does not match its digest"):
        again["m-2"]
    with pytest.raises(ModelFileError, match="group 'm-2'"):
        again.predict(TABLE)


def test_every_byte_is_under_a_digest(saved):
    _, path = saved
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    (length,) = struct.unpack("<Q", content[:8])
    places = {*range(8), *rng.integers(8, length + 8, 60).tolist(), *rng.integers(0, len(content), 200).tolist()}
    for place in [*places, *range(len(content) - 40, len(content))]:
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        with pytest.raises(ModelFileError):
            dict(aefast.load(bytes(changed)).items())


def test_truncated_and_longer_files_are_refused(saved):
    _, path = saved
    content = path.read_bytes()
    for n in (0, 7, 8, 40, 500, len(content) // 2, len(content) - 1):
        with pytest.raises(ModelFileError):
            aefast.load(content[:n])
    with pytest.raises(ModelFileError, match="altered"):
        aefast.load(content + b"\0")


def test_a_file_that_shrinks_after_it_was_opened_is_reported(saved, tmp_path):
    _, path = saved
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(path.read_bytes())
    fleet = aefast.load(copy)
    with copy.open("r+b") as stream:
        stream.truncate(1000)
    with pytest.raises(ModelFileError, match="became shorter after it was opened"):
        fleet["m-1"]


def test_the_file_may_be_replaced_while_it_is_in_use(saved, tmp_path):
    fleet, path = saved
    own = tmp_path / "own.safetensors"
    own.write_bytes(path.read_bytes())
    loaded = aefast.load(own)
    fleet_of(TABLE.assign(a=9 * TABLE["a"])).save(own)
    np.testing.assert_array_equal(loaded.p_values(TABLE), fleet.p_values(TABLE))
    loaded.save(own)
    np.testing.assert_array_equal(aefast.load(own).p_values(TABLE), fleet.p_values(TABLE))


def resealed(content, change):
    """A file whose header was changed by someone who knows how to compute its digest."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    document = json.loads(header["__metadata__"]["fleet"])
    n = header["ends"]["shape"][0]
    models, tables = content[8 + length : len(content) - 40 * n], content[len(content) - 40 * n :]
    models, tables = change(header, document, models, tables) or (models, tables)
    header["__metadata__"].update(fleet=json.dumps(document), digest="0" * 64)
    text = json.dumps(header, separators=(",", ":")).encode()
    start = struct.pack("<Q", len(text)) + text
    digest = hashlib.sha256(start + tables).hexdigest()
    return start.replace(b"0" * 64, digest.encode(), 1) + models + tables


def to_document(**values):
    return lambda header, document, models, tables: document.update(values)


HOSTILE = {
    "class": to_document(**{"class": "os.system"}),
    "unknown parameter": to_document(parameters={"harm": 1}),
    "bad parameter": to_document(parameters={"max_epochs": -1}),
    "huge network": to_document(parameters={"encoder_layer_sizes": {"tuple": [1 << 30]}}),
    "groups": to_document(groups=["m-1", "m-1", "m-2"]),
    "fewer groups": to_document(groups=["m-1"], counts=[1]),
    "nested groups": to_document(groups=[["m-1"], "m-2", "x"]),
    "group of a wrong type": to_document(groups=[{}, "m-2", "x"]),
    "counts": to_document(counts=[-1, 2, 3]),
    "number of counts": to_document(counts=[1]),
    "by": to_document(by=7),
    "no by": to_document(by=[]),
    "min_rows": to_document(min_rows=0),
    "unseen": to_document(unseen="run"),
    "pooled": to_document(has_pooled=1),
    "no pooled": to_document(has_pooled=False),
    "no key": lambda header, document, models, tables: document.pop("counts") and None,
    "size": lambda header, document, models, tables: header["models"].update(shape=[1 << 61]),
    "number": lambda header, document, models, tables: header["ends"].update(shape=[1 << 61]),
    "kind of tensor": lambda header, document, models, tables: header["ends"].update(dtype="F64"),
    "another tensor": lambda header, document, models, tables: header.update(more=header["ends"]),
    "ends descend": lambda header, document, models, tables: (models, tables[8:16] + tables[:8] + tables[16:]),
    "ends beyond": lambda header, document, models, tables: (models, tables[:24] + b"\xff" * 7 + b"\x7f" + tables[32:]),
    "version": lambda header, document, models, tables: header["__metadata__"].update(format_version="2"),
}


@pytest.mark.parametrize("harm", HOSTILE)
def test_hostile_files_are_refused(saved, harm):
    content = resealed(saved[1].read_bytes(), HOSTILE[harm])
    with pytest.raises(ModelFileError):
        dict(aefast.load(content).items())


def test_a_sound_file_survives_resealing(saved):
    content = resealed(saved[1].read_bytes(), lambda *parts: None)
    assert list(aefast.load(content)) == KEYS["str"]


def test_models_of_another_class_are_refused(saved):
    _, path = saved
    other = aefast.SparseAutoencoder((4,), max_epochs=1, random_state=0).fit(TABLE[COLUMNS]).model_.to_bytes()

    def swap(header, document, models, tables):
        ends = np.frombuffer(tables, "<i8", 4).copy()
        parts = [other, *(models[a:b] for a, b in zip(ends[:-1], ends[1:], strict=True))]
        models = b"".join(parts)
        models += b" " * (-len(models) % 8)
        digests = b"".join(hashlib.sha256(part).digest() for part in parts)
        n = len(models)
        header["models"].update(shape=[n], data_offsets=[0, n])
        header["ends"].update(data_offsets=[n, n + 32])
        header["digests"].update(data_offsets=[n + 32, n + 160])
        return models, np.cumsum(list(map(len, parts))).astype("<i8").tobytes() + digests

    hostile = aefast.load(resealed(path.read_bytes(), swap))
    assert hostile["m-2"].predict(TABLE[COLUMNS]).shape == (183,)
    with pytest.raises(ModelFileError, match="group 'm-1' is a SparseAutoencoder among models of Autoencoder"):
        hostile["m-1"]


def test_each_kind_of_file_says_what_it_is(saved, tmp_path):
    fleet, path = saved
    with pytest.raises(ModelFileError, match="is not an aefast model"):
        Model.load(path)
    model = tmp_path / "model.safetensors"
    fleet["m-1"].save(model)
    assert isinstance(aefast.load(model), Autoencoder)
    with pytest.raises(ModelFileError, match="is not an aefast fleet"):
        fleet_file.opened(model)
    with pytest.raises(FileNotFoundError):
        aefast.load(tmp_path / "none.safetensors")


def test_estimators_that_were_changed_are_saved_changed(tmp_path):
    fleet = fleet_of(TABLE)
    fleet["m-1"].threshold_ = 123.0
    fleet.pooled_.threshold_ = 5.0
    fleet.save(tmp_path / "f.safetensors")
    again = aefast.load(tmp_path / "f.safetensors")
    assert again["m-1"].threshold_ == 123.0
    assert again.pooled_.threshold_ == 5.0


def test_a_loaded_fleet_can_be_updated_pickled_and_saved(saved, tmp_path):
    _, path = saved
    fleet = aefast.load(path)
    later = TABLE.assign(m=TABLE["m"].replace("m-2", "new"))
    fleet.update(later)
    assert fleet.updated_ == {"new": "new"}
    fleet.save(tmp_path / "f.safetensors")
    for again in (aefast.load(tmp_path / "f.safetensors"), pickle.loads(pickle.dumps(fleet))):
        assert set(again) == {*KEYS["str"], "new"}
        for table in (TABLE, later):
            np.testing.assert_array_equal(again.p_values(table), fleet.p_values(table))


def test_callbacks_are_not_saved_and_other_code_is_refused(tmp_path):
    estimator = Autoencoder((2,), max_epochs=1, random_state=0, callbacks=[lambda info: None])
    Fleet(estimator, by="m").fit(TABLE).save(tmp_path / "f.safetensors")
    assert aefast.load(tmp_path / "f.safetensors").estimator.callbacks == ()
    noisy = aefast.DenoisingAutoencoder((2,), max_epochs=1, random_state=0, noise=lambda batch: batch)
    with pytest.raises(ValueError, match="cannot save parameter noise"):
        Fleet(noisy, by="m").fit(TABLE).save(tmp_path / "g.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["f.safetensors"]
