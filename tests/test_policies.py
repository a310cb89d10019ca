"""The sentences of a job file: what they amount to, and what is said about those that are not understood."""

from __future__ import annotations

import re

import pytest

from aefast.cli.errors import UsageError
from aefast.cli.policies import FORMS, Policies, read_policies, sentences_of_keys
from aefast.jobs.nights import Acceptance, Policy


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("recalibrate weekly on the last 28 clean days", Policies(recalibrate=Policy(7, 28))),
        ("refit monthly on the last 90 days", Policies(refit=Policy(30, 90))),
        ("Refit daily on the last 1 clean days.", Policies(refit=Policy(1, 1))),
        ("recalibrate every 3 weeks on the  last 9 clean days", Policies(recalibrate=Policy(21, 9))),
        ("refit every 2 months on the last 60 days", Policies(refit=Policy(60, 60))),
        ("refuse if more than 5 % of the rows are flagged", Policies(accept=Acceptance(most_flagged=0.05))),
        ("refuse if more than 0.5% of the rows are bad", Policies(accept=Acceptance(most_bad=0.005))),
        ("refuse if fewer than 1000 rows arrive", Policies(accept=Acceptance(least_rows=1000))),
        ("refuse if fewer than 50 % of the usual rows arrive", Policies(accept=Acceptance(least_usual_rows=0.5))),
        ("refuse if the rows have drifted", Policies(accept=Acceptance(no_drift=True))),
        ("accept text files without a final line end", Policies(accept=Acceptance(whole_lines=False))),
    ],
)
def test_a_sentence_amounts_to_what_it_says(sentence, expected):
    found = read_policies([sentence])
    assert found == expected
    assert read_policies(found.sentences()) == found
    assert len(found.sentences()) == 1


def test_sentences_add_up_in_any_order():
    sentences = [
        "refit monthly on the last 90 clean days",
        "recalibrate weekly on the last 28 clean days",
        "refuse if more than 7.5 % of the rows are flagged",
        "refuse if the rows have drifted",
    ]
    wanted = Policies(Policy(30, 90), Policy(7, 28), Acceptance(most_flagged=0.075, no_drift=True))
    assert read_policies(sentences) == read_policies(sentences[::-1]) == wanted
    assert wanted.sentences() == sentences
    assert read_policies([]) == Policies()
    assert Policies().sentences() == []


@pytest.mark.parametrize(
    ("sentence", "word", "wanted"),
    [
        ("recalibrate fortnightly on the last 28 days", "'fortnightly'", "daily, weekly, monthly or every"),
        ("recalibrate weekly on the last 28 good days", "'good'", "days"),
        ("recalibrate weekly on the last 0 days", "'0'", "a whole number above 0"),
        ("recalibrate weekly on the last 2.5 days", "'2.5'", "a whole number above 0"),
        ("recalibrate every 3 fridays on the last 2 days", "'fridays'", "days, weeks, months"),
        ("refit weekly", "its end", "on"),
        ("refit weekly on the last 9 days of May", "'of'", "the end"),
        ("refuse if more than 5 of the rows are flagged", "'of'", "%"),
        ("refuse if more than 500 % of the rows are flagged", "'500'", "a number up to 100"),
        ("refuse if more than 5 % of the rows are strange", "'strange'", "flagged, bad"),
        ("refuse if less than 5 rows arrive", "'less'", "more or fewer"),
        ("refuse if fewer than 0 rows arrive", "'rows'", "%"),
        ("recalibrate weekly on the last 28x days", "'28x'", "a whole number above 0"),
    ],
)
def test_what_is_not_understood_is_named_with_the_accepted_forms(sentence, word, wanted):
    with pytest.raises(UsageError) as raised:
        read_policies(["refuse if the rows have drifted", sentence])
    message = str(raised.value)
    assert message.startswith(f"policy {sentence!r}: {word} is not understood, ")
    assert wanted in message.partition("is not understood, ")[2].partition(" is wanted; write ")[0]
    verb = sentence.split()[0]
    forms = re.findall(r'"([^"]+)"', message.partition("; write ")[2])
    assert forms == [form for form in FORMS if verb in form.split()[0].split("|")]


@pytest.mark.parametrize("sentence", ["train monthly on the last 9 days", "", ".", "  "])
def test_an_unknown_verb_is_answered_with_those_there_are(sentence):
    with pytest.raises(
        UsageError, match='refit, recalibrate or refuse or accept is wanted; write a sentence such as "refit'
    ):
        read_policies([sentence])


def test_two_sentences_about_the_same_are_refused():
    first, second = "refit weekly on the last 9 days", "refit monthly on the last 90 days"
    with pytest.raises(UsageError, match=f"policy '{first}' and '{second}' set the same; leave one of them out"):
        read_policies([first, second])
    read_policies(["refuse if more than 5 % of the rows are flagged", "refuse if more than 5 % of the rows are bad"])


def test_the_keys_of_earlier_job_files_have_sentences():
    keys = {
        "fit": {"every-days": 14, "last-days": 12, "epochs": 3},
        "recalibrate": {"every-days": 7},
        "accept": {"most-flagged": 0.3, "least-rows": 1, "whole-lines": True},
    }
    assert sentences_of_keys(keys) == [
        "refit every 14 days on the last 12 clean days",
        "recalibrate weekly on the last 28 clean days",
        "refuse if more than 30 % of the rows are flagged",
    ]
    assert sentences_of_keys({"fit": {"epochs": 3}}) == []
