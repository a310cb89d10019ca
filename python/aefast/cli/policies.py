"""Reads the policy of a job file: sentences about when the model is renewed and which scores are accepted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from aefast.cli.errors import UsageError
from aefast.jobs.nights import Acceptance, Policy

_DAYS = {"daily": 1, "weekly": 7, "monthly": 30, "days": 1, "weeks": 7, "months": 30}

#: The accepted sentences, and what each sets, given the words that it leaves open: a `Policy`, or values of
#: `Acceptance`. ``a|b`` is one of several words, N a whole number, P a number; words in brackets may be left out.
FORMS: dict[str, Callable[..., dict[str, Any]]] = {
    "refit|recalibrate daily|weekly|monthly on the last N [clean] days": lambda verb, how_often, last: {
        verb: Policy(_DAYS[how_often], int(last))
    },
    "refit|recalibrate every N days|weeks|months on the last N [clean] days": lambda verb, number, unit, last: {
        verb: Policy(int(number) * _DAYS[unit], int(last))
    },
    "refuse if more than P % of the rows are flagged|bad": lambda share, what: {f"most_{what}": float(share) / 100},
    "refuse if fewer than N rows arrive": lambda number: {"least_rows": int(number)},
    "refuse if fewer than P % of the usual rows arrive": lambda share: {"least_usual_rows": float(share) / 100},
    "refuse if the rows have drifted": lambda: {"no_drift": True},
    "accept text files without a final line end": lambda: {"whole_lines": False},
}
_NUMBERS = {"N": re.compile(r"0*[1-9]\d{0,8}"), "P": re.compile(r"\d{1,2}(\.\d+)?|100")}
_SPOKEN = {"N": "a whole number above 0", "P": "a number up to 100"}
#: The keys that job files had in place of sentences.
OLD_KEYS: dict[str, tuple[str, ...]] = {
    "fit": ("every-days", "last-days"),
    "recalibrate": ("every-days", "last-days"),
    "accept": tuple(each.name.replace("_", "-") for each in fields(Acceptance)),
}


@dataclass(frozen=True)
class Policies:
    """What the sentences of a job file set."""

    refit: Policy = field(default_factory=Policy)
    recalibrate: Policy = field(default_factory=Policy)
    accept: Acceptance = field(default_factory=Acceptance)

    def sentences(self) -> list[str]:
        """Return the sentences that set these values and not the defaults."""
        return [
            *(text for name in ("refit", "recalibrate") if (text := _renewal(name, getattr(self, name)))),
            *_refusals(self.accept),
        ]


def read_policies(sentences: Sequence[str]) -> Policies:
    """Return what the sentences set.

    Raises
    ------
    UsageError
        If a sentence matches none of `FORMS`, or if two sentences set the same. The message names the word that is not
        understood and the forms that begin like the sentence.
    """
    found: dict[str, Any] = {}
    said: dict[str, str] = {}
    for sentence in sentences:
        for name, value in _read(sentence).items():
            if name in found:
                raise UsageError(f"policy {said[name]!r} and {sentence!r} set the same; leave one of them out")
            found[name], said[name] = value, sentence
    renewals = {name: found.pop(name) for name in ("refit", "recalibrate") if name in found}
    return Policies(**renewals, accept=Acceptance(**found))


def sentences_of_keys(tables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the sentences that mean what the keys of earlier job files mean, `OLD_KEYS`; none if there are none."""
    values: dict[str, dict[str, Any]] = {
        table: {key.replace("-", "_"): tables[table][key] for key in keys if key in tables.get(table, {})}
        for table, keys in OLD_KEYS.items()
    }
    return Policies(
        Policy(**values["fit"]), Policy(**values["recalibrate"]), Acceptance(**values["accept"])
    ).sentences()


def _read(sentence: str) -> dict[str, Any]:
    """Return what one sentence sets: a `Policy` by its verb, or values of `Acceptance` by their names."""
    words = re.findall(r"\d+(?:\.\d+)?(?![^\s%])|%|[^\s%]+", sentence.strip().removesuffix(".").lower())
    furthest, wanted = 0, dict.fromkeys(form.split()[0] for form in FORMS)
    for form, meaning in FORMS.items():
        place, values, expected = _matched(form.split(), words)
        if expected is None:
            return meaning(*values)
        if place > furthest:
            furthest, wanted = place, {}
        if place == furthest:
            wanted |= dict.fromkeys([expected])
    got = repr(words[furthest]) if furthest < len(words) else "its end"
    forms = [form for form in FORMS if words and words[0] in form.split()[0].split("|")]
    expected_here = " or ".join(_SPOKEN.get(each, each.replace("|", ", ")) for each in wanted)
    remedy = " or ".join(f'"{form}"' for form in forms) if forms else f'a sentence such as "{next(iter(FORMS))}"'
    raise UsageError(f"policy {sentence!r}: {got} is not understood, {expected_here} is wanted; write {remedy}")


def _matched(form: Sequence[str], words: Sequence[str]) -> tuple[int, list[str], str | None]:
    """Return how many words fit a form, the words that it leaves open, and what it wants next; None if all fits."""
    place, values = 0, []
    for part in form:
        word = words[place] if place < len(words) else ""
        name = part.strip("[]")
        fits = _NUMBERS[name].fullmatch(word) is not None if name in _NUMBERS else word in name.split("|")
        if fits:
            place += 1
            values += [word] if name in _NUMBERS or "|" in name else []
        elif name == part:
            return place, values, name
    return place, values, None if place == len(words) else "the end"


def _renewal(verb: str, policy: Policy) -> str:
    """Return the sentence about a policy; empty if it is never due."""
    if policy.every_days == 0:
        return ""
    usual = {1: "daily", 7: "weekly", 30: "monthly"}
    how_often = usual.get(policy.every_days, f"every {policy.every_days} days")
    return f"{verb} {how_often} on the last {policy.last_days} clean days"


def _refusals(accept: Acceptance) -> Iterator[str]:
    usual = Acceptance()
    for name in ("flagged", "bad"):
        share = getattr(accept, f"most_{name}")
        if share != 1:
            yield f"refuse if more than {100 * share:.10g} % of the rows are {name}"
    if accept.least_rows != usual.least_rows:
        yield f"refuse if fewer than {accept.least_rows} rows arrive"
    if accept.least_usual_rows:
        yield f"refuse if fewer than {100 * accept.least_usual_rows:.10g} % of the usual rows arrive"
    if accept.no_drift:
        yield "refuse if the rows have drifted"
    if not accept.whole_lines:
        yield "accept text files without a final line end"
