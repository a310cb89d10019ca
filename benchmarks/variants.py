"""Cost of a training step of each kind of autoencoder, relative to the plain network.

    python benchmarks/variants.py [--threads 1] [--shapes 128-64-32-64-128] [--batch 256]

A step's time is the difference between `fit` with many epochs and with few, so that the work before and after training
does not count. All variants take turns. Products are the multiply-adds of a row; a contractive penalty and a
variational code need more of them.
"""

import command

options = command.parse(
    __doc__, default_threads="1", batch={"type": int, "default": 256, "help": "rows of a minibatch (%(default)s)"}
)

import aefast  # noqa: E402
import results  # noqa: E402
import shapes  # noqa: E402
import timing  # noqa: E402

SHAPES = ["30-16-8-16-30", "128-64-32-64-128", "784-128-32-128-784"]
FEW, MANY = 1, 5  # epochs

VARIANTS = {
    "plain": (aefast.Autoencoder, {}),
    "dropout": (aefast.Autoencoder, {"dropout": 0.1}),
    "batch normalisation": (aefast.Autoencoder, {"batch_norm": True}),
    "tied weights": (aefast.Autoencoder, {"tied_weights": True}),
    "missing values masked": (aefast.Autoencoder, {"missing": "mask"}),
    "denoising, gaussian": (aefast.DenoisingAutoencoder, {"noise": "gaussian"}),
    "denoising, masking": (aefast.DenoisingAutoencoder, {"noise": "masking"}),
    "denoising, salt and pepper": (aefast.DenoisingAutoencoder, {"noise": "salt_pepper"}),
    "sparse, KL": (aefast.SparseAutoencoder, {"sparsity": "kl", "code_activation": "sigmoid"}),
    "sparse, L1": (aefast.SparseAutoencoder, {"sparsity": "l1"}),
    "sparse, k of the code": (aefast.SparseAutoencoder, {"sparsity": "topk", "k": 4}),
    "sparse, threshold": (aefast.SparseAutoencoder, {"sparsity": "threshold"}),
    "variational": (aefast.VariationalAutoencoder, {}),
    "contractive": (aefast.ContractiveAutoencoder, {}),
}


def estimator(name, widths, n_epochs):
    """Return an estimator of the mirrored network with ReLU that does nothing besides training."""
    make, more = VARIANTS[name]
    half = widths[1 : len(widths) // 2 + 1]
    settings = {
        "activation": "relu",
        "scaler": None,
        "validation_fraction": 0.0,
        "early_stopping": False,
        "score_metric": "mse",
        "batch_size": options.batch,
        "max_epochs": n_epochs,
        "n_threads": options.threads,
        "random_state": 0,
    }
    if make is not aefast.VariationalAutoencoder:
        settings["code_activation"] = "relu"
    return make(half, **{**settings, **more})


def products(name, widths):
    """Return the multiply-adds of a row in training: forward, backward, gradients and penalties (`contraction.hpp`)."""
    if name == "variational":  # the encoder has two outputs for each code unit
        half = len(widths) // 2
        widths = [*widths[:half], 2 * widths[half]], widths[half:]
        pairs = [pair for part in widths for pair in zip(part[:-1], part[1:], strict=True)]
    else:
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
    work = sum(3 * a * b for a, b in pairs) - pairs[0][0] * pairs[0][1]
    if name == "contractive":
        first, code = widths[1], widths[len(widths) // 2]
        encoder = widths[1 : len(widths) // 2 + 1]
        work += 2 * code * first**2 + sum(3 * code * a * b for a, b in zip(encoder[:-1], encoder[1:], strict=True))
    return work


def fits(widths, X):
    """Return {(variant, number of epochs): callable that fits}."""
    keys = [(name, n) for name in VARIANTS for n in (FEW, MANY)]
    return {key: lambda key=key, widths=widths, X=X: estimator(key[0], widths, key[1]).fit(X) for key in keys}


def main():
    environment = results.environment(["aefast"])
    print(f"\n## Steps of each kind, {options.threads} thread(s), {environment['isa']}, {environment['processor']}\n")
    for shape in command.chosen(options.shapes, SHAPES):
        widths = shapes.SHAPES[shape]
        n_rows = shapes.training_rows(widths)
        seconds = timing.interleave(fits(widths, shapes.random_rows(n_rows, widths[0])), options.rounds)
        row = {name: (seconds[name, MANY][0] - seconds[name, FEW][0]) / (MANY - FEW) / n_rows for name in VARIANTS}
        table = [
            [
                name,
                f"{1e9 * row[name]:.0f}",
                f"{row[name] / row['plain']:.2f}",
                f"{products(name, widths) / products('plain', widths):.2f}",
            ]
            for name in VARIANTS
        ]
        headers = [f"{shape}, batch {options.batch}", "ns a row", "to the plain one", "its products"]
        print(results.markdown(headers, table) + "\n", flush=True)


if __name__ == "__main__":
    main()
