"""The sparse autoencoder: codes with few active units, by one of four methods."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval

from aefast.engine import core
from aefast.estimators.base import BaseAutoencoder
from aefast.estimators.constraints import one_of
from aefast.model.layers import ACTIVATIONS

#: The code activation of each method.
CODE_ACTIVATIONS = {"kl": "sigmoid", "l1": "relu", "topk": "identity", "threshold": "relu"}


class SparseAutoencoder(BaseAutoencoder):
    r"""Autoencoder with a sparse code: few units are active in a row. The code may have more units than features.

    ``sparsity`` selects the method:

    - "kl" adds ``sparsity_weight`` sum_j KL(r \|\| m_j) to the loss of a minibatch, with r = ``sparsity_target``, m_j
      the mean activation of unit j over its rows, and KL(r \|\| m) = r log(r / m) + (1 - r) log((1 - r) / (1 - m))
      (Ng 2011, section 3). The code is sigmoid, so that a mean is a share.
    - "l1" adds ``sparsity_weight`` sum_j \|h_j\|, averaged over rows, with the code's outputs h.
    - "topk" keeps the ``k`` largest outputs of each row and sets the others to 0, in training and in scoring (k-sparse
      autoencoders, Makhzani and Frey 2013, algorithm 1). A classifier may perform better on codes that are less sparse
      than in training, so `transform` keeps ``alpha`` k outputs, as they do.
    - "threshold" propagates only errors above ``error_threshold``, so that features that are reconstructed well enough
      do not change the code (after Ranzato et al. 2007).

    Parameters
    ----------
    encoder_layer_sizes : "auto", int or sequence of int, default "auto"
        Widths of the encoder's layers; the last one is the code, and may be wider than the input.
    sparsity : {"kl", "l1", "topk", "threshold"}, default "kl"
        The method.
    sparsity_weight : float, at least 0, default 0.01
        Weight of the penalties "kl" and "l1", relative to a loss that is averaged over features.
    sparsity_target : float in (0, 1), default 0.05
        Target mean activation of each unit for "kl".
    k : int, optional
        Number of outputs that "topk" keeps, at most the code's width; "topk" requires it.
    alpha : float, at least 1, default 1
        With "topk", `transform` keeps ``alpha`` k outputs of a row, rounded. Reconstructions and errors use k. It can
        be set after `fit`.
    error_threshold : float, at least 0, default 0.1
        Largest difference of output and target, in the scaled space, that "threshold" treats as no error.
    code_activation : "auto" or as in `Autoencoder`, default "auto"
        "auto" is "sigmoid" for "kl", which requires it, "identity" for "topk", and "relu" for the others.
    **parameters
        All other parameters of `Autoencoder`. ``loss_curve_`` does not include the penalties, as there.

    See Also
    --------
    Autoencoder : Describes the other parameters and the attributes.

    References
    ----------
    Ng (2011), Sparse autoencoder, CS294A lecture notes. Makhzani and Frey (2013), k-sparse autoencoders,
    arXiv:1312.5663. Ranzato, Poultney, Chopra and LeCun (2007), Efficient learning of sparse representations with an
    energy-based model, NIPS.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import SparseAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(500, 9))
    >>> model = SparseAutoencoder((20,), sparsity="topk", k=3, max_epochs=3, random_state=0).fit(X)
    >>> np.unique((model.transform(X) != 0).sum(axis=1))
    array([3])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "sparsity": [one_of(CODE_ACTIVATIONS)],
        "sparsity_weight": [Interval(Real, 0, None, closed="left")],
        "sparsity_target": [Interval(Real, 0, 1, closed="neither")],
        "k": [None, Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 1, None, closed="left")],
        "error_threshold": [Interval(Real, 0, None, closed="left")],
        "code_activation": [one_of(("auto", *ACTIVATIONS))],
    }

    def __init__(
        self,
        *sizes: Any,
        sparsity: str = "kl",
        sparsity_weight: float = 0.01,
        sparsity_target: float = 0.05,
        k: int | None = None,
        alpha: float = 1.0,
        error_threshold: float = 0.1,
        code_activation: str = "auto",
        **parameters: Any,
    ) -> None:
        super().__init__(*sizes, code_activation=code_activation, **parameters)
        self.sparsity = sparsity
        self.sparsity_weight = sparsity_weight
        self.sparsity_target = sparsity_target
        self.k = k
        self.alpha = alpha
        self.error_threshold = error_threshold

    def check_parameters(self) -> None:
        super().check_parameters()
        if self.sparsity == "kl" and self.code_activation not in ("auto", "sigmoid"):
            raise ValueError(
                f"sparsity='kl' needs code_activation='sigmoid', whose mean is a share, got {self.code_activation!r}"
            )
        if self.sparsity == "topk" and self.k is None:
            raise ValueError("sparsity='topk' needs k, how many outputs of the code to keep in each row, got None")
        if self.sparsity == "threshold" and self.output_activation == "softmax":
            raise ValueError(
                "sparsity='threshold' does not go with output_activation='softmax', whose errors are not of one feature"
            )

    def _code_layers(self, code: core.LayerSpec) -> list[core.LayerSpec]:
        activation = self.code_activation
        code["activation"] = CODE_ACTIVATIONS[self.sparsity] if activation == "auto" else activation
        layers = super()._code_layers(code)
        units = layers[-1]["units"]
        if self.sparsity == "kl":
            target, weight = float(self.sparsity_target), float(self.sparsity_weight)
            layers.append({"kind": "kl_sparsity", "units": units, "target": target, "weight": weight})
        elif self.sparsity == "topk":
            assert self.k is not None
            if self.k > units:
                raise ValueError(f"k={self.k} is more than the code has: it must be at most {units}, the code's width")
            layers.append({"kind": "top_k", "units": units, "k": int(self.k)})
            self._widened(layers[-1])
        return layers

    def _widened(self, layer: core.LayerSpec) -> core.LayerSpec:
        """Return the layer as `transform` uses it."""
        if layer["kind"] != "top_k":
            return layer
        k, units = round(self.alpha * layer["k"]), layer["units"]
        if k > units:
            raise ValueError(
                f"alpha={self.alpha!r} makes {k} outputs of k={layer['k']}, more than the code's {units}: it must "
                f"be at most {units / layer['k']:.6g}"
            )
        return {**layer, "k": k}

    def _top_k(self) -> int | None:
        return next((self._widened(layer)["k"] for layer in self.network_["layers"] if layer["kind"] == "top_k"), None)

    def _objective(self, *, has_noise: bool = True) -> core.ObjectiveSpec:
        objective = super()._objective(has_noise=has_noise)
        if self.sparsity == "l1":
            objective["activity_l1"] += float(self.sparsity_weight)
        elif self.sparsity == "threshold":
            objective["threshold"] = float(self.error_threshold)
        return objective
