"""PSNR and SSIM, compared with their definitions and with scikit-image."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest

from support.samples import SAMPLES, clean, crop, with_noise
from support.values import noise, pixels
from tvdenoise.images.metrics import WINDOW, psnr, ssim

#: PSNR and SSIM of samples against their clean images, by scikit-image 0.26.
STORED = {
    "camera": (20.73666760493136, 0.28086949552944673),
    "coffee": (20.767411485124683, 0.3561015103867902),
}


def slow_ssim(reference, image, data_range):
    """Return SSIM window by window, as the paper of Wang and others (2004) defines it."""
    x, y = (np.atleast_3d(np.asarray(each, np.float64)) for each in (reference, image))
    reach = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(reach**2) / (2 * 1.5**2))
    weights = np.outer(weights, weights) / weights.sum() ** 2
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    found = []
    for row, column, channel in itertools.product(
        range(x.shape[0] - WINDOW + 1), range(x.shape[1] - WINDOW + 1), range(x.shape[2])
    ):
        here = np.s_[row : row + WINDOW, column : column + WINDOW, channel]
        mean_x, mean_y = (weights * x[here]).sum(), (weights * y[here]).sum()
        off_x, off_y = x[here] - mean_x, y[here] - mean_y
        variances = (weights * (off_x**2 + off_y**2)).sum()
        covariance = (weights * off_x * off_y).sum()
        found.append(
            (2 * mean_x * mean_y + c1)
            * (2 * covariance + c2)
            / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))
        )
    return float(np.mean(found))


def pairs():
    """Yield reference, image and data range: photographs and noise, of all types."""
    for colour in (False, True):
        sharp = crop(clean("coffee", colour=colour), 29)[:, :23]
        rough = with_noise(sharp, 0.1, 1).clip(0, 1)
        for dtype, white in ((np.uint8, 255), (np.uint16, 65535), (np.float32, 1.0), (np.float16, 1.0)):
            scaled = [each * white for each in (sharp, rough)]
            if dtype in (np.uint8, np.uint16):
                scaled = [each.round() for each in scaled]
            yield pytest.param(
                *(each.astype(dtype) for each in scaled), white, id=f"{dtype.__name__}-{colour}"
            )
    shades = 1000 + np.linspace(-1, 1, 17 * 15).reshape(17, 15)
    yield pytest.param(shades, shades[::-1], 4000.0, id="nearly-flat")


@pytest.mark.parametrize(("reference", "image", "data_range"), list(pairs()))
def test_ssim_equals_its_slow_definition(reference, image, data_range):
    assert ssim(reference, image, data_range) == pytest.approx(
        slow_ssim(reference, image, data_range), abs=1e-9
    )


@pytest.mark.slow
@pytest.mark.parametrize(("reference", "image", "data_range"), list(pairs()))
def test_psnr_and_ssim_equal_those_of_scikit_image(reference, image, data_range):
    metrics = pytest.importorskip("skimage.metrics")
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    first, second = reference.astype(np.float64), image.astype(np.float64)
    theirs = metrics.structural_similarity(
        first, second, data_range=data_range, channel_axis=-1 if first.ndim == 3 else None, **options
    )
    assert ssim(reference, image, data_range) == pytest.approx(theirs, abs=1e-6)
    theirs = metrics.peak_signal_noise_ratio(first, second, data_range=data_range)
    assert psnr(reference, image, data_range) == pytest.approx(theirs, abs=1e-6)


def test_psnr_and_ssim_of_samples_equal_stored_values_of_scikit_image():
    for name, expected in STORED.items():
        first, second = pixels(SAMPLES / "clean" / f"{name}_clean.png"), pixels(SAMPLES / f"{name}.png")
        assert (psnr(first, second, 255), ssim(first, second, 255)) == pytest.approx(expected, abs=1e-6)


def test_equal_images_have_infinite_psnr_and_ssim_1():
    image = noise(20, 21, 3)
    assert psnr(image, image, 255) == math.inf
    assert ssim(image, image, 255) == pytest.approx(1, abs=1e-12)


def test_integers_do_not_wrap_around():
    black, white = np.zeros((3, 3), np.uint8), np.full((3, 3), 255, np.uint8)
    assert psnr(black, white, 255) == psnr(white, black, 255) == pytest.approx(0)


def test_bands_do_not_change_the_result(monkeypatch):
    first, second = noise(61, 13, 3), noise(61, 13, 3, seed=1)
    whole = psnr(first, second, 255), ssim(first, second, 255)
    monkeypatch.setattr("tvdenoise.images.metrics._BAND", 4 * 13)
    assert (psnr(first, second, 255), ssim(first, second, 255)) == pytest.approx(whole, rel=1e-12)


def test_excluded_pixels_do_not_change_the_result():
    first, second = noise(40, 30), noise(40, 30, seed=1)
    where = np.ones((40, 30), bool)
    where[:17] = False
    expected = psnr(first[17:], second[17:], 255), ssim(first[17:], second[17:], 255)
    second[:17] = 0
    assert (psnr(first, second, 255, where), ssim(first, second, 255, where)) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(10, 40), (40, 10), (1, 1)])
def test_images_smaller_than_the_window_have_a_psnr_but_no_ssim(shape):
    first, second = noise(*shape), noise(*shape, seed=1)
    with pytest.raises(ValueError, match="SSIM takes 11 × 11 pixels at least"):
        ssim(first, second, 255)
    assert math.isfinite(psnr(first, second, 255))


def test_images_that_cannot_be_compared_are_an_error():
    image = noise(12, 12)
    for measure in (psnr, ssim):
        with pytest.raises(ValueError, match="cannot be compared"):
            measure(image, noise(12, 13), 255)
        with pytest.raises(ValueError, match=r"no .*compare"):
            measure(image, image, 255, np.zeros((12, 12), bool))
        with pytest.raises(ValueError, match="data_range must be positive"):
            measure(image, image, 0)


def test_memory_does_not_grow_with_the_image(monkeypatch):
    monkeypatch.setattr("tvdenoise.images.metrics._BAND", 1 << 13)
    first, second = noise(2000, 200, 3, dtype=np.float32), noise(2000, 200, 3, dtype=np.float32, seed=1)
    tracemalloc.start()
    psnr(first, second, 1.0)
    ssim(first, second, 1.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < first.nbytes / 2
