"""Layers of images: the cost of one more layer, and the speed of whole networks, beside PyTorch and OpenVINO.

    python benchmarks/convolutions.py [--threads 1] [--rounds 5] [--clock cpu]

The cost of one more layer is half the difference between two networks, of which one has two more layers. Reading rows
and the layers at both ends therefore do not count. A dense layer takes turns with them. PyTorch is measured with both
memory formats, channels first and channels last.
"""

import itertools

import command

options = command.parse(__doc__, default_threads="1", batch={"type": int, "default": 128, "help": "images in a batch"})

import numpy as np  # noqa: E402

import results  # noqa: E402
import shapes  # noqa: E402
import timing  # noqa: E402
from aefast.engine import core  # noqa: E402

try:
    import torch
except ImportError:
    torch = None
try:
    import openvino
except ImportError:
    openvino = None

LAYERS = [(28, 8), (28, 16), (28, 32), (14, 32), (14, 64), (7, 64), (7, 128)]  # side and channels, 3 x 3
DENSE = 512
N_BATCHES = 4
NAMES = {"score": "forward", "train": "forward and backward"}


def conv(image, channels):
    """Return a 3 x 3 convolution that keeps the size of the image."""
    layer = {"kind": "conv2d", "image": image, "channels": channels, "kernel_size": 3, "padding": "same"}
    return layer | {"activation": "relu"}


def resized(kind, image, channels=0):
    """Return a layer that halves or doubles the sides of the image."""
    layer = {"kind": kind, "image": image, "factor": 2}
    return layer if kind != "conv2d_transpose" else conv(image, channels) | layer


def stack(side, channels, n_layers):
    """Return layers from one channel to ``channels``, convolutions of these, and a layer back to one channel."""
    hidden = [conv((side, side, channels), channels) for _ in range(n_layers)]
    return [conv((side, side, 1), channels), *hidden, conv((side, side, channels), 1)]


def autoencoder(channels, up):
    """Return convolutions, each followed by pooling, and the decoder with "upsample2d" or "conv2d_transpose"."""
    layers, image = [], (28, 28, 1)
    for n in channels:
        layers += [conv(image, n), resized("max_pool2d", (*image[:2], n))]
        image = (image[0] // 2, image[1] // 2, n)
    for n in (*channels[-2::-1], channels[0]):
        if up == "upsample2d":
            layers += [conv(image, n), resized(up, (*image[:2], n))]
        else:
            layers.append(resized(up, image, n))
        image = (image[0] * 2, image[1] * 2, n)
    return [*layers, conv(image, 1)]


NETWORKS = {
    "1-16-32, nearest": autoencoder((16, 32), "upsample2d"),
    "1-16-32, transposed": autoencoder((16, 32), "conv2d_transpose"),
    "1-64-32, nearest": autoencoder((64, 32), "upsample2d"),
    "1-32-64-128-64-1 without pooling": [
        conv((28, 28, before), after) for before, after in itertools.pairwise((1, 32, 64, 128, 64, 1))
    ],
}


def parameters_of(layers, seed=0):
    """Return kernels (height, width, in, out), or (height, width, out, in) if transposed, and biases."""
    rng, arrays = np.random.default_rng(seed), []
    for layer in layers:
        if layer["kind"] == "dense":
            shape, n_out = (layer["units"], layer["units"]), layer["units"]
        elif "kernel_size" in layer:
            ends, n_out = (layer["image"][2], layer["channels"]), layer["channels"]
            shape = (3, 3, *(ends if layer["kind"] == "conv2d" else ends[::-1]))
        else:
            continue
        bound = np.sqrt(6 / np.prod(shape[:-1]))
        arrays += [rng.uniform(-bound, bound, shape).astype(np.float32), np.full(n_out, 0.01, np.float32)]
    return arrays


class Engine:
    """aefast's compiled engine."""

    def __init__(self, layers, X):
        n_features = X.shape[1]
        last = {**layers[-1], "activation": "identity"}
        network = {"n_features": n_features, "layers": [*layers[:-1], last], "n_encoder_layers": 1, "groups": []}
        parameters = [a.reshape(-1, a.shape[-1]) if a.ndim > 1 else a for a in parameters_of(layers)]
        self.X, self.scaling = X, core.Scaling(np.zeros(n_features), np.ones(n_features), 1e6)
        self.predictor = core.Predictor(network, parameters, self.scaling, "float32", options.threads)
        adam, loss = {"kind": "adam"}, {"loss": "mse"}
        self.trainer = core.Trainer(network, parameters, loss, adam, "float32", 0, options.threads)

    def score(self):
        """Return the errors of all images."""
        return self.predictor.errors(self.X, "mse")

    def train(self):
        """Run one epoch."""
        self.trainer.train_epoch(self.X, self.scaling, epoch=0, learning_rate=1e-5, batch_size=options.batch)


def torch_model(layers):
    """Return the same network made of PyTorch's layers, with the same weights."""
    modules, rest = [], iter([torch.from_numpy(array) for array in parameters_of(layers)])
    for layer in layers:
        if layer["kind"] == "max_pool2d":
            modules.append(torch.nn.MaxPool2d(2))
        elif layer["kind"] == "upsample2d":
            modules.append(torch.nn.Upsample(scale_factor=2))
        else:
            ends = layer["image"][2], layer["channels"]
            if layer["kind"] == "conv2d":
                module = torch.nn.Conv2d(*ends, 3, padding=1)
            else:  # this crops before the first pixel, the engine after the last one: the same amount of work
                module = torch.nn.ConvTranspose2d(*ends, 3, stride=2, padding=1, output_padding=1)
            with torch.no_grad():
                module.weight.copy_(next(rest).permute(3, 2, 0, 1))
                module.bias.copy_(next(rest))
            modules += [module, torch.nn.ReLU(inplace=True)]
    return torch.nn.Sequential(*modules[:-1])


class Torch:
    """PyTorch in eager mode with fused Adam."""

    def __init__(self, layers, X, memory_format):
        torch.set_num_threads(options.threads)
        side = layers[0]["image"][0]
        self.model = torch_model(layers).to(memory_format=memory_format)
        images = torch.from_numpy(X).reshape(len(X), 1, side, side).to(memory_format=memory_format)
        self.batches = images.split(options.batch)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-5, fused=True)

    def score(self):
        """Return the errors of all images."""
        with torch.inference_mode():
            return torch.cat([(self.model(x) - x).square().mean(dim=(1, 2, 3)) for x in self.batches]).numpy()

    def train(self):
        """Run one epoch."""
        for x in self.batches:
            self.optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.mse_loss(self.model(x), x).backward()
            self.optimizer.step()


class OpenVino:
    """OpenVINO's CPU plugin, compiled for the batch."""

    def __init__(self, layers, X):
        side = layers[0]["image"][0]
        self.X = X.reshape(-1, options.batch, 1, side, side)
        model = openvino.convert_model(torch_model(layers).eval(), example_input=torch.from_numpy(self.X[0]))
        model.reshape(list(self.X[0].shape))
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": options.threads}
        self.request = openvino.compile_model(model, "CPU", settings).create_infer_request()

    def score(self):
        """Return the errors of all images."""
        errors = []
        for x in self.X:
            output = next(iter(self.request.infer(openvino.Tensor(x, shared_memory=True)).values()))
            errors.append(np.square(output - x).mean(axis=(1, 2, 3)))
        return np.concatenate(errors)


def engines_of(layers):
    """Return {name: engine} for all installed engines; stop if their errors differ."""
    d = int(np.prod(layers[0].get("image", layers[0].get("units"))))
    X = shapes.random_rows(N_BATCHES * options.batch, d)
    found = {"aefast": Engine(layers, X)}
    if layers[0]["kind"] == "dense":
        return found
    if torch:
        formats = {"PyTorch": torch.contiguous_format, "PyTorch, channels last": torch.channels_last}
        found |= {name: Torch(layers, X, memory_format) for name, memory_format in formats.items()}
    if torch and openvino:
        found["OpenVINO"] = OpenVino(layers, X)
    expected = found["aefast"].score()
    is_cropped_alike = all(layer["kind"] != "conv2d_transpose" for layer in layers)
    for name, engine in found.items():
        if is_cropped_alike and not np.allclose(engine.score(), expected, rtol=1e-3):
            raise SystemExit(f"{name} computes something else")
    return found


def calls(networks, what):
    """Return {(engine, network): callable} for all engines that can do ``what``."""
    return {
        (engine, name): getattr(each, what)
        for name, layers in networks.items()
        for engine, each in engines_of(layers).items()
        if hasattr(each, what)
    }


def products_of(side, channels):
    """Return the multiply-adds of a 3 x 3 convolution of an image, without taps outside the image."""
    return ((3 * side - 2) * channels) ** 2


def layer_rates(side, channels, what):
    """Return the FLOP/s of one more convolution for each engine, and of one more dense layer in the same rounds."""
    units = {"kind": "dense", "units": DENSE, "activation": "relu"}
    networks = {"short": stack(side, channels, 1), "long": stack(side, channels, 3)}
    dense = {"dense short": [units] * 2, "dense long": [units] * 4}
    seconds = timing.interleave(calls(networks | dense, what), options.rounds)
    flops = {"score": 2, "train": 6}[what] * N_BATCHES * options.batch

    def rate(engine, kind, n_products):
        more = seconds[engine, f"{kind}long"][0] - seconds[engine, f"{kind}short"][0]
        return flops * n_products / (more / 2)

    engines = dict.fromkeys(engine for engine, _ in seconds)
    return {engine: rate(engine, "", products_of(side, channels)) for engine in engines}, rate(
        "aefast", "dense ", DENSE**2
    )


def layer_table(what):
    """Return the table of GFLOP/s of one more layer: forward, or forward and backward."""
    rows, peers = [], []
    for side, channels in LAYERS:
        rates, dense = layer_rates(side, channels, what)
        ours, peers = rates["aefast"], [name for name in rates if name != "aefast"]
        cells = [f"{rates[name] / 1e9:.0f}" for name in peers]
        name = f"{side} x {side}, {channels} channels"
        rows.append([name, f"{ours / 1e9:.0f}", f"{dense / 1e9:.0f}", f"{ours / dense:.2f}", *cells])
    return results.markdown([f"{NAMES[what]}, GFLOP/s", "aefast", f"dense {DENSE}", "of dense", *peers], rows)


def network_table(what):
    """Return the table of images per second of whole networks."""
    rows, peers = [], []
    for name, layers in NETWORKS.items():
        seconds = timing.interleave(calls({name: layers}, what), options.rounds)
        rates = {engine: N_BATCHES * options.batch / best for (engine, _), (best, _) in seconds.items()}
        ours, peers = rates["aefast"], [engine for engine in rates if engine != "aefast"]
        ratio = f"{ours / max((rates[engine] for engine in peers), default=float('nan')):.2f}"
        rows.append([name, results.rate(ours), *(results.rate(rates[engine]) for engine in peers), ratio])
    return results.markdown([f"{NAMES[what]}, images/s", "aefast", *peers, "to the best peer"], rows)


def main():
    threads = f"{options.threads} thread" + "s" * (options.threads > 1)
    print(f"\n## Layers of images, batch {options.batch}, {threads}, {core.isa_level}, {results.processor()}\n")
    for table in (layer_table, network_table):
        for what in NAMES:
            print(table(what) + "\n", flush=True)


if __name__ == "__main__":
    main()
