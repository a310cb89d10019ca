"""Autoencoders as PyOD detectors: PyOD's names of parameters, methods and attributes, and PyOD's signs.

Unlike elsewhere in aefast, `decision_function` is higher for more abnormal rows, and `predict` returns 1 for outliers
and 0 for normal rows. PyOD itself (Zhao, Nasrullah and Li 2019, JMLR 20) is not needed. Its combinations and ensembles
accept these detectors.

As in PyOD, all rows train the network for ``epoch_num`` epochs and no rows are held out. P-values of the estimator in
``model`` are therefore meaningless until it is recalibrated. The defaults of the parameters are PyOD's, except that of
``verbose``.
"""

from aefast.pyod.detectors import (
    VAE,
    AutoEncoder,
    ContractiveAutoEncoder,
    DenoisingAutoEncoder,
    SparseAutoEncoder,
)

__all__ = ["VAE", "AutoEncoder", "ContractiveAutoEncoder", "DenoisingAutoEncoder", "SparseAutoEncoder"]
