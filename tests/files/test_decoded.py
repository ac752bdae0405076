"""From denoised values back to stored ones, and colours that nobody sees."""

from __future__ import annotations

import numpy as np
import pytest
from tvdenoise.images.precision import precision_of

from support.values import noise, pixels
from tvdenoise.files.decoded import DecodedImage, stored


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


@pytest.mark.parametrize(("dtype", "least"), [(np.uint16, 0), (np.int16, -4095), (np.int32, -4095)])
def test_a_given_data_range_is_the_integer_of_one(dtype: type, least: int) -> None:
    fractions = np.array([[-1, 0, 0.5 / 4095, 1, 1.001]])
    expected = [[least, 0, 0, 4095, 4099]]
    assert stored(fractions, np.dtype(dtype), 4095).tolist() == expected
    picture = DecodedImage(np.zeros((1, 5), dtype))
    assert picture.with_denoised(fractions, 4095).intensities.tolist() == expected


def test_doubles_keep_their_precision_and_their_units() -> None:
    values = np.array([[1 + 2**-50, -1e300]])
    assert stored(values, np.dtype(np.float64), 4095).tolist() == values.tolist()


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
