"""``aefast export``: write a model's decision as ONNX, C or SQL."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from aefast.cli.arguments import Model, choices, results, rows, written
from aefast.cli.options import as_usage, load_model, source_of
from aefast.cli.outcome import Outcome
from aefast.cli.reading import AS_FOUND, reads_text
from aefast.cli.terminal import print_summary
from aefast.tables.dialect import Reading

Dialect: Any = choices("Dialect", ("duckdb", "postgres"))


@reads_text
def export(
    model: Model,
    output: Annotated[Path, written("OUT", "File to write: .onnx, .h (C99) or .sql.")],
    dialect: Annotated[Dialect, results(None, "Database that reads the query of a .sql file.")] = Dialect.duckdb,
    table: Annotated[str, results("NAME", "Table that the query of a .sql file reads.")] = "rows",
    values: Annotated[
        list[str] | None,
        rows("DATA", "Training rows, from which a .onnx file learns the rare values of text.", default=False),
    ] = None,
    reading: Reading = AS_FOUND,
) -> Outcome:
    """Write a model as ONNX, C or SQL, with threshold and p-values, and compare it with the model."""
    from aefast import export as exports
    from aefast.jobs.export import read_values
    from aefast.tables.files import write_whole
    from aefast.tables.sink import check_writable

    as_usage(lambda: check_writable(output, (".onnx", ".h", ".sql")))
    estimator = load_model(model, None)
    if output.suffix.lower() == ".onnx":
        found = read_values(estimator, source_of(values, reading, estimator)) if values else None
        exports.onnx(estimator, output, values=found)
    elif output.suffix.lower() == ".h":
        exports.c(estimator, output)
    else:
        write_whole(output, exports.sql(estimator, dialect.value, table).encode())
    summary = {"model": str(model), "written_to": str(output), "bytes": output.stat().st_size}
    line = f"{output}, {summary['bytes']:,} bytes"
    return Outcome(summary, lambda: print_summary(f"{model.name} exported", [("written to", line)]))
