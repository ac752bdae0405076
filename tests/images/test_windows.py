"""Sums over windows, compared with scipy's."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from tvdenoise.images.windows import window_sums


@pytest.mark.parametrize("shape", [(30, 41), (3, 2), (1, 1), (4, 9, 12)], ids=str)
@pytest.mark.parametrize(("border", "mode"), [("edge", "nearest"), ("symmetric", "reflect")])
def test_sums_over_windows_are_scipy_s_means_times_their_size(shape, border, mode):
    values = np.random.default_rng(0).normal(0, 1, shape)
    for reach in (1, 4):
        expected = uniform_filter(values, 2 * reach + 1, mode=mode, axes=(-2, -1)) * (2 * reach + 1) ** 2
        np.testing.assert_allclose(
            window_sums(values, reach, border, np.float64), expected, rtol=0, atol=1e-12
        )
        marks = values > 0.5
        counts = window_sums(marks, reach, border, np.uint8)
        assert counts.dtype == np.uint8
        expected = uniform_filter(marks.astype(float), 2 * reach + 1, mode=mode, axes=(-2, -1))
        np.testing.assert_array_equal(counts, np.rint(expected * (2 * reach + 1) ** 2))
