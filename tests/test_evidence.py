"""The evidence of columns of several kinds: the engine and an oracle, and what is evidence and what is not."""

import numpy as np
import pandas as pd
import pytest

import reference_evidence as reference
from aefast.columns.column import Column, RareLevels, encode
from aefast.columns.learner import ColumnLearner
from aefast.model.evidence import Evidence, OwnEvidence, contexts_of, states_of
from aefast.model.tail import Tail
from aefast.training.evidence import fit_evidence


def shop(n, seed=0, *, missing=0.0):
    """Orders: the city follows from the country, the price from the item, orders are made by day."""
    rng = np.random.default_rng(seed)
    country = rng.choice(["de", "fr", "it"], n, p=[0.6, 0.3, 0.1])
    city = np.char.add(country, rng.integers(0, 4, n).astype(str))
    item = rng.integers(0, 80, n)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 60, n), unit="D")
    frame = pd.DataFrame(
        {
            "country": country,
            "city": city,
            "item": np.char.add("item ", item.astype(str)),
            "price": item + rng.normal(size=n),
            "weight": rng.gamma(2.0, size=n),
            "when": days + pd.to_timedelta(rng.normal(13, 2, n).clip(0, 23.99), unit="h"),
        }
    )
    for column in frame:
        frame.loc[rng.random(n) < missing, column] = None
    return frame


def fitted(frame, *, masks_missing=True, seed=0):
    columns = ColumnLearner(frame, None).columns()
    rows = encode(frame, columns, masks_missing=masks_missing)
    rng = np.random.default_rng(seed)
    return columns, rows, fit_evidence(rows, columns, masks_missing=masks_missing, rng=rng, n_threads=2)


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("masks_missing", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_engine_computes_what_the_oracle_does(missing, masks_missing, dtype):
    frame = shop(3000, missing=missing)
    columns, rows, evidence = fitted(frame, masks_missing=masks_missing)
    assert len(evidence.targets) >= 3
    joint = np.random.default_rng(1).normal(size=len(rows)) * 3
    joint[::7] = np.nan
    evidence = Evidence(evidence.edges, evidence.margins, evidence.targets, (*evidence.tails[:3], Tail.of(joint[1::7])))
    fresh = shop(300, seed=5, missing=missing).assign(country="new")
    fresh.loc[::3, "country"] = "it"
    fresh.loc[5, "price"] = 1e9
    rows = np.concatenate([rows[:300], encode(fresh, columns, masks_missing=masks_missing)]).astype(dtype)
    joint, shares = joint[: len(rows)], np.random.default_rng(2).dirichlet(np.ones(len(columns)), len(rows))
    engine = evidence.for_engine(columns, masks_missing=masks_missing, n_threads=2)
    errors, (parts, states) = engine.errors(rows, joint), engine.contributions(rows, joint, shares)
    families = engine.families(rows)
    wanted = [
        reference.judged(row.astype(np.float64), columns, evidence, score, share, masks_missing)
        for row, score, share in zip(rows, joint, shares, strict=True)
    ]
    np.testing.assert_allclose(errors, [each[0] for each in wanted], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(parts, [each[1] for each in wanted], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(families, [each[3] for each in wanted], rtol=1e-5, atol=1e-5)
    assert np.mean(states == [each[2] for each in wanted]) > 0.999  # ties may be broken by rounding
    np.testing.assert_allclose(parts.sum(axis=1), errors, rtol=1e-9)


def test_scores_do_not_depend_on_other_rows_order_or_threads():
    columns, rows, evidence = fitted(shop(9000))
    one, two = (evidence.for_engine(columns, masks_missing=True, n_threads=n) for n in (1, 2))
    errors = one.errors(rows)
    np.testing.assert_array_equal(two.errors(rows), errors)
    np.testing.assert_array_equal(two.errors(np.asfortranarray(rows)), errors)
    np.testing.assert_array_equal([one.errors(rows[i : i + 1])[0] for i in range(50)], errors[:50])


def test_states_are_those_of_the_oracle():
    frame = shop(500, missing=0.1)
    columns, rows, evidence = fitted(frame)
    contexts, edges = contexts_of(columns, evidence.edges), iter(evidence.edges)
    of_contexts = [next(edges) if context.kind == "number" else None for context in contexts]
    wanted = [[reference.state(row, *each) for each in zip(contexts, of_contexts, strict=True)] for row in rows]
    np.testing.assert_array_equal(states_of(rows, contexts, evidence.edges), wanted)
    hour = [context.kind for context in contexts].index("hour")
    known = frame["when"].notna().to_numpy()
    assert (states_of(rows, contexts, evidence.edges)[known, hour] == frame["when"].dt.hour[known]).all()
    assert (states_of(rows, contexts, evidence.edges)[known, hour + 1] == frame["when"].dt.day_of_week[known]).all()


def column_of(counts):
    levels = tuple(f"l{i}" for i in range(2))
    rare = {f"r{i}": count for i, count in enumerate(counts[2:])}
    return Column("a", "categorical", levels, (*counts[:2], sum(counts[2:])), rare=RareLevels.of(rare))


@pytest.mark.parametrize("counts", [(5, 3, 2, 1, 1), (4, 4, 1), (9, 2), (2, 2, 1, 1, 1, 1)])
def test_a_row_that_is_left_out_is_judged_as_if_training_had_not_had_it(counts):
    own = OwnEvidence.of(column_of(counts), masks_missing=True)
    order = [0, 1, *(3 + column_of(counts).rare.places_of([f"r{i}" for i in range(len(counts) - 2)]))]
    for index, place in enumerate(order):
        fewer = list(counts)
        fewer[index] -= 1
        less = OwnEvidence.of(column_of([c for i, c in enumerate(fewer) if c or i < 2]), masks_missing=True)
        if fewer[index] == 0:  # its value is then one that was never seen
            assert own.left_out[place] == pytest.approx(less.of_value[2])
            assert own.left_state[place] == -1
        elif fewer[index] == 1:  # a level of one row is rare
            assert own.left_state[place] == 2
        elif fewer[:2] == sorted(fewer[:2], reverse=True) and index < 2:
            assert own.left_out[place] == pytest.approx(less.of_value[index])


def test_the_rarer_a_value_the_stranger_and_a_new_one_most_of_all():
    own = OwnEvidence.of(column_of((50, 20, 5, 5, 2, 1, 1)), masks_missing=True).of_value
    new, rare = own[2], own[3:]
    assert own[0] == pytest.approx(-np.log(84.5 / 85))
    assert own[0] < own[1] < rare.min() < rare.max() < new
    # Where values that nobody has seen come every day, one more is no surprise.
    many = OwnEvidence.of(column_of((20, 20, *[1] * 40)), masks_missing=True).of_value
    assert many[2] < 2
    three = OwnEvidence.of(column_of((500, 500)), masks_missing=True).of_value
    assert three[2] == pytest.approx(np.log(2 * 1001))


def test_a_combination_that_never_occurs_is_evidence_and_its_columns_are_the_reason():
    columns, rows, evidence = fitted(shop(4000))
    odd = shop(50, seed=9)
    odd["country"], odd["city"] = "de", "it3"
    odd = encode(odd, columns, masks_missing=True)
    engine = evidence.for_engine(columns, masks_missing=True, n_threads=1)
    assert engine.errors(odd).min() > np.quantile(engine.errors(rows), 0.99)
    parts, states = engine.contributions(odd)
    assert set(parts.argmax(axis=1)) <= {0, 1}
    assert {columns[1].level_names[at][:2] for at in states[:, 1]} == {"de"}


def test_columns_that_tell_nothing_about_each_other_have_no_targets():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {c: rng.choice([f"v{i}" for i in range(60)], 4000) for c in "ab"} | {"x": rng.normal(size=4000)}
    )
    assert fitted(frame)[2].targets == ()


def curve(n, seed=0):
    """A number that follows from another, but not along a line, beside a text that has nothing to do with them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return pd.DataFrame({"x": x, "y": x**2 + 0.1 * rng.normal(size=n), "t": rng.choice(["u", "v"], n)})


def test_a_number_that_does_not_fit_another_column_is_evidence():
    columns, rows, evidence = fitted(curve(4000))
    contexts = contexts_of(columns, evidence.edges)
    assert {contexts[target.context].column for target in evidence.targets} == {0, 1}
    odd = rows[:50].copy()
    odd[:, :2] = [0.0, 4.0]  # either is usual by itself
    engine = evidence.for_engine(columns, masks_missing=True, n_threads=1)
    assert engine.errors(odd).min() > np.quantile(engine.errors(rows), 0.99)
    assert engine.families(odd)[:, 1].max() < np.quantile(engine.families(rows)[:, 1], 0.99)
    assert set(engine.contributions(odd)[0].argmax(axis=1)) <= {0, 1}
    # Nothing is known of a pair if one of its values is missing.
    odd[:, 1] = np.nan
    assert (engine.families(odd)[:, 2] == 0).all()


def test_a_number_is_judged_by_how_far_up_or_down_it_lies_without_its_own_row():
    columns, rows, evidence = fitted(curve(300))
    contexts = contexts_of(columns, evidence.edges)
    states = states_of(rows, contexts, evidence.edges)
    engine = evidence.for_engine(columns, masks_missing=True, n_threads=1, leaves_out=True)
    for j, target in enumerate(evidence.targets):
        own, at = states[:, target.context], states[:, target.parents[0]]
        assert len(target.parents) == 1
        p = (target.margin * target.tables[0][at]).astype(np.float64)
        p[np.arange(len(rows)), own] *= target.left_margin[own] * target.left_tables[0][at, own]
        sides = [
            (p * part).sum(axis=1)
            for part in (np.arange(len(p[0])) <= own[:, None], own[:, None] <= np.arange(len(p[0])))
        ]
        wanted = np.maximum(0, np.log(p.sum(axis=1) / (2 * np.minimum(*sides))))
        np.testing.assert_allclose(engine.surprises(rows, True)[:, j], wanted, rtol=1e-5, atol=1e-6)
        assert (engine.surprises(rows, True)[:, j] >= engine.surprises(rows)[:, j] - 1e-6).all()


def test_of_many_numbers_those_that_others_tell_most_about_are_targets():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(1500, 60)), columns=[f"c{j}" for j in range(60)])
    frame["c7"] = frame["c50"] ** 2 + 0.1 * rng.normal(size=1500)
    columns, _, evidence = fitted(frame.assign(t=rng.choice(["u", "v"], 1500)))
    contexts = contexts_of(columns, evidence.edges)
    pairs = {(contexts[t.context].column, contexts[t.parents[0]].column) for t in evidence.targets}
    assert (7, 50) in pairs
    assert len(evidence.targets) <= 32


def test_an_hour_that_training_hardly_had_is_evidence_by_itself():
    rng = np.random.default_rng(0)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, 3000), unit="D")
    frame = pd.DataFrame({"day": days, "t": rng.choice(["u", "v"], 3000)})
    frame.loc[:3, "day"] += pd.to_timedelta([5, 9, 9, 15], unit="h")
    columns, rows, evidence = fitted(frame)
    engine = evidence.for_engine(columns, masks_missing=True, n_threads=1)
    errors = engine.errors(rows)
    assert errors[:4].min() > errors[4:].max()
    assert (engine.contributions(rows[:4])[0].argmax(axis=1) == 0).all()
    assert engine.families(rows[:1])[0, 0] == pytest.approx(np.log(3001 / 2.5))


@pytest.mark.parametrize("scale", [5e-4, 0.5, 500.0])
def test_a_constant_that_changes_is_evidence_in_any_unit(scale):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=900), "c": scale, "t": rng.choice(["u", "v"], 900)})
    columns, rows, evidence = fitted(frame)
    odd = rows[:1].copy()
    odd[0, 1] *= 1.2
    engine = evidence.for_engine(columns, masks_missing=True, n_threads=1)
    assert engine.errors(odd)[0] > engine.errors(rows).max()
    assert engine.contributions(odd)[0].argmax() == 1


def test_a_tail_has_a_bounded_slope_and_merges_ties():
    rng = np.random.default_rng(0)
    values = rng.exponential(size=20_000)
    tail = Tail.of(values)
    shares = [(values >= x).mean() for x in (0.1, 1.0, 3.0)]
    np.testing.assert_allclose(tail([0.1, 1.0, 3.0]), -np.log(shares), atol=0.05)
    assert tail(100.0) == pytest.approx(100, rel=0.15)  # the tail of an exponential distribution is linear
    assert Tail.of(rng.standard_cauchy(20_000)).slope < 0.1
    tied = Tail.of(np.repeat([0.0, 1.0], [900, 100]))
    np.testing.assert_allclose(tied([0.0, 1.0]), -np.log([1000.5 / 1001, 100.5 / 1001]))
    assert tied(-50.0) < 1e-9
    assert len(Tail.of([3.0]).knots) == 1
    # Weights count rows.
    doubled = Tail.of(np.repeat(values[:2000], 2)), Tail.of(values[:2000], np.full(2000, 2.0))
    np.testing.assert_allclose(doubled[0].knots[:8], doubled[1].knots[:8], rtol=0.01)
