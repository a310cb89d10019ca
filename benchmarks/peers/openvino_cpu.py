"""OpenVINO's CPU plugin: one stream per thread, requests in flight on all streams, shared inputs."""

import numpy as np
import openvino

from peers.base import Peer, batches
from peers.onnx_runtime import onnx_model


class OpenVinoPeer(Peer):
    """OpenVINO, compiled for each batch size, because it optimises fixed shapes best.

    The last rows fill part of a batch. ``precision`` is explicit, because the plugin uses bfloat16 by itself if it can.
    """

    trains = False
    precision = "f32"

    def __init__(self, weights, n_threads):
        super().__init__(weights, n_threads)
        self.core = openvino.Core()
        self.model = onnx_model(self.layers)  # kept alive, because arrays read from it may point into it
        self.requests = {}

    def _requests(self, batch):
        if batch not in self.requests:
            model = self.core.read_model(self.model, b"")
            model.reshape([batch, self.n_features])
            settings = {
                "INFERENCE_PRECISION_HINT": self.precision,
                "INFERENCE_NUM_THREADS": self.n_threads,
                "NUM_STREAMS": self.n_threads,
            }
            compiled = self.core.compile_model(model, "CPU", settings)
            self.requests[batch] = [compiled.create_infer_request() for _ in range(self.n_threads)]
        return self.requests[batch]

    def score(self, X, batch):
        requests, n_whole = self._requests(batch), len(X) // batch * batch
        errors = np.empty(len(X), dtype=np.float32)
        for index, rows in enumerate(batches(n_whole, batch)):
            self._start(requests[index % len(requests)], X[rows], errors[rows])
        for request in requests:
            request.wait()
        if n_whole < len(X):
            padded, padded_errors = np.zeros((batch, self.n_features), np.float32), np.empty(batch, np.float32)
            padded[: len(X) - n_whole] = X[n_whole:]
            self._start(requests[0], padded, padded_errors)
            requests[0].wait()
            errors[n_whole:] = padded_errors[: len(X) - n_whole]
        return errors

    @staticmethod
    def _start(request, x, errors):
        request.wait()
        request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
        request.set_output_tensor(openvino.Tensor(errors, shared_memory=True))
        request.start_async()


class OpenVinoBfloat16Peer(OpenVinoPeer):
    """OpenVINO in bfloat16."""

    precision = "bf16"


PEER = OpenVinoPeer
