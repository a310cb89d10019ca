"""
A first model
=============

Train on the rows of one class, score all rows, and compare the scores with the labels.

The table has 569 rows of 30 measurements of cell nuclei (scikit-learn's breast cancer data). The model sees benign
samples only, and no label. Malignant samples should get high scores.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import aefast
from aefast import plots

# %%
# The table
# ---------
# Half of the benign samples train the model. The others are scored, together with all malignant samples.

data = load_breast_cancer(as_frame=True)
benign, malignant = data.data[data.target == 1], data.data[data.target == 0]
train, rest = train_test_split(benign, test_size=0.5, random_state=0)

# %%
# Train and score
# ---------------
# ``fit`` scales the columns, holds out a tenth of the rows, stops when their loss no longer falls, and sets the
# threshold. ``contamination`` is the share of rows to flag.

model = aefast.Autoencoder(contamination=0.05, random_state=0).fit(train)
scores_benign = model.reconstruction_error(rest)
scores_malignant = model.reconstruction_error(malignant)

# %%
# The result
# ----------
# Most malignant samples are above the threshold.

labels = [0] * len(rest) + [1] * len(malignant)
scores = [*scores_benign, *scores_malignant]

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
plots.error_histogram(scores, threshold=model.threshold_, labels=labels, ax=left)
plots.roc_curve(labels, scores, threshold=model.threshold_, ax=right)
plt.show()

# %%
# ``aefast.evaluate`` computes the usual measures.

result = aefast.evaluate(labels, scores, model.threshold_)
print(f"area under the ROC curve {result.aucroc:.3f}")
print(f"at the threshold: precision {result.precision:.2f}, recall {result.recall:.2f}")

# %%
# Reasons
# -------
# The columns with the largest shares of the score of the highest-scoring malignant sample:

highest = malignant.iloc[[scores_malignant.argmax()]]
model.explain(highest, top=4)
