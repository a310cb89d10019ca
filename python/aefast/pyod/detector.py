"""What a PyOD detector answers, on the errors of an aefast estimator."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betaincinv, erf
from sklearn.base import BaseEstimator
from sklearn.metrics import roc_auc_score
from sklearn.utils.validation import check_is_fitted

from aefast.estimators.autoencoder import Autoencoder
from aefast.exceptions import ConvergenceError
from aefast.model.network import widths
from aefast.tables.numbers import TAKES_MISSING
from aefast.training.optimizers import SGD, Adam, Optimizer

if TYPE_CHECKING:
    from typing_extensions import Self

    from aefast.estimators.base import BaseAutoencoder

#: What `Detector.predict_with_rejection` gives rows that it does not judge.
REJECTED = -2
#: What a detector calls the parameters of the estimator.
NAMES = {
    "lr": "learning_rate",
    "epoch_num": "max_epochs",
    "batch_size": "batch_size",
    "random_state": "random_state",
    "verbose": "verbose",
    "batch_norm": "batch_norm",
    "dropout_rate": "dropout",
    "n_threads": "n_threads",
}
#: Ends of the estimator's messages, and what they say of a detector, which has other parameters or none for it.
_WORDS = {
    re.escape(TAKES_MISSING): "; fill or drop them",
    "scaler=None: use a scaler": "preprocessing=False: set it to True",
    " for scaler='standard': divide it by a constant first": ": divide it by a constant first",
    r"lower learning_rate or set clip_norm=1\.0; the estimator (.*)": r"lower lr; the detector \1",
    r"got dropout=(.*)": r"got dropout_rate=\1",
}


class Detector(BaseEstimator):
    """What the detectors share: PyOD's methods, on the scores of an aefast estimator.

    Attributes
    ----------
    decision_scores_ : ndarray of shape (n,), float64
        Scores of the training rows, higher for more abnormal ones: the Euclidean distance of a scaled row and its
        reconstruction.
    threshold_ : float
        The ``1 - contamination`` quantile of these.
    labels_ : ndarray of shape (n,), int64
        1 for training rows above the threshold, else 0.
    model : estimator
        The aefast estimator, with its own signs.
    history_ : dict
        ``history_["loss"]`` is the mean loss of each epoch.
    """

    contamination: float
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "outlier_detector"
        return tags

    def __init_subclass__(cls, **options: Any) -> None:
        """Name the parent's parameters that a constructor hands on, for scikit-learn and help()."""
        super().__init_subclass__(**options)
        own = inspect.signature(cls.__init__).parameters
        named = {name: each for name, each in own.items() if each.kind != each.VAR_KEYWORD}
        if len(named) < len(own):
            parents = inspect.signature(super(cls, cls).__init__).parameters
            named |= {name: p.replace(kind=p.KEYWORD_ONLY) for name, p in parents.items() if name not in named}
            cls.__init__.__signature__ = inspect.Signature(list(named.values()))  # type: ignore[attr-defined]

    def _model(self) -> BaseAutoencoder:
        """The estimator that the parameters describe."""
        raise NotImplementedError

    def _described(self) -> dict[str, Any]:
        """Parameters of the estimator that all detectors have."""
        if not isinstance(self.contamination, Real) or not 0 < self.contamination <= 0.5:
            raise ValueError(f"contamination must be a number in (0, 0.5], got {self.contamination!r}")
        if self.device not in (None, "cpu"):
            raise ValueError(f"device must be None or 'cpu', where aefast computes, got {self.device!r}")
        optimizer, l2 = optimizer_of(self.optimizer_name, self.optimizer_params or {})
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
            "contamination": float(self.contamination),
            "score_metric": "mse",
            "validation_fraction": 0.0,
            "early_stopping": False,
            "random_state": self.random_state,
            "verbose": self.verbose,
            "n_threads": self.n_threads,
        }

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on the rows of ``X``.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Finite numbers.
        y : ignored
            For PyOD's conventions.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter or the input is not valid.
        """
        self._validate_params()
        with own_words():
            self.model = self._model().fit(X)
        self.n_features_in_ = self.model.n_features_in_
        self.history_ = {"loss": list(self.model.loss_curve_)}
        self.decision_scores_ = self._scores(X)
        self.threshold_ = float(np.percentile(self.decision_scores_, 100 * (1 - self.contamination)))
        self.labels_ = self._labels(self.decision_scores_)
        self._mu, self._sigma = float(np.mean(self.decision_scores_)), float(np.std(self.decision_scores_))
        self._classes = 2
        return self

    def _scores(self, X: Any) -> NDArray[np.float64]:
        with own_words():
            errors = self.model.reconstruction_error(X).astype(np.float64)
        return np.sqrt(self.model.n_features_in_ * errors)

    def _labels(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        return (scores > self.threshold_).astype(np.int64)

    def decision_function(self, X: Any, batch_size: int | None = None) -> NDArray[np.float64]:
        """Scores of rows: higher is more abnormal.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Finite numbers.
        batch_size : ignored
            For PyOD's conventions.

        Returns
        -------
        ndarray of shape (n,), float64

        Raises
        ------
        ValueError
            If the input is not valid.
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self, "decision_scores_")
        return self._scores(X)

    def predict(self, X: Any, return_confidence: bool = False) -> Any:
        """Which rows are outliers: 1 where the score exceeds ``threshold_``, else 0.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `decision_function`.
        return_confidence : bool, default False
            Also give `predict_confidence`.

        Returns
        -------
        ndarray of shape (n,), int64; with ``return_confidence`` a pair of it and a confidence for each row
        """
        scores = self.decision_function(X)
        labels = self._labels(scores)
        return (labels, self._confidence(scores)) if return_confidence else labels

    def predict_proba(self, X: Any, method: str = "linear", return_confidence: bool = False) -> Any:
        """Scores as probabilities of being an outlier (Kriegel et al. 2011).

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `decision_function`.
        method : {"linear", "unify"}, default "linear"
            "linear": the place between the least and the largest score of the training rows. "unify": erf((s - m) /
            (sqrt(2) t)), with mean m and standard deviation t of these scores, and 0 below m.
        return_confidence : bool, default False
            Also give `predict_confidence`.

        Returns
        -------
        ndarray of shape (n, 2), float64; with ``return_confidence`` a pair of it and a confidence for each row
            In [0, 1]: of being normal and of being an outlier.

        Raises
        ------
        ValueError
            Also if the method is unknown.
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

    def predict_confidence(self, X: Any) -> NDArray[np.float64]:
        """How likely each row's prediction would stay the same with other training rows of the same kind.

        With n training rows, of which k have scores up to the row's, an outlier's confidence is the probability that
        a binomial of n and (1 + k) / (2 + n) exceeds n - floor(contamination n), and another row's one minus that
        (Perini, Vercruyssen and Davis 2020).

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `decision_function`.

        Returns
        -------
        ndarray of shape (n,), float64
            In [0, 1].
        """
        return self._confidence(self.decision_function(X))

    def _confidence(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        n = len(self.decision_scores_)
        n_up_to = np.searchsorted(np.sort(self.decision_scores_), scores, side="right")
        as_outlier = 1 - bdtr(n - int(n * self.contamination), n, (1 + n_up_to) / (2 + n))
        confidence: NDArray[np.float64] = np.where(self._labels(scores) == 1, as_outlier, 1 - as_outlier)
        return confidence

    def predict_with_rejection(
        self,
        X: Any,
        T: float = 32,
        return_stats: bool = False,
        delta: float = 0.1,
        c_fp: float = 1,
        c_fn: float = 1,
        c_r: float = -1,
    ) -> Any:
        """`predict`, but -2 for rows whose prediction is too uncertain (Perini and Davis 2023).

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `decision_function`.
        T : float, default 32
            Rows are rejected where ``2 |p - 1/2| <= 1 - 2 exp(-T)`` for the probability p to be called an outlier.
        return_stats : bool, default False
            Also give `compute_rejection_stats`.
        delta, c_fp, c_fn, c_r : float
            As there.

        Returns
        -------
        ndarray of shape (n,), int64; with ``return_stats`` a pair of it and a list of three numbers
        """
        scores = self.decision_function(X)
        labels = self._labels(scores)
        self.rejection_threshold_ = 1 - 2 * np.exp(-T)
        labels[2 * np.abs(self._confidence(scores) - 0.5) <= self.rejection_threshold_] = REJECTED
        if not return_stats:
            return labels
        return labels, list(self.compute_rejection_stats(T=T, delta=delta, c_fp=c_fp, c_fn=c_fn, c_r=c_r))

    def compute_rejection_stats(
        self, T: float = 32, delta: float = 0.1, c_fp: float = 1, c_fn: float = 1, c_r: float = -1
    ) -> tuple[float, float, float]:
        """What `predict_with_rejection` will do to rows like those of training (Perini and Davis 2023, section 3).

        Parameters
        ----------
        T : float, default 32
            As there.
        delta : float in (0, 1), default 0.1
            The bound on the rate holds with probability ``1 - delta``.
        c_fp, c_fn, c_r : float
            Costs of a false alarm, a miss and a rejection; the last is ``contamination`` where it is below 0.

        Returns
        -------
        (float, float, float)
            Expected rejection rate, upper bound of the rejection rate, upper bound of the expected cost of a row.

        Raises
        ------
        ValueError
            If ``delta`` is not in (0, 1).
        """
        check_is_fitted(self, "decision_scores_")
        if not 0 < delta < 1:
            raise ValueError(f"delta must be in (0, 1), got {delta!r}")
        n, share = len(self.decision_scores_), float(self.contamination)
        c_r = share if c_r < 0 else c_r
        # Quantiles of the share of scores above: where the binomial's distribution function is 1 - e^-T and e^-T.
        n_outliers = int(n * share)
        low, high = (float(betaincinv(n_outliers, n - n_outliers + 1, p)) for p in (np.exp(-T), 1 - np.exp(-T)))
        root = 2 * n * (-3 * share**2 - 2 * n * (1 - share) ** 2 + 4 * share - 3) + T * (n + 2) ** 2 - 8
        first = (2 + n * (1 - share) * (n + 1)) / n**2 - np.sqrt(max(0.0, root / (2 * n**3)))
        last = 1 - share + (1 - 2 * share) / n + np.sqrt(T / (2 * n)) * (n + 2) / n
        bound = min(1.0, last) - max(0.0, first) + 2 * np.sqrt(np.log(2 / delta) / (2 * n))
        cost = min(share, low) * c_fp + min(1 - high, share) * c_fn + (high - low) * c_r
        return high - low, float(bound), float(cost)

    def fit_predict(self, X: Any, y: Any = None) -> NDArray[np.int64]:
        """`fit`, then ``labels_``."""
        return self.fit(X).labels_

    def fit_predict_score(self, X: Any, y: ArrayLike, scoring: str = "roc_auc_score") -> float:
        """`fit`, then how well ``decision_scores_`` rank the rows labelled 1.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `fit`.
        y : array-like of shape (n,)
            1 for outliers, 0 for other rows.
        scoring : {"roc_auc_score", "prc_n_score"}, default "roc_auc_score"
            The area under the ROC curve, or the share of outliers among as many of the highest scores as there are.

        Returns
        -------
        float

        Raises
        ------
        NotImplementedError
            If ``scoring`` is unknown.
        """
        if scoring not in ("roc_auc_score", "prc_n_score"):
            raise NotImplementedError(f"scoring must be 'roc_auc_score' or 'prc_n_score', got {scoring!r}")
        scores = self.fit(X).decision_scores_
        if scoring == "roc_auc_score":
            return float(roc_auc_score(y, scores))
        outliers = np.asarray(y) == 1
        highest = np.argsort(-scores, kind="stable")[: np.count_nonzero(outliers)]
        return float(np.mean(outliers[highest]))


@contextmanager
def own_words() -> Iterator[None]:
    """Errors of the estimator without what its parameters could do about them, which a detector has not."""
    try:
        yield
    except (ValueError, ConvergenceError) as error:
        text = re.sub(r"^dropout must", "dropout_rate must", str(error))
        for theirs, own in _WORDS.items():
            text = re.sub(theirs + "$", own, text)
        if text == str(error):
            raise
        raise type(error)(text) from None


def known(parameter: str, name: str, names: Sequence[str]) -> str:
    """``name``, or ValueError if it is none of ``names``."""
    if name not in names:
        raise ValueError(f"{parameter} must be one of {', '.join(names)}, got {name!r}")
    return name


def widths_of(parameter: str, sizes: Sequence[int], least: int = 0) -> tuple[int, ...]:
    """As many widths of layers as that, or more."""
    found = widths(sizes, parameter)
    if len(found) < least:
        raise ValueError(f"{parameter} must have at least one width, that of the code, got {sizes!r}")
    return found


def optimizer_of(name: str, parameters: Mapping[str, Any]) -> tuple[Optimizer, float]:
    """The optimiser, and the weight of the L2 penalty that PyTorch's optimisers call ``weight_decay``."""
    left = dict(parameters)
    l2 = float(left.pop("weight_decay", 0.0 if parameters else 1e-5))
    optimizer: Optimizer
    if known("optimizer_name", name, ("adam", "sgd")) == "adam":
        beta_1, beta_2 = left.pop("betas", (0.9, 0.999))
        optimizer = Adam(beta_1, beta_2, left.pop("eps", 1e-8))
    else:
        optimizer = SGD(left.pop("momentum", 0.0), left.pop("nesterov", False))
    if left:
        raise ValueError(f"optimizer_params has {', '.join(map(repr, left))}, which aefast's {name} does not know")
    return optimizer, l2
