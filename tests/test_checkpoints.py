"""Interrupted training continues to the same bits, and never from a checkpoint of something else."""

import copy
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import aefast
from aefast import Autoencoder, ConvergenceError, ModelFileError
from aefast.callbacks import Checkpoint, CheckpointError
from aefast.model.container import pack, unpack
from aefast.training.checkpoint import digest_of
from messages import raises_exactly

X = np.random.default_rng(0).normal(size=(300, 6)) @ np.random.default_rng(1).normal(size=(6, 6))


class Killed(BaseException):
    """Simulates a kill: no handler catches it."""


def killer(epoch):
    def kill(info):
        if info.epoch == epoch:
            raise Killed

    return kill


def estimator(cls=Autoencoder, **parameters):
    shape = {"encoder_layer_sizes": (4, 2)} if "image_shape" not in parameters else {}
    return cls(**{**shape, "max_epochs": 12, "random_state": 0, "batch_size": 64, **parameters})


def state_of(model):
    return [
        *model.coefs_, *model.intercepts_, *(n for n in model.norms_ if n is not None),
        np.array(model.loss_curve_), np.array(model.validation_curve_), np.array([model.best_loss_, model.threshold_]),
    ]  # fmt: skip


def assert_same(model, other):
    assert model.n_epochs_ == other.n_epochs_
    for mine, theirs in zip(state_of(model), state_of(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def killed_and_resumed(path, epoch, fit, **parameters):
    """A model fitted in two parts, the second by another estimator."""
    with pytest.raises(Killed):
        fit(estimator(callbacks=[Checkpoint(path), killer(epoch)], **parameters))
    assert path.exists()
    told = []
    model = fit(estimator(callbacks=[Checkpoint(path), lambda info: told.append(info.epoch)], **parameters))
    assert told[:1] in ([epoch + 1], [])
    assert not path.exists()
    return model


IMAGES = {"image_shape": (2, 3, 1), "channels": (3, 2), "kernel_size": 2, "pool": 1, "code_size": 2}
CASES = {
    "plain": {},
    "sgd": {"optimizer": aefast.SGD(momentum=0.9, nesterov=True), "learning_rate": 0.01},
    "rmsprop": {"optimizer": "rmsprop"},
    "adamw": {"optimizer": "adamw", "dtype": "float64"},
    "no rows held out": {"validation_fraction": 0},
    "the last weights": {"early_stopping": False},
    "stops early": {"n_epochs_no_change": 2, "tol": 0.01, "max_epochs": 60, "learning_rate": 0.02},
    "batch normalisation": {"batch_norm": True, "dropout": 0.2, "encoder_layer_sizes": (8, 2)},
    "tied": {"tied_weights": True},
    "plateau": {"learning_rate": aefast.ReduceOnPlateau(0.05, patience=2), "max_epochs": 20},
    "cosine": {"learning_rate": aefast.CosineSchedule(0.05, n_epochs=12)},
    "denoising": {"cls": aefast.DenoisingAutoencoder},
    "sparse": {"cls": aefast.SparseAutoencoder, "encoder_layer_sizes": (8,)},
    "contractive": {"cls": aefast.ContractiveAutoencoder},
    "variational": {"cls": aefast.VariationalAutoencoder, "beta": aefast.LinearSchedule(0.0, 1.0, n_epochs=5)},
    "convolutional": {"cls": aefast.ConvolutionalAutoencoder, **IMAGES},
    "convolutional, normalised": {"cls": aefast.ConvolutionalAutoencoder, **IMAGES, "strides": 2, "batch_norm": True},
    "convolutional denoising": {"cls": aefast.ConvolutionalDenoisingAutoencoder, "noise": "masking", **IMAGES},
    "convolutional variational": {"cls": aefast.ConvolutionalVariationalAutoencoder, **IMAGES},
}  # fmt: skip


@pytest.mark.parametrize("parameters", CASES.values(), ids=CASES)
@pytest.mark.parametrize("epoch", [1, 4, 8])
def test_interrupted_training_continues_to_the_same_bits(tmp_path, parameters, epoch):
    model = killed_and_resumed(tmp_path / "c", epoch, lambda e: e.fit(X), **parameters)
    assert_same(model, estimator(**parameters).fit(X))


def test_best_weights_from_before_the_kill_are_kept(tmp_path):
    parameters = {"learning_rate": 0.3, "max_epochs": 6, "activation": "relu", "scaler": "standard"}
    undisturbed = estimator(**parameters).fit(X)
    assert int(np.argmin(undisturbed.validation_curve_)) + 1 < 5
    assert_same(killed_and_resumed(tmp_path / "c", 5, lambda e: e.fit(X), **parameters), undisturbed)


@pytest.mark.parametrize("epoch", [29, 31, 33])
def test_epochs_before_an_objective_has_settled_count_for_nothing_after_a_kill_either(tmp_path, epoch):
    """The weight of the divergence grows for 30 epochs, so that early losses are too low to compare."""
    parameters = {
        "cls": aefast.VariationalAutoencoder, "beta": aefast.LinearSchedule(0.0, 5.0, n_epochs=30),
        "encoder_layer_sizes": (32, 4), "max_epochs": 60, "n_epochs_no_change": 3, "learning_rate": 0.01,
        "batch_size": 16,
    }  # fmt: skip
    undisturbed = estimator(**parameters).fit(X)
    curve = undisturbed.validation_curve_
    assert min(curve[:30]) < min(curve[30:])
    assert len(curve) > 33
    assert_same(killed_and_resumed(tmp_path / "c", epoch, lambda e: e.fit(X), **parameters), undisturbed)


def test_a_kill_after_the_epoch_that_ends_training_trains_no_more(tmp_path):
    parameters = {"n_epochs_no_change": 2, "tol": 0.01, "max_epochs": 60, "learning_rate": 0.02}
    undisturbed = estimator(**parameters).fit(X)
    assert undisturbed.n_epochs_ < 60
    model = killed_and_resumed(tmp_path / "c", undisturbed.n_epochs_, lambda e: e.fit(X), **parameters)
    assert_same(model, undisturbed)


def test_blocks_of_rows_go_on_too(tmp_path):
    blocks = [X[:100], X[100:150], X[150:]]
    model = killed_and_resumed(tmp_path / "c", 5, lambda e: e.fit_batches(blocks))
    assert_same(model, estimator().fit_batches(blocks))


@pytest.mark.parametrize("parameters", [{}, {"validation_fraction": 0}, {"scaler": "robust"}], ids=str)
def test_blocks_of_more_rows_than_are_kept_go_on_too(tmp_path, parameters, monkeypatch):
    """What is kept is chosen by the seed alone."""
    monkeypatch.setattr("aefast.training.blocks.MAX_ROWS", 15)
    blocks = [X[:100], X[100:150], X[150:]]
    undisturbed = estimator(**parameters).fit_batches(blocks)
    # At most 15 of the rows that were learned, and of those held out.
    assert undisturbed.calibration_.n_rows == (15 if parameters.get("validation_fraction") == 0 else 30)
    assert_same(killed_and_resumed(tmp_path / "c", 5, lambda e: e.fit_batches(blocks), **parameters), undisturbed)
    np.testing.assert_array_equal(undisturbed.scaler_scale_, estimator(**parameters).fit_batches(blocks).scaler_scale_)


def test_weighted_and_noisy_rows_go_on_too(tmp_path):
    weights = np.random.default_rng(2).uniform(size=len(X))
    weights[:9] = 0
    assert_same(
        killed_and_resumed(tmp_path / "c", 5, lambda e: e.fit(X, sample_weight=weights)),
        estimator().fit(X, sample_weight=weights),
    )
    noisy = X + np.random.default_rng(3).normal(size=X.shape)
    kind = {"cls": aefast.DenoisingAutoencoder}
    assert_same(
        killed_and_resumed(tmp_path / "c", 5, lambda e: e.fit(X, X_noisy=noisy), **kind),
        estimator(**kind).fit(X, X_noisy=noisy),
    )


def test_a_random_seed_is_remembered(tmp_path):
    seeds = []
    with pytest.raises(Killed):
        estimator(random_state=None, callbacks=[Checkpoint(tmp_path / "c"), killer(3)]).fit(X)
    again = estimator(random_state=None, callbacks=[Checkpoint(tmp_path / "c"), lambda i: seeds.append(i.epoch)]).fit(X)
    assert seeds[0] == 4
    assert again.n_epochs_ == 12


def test_more_epochs_other_threads_and_more_to_say_are_the_same_training(tmp_path, capsys):
    with pytest.raises(Killed):
        estimator(callbacks=[Checkpoint(tmp_path / "c"), killer(3)], max_epochs=5).fit(X)
    model = estimator(callbacks=Checkpoint(tmp_path / "c"), n_threads=2, verbose=1).fit(X)
    assert capsys.readouterr().out.startswith("epoch 4/12")
    assert_same(model, estimator().fit(X))


def test_training_is_saved_every_so_many_epochs(tmp_path):
    with pytest.raises(Killed):
        estimator(callbacks=[Checkpoint(tmp_path / "c", every=4), killer(7)]).fit(X)
    told = []
    model = estimator(callbacks=[Checkpoint(tmp_path / "c", every=4), lambda i: told.append(i.epoch)]).fit(X)
    assert told[0] == 5
    assert_same(model, estimator().fit(X))


def test_the_final_checkpoint_restores_the_model_without_training(tmp_path):
    first = estimator(callbacks=Checkpoint(tmp_path / "c", keep=True)).fit(X)
    assert (tmp_path / "c").exists()
    told = []
    assert_same(estimator(callbacks=[Checkpoint(tmp_path / "c", keep=True), told.append]).fit(X), first)
    assert told == []


def other_rows():
    changed = X.copy()
    changed[7, 3] += 0.5
    return changed


@pytest.mark.parametrize(
    ("parameters", "rows", "said"),
    [
        ({"learning_rate": 0.01}, X, "learning_rate=0.002, now learning_rate=0.01"),
        (
            {"encoder_layer_sizes": (3,)},
            X,
            'encoder_layer_sizes={"tuple": [4, 2]}, now encoder_layer_sizes={"tuple": [3]}',
        ),
        ({"random_state": 1}, X, "random_state=0, now random_state=1"),
        ({"cls": aefast.SparseAutoencoder}, X, "class=Autoencoder, now class=SparseAutoencoder"),
        ({}, other_rows(), "other rows"),
        ({}, X[::-1], "other rows"),
        ({}, X[:-1], "other rows"),
    ],
)
def test_another_training_is_not_gone_on_with(tmp_path, parameters, rows, said):
    path = tmp_path / "c"
    with pytest.raises(Killed):
        estimator(callbacks=[Checkpoint(path), killer(3)]).fit(X)
    with raises_exactly(
        CheckpointError,
        f"{path} belongs to a training with {said}; repeat that call to continue it, or delete the file to start anew",
    ):
        estimator(callbacks=Checkpoint(path), **parameters).fit(rows)
    assert path.exists()


def refused_with(path, said, fit, **parameters):
    with pytest.raises(CheckpointError, match=f"belongs to a training with {said}"):
        fit(estimator(callbacks=Checkpoint(path), **parameters))


@pytest.mark.parametrize("row", range(0, 300, 7))
def test_no_row_may_differ_held_out_or_not(tmp_path, row):
    path, changed = tmp_path / "c", X.copy()
    changed[row, 2] += 1e-3
    with pytest.raises(Killed):
        estimator(callbacks=[Checkpoint(path), killer(3)]).fit(X)
    refused_with(path, "other rows", lambda e: e.fit(changed))


@pytest.mark.parametrize("fit", ["fit", "fit_batches"])
@pytest.mark.parametrize("order", [np.arange(300)[::-1], np.r_[0, 2, 1, 3:300], np.r_[0:200, 201, 200, 202:300]])
def test_the_same_rows_in_another_order_are_other_rows(tmp_path, fit, order):
    """Return columns of 0 to 299 in some order: no sum is rounded, so sums do not depend on the order."""
    rows = np.random.default_rng(5).permuted(np.tile(np.arange(300.0)[:, None], 6), axis=0)
    path, blocks = tmp_path / "c", (lambda rows: rows) if fit == "fit" else lambda rows: np.split(rows, [150])
    with pytest.raises(Killed):
        getattr(estimator(callbacks=[Checkpoint(path), killer(3)], validation_fraction=0), fit)(blocks(rows))
    refused_with(path, "other rows", lambda e: getattr(e, fit)(blocks(rows[order])), validation_fraction=0)


@pytest.mark.parametrize("other", [[X[:150], X[150:]], [X[:100], X[100:200].astype(np.float32), X[200:]], [X]])
def test_the_same_rows_in_other_blocks_are_other_rows(tmp_path, other):
    rows = X.astype(np.float32).astype(np.float64)
    blocks, other = np.split(rows, [100, 200]), [block.astype(np.float32).astype(block.dtype) for block in other]
    with pytest.raises(Killed):
        estimator(callbacks=[Checkpoint(tmp_path / "c"), killer(3)]).fit_batches(blocks)
    refused_with(tmp_path / "c", "other rows", lambda e: e.fit_batches(other))


def test_long_rows_are_compared_to_the_last(tmp_path):
    """More than are looked at at once."""
    rows = np.zeros((80, 1 << 16), np.float32)
    others = [rows.copy() for _ in range(3)]
    for row, other in zip((0, 63, 79), others, strict=True):
        other[row, -1] = 1
    arrays = [
        [rows],
        *([other] for other in others),
        [rows, None, rows],
        [rows.reshape(160, -1)],
        [rows.view(np.int32)],
    ]
    assert len({*map(digest_of, arrays), digest_of([rows], "a")}) == 8
    assert digest_of([np.asfortranarray(rows)]) == digest_of([rows])


@pytest.mark.parametrize("row", [0, 1, 150, 298])
def test_no_weight_noisy_row_or_block_may_differ(tmp_path, row):
    weights = np.ones(len(X))
    cases = {
        "weights": (aefast.Autoencoder, lambda e, change: e.fit(X, sample_weight=weights + change[:, 0])),
        "noisy": (aefast.DenoisingAutoencoder, lambda e, change: e.fit(X, X_noisy=X + 1 + change)),
        "blocks": (aefast.Autoencoder, lambda e, change: e.fit_batches(np.split(X + change, [100]))),
    }
    change = np.zeros_like(X)
    change[row, 0] = 1e-3
    for name, (cls, fit) in cases.items():
        path = tmp_path / name
        with pytest.raises(Killed):
            fit(estimator(cls=cls, callbacks=[Checkpoint(path), killer(3)]), 0 * change)
        refused_with(path, "other rows", lambda e, fit=fit: fit(e, change), cls=cls)


def test_other_weights_to_start_from_and_another_engine_are_not_gone_on_with(tmp_path, monkeypatch):
    path = tmp_path / "c"
    first = estimator(max_epochs=2).fit(X)
    started = [clone_of(first, callbacks=[Checkpoint(path), killer(3)]) for _ in range(3)]
    with pytest.raises(Killed):
        started[0].fit(X)
    started[1].coefs_[0] = started[1].coefs_[0] + 0.5
    with pytest.raises(CheckpointError, match="belongs to a training with other first weights or layers"):
        started[1].fit(X)
    monkeypatch.setattr("aefast.engine.core.isa_level", "v9")
    with pytest.raises(CheckpointError, match=f"engine aefast {aefast.__version__} .*, now aefast .* v9"):
        started[2].fit(X)


def test_another_seed_or_scaler_to_go_on_with_is_another_training(tmp_path):
    """The weights and the settings are the same, and so are the rows held out, of which there are none."""
    first = estimator(max_epochs=2, validation_fraction=0, random_state=np.random.RandomState(0)).fit(X)
    seed = first.continuation_.seed
    changes = {
        "continuation_": replace(first.continuation_, seed=seed + 1),
        "scaler_shift_": first.scaler_shift_ + 1,
        "scaler_scale_": 2 * first.scaler_scale_,
    }
    for name, change in changes.items():
        with pytest.raises(Killed):
            clone_of(first, callbacks=[Checkpoint(tmp_path / name), killer(3)]).fit(X)
        other = clone_of(first, callbacks=[Checkpoint(tmp_path / name)])
        setattr(other, name, change)
        said = {"continuation_": f"seed {seed}, now {seed + 1}"}.get(name, "a scaler of other rows")
        with pytest.raises(CheckpointError, match=f"belongs to a training with {said};"):
            other.fit(X)


def noise_of_ones(name, module=__name__):
    def noise(batch):
        return batch + 1

    noise.__qualname__, noise.__module__ = name, module
    return noise


class Noise:
    def __call__(self, batch):
        return batch + 1


def test_a_noise_of_ones_own_is_known_by_its_name(tmp_path):
    """And not by its place in memory, which is another in each process."""
    kind, path = {"cls": aefast.DenoisingAutoencoder}, tmp_path / "c"
    with pytest.raises(Killed):
        estimator(noise=noise_of_ones("a"), callbacks=[Checkpoint(path, keep=True), killer(3)], **kind).fit(X)
    for other in (noise_of_ones("b"), noise_of_ones("a", "elsewhere"), Noise(), "gaussian"):
        refused_with(path, f"noise={__name__}.a, now noise=", lambda e: e.fit(X), noise=other, **kind)
    again = estimator(noise=noise_of_ones("a"), callbacks=Checkpoint(path), **kind).fit(X)
    assert again.n_epochs_ == 12
    with pytest.raises(Killed):
        estimator(noise=Noise(), callbacks=[Checkpoint(path), killer(3)], **kind).fit(X)
    assert estimator(noise=Noise(), callbacks=Checkpoint(path), **kind).fit(X).n_epochs_ == 12


def test_other_layers_of_the_same_sizes_are_another_training(tmp_path):
    class Other(Autoencoder):
        def _network(self, n_features):
            network = super()._network(n_features)
            network["layers"][0]["activation"] = "tanh"
            return network

    Other.__name__ = "Autoencoder"
    with pytest.raises(Killed):
        estimator(callbacks=[Checkpoint(tmp_path / "c"), killer(3)]).fit(X)
    refused_with(tmp_path / "c", "other first weights or layers", lambda e: e.fit(X), cls=Other)


def clone_of(model, **parameters):
    return copy.deepcopy(model).set_params(warm_start=True, max_epochs=9, **parameters)


@pytest.mark.parametrize("keep", [False, True])
def test_divergence_leaves_no_checkpoint_to_diverge_again(tmp_path, keep):
    """Saved after the first epoch, which goes well."""
    rate, saved = aefast.LinearSchedule(1e-3, 1e6, n_epochs=2), []
    callbacks = [Checkpoint(tmp_path / "c", keep=keep), lambda info: saved.append((tmp_path / "c").exists())]
    with pytest.raises(ConvergenceError):
        estimator(callbacks=callbacks, optimizer="sgd", learning_rate=rate, activation="relu").fit(X)
    assert saved[0]
    assert os.listdir(tmp_path) == []


def test_rows_that_come_once_cannot_be_gone_on_with(tmp_path):
    model = estimator(callbacks=Checkpoint(tmp_path / "c"))
    for fit in (model.partial_fit, lambda rows: model.fit_batches(iter([rows]))):
        with pytest.raises(ValueError, match="a Checkpoint is for fit, and for fit_batches with blocks"):
            fit(X)


@pytest.mark.parametrize("every", [0, -1, 1.5])
def test_savings_must_be_whole_epochs_apart(every):
    with pytest.raises(ValueError, match="every must be an integer of at least 1"):
        Checkpoint("c", every)


def saved(path):
    with pytest.raises(Killed):
        estimator(callbacks=[Checkpoint(path), killer(3)]).fit(X)
    return unpack(path, "checkpoint", 1)


def changed(document, tensors, key, value):
    if key in document:
        return {**document, key: value}, tensors
    return document, {**tensors, key: value}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", -1), ("seed", "0"), ("step", 1.5), ("n_passes", 1 << 70), ("n_passes", 1 << 62), ("n_passes", -1),
        ("seed", 1 << 63), ("seed", True), ("step", 1 << 62), ("identity", 3), ("identity", []),
        ("identity", {}),
        ("parameters.0", np.zeros((9, 9))), ("best.1", np.full(4, np.nan, np.float32)), ("slots.0", np.zeros(1)),
        ("loss_curve", np.zeros((3, 1))), ("monitored", np.zeros((3, 1))), ("validation_curve", np.zeros(2)),
        ("loss_curve", np.zeros(0)), ("monitored", np.zeros(7)), ("validation_curve", np.full(3, np.inf)),
    ],
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit_together_is_refused(tmp_path, key, value):
    path = tmp_path / "c"
    document, tensors, _ = saved(path)
    path.write_bytes(pack("checkpoint", 1, *changed(document, tensors, key, value)))
    with pytest.raises((ModelFileError, CheckpointError), match=str(path)):
        estimator(callbacks=Checkpoint(path)).fit(X)


def test_a_checkpoint_of_no_epoch_is_refused(tmp_path):
    path = tmp_path / "c"
    document, tensors, _ = saved(path)
    none = {name: np.zeros(0) for name in ("loss_curve", "monitored", "validation_curve")}
    path.write_bytes(pack("checkpoint", 1, document, {**tensors, **none}))
    with pytest.raises(ModelFileError, match="the curves have different lengths"):
        estimator(callbacks=Checkpoint(path)).fit(X)


@pytest.mark.parametrize("name", ["parameters", "best", "slots"])
def test_arrays_of_another_precision_are_refused(tmp_path, name):
    path = tmp_path / "c"
    document, tensors, _ = saved(path)
    wide = tensors[f"{name}.0"].astype(np.float64)
    path.write_bytes(pack("checkpoint", 1, *changed(document, tensors, f"{name}.0", wide)))
    with pytest.raises(ModelFileError, match=f"{name} have wrong shapes"):
        estimator(callbacks=Checkpoint(path)).fit(X)


def test_a_damaged_checkpoint_and_a_model_in_its_place_are_refused(tmp_path):
    path = tmp_path / "c"
    saved(path)
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="is altered: its digest does not match"):
        estimator(callbacks=Checkpoint(path)).fit(X)
    estimator().fit(X).save(path)
    with pytest.raises(ModelFileError, match="is not an aefast checkpoint"):
        estimator(callbacks=Checkpoint(path)).fit(X)
    saved(tmp_path / "d")
    with pytest.raises(ModelFileError, match="is not an aefast model"):
        aefast.load(tmp_path / "d")


FOREVER = """
import sys
from dataclasses import replace
import numpy as np
from aefast import Autoencoder
from aefast.callbacks import Checkpoint

X = np.random.default_rng(0).normal(size=(2000, 6))
tell = lambda info: print(info.epoch, flush=True)
model = Autoencoder((4, 2), max_epochs=int(sys.argv[2]), early_stopping=False, random_state=0)
model.set_params(callbacks=[Checkpoint(sys.argv[1]), tell]).fit(X)
np.save(sys.argv[1] + ".npy", model.coefs_[0])
"""


def test_a_process_that_is_killed_is_gone_on_with_by_the_next(tmp_path):
    path = str(tmp_path / "c")
    run = [sys.executable, "-c", FOREVER, path]
    with subprocess.Popen([*run, "100000"], stdout=subprocess.PIPE, text=True) as process:
        try:
            while int(process.stdout.readline()) < 5:
                pass
        finally:
            process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    n_epochs = len(unpack(path, "checkpoint", 1)[1]["loss_curve"])
    told = subprocess.run([*run, str(n_epochs + 5)], capture_output=True, text=True, check=True, timeout=60).stdout
    assert told.split() == [str(n_epochs + i) for i in range(1, 6)]
    rows = np.random.default_rng(0).normal(size=(2000, 6))
    model = Autoencoder((4, 2), max_epochs=n_epochs + 5, early_stopping=False, random_state=0).fit(rows)
    np.testing.assert_array_equal(np.load(path + ".npy"), model.coefs_[0])


def test_a_checkpoint_of_a_version_without_n_init_is_continued(tmp_path):
    path = tmp_path / "c"
    with pytest.raises(Killed):
        estimator(callbacks=[Checkpoint(path), killer(4)]).fit(X)
    document, _, _ = unpack(path, "checkpoint", 1)
    assert "parameter n_init" not in document["identity"]
