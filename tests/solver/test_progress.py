"""The progress that a solve reports."""

from __future__ import annotations

import numpy as np
import pytest

from support.values import noise
from tvdenoise import denoise
from tvdenoise.solver.descent import Status


def solved(image, **options):
    parts: list[float] = []
    solution = denoise(image, 10.0, progress=parts.append, **options)
    return solution, parts


@pytest.mark.parametrize("engine", ["fused", "sparse"])
def test_progress_rises_to_one_with_the_evaluations(engine):
    solution, parts = solved(noise(40, 50), engine=engine)
    assert solution.status is Status.CONVERGED
    assert len(parts) == solution.iterations
    assert parts[0] == 0.0 < parts[1]
    assert parts == sorted(parts)
    assert parts[-1] == 1.0 > parts[-2]


def test_progress_is_linear_in_the_logarithm_of_the_bound():
    solution, parts = solved(noise(40, 50), step="fixed", trace=True)
    bounds = np.log([point.distance_bound for point in solution.trace])
    along = (bounds[0] - bounds) / (bounds[0] - np.log(solution.tolerance))
    assert np.allclose(parts, np.minimum(along, 1))


def test_filling_missing_pixels_reports_progress_too():
    image = noise(40, 50).astype(np.float32) / 255
    image[::7, ::5] = np.nan
    solution, parts = solved(image, nan="fill")
    assert solution.status is Status.FILLED
    assert parts == sorted(parts)
    assert parts[-1] == 1.0 > parts[-2] > 0.5


def test_progress_stays_below_one_if_the_tolerance_is_not_reached():
    solution, parts = solved(noise(40, 50), max_iterations=4)
    assert solution.status is Status.ITERATION_LIMIT
    assert 0 < parts[-1] < 1
    assert solved(np.zeros((4, 5)))[1] == [1.0]


def test_progress_reaches_one_at_the_limit_of_the_precision():
    solution, parts = solved(noise(40, 50), tolerance=0.0)
    assert solution.status is Status.PRECISION
    assert parts[-1] == 1.0 > parts[-2] > parts[1]


def test_progress_does_not_change_the_result():
    image = noise(40, 50)
    assert np.array_equal(solved(image)[0].image, denoise(image, 10.0).image)
