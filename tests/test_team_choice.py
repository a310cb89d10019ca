"""Training steps go to a team of threads or to one of them, whichever is sooner done as the clock shows."""

import pytest

from aefast.engine import core

ROWS = 32
SECONDS = 1e-3  # of a step by one thread


def run(choice, n_steps, gain):
    """Steps in which a team is ``gain`` times as fast as one thread: how many of them one thread got."""
    n_alone = 0
    for _ in range(n_steps):
        n_alone += choice.is_alone
        choice.add(SECONDS if choice.is_alone else SECONDS / gain, ROWS)
    return n_alone


@pytest.mark.parametrize("gain", [1.0, 1.2, 1.9])
def test_a_team_that_is_no_slower_keeps_the_steps_but_for_a_trial_now_and_then(gain):
    n_alone = run(core.TeamChoice(), 5000, gain)
    assert 0 < n_alone < 100


@pytest.mark.parametrize("gain", [0.2, 0.9])
def test_one_thread_alone_gets_the_steps_where_a_team_is_slower(gain):
    assert run(core.TeamChoice(), 5000, gain) > 4600


def test_a_team_has_the_steps_again_once_it_is_faster():
    choice = core.TeamChoice()
    run(choice, 5000, 0.5)
    run(choice, 1000, 1.8)  # at most as long as one trial is after the other
    assert run(choice, 1000, 1.8) < 20


def test_waking_up_does_not_count_against_a_team():
    choice, was_alone, n_alone, since_change = core.TeamChoice(), False, 0, 0.0
    run(choice, 2000, 0.5)
    for _ in range(4000):
        since_change = since_change if choice.is_alone == was_alone else 0.0
        was_alone = choice.is_alone
        is_waking = not was_alone and since_change < 2e-3
        seconds = SECONDS if was_alone else SECONDS * (3 if is_waking else 0.55)
        since_change += seconds
        n_alone += was_alone
        choice.add(seconds, ROWS)
    assert n_alone < 400


def test_a_difference_within_what_clocks_are_good_for_changes_nothing():
    choice = core.TeamChoice()
    assert run(choice, 2000, 0.97) < 60
