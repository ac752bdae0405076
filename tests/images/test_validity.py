"""The ends of the range and the pixels near clipped areas, against their slow definitions."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from tvdenoise.images.validity import RangeEnds, near_levels


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 7), (1, 90, 1000), (3, 300, 301), (1, 3, 40, 30)])
def test_pixels_near_clipped_areas_are_those_of_a_mean_filter(shape):
    rng = np.random.default_rng(1)
    crowd = 0.8 * np.sin(np.arange(shape[-1]) / 9) ** 2
    planes = (rng.random(shape) < crowd).astype(np.float32)
    ignored = rng.random(shape[1:]) < 0.1
    size = (1,) * (planes.ndim - 3) + (9, 9)
    crowded = [uniform_filter(((plane == 1) & ~ignored).astype(float), size) > 0.3 for plane in planes]
    found = near_levels(planes, [(1.0,)] * len(planes), ignored)
    expected = 2 * np.sum(crowded, axis=0) >= len(planes)
    assert np.array_equal(np.zeros(shape[1:], bool) if found is None else found, expected)


@pytest.mark.parametrize("values", [2, 5, 200, 10**6])
def test_the_ends_of_the_range_are_counted_across_bands(values):
    plane = np.random.default_rng(values).integers(0, values, (400, 500)).astype(np.float32)
    plane[:200] += 3  # the least values come last
    ends = RangeEnds()
    ends.add(plane)
    levels, counts = np.unique(plane, return_counts=True)
    every = list(zip(levels.tolist(), counts.tolist(), strict=True))
    assert ends.lowest == every[:2]
    assert ends.highest == every[:-3:-1]
