"""Signals, and stacks of images: the array's axes beside those along which differences are taken."""

import numpy as np
import pytest

from tvdenoise import choose_parameters, denoise, estimate_noise

SIGMA = 0.1


def noisy_steps(*shape: int, seed: int = 0, sigma: float = SIGMA) -> np.ndarray:
    """A step along the last axis, with white noise."""
    clean = np.where(np.arange(shape[-1]) < shape[-1] // 2, 0.3, 0.7)
    return clean + sigma * np.random.default_rng(seed).standard_normal(shape)


def exact_signal(noisy: np.ndarray, mu: float) -> np.ndarray:
    """The minimiser of Σ|x_{i+1} − x_i| + μ/2 ‖x − f‖², by projected gradient steps on its dual."""
    p = np.zeros(noisy.size - 1)
    for _ in range(20_000):
        x = noisy + np.diff(p, prepend=0, append=0) / mu
        p = np.clip(p + mu / 4 * np.diff(x), -1, 1)
    return noisy + np.diff(p, prepend=0, append=0) / mu


def test_a_signal_comes_near_the_minimiser_of_its_total_variation():
    noisy = noisy_steps(80)
    solution = denoise(noisy, 10.0, 1e-4, tolerance=1e-4, max_iterations=50_000, spatial_axes=(0,))
    assert solution.image.shape == noisy.shape
    assert solution.converged
    assert np.sqrt(np.mean((solution.image - exact_signal(noisy, 10.0)) ** 2)) < 3e-4


def test_a_signal_is_an_image_with_one_row():
    noisy = noisy_steps(300).astype(np.float32)
    signal, row = denoise(noisy, spatial_axes=(-1,), trace=True), denoise(noisy[np.newaxis], trace=True)
    np.testing.assert_array_equal(signal.image, row.image[0])
    assert (signal.mu, signal.epsilon, signal.trace) == (row.mu, row.epsilon, row.trace)
    assert signal.sigma == pytest.approx(SIGMA, rel=0.25)


@pytest.mark.parametrize("channel_axis", [0, 1])
def test_the_channels_of_a_signal_are_coupled(channel_axis):
    noisy = np.stack([noisy_steps(200, seed=seed) for seed in range(2)], channel_axis)
    solution = denoise(noisy, 14.0, spatial_axes=(1 - channel_axis,), channel_axis=channel_axis)
    assert solution.image.shape == noisy.shape
    rows = denoise(np.moveaxis(noisy, channel_axis, 0)[:, np.newaxis], 14.0, channel_axis=0)
    np.testing.assert_array_equal(np.moveaxis(solution.image, channel_axis, 0), rows.image[:, 0])


def test_the_mask_and_the_weights_of_a_signal_have_its_shape():
    noisy = noisy_steps(100)
    mask, weights = np.arange(100) >= 30, np.linspace(0.5, 2, 100)
    solution = denoise(noisy, 14.0, spatial_axes=(0,), mask=mask, weights=weights, spacing=(3.0,))
    assert np.array_equal(solution.image[:30], noisy[:30])
    row = denoise(noisy[np.newaxis], 14.0, mask=mask[np.newaxis], weights=weights[np.newaxis])
    np.testing.assert_array_equal(solution.image, row.image[0])


#: The shape of a stack, and the axes of its images.
STACKS = {
    "images": ((4, 40, 50), {"spatial_axes": (1, 2)}),
    "images in the last axis": ((40, 50, 3), {"spatial_axes": (0, 1)}),
    "images along two axes": ((2, 3, 40, 50), {"spatial_axes": (-2, -1)}),
    "colour": ((3, 40, 50, 3), {"spatial_axes": (1, 2), "channel_axis": -1}),
    "colour, channels before": ((3, 2, 40, 50), {"spatial_axes": (2, 3), "channel_axis": 0}),
    "volumes": ((2, 6, 20, 30), {"spatial_axes": (1, 2, 3), "spacing": (3.0, 1.0, 1.0)}),
    "signals": ((5, 200), {"spatial_axes": (1,)}),
}


@pytest.mark.parametrize("name", STACKS)
def test_each_image_of_a_stack_is_denoised_by_itself(name):
    shape, layout = STACKS[name]
    noisy = np.random.default_rng(1).normal(0.5, SIGMA, shape)
    axes = [axis % len(shape) for axis in layout["spatial_axes"]]
    channel = layout.get("channel_axis")
    channel = None if channel is None else channel % len(shape)
    stacked = [axis for axis in range(len(shape)) if axis not in axes and axis != channel]
    mask = np.random.default_rng(2).random([n for axis, n in enumerate(shape) if axis != channel]) > 0.2
    whole = denoise(noisy, 14.0, mask=mask, **layout)
    assert whole.image.shape == shape
    images = [np.moveaxis(array, stacked, range(len(stacked))) for array in (noisy, whole.image)]
    masks = mask if channel is None else np.expand_dims(mask, channel)
    masks = np.moveaxis(masks, stacked, range(len(stacked)))
    singles = []
    for place in np.ndindex(*(shape[axis] for axis in stacked)):
        left = sorted({*axes, *({channel} - {None})})
        own = {"spatial_axes": [left.index(axis) for axis in axes], "spacing": layout.get("spacing")}
        own_mask = masks[place]
        if channel is not None:
            own["channel_axis"] = left.index(channel)
            own_mask = np.squeeze(own_mask, own["channel_axis"])
        single = denoise(images[0][place], 14.0, mask=own_mask, **own)
        np.testing.assert_array_equal(images[1][place], single.image)
        singles.append(single)
    assert whole.distance_bound == max(single.distance_bound for single in singles)
    assert whole.iterations == sum(single.iterations for single in singles)
    assert whole.value == pytest.approx(sum(single.value for single in singles))


def test_the_images_of_a_stack_share_the_parameters_of_their_median():
    levels = (0.05, 0.1, 0.2)
    noisy = np.stack([noisy_steps(64, 64, seed=k, sigma=sigma) for k, sigma in enumerate(levels)])
    chosen = choose_parameters(noisy, spatial_axes=(1, 2))
    middle = choose_parameters(noisy[1])
    assert (chosen.mu, chosen.epsilon) == (middle.mu, middle.epsilon)
    solution = denoise(noisy, spatial_axes=(1, 2))
    assert (solution.mu, solution.epsilon, solution.sigma) == (middle.mu, middle.epsilon, middle.noise.sigma)
    own = denoise(noisy[0], middle.mu, middle.epsilon)
    np.testing.assert_array_equal(solution.image[0], own.image)
    gentler = denoise(noisy, spatial_axes=(1, 2), strength=2)
    assert gentler.mu == pytest.approx(middle.mu / 2)


def test_pixels_without_data_are_those_of_each_image():
    noisy = noisy_steps(4, 40, 50)
    gone = np.random.default_rng(6).random(noisy.shape) < 0.1
    wild = np.where(gone, -99.0, noisy)
    masked = denoise(np.ma.array(wild, mask=gone), spatial_axes=(1, 2))
    assert np.array_equal(masked.image.mask, gone)
    assert np.array_equal(masked.image.data[gone], wild[gone])
    named = denoise(wild, spatial_axes=(1, 2), nodata=-99.0)
    assert not np.ma.isMaskedArray(named.image)
    np.testing.assert_array_equal(named.image, masked.image.data)
    assert (named.mu, named.absent) == (masked.mu, gone.sum())
    lost = denoise(np.where(gone, np.nan, noisy), spatial_axes=(1, 2), nan="keep")
    np.testing.assert_array_equal(lost.image[~gone], named.image[~gone])
    single = denoise(np.ma.array(wild[2], mask=gone[2]), masked.mu, masked.epsilon)
    np.testing.assert_array_equal(masked.image.data[2], single.image.data)
    assert choose_parameters(np.ma.array(wild, mask=gone), spatial_axes=(1, 2)).mu == masked.mu
    noise = [
        estimate_noise(each, spatial_axes=(1, 2), nodata=-99.0)
        for each in (wild, np.ma.array(wild, mask=gone))
    ]
    assert noise[0].sigma == noise[1].sigma == pytest.approx(SIGMA, rel=0.1)


def test_the_masked_values_of_a_signal_stay_masked():
    noisy, gone = noisy_steps(200), np.zeros(200, bool)
    gone[40:50] = True
    solution = denoise(np.ma.array(noisy, mask=gone), 14.0, spatial_axes=(0,))
    assert np.array_equal(solution.image.mask, gone)
    assert np.array_equal(solution.image.data[gone], noisy[gone])
    assert solution.absent == 10


def test_images_without_noise_do_not_count_for_the_parameters():
    noisy = noisy_steps(5, 64, 64)
    noisy[:3] = 0.5
    assert choose_parameters(noisy, spatial_axes=(1, 2)).noise.sigma == pytest.approx(SIGMA, rel=0.15)


def test_the_progress_of_a_stack_rises_from_image_to_image():
    seen = []
    denoise(noisy_steps(3, 30, 40), 14.0, spatial_axes=(1, 2), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[0] < 1 / 3
    assert seen[-1] == pytest.approx(1)


def test_the_worst_image_decides_how_a_stack_ended():
    noisy = noisy_steps(2, 30, 40)
    noisy[0] = 0.5  # converged at the start
    assert not denoise(noisy, 14.0, spatial_axes=(1, 2), max_iterations=3).converged


def test_the_noise_of_a_stack_is_that_within_its_images():
    noisy = np.stack([noisy_steps(64, 64, seed=seed) for seed in range(4)], -1)
    noisy += np.arange(4)  # differs more between images than within them
    assert estimate_noise(noisy, spatial_axes=(0, 1)).sigma == pytest.approx(SIGMA, rel=0.1)
    where = np.ones(noisy.shape, bool)
    where[:32] = False
    noisy[:32] += np.random.default_rng(3).normal(0, 1, (32, 64, 4))
    assert estimate_noise(noisy, spatial_axes=(0, 1), where=where).sigma == pytest.approx(SIGMA, rel=0.2)
    assert estimate_noise(noisy_steps(4000), spatial_axes=(0,)).sigma == pytest.approx(SIGMA, rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spatial_axes": ()}, "one, two or three axes, not 0"),
        ({"spatial_axes": (0, 1, 2, 3)}, "one, two or three axes, not 4"),
        ({"spatial_axes": (1, 1)}, "different axes"),
        ({"spatial_axes": (1, 3)}, "different axes"),
        ({"spatial_axes": (1, 2), "channel_axis": 2}, "different axes"),
        ({"spatial_axes": (1, 2), "spacing": (1,)}, "spacing must have 2 numbers"),
        ({"spatial_axes": (2,), "spacing": (0,)}, "spacing must be positive"),
        ({"spatial_axes": (1, 2), "mask": np.ones((5, 6), bool)}, r"mask must have the shape \(4, 5, 6\)"),
        ({"spatial_axes": (1, 2), "weights": np.ones((4, 5))}, r"weights must have the shape \(4, 5, 6\)"),
        ({"spatial_axes": (1, 2), "trace": True}, "trace=True needs a single image"),
    ],
    ids=str,
)
def test_axes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        denoise(np.zeros((4, 5, 6)), 14.0, **options)


def test_what_has_no_pixels_or_no_single_noise_is_refused():
    with pytest.raises(ValueError, match="no pixels"):
        denoise(np.zeros((0, 5, 6)), 14.0, spatial_axes=(1, 2))
    with pytest.raises(ValueError, match="stack of signals or of volumes"):
        estimate_noise(np.zeros((3, 5)), spatial_axes=(1,))
