"""
Codes as features of a classifier
=================================

An autoencoder in a scikit-learn ``Pipeline``, with its size chosen by ``GridSearchCV``.

The autoencoder is trained without labels. The grid shows how many numbers per image a classifier needs, as a code of
the autoencoder and, for comparison, as principal components.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from aefast import Autoencoder

images, digits = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(np.float32(images / 16), digits, random_state=0, stratify=digits)

# %%
# Two pipelines, one grid
# -----------------------

sizes = (2, 4, 8, 16)
encoder = Autoencoder(
    activation="relu",
    output_activation="sigmoid",
    learning_rate=3e-3,
    batch_size=64,
    max_epochs=40,
    scaler=None,
    random_state=0,
)
searches = {
    "autoencoder": GridSearchCV(
        Pipeline([("features", encoder), ("classifier", KNeighborsClassifier(7))]),
        {"features__encoder_layer_sizes": [(128, size) for size in sizes]},
        cv=3,
    ),
    "principal components": GridSearchCV(
        Pipeline([("features", PCA(random_state=0)), ("classifier", KNeighborsClassifier(7))]),
        {"features__n_components": sizes},
        cv=3,
    ),
}

# %%
# Result
# ------

accuracies, best = {}, {}
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for (name, search), style in zip(searches.items(), ("o-", "s--"), strict=True):
    search.fit(X, y)
    results = search.cv_results_
    ax.errorbar(sizes, results["mean_test_score"], results["std_test_score"], fmt=style, capsize=3, label=name)
    accuracies[name] = dict(zip(sizes, results["mean_test_score"].tolist(), strict=True))
    best[name] = float(search.score(X_test, y_test))
ax.set_xscale("log", base=2)
ax.set_xticks(sizes, sizes)
ax.set(title="7 nearest neighbours on codes", xlabel="numbers per image", ylabel="cross-validated accuracy")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False, loc="lower right")
plt.show()
print({name: round(value, 3) for name, value in best.items()})
