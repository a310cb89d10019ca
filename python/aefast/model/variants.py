"""The registry of variants: the estimator classes of aefast, their modules and their names on the command line.

A new variant is one file in ``aefast.estimators`` and one line here. The lazy names of the package, the classes that a
model file may name, and the choices of ``aefast fit --kind`` follow from this table. It imports nothing, so that the
command that scores a file does not import scikit-learn.
"""

from __future__ import annotations

from typing import NamedTuple


class Variant(NamedTuple):
    """One line of the registry."""

    #: Module in ``aefast.estimators``.
    module: str
    #: Value of ``aefast fit --kind``; None if the command does not offer the variant.
    kind: str | None = None


#: Variants by the name of their class.
VARIANTS: dict[str, Variant] = {
    "Autoencoder": Variant("autoencoder", "plain"),
    "DenoisingAutoencoder": Variant("denoising", "denoising"),
    "SparseAutoencoder": Variant("sparse", "sparse"),
    "ContractiveAutoencoder": Variant("contractive", "contractive"),
    "VariationalAutoencoder": Variant("variational", "variational"),
    "ConvolutionalAutoencoder": Variant("convolutional"),
    "ConvolutionalDenoisingAutoencoder": Variant("convolutional"),
    "ConvolutionalVariationalAutoencoder": Variant("convolutional"),
}
#: Class names by the value of ``--kind``.
KINDS: dict[str, str] = {variant.kind: name for name, variant in VARIANTS.items() if variant.kind is not None}


def known_class(name: object) -> str:
    """Return the class name of a model file if the registry has it; raise ValueError otherwise."""
    if name not in VARIANTS:
        raise ValueError(f"class {name!r} is not one of {', '.join(VARIANTS)}")
    return str(name)
