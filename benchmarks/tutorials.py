"""Three well-known tutorials of Keras and PyTorch beside aefast: the loss that each reaches, and the time it takes.

    python benchmarks/tutorials.py FOLDER [NAME ...]

FOLDER has ``mnist.npz``. The originals are written as in the tutorials, with their defaults: data loaders, optimizers
that are not fused, no compilation. Keras runs on PyTorch (KERAS_BACKEND=torch). Every run uses one thread.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402

import aefast  # noqa: E402


def mnist(folder):
    """Return the training and the test images as rows with pixels in [0, 1]."""
    with np.load(folder / "mnist.npz", allow_pickle=False) as data:
        return [np.float32(data[key].reshape(len(data[key]), -1)) / 255 for key in ("x_train", "x_test")]


def timed(train):
    """Call train(); return its result, the wall seconds and the CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = train()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def daily_series(n_days, rng):
    """Return values at every five minutes, like NAB's art_daily_small_noise: about 20 by night, 80 from 9 to 18."""
    hours = np.arange(n_days * 288) % 288 / 12
    return np.where((hours >= 9) & (hours < 18), 80.0, 20.0) + rng.uniform(-4, 4, size=len(hours))


def windows(values):
    """Return all windows of a day."""
    return np.lib.stride_tricks.sliding_window_view(np.float32(values), 288)


def pytorch_autoencoder(folder):
    """784-128-64-12-3 on MNIST, 20 epochs: the autoencoder of many PyTorch tutorials. Mean squared error on test."""
    import torch
    from torch import nn

    X, X_test = ((rows - 0.5) / 0.5 for rows in mnist(folder))
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Linear(784, 128), nn.ReLU(True), nn.Linear(128, 64), nn.ReLU(True), nn.Linear(64, 12), nn.ReLU(True)),
        *(nn.Linear(12, 3), nn.Linear(3, 12), nn.ReLU(True), nn.Linear(12, 64), nn.ReLU(True)),
        *(nn.Linear(64, 128), nn.ReLU(True), nn.Linear(128, 784), nn.Tanh()),
    )

    def original():
        batches = torch.utils.data.DataLoader(torch.from_numpy(X), batch_size=128, shuffle=True)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)
        loss = nn.MSELoss()
        for _ in range(20):
            for batch in batches:
                optimizer.zero_grad()
                loss(model(batch), batch).backward()
                optimizer.step()

    _, *seconds = timed(original)
    with torch.no_grad():
        yield "PyTorch", float(np.mean((model(torch.from_numpy(X_test)).numpy() - X_test) ** 2)), *seconds

    ours = aefast.Autoencoder(
        (128, 64, 12, 3),
        activation="relu",
        output_activation="tanh",
        scaler=None,
        batch_size=128,
        learning_rate=1e-3,
        l2=1e-5,
        max_epochs=20,
        early_stopping=False,
        validation_fraction=0,
        score_metric="mse",
        random_state=0,
        n_threads=1,
    )
    _, *seconds = timed(lambda: ours.fit(X))
    yield "aefast", float(ours.reconstruction_error(X_test).mean()), *seconds


def keras_vae(folder):
    """784-64-2 on MNIST, two epochs: the variational autoencoder of Keras' blog. Minus the evidence lower bound."""
    import keras
    from keras import layers, ops

    X, X_test = mnist(folder)
    keras.utils.set_random_seed(0)

    class Sampling(layers.Layer):
        def call(self, moments):
            mean, log_variance = moments
            kl = -0.5 * ops.sum(1 + log_variance - ops.square(mean) - ops.exp(log_variance), axis=-1)
            self.add_loss(ops.mean(kl))
            return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean))

    inputs = keras.Input((784,))
    hidden = layers.Dense(64, activation="relu")(inputs)
    code = Sampling()([layers.Dense(2)(hidden), layers.Dense(2)(hidden)])
    outputs = layers.Dense(784, activation="sigmoid")(layers.Dense(64, activation="relu")(code))
    model = keras.Model(inputs, outputs)
    model.compile("adam", lambda true, made: 784 * ops.mean(keras.losses.binary_crossentropy(true, made)))
    _, *seconds = timed(lambda: model.fit(X, X, epochs=2, batch_size=32, verbose=0))
    yield "Keras", float(model.evaluate(X_test, X_test, verbose=0)), *seconds

    ours = aefast.VariationalAutoencoder(
        (64, 2),
        activation="relu",
        output_activation="sigmoid",
        loss="binary_crossentropy",
        scaler=None,
        batch_size=32,
        learning_rate=1e-3,
        max_epochs=2,
        early_stopping=False,
        validation_fraction=0,
        random_state=0,
        n_threads=1,
    )
    _, *seconds = timed(lambda: ours.fit(X))
    yield "aefast", -float(ours.elbo(X_test).mean()), *seconds


def keras_series(_):
    """Windows of a day, as in Keras' "Timeseries anomaly detection using an Autoencoder". Held-out mean squared error.

    The original is a convolutional network along time with a code of 72 x 16 numbers. aefast has no convolutions along
    time; its network is dense, 288-256-288.
    """
    import keras
    from keras import layers

    values = daily_series(14, np.random.default_rng(0))
    X = windows((values - values.mean()) / values.std())
    held_out = len(X) // 10
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((288, 1)),
            layers.Conv1D(32, 7, padding="same", strides=2, activation="relu"),
            layers.Dropout(0.2),
            layers.Conv1D(16, 7, padding="same", strides=2, activation="relu"),
            layers.Conv1DTranspose(16, 7, padding="same", strides=2, activation="relu"),
            layers.Dropout(0.2),
            layers.Conv1DTranspose(32, 7, padding="same", strides=2, activation="relu"),
            layers.Conv1DTranspose(1, 7, padding="same"),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=5, mode="min")
    rows = np.ascontiguousarray(X)[..., None]
    history, *seconds = timed(
        lambda: model.fit(rows, rows, epochs=50, batch_size=128, validation_split=0.1, callbacks=[stop], verbose=0)
    )
    yield "Keras", history.history["val_loss"][-1], *seconds

    ours = aefast.Autoencoder(
        256,
        scaler=None,
        batch_size=128,
        max_epochs=50,
        n_epochs_no_change=5,
        score_metric="mae",
        random_state=0,
        n_threads=1,
    )
    _, *seconds = timed(lambda: ours.fit(X[:-held_out], validation_data=X[-held_out:]))
    yield "aefast", ours.best_loss_, *seconds


TUTORIALS = {function.__name__: function for function in (pytorch_autoencoder, keras_vae, keras_series)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=list(TUTORIALS), help=f"of {', '.join(TUTORIALS)}")
    given = parser.parse_args()
    print("| tutorial | library | loss | wall s | CPU s |\n| --- | --- | --: | --: | --: |")
    for name in given.names:
        for library, loss, wall, cpu in TUTORIALS[name](given.folder):
            print(f"| {name} | {library} | {loss:.5g} | {wall:.1f} | {cpu:.1f} |", flush=True)


if __name__ == "__main__":
    main()
