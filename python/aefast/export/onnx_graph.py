"""A program as an ONNX graph: values are tensors (rows, width), and each column of the table is one input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aefast.export.onnx_nodes import BOOL, DOUBLE, PREFIX, TYPES, Graph
from aefast.export.onnx_operations import write_step
from aefast.export.program import Program

if TYPE_CHECKING:
    import onnx

#: Versions of the operator sets by domain, which ONNX Runtime 1.14 and later read.
OPSETS = {"": 17, "ai.onnx.ml": 3}
_IR_VERSION = 8


def model_proto(program: Program, description: dict[str, str]) -> onnx.ModelProto:
    """Return the program as an ONNX model; ``description`` becomes its metadata."""
    import onnx
    from onnx import helper

    graph = Graph()
    for step in program.steps:
        inputs = [PREFIX + value.name for value in step.inputs]
        found = write_step(graph, step, *inputs)
        graph.node("Identity", found, output=PREFIX + step.output.name)
    outputs = []
    for name, value in program.outputs.items():
        is_flag = name == "is_anomaly"
        found = PREFIX + value.name
        found = graph.node("Cast", found, to=BOOL) if is_flag else found
        graph.node("Identity", found, output=name)
        outputs.append(helper.make_tensor_value_info(name, BOOL if is_flag else DOUBLE, ["rows", 1]))
    reads = [helper.make_node("Identity", [each.column], [PREFIX + each.value.name]) for each in program.inputs]
    inputs_info = [
        helper.make_tensor_value_info(source.column, TYPES[source.value.kind], ["rows", 1]) for source in program.inputs
    ]
    proto = helper.make_model(
        helper.make_graph([*reads, *graph.nodes], "aefast", inputs_info, outputs, graph.constants),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS.items()],
        ir_version=_IR_VERSION,
        producer_name="aefast",
    )
    helper.set_model_props(proto, description)
    onnx.checker.check_model(proto)
    return proto
