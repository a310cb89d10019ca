"""Every example runs, draws its pictures and has the results that its text states."""

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
if not EXAMPLES.is_dir():
    pytest.skip("the examples are not beside the tests", allow_module_level=True)
plt = pytest.importorskip("matplotlib.pyplot", reason="the examples draw pictures")
pytest.importorskip("pandas", reason="the examples use data frames")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs an example in an empty folder, checks its pictures and returns its names."""

    def run(name):
        names = runpy.run_path(str(EXAMPLES / f"{name}.py"))
        figures = [plt.figure(number) for number in plt.get_fignums()]
        assert figures
        for figure in figures:
            figure.canvas.draw()
            assert np.ptp(np.asarray(figure.canvas.buffer_rgba())[..., :3]) > 100
        assert list(tmp_path.iterdir()) == []
        return names

    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda: None)
    yield run
    plt.close("all")


def test_most_malignant_samples_are_found(run):
    assert run("tables/a_first_model")["result"].aucroc > 0.9


def test_faults_in_mixed_columns_are_found_and_named(run):
    summary = run("tables/mixed_columns")["summary"]
    assert summary.loc["amount x 100", "reason"] == "amount"
    assert summary["found"]["amount x 100"] > 0.9
    assert summary["found"]["wrong currency"] > 0.9


def test_anomalies_are_found_beside_gaps(run):
    names = run("tables/gaps")
    assert all(found[2] > 0.95 for found in names["areas"].values())


def test_planted_faults_of_units_are_found(run):
    names = run("tables/planted_faults")
    assert (names["found"].loc["unit: x 1000"] > 0.99).all()
    assert names["named"].loc["of another row"].mean() > 0.7


def test_fewer_than_a_tenth_of_the_detections_are_false(run):
    share = run("tables/false_discoveries")["share"]
    assert share["fdr 0.1"] < 0.12
    assert share["threshold"] > 0.4


def test_recalibration_keeps_the_share_of_flagged_rows(run):
    names = run("tables/recalibration")
    assert np.mean(names["after"][-10:]) < 0.6 * np.mean(names["before"][-10:])


def test_anomalies_in_training_do_little_harm(run):
    areas = run("tables/contaminated_training")["areas"]
    assert areas["aefast"][3] > areas["aefast"][0] - 0.05


def test_the_chosen_model_ranks_better_than_the_default(run):
    test = run("tables/tuning")["test"]
    assert test["chosen"] > test["default"]


def test_the_error_stops_falling_at_the_number_of_causes(run):
    names = run("tables/code_size")
    mse = dict(zip(names["sizes"], names["mse"], strict=True))
    assert mse[3] > 2 * mse[4]
    assert mse[4] < 1.5 * mse[5]
    assert names["sizes"][int(np.argmax(names["areas"]))] in (4, 5)


def test_the_shares_of_small_p_values_are_their_levels(run):
    names = run("tables/calibrated_p_values")
    np.testing.assert_allclose(names["shares"].mean(axis=0), names["levels"], rtol=0.3)


def test_faults_of_the_server_are_found_and_their_metric_named(run):
    names = run("tables/server_metrics")
    assert names["result"].aucroc > 0.99
    assert names["faulty_metric"] == 6


def test_a_model_for_each_machine_finds_what_a_pooled_one_misses(run):
    areas = run("tables/fleet_of_machines")["areas"]
    assert areas["a model for each machine"] > 0.95 > 0.7 > areas["one pooled model"]


def test_two_units_of_code_reconstruct_better_than_two_principal_components(run):
    errors = run("images/dimensionality_reduction")["errors"]
    assert errors["autoencoder"] < 0.8 * errors["principal components"]


def test_few_units_of_code_classify_better_than_as_many_principal_components(run):
    names = run("images/code_features")
    assert names["accuracies"]["autoencoder"][4] > names["accuracies"]["principal components"][4]
    assert names["best"]["autoencoder"] > 0.93


def test_a_convolutional_code_reconstructs_better_than_as_many_principal_components(run):
    errors = run("images/compression")["errors"]
    assert errors["convolutional network"] < 0.8 * errors["principal components"]


def test_denoising_removes_most_of_the_noise(run):
    errors = run("images/denoising")["errors"]
    assert errors["denoised"] < 0.4 * errors["noisy"]


def test_the_boot_has_by_far_the_largest_error(run):
    names = run("images/stranger")
    assert names["rank"] == 1
    assert names["errors"][-1] > 2 * names["errors"][:-1].max()


def test_sampled_digits_are_nearer_to_real_ones_than_independent_pixels(run):
    distances = run("images/generating")["distances"]
    assert distances["drawn digits"] < 0.7 * distances["independent pixels"]


def test_ten_units_of_the_sparse_code_are_active(run):
    assert set(run("images/sparse_codes")["active"]) == {10}


def test_missing_pixels_are_filled_in_better_than_with_means(run):
    errors = run("images/filling_in")["errors"]
    assert errors["autoencoder"] < 0.6 * errors["mean of the pixel"]


def test_the_jump_of_the_time_series_is_found(run):
    names = run("other_libraries/keras_time_series")
    assert names["found"] > 0.9
    assert names["false_alarms"] < 10


def test_the_variational_autoencoder_explains_the_digits(run):
    assert run("other_libraries/keras_variational")["elbo"] > -26


def test_three_numbers_reconstruct_digits(run):
    assert run("other_libraries/pytorch_digits")["loss"] < 0.13


def test_every_example_is_tested():
    tested = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.rglob("*.py"):
        if not path.stem.startswith("spark"):  # tests/test_spark.py runs those of Spark
            assert f'run("{path.parent.name}/{path.stem}")' in tested, path.stem
