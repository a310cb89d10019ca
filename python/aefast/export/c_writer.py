"""Collects the constants, functions and statements of a C99 header."""

from __future__ import annotations

from typing import Any

import numpy as np

from aefast.export.program import Program


class Writer:
    """Collects the constants and statements of a header."""

    def __init__(self, program: Program, prefix: str) -> None:
        self.program: Program = program
        self.prefix: str = prefix
        self.functions: dict[str, str] = {}
        self.constants: list[str] = []
        self._names: dict[tuple[str, bytes], str] = {}
        self.body: list[str] = []
        self.places: dict[str, str] = {}
        self.n_work: int = 0

    def constant(self, values: Any, kind: str = "double") -> str:
        """Add an array of numbers, unless it is there already, and return its name."""
        flat = np.asarray(values).reshape(-1)
        key = kind, repr(flat.tolist()).encode() if kind == "text" else flat.astype(np.float64).tobytes()
        if key in self._names:
            return self._names[key]
        name = self._names[key] = f"{self.prefix}_{len(self.constants)}"
        if kind == "text":
            items = [_quoted(value) for value in flat]
        elif kind != "double":
            items = [f"{int(value)}u" if kind == "uint32_t" else str(int(value)) for value in flat]
        else:
            is_single = np.array_equal(flat, flat.astype(np.float32).astype(np.float64), equal_nan=True)
            kind = "float" if is_single else "double"
            items = [f"{value:.9g}" if is_single else f"{value:.17g}" for value in flat]
            items = [item if any(c in item for c in ".en") else f"{item}." for item in items]
            items = [f"{item}f" for item in items] if is_single else items
        lines, line = [], " "
        for item in items:
            if len(line) + len(item) > 116:
                lines.append(line)
                line = " "
            line += f" {item},"
        typed = "const char *const" if kind == "text" else f"const {kind}"
        self.constants.append(f"static {typed} {name}[{len(items)}] = {{\n" + "\n".join([*lines, line]) + "\n};")
        return name

    def scratch(self, n: int) -> str:
        """Return the place of ``n`` numbers that a step needs while it runs."""
        self.n_work += n
        return f"work + {self.n_work - n}"

    def function(self, name: str, text: str) -> str:
        """Add a function, unless it is there already, and return its name."""
        self.functions[name] = text.replace("NAME", f"{self.prefix}_{name}")
        return f"{self.prefix}_{name}"


def _quoted(text: str) -> str:
    """Return a C string literal; octal escapes cannot swallow the character behind them."""
    return '"' + "".join(f"\\{b:03o}" if b < 32 or b > 126 or b in b'"\\?' else chr(b) for b in text.encode()) + '"'
