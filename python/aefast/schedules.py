"""Learning-rate schedules: how the learning rate changes from epoch to epoch."""

from aefast.training.schedules import (
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    LinearSchedule,
    ReduceOnPlateau,
    Schedule,
    StepSchedule,
)

__all__ = [
    "ConstantSchedule",
    "CosineSchedule",
    "ExponentialSchedule",
    "LinearSchedule",
    "ReduceOnPlateau",
    "Schedule",
    "StepSchedule",
]
