"""ONNX Runtime: the network and the row error in one graph, with every optimisation switched on."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from peers.base import Peer, batches


def onnx_model(layers):
    """Return a serialised graph from rows ``x`` (n, d) to their mean squared errors ``error`` (n,)."""
    nodes, constants, last = [], [], "x"
    for index, (w, b) in enumerate(layers):
        constants += [numpy_helper.from_array(w, f"w{index}"), numpy_helper.from_array(b, f"b{index}")]
        nodes.append(helper.make_node("Gemm", [last, f"w{index}", f"b{index}"], [f"z{index}"]))
        last = f"z{index}"
        if index < len(layers) - 1:
            nodes.append(helper.make_node("Relu", [last], [f"y{index}"]))
            last = f"y{index}"
    nodes += [
        helper.make_node("Sub", [last, "x"], ["residual"]),
        helper.make_node("Mul", ["residual", "residual"], ["square"]),
        helper.make_node("ReduceMean", ["square", "axes"], ["error"], keepdims=0),
    ]
    constants.append(numpy_helper.from_array(np.array([1]), "axes"))
    n_features = layers[0][0].shape[0]
    graph = helper.make_graph(
        nodes,
        "autoencoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", n_features])],
        [helper.make_tensor_value_info("error", TensorProto.FLOAT, ["n"])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


class OnnxRuntimePeer(Peer):
    """ONNX Runtime with sequential execution and threads of its own."""

    trains = False

    def __init__(self, weights, n_threads):
        super().__init__(weights, n_threads)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            onnx_model(self.layers), options, providers=["CPUExecutionProvider"]
        )

    def score(self, X, batch):
        return np.concatenate([self.session.run(None, {"x": X[rows]})[0] for rows in batches(len(X), batch)])


PEER = OnnxRuntimePeer
