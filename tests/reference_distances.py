"""The calibrated score in NumPy: a slow, clear oracle for the engine (see docs/scores.md)."""

from types import SimpleNamespace

import numpy as np

from reference import forward

#: Where the score stops telling rows apart, and the rounding that distances are kept above.
FARTHEST, LEAST, SHARE_OF_JOINT, SHARE_OF_SQUARE = 1e30, 1e-12, 1e-5, 1e-6


def whitened(away, distances):
    """Return w (n, p) of centred residuals and codes."""
    if len(distances.rest) == 0:
        return away @ distances.matrix.T
    along = away @ distances.matrix.T
    return away * distances.rest - (along * distances.back) @ distances.matrix / distances.rest


def measured(network, parameters, scaling, X, distances, masks_missing=False):
    """Return everything that the score of rows follows from, row by row.

    D, J, P, B: the four parts before their logarithms. w, z, centres, mean: what the first three are distances of.
    """
    shift, scale, limit = scaling
    X = np.asarray(X, dtype=np.float64)
    free = np.clip((X - shift) / scale, -FARTHEST, FARTHEST)
    missing = np.isnan(free)
    if masks_missing:
        free = np.where(missing, 0, free)
    y = np.clip(free, -limit, limit)
    records = forward(network, parameters, y)
    code, residual = records[network["n_encoder_layers"] - 1].y, np.where(missing, 0, y - records[-1].y)
    elements = np.asarray(distances.elements, dtype=int)
    v = residual[:, elements]
    if len(distances.centre) > len(elements):
        v = np.hstack([v, code])
    w = whitened(v - distances.centre, distances)
    D = np.square(w).sum(axis=1)
    of_centres = np.square(w[:, None, :] - distances.centres).sum(axis=2)
    nearest = np.argsort(of_centres, axis=1, kind="stable")[:, :3]
    J = np.take_along_axis(of_centres, nearest, axis=1).mean(axis=1)
    z = y[:, elements] / distances.span
    of_means = np.square(z[:, None, :] - distances.means).sum(axis=2) + distances.spreads
    mean = of_means.argmin(axis=1)
    P = of_means.min(axis=1)
    square = np.square(z - distances.means.mean(axis=0)).sum(axis=1)

    low, high = ((bound - shift[elements]) / scale[elements] for bound in (distances.low, distances.high))
    beyond = np.maximum(np.maximum(low - free[:, elements], free[:, elements] - high), 0)
    beyond = np.where(missing[:, elements], 0, beyond) * scale[elements] / distances.unit
    return SimpleNamespace(
        D=np.maximum(D, LEAST),
        J=np.maximum(np.maximum(J, SHARE_OF_JOINT * D), LEAST),
        P=np.maximum(np.maximum(P, SHARE_OF_SQUARE * square), LEAST),
        B=np.minimum(beyond.max(axis=1), FARTHEST),
        w=w,
        z=z,
        nearest=nearest,
        mean=mean,
        beyond=beyond,
        of_centres=of_centres,
        of_means=of_means,
    )


def parts(found, distances):
    """Return the four standardised parts (n, 4); the last is minus infinity within the columns' ranges."""
    p = len(distances.centre)
    logs = np.log(np.column_stack([found.D / p, found.J, found.P]))
    standard = (logs - distances.calibration[:, 0]) / distances.calibration[:, 1]
    with np.errstate(divide="ignore"):
        return np.column_stack([standard, distances.top[0] + distances.slope[0] * np.log(2 * found.B)])


def errors(network, parameters, scaling, X, distances, masks_missing=False):
    """Return the calibrated score (n,) of rows; NaN for rows with NaN or infinity, unless these are missing values."""
    finite = np.isfinite(np.asarray(X, dtype=np.float64)).all(axis=1) | masks_missing
    scores = np.full(len(X), np.nan)
    found = measured(network, parameters, scaling, np.asarray(X)[finite], distances, masks_missing)
    scores[finite] = parts(found, distances).max(axis=1) + np.log1p(found.B)
    return scores


def shares(network, parameters, scaling, X, distances, masks_missing=False):
    """Return each input's share (n, d) of its row's score: of its largest part, the terms of each element.

    D: the squares of w; J: the mean of those of w - c over the three nearest centres c. The squares of the code are
    divided in proportion to the terms of P. P: the squares of z - m. The guard: the column farthest beyond its range.
    """
    found = measured(network, parameters, scaling, X, distances, masks_missing)
    largest, m = parts(found, distances).argmax(axis=1), len(distances.elements)
    terms = np.zeros((len(X), network["n_features"]))
    for i, part in enumerate(largest):
        local = np.square(found.z[i] - distances.means[found.mean[i]]) + 1e-6
        squares = np.square(found.w[i])
        if part == 1:
            squares = np.square(found.w[i] - distances.centres[found.nearest[i]]).mean(axis=0)
        of_column = squares[:m] + squares[m:].sum() * local / local.sum()
        if part == 2:
            of_column = local
        if part == 3:
            of_column = np.arange(m) == found.beyond[i].argmax()
        terms[i, np.asarray(distances.elements, dtype=int)] = of_column
    return terms / terms.sum(axis=1, keepdims=True)


def random_distances(network, rng, elements=None, uses_code=True, rank=0, scaling=None):
    """Return distances of random numbers for a network, in the low-rank form if ``rank`` is above 0."""
    from aefast.model.distances import Distances

    d, q = network["n_features"], network["layers"][network["n_encoder_layers"] - 1]["units"]
    elements = np.arange(d) if elements is None else np.asarray(elements)
    m = len(elements)
    p = m + q if uses_code else m
    shift, scale = (np.zeros(d), np.ones(d)) if scaling is None else scaling[:2]
    low = shift[elements] - scale[elements] * rng.uniform(0.5, 2, m)
    high = shift[elements] + scale[elements] * rng.uniform(0.5, 2, m)
    if rank:
        u = np.linalg.qr(rng.normal(size=(p, rank)))[0].T
        deviation, values, others = rng.uniform(0.5, 2, p), rng.uniform(2, 9, rank), rng.uniform(0.3, 1)
        matrix = np.sqrt(others**-0.5 - values**-0.5)[:, None] * u / deviation
        rest, back = others**-0.25 / deviation, others**-0.25 / (others**-0.25 + values**-0.25)
    else:
        matrix, rest, back = rng.normal(size=(p, p)) / np.sqrt(p), np.empty(0), np.empty(0)
    return Distances(
        elements=elements.astype(np.int64),
        centre=rng.normal(size=p) / 3,
        matrix=matrix,
        rest=rest,
        back=back,
        centres=rng.normal(size=(17, p)),
        span=rng.uniform(0.5, 3, m),
        means=rng.normal(size=(19, m)),
        spreads=rng.uniform(0.1, 1, 19),
        calibration=np.column_stack([rng.normal(size=3), rng.uniform(0.5, 1, 3)]),
        low=low,
        high=high,
        unit=high - low,
        top=np.array([2.0]),
        slope=np.array([rng.uniform(2, 6)]),
    )


def squared_distances(rows, centres):
    """Return the squared distances (n, k) of rows (n, d) from centres (k, d)."""
    return np.square(rows[:, None, :] - centres).sum(axis=2)


def nearest_mean(distances):
    """Return the mean (n,) of the three smallest of each row's distances (n, k)."""
    return np.sort(distances, axis=1)[:, :3].mean(axis=1)


def moved_centres(rows, centres, weights, n_steps, trimmed):
    """Return centres after steps of Lloyd's algorithm, in which the farthest rows move none from the second step on."""
    centres, weights = centres.copy(), np.ones(len(rows)) if weights is None else weights
    for step in range(n_steps):
        distances = squared_distances(rows, centres)
        labels, counted = distances.argmin(axis=1), weights
        if step > 0 and trimmed > 0:
            order = np.argsort(-nearest_mean(distances), kind="stable")
            is_far = np.cumsum(weights[order]) <= trimmed * weights.sum() * (1 + 1e-9)
            counted = weights.copy()
            counted[order[is_far]] = 0
        for label in np.unique(labels[counted > 0]):
            own = (labels == label) * counted
            centres[label] = own @ rows / own.sum()
    return centres


def local_means(rows, anchors, mass, weights):
    """Return the means (k, d) of the rows nearest to each anchor and their mean squared distances (k,) from them."""
    weights, means, spreads = np.ones(len(rows)) if weights is None else weights, [], []
    for distances in squared_distances(rows, anchors).T:
        order = np.argsort(distances, kind="stable")
        before = np.cumsum(weights[order]) - weights[order]
        near = order[before < mass * weights.sum() * (1 - 1e-9)]
        share = weights[near] / weights[near].sum()
        means.append(share @ rows[near])
        spreads.append(share @ np.square(rows[near] - means[-1]).sum(axis=1))
    return np.array(means), np.array(spreads)


def power_distances(rows, means, spreads):
    """Return the least squared distance (n,) of each row from a mean, plus that mean's spread."""
    return (squared_distances(rows, means) + spreads).min(axis=1)
