"""From denoised values back to stored ones, and colours that nobody sees."""

from __future__ import annotations

import numpy as np
import pytest

from support.values import noise, pixels
from tvdenoise.files.decoded import DecodedImage, stored, stored_with_sums
from tvdenoise.precision import precision_of


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_values_are_rounded_half_to_even_and_clipped(dtype: type, largest: int) -> None:
    picture = DecodedImage(np.zeros((1, 5), dtype))
    values = np.array([[-0.1, 0.5 / largest, 1.5 / largest, 1.0, 1.2]], np.float32)
    stored = picture.with_denoised(values).intensities
    assert stored.dtype == dtype
    assert stored.tolist() == [[0, 0, 2, largest, largest]]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.uint32, np.int32])
def test_every_value_of_an_integer_type_comes_back(dtype: type) -> None:
    limits = np.iinfo(dtype)
    values = np.array([[limits.min, limits.min + 1, -1 if limits.min else 1, 0, limits.max - 1, limits.max]])
    fractions = values / float(limits.max)
    fractions = fractions.astype(precision_of(np.dtype(dtype)))
    np.testing.assert_array_equal(stored(fractions, np.dtype(dtype)), values.astype(dtype))
    beyond = np.array([[-3, 3]], fractions.dtype)
    assert stored(beyond, np.dtype(dtype)).tolist() == [[limits.min, limits.max]]


def test_doubles_keep_their_precision_and_their_units() -> None:
    values = np.array([[1 + 2**-50, -1e300]])
    assert stored(values, np.dtype(np.float64)).tolist() == values.tolist()


@pytest.mark.parametrize("shape", [(701, 333, 3), (3, 200_000), (200_000, 2)])
def test_large_pictures_are_rounded_to_their_last_row(shape: tuple[int, ...]) -> None:
    values = noise(*shape, dtype=np.uint16)
    denoised = values.astype(np.float32) / np.float32(65535)
    stored = DecodedImage(np.zeros(shape, np.uint16)).with_denoised(denoised).intensities
    np.testing.assert_array_equal(stored, values)


def test_the_denoised_values_are_not_modified() -> None:
    values = np.full((2, 2), 0.3, np.float32)
    DecodedImage(np.zeros((2, 2), np.uint8)).with_denoised(values)
    assert np.all(values == np.float32(0.3))


def test_float_pictures_keep_their_units() -> None:
    picture = DecodedImage(np.zeros((1, 2), np.float32))
    assert picture.with_denoised(np.array([[-3.5, 900.0]], np.float32)).intensities.tolist() == [
        [-3.5, 900.0]
    ]


def test_hidden_pixels_take_the_nearest_visible_intensity_and_return_as_stored() -> None:
    intensities = np.array([[10, 99, 98, 40]], np.uint8)
    picture = DecodedImage(intensities, np.array([[255, 0, 0, 1]], np.uint8))
    assert picture.noisy().tolist() == [[10, 10, 40, 40]]
    denoised = picture.with_denoised(np.full((1, 4), 20 / 255, np.float32))
    assert denoised.intensities.tolist() == [[20, 99, 98, 20]]
    assert intensities.tolist() == [[10, 99, 98, 40]]


def test_without_a_visible_pixel_nothing_is_filled() -> None:
    picture = DecodedImage(noise(3, 3, 3), np.zeros((3, 3), np.uint8))
    np.testing.assert_array_equal(picture.noisy(), picture.intensities)


def test_colours_under_full_transparency_never_reach_what_is_visible(make_image, command, tmp_path) -> None:
    values = noise(20, 20, 4)
    values[..., 3] = np.where(np.arange(20) < 10, 0, 255)
    other = values.copy()
    other[:, :10, :3] = 255 - other[:, :10, :3]
    make_image("a.png", values)
    make_image("b.png", other)
    assert command("run", "a.png", "b.png", "--mu", "5").exit_code == 0
    first, second = pixels(tmp_path / "a_denoised.png"), pixels(tmp_path / "b_denoised.png")
    np.testing.assert_array_equal(first[:, 10:], second[:, 10:])
    np.testing.assert_array_equal(first[..., 3], values[..., 3])
    np.testing.assert_array_equal(first[:, :10], values[:, :10])
    assert np.any(first[:, 10:] != values[:, 10:])


def _nearest_with_sum(values: np.ndarray, total: int, largest: int) -> int:
    """The least squared distance of three integers with a sum from three values, by trying all near them."""
    near = [range(int(max(0, value - 3)), int(min(largest, value + 3)) + 1) for value in values]
    return min(
        float(np.square(np.array([red, green, total - red - green]) - values).sum())
        for red in near[0]
        for green in near[1]
        if 0 <= total - red - green <= largest
    )


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535), (np.int16, 32767)])
def test_the_sum_of_the_channels_is_kept_at_every_pixel_by_the_nearest_integers(dtype, largest) -> None:
    rng = np.random.default_rng(0)
    original = rng.integers(20, largest - 20, (700, 300, 3)).astype(dtype)
    chroma = rng.normal(0, 4, original.shape)
    exact = original + chroma - chroma.mean(axis=-1, keepdims=True)
    denoised = (exact / largest).astype(np.float32)
    stored, leaves = stored_with_sums(denoised, original)
    assert stored.dtype == dtype
    np.testing.assert_array_equal(stored.sum(axis=-1, dtype=int), original.sum(axis=-1, dtype=int))
    assert np.abs(stored - exact).max() < 1.05
    assert (
        np.rint(exact).sum(axis=-1) != original.sum(axis=-1, dtype=int)
    ).mean() > 0.1  # rounding alone fails
    inside = ((exact >= 0) & (exact <= largest)).all(axis=-1)
    assert not leaves[inside].any()
    for row, column in [*np.argwhere(inside)[:100]]:
        total = int(original[row, column].sum(dtype=int))
        distance = float(np.square(stored[row, column] - exact[row, column]).sum())
        assert distance <= _nearest_with_sum(exact[row, column], total, largest) + 0.05


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_where_a_channel_is_clipped_the_others_make_up_for_it(dtype) -> None:
    limits = np.iinfo(dtype)
    least, largest = float(limits.min), float(limits.max)
    steps = np.array([[-3.0, 0, 3], [4, -9, 5], [0.4, -0.2, -0.2], [-40, 20, 20], [9, 9, -18]])
    original = np.array([[limits.max - 1, limits.max - 9, limits.min + 2]] * 5).astype(dtype)
    original[4] = limits.max
    exact = original + steps[:, ::-1]
    stored, leaves = stored_with_sums((exact / largest)[np.newaxis].astype(np.float64), original[np.newaxis])
    np.testing.assert_array_equal(stored[0].sum(axis=-1, dtype=int), original.sum(axis=-1, dtype=int))
    out = ((exact < least - 0.5) | (exact > largest + 0.5)).any(axis=-1)
    assert leaves[0].tolist() == out.tolist()
    assert out.sum() >= 3
    assert stored[0, 4].tolist() == [limits.max] * 3


def test_an_image_whose_brightness_is_kept_counts_only_visible_clipped_pixels() -> None:
    values = np.full((2, 3, 3), 250, np.uint8)
    alpha = np.full((2, 3), 255, np.uint8)
    alpha[0, 0] = 0
    denoised = np.array([260, 245, 245]) / 255 * np.ones((2, 3, 1))
    result, count = DecodedImage(values, alpha).with_denoised_chroma(denoised)
    assert count == 5
    assert result.intensities[0, 0].tolist() == [250, 250, 250]
    assert result.intensities[1, 1].tolist() in ([255, 248, 247], [255, 247, 248])
    floats, none = DecodedImage(np.full((2, 3, 3), 0.5, np.float32)).with_denoised_chroma(denoised)
    assert none == 0
    np.testing.assert_array_equal(floats.intensities, denoised.astype(np.float32))
