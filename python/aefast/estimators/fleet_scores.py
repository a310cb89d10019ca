"""Scores and decisions of a fleet: each row by the estimator of its group, in the order of the rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from aefast.model.false_discoveries import benjamini_hochberg, too_few_held_out
from aefast.model.fleet import ModelFleet, Part, group_scores, judged, scored, split_rows
from aefast.model.model import Model
from aefast.model.reasons import as_frame
from aefast.tables.collect import collected
from aefast.tables.groups import Groups, Key, key_columns, taken

Array = NDArray[Any]


class LiveModels(Mapping[Key, Model]):
    """The models of a fleet. A user may have given an estimator of the fleet another model, which then counts."""

    def __init__(self, models: Mapping[Key, Model], estimators: Mapping[Key, Any]) -> None:
        self._models, self._estimators = models, estimators

    def __getitem__(self, key: Key) -> Model:
        estimator = self._estimators.get(key)
        return self._models[key] if estimator is None else estimator.model_

    def __contains__(self, key: object) -> bool:
        return key in self._models

    def __iter__(self) -> Iterator[Key]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)


class FleetScores:
    """Methods of a fitted `Fleet` that score rows.

    ``X`` is a data frame or an Arrow table with the columns ``by``, or an array with ``groups`` (see `Fleet.fit`).
    Results are in the order of ``X``.
    """

    estimator: Any
    _by: tuple[str, ...] | None
    _one: bool
    _models: Mapping[Key, Model]
    _pooled: Model | None
    #: Estimators that were asked for, by group.
    _estimators: dict[Key, Any]
    _pooled_estimator: Any

    def reconstruction_error(
        self, X: Any, *, groups: Any = None, metric: str | None = None, precision: str = "float32"
    ) -> Array:
        """Return the anomaly score of each row by its group's estimator; higher is more abnormal.

        Scores of different groups are on the scale of each group: compare them by `p_values` or `decision_function`.

        Parameters
        ----------
        X : data frame, Arrow table, or array with ``groups``
            Rows.
        groups : array-like, optional
            As in `fit`.
        metric : str, optional
            As in `Autoencoder.reconstruction_error`.
        precision : str, default "float32"
            As in `Autoencoder.reconstruction_error`.

        Returns
        -------
        ndarray of shape (n,), of the estimator's ``dtype``
            One score for each row, in the order of ``X``.

        Raises
        ------
        ValueError
            If the rows do not fit the models, or groups have no estimator and ``unseen`` is "error".
        NotFittedError
            Before `fit`.
        """
        rows, parts = self._parts(X, groups)
        return self._errors(rows, parts, metric, precision)

    def score_samples(self, X: Any, *, groups: Any = None) -> NDArray[np.float64]:
        """Return minus `reconstruction_error`: lower is more abnormal, which is scikit-learn's sign.

        Parameters
        ----------
        X : data frame, Arrow table, or array with ``groups``
            Rows.
        groups : array-like, optional
            As in `fit`.

        Returns
        -------
        ndarray of shape (n,), float64
            One score for each row.

        Raises
        ------
        ValueError
            If the rows do not fit the models, or groups have no estimator and ``unseen`` is "error".
        NotFittedError
            Before `fit`.
        """
        return -self.reconstruction_error(X, groups=groups).astype(np.float64)

    def decision_function(self, X: Any, *, groups: Any = None) -> NDArray[np.float64]:
        """Return `score_samples` minus the ``offset_`` of each row's group, which is below zero for outliers.

        Parameters
        ----------
        X : data frame, Arrow table, or array with ``groups``
            Rows.
        groups : array-like, optional
            As in `fit`.

        Returns
        -------
        ndarray of shape (n,), float64
            One value for each row.

        Raises
        ------
        ValueError
            If the rows do not fit the models, or groups have no estimator and ``unseen`` is "error".
        NotFittedError
            Before `fit`.
        """
        rows, parts = self._parts(X, groups)
        errors = self._errors(rows, parts)
        return judged(errors, parts, lambda model, own: -own.astype(np.float64) - model.offset, np.float64)

    def predict(self, X: Any, *, groups: Any = None) -> NDArray[np.int64]:
        """Return -1 for rows whose error exceeds their group's ``threshold_``, and 1 for other rows.

        Parameters
        ----------
        X : data frame, Arrow table, or array with ``groups``
            Rows.
        groups : array-like, optional
            As in `fit`.

        Returns
        -------
        ndarray of shape (n,), int64
            -1 or 1 for each row.

        Raises
        ------
        ValueError
            If the rows do not fit the models, or groups have no estimator and ``unseen`` is "error".
        NotFittedError
            Before `fit`.
        """
        return np.where(self.decision_function(X, groups=groups) < 0, -1, 1).astype(np.int64)

    def p_values(self, X: Any, *, groups: Any = None) -> NDArray[np.float64]:
        """Return the p-value of each row: the share of its group's calibration rows that score as high or higher.

        See `Autoencoder.p_values`.

        Parameters
        ----------
        X : data frame, Arrow table, or array with ``groups``
            Rows.
        groups : array-like, optional
            As in `fit`.

        Returns
        -------
        ndarray of shape (n,), float64, in (0, 1]
            Lower is more abnormal.

        Raises
        ------
        ValueError
            If the rows do not fit the models, or groups have no estimator and ``unseen`` is "error".
        NotFittedError
            Before `fit`.
        """
        rows, parts = self._parts(X, groups)
        return judged(self._errors(rows, parts), parts, Model.p_values_of, np.float64)

    def detect(self, X: Any, fdr: float = 0.05, *, groups: Any = None) -> NDArray[np.bool_]:
        """Return a mask of anomalies of all groups whose expected share of false alarms is at most ``fdr``.

        The procedure of Benjamini and Hochberg is applied to the `p_values` of all rows together. As the p-values of
        each group are valid by themselves, it does not matter that groups differ.

        Parameters
        ----------
        X : data frame, Arrow table, or array with ``groups``
            Rows.
        fdr : float in (0, 1), default 0.05
            The false-discovery rate to allow.
        groups : array-like, optional
            As in `fit`.

        Returns
        -------
        ndarray of shape (n,), bool
            True for the rows to report.

        Raises
        ------
        ValueError
            If the rows do not fit the models, or groups have no estimator and ``unseen`` is "error".
        NotFittedError
            Before `fit`.

        Warns
        -----
        UserWarning
            If no row is reported, and a single row could not be, however abnormal it is.
        """
        rows, parts = self._parts(X, groups)
        p_values = judged(self._errors(rows, parts), parts, Model.p_values_of, np.float64)
        found = benjamini_hochberg(p_values, fdr)
        least = min(part.model.calibration.least for part in parts)
        remark = "" if found.any() else too_few_held_out(least, len(found), fdr)
        if remark:
            warnings.warn(remark, stacklevel=2)
        return found

    def explain(self, X: Any, top: Any = 3, *, groups: Any = None) -> Any:
        """Return the features with the largest shares of each row's error, as `Autoencoder.explain` does.

        Parameters
        ----------
        X : data frame, Arrow table, or array with ``groups``
            Rows.
        top : int, at least 1, default 3
            Number of features for each row.
        groups : array-like, optional
            As in `fit`.

        Returns
        -------
        pandas.DataFrame, or a structured ndarray if pandas is not installed
            Fields ``row`` (position in ``X``), ``feature``, ``value``, ``expected`` and ``share``.

        Raises
        ------
        ValueError
            If the rows do not fit the models, or groups have no estimator and ``unseen`` is "error".
        NotFittedError
            Before `fit`.
        """
        rows, parts = self._parts(X, groups)
        tables = []
        for part in parts:
            table = part.model.explanation(taken(rows, part.rows), top)
            table["row"] = part.rows[table["row"]]
            tables.append(table)
        explained = np.concatenate(tables)
        return as_frame(explained[np.argsort(explained["row"], kind="stable")])

    def by_group(self, X: Any, fdr: float = 0.05, *, groups: Any = None) -> Any:
        """Return a table of groups: how many of their rows are anomalies, and which groups are odd as a whole.

        A group is odd if its errors are larger than those that its estimator is calibrated with: some by much, or all
        by a little. Among the groups that are reported, the expected share of false alarms is at most ``fdr``. Rows of
        groups without an estimator are compared with the pooled model.

        Parameters
        ----------
        X : data frame, Arrow table, or array with ``groups``
            Rows.
        fdr : float in (0, 1), default 0.05
            The false-discovery rate to allow.
        groups : array-like, optional
            As in `fit`.

        Returns
        -------
        pandas.DataFrame, or a structured ndarray if pandas is not installed
            A row for each group of ``X``, the smallest p-value first: the columns ``by`` (or ``group``), ``rows``,
            ``is_own`` (False if the pooled model scored the group), ``anomalies`` (rows above the threshold),
            ``excess`` (one-sided Kolmogorov-Smirnov distance of the errors, in [0, 1]), ``p_value`` and ``is_odd``.

        Raises
        ------
        ValueError
            If the rows do not fit the models, or groups have no estimator and ``unseen`` is "error".
        NotFittedError
            Before `fit`.
        """
        _, rows, split = self._split(X, groups)
        fleet = self.model_fleet()
        errors = self._errors(rows, fleet.parts(split))
        found = group_scores(fleet, {key: errors[numbers] for key, numbers in split}, fdr)
        names = self._by or (("group",) if self._one else None)
        columns = key_columns([each.key for each in found], names, one=self._one)
        kinds = {"rows": "i8", "is_own": "?", "anomalies": "i8", "excess": "f8", "p_value": "f8", "is_odd": "?"}
        table = np.empty(len(found), dtype=[*((name, "O") for name in columns), *kinds.items()])
        for name, of_keys in columns.items():
            table[name] = of_keys
        for name in kinds:
            table[name] = [getattr(each, name) for each in found]
        return as_frame(table)

    @property
    def pooled_(self) -> Any:
        """The estimator of groups without one of their own, or None."""
        check_is_fitted(self)
        if self._pooled_estimator is None and self._pooled is not None:
            self._pooled_estimator = self._estimator_of(self._pooled)
        return self._pooled_estimator

    # What the methods share.

    def _estimator_of(self, model: Model) -> Any:
        """Return a fitted estimator."""
        raise NotImplementedError

    def model_fleet(self) -> ModelFleet:
        """Return the models of the fleet, without scikit-learn."""
        check_is_fitted(self)
        pooled = self._pooled if self._pooled_estimator is None else self._pooled_estimator.model_
        return ModelFleet(self._by, self._one, LiveModels(self._models, self._estimators), pooled)

    def _split(self, X: Any, groups: Any) -> tuple[Any, Any, Groups]:
        """Return the rows of ``X`` as they are and as the models read them, and their groups."""
        check_is_fitted(self)
        raw, split, one = split_rows(collected(X), collected(groups), self._by, one=self._one)
        if one != self._one:
            raise ValueError(
                f"groups must have {'one value' if self._one else 'several values'} for each row, as in fit"
            )
        return raw, self._any()._rows(raw), split

    def _any(self) -> Any:
        """Return an estimator that knows the names and the number of columns, which are those of all."""
        return self.pooled_ if self._pooled is not None else self._estimator_of(next(iter(self._models.values())))

    def _parts(self, X: Any, groups: Any) -> tuple[Any, list[Part]]:
        _, rows, split = self._split(X, groups)
        return rows, self.model_fleet().parts(split)

    def _errors(self, rows: Any, parts: list[Part], metric: str | None = None, precision: str = "float32") -> Array:
        n_rows = sum(len(part.rows) for part in parts)

        def errors(model: Model, own: Any) -> Array:
            return model.errors(own, metric, precision)

        try:
            return scored(rows, parts, errors, n_rows, parts[0].model.dtype)
        except ValueError:
            if isinstance(rows, np.ndarray):
                parts[0].model.require_finite(rows)  # names the row in X
            raise
