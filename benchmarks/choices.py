"""What variant, size, loss and score are worth for detection: aefast with one choice changed at a time.

    python benchmarks/choices.py FOLDER [--seeds 0] [--rows N] [--json FILE]

FOLDER holds ADBench's tables, with the protocols of `detection.py`, cut to N rows. "Better" and "worse" count the
tables on which the area under the ROC curve differs from that of the defaults by more than .01, both protocols
together.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split

import aefast
import results
from detection import PROTOCOLS, read, split


def sizes(factor):
    """Return a function of the number of features: layers of the default form, with a code that much wider."""
    return lambda d: (min(256, max(8, 2 * d)), max(1, round(factor * d**0.5)))


CHOICES = {
    "defaults": (aefast.Autoencoder, {}),
    "DenoisingAutoencoder": (aefast.DenoisingAutoencoder, {}),
    "SparseAutoencoder": (aefast.SparseAutoencoder, {}),
    "ContractiveAutoencoder": (aefast.ContractiveAutoencoder, {}),
    "VariationalAutoencoder": (aefast.VariationalAutoencoder, {}),
    'loss="mae"': (aefast.Autoencoder, {"loss": "mae"}),
    'loss="huber"': (aefast.Autoencoder, {"loss": "huber"}),
    "code of half the width": (aefast.Autoencoder, {"encoder_layer_sizes": sizes(0.5)}),
    "code of twice the width": (aefast.Autoencoder, {"encoder_layer_sizes": sizes(2)}),
    "one more hidden layer": (
        aefast.Autoencoder,
        {"encoder_layer_sizes": lambda d: (min(256, max(8, 2 * d)), max(8, d), max(1, round(d**0.5)))},
    ),
    'activation="relu"': (aefast.Autoencoder, {"activation": "relu"}),
    'scaler="standard"': (aefast.Autoencoder, {"scaler": "standard"}),
    'score_metric="mse"': (aefast.Autoencoder, {"score_metric": "mse"}),
    "n_init=3": (aefast.Autoencoder, {"n_init": 3}),
    "max_epochs=300": (aefast.Autoencoder, {"max_epochs": 300}),
}


def measure(choice, train, test, labels, seed):
    """Return the area under the ROC curve, the average precision and the CPU seconds."""
    variant, parameters = CHOICES[choice]
    given = {name: value(train.shape[1]) if callable(value) else value for name, value in parameters.items()}
    began = time.process_time()
    scores = variant(random_state=seed, n_threads=1, **given).fit(train).reconstruction_error(test)
    seconds = time.process_time() - began
    return roc_auc_score(labels, scores), average_precision_score(labels, scores), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of .npz files")
    parser.add_argument("--seeds", default="0", help="comma-separated (%(default)s)")
    parser.add_argument("--rows", type=int, default=2000, help="most rows of a table (%(default)s)")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args()
    files = sorted(options.data.glob("*.npz"))
    found = {choice: [] for choice in CHOICES}
    for path in files:
        X, y = read(path)
        if len(X) > options.rows:
            some, _ = train_test_split(np.arange(len(X)), train_size=options.rows, stratify=y, random_state=0)
            X, y = X[some], y[some]
        for protocol in PROTOCOLS:
            for seed in map(int, options.seeds.split(",")):
                train, test, labels = split(X, y, protocol, seed)
                for choice, measured in found.items():
                    measured.append((protocol, *measure(choice, train, test, labels, seed)))
    if options.json:
        options.json.write_text(json.dumps(found, indent=0))
    usual = np.array([area for _, area, *_ in found["defaults"]])
    rows = []
    for choice, measured in found.items():
        areas = np.array([area for _, area, *_ in measured])
        means = [
            f"{np.mean([each[k] for each in measured if each[0] == protocol]):.3f}"
            for protocol in PROTOCOLS
            for k in (1, 2)
        ]
        better, worse = (int(np.sum(sign * (areas - usual) > 0.01)) for sign in (1, -1))
        rows.append([choice, *means, better, worse, f"{sum(each[3] for each in measured):.1f}"])
    headers = [f"{protocol}: {what}" for protocol in PROTOCOLS for what in ("AUCROC", "AP")]
    print(f"\n{len(files)} tables of at most {options.rows:,} rows, seeds {options.seeds}, {results.processor()}\n")
    print(results.markdown(["", *headers, "better", "worse", "CPU s"], rows))


if __name__ == "__main__":
    main()
