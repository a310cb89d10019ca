"""Fitted attributes of estimators (``coefs_``, ``threshold_``, ...): read from ``model_``, set by a new model.

Before `fit` an attribute may be set, too; ``fit`` with ``warm_start=True`` then starts from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from aefast.columns.column import Column
from aefast.engine import core
from aefast.model.calibration import Calibration
from aefast.model.distances import Distances
from aefast.model.drift import Drift, drift_of
from aefast.model.model import Model
from aefast.model.reference import ColumnCounts
from aefast.model.whitening import Whitening

Array = NDArray[Any]

#: Attributes that are lists of arrays, one for each layer with weights.
_WEIGHTS = ("coefs_", "intercepts_", "norms_")


class WeightList(list[Any]):
    """A list of read-only arrays, one a layer. Assigning an item gives the estimator a new model."""

    def __init__(self, arrays: Iterable[Any], estimator: Any, name: str) -> None:
        super().__init__(arrays)
        self._estimator, self._name = estimator, name

    def __setitem__(self, key: Any, value: Any) -> None:
        # Keep assignments that were made since this list was read.
        super().__setitem__(slice(None), getattr(self._estimator, self._name))
        super().__setitem__(key, value)
        setattr(self._estimator, self._name, self)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


class FittedAttribute:
    """One fitted attribute.

    Parameters
    ----------
    get : callable
        Its value, from the model.
    put : callable, optional
        The model with another value, from the model and the value. Without it the attribute cannot be set after `fit`.
    """

    def __init__(self, get: Callable[[Model], Any], put: Callable[[Model, Any], Model] | None = None) -> None:
        self._get, self._put = get, put

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, estimator: Any, owner: type | None = None) -> Any:
        if estimator is None:
            return self
        state = vars(estimator)
        value = self._get(state["model_"]) if "model_" in state else state.get(self._name, self)
        if value is self or (value is None and self._name == "feature_names_in_"):
            raise AttributeError(f"{type(estimator).__name__!r} object has no attribute {self._name!r}")
        return WeightList(value, estimator, self._name) if self._name in _WEIGHTS else value

    def __set__(self, estimator: Any, value: Any) -> None:
        state = vars(estimator)
        if "model_" not in state:
            state[self._name] = value
        elif self._put is None:
            raise AttributeError(f"{self._name} follows from the other attributes and cannot be set")
        else:
            state["model_"] = self._put(state["model_"], value)

    def __delete__(self, estimator: Any) -> None:
        if "model_" not in vars(estimator):
            vars(estimator).pop(self._name, None)
        elif self._name == "feature_names_in_":  # as scikit-learn does for rows without names
            self.__set__(estimator, None)
        else:
            raise AttributeError(f"{self._name} of a fitted estimator cannot be deleted")


#: Makes a `FittedAttribute` that may be declared with the type of its value.
computed: Callable[..., Any] = FittedAttribute


def of_model(
    field: str, get: Callable[[Any], Any] = lambda value: value, put: Callable[[Any], Any] | None = None
) -> Any:
    """Return the attribute that is a field of the model, as ``get`` shows it; ``put`` converts what is set."""
    convert = put if put is not None else get
    return FittedAttribute(
        lambda model: get(getattr(model, field)), lambda model, value: model.replace(**{field: convert(value)})
    )


def of_scaling(field: str) -> Any:
    """Return the attribute that is an array of the model's scaling."""

    def put(model: Model, value: Any) -> Model:
        change: dict[str, Any] = {field: np.array(value, dtype=np.float64)}
        return model.replace(scaling=replace(model.scaling, **change))

    return FittedAttribute(lambda model: getattr(model.scaling, field), put)


def arrays(values: Any) -> tuple[Any, ...] | None:
    """Return a tuple with a copy of each array; None stays None, also as an element."""
    return None if values is None else tuple(None if each is None else np.array(each) for each in values)


def listed(values: Any) -> list[Any] | None:
    """Return a list of the values; None is returned as it is."""
    return None if values is None else list(values)


def names_in(model: Model) -> Any:
    """Return the names of the columns as scikit-learn has them, or None."""
    return None if model.feature_names is None else np.asarray(model.feature_names, dtype=object)


def with_names(model: Model, names: Any) -> Model:
    """Return the model with other names of its columns."""
    return model.replace(feature_names=None if names is None else tuple(str(name) for name in names))


class FittedAttributes:
    """The model that an estimator holds, and the attributes that are read from it; `Autoencoder` describes them."""

    n_threads: int | None
    dtype: str
    missing: str

    coefs_: list[Array] = of_model("coefs", put=arrays)
    intercepts_: list[Array] = of_model("intercepts", put=arrays)
    norms_: list[Array | None] = of_model("norms", put=arrays)
    network_: core.NetworkSpec = of_model("network")
    scaler_shift_: NDArray[np.float64] = of_scaling("shift")
    scaler_scale_: NDArray[np.float64] = of_scaling("scale")
    column_means_: NDArray[np.float64] = of_scaling("means")
    columns_: tuple[Column, ...] | None = of_model("columns")
    n_features_in_: int = computed(lambda model: model.n_features_in)
    feature_names_in_: NDArray[np.object_] = computed(names_in, with_names)
    n_epochs_: int = computed(lambda model: len(model.loss_curve))
    loss_curve_: list[float] = of_model("loss_curve", listed, put=tuple)
    validation_curve_: list[float] = of_model("validation_curve", listed, put=tuple)
    best_loss_: float = of_model("best_loss")
    best_epoch_: int = computed(lambda model: model.best_epoch)
    offset_: float = computed(lambda model: model.offset, lambda model, offset: model.with_threshold(-offset))
    threshold_: float = computed(lambda model: model.threshold, Model.with_threshold)
    score_metric_: str = of_model("score_metric")
    input_ranges_: list[Array] | None = of_model("input_ranges", listed, put=arrays)
    whitening_: Whitening | None = of_model("whitening")
    distances_: Distances | None = of_model("distances")
    calibration_: Calibration = of_model("calibration")

    @property
    def model_(self) -> Model:
        """The immutable `Model`; it follows the parameters ``n_threads``, ``dtype`` and ``missing``."""
        model: Model | None = vars(self).get("model_")
        if model is None:
            check_is_fitted(self)
        assert model is not None
        if model.n_threads != self.n_threads or model.dtype != self.dtype or model.missing != self.missing:
            model = model.replace(n_threads=self.n_threads, dtype=self.dtype, missing=self.missing)
            self.__dict__["model_"] = model
        return model

    @model_.setter
    def model_(self, model: Model) -> None:
        self.__dict__["model_"] = model

    @property
    def drift_(self) -> Drift:
        """How the rows last fitted or recalibrated differ from training; after a new fit, of training itself."""
        model = self.model_
        found: Drift | None = vars(self).get("_drift")
        if found is None:
            known = model.reference
            counts = ColumnCounts.none(model.n_features_in) if known is None else known.counts
            found = drift_of(model.column_names, counts, known)
        return found

    @drift_.setter
    def drift_(self, drift: Drift | None) -> None:
        self.__dict__["_drift"] = drift

    def restore(self, model: Model) -> None:
        """Take over the model of a file; ValueError if it is not one of this class."""
        self.model_ = model

    def __sklearn_is_fitted__(self) -> bool:
        return "model_" in vars(self)
