"""Learned filters on images too large for memory, compared with the definition and with exact solves."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from support.banks import random_bank, random_gate, small_prior
from support.samples import clean, rms, with_noise
from tiling.test_tiling import everything, large, near_joins, recorded
from tvdenoise import Status, denoise
from tvdenoise.api import denoise_tiled
from tvdenoise.images.data import Layout, data_of
from tvdenoise.learning.weights import Terms, starting_weights
from tvdenoise.model.filters import FilterObjective, FilterPrior
from tvdenoise.model.prior_file import LearnedPrior
from tvdenoise.noise.model import NoiseKind
from tvdenoise.options import Options
from tvdenoise.parameters import most_values_for
from tvdenoise.solver.descent import Method
from tvdenoise.solver.stopping import Certificate
from tvdenoise.tiling.evaluation import evaluated
from tvdenoise.tiling.partition import Partition, memory_needed
from tvdenoise.tiling.passes import Windows, _free_inside
from tvdenoise.tiling.refining import Audit
from tvdenoise.tiling.source import ArraySource, extended, within

SIGMA = 25 / 255


@cache
def prior(channels: int = 1, *, hidden: int = 0) -> LearnedPrior:
    """Filters whose shares are so large that ρ is at its limit; hidden: of a gate, 0 for no gate."""
    terms = Terms(5, 0.9, coarse=4 * channels)
    weights = starting_weights(terms, 8 * channels, channels)
    bank = terms.bank(weights._replace(share=weights.share + 3, outer=weights.outer - 2))
    bank = replace(bank, gate=random_gate(8 * channels, hidden) if hidden else None)
    return LearnedPrior(bank, (5.0, 60.0), ("a.png",), 0, 0, name="hard.prior")


def noisy(shape: tuple[int, int], *, colour: bool = False) -> np.ndarray:
    image = clean("coffee", colour=True) if colour else clean("camera")
    return with_noise(image[: shape[0], : shape[1]], SIGMA, seed=1).astype(np.float32)


def scaled(image: np.ndarray, dtype: type) -> np.ndarray:
    most = np.iinfo(dtype).max
    return np.rint(image.clip(0, 1) * most).astype(dtype)


OVERLAP = 16
#: The image, the channels of the filters, the memory as a multiple of the least, and hidden values of a gate.
CASES = {
    "grey": (noisy((151, 97)), 1, 1),
    "8 bits": (scaled(noisy((90, 133)), np.uint8), 1, 1.5),
    "16 bits": (scaled(noisy((101, 64)), np.uint16), 1, 1),
    "double": (noisy((80, 90)).astype(np.float64), 1, 1),
    "colour": (noisy((100, 83), colour=True), 1, 1),
    "coupled": (noisy((90, 73), colour=True), 3, 1),
    "gated": (noisy((151, 97)), 1, 1, 4),
    "gated colour": (noisy((100, 83), colour=True), 3, 1, 3),
    "larger than the image": (noisy((40, 31)), 1, 10),
}


def memory_for(image: np.ndarray, times: float, prior: LearnedPrior, overlap: int = OVERLAP) -> int:
    """Return so many times the least memory."""
    channels = 3 if image.ndim == 3 else 1
    return int(memory_needed(image.shape[:2], channels, image.dtype, overlap, prior.bank) * times)


def tiled(image: np.ndarray, prior: LearnedPrior, memory: int, **options):
    given = {"level": SIGMA, "overlap": OVERLAP} | options
    return denoise_tiled(ArraySource(image, image.ndim == 3), memory=memory, prior=prior, **given)


@pytest.mark.parametrize("name", CASES)
def test_the_whole_is_certified_and_equals_the_untiled_solution_within_both_bounds(name):
    image, channels, times, *hidden = CASES[name]
    used = prior(channels, hidden=sum(hidden))
    with tiled(image, used, memory_for(image, times, used)) as result:
        solution = result.solution
        denoised = result.read(everything(image))
        composite = result.scratch.read(everything(image))
    alike = {"level": SIGMA, "prior": used, "channel_axis": -1 if image.ndim == 3 else None}
    untiled = denoise(image, **alike)
    most = 1 if image.dtype.kind == "f" else np.iinfo(image.dtype).max
    exact = denoise(image.astype(np.float64) / most, tolerance=1e-6, **alike)

    assert result.windows == 1 if times > 5 else result.windows > 1
    assert solution.status is Status.CONVERGED
    assert (solution.level, solution.tolerance) == (untiled.level, untiled.tolerance)
    assert (solution.mu, solution.epsilon) == (untiled.mu, untiled.epsilon)
    assert solution.distance_bound <= solution.tolerance
    assert denoised.dtype == untiled.image.dtype
    assert rms(denoised - untiled.image) <= solution.distance_bound + untiled.distance_bound
    assert rms(denoised - exact.image) <= solution.distance_bound + exact.distance_bound

    objective, layout = objective_of(image, used)
    gradient, modulus = objective.gradient(composite), objective.modulus
    rounding = Certificate.of(objective, 1.0, composite.dtype, returned=layout.rounding).rounding
    bound = (rms(gradient) / modulus + rounding) * layout.scale
    assert solution.distance_bound == pytest.approx(bound, rel=2e-3)
    assert solution.value == pytest.approx(objective.value(composite) * layout.scale**2, rel=1e-5)
    if result.windows > 1:
        assert result.seam == pytest.approx(max(near_joins(gradient, result.parts)), rel=1e-2)
    assert result.seam <= modulus * solution.tolerance / layout.scale


def objective_of(image: np.ndarray, prior: LearnedPrior) -> tuple[FilterObjective, Layout]:
    """Return J for a whole image in the units of its layout, by the definition, and the layout."""
    data = data_of(image, -1 if image.ndim == 3 else None, None)
    return FilterObjective(data.planes, FilterPrior(prior.bank, SIGMA / data.layout.scale)), data.layout


BANKS = [
    random_bank(5, 1, 7),
    random_bank(5, 1, 5, coarse=True),
    random_bank(4, 2, 3, coarse=True),
]


def in_windows(objective: FilterObjective, x: np.ndarray, margin: int) -> tuple[float, np.ndarray]:
    """Return J and ∇J, evaluated in windows with a margin."""
    shape = x.shape[1:]
    value, gradient = 0.0, np.zeros_like(x)
    for core in Partition(shape, (3, 2), (1, 1)).cores():
        window = extended(core, (margin, margin), shape)
        around = np.zeros_like(x[:, *window])  # the noisy image matters in the core alone
        around[:, *within(core, window)] = objective.noisy[:, *core]
        part = within(core, window)
        of_part, slopes = evaluated(FilterObjective(around, objective.prior), x[:, *window], part, 2)
        value += of_part
        gradient[:, *core] = slopes[:, *part]
    return value, gradient


@pytest.mark.parametrize("bank", BANKS)
def test_value_and_gradient_in_windows_equal_those_of_the_whole_image(bank):
    noisy, x = np.random.default_rng(0).random((2, bank.channels, 70, 61))
    objective = FilterObjective(noisy, FilterPrior(bank, 0.3))
    reach = Method(bank=bank).reach
    value, gradient = in_windows(objective, x, reach)
    assert value == pytest.approx(objective.value(x), rel=1e-12)
    assert np.allclose(gradient, objective.gradient(x), rtol=0, atol=1e-12)
    along = np.random.default_rng(1).standard_normal(x.shape)
    difference = (objective.value(x + 1e-6 * along) - objective.value(x - 1e-6 * along)) / 2e-6
    assert np.vdot(gradient, along) == pytest.approx(difference, rel=1e-6)
    _, less = in_windows(objective, x, reach - 1)
    assert not np.allclose(less, objective.gradient(x), rtol=0, atol=1e-9), "the reach must be tight"


def test_pixels_of_a_held_ring_keep_their_values_and_the_others_reach_the_minimum():
    used = prior()
    image = noisy((70, 60)).astype(np.float64)[np.newaxis]
    method = Method(Options(prior=used), (1.0,), None, used.bank)
    exact = method.minimise(image, 1 / SIGMA, 0.0, tolerance=1e-7).x
    shape, window = image.shape[1:], (slice(10, 58), slice(0, 40))
    inner = tuple(
        slice(part.start + method.reach * (part.start > 0), part.stop - method.reach * (part.stop < length))
        for part, length in zip(window, shape, strict=True)
    )
    spoilt = exact.copy()
    spoilt[:, *inner] = image[:, *inner]
    found = method.minimise(
        image[:, *window], 1 / SIGMA, 0.0, fidelity=_free_inside(window, shape, None, method.reach),
        tolerance=1e-7, start=spoilt[:, *window],
    )  # fmt: skip
    spoilt[:, *window] = found.x
    assert found.status is Status.CONVERGED
    held = np.ones(shape, bool)
    held[inner] = False
    assert np.array_equal(spoilt[:, held], exact[:, held])
    assert rms(spoilt - exact) <= 3e-7


def a_seam(windows: Windows, partition: Partition, height: float = 0.2) -> None:
    """Raise the composite by a part of the level after one face, fading with the distance."""
    face = next(face for face in partition.faces() if face.axis == 0)
    rows, columns = face.core
    count = min(30, rows.stop - rows.start)
    window = (slice(rows.start, rows.start + count), columns)
    fading = (1 + np.cos(np.pi * np.arange(count) / count)) / 2
    step = height / windows.form.mu * fading[:, np.newaxis]
    windows.scratch.write(window, windows.scratch.read(window) + step.astype(np.float32))


def grain(windows: Windows, partition: Partition) -> None:
    """Add noise to the composite."""
    every = tuple(slice(0, length) for length in partition.shape)
    spoilt = with_noise(windows.scratch.read(every), 0.05 / windows.form.mu, seed=4)
    windows.scratch.write(every, spoilt.astype(np.float32))


@pytest.mark.parametrize("spoil", [a_seam, grain])
@pytest.mark.parametrize("colour", [False, True])
def test_further_passes_repair_a_spoilt_composite_and_never_raise_j(spoil, colour, monkeypatch):
    solve_each, values = Windows.solve_each, []

    def solve_and_spoil(self, partition, *arguments):
        solve_each(self, partition, *arguments)
        spoil(self, partition)

    monkeypatch.setattr(Windows, "solve_each", solve_and_spoil)
    monkeypatch.setattr(Audit, "renew", recorded(Audit.renew, values))
    image, used = noisy((150, 80), colour=colour), prior()
    with tiled(image, used, memory_for(image, 1, used, 24), overlap=24) as result:
        denoised = result.read(everything(image))
    assert result.parts[0] > 1
    assert result.solution.status is Status.CONVERGED
    assert result.passes == len(values) > 1
    assert all(after < before for before, after in pairwise(values))
    axis = -1 if colour else None
    exact = denoise(image.astype(np.float64), level=SIGMA, prior=used, channel_axis=axis, tolerance=1e-6)
    assert rms(denoised - exact.image) <= result.solution.distance_bound + exact.distance_bound


def test_a_faint_step_at_a_face_is_refused_although_the_whole_is_certified(monkeypatch):
    solve_each = Windows.solve_each

    def solve_and_spoil(self, partition, *arguments):
        solve_each(self, partition, *arguments)
        a_seam(self, partition, height=0.009)

    monkeypatch.setattr(Windows, "solve_each", solve_and_spoil)
    monkeypatch.setattr("tvdenoise.tiling.refining._MOST_PASSES", 1)
    image, used = noisy((500, 100)), prior()
    with tiled(image, used, memory_for(image, 3, used)) as result:
        limit = (1 - used.bank.concavity) * result.solution.tolerance / result.reader.layout.scale
        assert result.solution.distance_bound <= result.solution.tolerance
        assert result.seam > 1.2 * limit
        assert result.solution.status is Status.ITERATION_LIMIT


def test_further_passes_make_up_for_overlaps_that_are_too_narrow():
    image, used = noisy((200, 150)), prior()
    memory = memory_for(image, 2, used, 2)
    with tiled(image, used, memory, overlap=2, tolerance=SIGMA / 100) as result:
        denoised = result.read(everything(image))
    assert result.passes > 1
    assert result.solution.status is Status.CONVERGED
    untiled = denoise(image, level=SIGMA, prior=used)
    assert rms(denoised - untiled.image) <= result.solution.distance_bound + untiled.distance_bound


@pytest.mark.parametrize(
    ("colour", "channels", "hidden", "overlap", "memory"),
    [(False, 1, 0, 32, 4e6), (False, 1, 4, 2, 6e6), (True, 1, 4, 32, 14e6), (True, 3, 4, 32, 12e6)],
)
def test_arrays_stay_within_the_memory(colour, channels, hidden, overlap, memory):
    used = small_prior(channels, hidden=hidden)
    image = with_noise(large("coffee", (700, 400), colour=colour), SIGMA, seed=1).astype(np.float32)
    options = {"overlap": overlap, "tolerance": SIGMA / 100}
    with tiled(image, used, int(memory), **options):  # compiles kernels, and transforms the filters
        pass
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    with tiled(image, used, int(memory), **options) as result:
        for _ in result.blocks():
            pass
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert result.windows > 2
    assert result.passes > 1 or overlap > 2
    assert 0.5 * memory < peak <= 1.05 * memory


def test_the_reported_least_memory_is_enough_and_slightly_less_is_not():
    image, used = noisy((200, 150)), prior()
    needed = memory_needed(image.shape, 1, image.dtype, bank=used.bank)
    with tiled(image, used, needed, overlap=None) as result:
        assert result.solution.converged
    with pytest.raises(ValueError, match="need at least"), tiled(image, used, needed - 1, overlap=None):
        pass


def test_the_number_of_threads_changes_nothing():
    image, channels, times, hidden = CASES["gated"]
    found = []
    for threads in (1, 2, 3):
        used = prior(channels, hidden=hidden)
        with tiled(image, used, memory_for(image, times, used), threads=threads) as result:
            solution = result.solution
            found.append((result.read(everything(image)).tobytes(), solution.value, solution.distance_bound))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("options", [{}, {"noise": "white", "strength": 1.5}, {"level": 0.07}], ids=str)
def test_the_level_equals_that_of_the_whole_image_to_the_last_bit(options, colour, dtype):
    image = noisy((300, 320), colour=colour)
    image = image if dtype is np.float32 else scaled(image, dtype)
    alike = {"prior": small_prior(), "max_iterations": 1} | options
    whole = denoise(image, channel_axis=-1 if colour else None, **alike)
    with denoise_tiled(ArraySource(image, colour), memory=60_000_000, **alike) as result:
        found = result.solution
    assert (found.level, found.mu, found.tolerance) == (whole.level, whole.mu, whole.tolerance)
    assert (found.noise is None) == (whole.noise is None)


def test_the_level_for_noise_that_grows_with_the_intensity_is_chosen_on_the_sample_of_a_whole_image():
    truth = large("camera", (330, 360))
    noise = np.random.default_rng(5).standard_normal(truth.shape)
    image = (truth + 0.2 * truth * noise).astype(np.float32)
    alike = {"prior": small_prior(), "max_iterations": 1}
    whole = denoise(image, **alike)
    with denoise_tiled(ArraySource(image), memory=60_000_000, **alike) as result:
        found = result.solution
    assert whole.noise.kind is not NoiseKind.WHITE
    assert image.size > 2 * most_values_for(Method(bank=small_prior().bank))
    assert found.level == whole.level


def test_only_what_needs_the_whole_image_is_refused():
    image, used = noisy((60, 50)), prior()
    with (
        pytest.raises(ValueError, match="and this is a volume"),
        denoise_tiled(ArraySource(np.stack([image] * 3)), memory=10**7, prior=used, level=SIGMA),
    ):
        pass
    declared = np.where(image < 0.1, 0.1, image)
    with tiled(declared, used, 10**7) as result:
        untouched = result.read(everything(image))
    with tiled(declared, used, 10**7, nodata=-1.0) as result:
        assert np.array_equal(result.read(everything(image)), untouched)
    declared[5, 7] = -1
    with (
        pytest.raises(ValueError, match="where pixels have no data"),
        tiled(declared, used, 10**7, nodata=-1.0),
    ):
        pass
    with pytest.raises(ValueError, match="impulses"), tiled(image, used, 10**7, impulses="on"):
        pass
