"""Published figures: results of each kind of autoencoder on real data, beside their targets.

    python benchmarks/figures.py FOLDER [--only NAME,...] [--json FILE] [--threads N] [--no-torch]

FOLDER holds ``mnist.npz`` and ``fashion_mnist.npz``, each with x_train, y_train, x_test and y_test as Keras provides
them. Pixels are in [0, 1] and not scaled further. There are no held-out rows and no early stopping; the seed is 0.
Seconds are the wall time and the CPU time of ``fit``; on a busy machine the CPU time is the fairer one. Three of the
runs are repeated in PyTorch if it is installed.
"""

import argparse
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import aefast
from results import append_json, environment, markdown

PLAIN = {"scaler": None, "validation_fraction": 0.0, "early_stopping": False, "random_state": 0}
#: Settings for pixels as probabilities of ink.
BERNOULLI = {**PLAIN, "output_activation": "sigmoid", "loss": "binary_crossentropy"}


def made(kind, *sizes, **parameters):
    """Return an estimator with the settings of all runs, which differ from the defaults for tables."""
    settings = {"activation": "relu", "batch_size": 256, "learning_rate": 1e-3, "score_metric": "mse"}
    return kind(*sizes, **settings | parameters)


@dataclass
class Figure:
    """One measured value and its target; without a target, ``bar`` is None. ``higher`` is True if higher is better."""

    name: str
    value: float
    bar: float | None = None
    higher: bool = False
    wall: float | None = None
    cpu: float | None = None
    peer_value: float | None = None
    peer_wall: float | None = None
    peer_cpu: float | None = None

    def row(self):
        if self.bar is None:
            bar, met = "", ""
        else:
            bar = f"{'≥' if self.higher else '≤'} {self.bar:.5g}"
            met = "yes" if (self.value >= self.bar if self.higher else self.value <= self.bar) else "NO"
        seconds = ["" if s is None else f"{s:.1f}" for s in (self.wall, self.cpu, self.peer_wall, self.peer_cpu)]
        peer_value = "" if self.peer_value is None else f"{self.peer_value:.5g}"
        return [self.name, f"{self.value:.5g}", bar, met, *seconds[:2], peer_value, *seconds[2:]]


class Images:
    """The data sets of a folder as rows of pixels in [0, 1], each read once, and PyTorch or None."""

    def __init__(self, folder, torch=None):
        self.folder = Path(folder)
        self.torch = torch
        self.read = {}

    def __call__(self, name):
        """Return X_train, y_train, X_test, y_test."""
        if name not in self.read:
            with np.load(self.folder / f"{name}.npz", allow_pickle=False) as file:
                self.read[name] = tuple(
                    np.float32(file[key].reshape(-1, 784)) / np.float32(255) if key[0] == "x" else file[key]
                    for key in ("x_train", "y_train", "x_test", "y_test")
                )
        return self.read[name]


def timed(call):
    """Call it and return (result, wall seconds, CPU seconds)."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def beside_torch(figure, torch, train, value):
    """Return the figure with the result of the same run in PyTorch, if it is installed."""
    if torch is not None:
        module, figure.peer_wall, figure.peer_cpu = timed(lambda: train(torch))
        figure.peer_value = value(torch, module)
    return figure


def mean_error(model, X, metric="mse"):
    return float(model.reconstruction_error(X, metric=metric).mean())


def binary_crossentropy(targets, outputs):
    outputs = np.clip(outputs.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(targets * np.log(outputs) + (1 - targets) * np.log1p(-outputs)))


def knn_accuracy(train, y_train, test, y_test):
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(7).fit(train, y_train).score(test, y_test)


def pca_floor(train, X, n_components):
    """Return the mean squared error per pixel of ``X``, reconstructed from principal components of ``train``."""
    from sklearn.decomposition import PCA

    pca = PCA(n_components, svd_solver="covariance_eigh").fit(train.astype(np.float64))
    return float(np.mean((pca.inverse_transform(pca.transform(X)) - X) ** 2))


def linear(images):
    """A linear autoencoder converges to the principal components (Baldi and Hornik 1989)."""
    X, _, _, _ = images("mnist")
    for code in (8, 32):
        floor = pca_floor(X, X, code)
        schedule = aefast.CosineSchedule(5e-3, n_epochs=20)
        model = made(aefast.Autoencoder, (code,), activation="identity", learning_rate=schedule, max_epochs=20, **PLAIN)
        _, wall, cpu = timed(lambda model=model: model.fit(X))
        error = mean_error(model, X)
        yield Figure(f"linear, code {code}: train MSE (PCA {floor:.5f})", error, 1.02 * floor, wall=wall, cpu=cpu)
        yield Figure(f"linear, code {code}: train MSE / PCA", error / floor, 1.0, higher=True)


def deep(images):
    """Non-linear codes reconstruct better than as many principal components."""
    X, _, X_test, _ = images("mnist")
    for code, bar in ((8, 0.03744), (16, 0.02686), (32, 0.01683)):
        schedule = aefast.CosineSchedule(2e-3, n_epochs=20)
        sizes = (256, 64, code)
        model = made(
            aefast.Autoencoder,
            sizes,
            learning_rate=schedule,
            max_epochs=20,
            batch_size=128,
            **BERNOULLI | {"loss": "mse"},
        )
        _, wall, cpu = timed(lambda model=model: model.fit(X))
        yield Figure(f"784-256-64-{code}: test MSE", mean_error(model, X_test), bar, wall=wall, cpu=cpu)


def hinton(images):
    """784-1000-500-250-30, the network of Hinton and Salakhutdinov (2006): squared error per pixel of about .0038."""
    X, _, X_test, _ = images("mnist")
    schedule = aefast.CosineSchedule(1e-3, n_epochs=10, warmup=1)
    model = made(
        aefast.Autoencoder,
        (1000, 500, 250, 30),
        learning_rate=schedule,
        max_epochs=10,
        batch_size=128,
        **BERNOULLI | {"loss": "mse"},
    )
    _, wall, cpu = timed(lambda: model.fit(X))
    yield Figure("784-1000-500-250-30: test MSE (paper .0038)", mean_error(model, X_test), wall=wall, cpu=cpu)
    yield Figure("784-1000-500-250-30: train MSE", mean_error(model, X))


def small_code(code, X, n_starts):
    """Return the start with the lowest training loss, because units of a ReLU code may be dead from the start."""
    models = [
        made(
            aefast.Autoencoder,
            (code,),
            code_activation="relu",
            max_epochs=30,
            batch_size=256,
            **BERNOULLI | {"random_state": seed},
        ).fit(X)
        for seed in range(n_starts)
    ]
    return min(models, key=lambda model: model.loss_curve_[-1])


def codes(images):
    """Seven nearest neighbours classify images from codes of eight numbers."""
    for name, code, bar, n_starts in (
        ("mnist", 8, 0.897, 1),
        ("fashion_mnist", 8, 0.800, 8),
        ("fashion_mnist", 16, 0.8375, 1),
    ):
        X, y, X_test, y_test = images(name)
        model, wall, cpu = timed(lambda X=X, code=code, n_starts=n_starts: small_code(code, X, n_starts))
        if n_starts > 1:
            name += f", best loss of {n_starts} starts"
        accuracy = knn_accuracy(model.transform(X), y, model.transform(X_test), y_test)
        figure = Figure(f"784-{code}-784, {name}: kNN accuracy on codes", accuracy, bar, True, wall, cpu)
        yield beside_torch(
            figure,
            images.torch if name == "mnist" else None,
            lambda torch, X=X, code=code: torch.dense(code, X, X, 256),
            lambda torch, module, X=X, y=y, X_test=X_test, y_test=y_test: knn_accuracy(
                torch.encode(module, X), y, torch.encode(module, X_test), y_test
            ),
        )
        if name != "mnist":
            bce = mean_error(model, X_test, "binary_crossentropy")
            yield Figure(f"784-{code}-784, {name}: test BCE", bce, 0.3160 if code == 8 else None)


def stranger(images):
    """One picture of a boot among 10,000 digits."""
    X, _, X_test, _ = images("mnist")
    boot = images("fashion_mnist")[2][:1]
    model = made(aefast.Autoencoder, (64,), code_activation="relu", max_epochs=20, **BERNOULLI)
    _, wall, cpu = timed(lambda: model.fit(X))
    errors = model.reconstruction_error(np.vstack([X_test, boot]), metric="mse")
    rank = 1 + int(np.sum(errors[:-1] >= errors[-1]))
    yield Figure("784-64-784: rank of a boot among 10,000 digits", rank, 1, wall=wall, cpu=cpu)
    yield Figure("784-64-784: its error / the next", float(errors[-1] / errors[:-1].max()), 2.0, higher=True)


def noisy(X, seed, standard_deviation=0.55):
    noise = np.random.default_rng(seed).normal(scale=standard_deviation, size=X.shape)
    return np.clip(X + noise, 0, 1).astype(np.float32)


def denoising(images):
    """Reconstruct digits from noisy ones: normal noise of standard deviation 0.55, clipped to [0, 1]."""
    X, _, X_test, _ = images("mnist")
    X_noisy, X_test_noisy = noisy(X, 0), noisy(X_test, 1)
    model = made(aefast.DenoisingAutoencoder, (32,), code_activation="relu", batch_size=150, max_epochs=30, **BERNOULLI)
    _, wall, cpu = timed(lambda: model.fit(X, X_noisy=X_noisy))
    error = binary_crossentropy(X_test, model.reconstruct(X_test_noisy))
    yield beside_torch(
        Figure("denoising 784-32-784: test BCE", error, 0.1310, wall=wall, cpu=cpu),
        images.torch,
        lambda torch: torch.dense(32, X_noisy, X, 150),
        lambda torch, module: binary_crossentropy(X_test, torch.reconstruct(module, X_test_noisy)),
    )


def convolutional(images):
    """Denoising with noise drawn again in each epoch (Vincent et al. 2008), for layers 64-32-32-64-1 of 3 x 3.

    It takes about a quarter of an hour of CPU time. From glorot weights at a rate of .001, a third of the 32 channels
    of the code die within the first forty steps, in PyTorch too from the same weights. Hence the he weights, and a rate
    that rises over six epochs before it falls.
    """
    X, _, X_test, _ = images("mnist")
    rng, X_test_noisy = np.random.default_rng(0), noisy(X_test, 1)
    model = made(
        aefast.ConvolutionalDenoisingAutoencoder,
        (28, 28, 1),
        channels=(64, 32),
        noise=lambda rows: noisy(rows, rng),
        weight_init="he_uniform",
        learning_rate=aefast.CosineSchedule(4e-3, n_epochs=30, warmup=6),
        batch_size=150,
        max_epochs=30,
        **BERNOULLI,
    )
    _, wall, cpu = timed(lambda: model.fit(X))
    error = binary_crossentropy(X_test, model.reconstruct(X_test_noisy))
    yield Figure("denoising 64-32-32-64-1, 3 x 3: test BCE", error, 0.0980, wall=wall, cpu=cpu)


def variational(images):
    """784-400-20 after ten epochs (Kingma and Welling 2014, as in PyTorch's example).

    The figure is the mean of three starts, which differ by some tenths of a nat.
    """
    X, _, X_test, _ = images("mnist")
    seeds = range(3)

    def train():
        return [
            made(
                aefast.VariationalAutoencoder,
                (400, 20),
                batch_size=128,
                max_epochs=10,
                **BERNOULLI | {"random_state": seed},
            ).fit(X)
            for seed in seeds
        ]

    models, wall, cpu = timed(train)
    values = [-float(model.elbo(X_test).mean()) for model in models]
    name = f"variational 784-400-20: test -ELBO, mean of {len(seeds)} starts"
    yield beside_torch(
        Figure(name, float(np.mean(values)), 106.0, wall=wall, cpu=cpu),
        images.torch,
        lambda torch: [torch.variational(X, seed) for seed in seeds],
        lambda torch, modules: float(np.mean([torch.negative_elbo(module, X_test) for module in modules])),
    )
    yield Figure("variational 784-400-20: of these the largest", max(values))


def logistic_error(train, y_train, test, y_test):
    """Return the percentage of test rows that logistic regression on sparse codes misclassifies."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    scale = train.std()
    classifier = LogisticRegression(C=0.05, tol=1e-3, max_iter=500).fit(csr_matrix(train / scale), y_train)
    return 100 * (1 - classifier.score(csr_matrix(test / scale), y_test))


def sparse(images):
    """Linear classification of k-sparse codes (Makhzani and Frey 2013, table 2: 1.35 %).

    As in the paper, training begins with a larger k, so that no unit stays unused. Codes have alpha k units; alpha is
    the best value on 10,000 held-out training images (section 2 and algorithm 1).
    """
    X, y, X_test, y_test = images("mnist")
    model = made(aefast.SparseAutoencoder, (1000,), sparsity="topk", tied_weights=True, warm_start=True, **PLAIN)

    def train():
        for k, n_epochs in ((100, 3), (70, 3), (50, 3), (35, 3), (25, 20)):
            rate = aefast.CosineSchedule(1e-3, n_epochs=n_epochs) if k == 25 else 1e-3
            model.set_params(k=k, learning_rate=rate, max_epochs=n_epochs).fit(X)

    _, wall, cpu = timed(train)
    held_out = {}
    for alpha in (1, 2, 3, 4):
        codes = model.set_params(alpha=alpha).transform(X)
        held_out[alpha] = logistic_error(codes[:50_000], y[:50_000], codes[50_000:], y[50_000:])
    best = min(held_out, key=held_out.get)
    for alpha in dict.fromkeys((best, 1)):
        model.set_params(alpha=alpha)
        error = logistic_error(model.transform(X), y, model.transform(X_test), y_test)
        chosen = ", best on held-out images" if alpha == best else ""
        name = f"k-sparse 1000, k = 25, codes of {25 * alpha}{chosen}: logistic regression, error %"
        yield Figure(name, error, 2.0 if alpha == best else None, wall=wall, cpu=cpu)
        wall = cpu = None


def probe_accuracy(train, y_train, test, y_test):
    """Return the accuracy of a linear classifier on codes scaled to unit variance."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(train, y_train).score(test, y_test)


def jacobian_norm(model, X):
    """Return the mean over rows of the squared Frobenius norm of the code's Jacobian, for one sigmoid layer."""
    h = model.transform(X).astype(np.float64)
    return float(np.mean((h * (1 - h)) ** 2 @ np.sum(model.coefs_[0].astype(np.float64) ** 2, axis=0)))


def contractive(images):
    """One network with and without the contractive penalty (Rifai et al. 2011)."""
    X, y, X_test, y_test = images("mnist")
    settings = {**BERNOULLI, "code_activation": "sigmoid", "max_epochs": 30, "tied_weights": True}
    models = {
        "plain": made(aefast.Autoencoder, (128,), **settings),
        "contractive": made(aefast.ContractiveAutoencoder, (128,), contraction=1e-3, **settings),
    }
    norm = accuracy = None  # the results of the first network are the targets of the second
    for name, model in models.items():
        _, wall, cpu = timed(lambda model=model: model.fit(X))
        figures = [
            Figure(
                f"{name} 784-128-784: squared Jacobian norm on test",
                jacobian_norm(model, X_test),
                norm,
                False,
                wall,
                cpu,
            ),
            Figure(
                f"{name} 784-128-784: linear probe accuracy",
                probe_accuracy(model.transform(X), y, model.transform(X_test), y_test),
                accuracy,
                higher=True,
            ),
        ]
        norm, accuracy = (figure.value for figure in figures)
        yield from figures


ROWS = {
    row.__name__: row
    for row in (linear, deep, hinton, codes, stranger, denoising, convolutional, variational, sparse, contractive)
}


HEADERS = ["figure", "value", "bar", "met", "wall s", "CPU s", "PyTorch", "wall s", "CPU s"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder of mnist.npz and fashion_mnist.npz")
    parser.add_argument("--only", help=f"some of {', '.join(ROWS)}")
    parser.add_argument("--json", help="file that results are appended to")
    parser.add_argument("--threads", type=int, help="threads of aefast and of PyTorch (default: that of each)")
    parser.add_argument("--no-torch", action="store_true", help="leave out the runs in PyTorch")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(ROWS)
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(ROWS)}")

    torch = None
    if not options.no_torch:
        try:
            import figures_torch as torch
        except ImportError as error:
            print(f"without PyTorch: {error}")
    if torch is not None and options.threads:
        torch.set_threads(options.threads)
    images, figures = Images(options.folder, torch), []
    with aefast.threads(options.threads) if options.threads else nullcontext():
        for name in names:
            for figure in ROWS[name](images):
                print(*figure.row(), sep="  ", flush=True)
                figures.append(figure)
    print("\n" + markdown(HEADERS, [figure.row() for figure in figures]))
    if options.json:
        append_json(options.json, {"figures": [asdict(f) for f in figures], **environment(["torch", "scikit-learn"])})


if __name__ == "__main__":
    main()
