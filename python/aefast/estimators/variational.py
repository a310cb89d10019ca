"""The variational autoencoder: its code is a distribution, from which new rows are drawn."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from aefast.engine import core
from aefast.estimators.base import BaseAutoencoder
from aefast.estimators.sparse import SparseAutoencoder
from aefast.model.metrics import likelihood_scale
from aefast.training.schedules import Schedule

Array = NDArray[Any]

#: The engine limits log-variances to this absolute value.
_LARGEST_LOG_VARIANCE = 20.0


class VariationalAutoencoder(BaseAutoencoder):
    r"""Autoencoder whose code is kept close to a standard normal distribution, so that new rows can be drawn.

    The encoder gives each row x a mean m and a log-variance l for each of q code units. In training the decoder gets
    z = m + exp(l / 2) e with e drawn from the standard normal (Kingma and Welling 2014, equation 10). A row's objective
    is minus its evidence lower bound, averaged over rows::

        -log p(x | z) + beta KL,    KL = 1/2 sum_j (m_j^2 + exp(l_j) - l_j - 1)

    KL is summed over the code (appendix B there). Minus the log-likelihood is summed over features and depends on
    ``loss``: "binary_crossentropy" with ``output_activation="sigmoid"`` is for Bernoulli features in [0, 1], "mse" for
    normal features of variance 1 (half the squared error), "mae" for Laplace features of scale 1. Constants are left
    out. ``beta`` above 1 trades likelihood for independent units (Higgins et al. 2017).

    Codes, reconstructions and errors use the mean. They are thus reproducible, and cost as much as those of a plain
    autoencoder.

    Parameters
    ----------
    encoder_layer_sizes : "auto", int or sequence of int, default "auto"
        Widths of the encoder's layers; the last one is the code's q units. Their layer has 2 q outputs, means before
        log-variances.
    beta : float, at least 0, or schedule, default 1
        Weight of KL, or an object that returns it for each epoch, such as ``LinearSchedule(0.0, 1.0, n_epochs=10)``.
        Held-out rows are evaluated with the beta of epoch ``max_epochs``, and training does not stop early before that
        beta is reached.
    **parameters
        All other parameters of `Autoencoder`. The code is linear and has its own penalty: ``code_activation`` must be
        "identity", ``activity_l1`` and ``activity_l2`` 0, and ``tied_weights`` False.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        As in `Autoencoder`; the last arrays of the encoder have 2 q columns.
    loss_curve_, validation_curve_ : list of float
        Mean objective of a row in nats, including KL.

    See Also
    --------
    Autoencoder : Describes the other parameters and the attributes.
    ConvolutionalVariationalAutoencoder : The same for images.

    References
    ----------
    Kingma and Welling (2014), Auto-encoding variational Bayes, ICLR. Higgins et al. (2017), beta-VAE: learning basic
    visual concepts with a constrained variational framework, ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import VariationalAutoencoder
    >>> t = np.random.default_rng(0).normal(size=(2000, 1))
    >>> X = t * [[3.0, -2.0, 1.0]] + 0.1 * np.random.default_rng(1).normal(size=(2000, 3))
    >>> model = VariationalAutoencoder((16, 1), learning_rate=0.01, random_state=0).fit(X)
    >>> new = model.sample(1000, random_state=0)
    >>> new.shape, bool(np.corrcoef(new.T)[0, 1] < -0.9)
    ((1000, 3), True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "beta": [Interval(Real, 0, None, closed="left"), Schedule],
    }

    def __init__(self, *sizes: Any, beta: float | Schedule = 1.0, **parameters: Any) -> None:
        super().__init__(*sizes, **parameters)
        self.beta = beta

    def elbo(self, X: Any, *, n_draws: int = 1, random_state: Any = 0) -> NDArray[np.float64]:
        """Return the evidence lower bound of each row: log-likelihood minus KL, with beta = 1.

        The likelihood is that of ``loss`` in `fit`.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.
        n_draws : int, at least 1, default 1
            Number of draws of the code over which the log-likelihood is averaged; KL is exact.
        random_state : int, RandomState instance or None, default 0
            Seed of the draws, which also depend on a row's position.

        Returns
        -------
        ndarray of shape (n,), float64
            In nats, of the scaled row, without the constants of the likelihood (for a normal feature
            -log(2 pi) / 2). Lower is more abnormal.

        Raises
        ------
        ValueError
            As in `transform`; also if ``n_draws`` is less than 1.
        NotFittedError
            Before `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from aefast import VariationalAutoencoder
        >>> X = np.random.default_rng(0).normal(size=(500, 9))
        >>> model = VariationalAutoencoder(max_epochs=5, random_state=0).fit(X)
        >>> bool((model.elbo(X) == model.elbo(X)).all())
        True
        """
        n_draws = _count("n_draws", n_draws)
        model = self.model_
        rows = self._rows(X)
        seeds = check_random_state(random_state).randint(np.iinfo(np.int64).max, size=n_draws, dtype=np.int64)
        total = np.zeros(len(rows))
        for seed in seeds:
            total -= model.row_losses(rows, int(seed))
        if not np.isfinite(total).all():
            row = int(np.argmin(np.isfinite(total)))
            raise ValueError(f"the elbo of row {row} is {total[row]}: the network's weights or outputs are too large")
        return total / n_draws

    def sample(self, n: int = 1, *, random_state: Any = None) -> Array:
        """Draw new rows: the decoder's outputs for codes drawn from the standard normal distribution.

        Parameters
        ----------
        n : int, at least 1, default 1
            Number of rows.
        random_state : int, RandomState instance or None, default None
            Seed of the draws.

        Returns
        -------
        ndarray of shape (n, d), of the estimator's ``dtype``
            Means of the features given the code, in the units of the training data, without noise of the features.

        Raises
        ------
        ValueError
            If ``n`` is less than 1.
        NotFittedError
            Before `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from aefast import VariationalAutoencoder
        >>> X = np.random.default_rng(0).normal(size=(500, 9))
        >>> VariationalAutoencoder(max_epochs=5, random_state=0).fit(X).sample(3).shape
        (3, 9)
        """
        codes = check_random_state(random_state).normal(size=(_count("n", n), self.model_.n_codes))
        return self.inverse_transform(codes)

    def encode_distribution(self, X: Any) -> tuple[Array, Array]:
        """Return the distribution of each row's code.

        Parameters
        ----------
        X : array-like of shape (n, d)
            As in `transform`.

        Returns
        -------
        mean : ndarray of shape (n, q), of the estimator's ``dtype``
            The codes that `transform` returns.
        log_variance : ndarray of shape (n, q), of the estimator's ``dtype``
            Natural logarithm of the variance, within +-20.

        Raises
        ------
        ValueError
            As in `transform`.
        NotFittedError
            Before `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from aefast import VariationalAutoencoder
        >>> X = np.random.default_rng(0).normal(size=(500, 9))
        >>> mean, log_variance = VariationalAutoencoder(max_epochs=5, random_state=0).fit(X).encode_distribution(X)
        >>> mean.shape, log_variance.shape
        ((500, 3), (500, 3))
        """
        model, rows = self.model_, self._rows(X)
        log_variance = model.codes(rows, part="log_variance")
        return model.codes(rows), np.clip(log_variance, -_LARGEST_LOG_VARIANCE, _LARGEST_LOG_VARIANCE)

    def check_parameters(self) -> None:
        if isinstance(self, SparseAutoencoder):
            raise ValueError(
                f"sparsity={self.sparsity!r} does not go with beta={self.beta!r} in a {type(self).__name__}: a code "
                "that is drawn from a normal distribution is not sparse, so derive it from one of the two"
            )
        super().check_parameters()
        for name, needed in (
            ("code_activation", "identity"),
            ("tied_weights", False),
            ("activity_l1", 0),
            ("activity_l2", 0),
        ):
            value = getattr(self, name)
            if value != needed:
                raise ValueError(
                    f"{name} must be {needed!r} in a {type(self).__name__}, whose code is means and log-variances "
                    f"and is held by beta, got {value!r}"
                )

    def _code_layers(self, code: core.LayerSpec) -> list[core.LayerSpec]:
        units = code["units"]
        moments: core.LayerSpec = {**code, "units": 2 * units, "batch_norm": False}
        return [*super()._code_layers(moments), {"kind": "gaussian_code", "units": units}]

    def _objective(self, *, has_noise: bool = True) -> core.ObjectiveSpec:
        objective = super()._objective(has_noise=has_noise)
        objective["scale"] = likelihood_scale(self.loss)
        return objective

    def _beta(self, epoch: int | None = None) -> float:
        if not isinstance(self.beta, Schedule):
            return float(self.beta)
        return float(self.beta.rate(max(0, self.max_epochs - 1) if epoch is None else epoch, []))


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    return int(value)
