"""Collects the nodes and constants of an ONNX graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx


#: Begins the names of all values inside the graph, so that none is the name of a column.
PREFIX = "aefast/"
#: Numbers of element types (`onnx.TensorProto.DataType`).
FLOAT, INT64, STRING, BOOL, DOUBLE = 1, 7, 8, 9, 11
TYPES = {"double": DOUBLE, "float": FLOAT, "text": STRING}
DTYPES: dict[str, type[np.floating[Any]]] = {"double": np.float64, "float": np.float32}


class Graph:
    """Collects the nodes and constants of an ONNX graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._n_names = 0
        self._by_content: dict[tuple[Any, ...], str] = {}

    def constant(self, values: Any, dtype: Any = None) -> str:
        """Add a constant tensor, unless it is there already, and return its name."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(values, dtype=dtype).reshape(np.shape(values))
        key = array.dtype, array.shape, array.tobytes()
        if key not in self._by_content:
            name = self._by_content[key] = self.name("constant")
            self.constants.append(numpy_helper.from_array(array, name))
        return self._by_content[key]

    def name(self, of: str) -> str:
        """Return a name that is not used yet."""
        self._n_names += 1
        return f"{PREFIX}{of}_{self._n_names}"

    def node(self, op: str, *inputs: str, output: str | None = None, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        from onnx import helper

        output = output or self.name(op)
        self.nodes.append(helper.make_node(op, list(inputs), [output], domain=domain, **attributes))
        return output
