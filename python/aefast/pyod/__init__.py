"""Detectors with PyOD's names, parameters and signs over aefast's estimators."""

from aefast.pyod.detectors import (
    VAE,
    AutoEncoder,
    ContractiveAutoEncoder,
    DenoisingAutoEncoder,
    SparseAutoEncoder,
)

__all__ = ["VAE", "AutoEncoder", "ContractiveAutoEncoder", "DenoisingAutoEncoder", "SparseAutoEncoder"]
