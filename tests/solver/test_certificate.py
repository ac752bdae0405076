"""The certificate, compared with minimisers found by an independent method."""

import numpy as np
import pytest

from support.minimisers import independent_minimiser
from support.samples import clean, crop, rms, with_noise
from tvdenoise import Status, denoise
from tvdenoise.model.colour import chroma_weights, from_opponent, to_opponent
from tvdenoise.model.objective import Objective
from tvdenoise.model.penalties import PENALTIES
from tvdenoise.options import Options, specs
from tvdenoise.solver.stopping import Certificate

TOTAL_VARIATIONS = specs(Options)["tv"].kind.names

MU, EPSILON = 14.0, 0.01
#: Single precision cannot certify less than about 5e-4 for weighted chroma at this ε.
TOLERANCES = [(np.float64, (0.02, 0.002, 1e-5)), (np.float32, (0.02, 0.002, 6e-4))]


def _minimiser_of(noisy, *, colour, tv, penalty):
    if not colour:
        x, bound = independent_minimiser(Objective(noisy[np.newaxis], MU, PENALTIES[penalty](EPSILON), tv))
        return x[0], bound
    planes = to_opponent(np.moveaxis(noisy, -1, 0))
    x, bound = independent_minimiser(
        Objective(planes, MU, PENALTIES[penalty](EPSILON), tv, chroma_weights(3.0))
    )
    return np.moveaxis(from_opponent(x), 0, -1), bound


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("tv", TOTAL_VARIATIONS)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", ["camera", pytest.param("coffee", marks=pytest.mark.slow)])
def test_the_certificate_bounds_the_distance_to_the_minimiser(name, penalty, tv, colour):
    noisy = with_noise(crop(clean(name, colour=colour), 32), 25 / 255, seed=3)
    exact, own_bound = _minimiser_of(noisy, colour=colour, tv=tv, penalty=penalty)
    for dtype, tolerances in TOLERANCES:
        for tolerance in tolerances:
            solution = denoise(
                noisy.astype(dtype), MU, EPSILON, tolerance=tolerance, tv=tv, penalty=penalty,
                channel_axis=-1 if colour else None,
            )  # fmt: skip
            assert solution.converged
            assert rms(solution.image - exact) <= solution.distance_bound + own_bound
            assert solution.distance_bound <= tolerance


def test_the_certificate_holds_for_solves_that_are_cut_short():
    noisy = with_noise(crop(clean("camera")), 25 / 255, seed=3)
    exact, own_bound = _minimiser_of(noisy, colour=False, tv="isotropic", penalty="hyperbolic")
    for most in (1, 2, 5, 10):
        solution = denoise(noisy, MU, EPSILON, max_iterations=most)
        assert solution.status is Status.ITERATION_LIMIT
        assert not solution.converged
        assert solution.iterations == most
        assert solution.tolerance < rms(solution.image - exact) <= solution.distance_bound + own_bound


def test_a_tolerance_below_the_floor_of_single_precision_ends_at_the_floor():
    noisy = with_noise(clean("camera"), 25 / 255, seed=3)
    single = denoise(noisy.astype(np.float32), MU, EPSILON, tolerance=1e-9)
    assert single.status is Status.PRECISION
    assert not single.converged
    assert single.iterations < 200
    assert 1e-9 < single.distance_bound < 1e-4
    double = denoise(noisy, MU, EPSILON, tolerance=1e-9)
    assert double.converged
    assert rms(single.image - double.image) <= single.distance_bound + double.distance_bound


def test_the_two_engines_agree_within_the_sum_of_their_bounds():
    for colour in (False, True):
        noisy = with_noise(crop(clean("coffee", colour=colour)), 25 / 255, seed=4)
        for dtype in (np.float32, np.float64):
            axis = -1 if colour else None
            fused, sparse = (
                denoise(noisy.astype(dtype), MU, engine=engine, channel_axis=axis)
                for engine in ("fused", "sparse")
            )
            assert rms(fused.image - sparse.image) <= fused.distance_bound + sparse.distance_bound
            assert fused.mu == sparse.mu
            assert fused.epsilon == sparse.epsilon


def test_the_default_tolerance_is_three_hundredths_over_mu_and_at_least_the_floor():
    noisy = np.random.default_rng(1).random((1, 8, 8))
    for mu, epsilon in ((14.0, 0.01), (700.0, 2e-4), (14.0, 1e-9)):
        objective = Objective(noisy, mu, PENALTIES["hyperbolic"](epsilon))
        certificate = Certificate.of(objective, None, np.dtype(np.float32))
        floor = 8 * 2.0**-24 * noisy.max() * objective.lipschitz / mu
        assert certificate.tolerance == pytest.approx(max(0.03 / mu, floor))
