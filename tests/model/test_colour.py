"""The luminance/opponent basis."""

import numpy as np

from tvdenoise.model.colour import ROTATION, chroma_weights, from_opponent, to_opponent


def test_the_rotation_is_orthonormal():
    assert np.allclose(ROTATION @ ROTATION.T, np.eye(3), rtol=0, atol=1e-15)


def test_the_rotation_is_undone_by_its_inverse():
    rgb = np.random.default_rng(1).random((3, 4, 5))
    assert np.allclose(from_opponent(to_opponent(rgb)), rgb, rtol=0, atol=1e-15)


def test_a_rotation_in_bands_equals_that_of_the_whole():
    rgb = np.random.default_rng(1).random((3, 700, 301))
    expected = np.tensordot(ROTATION, rgb, axes=1)
    opponent = to_opponent(rgb)
    assert np.allclose(opponent, expected, rtol=0, atol=1e-15)
    assert np.allclose(from_opponent(opponent, out=opponent), rgb, rtol=0, atol=1e-15)
    assert np.allclose(opponent, rgb, rtol=0, atol=1e-15)


def test_grey_images_have_no_chroma():
    opponent = to_opponent(np.full((3, 2, 2), 0.4))
    assert np.allclose(opponent[0], 0.4 * np.sqrt(3))
    assert np.allclose(opponent[1:], 0, atol=1e-16)


def test_only_the_opponents_are_weighted():
    assert chroma_weights(3.0) == (1.0, 3.0, 3.0)
