"""Compiled predictors of a fitted network, built when they are first needed and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from aefast.columns.column import Column
from aefast.engine import core
from aefast.engine.threads import resolve_threads
from aefast.model.distances import Distances
from aefast.model.metrics import PRECISIONS
from aefast.model.numbers import numbers_distances, numbers_network, numbers_ranges, numbers_scaling
from aefast.model.parameters import inference_network
from aefast.model.scaling import FeatureScaling
from aefast.model.whitening import Whitening

Array = NDArray[Any]

# Reads means in the model's own precision.
_MEANS = ("mean", "float32", None)


@dataclass(eq=False)
class Predictors:
    """Builds and keeps the engine's predictors, one for each part of the code, precision and ``top_k``.

    A predictor has no threads of its own and may be used from several threads at once, also in a forked child.

    Parameters
    ----------
    network, coefs, intercepts, scaling, dtype, missing, n_threads, input_ranges, whitening, distances, columns
        As the attributes of `Model`.
    """

    network: core.NetworkSpec
    coefs: Sequence[Array]
    intercepts: Sequence[Array]
    scaling: FeatureScaling
    dtype: str
    missing: str
    n_threads: int | None
    input_ranges: Sequence[Array] | None = None
    whitening: Whitening | None = None
    distances: Distances | None = None
    columns: Sequence[Column] | None = None
    #: ``finite_errors`` of the predictor of means in the model's own precision, once there is one.
    finite_errors: Callable[[Array, str], Array | None] | None = field(init=False, default=None)
    _kept: dict[tuple[str, str, int | None], tuple[int, core.Predictor]] = field(init=False, default_factory=dict)

    def get(self, code: str = "mean", precision: str = "float32", top_k: int | None = None) -> core.Predictor:
        """Return the predictor that reads a part of the code in a precision, with ``top_k`` outputs of a top-k code.

        Raises
        ------
        ValueError
            If the weights do not fit the network, or the model cannot compute in the precision.
        """
        key, n_threads = (code, precision, top_k), resolve_threads(self.n_threads)
        kept = self._kept.get(key)
        if kept is None or kept[0] != n_threads:
            kept = self._kept[key] = n_threads, self._built(code, precision, top_k, n_threads)
            if key == _MEANS:
                self.finite_errors = kept[1].finite_errors
        return kept[1]

    def adopt(self, predictor: core.Predictor) -> None:
        """Use a predictor of means that was compiled from the same weights, instead of compiling them again."""
        self._kept[_MEANS] = resolve_threads(self.n_threads), self._with_distances(predictor, "mean")
        self.finite_errors = predictor.finite_errors

    def _built(self, code: str, precision: str, top_k: int | None, n_threads: int) -> core.Predictor:
        network, weights = self.network, (self.coefs, self.intercepts, self.dtype)
        ranges = self.ranges_for(precision)
        if code == "numbers":
            columns = self.columns or ()
            found, parameters = numbers_network(network, *weights, columns)
            scaling = numbers_scaling(self.scaling, columns).for_engine(self.missing)
            ranges = ranges and numbers_ranges(ranges, columns)
        else:
            if top_k is not None:
                layers = [{**each, "k": top_k} if each["kind"] == "top_k" else each for each in network["layers"]]
                network = {**network, "layers": layers}  # type: ignore[typeddict-item]
            found, parameters = inference_network(network, *weights, code)
            scaling = self.scaling.for_engine(self.missing, self.columns)
        predictor = core.Predictor(found, parameters, scaling, self.dtype, n_threads)
        if precision != "float32":
            predictor.reduce(precision, ranges)
        return self._with_distances(predictor, code)

    def _with_distances(self, predictor: core.Predictor, code: str) -> core.Predictor:
        """Return the predictor, which now knows what distances are measured from."""
        if code == "mean" and self.whitening is not None:
            predictor.set_whitening(self.whitening)
        if code == "mean" and self.distances is not None and self.columns is None:
            predictor.set_distances(self.distances)
        if code == "numbers" and self.distances is not None:
            predictor.set_distances(numbers_distances(self.distances, self.columns or ()))
        return predictor

    def ranges_for(self, precision: str) -> Sequence[Array] | None:
        """Return the ranges that the engine needs for a precision.

        Raises
        ------
        ValueError
            If the precision is unknown, or the model cannot compute in it.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
        if precision == "float32":
            return None
        if self.dtype != "float32":
            raise ValueError(
                f"precision={precision!r} is for estimators of dtype='float32', not {self.dtype!r}: leave precision "
                "out, or fit with dtype='float32'"
            )
        if precision == "bfloat16":
            return None
        if self.input_ranges is None:
            raise ValueError(
                "precision='int8' needs the ranges that fit keeps, and this model, of an earlier version, has none: "
                "use precision='bfloat16', or fit again"
            )
        return self.input_ranges
