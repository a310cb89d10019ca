"""Fits of one estimator to many groups of rows, several at once, each to the bits of a fit of the group alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aefast.engine.threads import one_blas_thread, resolve_threads, threads
from aefast.estimators.recipe import recipe_of, settings_of, start_of
from aefast.estimators.training_input import copied, read_to_fit
from aefast.exceptions import ConvergenceError
from aefast.model.model import Model
from aefast.model.rows import require_finite
from aefast.tables.groups import Key, key_label, taken
from aefast.tables.text import pluralise
from aefast.training.in_memory import FitRows
from aefast.training.loop import Settings
from aefast.training.recipe import Recipe

Array = NDArray[Any]
Rows = NDArray[np.int64]

#: Largest number of rows that the pooled model is trained on, and the stream of random numbers that draws them.
POOLED_ROWS, POOLED = 20_000, 17


@dataclass(frozen=True)
class GroupRows:
    """The rows of a table, read once for the fits of all groups.

    Attributes
    ----------
    estimator : estimator
        With the parameters of the fits.
    rows : ndarray or table
        The rows as the network reads them; the table itself if columns are of several kinds, whose levels each group
        learns for itself.
    recipe : Recipe or None
        What to train; None for such a table.
    """

    estimator: Any
    rows: Any
    recipe: Recipe | None

    @classmethod
    def of(cls, estimator: Any, X: Any) -> GroupRows:
        """Read the rows of all groups; errors as of ``estimator.fit``, which number the rows of ``X``."""
        estimator.check_parameters()
        reader, _, rows = read_to_fit(estimator, X, keeps=False, stacklevel=4)
        if reader.columns_ is not None:
            return cls(estimator, X, None)
        recipe = recipe_of(estimator, reader, rows.shape[1])
        may_miss = estimator.missing != "error"
        require_finite(rows, "X", recipe.column_names, None, may_miss=may_miss, n_threads=estimator.n_threads)
        return cls(estimator, rows, recipe)

    def fit(self, rows: Rows, settings: Settings, n_threads: int | None = None) -> Model:
        """Return the model of some rows, to the bits of ``estimator.fit`` on these alone.

        ``n_threads`` replaces the parameter, which the model keeps.
        """
        # Each group draws the same seed from the state of a generator, in any order of the groups.
        estimator = copied(self.estimator, random_state=deepcopy(self.estimator.random_state), verbose=0)
        recipe, X, table = self.recipe, taken(self.rows, rows), None
        if recipe is None:
            reader, table, X = read_to_fit(estimator, X, keeps=False, stacklevel=4)
            recipe = recipe_of(estimator, reader, X.shape[1])
        given = recipe.parameters
        if n_threads is not None and estimator.n_threads is not None:
            recipe = replace(recipe, parameters={**given, "n_threads": n_threads})
        start, best = start_of(estimator, go_on=False), None
        for attempt in range(estimator.n_init):
            fit = FitRows(recipe, settings, replace(start, attempt=attempt), X=X, table=table)
            fit.run()
            assert fit.model is not None
            if best is None or fit.model.best_loss < best.best_loss:
                best = fit.model
        assert best is not None
        if recipe.parameters is given:
            return best
        return best.replace(
            n_threads=estimator.n_threads, parameters={**best.parameters, "n_threads": given["n_threads"]}
        )


def fit_groups(
    data: GroupRows, groups: Mapping[Key, Rows], on_fitted: Callable[[int], None]
) -> tuple[dict[Key, Model], dict[Key, str]]:
    """Return the models of groups, and for groups that cannot be learned the reason.

    All CPUs that the estimator may use fit groups, one group a thread, or with threads to spare for each if there are
    fewer groups than CPUs. ``on_fitted`` is called with the number of rows of each group that is done.

    Raises
    ------
    KeyboardInterrupt, Exception
        Whatever else ends a fit, within a second. Other fits are then given up.
    """
    n_threads = resolve_threads(data.estimator.n_threads)
    n_at_once = min(n_threads, max(1, len(groups)))
    n_of_each = max(1, n_threads // n_at_once)
    is_over = Event()

    def poll() -> None:
        if is_over.is_set():
            raise InterruptedError

    settings = replace(settings_of(data.estimator), poll=poll, verbose=0)

    def fit(rows: Rows) -> Model | str:
        with threads(n_of_each):
            try:
                return data.fit(rows, settings, n_of_each)
            except (ValueError, ConvergenceError) as error:
                return str(error)

    models: dict[Key, Model] = {}
    reasons: dict[Key, str] = {}
    # The limit is that of the process, so that threads which set it for themselves would lift it for others.
    with one_blas_thread(), _pool(n_at_once, is_over) as pool:
        # The largest groups first, so that no thread is left with one at the end.
        by_size = sorted(groups, key=lambda key: -len(groups[key]))
        futures = {pool.submit(fit, groups[key]): key for key in by_size}
        for future in as_completed(futures):
            key, found = futures.pop(future), future.result()
            if isinstance(found, str):
                reasons[key] = found
            else:
                models[key] = found
            on_fitted(len(groups[key]))
    return {key: models[key] for key in groups if key in models}, {
        key: reasons[key] for key in groups if key in reasons
    }


@contextmanager
def _pool(n_threads: int, is_over: Event) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="aefast-fit")
    try:
        yield pool
    except BaseException:
        is_over.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def fit_pooled(data: GroupRows, groups: Mapping[Key, Rows]) -> Model:
    """Return the model of a random choice of at most `POOLED_ROWS` rows, as evenly from all groups as possible.

    The choice depends on the seed, the keys and the rows of each group, but not on the order of the groups.
    """
    seed, most = seed_of(data.estimator), most_of_each([len(rows) for rows in groups.values()])
    chosen = [rows[pooled_choice(seed, number, len(rows), most)] for number, rows in enumerate(groups.values())]
    return data.fit(np.concatenate(chosen), settings_of(data.estimator))


def seed_of(estimator: Any) -> int:
    """Return the seed that each group is fitted with."""
    return start_of(copied(estimator, random_state=deepcopy(estimator.random_state)), go_on=False).seed


def pooled_choice(seed: int, number: int, n_rows: int, most: int) -> Rows:
    """Return which of ``n_rows`` rows of a group the pooled model learns; ``number`` is the group's among the keys."""
    if n_rows <= most:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng([seed, POOLED, number]).choice(n_rows, most, replace=False))


def most_of_each(counts: list[int]) -> int:
    """Return the largest number of rows of a group with which all groups together have at most `POOLED_ROWS`."""
    left, ascending = POOLED_ROWS, sorted(counts)
    for index, count in enumerate(ascending):
        share = left // (len(ascending) - index)
        if count > share:
            return max(1, share)
        left -= count
    return ascending[-1]


def reasons_in_words(reasons: Mapping[Key, str]) -> str:
    """Return how many groups could not be learned, and why the first could not."""
    key, reason = next(iter(reasons.items()))
    return f"{pluralise(len(reasons), 'groups')} could not be learned, the first is {key_label(key)}: {reason}"
