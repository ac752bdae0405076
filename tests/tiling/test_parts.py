"""The parts of a solve in windows: sums over parts, partitions, weights, bands and the scratch file."""

import io
from itertools import product

import numpy as np
import pytest

from tvdenoise.model.objective import Objective
from tvdenoise.model.part_sums import squared_norm_of_part, value_of_part
from tvdenoise.model.penalties import PENALTIES
from tvdenoise.options import Options, specs
from tvdenoise.tiling.partition import (
    Budget,
    Partition,
    blending_weights,
    fading_weights,
    overlap_for,
    product_of,
)
from tvdenoise.tiling.passes import Scratch, put_weighted
from tvdenoise.tiling.source import bands, common, extended, lengths, size, within

TOTAL_VARIATIONS = specs(Options)["tv"].kind.names


def objective_on(
    shape, *, tv="isotropic", penalty="hyperbolic", axis_weights=None, epsilon=0.05, mu=3.0
) -> Objective:
    noisy = np.random.default_rng(1).random(shape).astype(np.float32)
    channel_weights = (1.0, 3.0, 3.0)[: shape[0]]
    return Objective(noisy, mu, PENALTIES[penalty](epsilon), tv, channel_weights, axis_weights)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("tv", TOTAL_VARIATIONS)
@pytest.mark.parametrize(
    ("shape", "axis_weights"),
    [((1, 70, 21), None), ((3, 70, 13), None), ((1, 6, 70, 9), (0.25, 1.0, 1.0)), ((3, 4, 9, 8), None)],
)
def test_the_values_of_the_parts_of_an_image_add_up_to_its_objective(shape, axis_weights, tv, penalty):
    objective = objective_on(shape, tv=tv, penalty=penalty, axis_weights=axis_weights)
    x = np.random.default_rng(2).random(shape).astype(np.float32)
    parts = Partition(shape[1:], tuple(min(3, length) for length in shape[1:]), (0,) * len(shape[1:]))
    total = 0.0
    for core in parts.cores():
        window = extended(core, (1,) * len(core), shape[1:])
        part = Objective(
            objective.noisy[:, *window], objective.mu, objective.penalty, tv, objective.channel_weights, axis_weights
        )  # fmt: skip
        total += value_of_part(part, x[:, *window], within(core, window))
    assert total == pytest.approx(objective.value(x), rel=1e-5)


def test_the_sum_of_squares_of_a_part_is_taken_in_double_precision():
    gradient = np.random.default_rng(2).standard_normal((3, 5, 200, 30)).astype(np.float32)
    part = (slice(1, 4), slice(3, 199), slice(2, 30))
    expected = float(np.sum(np.square(gradient[:, *part], dtype=np.float64)))
    found = {squared_norm_of_part(gradient, part, threads) for threads in (1, 2, 5)}
    assert len(found) == 1
    assert found.pop() == pytest.approx(expected, rel=1e-12)


SHAPES = [((400, 300), (64, 64)), ((1000, 50), (64, 64)), ((30, 100, 90), (8, 20, 20)), ((7, 9), (64, 64))]


@pytest.mark.parametrize(("shape", "overlap"), SHAPES)
def test_cores_partition_an_image_and_their_weights_add_up_to_one(shape, overlap):
    finest = tuple(max(length // margin, 1) for length, margin in zip(shape, overlap, strict=True))
    for parts in product(*(sorted({1, most}) for most in finest)):
        partition = Partition(shape, parts, overlap)
        assert sum(map(size, partition.cores())) == size(tuple(map(slice, [0] * len(shape), shape)))
        total = np.zeros(shape)
        reaches = tuple(margin // 2 for margin in overlap)
        for core in partition.cores():
            window = partition.window_of(core)
            assert np.all(np.array(lengths(window)) <= partition.largest)
            total[window] += product_of(blending_weights(core, window, reaches, shape))
        assert np.allclose(total, 1, atol=1e-6)
        assert sum(size(partition.window_of(core)) for core in partition.cores()) <= partition.pixels


@pytest.mark.parametrize("overlap", [0, 1, 7])
def test_overlapping_windows_of_an_image_are_joined_to_that_image(overlap):
    shape = (50, 61)
    x = np.random.default_rng(3).random((2, *shape)).astype(np.float32)
    partition = Partition(shape, (4, 3), (overlap, overlap))
    scratch = Scratch(io.BytesIO(bytes(4 * x.size)), 2, shape)
    for core in partition.cores():
        window = partition.window_of(core)
        put_weighted(
            scratch, window, x[:, *window], blending_weights(core, window, (overlap // 2,) * 2, shape)
        )
    assert np.allclose(scratch.read((slice(0, 50), slice(0, 61))), x, atol=1e-6)


def test_changes_fade_to_zero_at_held_ends_and_not_at_those_of_the_image():
    weights = fading_weights((slice(0, 60), slice(30, 90)), (20, 20), (200, 90))
    for weight, is_held in zip(weights, ((False, True), (True, False)), strict=True):
        ends = (weight[0], weight[-1])
        assert [end == 0 for end in ends] == list(is_held)
        assert (weight[25:35] == 1).all()
        assert np.abs(np.diff(weight)).max() < 0.1


def test_the_partition_of_least_work_has_full_rows_unless_bands_would_be_thin():
    budget = Budget(memory=10**9, channels=1, stored=2)
    wide = Partition.of_least_work((20_000, 20_000), (64, 64), budget.fits)
    assert wide.parts[1] == 1
    assert wide.pixels < 1.1 * 20_000**2
    thin = Partition.of_least_work((200_000, 200_000), (64, 64), budget.fits)
    assert thin.parts[1] > 1
    assert thin.pixels < 1.1 * 200_000**2
    blocks = Partition.of_least_work((500, 1000, 1000), (32, 32, 32), budget.fits)
    assert blocks.pixels < 1.5 * 500 * 1000**2
    slabs = Partition.of_least_work((500, 300, 300), (8, 32, 32), budget.fits)
    assert slabs.parts[1:] == (1, 1)
    assert Partition.of_least_work((1000, 1000), (64, 64), Budget(10**5, 1, 2).fits) is None


def test_overlaps_follow_the_condition_of_j_and_the_distance_of_planes():
    plenty = Budget(10**12, 1, 4)
    mu = 14.0

    def found(shape, epsilon, **options):
        objective = objective_on(shape, epsilon=epsilon, mu=mu, **options)
        return overlap_for(objective, shape[1:], plenty)

    assert found((1, 9, 9), 0.01) == (64, 64)
    assert found((3, 9, 9), 0.02) == (64, 64)
    condition = 1 + 8 / (mu * 1e-4)
    q = (np.sqrt(condition) - 1) / (np.sqrt(condition) + 1)
    overlap, _ = found((1, 9, 9), 1e-4)
    assert q**overlap <= 0.1 < q ** (overlap - 1)
    deep = found((1, 9, 9, 9), 1e-4, axis_weights=(0.25, 1.0, 1.0))
    assert deep[1] == deep[2] > 3.8 * deep[0] > 3 * 8


@pytest.mark.parametrize(
    ("shape", "chunk"), [((100, 30), (16, 30)), ((9, 40, 30), (1, 8, 30)), ((9, 4, 3), (4, 4, 3))]
)
def test_bands_cover_the_image_in_order_and_start_at_chunk_borders(shape, chunk):
    order = np.arange(np.prod(shape)).reshape(shape)
    for most in (1, 30, 700, 2500, 10**6):
        windows = bands(shape, most, chunk)
        assert np.array_equal(np.concatenate([order[window].ravel() for window in windows]), order.ravel())
        assert all(size(window) <= max(most, shape[-1]) for window in windows)
    if len(shape) == 2:
        assert [window[0].start for window in bands(shape, 700, chunk)] == list(range(0, 100, 16))


@pytest.mark.parametrize("shape", [(20, 30), (4, 12, 15)])
@pytest.mark.parametrize(("values", "whole"), [(1 << 18, 8000), (40, 8000), (40, 5)])
def test_the_scratch_file_holds_what_was_written(shape, values, whole, tmp_path, monkeypatch):
    monkeypatch.setattr("tvdenoise.tiling.passes._WORTH_A_CALL", whole)
    rng = np.random.default_rng(4)
    expected = np.zeros((3, *shape), np.float32)
    path = tmp_path / "scratch"
    with open(path, "w+b", buffering=0) as file:
        scratch = Scratch(file, 3, shape, values)
        assert path.stat().st_size == expected.nbytes
        for _ in range(30):
            ends = [np.sort(rng.choice(length + 1, 2, replace=False)) for length in shape]
            window = tuple(slice(int(a), int(b)) for a, b in ends)
            written = rng.random(expected[:, *window].shape).astype(np.float32)
            scratch.write(window, written)
            expected[:, *window] = written
        for window in bands(shape, 40):
            assert np.array_equal(scratch.read(window), expected[:, *window])
        inner = tuple(slice(1, length - 1) for length in shape)
        assert np.array_equal(scratch.read(inner), expected[:, *inner])
        file.truncate(8)
        with pytest.raises(OSError, match="ends early"):
            scratch.read(inner)


def test_common_is_the_intersection_of_two_windows():
    one, other = (slice(0, 5), slice(2, 9)), (slice(3, 8), slice(0, 4))
    assert common(one, other) == (slice(3, 5), slice(2, 4))
    assert common(one, (slice(5, 8), slice(0, 4))) is None
