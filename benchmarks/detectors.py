"""The detectors that `detection.py` and `asd.py` compare, all with their libraries' defaults.

Each is a function of training rows, test rows and a seed. It returns one score per test row, higher for more abnormal
rows.
"""

import time
import warnings

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from threadpoolctl import threadpool_limits

#: Settings of the robust covariance, equal to the library's: share of the rows kept, steps, clipping.
KEPT, STEPS, LIMIT = 0.8, 10, 10.0


def aefast(train, test, seed):
    from aefast import Autoencoder

    missing = "mask" if np.isnan(train).any() else "error"
    return -Autoencoder(missing=missing, random_state=seed, n_threads=1).fit(train).score_samples(test)


def isolation_forest(train, test, seed):
    from sklearn.ensemble import IsolationForest

    return -IsolationForest(random_state=seed, n_jobs=1).fit(train).score_samples(test)


def robust_covariance(train, test, seed):
    """Mahalanobis distances of the inputs from the closest 80 % of the rows; the baseline without a network."""
    from sklearn.covariance import ledoit_wolf

    mean, deviation = train.mean(axis=0), train.std(axis=0)
    deviation[deviation < 1e-12] = 1.0
    train, test = (np.clip((rows - mean) / deviation, -LIMIT, LIMIT) for rows in (train, test))
    kept = np.arange(len(train))
    for _ in range(STEPS):
        centre = train[kept].mean(axis=0)
        covariance = ledoit_wolf(train[kept] - centre, assume_centered=True)[0] + 1e-9 * np.eye(train.shape[1])
        precision = np.linalg.inv(covariance)
        away = train - centre
        kept = np.argsort(((away @ precision) * away).sum(axis=1))[: int(KEPT * len(train))]
    away = test - centre
    return ((away @ precision) * away).sum(axis=1)


def knn(train, test, seed):
    from pyod.models.knn import KNN

    return KNN().fit(train).decision_function(test)


def ecod(train, test, seed):
    from pyod.models.ecod import ECOD

    return ECOD().fit(train).decision_function(test)


def pca(train, test, seed):
    from pyod.models.pca import PCA

    return PCA(random_state=seed).fit(train).decision_function(test)


def pyod_autoencoder(train, test, seed):
    import torch
    from pyod.models.auto_encoder import AutoEncoder

    torch.set_num_threads(1)
    return AutoEncoder(random_state=seed, verbose=0).fit(train).decision_function(test)


def aefast_pyod_autoencoder(train, test, seed):
    from aefast.pyod import AutoEncoder

    return AutoEncoder(random_state=seed, n_threads=1).fit(train).decision_function(test)


def pyod_vae(train, test, seed):
    import torch
    from pyod.models.vae import VAE

    torch.set_num_threads(1)
    return VAE(random_state=seed, verbose=0).fit(train).decision_function(test)


DETECTORS = {
    "aefast": aefast,
    "isolation forest": isolation_forest,
    "robust covariance": robust_covariance,
    "kNN": knn,
    "PCA": pca,
    "ECOD": ecod,
    "PyOD AutoEncoder": pyod_autoencoder,
    "aefast.pyod AutoEncoder": aefast_pyod_autoencoder,
    "PyOD VAE": pyod_vae,
}


def warm_up(names):
    """Import everything that the detectors need, so that imports are not timed."""
    rows = np.random.default_rng(0).normal(size=(64, 3))
    for name in names:
        DETECTORS[name](rows, rows, 0)


def measure(name, train, test, labels, seed):
    """Return AUCROC, average precision, and wall and CPU seconds of fitting and scoring with one thread."""
    if name != "aefast":
        train, test = without_gaps(train, test)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        wall, cpu = time.perf_counter(), time.process_time()
        scores = DETECTORS[name](train, test, seed)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    # PyOD's PCA divides by zero eigenvalues.
    scores = np.nan_to_num(np.asarray(scores, dtype=np.float64), nan=0.0, posinf=1e300, neginf=-1e300)
    auc, precision = roc_auc_score(labels, scores), average_precision_score(labels, scores)
    return {"auc": float(auc), "ap": float(precision), "wall": wall, "cpu": cpu}


def min_max_scaled(train, test):
    """Scale both sets by minimum and range of the training rows; a constant column is only shifted."""
    low, high = train.min(axis=0), train.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    return (train - low) / span, (test - low) / span


def with_gaps(train, test, share, seed):
    """Return both sets with a share of their values missing at random."""
    rng = np.random.default_rng(seed)
    return tuple(np.where(rng.random(rows.shape) < share, np.nan, rows) for rows in (train, test))


def without_gaps(train, test):
    """Return both sets with the mean of the known training values in place of missing ones."""
    mean = np.nan_to_num(np.nanmean(train, axis=0))
    return tuple(np.where(np.isnan(rows), mean, rows) for rows in (train, test))
