"""The sparse image gradient and the divergence."""

import numpy as np
import pytest
from scipy.sparse.linalg import svds

from tvdenoise.model.operators import SQUARED_NORM_PER_AXIS, difference, divergence, image_gradient

SHAPES = [(1, 1, 1), (1, 1, 7), (1, 9, 1), (1, 5, 6), (3, 4, 7), (4, 3, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_negative_divergence_is_the_adjoint_of_the_image_gradient(shape):
    rng = np.random.default_rng(1)
    channels, rows, columns = shape
    weights = rng.uniform(0.5, 3, channels)
    gradient, div = image_gradient(rows, columns, weights), divergence(rows, columns, weights)
    x, p = rng.normal(size=gradient.shape[1]), rng.normal(size=gradient.shape[0])
    scale = np.linalg.norm(gradient @ x) * np.linalg.norm(p) or 1.0
    assert abs((gradient @ x) @ p + x @ (div @ p)) <= 1e-14 * scale


@pytest.mark.parametrize("shape", SHAPES)
def test_the_image_gradient_holds_forward_differences_that_vanish_at_the_far_border(shape):
    channels, rows, columns = shape
    weights = np.arange(1.0, channels + 1)
    x = np.random.default_rng(2).normal(size=shape)
    down, across = np.zeros(shape), np.zeros(shape)
    down[:, :-1] = np.diff(x, axis=1)
    across[:, :, :-1] = np.diff(x, axis=2)
    expected = np.stack([down, across], axis=1) * weights[:, None, None, None]
    assert np.allclose(
        image_gradient(rows, columns, weights) @ x.ravel(), expected.ravel(), rtol=0, atol=1e-14
    )


def test_the_squared_norm_stays_below_four_for_each_axis_and_comes_close():
    one_axis = np.linalg.norm(difference(200).toarray(), 2) ** 2
    assert 0.999 * SQUARED_NORM_PER_AXIS < one_axis < SQUARED_NORM_PER_AXIS
    largest = svds(image_gradient(60, 50), k=1, return_singular_vectors=False, random_state=0)[0] ** 2
    assert 0.99 * 2 * SQUARED_NORM_PER_AXIS < largest < 2 * SQUARED_NORM_PER_AXIS


def test_constant_images_have_no_image_gradient():
    assert not np.any(image_gradient(4, 5) @ np.full(20, 0.3))
