"""Parameters chosen from an image read in bands equal those for the same image as an array."""

import numpy as np
import pytest

from support.samples import clean, volume, with_noise
from tvdenoise import denoise, estimate_noise
from tvdenoise.api import denoise_tiled
from tvdenoise.images.data import data_of
from tvdenoise.noise.blocks import BLOCKS
from tvdenoise.noise.estimation import PATCHES
from tvdenoise.noise.evidence import ArrayEvidence, noise_shown, unclipped_pixels
from tvdenoise.options import Options
from tvdenoise.parameters import sample, sample_indices, take_indices
from tvdenoise.tiling.plan import survey
from tvdenoise.tiling.source import ArraySource, Reader, tell_nobody

SIGMA = 20 / 255


def stored(noisy: np.ndarray, dtype: type) -> np.ndarray:
    if np.dtype(dtype).kind == "f":
        return noisy.astype(dtype)
    most = np.iinfo(dtype).max
    return (noisy.clip(0, 1) * most).round().astype(dtype)


def grey() -> np.ndarray:
    return with_noise(np.tile(clean("camera"), (2, 3))[:600, :900], SIGMA, 1)


def colour() -> np.ndarray:
    return with_noise(np.tile(clean("coffee", colour=True), (2, 2, 1)), SIGMA, 2)


def deep() -> np.ndarray:
    return with_noise(volume(30, 120, 130), SIGMA, 3)


KINDS = {
    "grey": (grey, False, {}),
    "small": (lambda: grey()[:50, :60], False, {}),
    "thin": (lambda: grey()[:20], False, {}),
    "very thin": (lambda: grey()[:, :1], False, {}),
    "colour": (colour, True, {"channel_axis": -1}),
    "colour, thin": (lambda: colour()[:30], True, {"channel_axis": -1}),
    "volume": (deep, False, {"spatial_axes": (0, 1, 2)}),
    "half empty volume": (
        lambda: deep() * (np.arange(len(deep())) % 2)[:, np.newaxis, np.newaxis],
        False,
        {"spatial_axes": (0, 1, 2)},
    ),
    "colour volume": (
        lambda: np.stack([deep()[:12]] * 3, axis=-1) * (1, 0.8, 0.6),
        True,
        {"channel_axis": -1, "spatial_axes": (0, 1, 2)},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("most_pixels", [10_000, 37 * 900, 10**7])
@pytest.mark.parametrize("kind", KINDS)
def test_one_pass_gathers_the_same_evidence_as_from_an_array(kind, most_pixels):
    make, has_channels, layout = KINDS[kind]
    image = stored(make(), np.uint16)
    axes = layout.get("spatial_axes")
    data = data_of(image, layout.get("channel_axis"), None, spatial_axes=axes, finds_clipped=True)
    planes = data.planes
    whole = ArrayEvidence.of(*noise_shown(data))
    reader = Reader.of(ArraySource(image, has_channels), Options())
    found = survey(reader, most_pixels, tell_nobody, needs_noise=True, needs_sample=True)

    assert found.extremes == (planes.min(), planes.max())
    assert found.span == float(np.ptp(planes))
    assert np.array_equal(found.sample[0], sample(planes))
    assert found.sample[1] is None
    unclipped = unclipped_pixels(data)
    assert (unclipped is None) == (found.sample[2] is None)
    if unclipped is not None:
        indices = sample_indices(planes.shape)
        assert np.array_equal(
            found.sample[2], unclipped if indices is None else take_indices(unclipped, indices)
        )
    assert found.noise.shape == whole.shape
    assert found.noise.equal_neighbours() == whole.equal_neighbours()
    sides = min(whole.shape[1:])
    for grid, least in ((PATCHES, 32), (BLOCKS, 16)):
        if sides >= least:
            every = slice(len(planes))
            assert np.array_equal(found.noise.windows(grid, every), whole.windows(grid, every))
    if sides < 32:
        assert np.array_equal(found.noise.planes(), whole.planes())


def test_equal_neighbours_are_counted_across_bands_and_planes():
    image = np.repeat(np.arange(40, dtype=np.uint8), 3)[:, np.newaxis] * np.ones((1, 50), np.uint8)
    image[:, ::2] += 100
    for values, layout in ((image, {}), (np.stack([image, image[::-1]]), {"spatial_axes": (0, 1, 2)})):
        planes = data_of(values, None, None, spatial_axes=layout.get("spatial_axes")).planes
        reader = Reader.of(ArraySource(values), Options())
        for most_pixels in (50, 200, 10**6):
            found = survey(reader, most_pixels, tell_nobody, needs_noise=True, needs_sample=False)
            assert found.noise.equal_neighbours() == ArrayEvidence.of(planes).equal_neighbours()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
@pytest.mark.parametrize("kind", ["grey", "colour", "volume"])
def test_the_parameters_equal_those_of_the_whole_image_to_the_last_bit(kind, dtype):
    make, has_channels, layout = KINDS[kind]
    image = stored(make(), dtype)
    whole = denoise(image, max_iterations=1, **layout)
    source = ArraySource(image, has_channels)
    with denoise_tiled(source, memory=60_000_000, max_iterations=1) as result:
        found = result.solution
    assert (found.mu, found.epsilon, found.tolerance) == (whole.mu, whole.epsilon, whole.tolerance)
    assert found.noise.kind is whole.noise.kind
    assert found.noise.sigma == whole.noise.sigma


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"sigma": 0.05},
        {"noise": "white", "strength": 1.5},
        {"epsilon": 0.02},
        {"data_range": 0.5, "chroma": 2.0},
        {"mu": 0.3},  # the tolerance follows from the span
        {"mu": 1e4},  # the tolerance follows from the precision
        {},
    ],
    ids=str,
)
def test_the_parameters_follow_the_options_as_for_a_whole_image(options):
    image = stored(colour()[:200, :210], np.float32)
    options = options or {"noise": estimate_noise(colour(), channel_axis=-1)}
    whole = denoise(image, channel_axis=-1, max_iterations=1, **options)
    with denoise_tiled(ArraySource(image, True), memory=60_000_000, max_iterations=1, **options) as result:
        found = result.solution
    assert (found.mu, found.epsilon, found.tolerance) == (whole.mu, whole.epsilon, whole.tolerance)
    assert found.distance_bound == pytest.approx(whole.distance_bound)


@pytest.mark.slow
def test_an_image_too_thin_for_a_noise_estimate_in_bands_is_refused_unless_its_level_is_given():
    image = np.random.default_rng(0).random((100_000, 8), np.float32)
    with (
        pytest.raises(ValueError, match="give sigma or mu"),
        denoise_tiled(ArraySource(image), memory=2_000_000),
    ):
        pass
    with denoise_tiled(ArraySource(image), memory=2_000_000, sigma=0.3, max_iterations=1) as result:
        assert result.windows > 1


def test_an_image_without_noise_comes_back_unchanged():
    image = np.full((100, 100), 77, np.uint8)
    with denoise_tiled(ArraySource(image), memory=10_000_000) as result:
        assert result.solution.converged
        assert np.allclose(result.read((slice(0, 100), slice(0, 100))), np.float32(77) / 255, atol=1e-6)
