"""Images too large for memory: the certificate of the whole, compared with the definition and with exact solves."""

from __future__ import annotations

import gc
import os
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from support.samples import clean, rms, volume, with_noise
from tvdenoise import Status, denoise
from tvdenoise.api import denoise_tiled
from tvdenoise.images.data import Layout, data_of
from tvdenoise.model.engines import FusedEngine
from tvdenoise.model.kernels import KernelForm, sweep_for
from tvdenoise.model.objective import Objective
from tvdenoise.model.penalties import Hyperbolic
from tvdenoise.options import Options
from tvdenoise.parameters import method_of
from tvdenoise.solver import compiled
from tvdenoise.solver.stopping import Certificate
from tvdenoise.tiling.partition import Partition, memory_needed
from tvdenoise.tiling.passes import Windows
from tvdenoise.tiling.refining import Audit
from tvdenoise.tiling.source import ArraySource, Stage, bands

pytestmark = pytest.mark.slow

MU = 14.0
SIGMA = 25 / 255


def large(name: str, shape: tuple[int, int], *, colour: bool = False) -> np.ndarray:
    """Return a clean sample, extended by mirroring."""
    image = clean(name, colour=colour)
    reach = [(0, max(length - own, 0)) for length, own in zip(shape, image.shape, strict=False)]
    mirrored = np.pad(image, reach + [(0, 0)] * colour, mode="symmetric")
    return mirrored[: shape[0], : shape[1]]


def noisy(name: str = "camera", shape: tuple[int, int] = (600, 700), *, colour: bool = False) -> np.ndarray:
    return with_noise(large(name, shape, colour=colour), SIGMA, seed=1).astype(np.float32)


def everything(array: np.ndarray, axes: int = 2) -> tuple[slice, ...]:
    return tuple(slice(0, length) for length in array.shape[:axes])


def borders(length: int, parts: int) -> list[int]:
    return [length * k // parts for k in range(parts + 1)]


def near_joins(gradient: np.ndarray, parts: tuple[int, ...]) -> list[float]:
    """Return the rms of a gradient (channels, ...) within 8 pixels of each face between two parts."""
    along = [list(pairwise(borders(n, k))) for n, k in zip(gradient.shape[1:], parts, strict=True)]
    found = []
    for at in np.ndindex(*parts):
        core = [slice(*ends[k]) for ends, k in zip(along, at, strict=True)]
        for axis, part in enumerate(core):
            if part.start > 0:
                near = slice(max(part.start - 8, 0), part.start + 8)
                found.append(rms(gradient[:, *core[:axis], near, *core[axis + 1 :]]))
    return found


CASES = {
    "bands": (noisy(shape=(1100, 300)), {"memory": 1_250_000}, {}),
    "tiles": (noisy(), {"memory": 1_600_000}, {}),
    "16 bits": ((noisy() * 65535).clip(0, 65535).astype(np.uint16), {"memory": 1_600_000}, {}),
    "colour": (
        noisy("coffee", (700, 520), colour=True),
        {"memory": 5_000_000, "overlap": 48},
        {"channel_axis": -1},
    ),
    "volume": (
        with_noise(volume(30, 150, 140), SIGMA, seed=2).astype(np.float32),
        {"memory": 3_000_000, "spacing": (4, 1, 1)},
        {"spatial_axes": (0, 1, 2), "spacing": (4, 1, 1)},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_whole_is_certified_and_equals_the_untiled_solution_within_both_bounds(name):
    image, options, alike = CASES[name]
    is_colour, axes = "channel_axis" in alike, 3 if "spacing" in alike else 2
    with denoise_tiled(ArraySource(image, is_colour), MU, **options) as result:
        solution = result.solution
        denoised = result.read(everything(image, axes))
        composite = result.scratch.read(everything(image, axes))
    untiled = denoise(image, MU, **alike)
    exact = denoise(
        image.astype(np.float64) / (65535 if image.dtype == np.uint16 else 1), MU, tolerance=2e-5, **alike
    )

    assert result.windows >= 6
    assert name != "bands" or result.parts[-1] == 1
    assert name != "tiles" or min(result.parts) > 1
    assert solution.status is Status.CONVERGED
    assert (solution.epsilon, solution.tolerance) == (untiled.epsilon, untiled.tolerance)
    assert solution.distance_bound <= solution.tolerance
    assert denoised.dtype == np.float32
    assert rms(denoised - untiled.image) <= solution.distance_bound + untiled.distance_bound
    assert rms(denoised - exact.image) <= solution.distance_bound + exact.distance_bound

    objective, layout = objective_of(image, solution, alike)
    gradient = objective.gradient(composite)
    rounding = Certificate.of(objective, 1.0, np.dtype(np.float32), returned=layout.rounding).rounding
    assert solution.distance_bound == pytest.approx(rms(gradient) / MU + rounding * layout.scale, rel=1e-3)
    assert solution.value == pytest.approx(objective.value(composite) * layout.scale, rel=1e-5)
    assert result.seam == pytest.approx(max(near_joins(gradient, result.parts)), rel=1e-3)
    assert result.seam <= MU * solution.tolerance


def objective_of(image: np.ndarray, solution, alike: dict) -> tuple[Objective, Layout]:
    """Return J for a whole image in the units of its layout, by the definition, and the layout."""
    data = data_of(
        image,
        alike.get("channel_axis"),
        None,
        spatial_axes=alike.get("spatial_axes"),
        spacing=alike.get("spacing"),
    )
    method = method_of(Options(mu=MU), len(data.planes), data.axis_weights)
    penalty, mu = Hyperbolic(solution.epsilon / data.layout.scale), MU * data.layout.scale
    objective = Objective(data.planes, mu, penalty, "isotropic", method.channel_weights, data.axis_weights)
    return objective, data.layout


def test_the_number_of_threads_changes_nothing():
    image, options, _ = CASES["tiles"]
    found = []
    for threads in (1, 2, 3):
        with denoise_tiled(ArraySource(image), MU, threads=threads, **options) as result:
            solution = result.solution
            found.append((result.read(everything(image)).tobytes(), solution.value, solution.distance_bound))
    assert found[0] == found[1] == found[2]


def a_seam(windows: Windows, partition: Partition) -> None:
    """Raise the composite by two grey levels after one face between two tiles, fading with the distance."""
    face = next(face for face in partition.faces() if face.axis == 0)
    rows, columns = face.core
    window = (slice(rows.start, rows.start + 100), columns)
    down, across = (np.arange(part.stop - part.start) for part in window)
    fading = np.outer((1 + np.cos(np.pi * down / 100)) / 2, np.sin(np.pi * across / across.size) ** 0.5)
    step = (2 / 255 / windows.reader.layout.scale * fading).astype(np.float32)
    windows.scratch.write(window, windows.scratch.read(window) + step)


def grain(windows: Windows, partition: Partition) -> None:
    """Add noise to the composite."""
    for seed, window in enumerate(bands(partition.shape, 10_000)):
        spoilt = with_noise(windows.scratch.read(window), 0.005, seed).astype(np.float32)
        windows.scratch.write(window, spoilt)


@pytest.fixture
def spoilt(monkeypatch):
    """Return a function that makes solves spoil the composite after the first pass."""

    def by(spoil) -> None:
        solve_each = Windows.solve_each

        def solve_and_spoil(self, partition, *arguments):
            solve_each(self, partition, *arguments)
            spoil(self, partition)

        monkeypatch.setattr(Windows, "solve_each", solve_and_spoil)

    return by


def test_a_step_of_two_grey_levels_at_a_face_is_refused_although_the_whole_is_certified(spoilt, monkeypatch):
    spoilt(a_seam)
    monkeypatch.setattr("tvdenoise.tiling.refining._MOST_PASSES", 1)
    with denoise_tiled(ArraySource(noisy()), MU, memory=1_600_000) as result:
        assert result.solution.distance_bound <= result.solution.tolerance
        assert result.seam > 3 * MU * result.solution.tolerance
        assert result.solution.status is Status.ITERATION_LIMIT


@pytest.mark.parametrize("spoil", [a_seam, grain])
def test_further_passes_repair_a_spoilt_composite_and_never_raise_j(spoilt, spoil, monkeypatch):
    spoilt(spoil)
    values = []
    monkeypatch.setattr(Audit, "renew", recorded(Audit.renew, values))
    image = noisy()
    with denoise_tiled(ArraySource(image), MU, memory=1_600_000) as result:
        denoised = result.read(everything(image))
        assert result.solution.status is Status.CONVERGED
        assert result.seam <= MU * result.solution.tolerance
        assert result.passes == len(values) > 1
    assert all(after < before for before, after in pairwise(values))
    exact = denoise(image.astype(np.float64), MU, tolerance=2e-5)
    assert rms(denoised - exact.image) <= result.solution.distance_bound + exact.distance_bound


def recorded(renew, values: list[float]):
    """Wrap the audit to record J after each pass."""

    def renew_and_record(self, tell):
        evaluated = renew(self, tell)
        values.append(self.whole.value)
        return evaluated

    return renew_and_record


@pytest.mark.parametrize("tv", ["isotropic", "anisotropic"])
def test_further_passes_make_up_for_overlaps_too_narrow_for_a_small_epsilon(tv):
    image = noisy()
    options = {"epsilon": SIGMA / 100, "tv": tv}
    with denoise_tiled(ArraySource(image), MU, memory=800_000, overlap=4, **options) as result:
        denoised = result.read(everything(image))
    untiled = denoise(image, MU, **options)
    assert result.passes > 1
    assert result.solution.status is Status.CONVERGED
    assert result.seam <= MU * result.solution.tolerance
    assert rms(denoised - untiled.image) <= result.solution.distance_bound + untiled.distance_bound


def test_faces_are_repaired_when_the_whole_is_at_the_limit_of_the_precision():
    sigma = 0.5 / 255
    image = with_noise(large("coffee", (800, 700), colour=True), sigma, seed=3).astype(np.float32)
    with denoise_tiled(ArraySource(image, True), 1.4 / sigma, memory=18_000_000) as result:
        assert result.passes > 1
        assert result.seam <= 1.4 / sigma * result.solution.tolerance
        assert result.solution.status is Status.CONVERGED


@pytest.mark.slow
def test_a_small_epsilon_gets_overlaps_as_wide_as_memory_allows():
    image, overlaps = noisy(), []
    for memory in (4_000_000, 2_000_000):
        with denoise_tiled(ArraySource(image), MU, SIGMA / 1000, tolerance=4 / 255, memory=memory) as result:
            assert result.solution.status is Status.CONVERGED
            overlaps.append(result.overlap[0])
    assert overlaps[0] > overlaps[1] >= 64


def test_a_solve_that_cannot_reach_its_tolerance_says_so():
    image = noisy(shape=(400, 400))
    exact = denoise(image.astype(np.float64), MU, tolerance=2e-5)
    for options, status in (
        ({"tolerance": 1e-9}, Status.PRECISION),
        ({"tolerance": 0.0}, Status.PRECISION),
        ({"max_iterations": 3}, Status.ITERATION_LIMIT),
    ):
        with denoise_tiled(ArraySource(image), MU, memory=1_200_000, **options) as result:
            solution = result.solution
            assert solution.status is status
            assert solution.distance_bound > solution.tolerance
            distance = rms(result.read(everything(image)) - exact.image)
            assert distance <= solution.distance_bound + exact.distance_bound


def test_iterations_are_the_work_in_evaluations_of_the_whole(monkeypatch):
    evaluated = []
    monkeypatch.setattr(FusedEngine, "advance", counted(FusedEngine.advance, evaluated))
    monkeypatch.setattr(compiled, "_LARGEST", 0)  # so that every evaluation is such a step
    image = noisy()
    with denoise_tiled(ArraySource(image), MU, memory=800_000, overlap=2) as result:
        assert result.passes > 1
        assert result.solution.iterations == -(-sum(evaluated) // image.size)


def counted(advance, evaluated: list[int]):
    """Wrap a step to record how many pixels it evaluates."""

    def advance_and_count(self, step_length):
        evaluated.append(self.iterate.size)
        return advance(self, step_length)

    return advance_and_count


@pytest.mark.parametrize(
    ("image", "options", "spoil"),
    [
        (CASES["tiles"][0], CASES["tiles"][1], None),
        (CASES["16 bits"][0], CASES["bands"][1] | {"overlap": 4}, None),
        (CASES["16 bits"][0], CASES["bands"][1] | {"overlap": 16}, grain),
        (CASES["colour"][0], CASES["colour"][1], None),
        (CASES["volume"][0], CASES["volume"][1], None),
    ],
    ids=["tiles", "joins again", "all again", "colour", "volume"],
)
def test_arrays_stay_within_the_memory(image, options, spoil, spoilt):
    if spoil is not None:
        spoilt(spoil)
    is_colour = image.ndim == 3 and image.shape[-1] == 3
    source = ArraySource(image, is_colour)
    with denoise_tiled(source, MU, **options):  # compiles kernels if necessary
        pass
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    with denoise_tiled(source, MU, **options) as result:
        for _ in result.blocks():
            pass
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert 0.3 * options["memory"] < peak <= 1.05 * options["memory"]


def open_files() -> set[str]:
    return {
        os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if is_open(number)
    }


def is_open(number: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{number}")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted in /proc")
@pytest.mark.parametrize("stage", [None, Stage.READING, Stage.SOLVING, Stage.CERTIFYING, Stage.REPAIRING])
def test_no_scratch_file_is_left_however_a_solve_ends(tmp_path, stage):
    seen = []

    def tell(now, _part):
        seen.append(now)
        assert not list(tmp_path.iterdir())  # the file has no name
        if now is stage:
            raise KeyboardInterrupt

    run = denoise_tiled(
        ArraySource(noisy()), MU, memory=800_000, overlap=2, folder=os.fspath(tmp_path), tell=tell
    )
    if stage is None:
        with run:
            assert any(os.fspath(tmp_path) in name for name in open_files())
    else:
        with pytest.raises(KeyboardInterrupt), run:
            pass
        assert seen[-1] is stage
    gc.collect()
    assert not any(os.fspath(tmp_path) in name for name in open_files())


@pytest.mark.parametrize("is_colour", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_cannot_be_denoised_are_refused_as_for_whole_images(value, is_colour):
    image = noisy("coffee", (300, 300), colour=is_colour)
    image[[5, 250], 7] = value
    with pytest.raises(ValueError, match="not finite") as whole:
        denoise(image, MU, channel_axis=-1 if is_colour else None)
    run = denoise_tiled(ArraySource(image, is_colour), MU, memory=4_000_000)
    with pytest.raises(ValueError, match="not finite") as tiled, run:
        pass
    assert str(tiled.value) == str(whole.value)


def test_input_that_cannot_be_solved_in_windows_is_refused():
    image = noisy(shape=(300, 300))
    for source, options, error in (
        (image, {"memory": 100_000}, "need at least"),
        (image, {"memory": 0}, "memory must be at least 1"),
        (image, {"overlap": 0}, "overlap must be at least 1"),
        (image, {"tolerance": -1}, "tolerance"),
        (image[0], {}, "axes"),
        (image[:0], {}, "no pixels"),
    ):
        with (
            pytest.raises(ValueError, match=error),
            denoise_tiled(ArraySource(source), MU, **{"memory": 10**7} | options),
        ):
            pass


@pytest.mark.parametrize("is_volume", [False, True])
def test_the_reported_least_memory_is_enough_and_slightly_less_is_not(is_volume):
    image = volume(20, 60, 70).astype(np.float32) if is_volume else noisy()
    needed = memory_needed(image.shape, 1, image.dtype)
    with denoise_tiled(ArraySource(image), MU, memory=needed) as result:
        assert result.solution.converged
    with (
        pytest.raises(ValueError, match="need at least"),
        denoise_tiled(ArraySource(image), MU, memory=needed - 1),
    ):
        pass


def test_a_read_only_array_needs_no_kernels_of_its_own():
    image = noisy(shape=(300, 300))
    with denoise_tiled(ArraySource(image), MU, memory=2_000_000):
        known = len(sweep_for(KernelForm()).signatures)
    image.flags.writeable = False
    with denoise_tiled(ArraySource(image), MU, memory=2_000_000):
        assert len(sweep_for(KernelForm()).signatures) == known


def test_blocks_cover_the_image_in_order():
    image, options, _ = CASES["tiles"]
    with denoise_tiled(ArraySource(image), MU, **options) as result:
        whole = result.read(everything(image))
        for rows in (None, 16, 1000):
            windows, blocks = zip(*result.blocks(rows), strict=True)
            assert np.array_equal(np.concatenate(blocks), whole)
            assert all(window[1] == slice(0, 700) for window in windows)
            assert rows is None or {len(block) for block in blocks[:-1]} <= {rows}


def test_impulses_are_refused_in_parts():
    with (
        pytest.raises(ValueError, match="impulses"),
        denoise_tiled(ArraySource(noisy()), MU, memory=1_600_000, impulses="on"),
    ):
        pass
