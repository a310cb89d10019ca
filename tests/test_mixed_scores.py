"""Scores of tables with columns of several kinds: no column hides another, times are context, levels are evidence."""

import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import aefast
from aefast.columns.column import encode
from aefast.model.evidence import contexts_of
from aefast.model.expected_levels import ExpectedLevel
from aefast.model.model import Model
from aefast.model.weekdays import weekday_shifts

VARIANTS = [
    aefast.Autoencoder,
    aefast.DenoisingAutoencoder,
    aefast.SparseAutoencoder,
    aefast.ContractiveAutoencoder,
    aefast.VariationalAutoencoder,
]
FEW_EPOCHS = {"max_epochs": 10, "n_threads": 1}


def numbers(n, seed=0):
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(n, 4)), columns=list("wxyz"))


def with_others(frame, seed=0):
    rng = np.random.default_rng(seed + 100)
    n = len(frame)
    hours = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 24 * 60, n), unit="h")
    return frame.assign(
        c=rng.choice(["a", "b", "c"], n),
        many=rng.choice([f"v{i}" for i in range(60)], n),
        flag=rng.random(n) < 0.1,
        t=hours,
    )


@pytest.mark.parametrize("other", ["time", "text"])
@pytest.mark.parametrize("seed", range(4))
def test_spikes_stay_first_beside_another_column(other, seed):
    rng = np.random.default_rng(seed)
    n = 2000
    frame = pd.DataFrame({"time": pd.date_range("2024-01-01", periods=n, freq="h"), "cpu": rng.normal(40, 3, n)})
    if other == "text":
        frame["time"] = rng.choice([f"host {i}" for i in range(30)], n)
    frame.loc[[700, 1300], "cpu"] = 99.9, 0.0
    model = aefast.Autoencoder(random_state=seed, n_threads=1).fit(frame)
    errors = model.reconstruction_error(frame)
    assert set(np.argsort(-errors)[:2]) == {700, 1300}
    assert set(model.explain(frame.iloc[[700, 1300]], top=1)["feature"]) == {"cpu"}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("layers", [(32, 4), (8, 2), "auto"])
def test_an_impossible_number_has_the_least_p_value_whatever_the_other_columns(variant, layers):
    rows = numbers(1500)
    odd = rows[:1].assign(x=1e6)
    for make in (lambda frame: frame.assign(c="a"), lambda frame: with_others(frame)):
        data, alone = make(rows), make(odd)
        if "many" not in data:
            data["c"] = np.random.default_rng(1).choice(list("abc"), len(data))
        model = variant(layers, random_state=0, **FEW_EPOCHS).fit(data)
        assert model.p_values(alone)[0] == model.p_values(alone.assign(x=1e9))[0] == model.calibration_.least
        assert model.reconstruction_error(alone)[0] > model.reconstruction_error(data).max()
        assert model.reconstruction_error(alone.assign(x=1e9))[0] > model.reconstruction_error(alone)[0]
        assert model.explain(alone, top=1)["feature"][0] == "x"


def test_every_kind_of_column_gives_evidence():
    data = with_others(numbers(3000))
    data["t"] = data["t"].dt.floor("D") + pd.to_timedelta(
        np.random.default_rng(0).normal(12, 2, 3000).clip(6, 18), unit="h"
    )
    data["copy"] = data["c"] + "!"
    model = aefast.Autoencoder(random_state=0, n_threads=1).fit(data)
    usual = np.quantile(model.reconstruction_error(data), 0.99)
    some = data[50:60]
    odd = {
        "c": some.assign(c="new"),
        "many": some.assign(many="new"),
        "y": some.assign(y=12.0),
        "t": some.assign(t=pd.Timestamp("2024-02-01 02:00")),
        "copy": some.assign(c="a", copy="b!"),
    }
    for column, rows in odd.items():
        errors = model.reconstruction_error(rows)
        assert (errors > usual).mean() >= 0.9, column
        first = model.explain(rows, top=1)["feature"]
        wanted = {"c", "copy"} if column in ("c", "copy") else {column}
        assert np.isin(first, list(wanted)).mean() >= 0.9, column


def test_the_parts_of_the_columns_add_up_to_the_score_and_reasons_are_the_largest():
    data = with_others(numbers(1500))
    model = aefast.Autoencoder(random_state=0, **FEW_EPOCHS).fit(data)
    errors, parts = model.reconstruction_error(data), model.feature_errors(data)
    assert parts.shape == (1500, 8)
    assert (parts >= 0).all()
    np.testing.assert_allclose(parts.sum(axis=1), errors, rtol=1e-4)
    reasons = model.explain(data, top=8)
    largest = parts[reasons["row"], [list(data).index(name) for name in reasons["feature"]]]
    np.testing.assert_allclose(reasons["share"], largest / errors[reasons["row"]], rtol=1e-3, atol=1e-6)
    for _, of_row in reasons.groupby("row"):
        assert of_row["share"].is_monotonic_decreasing
    assert (reasons["share"] > 0).all()
    is_alike = [
        str(value) == str(expected) for value, expected in zip(reasons["value"], reasons["expected"], strict=True)
    ]
    assert not any(is_alike)


def test_expected_numbers_lie_in_the_range_of_training():
    rng = np.random.default_rng(0)
    data = pd.DataFrame(
        {"count": rng.poisson(0.3, 2000), "x": rng.normal(size=2000), "t": rng.choice(list("ab"), 2000)}
    )
    model = aefast.Autoencoder(random_state=0, **FEW_EPOCHS).fit(data)
    odd = data[:100].assign(x=1e5, count=90)
    reasons = model.explain(odd, top=3)
    of_counts = reasons[reasons["feature"] == "count"]["expected"].astype(float)
    assert of_counts.between(0, data["count"].max()).all()


def test_a_value_never_seen_is_told_from_a_rare_one_beyond_the_levels_that_are_learned():
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, 3001)
    city = rng.choice([f"city {i}" for i in range(3000)], 12_000, p=weights / weights.sum())
    data = pd.DataFrame({"city": city, "x": rng.normal(size=12_000)})
    model = aefast.Autoencoder(random_state=0, **FEW_EPOCHS).fit(data)
    counts = data["city"].value_counts()
    rows = pd.DataFrame({"city": [counts.index[100], counts.index[300], counts.index[-1], "never"], "x": 0.0})
    parts = model.feature_errors(rows)[:, 0]
    assert (np.diff(parts) > 0).all()
    assert (np.diff(model.reconstruction_error(rows)) > 0).all()


def test_fit_says_how_many_rows_have_other_values_than_the_levels(capsys):
    city = np.random.default_rng(0).integers(0, 900, 3000).astype(str)
    data = pd.DataFrame({"city": np.char.add("city ", city), "x": 0.5, "two": np.tile(["a", "b"], 1500)})
    aefast.Autoencoder(max_epochs=1, verbose=1).fit(data)
    share = (~data["city"].isin(data["city"].value_counts().index[:64])).mean()
    assert f"city (64 levels; {share:.0%} of the rows have others), two (2 levels)" in capsys.readouterr().err


def test_memory_does_not_grow_with_rows_times_levels():
    rng = np.random.default_rng(0)
    names = [f"level {i}" for i in range(64)]
    data = pd.DataFrame({f"c{j}": rng.choice(names, 30_000) for j in range(20)}).astype("category")
    data["x"] = rng.normal(size=len(data)).astype(np.float32)
    model = aefast.Autoencoder((8, 2), max_epochs=1, random_state=0, n_threads=1).fit(data[:3000])
    model.reconstruction_error(data[:100])
    tracemalloc.start()
    model.reconstruction_error(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30_000 * 21 * 4 * 6  # one-hot rows have 60 times as many values


def clock(days, start, rows_a_day):
    t = pd.date_range(start, periods=days * rows_a_day, freq=pd.Timedelta(days=1) / rows_a_day)
    return t, t.hour.to_numpy() + t.minute.to_numpy() / 60


def history(days, seed=0, start="2024-01-01", rows_a_day=288):
    """Rows every five minutes: load follows the hour, and there are more jobs of kind "batch" at night."""
    rng = np.random.default_rng(seed)
    t, hour = clock(days, start, rows_a_day)
    load = 50 + 20 * np.sin(2 * np.pi * hour / 24) + rng.normal(size=len(t)) * 3
    kind = np.where(rng.random(len(t)) < np.where(hour < 6, 0.8, 0.2), "batch", "web")
    return pd.DataFrame(
        {
            "ts": t,
            "load": load,
            "memory": load * 0.5 + rng.normal(size=len(t)),
            "temp": rng.normal(40, 2, len(t)),
            "disk": rng.gamma(3, 2, len(t)),
            "kind": kind,
            "host": rng.choice([f"h{i}" for i in range(5)], len(t)),
        }
    )


def seasons(days, seed=0, start="2024-01-01", rows_a_day=288):
    """Numbers whose means and deviations follow the hour."""
    rng = np.random.default_rng(seed)
    t, hour = clock(days, start, rows_a_day)
    turn = 2 * np.pi * hour[:, None] / 24 + np.arange(5)
    values = 10 * np.sin(turn) + (1 + 0.8 * np.cos(turn)) * rng.normal(size=turn.shape)
    return pd.DataFrame(values, columns=list("abcde")).assign(ts=t)


def relations(days, seed=0, start="2024-01-01", rows_a_day=288):
    """Eight numbers with three causes, one of which follows the hour."""
    rng = np.random.default_rng(seed)
    t, hour = clock(days, start, rows_a_day)
    causes = rng.normal(size=(len(t), 3))
    causes[:, 0] += 1.5 * np.sin(2 * np.pi * hour / 24)
    values = causes @ np.random.default_rng(5).normal(size=(3, 8)) + 0.3 * rng.normal(size=(len(t), 8))
    return pd.DataFrame(values, columns=list("abcdefgh")).assign(ts=t)


def visits(days, seed=0, start="2024-01-01", rows_a_day=288):
    """Texts whose frequencies follow the hour, and numbers that follow both."""
    rng = np.random.default_rng(seed)
    t, hour = clock(days, start, rows_a_day)
    shares = np.random.default_rng(7).dirichlet(np.full(12, 0.6), size=4)
    part = (hour // 6).astype(int)
    user = (rng.random(len(t))[:, None] > shares.cumsum(axis=1)[part]).sum(axis=1).clip(max=11)
    site = rng.choice(30, p=np.arange(30, 0, -1) / 465, size=len(t))
    delay = np.exp(3 + 0.1 * user + 0.4 * rng.normal(size=len(t)))
    size = rng.gamma(2, 100, len(t)) * (1 + part)
    names = {"user": np.char.add("u", user.astype(str)), "site": np.char.add("s", site.astype(str))}
    return pd.DataFrame({"ts": t, **names, "delay": delay, "size": size})


def weeks(days, seed=0, start="2024-01-01", rows_a_day=288):
    """Load and kinds of working days and other ones."""
    rng = np.random.default_rng(seed)
    t, hour = clock(days, start, rows_a_day)
    works = t.day_of_week.to_numpy() < 5
    busy = np.where(works, 1, 0.35)
    load = 10 + 40 * busy * np.sin(np.pi * (hour - 6) / 14).clip(min=0) + rng.normal(size=len(t)) * (1 + 2 * busy)
    kind = np.where(rng.random(len(t)) < np.where(works, 0.7, 0.15), "order", "browse")
    temp = 20 + 0.1 * load + rng.normal(size=len(t))
    return pd.DataFrame({"ts": t, "load": load, "errors": rng.poisson(1 + load / 20), "temp": temp, "kind": kind})


# Sampling alone moves the share of a day of 2,880 rows by .0056.
@pytest.mark.parametrize("source", [history, seasons, relations, visits, weeks], ids=lambda source: source.__name__)
@pytest.mark.parametrize("n_days", [14, 28])
def test_clean_days_are_calibrated_one_by_one(source, n_days):
    model = aefast.Autoencoder(random_state=0, n_threads=1).fit(source(n_days))
    days = [source(1, 50 + day, f"2024-02-{5 + day:02d}", rows_a_day=2880) for day in range(14)]
    shares = np.array([(model.p_values(rows) <= 0.1).mean() for rows in days])
    assert shares.min() >= 0.07
    assert shares.max() <= 0.13


def orders(n_rows, seed=0, share=0.0):
    """Orders: a currency that follows the town, texts by themselves, and numbers that belong together."""
    rng = np.random.default_rng(seed)
    town = rng.choice(["Bern", "Lyon", "Oslo"], n_rows, p=[0.5, 0.3, 0.2])
    items = rng.poisson(2, n_rows)
    frame = pd.DataFrame(
        {
            "amount": rng.lognormal(3, 0.5, n_rows),
            "items": items,
            "weight": items * 1.5 + 0.2 * rng.normal(size=n_rows),
            "town": town,
            "currency": pd.Series(town).map({"Bern": "CHF", "Lyon": "EUR", "Oslo": "NOK"}),
            "note": rng.choice(
                [f"n{i}" for i in range(100)], n_rows, p=np.random.default_rng(9).dirichlet([1.0] * 100)
            ),
        }
    )
    return frame.mask(rng.random(frame.shape) < share) if share else frame


@pytest.fixture(scope="module", params=[0, 0.003], ids=["complete", "hardly any gap"])
def shop(request):
    options = {"missing": "mask", "contamination": 0.05, "max_epochs": 30, "random_state": 0, "n_threads": 1}
    return aefast.Autoencoder(**options).fit(orders(3000, share=request.param))


@pytest.mark.parametrize("names", [["town"], ["currency"], ["note"], ["town", "currency", "note"]], ids=", ".join)
def test_a_text_that_is_missing_all_day_is_no_evidence(shop, names):
    day = orders(1000, 1)
    usual, without = (shop.predict(rows) == -1 for rows in (day, day.assign(**dict.fromkeys(names))))
    assert 0.02 < usual.mean() < 0.08
    assert without.mean() <= usual.mean() + 0.01
    assert not set(names) & set(shop.explain(day.assign(**dict.fromkeys(names)), top=6)["feature"])


def test_expected_levels_are_those_that_other_columns_tell(shop):
    day, evidence, columns = orders(1000, 1), shop.model_.evidence, shop.columns_
    whole, gapped = (encode(rows, columns, masks_missing=True) for rows in (day, day.assign(town=None, note=None)))
    filled = evidence.with_expected_levels(gapped, columns)
    np.testing.assert_array_equal(filled[:, 3], whole[:, 3])
    assert columns[5].levels[int(filled[0, 5])] == orders(3000)["note"].mode()[0]
    assert (filled[:, 5] == filled[0, 5]).all()
    np.testing.assert_array_equal(evidence.with_expected_levels(whole, columns), whole)
    alone = encode(day.assign(town=None, currency=None), columns, masks_missing=True)
    assert columns[3].levels[int(evidence.with_expected_levels(alone, columns)[0, 3])] == "Bern"
    again = Model.load(shop.model_.to_bytes())
    gaps = day.mask(np.random.default_rng(0).random(day.shape) < 0.3)
    np.testing.assert_array_equal(again.errors(gaps), shop.reconstruction_error(gaps))


def test_a_text_that_training_often_lacked_has_no_expected_level():
    rows = orders(1500)
    rows.loc[:29, "town"] = None
    for missing, known in (("mask", [4, 5]), ("mean", []), ("error", [])):
        table = rows if missing != "error" else orders(1500)
        options = {"max_epochs": 1, "random_state": 0, "n_threads": 1}
        model = aefast.Autoencoder((4, 2), missing=missing, **options).fit(table).model_
        assert [each.column for each in model.evidence.expected] == known


@pytest.mark.parametrize(
    "packed", [[3.0, 1], [0.5, -1, 0], [9, -1, 0], [3, 99, 0], [0, -1, 0], [3, 3, 0, 0, 0], [3, -1, 0, 0], [3, -1, 7]]
)
def test_a_file_with_an_expected_level_that_does_not_fit_is_refused(shop, packed):
    columns, evidence = shop.columns_, shop.model_.evidence
    with pytest.raises(ValueError, match="an expected level"):
        ExpectedLevel.unpacked(np.array(packed), columns, contexts_of(columns, evidence.edges))


def uneven(days, seed=0):
    """Weeks with a number that scatters more on Saturdays."""
    rows = weeks(days, seed)
    is_saturday = rows["ts"].dt.day_of_week == 5
    return rows.assign(noise=np.random.default_rng(seed).normal(size=len(rows)) * np.where(is_saturday, 5, 1))


def test_scores_of_weekdays_are_kept_in_the_file_and_shared_out_whole():
    model = aefast.Autoencoder(random_state=0, n_threads=1).fit(uneven(14)).model_
    assert len(model.evidence.shifts) == 7
    rows = uneven(7, 9)
    rows.loc[::5, "ts"] = pd.NaT
    rows.loc[::7, "load"] = 300.0
    masked = aefast.Autoencoder(random_state=0, n_threads=1, missing="mask").fit(uneven(14)).model_
    assert len(masked.evidence.shifts) == 7
    np.testing.assert_array_equal(Model.load(masked.to_bytes()).errors(rows), masked.errors(rows))
    np.testing.assert_allclose(masked.feature_errors(rows).sum(axis=1), masked.errors(rows), rtol=1e-4, atol=1e-6)


def test_weekdays_that_differ_by_chance_alone_keep_their_scores():
    rng = np.random.default_rng(0)
    days = np.repeat(np.arange(7), 500)
    moved = [weekday_shifts(rng.normal(size=3500), days) for _ in range(200)]
    assert np.mean([len(each) == 0 for each in moved]) > 0.4
    assert np.mean([np.abs(each).max() if len(each) else 0 for each in moved]) < 0.04  # .08 without shrinking
    assert len(weekday_shifts(rng.normal(size=60), np.full(60, 3))) == 0
    weighted = np.concatenate([rng.normal(size=3500), rng.normal(size=3500) + 4])
    weights = np.repeat([1.0, 0.0], 3500)
    found = weekday_shifts(weighted + (np.tile(days, 2) == 2), np.tile(days, 2), weights)
    assert found[2] < found[[0, 1, 3, 4, 5, 6]].min() - 0.7


def test_a_training_of_one_day_does_not_make_other_days_strange():
    model = aefast.Autoencoder(random_state=0, n_threads=1).fit(history(1))
    shares = [(model.p_values(history(1, 9 + day, f"2024-01-{2 + day:02d}")) <= 0.1).mean() for day in range(6)]
    assert max(shares) <= 0.2
    assert np.ptp(shares) <= 0.1


def test_a_value_that_is_wrong_for_its_hour_is_found():
    data = history(28)
    model = aefast.Autoencoder(random_state=0, n_threads=1).fit(data)
    odd = history(1, 77, "2024-01-29")
    at = odd["ts"].dt.hour == 18
    odd.loc[at, ["load", "memory"]] = [70.0, 35.0]  # what is usual at six in the morning
    errors = model.reconstruction_error(odd)
    assert np.median(errors[at]) > np.quantile(errors[~at], 0.9)


@pytest.mark.parametrize("seed", range(2))
def test_the_share_of_fresh_rows_that_is_flagged_is_the_contamination(seed):
    rng = np.random.default_rng(seed)
    n = 6000
    levels = {c: rng.choice([f"{c}{i}" for i in range(60)], n) for c in ("shop", "item")}
    data = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n), **levels})
    model = aefast.Autoencoder(random_state=seed, contamination=0.1, n_threads=1).fit(data[:2000])
    fresh = data[2000:]
    assert 0.08 <= (model.predict(fresh) == -1).mean() <= 0.12
    assert 0.08 <= (model.p_values(fresh) <= 0.1).mean() <= 0.12


def test_missing_values_are_no_evidence_and_no_reason():
    data = with_others(numbers(2500))
    model = aefast.Autoencoder(missing="mask", random_state=0, **FEW_EPOCHS).fit(data)
    empty = data[:4].astype(object)
    empty.loc[:, :] = None
    typed = pd.DataFrame({c: empty[c].astype(data[c].dtype if c == "t" else object) for c in data})
    typed[["w", "x", "y", "z"]] = typed[["w", "x", "y", "z"]].astype(float)
    assert (model.reconstruction_error(typed) < np.quantile(model.reconstruction_error(data), 0.5)).all()
    assert len(model.explain(typed)) == 0
    odd = data[:50].assign(x=30.0, c=None, y=np.nan)
    reasons = model.explain(odd, top=8)
    assert not reasons["feature"].isin(["c", "y"]).any()
    assert (reasons.groupby("row")["feature"].first() == "x").all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_file_pickle_stream_and_command_give_the_same_scores(variant, tmp_path):
    data = with_others(numbers(800))
    model = variant(random_state=0, missing="mask", **FEW_EPOCHS).fit(data)
    assert model.model_.score_metric == "calibrated"
    wanted, reasons = model.reconstruction_error(data), model.explain(data[:40])
    model.save(tmp_path / "m.safetensors")
    again = aefast.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.reconstruction_error(data), wanted)
    assert again.explain(data[:40]).equals(reasons)
    again.save(tmp_path / "n.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "n.safetensors").read_bytes()
    table = pa.Table.from_pandas(data, preserve_index=False)
    np.testing.assert_array_equal(model.reconstruction_error(table), wanted)
    scored = pa.Table.from_batches(aefast.Scorer(model, top_features=3).score(table.to_batches(max_chunksize=97)))
    np.testing.assert_array_equal(scored["anomaly_score"].to_numpy().astype(np.float32), wanted)
    np.testing.assert_array_equal([model.reconstruction_error(data[i : i + 1])[0] for i in range(9)], wanted[:9])


def test_low_precision_ranks_rows_alike():
    data = with_others(numbers(3000))
    model = aefast.Autoencoder(random_state=0, **FEW_EPOCHS).fit(data)
    exact = model.reconstruction_error(data)
    for precision in ("bfloat16", "int8"):
        reduced = model.reconstruction_error(data, precision=precision)
        assert np.corrcoef(exact, reduced)[0, 1] > 0.98


@pytest.mark.parametrize("kinds", ["text", "one time", "numbers by name"])
def test_tables_without_one_of_the_kinds(kinds):
    rng = np.random.default_rng(0)
    n = 900
    data = {
        "text": pd.DataFrame({c: rng.choice(list("abcdef"), n) for c in "pq"}),
        "one time": pd.DataFrame({"t": pd.date_range("2024-01-01", periods=n, freq="h")}),
        "numbers by name": pd.DataFrame({"u": rng.normal(size=n), "v": rng.normal(size=n)}),
    }[kinds]
    model = aefast.Autoencoder(random_state=0, column_kinds={"u": "numeric"} if "u" in data else None, **FEW_EPOCHS)
    errors = model.fit(data).reconstruction_error(data)
    assert np.isfinite(errors).all()
    assert np.isfinite(model.feature_errors(data)).all()
    assert len(model.explain(data[:20])) <= 60
    if kinds == "text":
        odd = pd.DataFrame({"p": ["a", "new"], "q": ["b", "b"]})
        assert model.reconstruction_error(odd)[1] > errors.max()
    if kinds == "numbers by name":
        # The score of the numbers alone, on another scale.
        plain = aefast.Autoencoder(random_state=0, **FEW_EPOCHS).fit(data)
        ranks = [pd.Series(each.reconstruction_error(data)).rank() for each in (model, plain)]
        assert np.corrcoef(*ranks)[0, 1] > 0.95
