"""Specks: which groups of pixels of a black-and-white image count as such."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import label

from tvdenoise.images import specks
from tvdenoise.images.specks import count_specks, specks_in


def _by_labels(values: np.ndarray) -> np.ndarray:
    """The same by another method: connected groups of at most two pixels."""
    found = np.zeros(values.shape, bool)
    for colour in (False, True):
        labels, _ = label(values == colour, np.ones((3, 3)))
        found |= (np.bincount(labels.ravel())[labels] <= 2) & (labels > 0)
    return found


@pytest.mark.parametrize("band", [1 << 22, 40])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.3, 0.5, 0.95])
@pytest.mark.parametrize("shape", [(3, 3), (3, 40), (41, 37)])
def test_specks_are_groups_of_one_or_two_pixels(
    shape: tuple[int, int], share: float, band: int, monkeypatch
) -> None:
    monkeypatch.setattr(specks, "_BAND", band)
    for seed in range(20):
        values = np.random.default_rng(seed).random(shape) < share
        found = specks_in(values)
        np.testing.assert_array_equal(found, _by_labels(values))
        assert count_specks(found) == label(found, np.ones((3, 3)))[1]
        assert not specks_in(values ^ found).any()


@pytest.mark.parametrize("dot", ["111\n111\n111", "11\n11", "111", "100\n010\n001"], ids=repr)
@pytest.mark.parametrize("colour", [False, True])
def test_dots_of_letters_stay(dot: str, colour: bool) -> None:
    values = np.full((12, 12), not colour)
    for row, line in enumerate(dot.split("\n"), 4):
        for column, pixel in enumerate(line, 5):
            values[row, column] = colour if pixel == "1" else not colour
    assert not specks_in(values).any()


def test_print_at_the_resolution_of_a_fax_has_no_specks() -> None:
    ten_points = round(10 / 72 * 204)
    page = Image.new("L", (900, 60), 255)
    font = ImageFont.load_default(ten_points)
    ImageDraw.Draw(page).text((9, 9), "Fiji, äöü: a; e.g. 'quoted' - 3.5 % (just ...)!?", fill=0, font=font)
    for height in (60, 29):  # fine, and standard resolution
        text = np.array(page.resize((900, height), Image.Resampling.BOX)) > 127
        assert 0.7 < text.mean() < 0.97
        assert not specks_in(text).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 9), (9, 2)])
def test_the_thinnest_images_have_no_specks(shape: tuple[int, int]) -> None:
    values = np.indices(shape).sum(axis=0) % 2 == 0
    assert not specks_in(values).any()
