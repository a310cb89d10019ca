"""End to end: `fit` and `reconstruction_error` as a user calls them, beside the peers.

    python benchmarks/end_to_end.py [--threads 1,all]

One network (30-16-8-16-30), 100,000 rows, minibatches of 256. The time of `fit` includes everything besides training.
"""

import command

options = command.parse(__doc__)

import numpy as np  # noqa: E402

import peers  # noqa: E402
import results  # noqa: E402
import shapes  # noqa: E402
import timing  # noqa: E402
from aefast import Autoencoder  # noqa: E402

WIDTHS, N_ROWS, BATCH_SIZE, EPOCHS = (30, 16, 8, 16, 30), 100_000, 256, 5
OTHERS = ["numpy", "torch", "jax", "scikit-learn", "onnxruntime", "openvino"]


def estimator(**changed):
    """Return an autoencoder that does the same work as the peers: no validation rows, no scaling, ReLU throughout."""
    settings = {
        "encoder_layer_sizes": WIDTHS[1:3],
        "activation": "relu",
        "code_activation": "relu",
        "learning_rate": 1e-3,
        "score_metric": "mse",
        "scaler": None,
        "validation_fraction": 0.0,
        "early_stopping": False,
        "batch_size": BATCH_SIZE,
        "max_epochs": EPOCHS,
        "random_state": 0,
        "n_threads": options.threads,
    }
    return Autoencoder(**{**settings, **changed})


def compare(title, ours, others, n_rows):
    """Print a table of rows per second and of aefast's ratio to each peer."""
    seconds = timing.interleave({"aefast": ours, **others}, options.rounds)
    rates = {name: n_rows / best for name, (best, _) in seconds.items()}
    rows = [[name, results.rate(r), f"{rates['aefast'] / r:.2f}"] for name, r in rates.items()]
    print(results.markdown([title, "rows/s", "aefast is faster by"], rows) + "\n")
    return rates


def main():
    X, weights = shapes.random_rows(N_ROWS, WIDTHS[0]), shapes.random_weights(WIDTHS)
    found, missing = peers.load(options.peers.split(",") if options.peers else OTHERS)
    environment = results.environment(["aefast", *found])
    print(f"\n## End to end, {options.threads} thread(s), {environment['isa']}, {environment['processor']}\n")
    for name, reason in missing.items():
        print(f"- {name} is left out: {reason}\n")
    made = {name: make(weights, options.threads) for name, make in found.items()}

    def fitting(peer):
        return lambda: peer.train(X, BATCH_SIZE, EPOCHS)

    training = {name: fitting(peer) for name, peer in made.items() if peer.trains}
    fit_rates = compare(f"fit, {EPOCHS} epochs", lambda: estimator().fit(X), training, N_ROWS * EPOCHS)
    whole = timing.interleave({"": lambda: Autoencoder(max_epochs=EPOCHS, n_threads=options.threads).fit(X)}, 3)[""][0]
    print(f"With the default settings (sizes, scaling, validation, threshold): {whole:.3f} s for {EPOCHS} epochs.\n")

    fitted = estimator(max_epochs=0).fit(X)
    fitted.coefs_, fitted.intercepts_ = [w for w, _ in weights], [b for _, b in weights]
    made = {name: make(weights, options.threads) for name, make in found.items()}
    if "numpy" in made:
        expected = made["numpy"].score(X, 1024)
        np.testing.assert_allclose(fitted.reconstruction_error(X, metric="mse"), expected, rtol=1e-4)

    def scoring(peer):
        batch = timing.best_argument(lambda b: peer.score(X, b), peer.scoring_batches)
        return lambda: peer.score(X, batch)

    ready = {name: scoring(peer) for name, peer in made.items()}
    score_rates = compare("reconstruction_error", lambda: fitted.reconstruction_error(X, metric="mse"), ready, N_ROWS)
    if options.json:
        record = {"what": "end to end", "threads": options.threads, "fit": fit_rates, "score": score_rates}
        results.append_json(options.json, {**record, **environment})


if __name__ == "__main__":
    main()
