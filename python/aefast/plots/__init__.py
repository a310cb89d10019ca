"""Pictures of models and anomaly scores, drawn with Matplotlib.

Every function draws on the Matplotlib axes given as ``ax``, or on those of a new figure, and returns the axes.
"""

from aefast.plots.labelled import precision_recall_curve, roc_curve
from aefast.plots.networks import code_scatter, feature_error_bars, latent_walk, loss_curves, reconstruction_grid
from aefast.plots.scores import calibration, error_histogram, score_drift, scores_over_rows

__all__ = [
    "calibration",
    "code_scatter",
    "error_histogram",
    "feature_error_bars",
    "latent_walk",
    "loss_curves",
    "precision_recall_curve",
    "reconstruction_grid",
    "roc_curve",
    "score_drift",
    "scores_over_rows",
]
