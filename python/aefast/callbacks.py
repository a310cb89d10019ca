"""Callbacks: functions that `fit` calls after every epoch, and checkpoints of training."""

from aefast.training.callbacks import Callback, EpochInfo, StopTraining
from aefast.training.checkpoint import Checkpoint, CheckpointError

__all__ = ["Callback", "Checkpoint", "CheckpointError", "EpochInfo", "StopTraining"]
