"""A program as a C99 header without dependencies: one function scores one row, in double precision."""

from __future__ import annotations

from aefast.export.c_operations import write_step
from aefast.export.c_writer import Writer
from aefast.export.program import Program

_TEMPLATE = """\
/* Anomaly scores of rows, written by aefast.
{comment}
 *
 * static double work[{PREFIX}_WORK];
 * double numbers[] = {{ ... }};        {numbers}
 * const char *texts[] = {{ ... }};     {texts}
 * double score, p_value;
 * int is_anomaly = {prefix}_score(numbers, texts, work, &score, &p_value);
 *
 * NaN and NULL are missing values. The function is reentrant; give each thread its own work.
 */
#ifndef {PREFIX}_H
#define {PREFIX}_H

#include <math.h>
#include <stdint.h>
#include <string.h>

enum {{ {PREFIX}_NUMBERS = {n_numbers}, {PREFIX}_TEXTS = {n_texts}, {PREFIX}_WORK = {n_work} }};

{functions}{constants}

static int {prefix}_score(const double *numbers, const char *const *texts, double *work, double *anomaly_score,
    double *p_value) {{
  (void)numbers; (void)texts;
{body}
  *anomaly_score = work[{score}];
  *p_value = work[{p_value}];
  return work[{is_anomaly}] > 0;
}}

#endif
"""


def header(program: Program, prefix: str, description: dict[str, str]) -> str:
    """Return the program as the text of a header whose names begin with ``prefix``."""
    writer = Writer(program, prefix)
    numbers: list[str] = []
    texts: list[str] = []
    for source in program.inputs:
        listed = texts if source.value.kind == "text" else numbers
        pointer = "texts[{}]" if source.value.kind == "text" else "(numbers + {})"
        writer.places[source.value.name] = pointer.format(len(listed))
        listed.append(source.column + (f" ({source.unit})" if source.is_time else ""))
    for step in program.steps:
        write_step(writer, step)
    places = {name: writer.places[value.name].removeprefix("work + ") for name, value in program.outputs.items()}
    comment = "\n".join(f" * {_comment(key)}: {_comment(value)}" for key, value in description.items())
    return _TEMPLATE.format(
        comment=comment,
        prefix=prefix,
        PREFIX=prefix.upper(),
        numbers=_comment(", ".join(numbers) or "none"),
        texts=_comment(", ".join(texts) or "none"),
        n_numbers=len(numbers),
        n_texts=len(texts),
        n_work=writer.n_work,
        functions="".join(f"{text}\n\n" for text in writer.functions.values()),
        constants="\n".join(writer.constants),
        body="\n".join(writer.body),
        score=places["anomaly_score"],
        **{name: places[name] for name in ("p_value", "is_anomaly")},
    )


def prefix_of(name: str) -> str:
    """Return a C identifier for the name of a file."""
    found = "".join(c if c.isascii() and c.isalnum() else "_" for c in name).lower()
    return found if found[:1].isalpha() else f"model_{found}".rstrip("_")


def _comment(text: str) -> str:
    return text.replace("*/", "* /").replace("\n", " ").replace("\\", "/")
