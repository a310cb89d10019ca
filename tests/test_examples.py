"""Every example runs on small data, has the result that its docstring states, and writes its picture."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
pytest.importorskip("matplotlib", reason="the examples draw pictures")

if not EXAMPLES.is_dir():
    pytest.skip("the examples are not beside the tests", allow_module_level=True)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs an example in an empty folder, checks its picture and returns its measurements."""
    import matplotlib.pyplot as plt

    def run(name):
        module = importlib.import_module(name)
        measured = module.main(["-o", str(tmp_path / "picture.png")])
        picture = plt.imread(tmp_path / "picture.png")
        assert min(picture.shape[:2]) > 100
        assert np.ptp(picture[..., :3]) > 0.5
        assert list(tmp_path.iterdir()) == [tmp_path / "picture.png"]
        return measured

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AEFAST_DATA", raising=False)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield run
    plt.close("all")
    for path in EXAMPLES.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_two_units_of_code_reconstruct_better_than_two_principal_components(run):
    errors = run("dimensionality_reduction")
    assert errors["autoencoder"] < 0.8 * errors["principal components"]


def test_few_units_of_code_classify_better_than_as_many_principal_components(run):
    accuracies = run("code_features")
    assert accuracies["autoencoder"][4] > accuracies["principal components"][4]
    assert accuracies["autoencoder, best on test"] > 0.93


def test_a_convolutional_code_reconstructs_better_than_as_many_principal_components(run):
    errors = run("compression")
    assert errors["convolutional network"] < 0.8 * errors["principal components"]


def test_denoising_removes_most_of_the_noise(run):
    errors = run("denoising")
    assert errors["denoised"] < 0.4 * errors["noisy"]


def test_the_boot_has_by_far_the_largest_error(run):
    found = run("stranger")
    assert found["rank"] == 1
    assert found["ratio"] > 2


def test_sampled_digits_are_nearer_to_real_ones_than_independent_pixels(run):
    near, far = run("generating").values()
    assert near < 0.7 * far


def test_faults_of_the_server_are_found_and_their_metric_named(run):
    found = run("server_metrics")
    assert found["AUC"] > 0.99
    assert found["most anomalous metric of the worst step"] == 6


def test_every_example_is_tested_and_has_a_docstring():
    tested = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert source.startswith('"""')
        if path.stem != "pictures" and not path.stem.startswith("spark"):  # tests/test_spark.py runs those of Spark
            assert f'run("{path.stem}")' in tested, path.stem
