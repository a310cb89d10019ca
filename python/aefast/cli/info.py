"""``aefast info``: describe a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aefast.cli.arguments import Model
from aefast.cli.fleet import print_fleet_info
from aefast.cli.options import load_model
from aefast.cli.outcome import Outcome
from aefast.cli.terminal import print_summary
from aefast.tables.text import list_names, pluralise


def info(model: Model) -> Outcome:
    """Describe a model, or a fleet: network, columns, threshold and parameters."""
    from aefast.jobs.info import describe_fleet, describe_model
    from aefast.model.fleet_file import is_fleet, opened

    if model.is_file() and is_fleet(model):
        fleet = describe_fleet(opened(model), model)
        return Outcome(fleet, lambda: print_fleet_info(fleet))
    estimator = load_model(model, None)
    summary = describe_model(estimator, model)
    return Outcome(summary, lambda: _print(summary, estimator, model))


def _print(summary: dict[str, Any], estimator: Any, model: Path) -> None:
    from aefast.columns.column import by_kind, levels_of_each
    from aefast.jobs.info import changed_parameters

    columns = estimator.columns_ or ()
    names = f": {list_names(summary['features'])}" if summary["features"] else ""
    print_summary(
        f"{summary['kind']} {'–'.join(map(str, summary['layers']))}",
        [
            ("file", f"{model}, {summary['bytes']:,} bytes"),
            ("features", f"{summary['n_features']}{names}"),
            *by_kind(columns),
            *levels_of_each(columns),
            ("network", f"{estimator.activation}, loss {estimator.loss}, {summary['n_parameters']:,} parameters"),
            (
                "trained",
                f"{pluralise(summary['epochs'], 'epochs')}, optimizer {estimator.optimizer}, scaler {estimator.scaler}",
            ),
            ("threshold", f"{summary['threshold']:.6g} ({estimator.score_metric_})"),
            ("p-values", f"from {summary['calibration_rows']:,} rows, so none is below {summary['least_p_value']:.3g}"),
            ("not default", ", ".join(changed_parameters(estimator)) or "nothing"),
        ],
    )
