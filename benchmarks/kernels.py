"""Parts of the engine one by one: products, activations, reading of each dtype, metrics, statistics.

python benchmarks/kernels.py [--threads 1]
"""

import command

options = command.parse(__doc__, default_threads="1")

import numpy as np  # noqa: E402

import results  # noqa: E402
import shapes  # noqa: E402
import timing  # noqa: E402
from aefast.engine import core, limits  # noqa: E402
from peers.aefast_engine import network_of  # noqa: E402

ACTIVATIONS = ["relu", "leaky_relu", "elu", "selu", "sigmoid", "tanh", "softplus", "silu", "gelu"]
PRODUCTS = [(8, 8), (16, 16), (30, 16), (64, 32), (128, 64), (256, 256), (784, 128), (784, 8), (8, 784), (1024, 512)]
METRICS = ["mse", "mae", "max", "huber", "mahalanobis"]


def best(call):
    """Return the seconds of the fastest of several calls."""
    return timing.interleave({"": call}, options.rounds)[""][0]


def predictor(network, parameters):
    """Return a predictor of the network without scaling."""
    d = network["n_features"]
    scaling = core.Scaling(np.zeros(d), np.ones(d), 1e6)
    return core.Predictor(network, parameters, scaling, "float32", options.threads)


def product_table(machine):
    """Measure one dense layer with the reading of its input: GFLOP/s for each shape."""
    rows = []
    for n_in, n_out in PRODUCTS:
        network = network_of((n_in, n_out, n_in))
        network["layers"][0]["activation"] = "identity"
        X = shapes.random_rows(max(4096, 2**22 // n_in), n_in)
        weights = shapes.random_weights((n_in, n_out, n_in))
        encode = predictor(network, [array for pair in weights for array in pair]).encode
        flops = 2 * n_in * n_out * len(X) / best(lambda encode=encode, X=X: encode(X))
        rows.append([f"{n_in} to {n_out}", f"{flops / 1e9:.0f}", f"{flops / machine['flops']:.2f}"])
    return results.markdown(["one dense layer", "GFLOP/s", "of peak"], rows)


def activation_table():
    """Measure the value and the derivative of each activation, with the elements in cache."""
    rows = []
    for dtype in (np.float32, np.float64):
        z = np.random.default_rng(0).normal(scale=3, size=16384).astype(dtype)
        for name in ACTIVATIONS:
            seconds = best(lambda name=name, z=z: core.activation(name, z))
            rows.append([name, np.dtype(dtype).name, f"{1e9 * seconds / len(z):.2f}"])
    return results.markdown(["activation and derivative", "dtype", "ns per element"], rows)


def reading_table():
    """Measure reading of each dtype and order, with a network so thin that reading is most of the work."""
    widths = (64, 1, 64)
    weights = [array for pair in shapes.random_weights(widths) for array in pair]
    encode = predictor(network_of(widths), weights).encode
    X, rows = shapes.random_rows(65536, 64), []
    for dtype in ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "bool"]:
        for order in "CF":
            array = np.asarray(X, dtype=dtype, order=order)
            seconds = best(lambda array=array: encode(array))
            rows.append(
                [f"{dtype}, {order}", f"{array.nbytes / seconds / 1e9:.2f}", f"{array.size / seconds / 1e9:.2f}"]
            )
    return results.markdown(["input", "GB/s", "elements per ns"], rows)


def metric_table():
    """Measure each metric and its feature shares on one network."""
    widths = (128, 64, 32, 64, 128)
    weights = [array for pair in shapes.random_weights(widths) for array in pair]
    model, X, rows = predictor(network_of(widths), weights), shapes.random_rows(32768, 128), []
    for metric in METRICS:
        n_joint = 128 + 32
        whitening = (np.zeros(n_joint), np.eye(n_joint), np.zeros(128), np.ones(128))
        whitening = whitening if metric == "mahalanobis" else None
        errors = best(lambda m=metric, w=whitening: model.errors(X, m, w))
        shares = best(lambda m=metric, w=whitening: model.feature_errors(X, m, w))
        rows.append([metric, results.rate(len(X) / errors), results.rate(len(X) / shares)])
    return results.markdown(["metric, 128-64-32-64-128", "rows/s", "rows/s with shares"], rows)


def statistics_table():
    """Measure one pass over the columns."""
    X, rows = shapes.random_rows(2**18, 32), []
    for dtype in ["float32", "float64", "int16"]:
        array = X.astype(dtype)
        seconds = best(lambda array=array: core.column_statistics(array, None, options.threads))
        rows.append([dtype, f"{array.nbytes / seconds / 1e9:.2f}"])
    return results.markdown(["column statistics", "GB/s"], rows)


def main():
    machine = limits.measure(options.threads)
    print(f"\n## Parts of the engine, {options.threads} thread(s), {core.isa_level}, {results.processor()}\n")
    print(f"Limits: {machine['flops'] / 1e9:.0f} GFLOP/s, {machine['bytes'] / 1e9:.1f} GB/s.\n")
    for table in (product_table(machine), activation_table(), reading_table(), metric_table(), statistics_table()):
        print(table + "\n")


if __name__ == "__main__":
    main()
