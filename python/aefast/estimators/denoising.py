"""The denoising autoencoder: clean rows from corrupted rows."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval

from aefast.engine import core
from aefast.estimators.base import BaseAutoencoder
from aefast.estimators.constraints import one_of

if TYPE_CHECKING:
    from typing_extensions import Self

Array = NDArray[Any]

NOISES = ("gaussian", "masking", "salt_pepper")


class DenoisingAutoencoder(BaseAutoencoder):
    """Autoencoder that is trained to reconstruct clean rows from corrupted ones.

    A corrupted value cannot be copied to the output: the network has to learn how features depend on each other, even
    if the code is wide (Vincent et al. 2008; 2010, section 3). For each minibatch X training minimises L(X,
    g(f(c(X)))), with the clean rows as the target of the loss L, the encoder f, the decoder g, and a corruption c that
    is drawn anew in every epoch.

    Parameters
    ----------
    encoder_layer_sizes : "auto", int or sequence of int, default "auto"
        Widths of the encoder's layers; the last one is the code.
    noise : {"gaussian", "masking", "salt_pepper"} or callable, default "gaussian"
        The corruption, in the scaled space that the network sees. "gaussian" adds normal noise to every element.
        "masking" sets elements to 0. "salt_pepper" sets elements to the smallest or the largest value of their feature
        in the training rows, with equal probability. A callable gets a minibatch, a new array (n, d) of float64, and
        returns it corrupted. It draws its own random numbers, and a model with a callable cannot be saved.
    noise_level : float, at least 0, default 0.1
        Standard deviation of "gaussian"; for the others the share of the elements that they change, in [0, 1].
    **parameters
        All other parameters of `Autoencoder`.

    Attributes
    ----------
    loss_curve_, validation_curve_ : list of float
        Mean loss of each epoch: of the reconstructions of corrupted rows in training, and of the reconstructions of the
        held-out rows without noise (with ``X_noisy``: from their recorded noise).
    coefs_, intercepts_, ... :
        All other attributes of `Autoencoder`.

    See Also
    --------
    Autoencoder : Describes the other parameters and the attributes.
    ConvolutionalDenoisingAutoencoder : The same for images.

    References
    ----------
    Vincent, Larochelle, Bengio and Manzagol (2008), Extracting and composing robust features with denoising
    autoencoders, ICML. Vincent et al. (2010), Stacked denoising autoencoders, JMLR 11.

    Examples
    --------
    Reconstruct points on a circle from points near it:

    >>> import numpy as np
    >>> from aefast import DenoisingAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> angle = rng.uniform(0, 2 * np.pi, size=2000)
    >>> X = np.column_stack([np.cos(angle), np.sin(angle)])
    >>> model = DenoisingAutoencoder((32, 8), noise_level=0.3, scaler=None, learning_rate=0.005, random_state=1).fit(X)
    >>> noisy = X + rng.normal(scale=0.3, size=X.shape)
    >>> def error(rows):
    ...     return np.abs(np.hypot(*rows.T) - 1).mean()
    >>> bool(error(model.reconstruct(noisy)) < 0.5 * error(noisy))
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "noise": [one_of(NOISES), callable],
        "noise_level": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        *sizes: Any,
        noise: str | Callable[[Array], Array] = "gaussian",
        noise_level: float = 0.1,
        **parameters: Any,
    ) -> None:
        super().__init__(*sizes, **parameters)
        self.noise = noise
        self.noise_level = noise_level

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        X_noisy: Any = None,
        *,
        validation_data: Any = None,
    ) -> Self:
        """Train to reconstruct the rows of ``X`` from corrupted rows, then set the threshold on the clean rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
            The clean rows, as in `Autoencoder.fit`. The scaler is fitted on them.
        y : ignored
            Exists for scikit-learn's conventions.
        sample_weight : array-like of shape (n,), optional
            As in `Autoencoder.fit`.
        X_noisy : array-like of shape (n, d), optional
            Recorded noise: for each row of ``X`` the row that the network gets instead. ``noise`` is then not used.
        validation_data : array-like of shape (m, d), optional
            As in `Autoencoder.fit`. These rows have no recorded noise: the network gets them as they are.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            As in `Autoencoder.fit`; also if ``X_noisy`` differs from ``X`` in shape or column names, or if a callable
            ``noise`` returns an array of another shape or a value that is not finite.
        ConvergenceError, KeyboardInterrupt
            As in `Autoencoder.fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from aefast import DenoisingAutoencoder
        >>> X = np.random.default_rng(0).normal(size=(500, 9))
        >>> X_noisy = X + np.random.default_rng(1).normal(size=X.shape)
        >>> model = DenoisingAutoencoder((4,), max_epochs=3, random_state=0).fit(X, X_noisy=X_noisy)
        >>> model.transform(X).shape
        (500, 4)
        """
        return self._fit(X, sample_weight, validation_data, X_noisy)

    def check_parameters(self) -> None:
        super().check_parameters()
        if self.noise in ("masking", "salt_pepper") and self.noise_level > 1:
            raise ValueError(
                f"noise_level is the share of elements that noise={self.noise!r} changes: it must be in [0, 1], got "
                f"{self.noise_level!r}"
            )

    def _objective(self, *, has_noise: bool = True) -> core.ObjectiveSpec:
        objective = super()._objective(has_noise=has_noise)
        if has_noise and isinstance(self.noise, str):
            objective["noise"], objective["noise_level"] = self.noise, float(self.noise_level)
        return objective

    def _corrupt(self) -> Callable[[Array], Array] | None:
        noise = self.noise
        if isinstance(noise, str):
            return None

        def corrupt(batch: Array) -> Array:
            shape = batch.shape
            noisy = np.asarray(noise(batch), dtype=np.float64)
            if noisy.shape != shape or not np.isfinite(noisy).all():
                what = f"shape {noisy.shape}" if noisy.shape != shape else "NaN or infinity"
                raise ValueError(f"noise must return finite numbers of the batch's shape {shape}, got {what}")
            return np.ascontiguousarray(noisy)

        return corrupt
