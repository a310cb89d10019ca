"""The convolutional autoencoder: from images to smaller images with more channels, and back."""

from __future__ import annotations

from math import prod
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval

from aefast.engine import core
from aefast.estimators.attributes import computed
from aefast.estimators.base import BaseAutoencoder
from aefast.estimators.constraints import one_of
from aefast.estimators.denoising import DenoisingAutoencoder
from aefast.estimators.variational import VariationalAutoencoder
from aefast.model.image_layers import MOST_TAPS, Image, most_values, output_image
from aefast.model.image_network import image_decoder, image_stages, is_count, per_layer
from aefast.model.layers import dense_layer, has_weights
from aefast.model.model import Model
from aefast.model.network import dropout_rates
from aefast.tables.collect import collected

Array = NDArray[Any]


class ConvolutionalAutoencoder(BaseAutoencoder):
    """Autoencoder for images: a layer combines a pixel with its neighbours, with the same weights at every pixel.

    For each of ``channels`` the encoder has a convolution with a square kernel, followed by max-pooling; ``code_size``
    adds a dense code. The decoder passes through the same channels in reverse order: for each it has a convolution and
    upsampling, or one transposed convolution, and last a convolution to the image's own channels. The network for
    (64, 32) on images of one channel is 64-32-32-64-1 (LeCun et al. 1998 for the layers; Masci et al. 2011 for
    autoencoders of them).

    Rows are images, flattened as ``images.reshape(len(images), -1)`` does, with the channel running fastest. All
    methods that accept rows (n, d) also accept images (n, height, width, channels), or (n, height, width) if there is
    one channel. They return rows; ``reshape(-1, *image_shape)`` makes images of these.

    Parameters
    ----------
    image_shape : (int, int, int), optional
        Height, width and channels. Default: those of the images given to `fit`. Rows of d values are then images of one
        line of d pixels, which are not pooled.
    channels : int or sequence of int, default (16, 8)
        Channels of the encoder's convolutions. With 256 or fewer, images inside the network may be of any size.
    kernel_size : int in [1, 16384] or sequence of int, default 3
        Side of the kernels in pixels: one for all, or one for each of ``channels``.
    strides : int or sequence of int, default 1
        Pixels between two positions of a kernel, in both directions: one number for all, or one for each of
        ``channels``. Strides reduce height and width as pooling does; with strides of 2, choose ``pool=1``.
    pool : int or sequence of int, default 2
        Factor by which the pooling after each convolution reduces height and width: one for all, or one for each of
        ``channels``. 1 is no pooling. If it does not divide a side, the last squares that are pooled are smaller.
    upsampling : {"nearest", "transposed"}, default "nearest"
        How the decoder enlarges images by ``strides`` times ``pool``: by repeating pixels between two convolutions, or
        by a transposed convolution with that stride.
    padding : {"same", "valid"}, default "same"
        "same": pixels outside the image count as zeros. "valid": a convolution stays inside the image. See Notes for
        the sizes.
    code_size : int, optional
        Width of a dense code between encoder and decoder. Default: no dense code; the code is the encoder's last image.
    scaler : as in `Autoencoder`, default "standard"
        The deciles of pixels that are mostly dark would not describe their spread.
    **parameters
        All other parameters of `Autoencoder`. ``activation`` applies to all convolutions but the last,
        ``code_activation`` to a dense code. ``dropout`` is one rate, or one for each layer with weights but the last.
        The parameters above describe the layers, so ``encoder_layer_sizes`` must be "auto" and ``decoder_layer_sizes``
        None. Convolutions do not support ``tied_weights``.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        As in `Autoencoder`. The weights of a convolution are (kernel_size, kernel_size, channels in, channels out),
        those of a transposed convolution (kernel_size, kernel_size, channels out, channels in), and the biases
        (channels out,).
    image_shape_ : (int, int, int)
        Height, width and channels of the training images.

    See Also
    --------
    Autoencoder : Describes the other parameters and the attributes.

    Notes
    -----
    A convolution with "same" padding makes ceil(n / strides) of a side of n pixels; with "valid" padding it makes
    floor((n - kernel_size) / strides) + 1. Pooling makes ceil(n / pool) of n. So a side of 28 pixels becomes 28 and 10
    with ``pool=3``, and 14 with ``strides=2, pool=1``; Keras and PyTorch drop the last pixel in such pooling by
    default. Each stage of the decoder makes an image of the size that entered the same stage of the encoder. Pixels
    beyond that size, at the end of lines and columns, are cut off, so that reconstructions have the size of the image.

    With "same" padding, max(0, kernel_size - strides) // 2 taps of a kernel's first position lie outside the image, as
    in TensorFlow if the strides divide the side.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner (1998), Gradient-based learning applied to document recognition, Proc. IEEE 86.
    Masci, Meier, Ciresan and Schmidhuber (2011), Stacked convolutional auto-encoders for hierarchical feature
    extraction, ICANN.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from aefast import ConvolutionalAutoencoder
    >>> images = load_digits().images
    >>> model = ConvolutionalAutoencoder((8, 8, 1), channels=(8, 4), max_epochs=2, random_state=0).fit(images)
    >>> model.transform(images).shape, [w.shape for w in model.coefs_[:2]]
    ((1797, 16), [(3, 3, 1, 8), (3, 3, 8, 4)])
    """

    image_shape_: Image = computed(lambda model: tuple(model.network["layers"][0]["image"]))

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "image_shape": [None, "array-like"],
        "channels": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "kernel_size": [Interval(Integral, 1, MOST_TAPS, closed="both"), "array-like"],
        "strides": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "pool": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "upsampling": [one_of(("nearest", "transposed"))],
        "padding": [one_of(("same", "valid"))],
        "code_size": [None, Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        image_shape: Any = None,
        *,
        channels: Any = (16, 8),
        kernel_size: Any = 3,
        strides: Any = 1,
        pool: Any = 2,
        upsampling: str = "nearest",
        padding: str = "same",
        code_size: int | None = None,
        scaler: str | None = "standard",
        **parameters: Any,
    ) -> None:
        super().__init__(scaler=scaler, **parameters)
        self.image_shape = image_shape
        self.channels = channels
        self.kernel_size = kernel_size
        self.strides = strides
        self.pool = pool
        self.upsampling = upsampling
        self.padding = padding
        self.code_size = code_size

    def _read(self, X: Any, *, reset: bool) -> Array:
        expected = _image(self.image_shape) if reset else self.image_shape_
        X, given = _flattened(X, expected)
        rows = super()._read(X, reset=reset)
        if self.columns_ is not None:
            odd = next(column for column in self.columns_ if column.kind != "numeric")
            raise ValueError(f"{type(self).__name__} takes numbers, but column {odd.name!r} is {odd.kind}")
        # Rows without a shape are images of one line, which are not pooled.
        image = given or expected or (1, rows.shape[1], 1)
        if prod(image) != rows.shape[1]:
            raise ValueError(
                f"image_shape={image} has {prod(image)} values, but X has {rows.shape[1]} columns: height, width "
                "and channels must multiply to these"
            )
        if reset:
            self.image_shape_ = image
        return rows

    def restore(self, model: Model) -> None:
        """Take over the model of a file; ValueError if its network is not one of images."""
        if "image" not in model.network["layers"][0]:
            raise ValueError(f"the network of a {type(self).__name__} must begin with a layer of images")
        super().restore(model)

    def _rows(self, X: Any) -> Any:
        return super()._rows(_flattened(X, self.image_shape_)[0])

    def check_parameters(self) -> None:
        super().check_parameters()
        for name, needed in (("encoder_layer_sizes", "auto"), ("decoder_layer_sizes", None), ("tied_weights", False)):
            value = getattr(self, name)
            if type(value) is not type(needed) or value != needed:
                raise ValueError(
                    f"{name} must be {needed!r} in a {type(self).__name__}, whose layers are given by channels and "
                    f"code_size, got {value!r}"
                )
        if self.code_size is None and type(self)._code_layers is not BaseAutoencoder._code_layers:
            raise ValueError(f"code_size must be an integer in a {type(self).__name__}, whose code is dense, got None")
        _image(self.image_shape)
        n_channels = len(_channels(self.channels))
        for name, most in (("kernel_size", MOST_TAPS), ("strides", None), ("pool", None)):
            per_layer(name, getattr(self, name), n_channels, most)

    def _network(self, n_features: int) -> core.NetworkSpec:
        image = self.image_shape_
        # Rows without a shape are lines of pixels, which are not pooled.
        pool = 1 if self.image_shape is None and image[0] == 1 else self.pool
        channels = _channels(self.channels)
        stages = image_stages(image, channels, self.kernel_size, self.strides, pool, self.padding)
        layers = [layer for stage in stages for layer in stage.encoder(self.activation)]
        image = output_image(layers[-1])
        has_norm = bool(self.batch_norm)
        hidden = _weighted(layers)  # layers with dropout and batch normalisation
        if self.code_size is not None:
            layers += self._code_layers(dense_layer(int(self.code_size), self.code_activation, batch_norm=has_norm))
            hidden.append(layers[-1])
        n_encoder_layers = len(layers)
        if self.code_size is not None:
            layers.append(dense_layer(prod(image), self.activation, batch_norm=has_norm))
            hidden.append(layers[-1])
        decoder = image_decoder(stages, image, self.upsampling, self.activation, self.output_activation)
        layers += decoder
        hidden += _weighted(decoder)[:-1]
        largest = max(layers, key=lambda layer: layer["units"])
        if "image" in largest and largest["units"] > most_values(n_features):
            height, width, n = output_image(largest)
            raise ValueError(
                f"channels={self.channels!r} makes images of {height} x {width} x {n} = {largest['units']:,} values, "
                f"and inside the network there may be at most {most_values(n_features):,}: use fewer channels"
            )
        for layer, rate in zip(hidden, dropout_rates(self.dropout, len(hidden)), strict=True):
            layer["dropout"] = rate
            if "image" in layer:
                layer["batch_norm"] = has_norm
        return {"n_features": n_features, "layers": layers, "n_encoder_layers": n_encoder_layers, "groups": []}


class ConvolutionalDenoisingAutoencoder(DenoisingAutoencoder, ConvolutionalAutoencoder):
    """`ConvolutionalAutoencoder` that is trained to reconstruct clean images from corrupted images.

    Parameters
    ----------
    image_shape : (int, int, int), optional
        Height, width and channels.
    **parameters
        All other parameters of `ConvolutionalAutoencoder` and `DenoisingAutoencoder`.

    See Also
    --------
    ConvolutionalAutoencoder : Describes the layers.
    DenoisingAutoencoder : Describes the noise.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from aefast import ConvolutionalDenoisingAutoencoder
    >>> images = load_digits().images
    >>> model = ConvolutionalDenoisingAutoencoder((8, 8, 1), noise="masking", noise_level=0.3, max_epochs=2)
    >>> model.fit(images).reconstruct(images).shape
    (1797, 64)
    """


class ConvolutionalVariationalAutoencoder(VariationalAutoencoder, ConvolutionalAutoencoder):
    """`VariationalAutoencoder` of images: convolutions around a dense code that training draws.

    Parameters
    ----------
    image_shape : (int, int, int), optional
        Height, width and channels.
    code_size : int
        Width q of the code; required.
    **parameters
        All other parameters of `ConvolutionalAutoencoder` and `VariationalAutoencoder`.

    See Also
    --------
    ConvolutionalAutoencoder : Describes the layers.
    VariationalAutoencoder : Describes the objective.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from aefast import ConvolutionalVariationalAutoencoder
    >>> images = load_digits().images
    >>> model = ConvolutionalVariationalAutoencoder((8, 8, 1), code_size=4, max_epochs=2, random_state=0)
    >>> model.fit(images).sample(3).reshape(-1, 8, 8).shape
    (3, 8, 8)
    """


def _flattened(X: Any, expected: Image | None) -> tuple[Any, Image | None]:
    """Return images as rows, and their shape; other input as it is, and None.

    Raises
    ------
    ValueError
        If the images are of another shape than expected.
    """
    X = collected(X)
    n_dimensions = np.ndim(X) if isinstance(X, list | tuple) else getattr(X, "ndim", 2)
    if n_dimensions not in (3, 4):
        return X, None
    images = np.asarray(X)
    if images.ndim == 4 and expected is None:
        _check_channels_last(images.shape[1:])
    given = _image((*images.shape[1:], 1)[:3])
    if given is None or (expected is not None and given != expected):
        raise ValueError(f"image_shape={expected} does not fit X, whose images are {images.shape[1:]}")
    return images.reshape(len(images), prod(given)), given


def _check_channels_last(shape: tuple[int, ...]) -> None:
    """Raise ValueError if images without ``image_shape`` seem to have their channels before height and width.

    They then have few rows of pixels, as many as images have channels, and about as many channels as columns.
    """
    height, width, channels = shape
    if height <= 4 < channels and channels >= width / 2 > 2:
        raise ValueError(
            f"X has images of shape {shape}, which would be {height} x {width} pixels of {channels} channels: the "
            "layout is (rows, height, width, channels). Move the channels last with numpy.moveaxis(X, 1, -1), or give "
            f"image_shape={shape} if these are height, width and channels"
        )


def _image(shape: Any) -> Image | None:
    """Return height, width and channels as integers; None stays None."""
    if shape is None:
        return None
    values = list(shape)
    if len(values) != 3 or not all(is_count(value) for value in values):
        raise ValueError(
            f"image_shape must be three integers of at least 1, height, width and channels, got {tuple(values)}"
        )
    height, width, channels = (int(value) for value in values)
    return height, width, channels


def _channels(channels: Any) -> tuple[int, ...]:
    values = [channels] if isinstance(channels, Integral) else list(channels)
    if not values or not all(is_count(value) for value in values):
        raise ValueError(f"channels must be integers of at least 1, got {channels!r}")
    return tuple(int(value) for value in values)


def _weighted(layers: list[core.LayerSpec]) -> list[core.LayerSpec]:
    return [layer for layer in layers if has_weights(layer)]
