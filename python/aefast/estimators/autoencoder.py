"""The plain autoencoder of dense layers."""

from aefast.estimators.base import BaseAutoencoder


class Autoencoder(BaseAutoencoder):
    r"""Autoencoder of dense layers: a network trained to reconstruct its input through a narrow code.

    Rows that it reconstructs badly are unlike its training rows, so the reconstruction error is an anomaly score. The
    code is a non-linear counterpart of principal components (Hinton and Salakhutdinov 2006). Training and scoring run
    in compiled code on all CPUs that the process may use. Results do not depend on the number of CPUs.

    Training minimises, over minibatches, the mean of the loss over rows and features + ``l2`` / 2 sum w^2 + ``l1``
    sum \|w\| over weights + the row average of ``activity_l2`` / 2 sum h^2 + ``activity_l1`` sum \|h\| over the
    code's outputs h.

    Parameters
    ----------
    encoder_layer_sizes : "auto", int or sequence of int, default "auto"
        Widths of the encoder's layers; the last one is the code. "auto" has a hidden layer of 2 d units, at least 8 and
        at most 256, and a code of the square root of d units, for d features.
    decoder_layer_sizes : int or sequence of int, optional
        Widths of the hidden layers after the code, without the output. Default: those of the encoder, mirrored.
    activation : str, default "silu"
        Activation of the hidden layers: "identity", "sigmoid", "tanh", "relu", "leaky_relu" (slope 0.01 below 0),
        "elu", "selu", "gelu" (exact), "silu" or "softplus". Smooth activations rank anomalies better than "relu",
        which is faster.
    code_activation : as ``activation``, default "identity"
        Activation of the code layer. A linear code lets deviations of either sign pass.
    output_activation : as ``activation``, or "softmax", default "identity"
        Activation of the last layer.
    tied_weights : bool, default False
        Use the encoder's weights, transposed, as the decoder's weights.
    batch_norm : bool, default False
        Normalise the inputs of each hidden layer's activation over the minibatch (Ioffe and Szegedy 2015). After
        training, the running statistics are folded into ``coefs_`` and ``intercepts_``, so that scoring costs nothing
        more. Cannot be combined with ``tied_weights``.
    dropout : float in [0, 1), or one for each hidden layer, default 0
        Share of a layer's outputs that training sets to zero. The code counts as a hidden layer.
    loss : {"mse", "mae", "huber", "binary_crossentropy", "categorical_crossentropy"}, default "mse"
        Loss of a feature, in the scaled space. Huber has delta = 1. Binary crossentropy requires the output activation
        "sigmoid" or "softmax", categorical crossentropy requires "softmax". Both require data in [0, 1] after scaling,
        and categorical crossentropy requires rows that sum to 1.
    optimizer : {"sgd", "rmsprop", "adam", "adamw"} or `Optimizer`, default "adam"
        The optimizer; a name stands for the object with its default constants.
    learning_rate : float above 0, or schedule, default 2e-3
        Learning rate, or an object that returns the rate of each epoch (see `aefast.schedules`). The default was chosen
        together with those of ``activation``, ``batch_size``, ``scaler`` and ``score_metric``, by how well they rank
        anomalies in 20 tables (benchmarks/RESULTS.md, Detection). The effect of the rate alone, compared with the usual
        1e-3, was not measured.
    l1, l2 : float, default 0
        Penalties on weights. Biases have none.
    activity_l1, activity_l2 : float, default 0
        Penalties on the code's outputs.
    clip_norm : float, optional
        Largest norm of the gradient; longer gradients are scaled down to it.
    weight_init : str, default "glorot_uniform"
        Distribution of the initial weights: "glorot", "he" or "lecun" (see `aefast.model.parameters`), each followed by
        "_uniform" or "_normal". Biases start at 0. "pyod" draws weights and biases as PyOD's ``AutoEncoder`` does.
    batch_size : int, default 128
        Rows of a minibatch; fewer if there are fewer rows. Small minibatches train tables of a few thousand rows in
        fewer epochs.
    max_epochs : int, default 100
        Largest number of passes over the training rows. 0 sets up weights, scaler and threshold without training.
    n_init : int, default 1
        Number of times that `fit` trains from new initial weights, with the same held-out rows. It keeps the model of
        least monitored loss. A code of few rectified units can be stuck after a bad start; a few starts prevent this.
        Not used by ``warm_start``, `partial_fit` and `fit_batches`.
    shuffle : bool, default True
        Draw a new order of rows for each epoch.
    drop_last : bool, default False
        Leave out the last minibatch of an epoch if it is not full.
    validation_fraction : float in [0, 1), default 0.1
        Share of the rows that is held out of training, chosen by ``random_state``. ``validation_curve_``, early
        stopping and `p_values` use the held-out rows. No row is held out if the share is 0 or makes less than one row.
    early_stopping : bool, default True
        Stop training when the monitored loss no longer falls, and keep the weights of its lowest value. The monitored
        loss is that of the held-out rows, or of training if there are none, with the penalties on their codes. False
        trains ``max_epochs`` epochs and keeps the last weights.
    n_epochs_no_change : int, default 10
        Epochs without improvement after which training stops.
    tol : float, default 1e-4
        Relative decrease of the monitored loss that counts as an improvement. Smaller decreases add up.
    scaler : {"standard", "minmax", "robust", "deciles"} or None, default "deciles"
        The map of each column into the scaled space that the network sees, fitted on the training rows. "standard":
        mean 0 and variance 1. "minmax": [0, 1]. "robust": median and distance of the quartiles. "deciles": median and
        distance of the first and ninth decile, scaled so that a normal distribution has variance 1. None: no map.
        Scaled values are clipped at +-1e6, with "deciles" at +-10. A few extreme training values then neither squeeze
        the others together nor dominate the loss, so that "deciles" ranks anomalies better than "standard" on tables
        with such values.
    missing : {"error", "mask", "mean"}, default "error"
        Treatment of NaN and, in tables, null. "error": raise ValueError with their number and place. "mask": the value
        is unknown. In training the network sees 0 in the scaled space, and the loss is over the features that a row
        has. In scoring the expected value takes its place, so that a gap is no evidence (``docs/scores.md``).
        "mean": the mean of the column's training values takes its place. Infinity raises ValueError, and so does a
        column without any value.
    column_kinds : dict of str to str, optional
        Kinds of columns of a data frame or Arrow table: "numeric", "categorical" or "timestamp". Default: by their
        types. Numbers are numeric; text, booleans and categories are categorical; dates and times are timestamps.
        Numeric columns use ``loss`` and ``output_activation``. A categorical column is reconstructed as probabilities
        of its levels (at most 64; all others are one unknown level) with softmax and categorical crossentropy. A
        timestamp is its place in the day and in the week. Losses and errors are means over columns. See
        `aefast.columns.column`.
    contamination : float in (0, 0.5], default 0.1
        Share of fresh rows like the training rows that `predict` reports as outliers. With the metric "calibrated" it
        is also the largest share of training rows that are distrusted: rows that stand apart from the others are not
        learned (see ``docs/scores.md``).
    score_metric : str, default "auto"
        How a row gets its score: "calibrated", "mse", "mae", "max", "huber", "binary_crossentropy",
        "categorical_crossentropy" or "mahalanobis"; see `reconstruction_error`. "auto" is "calibrated". A mean
        of squares treats features as unrelated and equally predictable, and it misses rows far out along directions
        that the network has learned. The calibrated score accounts for both, guards each column by its range in
        training, and ranks anomalies best on tables. It cannot tell a good model from a bad one (see `score`).
    warm_start : bool, default False
        Let `fit` start from the current ``coefs_`` and ``intercepts_``, even if they were replaced. The scaler that
        they were trained with stays, unless a fifth of the values of a column are beyond ten deviations, and so do
        kinds and levels of columns; a warning counts rows with other levels.
        The loss curves continue; the optimizer starts anew.
    random_state : int, RandomState instance or None, default None
        Seed of initial weights (which depend on nothing else), held-out rows, shuffling and dropout.
    n_threads : int in [1, 1024], optional
        Number of threads. Default: all CPUs that the process may use, or the number set by `aefast.threads`. Results do
        not depend on it.
    dtype : {"float32", "float64"}, default "float32"
        Precision of all computation and of ``coefs_``.
    verbose : int, default 0
        Above 0, show progress: a bar on a terminal if rich is installed, else one line an epoch.
    callbacks : callable or sequence of callables, default ()
        Each is called after every epoch with an `aefast.callbacks.EpochInfo` and can stop training. Callbacks are not
        saved with the model.

    Attributes
    ----------
    model_ : `aefast.model.model.Model`
        The immutable model that all methods use. Setting one of the attributes below puts a new model in its place.
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases (n_out,) of each layer, encoder then decoder, in the scaled space. The arrays
        are read-only; assign an item to replace one.
    network_ : dict
        The layers as the engine reads them.
    norms_ : list of ndarray of shape (4, n_out), or None
        For each layer gamma, beta, running mean and running variance of its batch normalisation. ``coefs_`` and
        ``intercepts_`` contain it already; further training starts from it.
    scaler_shift_, scaler_scale_ : ndarray of shape (d,), float64
        The scaled space is (x - shift) / scale.
    column_means_ : ndarray of shape (d,), float64
        Means of the columns' training values.
    n_features_in_ : int
        Number of columns, d.
    columns_ : tuple of `aefast.columns.column.Column`, or None
        Kinds and levels of the columns, if not all of them are numbers. The network then has as many inputs for a
        column as it is wide, and so have the arrays above.
    feature_names_in_ : ndarray of shape (d,)
        Column names, if the training data had any.
    n_epochs_ : int
        Number of epochs trained, including those before a warm start.
    loss_curve_, validation_curve_ : list of float
        Mean loss of each epoch without penalties: of the training rows during the epoch, and of the held-out rows after
        it. The latter is empty if no rows are held out.
    best_loss_ : float
        Lowest monitored loss of the last fit.
    best_epoch_ : int
        Number of the epoch whose weights were kept, from 1 on, counted like ``n_epochs_``; 0 if there was none.
    offset_, threshold_ : float
        `predict` returns -1 for rows whose `score_samples` is below ``offset_``, which means an error above
        ``threshold_``. ``offset_ == -threshold_``; setting either updates both.
    score_metric_ : str
        The metric of the threshold.
    input_ranges_ : list of ndarray of shape (2, n_in), or None
        For each dense layer the smallest and largest inputs over at most 4096 training rows, without a two-thousandth
        of them at either end, for ``precision="int8"``. None with ``dtype="float64"``.
    whitening_ : `aefast.model.whitening.Whitening`, or None
        Centre, matrix and shares of the distance of residual and code, for ``score_metric="mahalanobis"``.
    distances_ : `aefast.model.distances.Distances`, or None
        What the metric "calibrated" compares a row with.
    calibration_ : `aefast.model.calibration.Calibration`
        Sketch of the scores that `p_values` compare with: those of the held-out rows, or of the training rows if there
        are none. With the metric "calibrated" those of both, which also give the threshold.
    drift_ : `aefast.model.drift.Drift`
        How the rows last fitted or recalibrated differ from training, column by column: ``drift_.verdict`` is "drift",
        "no drift", "too few rows" or "unknown"; ``drift_.columns`` has for each column the shares of missing, unknown
        and clipped values beside training's, its population stability index, and the measures by which it has drifted;
        ``str(drift_)`` is one line, ``drift_.as_plain()`` is plain data. After a new `fit` or `aefast.load` it has the
        shares in training. `aefast.ScoreSketch` compares any rows.

    See Also
    --------
    aefast.load : Reads a model that `save` wrote.

    Examples
    --------
    Rows near a line, and one row far from it:

    >>> import numpy as np
    >>> from aefast import Autoencoder
    >>> t = np.random.default_rng(0).normal(size=(1000, 1))
    >>> X = t * [[1.0, 2.0, -1.0]] + 0.01 * np.random.default_rng(1).normal(size=(1000, 3))
    >>> model = Autoencoder((16, 1), contamination=0.01, random_state=0).fit(X)
    >>> model.predict([[1.0, 2.0, -1.0], [1.0, 2.0, 1.0]])
    array([ 1, -1])
    """
