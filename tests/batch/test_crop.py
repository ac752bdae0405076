"""Where a picture shows most."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tvdenoise.batch.tuning import informative_box


def _scene() -> np.ndarray:
    """Noise on the lower half, structure on the right half, of 768 × 768 pixels."""
    generator = np.random.default_rng(0)
    image = np.full((768, 768), 120.0)
    image[:, 384:] += 60 * (np.add.outer(np.arange(768) // 24, np.arange(384) // 24) % 2)
    image[384:] += generator.normal(0, 15, (384, 768))
    return np.clip(image, 0, 255).astype(np.uint8)


def test_the_box_is_where_noise_meets_structure():
    box = informative_box(_scene())
    assert (box.width, box.height) == (256, 256)
    assert box.top >= 384 - 8  # where the noise is
    assert box.left < 768 - 256 + 8
    assert box.left + box.width > 384 + 64  # with some of the structure


def test_correlated_noise_is_not_taken_for_structure():
    image = 90 + 4 * gaussian_filter(np.random.default_rng(1).normal(0, 9, (768, 768)), 3)
    image[560:660, 560:660] += 70
    box = informative_box(np.clip(image, 0, 255).astype(np.uint8))
    assert min(box.left, box.top) + 256 > 640


def test_what_is_hidden_does_not_count():
    visible = np.ones((768, 768), bool)
    visible[512:] = False
    seen = informative_box(_scene(), visible)
    assert seen.top + seen.height <= 512 + 128


@pytest.mark.parametrize("shape", [(768, 900), (768, 900, 3)])
def test_the_box_of_a_constant_picture_is_in_its_middle(shape):
    box = informative_box(np.full(shape, 7, np.uint8))
    assert abs(box.left + 128 - 450) <= 8
    assert abs(box.top + 128 - 384) <= 8


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 1), (1, 1)),
        ((16, 16), (16, 16)),
        ((1, 900), (32, 1)),
        ((900, 10), (10, 80)),
        ((300, 200), (200, 256)),
    ],
)
def test_small_and_thin_pictures_have_boxes_that_can_be_enlarged(shape, size):
    box = informative_box(np.random.default_rng(0).random(shape))
    assert (box.width, box.height) == size
    assert box.lies_within(shape[1], shape[0])
