"""Several steps of each optimiser: the engine agrees with the oracle, and the oracle with PyTorch."""

import numpy as np
import pytest

import engine
import reference

OPTIMIZERS = {
    "sgd": {"kind": "sgd", "momentum": 0.0},
    "momentum": {"kind": "sgd", "momentum": 0.9},
    "nesterov": {"kind": "sgd", "momentum": 0.9, "nesterov": True},
    "rmsprop": {"kind": "rmsprop", "rho": 0.9, "epsilon": 1e-8},
    "rmsprop with momentum": {"kind": "rmsprop", "rho": 0.95, "epsilon": 1e-6, "momentum": 0.5},
    "adam": {"kind": "adam", "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8},
    "adam with other rates": {"kind": "adam", "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    "adamw": {"kind": "adamw", "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.1},
}
WIDTHS, N_ROWS, N_EPOCHS, LEARNING_RATE = (6, 5, 3, 5, 6), 22, 3, 0.02
BATCH_SIZE = 8  # two whole batches and one of six rows


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    network = reference.network_spec(WIDTHS, "tanh")
    return network, reference.random_parameters(network, rng), rng.normal(size=(N_ROWS, WIDTHS[0]))


def minibatches(x, sample_weight=None):
    """Return the batches of an unshuffled epoch in order."""
    cuts = range(0, len(x), BATCH_SIZE)
    return [(x[i : i + BATCH_SIZE], None if sample_weight is None else sample_weight[i : i + BATCH_SIZE]) for i in cuts]


def run_epochs(trainer, x, epochs, **options):
    """Losses of unshuffled epochs."""
    options = {"learning_rate": LEARNING_RATE, "batch_size": BATCH_SIZE, "shuffle": False, **options}
    scaling = engine.identity_scaling(x.shape[1])
    return [trainer.train_epoch(x, scaling, epoch=epoch, **options) for epoch in epochs]


def train_engine(network, parameters, objective, optimizer, x, n_epochs=N_EPOCHS, dtype="float64", **options):
    """(trainer, losses) after unshuffled epochs."""
    trainer = engine.trainer(network, parameters, objective, optimizer, dtype)
    return trainer, run_epochs(trainer, x, range(n_epochs), **options)


def train_oracle(network, parameters, objective, optimizer, x, sample_weight=None):
    """Parameters after the same steps."""
    batches = minibatches(x, sample_weight) * N_EPOCHS
    return reference.train(network, parameters, objective, reference.Optimizer(optimizer), batches, LEARNING_RATE)


def assert_same_parameters(got, expected, rtol):
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=0, atol=rtol * np.abs(e).max())


def assert_same_bits(got, expected):
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_array_equal(g, e)


@pytest.mark.parametrize("clip_norm", [0.0, 0.05])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_equal_the_oracle(case, name, tied, clip_norm):
    x = case[-1]
    network = reference.network_spec(WIDTHS, "tanh", tied=tied)
    parameters = reference.random_parameters(network, np.random.default_rng(1))
    objective = {"loss": "huber", "l1": 0.001, "l2": 0.01, "clip_norm": clip_norm}
    trainer, _ = train_engine(network, parameters, objective, OPTIMIZERS[name], x)
    expected = train_oracle(network, parameters, objective, OPTIMIZERS[name], x)
    # A dozen steps of a dozen sums each; a division by sqrt(v) + epsilon is no worse than the gradient it divides.
    assert_same_parameters(trainer.parameters(), expected, rtol=1e-11)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_single_precision_steps_stay_near_the_oracle(case, name):
    network, parameters, x = case
    trainer, _ = train_engine(network, parameters, None, OPTIMIZERS[name], x, dtype="float32")
    expected = train_oracle(network, parameters, {"loss": "mse"}, OPTIMIZERS[name], x)
    assert_same_parameters(trainer.parameters(), expected, rtol=2e-5)


def test_clipping_shortens_only_gradients_longer_than_the_limit(case):
    network, parameters, x = case
    gradient = reference.objective_and_gradient(network, parameters, {"loss": "mse"}, x[:BATCH_SIZE])[2]
    norm = np.sqrt(sum((g * g).sum() for g in gradient))
    for clip_norm, expected in [(norm * 1.001, norm), (norm / 2, norm / 2)]:
        objective = {"loss": "mse", "clip_norm": clip_norm}
        trainer, _ = train_engine(network, parameters, objective, engine.SGD, x[:BATCH_SIZE], n_epochs=1)
        moves = [(a - b) / LEARNING_RATE for a, b in zip(trainer.parameters(), parameters, strict=True)]
        assert np.sqrt(sum((m * m).sum() for m in moves)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_minibatch_advances_time_by_one(case, name):
    network, parameters, x = case
    trainer, _ = train_engine(network, parameters, None, OPTIMIZERS[name], x)
    assert trainer.optimizer_state()[0] == N_EPOCHS * len(minibatches(x))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_continues_from_a_stored_state_with_the_same_result(case, name):
    network, parameters, x = case
    whole, _ = train_engine(network, parameters, None, OPTIMIZERS[name], x, n_epochs=4)
    begun, _ = train_engine(network, parameters, None, OPTIMIZERS[name], x, n_epochs=2)
    resumed = engine.trainer(network, begun.parameters(), None, OPTIMIZERS[name])
    resumed.set_optimizer_state(*begun.optimizer_state())
    run_epochs(resumed, x, [2, 3])
    assert_same_bits(resumed.parameters(), whole.parameters())


def test_slots_must_have_the_shape_of_the_parameters(case):
    network, parameters, x = case
    trainer, _ = train_engine(network, parameters, None, OPTIMIZERS["adam"], x)
    step, slots = trainer.optimizer_state()
    assert [s.shape for s in slots] == [p.shape for p in parameters] * 2
    with pytest.raises(ValueError, match="optimizer"):
        engine.trainer(network, parameters, None, engine.SGD).set_optimizer_state(step, slots)


def test_sample_weights_multiply_each_rows_part_of_the_step(case):
    network, parameters, x = case
    weights = np.linspace(0, 2, len(x))
    trainer, losses = train_engine(network, parameters, None, engine.SGD, x, sample_weight=weights)
    expected = train_oracle(network, parameters, {"loss": "mse"}, engine.SGD, x, weights)
    assert_same_parameters(trainer.parameters(), expected, rtol=1e-12)
    assert losses == sorted(losses, reverse=True)


def test_an_epochs_loss_is_the_mean_over_its_rows_as_met(case):
    network, parameters, x = case
    _, (first, *_) = train_engine(network, parameters, None, OPTIMIZERS["momentum"], x)
    optimizer, current, total = reference.Optimizer(OPTIMIZERS["momentum"]), parameters, 0.0
    for batch in minibatches(x):
        loss, _, _ = reference.objective_and_gradient(network, current, {"loss": "mse"}, batch[0])
        total += loss * len(batch[0])
        current = reference.train(network, current, {"loss": "mse"}, optimizer, [batch], LEARNING_RATE)
    assert first == pytest.approx(total / len(x), rel=1e-12)


def test_a_last_incomplete_batch_is_dropped_on_demand(case):
    network, parameters, x = case
    trainer, _ = train_engine(network, parameters, None, engine.SGD, x, n_epochs=1, drop_last=True)
    whole_batches, _ = train_engine(network, parameters, None, engine.SGD, x[: 2 * BATCH_SIZE], n_epochs=1)
    assert_same_bits(trainer.parameters(), whole_batches.parameters())


def test_an_epoch_takes_the_chosen_rows_in_their_order(case):
    network, parameters, x = case
    rows = np.array([3, 20, 1, 1, 7, 9, 11, 0, 21, 5], dtype=np.int64)
    chosen, _ = train_engine(network, parameters, None, OPTIMIZERS["adam"], x, rows=rows)
    copied, _ = train_engine(network, parameters, None, OPTIMIZERS["adam"], x[rows])
    assert_same_bits(chosen.parameters(), copied.parameters())


def output_bias_after_single_row_steps(x, learning_rate, seed, epoch, **options):
    """What remains of one shuffled epoch, row by row, on a network whose output is its bias alone."""
    network = reference.network_spec((1, 1, 1), "identity")
    trainer = engine.trainer(network, [np.zeros((1, 1)), np.zeros(1), np.zeros((1, 1)), np.zeros(1)], seed=seed)
    scaling = engine.scaling((np.zeros(1), np.ones(1), 1e300))
    trainer.train_epoch(x, scaling, epoch=epoch, learning_rate=learning_rate, batch_size=1, shuffle=True, **options)
    return trainer.parameters()[-1][0]


@pytest.mark.parametrize("n_rows", [1, 2, 3, 16, 17, 20, 63, 64, 65, 100, 1000, 4096, 4097, 4500])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_shuffled_epoch_takes_every_row_once(n_rows, seed):
    # Sixteen rows at a time count: the i-th of them is 4^i, the others are 0. Steps are too small to feel each other,
    # so that the digits of the sum in base 4 say how often each was taken.
    tiny = 2.0**-60
    rows = np.arange(0, n_rows, 2, dtype=np.int64)
    for begin in range(0, n_rows, 16):
        x = np.zeros((n_rows, 1))
        x[begin : begin + 16, 0] = 4.0 ** np.arange(min(16, n_rows - begin))
        assert output_bias_after_single_row_steps(x, tiny, seed, epoch=5) / (2 * tiny) == x.sum()
        assert output_bias_after_single_row_steps(x, tiny, seed, epoch=5, rows=rows) / (2 * tiny) == x[rows].sum()


def test_seed_and_epoch_decide_the_order_of_rows():
    x = np.arange(40.0)[:, np.newaxis]
    results = {key: output_bias_after_single_row_steps(x, 0.25, *key) for key in [(0, 0), (0, 1), (1, 0), (1, 1)]}
    assert len(set(results.values())) == 4
    assert all(output_bias_after_single_row_steps(x, 0.25, *key) == value for key, value in results.items())


def torch_optimizer(torch, spec, parameters):
    """PyTorch's optimiser of the same name; weights alone decay."""
    if spec["kind"] == "sgd":
        options = {"momentum": spec["momentum"], "nesterov": spec.get("nesterov", False)}
        return torch.optim.SGD(parameters, LEARNING_RATE, **options)
    if spec["kind"] == "rmsprop":
        options = {"alpha": spec["rho"], "eps": spec["epsilon"], "momentum": spec.get("momentum", 0.0)}
        return torch.optim.RMSprop(parameters, LEARNING_RATE, **options)
    betas = (spec["beta_1"], spec["beta_2"])
    if spec["kind"] == "adam":
        return torch.optim.Adam(parameters, LEARNING_RATE, betas=betas, eps=spec["epsilon"])
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": spec["weight_decay"]},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, LEARNING_RATE, betas=betas, eps=spec["epsilon"])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_equal_pytorch(case, name):
    torch = pytest.importorskip("torch", reason="compares with PyTorch where it is installed")
    network, parameters, x = case
    tensors = [torch.tensor(p, requires_grad=True) for p in parameters]
    optimizer = torch_optimizer(torch, OPTIMIZERS[name], tensors)
    for _ in range(N_EPOCHS):
        for batch, _ in minibatches(x):
            h = rows = torch.tensor(batch)
            for index in range(len(WIDTHS) - 1):
                h = h @ tensors[2 * index] + tensors[2 * index + 1]
                h = torch.tanh(h) if index < len(WIDTHS) - 2 else h
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(h, rows).backward()
            optimizer.step()
    trainer, _ = train_engine(network, parameters, None, OPTIMIZERS[name], x)
    assert_same_parameters(trainer.parameters(), [t.detach().numpy() for t in tensors], rtol=1e-11)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "sgd"])
def test_running_averages_without_gradients_become_zero_and_not_denormal(case, name):
    network, parameters, x = case
    trainer, _ = train_engine(network, parameters, None, OPTIMIZERS[name], x, dtype="float32")
    run_epochs(trainer, x, range(3, 400), sample_weight=np.zeros(len(x)))
    averages = np.concatenate([np.abs(slot).ravel() for slot in trainer.optimizer_state()[1]])
    assert (averages == 0).any()
    assert averages[averages > 0].min(initial=1) >= np.finfo(np.float32).tiny
