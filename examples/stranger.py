"""A stranger among digits: one boot among thousands of handwritten digits has by far the largest error.

The model is trained on digits only, without labels.
"""

import matplotlib.pyplot as plt
import numpy as np

from aefast import Autoencoder, plots
from pictures import digits, options, show

BOOT = "00001777 00002676 00003676 00014787 01267887 67788889 89999889 55555000"


def main(arguments=None):
    folder, picture = options(__doc__, "stranger.png", arguments)
    X, _, X_test, _ = digits(folder)
    if folder:
        boot = digits(folder, "fashion_mnist")[2][:1]
    else:
        boot = np.float32([[int(pixel) / 9 for pixel in BOOT.replace(" ", "")]])
    rows = np.vstack([X_test, boot])

    model = Autoencoder(
        (64,) if folder else (16,),
        activation="relu",
        code_activation="relu",
        output_activation="sigmoid",
        loss="binary_crossentropy",
        learning_rate=1e-3 if folder else 5e-3,
        batch_size=256,
        max_epochs=20 if folder else 100,
        contamination=0.001,
        score_metric="mse",
        scaler=None,
        random_state=0,
    ).fit(X)
    errors = model.reconstruction_error(rows)
    highest = np.argsort(-errors)[:6]

    _, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained", width_ratios=(1.3, 1))
    plots.error_histogram(errors, threshold=model.threshold_, ax=left)
    left.margins(x=0.08)
    left.annotate("the boot", (errors[-1], 1), (errors[-1], 8), ha="center", arrowprops={"arrowstyle": "->"})
    show([rows[highest], model.reconstruct(rows[highest])], ["row", "reconstruction"], right)
    right.set_xticks((np.arange(6) + 0.5) * right.images[0].get_size()[1] / 6, [f"{e:.3f}" for e in errors[highest]])
    right.set_xlabel("the six largest errors")
    plt.savefig(picture, dpi=120)
    return {"rank": 1 + int(np.sum(errors[:-1] >= errors[-1])), "ratio": float(errors[-1] / errors[:-1].max())}


if __name__ == "__main__":
    print(main())
