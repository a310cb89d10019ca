"""PyTorch with ``torch.compile``: frozen and packed weights for scoring, a compiled loss for training."""

import shutil

import torch

from peers.torch_eager import TorchPeer

if not (shutil.which("g++") or shutil.which("clang++")):
    raise ImportError("torch.compile needs a C++ compiler")


class CompiledTorchPeer(TorchPeer):
    """Compiled PyTorch. Each batch size needs a compilation, so few sizes are tried."""

    scoring_batches = (1024, 16384)

    def __init__(self, weights, n_threads):
        super().__init__(weights, n_threads)
        torch._dynamo.reset()
        torch._inductor.config.freezing = True
        self.row_errors = torch.compile(super().row_errors, dynamic=False)
        self.loss = torch.compile(super().loss, dynamic=False)


PEER = CompiledTorchPeer
