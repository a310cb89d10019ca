"""The plain autoencoder of dense layers."""

from aefast.estimators.base import BaseAutoencoder


class Autoencoder(BaseAutoencoder):
    r"""Dense autoencoder: a network trained to give back its input through a narrow code.

    Rows that it gives back badly are unlike those it was trained on, so the reconstruction error ranks anomalies; the
    code is a non-linear relative of principal components (Hinton and Salakhutdinov 2006). Training and scoring run in
    compiled code over all CPUs that the process may use; results do not depend on how many those are.

    Training minimises, over minibatches, the mean of the loss over rows and features + ``l2`` / 2 sum w^2 + ``l1``
    sum \|w\| over weights + the row average of ``activity_l2`` / 2 sum h^2 + ``activity_l1`` sum \|h\| over the
    code's outputs h.

    Parameters
    ----------
    encoder_layer_sizes : "auto", int or sequence of int, default "auto"
        Widths after the input; the last is the code. "auto" is a hidden layer of 2 d units (within 8 and 256) and a
        code of the root of d, for d features.
    decoder_layer_sizes : int or sequence of int, optional
        Hidden widths after the code, without the output; default the encoder's, mirrored.
    activation : str, default "silu"
        Of the hidden layers: "identity", "sigmoid", "tanh", "relu", "leaky_relu" (slope 0.01 below 0), "elu", "selu",
        "gelu" (exact), "silu" or "softplus". Smooth ones rank anomalies better than "relu", which is quicker.
    code_activation : as ``activation``, default "identity"
        Of the code layer. A linear code lets deviations of either sign pass.
    output_activation : as ``activation``, or "softmax", default "identity"
        Of the last layer.
    tied_weights : bool, default False
        The decoder's weights are the encoder's, transposed.
    batch_norm : bool, default False
        Normalise each hidden layer's sums over the minibatch before their activation (Ioffe and Szegedy 2015). After
        training the running statistics are folded into ``coefs_`` and ``intercepts_``, so that it costs nothing in
        scoring. Not with ``tied_weights``.
    dropout : float in [0, 1), or one for each hidden layer, default 0
        Share of a layer's outputs set to zero in training; the code counts as a hidden layer.
    loss : {"mse", "mae", "huber", "binary_crossentropy", "categorical_crossentropy"}, default "mse"
        Of a feature, in the scaled space. Huber has delta = 1. Binary crossentropy needs output activation "sigmoid"
        or "softmax", categorical crossentropy "softmax"; both need data in [0, 1] after scaling, and the second rows
        that sum to 1.
    optimizer : {"sgd", "rmsprop", "adam", "adamw"} or `Optimizer`, default "adam"
        A name stands for the object with its defaults.
    learning_rate : float above 0, or schedule, default 2e-3
        Rate, or an object that gives the rate of each epoch (see `aefast.schedules`). The default was chosen together
        with those of ``activation``, ``batch_size``, ``scaler`` and ``score_metric``, by how well they rank anomalies
        in 20 tables (benchmarks/README.md, Detection); what the rate alone does for it, beside the usual 1e-3, was not
        measured.
    l1, l2 : float, default 0
        Penalties on weights, not on biases.
    activity_l1, activity_l2 : float, default 0
        Penalties on the code's outputs.
    clip_norm : float, optional
        Gradients longer than this are shortened to it.
    weight_init : str, default "glorot_uniform"
        Distribution of the initial weights: "glorot", "he" or "lecun" (see `aefast.model.network.initial_parameters`),
        each with "_uniform" or "_normal". Biases begin at 0.
    batch_size : int, default 128
        Rows a step; fewer where there are fewer. Small ones train tables of a few thousand rows in fewer epochs.
    max_epochs : int, default 100
        Passes over the training rows at most; 0 sets up weights, scaler and threshold without training.
    shuffle : bool, default True
        Draw a new order of rows for each epoch.
    drop_last : bool, default False
        Leave out a last batch that is not full.
    validation_fraction : float in [0, 1), default 0.1
        Share of the rows that is held out of training, chosen by ``random_state``, for ``validation_curve_``, early
        stopping and `p_values`. 0 holds none out; nor are any where the share makes less than one row.
    early_stopping : bool, default True
        Stop when the monitored loss (of held-out rows, else of training; with the penalties on their codes) no longer
        falls, and keep the weights of its least value. False trains ``max_epochs`` and keeps the last weights.
    n_epochs_no_change : int, default 10
        Epochs without improvement before stopping.
    tol : float, default 1e-4
        Share of the loss that counts as an improvement; small ones add up.
    scaler : {"standard", "minmax", "robust", "deciles"} or None, default "deciles"
        Maps each column into the space the network sees: zero mean and unit variance; [0, 1]; median and distance
        of the quartiles; median and distance of the first and ninth decile, which for a normal distribution is unit
        variance; nothing. Fitted on the training rows. Scaled values are clipped at +-1e6, behind "deciles" at +-10:
        a few wild training values then neither squeeze the others together nor take over the loss, which ranks
        anomalies better than "standard" on tables that hold some.
    missing : {"error", "mask", "mean"}, default "error"
        What NaN is (in tables: null). "error": refused, with count and place. "mask": not known; the network is given
        0 for it in the scaled space, and losses and errors are over the features that a row has. "mean": read as the
        mean of the column's training values. Infinity is refused, and so is a column without any value.
    column_kinds : dict of str to str, optional
        Kinds of columns of a data frame or Arrow table: "numeric", "categorical" or "timestamp". Default what their
        types say: numbers are numeric; text, booleans and categories categorical; dates and times timestamps. Numeric
        columns take ``loss`` and ``output_activation``; a categorical one is given back as probabilities of its levels
        (at most 64, the others are one unknown level) by softmax and categorical crossentropy; a timestamp is its place
        in the day and in the week. Losses and errors are means over columns. See `aefast.columns.column`.
    contamination : float in (0, 0.5], default 0.1
        Share of the training rows, held-out ones included, that `predict` calls outliers.
    score_metric : str, default "auto"
        How a row's residuals become its error: "mse", "mae", "max", "huber", "binary_crossentropy",
        "categorical_crossentropy" or "mahalanobis"; see `reconstruction_error`. "auto" is "mahalanobis" where features
        and code are at most 640 together and all columns are numbers, else "mse". A mean of squares takes features for
        unrelated and equally well known, and does not see rows far out along directions that the network has learnt;
        the distance does, and ranks anomalies best of all on tables (see `aefast.model.whitening`). With more features
        it would cost more than the network. It does not tell a good model from a bad one (see `score`).
    warm_start : bool, default False
        Let `fit` start from ``coefs_`` and ``intercepts_`` as they are, also where they have been replaced; the scaler
        they were trained behind stays, and so do the kinds and levels of columns (a warning counts rows that have other
        levels). Curves go on; the optimiser starts anew.
    random_state : int, RandomState instance or None, default None
        Fixes initial weights (which depend on nothing else), held-out rows, shuffling and dropout.
    n_threads : int in [1, 1024], optional
        Default all CPUs that the process may use, or what `aefast.threads` says. Results do not depend on it.
    dtype : {"float32", "float64"}, default "float32"
        Precision of all computation and of ``coefs_``.
    verbose : int, default 0
        Above 0 shows progress: a bar on a terminal where rich is installed, else a line an epoch.
    callbacks : callable or sequence of callables, default ()
        Each is called after every epoch with an `aefast.callbacks.EpochInfo` and may stop training.
        Not part of a saved model.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases (n_out,) of each layer, encoder then decoder, in the scaled space. They *are*
        the model: what is put there is used.
    network_ : dict
        The layers as the engine reads them.
    norms_ : list of ndarray of shape (4, n_out), or None
        Of each layer: gamma, beta, running mean and variance of its batch normalisation, which ``coefs_`` and
        ``intercepts_`` have in them already; further training starts from them.
    scaler_shift_, scaler_scale_ : ndarray of shape (d,), float64
        The scaled space: (x - shift) / scale.
    column_means_ : ndarray of shape (d,), float64
        Means of the columns' training values.
    n_features_in_ : int
        d.
    columns_ : tuple of `aefast.columns.column.Column`, or None
        The columns' kinds and levels, where they are not all numbers. A column is then as many elements of what the
        network sees (and of the arrays above) as it is wide.
    feature_names_in_ : ndarray of shape (d,)
        Column names, where the training data had any.
    n_epochs_ : int
        Epochs trained, those before a warm start included.
    loss_curve_, validation_curve_ : list of float
        Mean loss an epoch without penalties: of training as seen during the epoch, and of the held-out rows after
        it (empty where there are none).
    best_loss_ : float
        Least monitored loss of the last fit.
    offset_, threshold_ : float
        `predict` says -1 where `score_samples` is below ``offset_``, that is, where the error exceeds ``threshold_``.
        One is minus the other, and follows where the other is set.
    score_metric_ : str
        The metric that the threshold belongs to.
    input_ranges_ : list of ndarray of shape (2, n_in), or None
        Of each dense layer the least and largest inputs over at most 4096 of the training rows, but for a
        two-thousandth of them at either end, for ``precision="int8"``; None with ``dtype="float64"``.
    whitening_ : `aefast.model.whitening.Whitening`, or None
        For ``score_metric="mahalanobis"``: centre, matrix and shares of the distance of residual and code.
    calibration_ : aefast.model.calibration.Calibration
        A sketch of the errors of the held-out rows (where there are none, of the training rows), for `p_values`.

    See Also
    --------
    aefast.load : Reads what `save` wrote.

    Examples
    --------
    Rows near a line, and one that is not:

    >>> import numpy as np
    >>> from aefast import Autoencoder
    >>> t = np.random.default_rng(0).normal(size=(1000, 1))
    >>> X = t * [[1.0, 2.0, -1.0]] + 0.01 * np.random.default_rng(1).normal(size=(1000, 3))
    >>> model = Autoencoder((16, 1), contamination=0.01, random_state=0).fit(X)
    >>> model.predict([[1.0, 2.0, -1.0], [1.0, 2.0, 1.0]])
    array([ 1, -1])
    """
