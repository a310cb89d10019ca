"""Detector: PyOD's methods and attributes, computed from the errors of an aefast estimator."""

from __future__ import annotations

import inspect
import os
import pickle
import sys
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf
from sklearn.base import BaseEstimator
from sklearn.metrics import roc_auc_score
from sklearn.utils.validation import check_is_fitted

from aefast.estimators.autoencoder import Autoencoder
from aefast.pyod.parameters import NAMES, check_contamination, optimizer_of, own_remedies, rescale_constants
from aefast.pyod.rejection import RejectionMethods
from aefast.tables.collect import collected

if TYPE_CHECKING:
    from typing_extensions import Self

    from aefast.estimators.base import BaseAutoencoder


class Detector(RejectionMethods, BaseEstimator):
    """Base class of the detectors: PyOD's methods, computed from the scores of an aefast estimator.

    Attributes
    ----------
    decision_scores_ : ndarray of shape (n,), float64
        Scores of the training rows, higher for more abnormal rows. A score is the Euclidean distance between a scaled
        row and its reconstruction.
    threshold_ : float
        The ``1 - contamination`` quantile of ``decision_scores_``.
    labels_ : ndarray of shape (n,), int64
        1 for training rows above the threshold, else 0.
    model : estimator
        The fitted aefast estimator. Its methods have scikit-learn's signs.
    history_ : dict
        ``history_["loss"]`` is the mean loss of each epoch.
    """

    contamination: Any
    preprocessing: bool
    lr: float
    epoch_num: int
    batch_size: int
    optimizer_name: str
    device: str | None
    random_state: Any
    verbose: int
    optimizer_params: Mapping[str, Any] | None
    batch_norm: bool
    dropout_rate: float
    n_threads: int | None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "optimizer_params": [None, Mapping],
        **{name: Autoencoder._parameter_constraints[theirs] for name, theirs in NAMES.items()},
    }

    def __new__(cls, *arguments: Any, **parameters: Any) -> Self:
        """Make a detector that is an instance of PyOD's ``BaseDetector`` too, if PyOD is imported."""
        base = getattr(sys.modules.get("pyod.models.base"), "BaseDetector", None)
        if base is not None and not issubclass(Detector, base):
            base.register(Detector)
        return super().__new__(cls)  # type: ignore[no-any-return]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "outlier_detector"
        return tags

    def __init_subclass__(cls, **options: Any) -> None:
        """Add the parent's parameters to a signature with ``**parameters``, for scikit-learn and help()."""
        super().__init_subclass__(**options)
        own = inspect.signature(cls.__init__).parameters
        named = {name: each for name, each in own.items() if each.kind != each.VAR_KEYWORD}
        if len(named) < len(own):
            parents = inspect.signature(super(cls, cls).__init__).parameters
            named |= {name: p.replace(kind=p.KEYWORD_ONLY) for name, p in parents.items() if name not in named}
            cls.__init__.__signature__ = inspect.Signature(list(named.values()))  # type: ignore[attr-defined]

    def _model(self) -> BaseAutoencoder:
        """Make the unfitted estimator that the parameters describe."""
        raise NotImplementedError

    def _estimator_parameters(self) -> dict[str, Any]:
        """Return the estimator's parameters that follow from those of every detector."""
        check_contamination(self.contamination)
        if self.device not in (None, "cpu"):
            raise ValueError(f"device must be None or 'cpu', the only device of aefast, got {self.device!r}")
        optimizer, l2 = optimizer_of(self.optimizer_name, self.optimizer_params)
        return {
            "scaler": "standard" if self.preprocessing else None,
            "learning_rate": self.lr,
            "max_epochs": self.epoch_num,
            "batch_size": self.batch_size,
            "drop_last": True,
            "optimizer": optimizer,
            "l2": l2,
            "batch_norm": self.batch_norm,
            "dropout": self.dropout_rate,
            "contamination": float(self.contamination) if isinstance(self.contamination, Real) else 0.1,
            "score_metric": "mse",
            "weight_init": "pyod",
            "validation_fraction": 0.0,
            "early_stopping": False,
            "random_state": self.random_state,
            "verbose": self.verbose,
            "n_threads": self.n_threads,
        }

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on the rows of ``X`` and score them.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Finite numbers.
        y : ignored
            Accepted for compatibility with PyOD.

        Returns
        -------
        self
            The fitted detector.

        Raises
        ------
        ValueError
            If a parameter or the input is not valid.
        """
        self._validate_params()
        X = collected(X)  # a stream can be read only once
        with own_remedies():
            self.model: BaseAutoencoder = self._model().fit(X)
        if self.preprocessing:
            rescale_constants(self.model)
        self.n_features_in_: int = self.model.n_features_in_
        self.history_: dict[str, list[float]] = {"loss": list(self.model.loss_curve_)}
        self.decision_scores_: NDArray[np.float64] = self._scores(X)
        self._set_threshold()
        self._mu, self._sigma = float(np.mean(self.decision_scores_)), float(np.std(self.decision_scores_))
        self._classes = 2
        return self

    def _scores(self, X: Any) -> NDArray[np.float64]:
        with own_remedies():
            return np.sqrt(self.model.n_features_in_ * self.model.reconstruction_error(X).astype(np.float64))

    def _set_threshold(self) -> None:
        """Set ``threshold_`` and ``labels_`` from the scores of the training rows."""
        rule, scores = self.contamination, self.decision_scores_
        if isinstance(rule, Real):
            self.threshold_: float = float(np.percentile(scores, 100 * (1 - float(rule))))
            self.labels_: NDArray[np.int64] = self._labels(scores)
            return
        rule.fit(scores)
        self.labels_ = np.asarray(rule.labels_).astype(np.int64)
        # Some thresholders have no threshold. PyOD then has the share of outliers in its place.
        self.threshold_ = float(rule.thresh_ or self.labels_.mean())

    def _labels(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        if isinstance(self.contamination, Real):
            return (scores > self.threshold_).astype(np.int64)
        return np.asarray(self.contamination.predict(scores)).astype(np.int64)

    @property
    def _share(self) -> float:
        """The share of the training rows that are outliers: ``contamination``, or what a thresholder has found."""
        return float(self.contamination if isinstance(self.contamination, Real) else self.labels_.mean())

    def decision_function(self, X: Any, batch_size: int | None = None) -> NDArray[np.float64]:
        """Return the scores of rows; higher is more abnormal.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Finite numbers.
        batch_size : ignored
            Accepted for compatibility with PyOD.

        Returns
        -------
        ndarray of shape (n,), float64
            The distance of each scaled row from its reconstruction.

        Raises
        ------
        ValueError
            If the input is not valid.
        NotFittedError
            If the detector has not been fitted.
        """
        check_is_fitted(self, "decision_scores_")
        return self._scores(X)

    def predict(self, X: Any, return_confidence: bool = False) -> Any:
        """Classify rows: 1 for outliers, whose scores exceed ``threshold_``, else 0.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `decision_function`.
        return_confidence : bool, default False
            Also return the result of `predict_confidence`.

        Returns
        -------
        ndarray of shape (n,), int64; with ``return_confidence`` a pair of it and the confidences
            1 for outliers, 0 for other rows.
        """
        scores = self.decision_function(X)
        labels = self._labels(scores)
        return (labels, self._confidence(scores)) if return_confidence else labels

    def predict_proba(self, X: Any, method: str = "linear", return_confidence: bool = False) -> Any:
        """Convert scores to probabilities of being an outlier (Kriegel et al. 2011).

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `decision_function`.
        method : {"linear", "unify"}, default "linear"
            "linear": the relative position between the smallest and the largest score of the training rows. "unify":
            erf((s - m) / (sqrt(2) t)) for a score s, with mean m and standard deviation t of the training scores, and 0
            below m.
        return_confidence : bool, default False
            Also return the result of `predict_confidence`.

        Returns
        -------
        ndarray of shape (n, 2), float64; with ``return_confidence`` a pair of it and the confidences
            Probabilities of being normal and of being an outlier.

        Raises
        ------
        ValueError
            If ``method`` is unknown or the input is not valid.
        """
        scores = self.decision_function(X)
        if method == "linear":
            least, largest = self.decision_scores_.min(), self.decision_scores_.max()
            share = (scores - least) / ((largest - least) or 1.0)
        elif method == "unify":
            share = erf((scores - self._mu) / (np.sqrt(2) * (self._sigma or 1.0)))
        else:
            raise ValueError(f"method must be 'linear' or 'unify', got {method!r}")
        share = share.clip(0, 1)
        probabilities = np.column_stack([1 - share, share])
        return (probabilities, self._confidence(scores)) if return_confidence else probabilities

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the detector to a file by pickling it, as PyOD's detectors do.

        Parameters
        ----------
        path : str or path-like
            The file; an existing file is replaced.
        """
        Path(path).write_bytes(pickle.dumps(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return a detector that `save` wrote. Loading a file from an untrusted source may run any code.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        detector
            As it was saved.

        Raises
        ------
        TypeError
            If the file holds something else.
        """
        found = pickle.loads(Path(path).read_bytes())
        if not isinstance(found, cls):
            raise TypeError(f"{os.fspath(path)} holds a {type(found).__name__}, not a {cls.__name__}")
        return found

    def fit_predict(self, X: Any, y: Any = None) -> NDArray[np.int64]:
        """Fit and return ``labels_``.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `fit`.
        y : ignored
            Accepted for compatibility with PyOD.

        Returns
        -------
        ndarray of shape (n,), int64
            1 for training rows above the threshold, else 0.
        """
        return self.fit(X).labels_

    def fit_predict_score(self, X: Any, y: ArrayLike, scoring: str = "roc_auc_score") -> float:
        """Fit, then measure how well ``decision_scores_`` rank the rows labelled 1.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `fit`.
        y : array-like of shape (n,)
            1 for outliers, 0 for other rows.
        scoring : {"roc_auc_score", "prc_n_score"}, default "roc_auc_score"
            The area under the ROC curve, or the share of outliers among the k highest scores, k being the number of
            outliers.

        Returns
        -------
        float
            In [0, 1]; higher is better.

        Raises
        ------
        NotImplementedError
            If ``scoring`` is unknown.
        """
        if scoring not in ("roc_auc_score", "prc_n_score"):
            raise NotImplementedError(f"scoring must be 'roc_auc_score' or 'prc_n_score', got {scoring!r}")
        scores, outliers = self.fit(X).decision_scores_, np.asarray(y) == 1
        if scoring == "roc_auc_score":
            return float(roc_auc_score(y, scores))
        highest = np.argsort(-scores, kind="stable")[: np.count_nonzero(outliers)]
        return float(np.mean(outliers[highest]))
