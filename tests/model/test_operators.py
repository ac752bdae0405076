"""The sparse image gradient and the divergence."""

import numpy as np
import pytest
from scipy.sparse.linalg import svds

from tvdenoise.model.operators import SQUARED_NORM_PER_AXIS, difference, divergence, image_gradient

SHAPES = [
    (1, 1, 1), (1, 1, 7), (1, 9, 1), (1, 5, 6), (3, 4, 7), (4, 3, 2),
    (1, 1, 1, 1), (1, 4, 1, 1), (1, 3, 5, 4), (3, 2, 3, 4),
]  # fmt: skip


def _weights(shape, seed=1):
    """Return random weights of channels and axes."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 3, shape[0]), rng.uniform(0.1, 1, len(shape) - 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_negative_divergence_is_the_adjoint_of_the_image_gradient(shape):
    gradient, div = image_gradient(shape[1:], *_weights(shape)), divergence(shape[1:], *_weights(shape))
    rng = np.random.default_rng(2)
    x, p = rng.normal(size=gradient.shape[1]), rng.normal(size=gradient.shape[0])
    scale = np.linalg.norm(gradient @ x) * np.linalg.norm(p) or 1.0
    assert abs((gradient @ x) @ p + x @ (div @ p)) <= 1e-14 * scale


@pytest.mark.parametrize("shape", SHAPES)
def test_the_image_gradient_holds_forward_differences_that_vanish_at_the_far_border(shape):
    channel_weights, axis_weights = _weights(shape)
    x = np.random.default_rng(2).normal(size=shape)
    expected = np.zeros((shape[0], len(shape) - 1, *shape[1:]))
    for axis, factor in enumerate(axis_weights):
        for channel, weight in enumerate(channel_weights):
            difference_there = np.diff(x[channel], axis=axis) * factor * weight
            expected[channel, axis][tuple(slice(length) for length in difference_there.shape)] = (
                difference_there
            )
    found = image_gradient(shape[1:], channel_weights, axis_weights) @ x.ravel()
    assert np.allclose(found, expected.ravel(), rtol=0, atol=1e-14)


def test_the_squared_norm_stays_below_four_for_each_axis_and_comes_close():
    one_axis = np.linalg.norm(difference(200).toarray(), 2) ** 2
    assert 0.999 * SQUARED_NORM_PER_AXIS < one_axis < SQUARED_NORM_PER_AXIS
    for shape, weights in (((60, 50), (1, 1)), ((20, 20, 20), (0.25, 1, 1))):
        gradient = image_gradient(shape, (1.0,), weights)
        largest = svds(gradient, k=1, return_singular_vectors=False, random_state=0)[0] ** 2
        bound = SQUARED_NORM_PER_AXIS * np.sum(np.square(weights))
        assert 0.98 * bound < largest < bound


def test_constant_images_have_no_image_gradient():
    assert not np.any(image_gradient((4, 5)) @ np.full(20, 0.3))
    assert not np.any(image_gradient((3, 4, 5)) @ np.full(60, 0.3))
