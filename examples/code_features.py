"""Codes as features of a classifier: an autoencoder in a scikit-learn Pipeline, with its size chosen by GridSearchCV.

The autoencoder is trained without labels. The grid shows how many numbers per image a classifier needs, as a code of
the autoencoder and, for comparison, as principal components.
"""

import matplotlib.pyplot as plt
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from aefast import Autoencoder
from pictures import digits, options

SIZES = (2, 4, 8, 16)


def main(arguments=None):
    folder, picture = options(__doc__, "code_features.png", arguments)
    X, y, X_test, y_test = (part[:10_000] for part in digits(folder))

    encoder = Autoencoder(
        activation="relu",
        output_activation="sigmoid",
        learning_rate=3e-3,
        batch_size=64,
        max_epochs=40,
        scaler=None,
        random_state=0,
    )
    pipeline = Pipeline([("features", encoder), ("classifier", KNeighborsClassifier(7))])
    searches = {
        "autoencoder": GridSearchCV(pipeline, {"features__encoder_layer_sizes": [(128, size) for size in SIZES]}, cv=3),
        "principal components": GridSearchCV(
            Pipeline([("features", PCA(random_state=0)), ("classifier", KNeighborsClassifier(7))]),
            {"features__n_components": SIZES},
            cv=3,
        ),
    }

    accuracies = {}
    _, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    for (name, search), style in zip(searches.items(), ("o-", "s--"), strict=True):
        search.fit(X, y)
        results = search.cv_results_
        ax.errorbar(SIZES, results["mean_test_score"], results["std_test_score"], fmt=style, capsize=3, label=name)
        accuracies[name] = dict(zip(SIZES, results["mean_test_score"].tolist(), strict=True))
        accuracies[f"{name}, best on test"] = float(search.score(X_test, y_test))
    ax.set_xscale("log", base=2)
    ax.set_xticks(SIZES, SIZES)
    ax.set(title="7 nearest neighbours on codes", xlabel="numbers per image", ylabel="cross-validated accuracy")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="lower right")
    plt.savefig(picture, dpi=120)
    return accuracies


if __name__ == "__main__":
    print(main())
