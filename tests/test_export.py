"""Exports: the same scores and flags as the model, for every kind of model, or a refusal with the reason."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest

import aefast
import aefast.export
from aefast.columns.column import hash_of
from aefast.export.c_header import header, prefix_of
from aefast.export.check import in_double, run_c, run_onnx, run_sql, table_of_columns
from aefast.export.columns import texts_of
from aefast.export.decision import TOLERANCE, program_of
from aefast.export.onnx_graph import model_proto
from aefast.export.program import evaluate
from aefast.export.rows import made_up_rows, text_of_hash
from aefast.export.sql_query import query
from messages import raises_exactly
from small_tables import run_command

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 6)) @ RNG.normal(size=(6, 6)) + 5
FRESH = RNG.normal(size=(300, 6)) @ RNG.normal(size=(6, 6)) * 2 + 5
HOLES = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
IMAGES = RNG.random((200, 64))
FRAME = pd.DataFrame(X, columns=["a", 'b "c"', "d'e", "constant_1", "g h", "é"]).assign(
    at=pd.date_range("2026-01-01", periods=400, freq="h"),
    text=RNG.choice(["x", "y'z", '"q"', "ü\\n"], 400),
    flag=RNG.random(400) < 0.3,
)
# Numbers that belong together, levels of any frequency that depend on them, and times.
N = 900
TIED = RNG.normal(size=(N, 2)) @ RNG.normal(size=(2, 4)) + 0.3 * RNG.normal(size=(N, 4))
MIXED = pd.DataFrame(TIED * [1, 100, 1e-3, 1e6] + [0, 50, 1, 0], columns=list("abcd")).assign(
    at=pd.date_range("2026-01-01", periods=N, freq="61min") + pd.to_timedelta(RNG.integers(0, 10**8, N), unit="us"),
    day=pd.to_datetime("2026-01-01") + pd.to_timedelta(np.arange(N) // 24, unit="D"),
    town=[f"town {i}" if i < 30 else ["oslo", "rome", "wien"][i % 3] for i in range(N)],
    sign=np.where(TIED[:, 0] > 0, "plus", "minus"),
    code=[str(each) for each in RNG.geometric(0.05, N)],
)
HOURS = MIXED.assign(at=pd.date_range("2026-01-01", periods=N, freq="min"))[["a", "at", "sign"]]


def with_gaps(table):
    return table.mask(np.random.default_rng(1).random(table.shape) < 0.1)


QUICK = {"max_epochs": 3, "random_state": 0}
LOGISTIC = {"scaler": "minmax", "output_activation": "sigmoid", "validation_fraction": 0}


def dense(rows=X, sizes=(5, 3), **parameters):
    return aefast.Autoencoder(sizes, **QUICK, **parameters).fit(rows)


def convolutional(**parameters):
    image = {"image_shape": (8, 8, 1), "channels": (4, 2)}
    return aefast.ConvolutionalAutoencoder(**image, **QUICK, **parameters).fit(IMAGES)


MODELS = {
    "defaults": dense,
    **{
        f"activation {name}": lambda name=name: dense(activation=name)
        for name in ("sigmoid", "tanh", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus")
    },
    **{
        f"metric {name}": lambda name=name: dense(score_metric=name)
        for name in ("mse", "mae", "max", "huber", "mahalanobis")
    },
    "wide": lambda: dense(RNG.normal(size=(400, 200)), sizes=(100,)),
    "logistic": lambda: dense(loss="binary_crossentropy", score_metric="binary_crossentropy", **LOGISTIC),
    "softmax": lambda: dense(
        np.abs(X) / np.abs(X).sum(1, keepdims=True),
        loss="categorical_crossentropy",
        score_metric="categorical_crossentropy",
        output_activation="softmax",
        scaler=None,
        validation_fraction=0,
    ),
    "float64": lambda: dense(dtype="float64"),
    "batch norm": lambda: dense(batch_norm=True),
    "tied": lambda: dense(tied_weights=True),
    "mask, mse": lambda: dense(HOLES, missing="mask", score_metric="mse"),
    "mask, mahalanobis": lambda: dense(HOLES, missing="mask", score_metric="mahalanobis"),
    "mean": lambda: dense(HOLES, missing="mean"),
    "kinds, mse": lambda: dense(FRAME, score_metric="mse"),
    "kinds, mask, mse": lambda: dense(FRAME.mask(RNG.random(FRAME.shape) < 0.1), missing="mask", score_metric="mse"),
    "kinds": lambda: dense(MIXED),
    "kinds, float64": lambda: dense(MIXED, dtype="float64"),
    "kinds, mask": lambda: dense(with_gaps(MIXED), missing="mask"),
    "kinds, mask, float64": lambda: dense(with_gaps(MIXED), missing="mask", dtype="float64"),
    "kinds, mask, no level was missing": lambda: dense(MIXED.assign(a=with_gaps(MIXED)["a"]), missing="mask"),
    "kinds, mean": lambda: dense(with_gaps(MIXED), missing="mean"),
    "kinds, variational": lambda: aefast.VariationalAutoencoder((5, 3), missing="mask", **QUICK).fit(with_gaps(MIXED)),
    "text": lambda: dense(MIXED[["town", "sign", "code"]]),
    "text, mask": lambda: dense(with_gaps(MIXED[["town", "sign", "code"]]), missing="mask"),
    "times": lambda: dense(MIXED[["at", "day"]]),
    "minutes of one day": lambda: dense(HOURS),
    "numbers as levels": lambda: dense(MIXED[["a", "b"]], column_kinds={"a": "numeric", "b": "numeric"}),
    "gaps": lambda: dense(HOLES, missing="mask"),
    "gaps, float64": lambda: dense(HOLES, missing="mask", dtype="float64"),
    "gaps, top k": lambda: aefast.SparseAutoencoder((5, 8), sparsity="topk", k=3, missing="mask", **QUICK).fit(HOLES),
    "gaps, no scaler": lambda: dense(HOLES, missing="mask", scaler=None),
    "gaps, wide": lambda: dense(with_gaps(pd.DataFrame(RNG.normal(size=(300, 70)))), missing="mask", sizes=(9,)),
    "variational": lambda: aefast.VariationalAutoencoder((5, 3), **QUICK).fit(X),
    "top k": lambda: aefast.SparseAutoencoder((5, 8), sparsity="topk", k=3, **QUICK).fit(X),
    "kl": lambda: aefast.SparseAutoencoder((5, 8), **QUICK).fit(X),
    "contractive": lambda: aefast.ContractiveAutoencoder((5, 3), **QUICK).fit(X),
    **{
        f"convolutional {up} {size}": lambda up=up, size=size: convolutional(upsampling=up, kernel_size=size)
        for up in ("nearest", "transposed")
        for size in (2, 3, 4)
    },
    **{
        f"convolutional {up} {padding} {steps}": lambda up=up, padding=padding, steps=steps: convolutional(
            upsampling=up, padding=padding, kernel_size=(3, 2), **steps
        )
        for up in ("nearest", "transposed")
        for padding in ("same", "valid")
        for steps in ({"pool": (3, 1)}, {"pool": 1, "strides": (2, 3)}, {"batch_norm": True})
    },
}


#: Tables that ONNX needs for the rare values of text.
VALUES = {"town": MIXED, "text": FRAME}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return MODELS[request.param]().model_


def texts_for(model):
    table = next((table for name, table in VALUES.items() if name in model.column_names), MIXED)
    return texts_of(table, model.columns or ())


def assert_agrees(model, columns, rows, found):
    scores = model.errors(rows).astype(np.float64)
    tolerance = 1e-5 * np.maximum(1, np.abs(scores))
    is_off = np.abs(found["anomaly_score"] - scores) > tolerance
    if is_off.any():  # by the rounding of the model in single precision
        assert model.dtype == "float32"
        assert is_off.mean() < 0.02
        exact = in_double(model).errors(rows)
        assert (np.abs(found["anomaly_score"] - exact)[is_off] <= tolerance[is_off]).all()
    np.testing.assert_array_equal(found["is_anomaly"].astype(bool), scores > model.threshold)
    # A score that equals a calibration score may fall on either side of it.
    steps = model.calibration.errors
    is_clear = np.abs(steps - scores[:, None]).min(axis=1) > tolerance
    assert is_clear.mean() > 0.5
    np.testing.assert_allclose(found["p_value"][is_clear], model.p_values(rows)[is_clear], rtol=1e-12)


def test_the_program_scores_as_the_model(model):
    program = program_of(model)
    columns, rows = made_up_rows(model, program)
    assert_agrees(model, columns, rows, evaluate(program, columns))


def test_the_header_compiles_without_warnings_and_scores_as_the_model(model, tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler, as installing aefast from source does")
    program = program_of(model)
    columns, rows = made_up_rows(model, program)
    flags = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
    found, engine = run_c(program, header(program, "pump", {}), "pump", columns, flags)
    assert engine == "compiled with cc"
    assert_agrees(model, columns, rows, found)


def test_the_graph_scores_as_the_model(model):
    pytest.importorskip("onnx", reason="needs onnx, which is optional")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime, which is optional")
    program = program_of(model, texts_for(model))
    columns, rows = made_up_rows(model, program)
    if any(step.op == "expected" and step.output.width > 64 for step in program.steps):
        with pytest.raises(aefast.export.ExportError, match="with 70 numbers cannot be exported to ONNX.* to C"):
            model_proto(program, {})
        return
    found, _ = run_onnx(model_proto(program, {}), columns)
    assert_agrees(model, columns, rows, found)


@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
def test_the_query_scores_as_the_model(model, dialect):
    program = program_of(model)
    columns, rows = made_up_rows(model, program)
    ops = {step.op for step in program.steps} | {step.constants.get("name") for step in program.steps}
    if ops & {"tails", "expected"}:
        with pytest.raises(aefast.export.ExportError, match="the calibrated score with .* has no form in SQL: export"):
            query(program, dialect, "aefast_rows", {})
        return
    unknown = {"convolution", "transposed", "top_k", *(["gelu"] if dialect == "duckdb" else [])}
    if ops & unknown or model.n_features_in > 100:
        with pytest.raises(aefast.export.ExportError, match="export to ONNX or C|no error function"):
            query(program, dialect, "aefast_rows", {})
        return
    text = query(program, dialect, "aefast_rows", {})
    if dialect == "duckdb":
        pytest.importorskip("duckdb", reason="needs duckdb, which is optional")
        found, _ = run_sql(program, text, columns, can_run=True)
    else:
        found = run_postgres(text, table_of_columns(program, columns).to_pandas(), needs_erf="gelu" in ops)
    assert_agrees(model, columns, rows, found)


def run_postgres(text, frame, needs_erf):
    """Run a query in the database that AEFAST_POSTGRES names, such as "host=localhost dbname=test"."""
    if "AEFAST_POSTGRES" not in os.environ:
        pytest.skip("needs a Postgres server, whose connection string AEFAST_POSTGRES gives")
    psycopg = pytest.importorskip("psycopg", reason="needs psycopg, which is optional")
    types = {"M": "timestamp", "f": "double precision"}
    names = ['"' + name.replace('"', '""') + '"' for name in frame]
    columns = [f"{name} {types.get(dtype.kind, 'text')}" for name, dtype in zip(names, frame.dtypes, strict=True)]
    rows = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    with psycopg.connect(os.environ["AEFAST_POSTGRES"]) as connection, connection.cursor() as cursor:
        if needs_erf and connection.info.server_version < 160_000:
            pytest.skip("Postgres has an error function from version 16 on")
        cursor.execute(f"CREATE TEMPORARY TABLE aefast_rows ({', '.join(columns)}, aefast_row integer)")
        with cursor.copy("COPY aefast_rows FROM STDIN") as copy:
            for i, row in enumerate(rows):
                copy.write_row([*row, i])
        scores, p_values, flags = zip(*(row[-3:] for row in cursor.execute(f"{text} ORDER BY aefast_row")), strict=True)
    return {
        "anomaly_score": np.array(scores, dtype=np.float64),
        "p_value": np.array(p_values, dtype=np.float64),
        "is_anomaly": np.array(flags, dtype=object) == True,  # noqa: E712  (null counts as False)
    }


def test_a_row_without_a_value_that_the_model_needs_has_no_score():
    program = program_of(dense().model_)
    columns = {name: np.array([1.0, np.nan]) for name in (f"x{j}" for j in range(6))}
    found = evaluate(program, columns)
    assert np.isnan(found["anomaly_score"]).tolist() == [False, True]


@pytest.mark.parametrize("frame", [MIXED, MIXED[["town", "sign"]], MIXED[["at"]]])
def test_a_row_without_text_or_a_time_that_the_model_needs_has_no_score(frame):
    model = dense(frame).model_
    program = program_of(model)
    columns, _ = made_up_rows(model, program)
    last = list(columns)[-1]
    columns[last][0] = np.nan if last == "at" else ""
    found = evaluate(program, columns)
    assert np.flatnonzero(np.isnan(found["anomaly_score"])).tolist() == [0]
    assert np.isnan(found["p_value"][0])


def test_made_up_rows_have_rare_values_unknown_ones_gaps_and_usual_rows():
    model = dense(with_gaps(MIXED), missing="mask").model_
    columns, rows = made_up_rows(model, program_of(model))
    towns = columns["town"].tolist()
    column = next(each for each in model.columns if each.name == "town")
    assert len({hash_of(town) for town in towns} & set(column.rare.hashes.tolist())) >= 20
    assert {"oslo", "", "a level never seen"} <= set(towns)
    assert np.isnan(columns["a"]).sum() > 20
    assert (np.isnan([columns[name] for name in "abcd"]).all(axis=0)).any()
    assert 0.1 < (model.errors(rows) > model.threshold).mean() < 0.9


def test_fresh_rows_with_texts_that_were_rare_score_as_in_the_model(tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler, as installing aefast from source does")
    model = dense(MIXED).model_
    program = program_of(model)
    fresh = MIXED.sample(300, random_state=0).reset_index(drop=True)
    fresh.loc[:99, "town"] = [["town 3", "town 99", "oslo"][i % 3] for i in range(100)]
    fresh.loc[100:110, "code"] = "1.0"  # a whole number is the same with a decimal
    fresh.loc[111:120, "code"] = "1.50"
    columns = {name: fresh[name].to_numpy() for name in fresh}
    for name in ("at", "day"):
        columns[name] = columns[name].astype("datetime64[us]").astype(np.int64) / 1e6
    found, _ = run_c(program, header(program, "m", {}), "m", columns)
    assert_agrees(model, columns, fresh, found)


@pytest.mark.parametrize("crc", [0, 1, 0xFFFFFFFF, 123456789, hash_of("town 3")])
def test_a_text_has_any_hash(crc):
    assert hash_of(text_of_hash(crc)) == crc
    assert text_of_hash(crc).isprintable()


def test_an_export_may_differ_from_a_model_as_far_as_that_rounds(tmp_path, monkeypatch):
    model = dense().model_
    program = program_of(model)
    exact = evaluate(program, made_up_rows(model, program)[0])["anomaly_score"]
    rounded = type(model).errors

    def rounding(self, rows):
        return rounded(self, rows) + (4 * TOLERANCE if self.dtype == "float32" else 0) * np.maximum(1, np.abs(exact))

    monkeypatch.setattr(type(model), "errors", rounding)
    aefast.export.c(model, tmp_path / "m.h")
    assert "from the model in double precision" in (tmp_path / "m.h").read_text()
    monkeypatch.setattr(type(model), "errors", lambda self, rows: rounded(self, rows) + 1)
    with pytest.raises(aefast.export.ExportError, match="its score of a row is"):
        aefast.export.c(model, tmp_path / "m.h")


def test_onnx_needs_the_training_rows_for_rare_values(tmp_path):
    pytest.importorskip("onnx", reason="needs onnx, which is optional")
    model = dense(MIXED)
    with pytest.raises(aefast.export.ExportError, match="30 rare values of a text column: give all training rows"):
        aefast.export.onnx(model, tmp_path / "m.onnx", values=MIXED.assign(town="oslo"))
    with raises_exactly(ValueError, "values has no column 'town', which the model was fitted on"):
        aefast.export.onnx(model, tmp_path / "m.onnx", values=MIXED[["a", "code"]])
    with raises_exactly(TypeError, "values must be a data frame or an Arrow table, got list"):
        aefast.export.onnx(model, tmp_path / "m.onnx", values=[["oslo"]])
    aefast.export.onnx(model, tmp_path / "m.onnx", values=MIXED)
    assert (tmp_path / "m.onnx").stat().st_size > 10_000


def test_an_export_says_what_it_is_and_how_it_was_checked(tmp_path):
    model = dense(pd.DataFrame(X, columns=list("abcdef")))
    aefast.export.c(model, tmp_path / "pump 2.h")
    text = (tmp_path / "pump 2.h").read_text()
    assert f"{model.model_.digest()[:16]}" in text
    assert "columns: a, b, c, d, e, f" in text
    assert "allowed 1e-05" in text
    assert "int pump_2_score(" in text
    query_text = aefast.export.sql(dense(sizes=(2,)), "postgres", '"my table"')
    assert 'FROM "my table" AS given' in query_text
    assert "its operations were run with NumPy" in query_text


def test_what_cannot_be_exported_is_refused_by_name():
    with raises_exactly(ValueError, "dialect must be one of duckdb, postgres, got 'oracle'"):
        aefast.export.sql(dense(), "oracle")
    with pytest.raises(aefast.export.ExportError, match="'convolution': export to ONNX or C"):
        aefast.export.sql(convolutional())
    with pytest.raises(aefast.export.ExportError, match="numbers, more than the 20,000 that databases plan"):
        aefast.export.sql(dense(RNG.normal(size=(300, 150))))


def test_an_export_that_disagrees_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("aefast.export.program_of", lambda model: program_of(model.with_threshold(1e9)))
    with pytest.raises(aefast.export.ExportError, match="flags other rows"):
        aefast.export.c(dense(contamination=0.5), tmp_path / "m.h")
    other = dense(score_metric="mae").model_
    monkeypatch.setattr("aefast.export.program_of", lambda model: program_of(other))
    with pytest.raises(aefast.export.ExportError, match="its score of a row is"):
        aefast.export.c(dense(), tmp_path / "m.h")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "prefix"), [("pump", "pump"), ("Pump-7.b", "pump_7_b"), ("7", "model_7"), ("é", "model")]
)
def test_names_in_a_header_come_from_the_file(name, prefix):
    assert prefix_of(name) == prefix


def test_the_command_finds_rare_values_in_the_training_rows(tmp_path):
    pytest.importorskip("onnx", reason="needs onnx, which is optional")
    MIXED.to_csv(tmp_path / "rows.csv", index=False)
    dense(MIXED).save(tmp_path / "m.safetensors")
    command = ["export", tmp_path / "m.safetensors", "-o", tmp_path / "m.onnx"]
    refused = run_command(*command)
    assert refused.exit_code == 1
    assert "give all training rows as values (--values DATA)" in refused.stderr
    run = run_command(*command, "--values", tmp_path / "rows.csv")
    assert run.exit_code == 0, run.stderr
    assert (tmp_path / "m.onnx").is_file()


@pytest.mark.parametrize("ending", [".h", ".sql", ".onnx"])
def test_the_command_writes_an_export(ending, tmp_path):
    if ending == ".onnx":
        pytest.importorskip("onnx", reason="needs onnx, which is optional")
    dense(sizes=(2,)).save(tmp_path / "m.safetensors")
    run = run_command("export", tmp_path / "m.safetensors", "-o", tmp_path / f"out{ending}", "--json")
    assert run.exit_code == 0, run.stderr
    assert f'"bytes": {(tmp_path / f"out{ending}").stat().st_size}' in run.stdout
    wrong = run_command("export", tmp_path / "m.safetensors", "-o", tmp_path / "out.txt")
    assert wrong.exit_code == 2
    assert "must end in one of .onnx, .h, .sql" in wrong.stderr
