"""Images whose channels come first are refused, unless the shape is given."""

import numpy as np
import pytest

from aefast import ConvolutionalAutoencoder
from messages import raises_exactly

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 12), (4, 6, 9)])
def test_channels_that_come_first_are_refused(shape):
    X = RNG.uniform(size=(20, *shape))
    height, width, channels = shape
    message = (
        f"X has images of shape {shape}, which would be {height} x {width} pixels of {channels} channels: the layout "
        "is (rows, height, width, channels). Move the channels last with numpy.moveaxis(X, 1, -1), or give "
        f"image_shape={shape} if these are height, width and channels"
    )
    model = ConvolutionalAutoencoder(channels=(2,), pool=1, max_epochs=1)
    for method in (model.fit, model.partial_fit, lambda X: model.fit_batches([X])):
        with raises_exactly(ValueError, message):
            method(X)
    assert model.fit(np.moveaxis(X, 1, -1)).image_shape_ == (width, channels, height)
    assert model.set_params(image_shape=shape).fit(X).image_shape_ == shape


@pytest.mark.parametrize("shape", [(8, 8, 1), (1, 50, 6), (1, 5, 3), (4, 4, 4), (3, 100, 12)])
def test_images_and_windows_with_channels_last_need_no_shape(shape):
    model = ConvolutionalAutoencoder(channels=(2,), pool=1, max_epochs=1).fit(RNG.uniform(size=(20, *shape)))
    assert model.image_shape_ == shape
