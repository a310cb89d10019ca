"""The contractive autoencoder: a code that changes little if the input changes."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval

from aefast.engine import core
from aefast.engine.threads import resolve_threads
from aefast.estimators.base import BaseAutoencoder
from aefast.model.parameters import inference_network
from aefast.training.optimizers import optimizer_spec

Array = NDArray[Any]


class ContractiveAutoencoder(BaseAutoencoder):
    r"""Autoencoder with a penalty on the sensitivity of its code.

    The loss gets the term ``contraction`` \|\|J(x)\|\|^2, averaged over rows. J(x) is the Jacobian of the code with
    respect to the scaled row x, and the norm is the sum of the squares of its elements (Rifai et al. 2011, section 3).
    The code thus changes only in the directions that the loss needs, which are those of the data.

    The norm and its gradient are exact for any number of layers and any activation. A row costs about 2 q m^2
    multiply-adds for a code of q units and m units in the first layer, and 3 q a b for every further pair of
    neighbouring encoder layers of a and b units. The number of features does not matter. With one encoder layer the
    penalty is nearly free; if that layer is linear, it is a penalty on the squares of its weights.

    Parameters
    ----------
    encoder_layer_sizes : "auto", int or sequence of int, default "auto"
        Widths of the encoder's layers; the last one is the code.
    contraction : float, at least 0, default 1e-3
        Weight of the squared norm, relative to a loss that is averaged over features.
    **parameters
        All other parameters of `Autoencoder`. The encoder can have neither ``batch_norm`` nor ``dropout``, with which a
        row's code would not be a function of the row.

    See Also
    --------
    Autoencoder : Describes the other parameters and the attributes.

    References
    ----------
    Rifai, Vincent, Muller, Glorot and Bengio (2011), Contractive auto-encoders: explicit invariance during feature
    extraction, ICML.

    Examples
    --------
    With a stronger contraction the code changes less:

    >>> import numpy as np
    >>> from aefast import ContractiveAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(1000, 9))
    >>> def movement(contraction):
    ...     model = ContractiveAutoencoder((16, 4), contraction=contraction, random_state=0).fit(X)
    ...     return np.abs(model.transform(X + 0.01) - model.transform(X)).mean()
    >>> bool(movement(0.1) < movement(0.001))
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"contraction": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, *sizes: Any, contraction: float = 1e-3, **parameters: Any) -> None:
        super().__init__(*sizes, **parameters)
        self.contraction = contraction

    def jacobian_norm(self, X: Any) -> Array:
        r"""Return how much each row's code changes with the row: \|\|J(x)\|\|^2, the term that ``contraction`` weights.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.

        Returns
        -------
        ndarray of shape (n,), of the estimator's ``dtype``
            Squared Frobenius norm of the Jacobian of the code with respect to the scaled row.

        Raises
        ------
        ValueError
            As in `transform`.
        NotFittedError
            Before `fit`.

        Examples
        --------
        For a linear code it is the sum of the squares of the weights:

        >>> import numpy as np
        >>> from aefast import ContractiveAutoencoder
        >>> X = np.random.default_rng(0).normal(size=(500, 9))
        >>> model = ContractiveAutoencoder((4,), max_epochs=2, random_state=0).fit(X)
        >>> bool(np.allclose(model.jacobian_norm(X), (model.coefs_[0] ** 2).sum()))
        True
        """
        model = self.model_
        network, parameters = inference_network(model.network, model.coefs, model.intercepts, model.dtype)
        rows = model.rows(self._rows(X))
        objective: core.ObjectiveSpec = {"loss": self.loss, "contraction": 1.0}
        n_threads = resolve_threads(model.n_threads)
        trainer = core.Trainer(network, parameters, objective, optimizer_spec("sgd"), model.dtype, 0, n_threads)
        return trainer.penalties(rows, model.scaling.for_engine(model.missing, model.columns))

    def check_parameters(self) -> None:
        super().check_parameters()
        if self.batch_norm and self.contraction > 0:
            raise ValueError(
                f"contraction={self.contraction!r} does not go with batch_norm=True: a row's code would depend on the "
                "other rows of its batch"
            )

    def _check_network(self, network: core.NetworkSpec) -> None:
        super()._check_network(network)
        encoder = network["layers"][: network["n_encoder_layers"]]
        others = sorted({layer["kind"] for layer in encoder} - {"dense"})
        if self.contraction > 0 and others:
            raise ValueError(
                f"contraction={self.contraction!r} needs an encoder of dense layers, but that of a "
                f"{type(self).__name__} has {' and '.join(others)}"
            )
        if self.contraction > 0 and any(layer.get("dropout", 0.0) > 0 for layer in encoder):
            raise ValueError(
                f"contraction={self.contraction!r} does not go with dropout in the encoder: give one rate for each "
                f"hidden layer, the first {len(encoder)} of them 0, got {self.dropout!r}"
            )

    def _objective(self, *, has_noise: bool = True) -> core.ObjectiveSpec:
        objective = super()._objective(has_noise=has_noise)
        objective["contraction"] = float(self.contraction)
        return objective
