"""`tvdenoise.compat` stands in for scikit-image: the same problem, weights, types and shapes."""

import numpy as np
import pytest

import tvdenoise
from tvdenoise.compat import denoise_tv

#: The names of scikit-image's parameters, in order.
PARAMETERS = ("image", "weight", "eps", "max_num_iter", "channel_axis")


def noisy_steps(*shape: int, seed: int = 0, sigma: float = 0.1) -> np.ndarray:
    """A step along every axis, with white noise."""
    clean = np.full(shape, 0.3)
    clean[tuple(slice(length // 2, None) for length in shape)] = 0.7
    return clean + sigma * np.random.default_rng(seed).standard_normal(shape)


def energy(x: np.ndarray, noisy: np.ndarray, weight: float) -> float:
    """What scikit-image minimises, with its Neumann boundary."""
    squared = np.zeros(x.shape)
    for axis in range(x.ndim):
        squared += np.square(np.diff(x, axis=axis, append=np.take(x, [-1], axis=axis)))
    return float(weight * np.sqrt(squared).sum() + np.square(x - noisy).sum() / 2)


def rms(difference: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(difference))))


def test_the_signature_is_that_of_scikit_image():
    theirs = pytest.importorskip("skimage.restoration").denoise_tv_chambolle
    import inspect

    ours, expected = inspect.signature(denoise_tv), inspect.signature(theirs)
    assert tuple(ours.parameters) == PARAMETERS
    for name, parameter in ours.parameters.items():
        assert parameter.kind is expected.parameters[name].kind
        assert parameter.default == expected.parameters[name].default


@pytest.mark.parametrize("weight", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("shape", [(60,), (40, 50), (12, 14, 16), (5, 6, 7, 8)], ids=len)
def test_the_weight_means_what_it_means_in_scikit_image(shape, weight):
    """Both converge to one image; with another weight they do not."""
    theirs = pytest.importorskip("skimage.restoration").denoise_tv_chambolle
    noisy = noisy_steps(*shape)
    exact = theirs(noisy, weight, eps=0, max_num_iter=5000)
    ours = denoise_tv(noisy, weight, eps=1e-7, max_num_iter=4000)
    moved = rms(denoise_tv(noisy, 1.1 * weight, eps=1e-7, max_num_iter=4000) - exact)
    assert rms(ours - exact) < 0.002 * rms(exact - noisy)
    assert rms(ours - exact) < 0.1 * moved


@pytest.mark.parametrize("shape", [(400,), (40, 50), (12, 14, 16)], ids=len)
def test_eps_bounds_the_energy_above_the_minimum_as_a_part_of_that_of_the_input(shape):
    noisy, weight = noisy_steps(*shape), 0.1
    least = energy(denoise_tv(noisy, weight, 1e-8, 20_000), noisy, weight)
    whole, before = energy(noisy, noisy, weight), np.inf
    for eps in (1e-2, 1e-4, 1e-6):
        excess = (energy(denoise_tv(noisy, weight, eps, 5000), noisy, weight) - least) / whole
        # The smoothing adds to what eps allows, and shrinks with it.
        assert excess < before
        assert excess < 3 * np.sqrt(eps) * 0.1
        before = excess


@pytest.mark.parametrize("channel_axis", [0, 1, 2, -1, -3])
def test_each_channel_is_denoised_by_itself(channel_axis):
    channels = [noisy_steps(20, 30, seed=seed) for seed in range(4)]
    result = denoise_tv(np.stack(channels, channel_axis), 0.1, channel_axis=channel_axis)
    for number, channel in enumerate(channels):
        np.testing.assert_array_equal(np.take(result, number, channel_axis), denoise_tv(channel, 0.1))


def test_the_channels_of_a_volume_are_volumes():
    channels = [noisy_steps(6, 10, 12, seed=seed) for seed in range(2)]
    result = denoise_tv(np.stack(channels, 1), 0.1, channel_axis=1)
    np.testing.assert_array_equal(result[:, 1], denoise_tv(channels[1], 0.1))


@pytest.mark.parametrize(
    ("dtype", "returned"),
    [("f2", "f4"), ("f4", "f4"), ("f8", "f8"), ("longdouble", "f8"), ("u1", "f8"), ("i2", "f8"), ("?", "f8")],
)
def test_types_are_those_of_scikit_image(dtype, returned):
    util = pytest.importorskip("skimage.util")
    values = noisy_steps(20, 30)
    scale = {"u": 255, "i": 30_000, "b": 1.6, "f": 1}[np.dtype(dtype).kind]
    image = (np.clip(values, 0, 1) * scale).astype(dtype)
    before = image.copy()
    result = denoise_tv(image, 0.1)
    assert result.dtype == returned
    np.testing.assert_array_equal(image, before)
    np.testing.assert_allclose(result, denoise_tv(util.img_as_float(image).astype(returned), 0.1), atol=1e-6)


def test_the_least_value_of_a_signed_type_becomes_minus_one():
    assert denoise_tv(np.full((4, 5), -128, "i1")).tolist() == [[-1.0] * 5] * 4


@pytest.mark.parametrize(("dtype", "offset"), [("u1", 0), ("f4", 1e3), ("f8", 0)])
def test_no_value_leaves_the_range_of_the_input(dtype, offset):
    image = (noisy_steps(30, 40, sigma=0.3).clip(0, 1) * 200 + offset).astype(dtype)
    scale = 255 if dtype == "u1" else 1
    result = denoise_tv(image, 30 / scale)
    assert result.min() >= image.min() / scale
    assert result.max() <= image.max() / scale


def test_a_large_offset_changes_nothing_but_the_rounding():
    image = noisy_steps(30, 40).astype("f4")
    moved = denoise_tv(image + np.float32(1000), 0.1)
    np.testing.assert_allclose(moved - 1000, denoise_tv(image, 0.1), atol=5e-4)


def test_an_image_repeated_along_further_axes_gives_the_same_image():
    image = noisy_steps(20, 30)
    repeated = denoise_tv(np.tile(image[..., None, None], (1, 1, 2, 2)), 0.1, 1e-6, 2000)
    np.testing.assert_allclose(repeated[:, :, 1, 0], denoise_tv(image, 0.1, 1e-6, 2000), atol=2e-3)


def test_the_number_of_evaluations_is_limited():
    noisy = noisy_steps(30, 40)
    few, more = (rms(denoise_tv(noisy, 0.1, 0, most) - denoise_tv(noisy, 0.1, 0, 3000)) for most in (5, 50))
    assert few > 3 * more > 0


@pytest.mark.parametrize("shape", [(1,), (1, 1), (7, 1), (3, 0, 2)])
def test_images_without_differences_come_back(shape):
    image = np.full(shape, 0.4)
    result = denoise_tv(image)
    np.testing.assert_array_equal(result, image)
    assert result is not image


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"weight": 0}, ValueError, "weight must be positive"),
        ({"eps": -1}, ValueError, "eps must be at least 0"),
        ({"max_num_iter": 0}, ValueError, "max_num_iter must be at least 1"),
        ({"channel_axis": 2}, ValueError, "axis 2 is out of bounds"),
        ({"image": np.array([1.0, np.nan])}, ValueError, "not finite"),
        ({"image": np.ones((2, 2), complex)}, TypeError, "real floating-point"),
        ({"image": np.ma.masked_less(np.ones((2, 2)), 2)}, TypeError, "fill the masked values"),
        ({"image": np.float64(1)}, ValueError, "at least one axis"),
        ({"image": np.ones(4), "channel_axis": 0}, ValueError, "beside channel_axis"),
    ],
    ids=str,
)
def test_what_cannot_be_denoised_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        denoise_tv(**({"image": noisy_steps(4, 5)} | arguments))


def test_the_module_is_found_in_the_package():
    assert tvdenoise.compat.denoise_tv is denoise_tv
