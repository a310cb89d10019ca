"""Fleet files of fleets of estimators; `aefast.model.fleet_file` has the format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aefast.estimators import files
from aefast.model import fleet_file
from aefast.training.plain import plain_parameters


def save(fleet: Any, path: Any) -> None:
    """Write a fitted fleet; see `Fleet.save`."""
    document = fleet_file.FleetDocument(
        kind=type(fleet.estimator).__name__,
        parameters=plain_parameters(fleet.estimator.get_params(deep=False)),
        by=fleet._by,
        one=fleet._one,
        min_rows=int(fleet.min_rows),
        unseen=fleet.unseen,
        keys=list(fleet._models),
        counts=fleet.counts_,
        has_pooled=fleet._pooled is not None,
    )
    fleet_file.write(path, document, _contents(fleet))


def _contents(fleet: Any) -> Iterator[bytes]:
    """Yield the model files of all groups, then the pooled model's."""
    for key in fleet._models:
        estimator = fleet._estimators.get(key)
        if estimator is not None:
            yield files.to_bytes(estimator)  # a user may have changed it
        else:
            stored = fleet_file.stored_content(fleet._models, key)
            yield fleet_file.model_content(fleet._models[key]) if stored is None else stored
    if fleet.pooled_ is not None:
        yield files.to_bytes(fleet.pooled_)
