"""Prints the summaries of commands about fleets, one model for each group of rows."""

from __future__ import annotations

from typing import Any

from aefast.cli.terminal import describe_left_out, print_summary
from aefast.tables.text import list_names, pluralise


def print_fleet_info(summary: dict[str, Any]) -> None:
    """Print the description of a fleet."""
    names = f": {list_names(summary['features'])}" if summary["features"] else ""
    rows = summary["rows_of_groups"]
    of_rows = f", each fitted on {rows[0]:,} to {rows[1]:,} rows" if rows else ""
    by = f" by {list_names(summary['by'])}" if summary["by"] else ""
    others = {"pooled": "use the model of all groups", "error": "are refused"}[summary["unseen"]]
    few = f"{pluralise(summary['groups_without_a_model'], 'groups')} of the fit; these and unseen groups {others}"
    print_summary(
        f"Fleet of {summary['kind']} {'–'.join(map(str, summary['layers']))}",
        [
            ("file", f"{summary['fleet']}, {summary['bytes']:,} bytes"),
            ("models", f"{pluralise(summary['groups'], 'groups')}{by}{of_rows}"),
            ("without a model", few),
            ("features", f"{summary['n_features']}{names}"),
        ],
    )


def print_fleet(summary: dict[str, Any]) -> None:
    """Print the summary of a fit with ``--by``."""
    by, columns = list_names(summary["by"]), pluralise(summary["n_features"], "columns")
    share = f"{100 * summary['contamination']:.3g} %"
    lines = [
        ("learned from", f"{pluralise(summary['rows'], 'rows')} of {columns}: {list_names(summary['columns'])}"),
        *([("read as", summary["dialect"])] if summary["dialect"] else []),
        ("models", f"{pluralise(summary['fitted_groups'], 'groups')} by {by}, and one of all groups"),
    ]
    if summary["small_groups"]:
        few = f"{pluralise(summary['small_groups'], 'groups')} with fewer than {summary['min_rows']:,} rows"
        lines.append(("too small", f"{few} use the model of all groups"))
    if summary["unlearned_groups"]:
        groups = pluralise(summary["unlearned_groups"], "groups")
        lines.append(("not learned", f"{groups} that cannot be learned use the model of all groups"))
    reading = f"{summary['reading_seconds']:.2f} s of reading"
    lines += [
        *describe_left_out(summary["excluded"]),
        ("trained", f"in {summary['training_seconds']:.2f} s, after {reading}"),
        ("thresholds", f"{share} of the rows of each group are above its own"),
        ("written to", summary["model"]),
    ]
    print_summary(f"Fleet of {summary['kind']} {'–'.join(map(str, summary['layers']))}", lines)
