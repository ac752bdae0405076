"""The parts of the certificate: rounding, floor, and the stored result."""

from dataclasses import replace

import numpy as np
import pytest

from support.samples import clean, rms, with_noise
from tvdenoise import denoise
from tvdenoise.model.engines import Evaluation
from tvdenoise.model.objective import Objective
from tvdenoise.model.penalties import Hyperbolic
from tvdenoise.solver.descent import Status, states
from tvdenoise.solver.step_rules import FixedStep
from tvdenoise.solver.stopping import Certificate

SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


def _objective(mu=14.0, channels=1, largest=1.0):
    noisy = np.random.default_rng(1).random((channels, 9, 11))
    noisy[0, 0, 0] = largest
    return Objective(noisy, mu, Hyperbolic(0.01), "isotropic", (1.0, 3.0, 3.0)[:channels])


def test_the_bound_counts_every_unknown_of_every_channel():
    for channels in (1, 3):
        objective = _objective(channels=channels)
        expected = 10 / (14 * np.sqrt(channels * 9 * 11))
        assert objective.distance_bound(100.0) == pytest.approx(expected)


def test_rounding_grows_with_intensities_and_chroma_and_depends_on_the_stored_type():
    plain = Certificate.of(_objective(), None, SINGLE).rounding
    unit = 2.0**-24
    assert plain == pytest.approx(unit * (8 * 1.0 + 16 / 14))
    assert Certificate.of(_objective(largest=100.0), None, SINGLE).rounding == pytest.approx(
        unit * (800 + 16 / 14)
    )
    assert Certificate.of(_objective(channels=3), None, SINGLE).rounding == pytest.approx(
        unit * (8 + 3 * 16 / 14)
    )
    assert Certificate.of(_objective(), None, DOUBLE).rounding < 1e-8 * plain
    assert Certificate.of(_objective(), None, DOUBLE, stored=SINGLE).rounding == pytest.approx(unit * 8)


def test_the_reported_bound_includes_rounding():
    certificate = Certificate.of(_objective(), None, SINGLE)
    assert certificate.distance_bound(Evaluation(0.0, 0.0, 0.0)) == certificate.rounding
    assert not certificate.is_met(Evaluation(0.0, (certificate.tolerance * 14) ** 2 * 99, 0.0))


def test_the_bound_includes_the_error_of_summing_a_long_row():
    short, long = (Objective(np.full((1, 1, n), 0.5), 14.0, Hyperbolic(0.01)) for n in (4, 1 << 22))
    for objective, part in ((short, 2.0**-24), (long, 2.0**-24 * (1 << 22) / 4)):
        certificate = Certificate.of(objective, None, SINGLE)
        squared_norm = float(objective.noisy.size)
        expected = (1 + part) / 14 + certificate.rounding
        assert certificate.distance_bound(Evaluation(0.0, squared_norm, 0.0)) == pytest.approx(
            expected, rel=1e-9
        )


@pytest.mark.parametrize("engine", ["fused", "sparse"])
def test_a_large_mu_leaves_only_rounding_in_the_bound(engine):
    colour = with_noise(clean("coffee", colour=True)[:40, :50], 0.1, seed=1) * 50
    exact = denoise(colour, 1e9, channel_axis=-1, engine="sparse", tolerance=0).image
    solution = denoise(colour.astype(np.float32), 1e9, channel_axis=-1, engine=engine)
    assert 0 < rms(solution.image - exact) <= solution.distance_bound


def test_the_default_tolerance_is_at_most_a_part_of_the_span():
    objective = _objective(mu=1e-3)
    assert Certificate.of(objective, None, DOUBLE).tolerance == pytest.approx(0.03 * np.ptp(objective.noisy))


class ScriptedEngine:
    """Its evaluations have bounds of these multiples of a tolerance; sharpened, they are smaller by the gains."""

    def __init__(self, certificate, bounds, gains):
        scale = certificate.tolerance * certificate.objective.modulus
        self._norms = [certificate.objective.noisy.size * (scale * bound) ** 2 for bound in bounds]
        self._gains, self._place, self.sharpened_at = gains, -1, []

    def advance(self, _):
        self._place += 1
        return Evaluation(0.0, self._norms[self._place], 0.0)

    def sharpened(self, evaluation):
        self.sharpened_at.append(self._place)
        squared = evaluation.squared_gradient_norm / self._gains[self._place] ** 2
        return replace(evaluation, squared_dual_norm=squared)


@pytest.mark.parametrize(
    ("bounds", "gains", "sharpened_at"),
    [
        ((9, 4.1, 3.9, 2.3, 2.1, 1.9), (2, 2, 2, 2, 2, 2), [2, 4, 5]),
        ((9, 4.1, 3.9, 2.3, 2.1, 1.9), (2, 2, 2, 2.5, 2.5, 2.5), [2, 4]),
        ((9, 3.9, 3.0, 1.5, 1.05, 0.9), (1, 1, 1, 1, 1, 1), [1, 4]),
        ((9, 5, 3.9, 3.8), (5, 5, 5, 5), [2]),
    ],
)
def test_the_sharper_bound_is_taken_only_where_it_may_end_the_descent(bounds, gains, sharpened_at):
    """At most four times above the tolerance, and at most 1.1 times the last gain."""
    objective = _objective()
    certificate = Certificate.of(objective, 1e-3, DOUBLE)
    engine = ScriptedEngine(certificate, bounds, gains)
    *_, last = states(engine, FixedStep(objective), certificate, 99)
    assert engine.sharpened_at == sharpened_at
    assert last.status is Status.CONVERGED
    assert last.iterations == next(
        place
        for place, (bound, gain) in enumerate(zip(bounds, gains, strict=True), start=1)
        if bound <= 1 or (place - 1 in sharpened_at and bound <= gain)
    )
