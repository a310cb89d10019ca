"""Pictures of training, scores, reconstructions and codes, drawn with Matplotlib."""

from aefast.plots.scores import (
    calibration,
    code_scatter,
    error_histogram,
    feature_error_bars,
    latent_walk,
    loss_curves,
    precision_recall_curve,
    reconstruction_grid,
    roc_curve,
    score_drift,
    scores_over_rows,
)

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
