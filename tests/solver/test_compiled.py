"""The descent that is compiled as a whole reaches what the descent in Python reaches, bit for bit."""

import numpy as np
import pytest

from support.samples import clean, crop, with_noise
from tvdenoise import Status, denoise
from tvdenoise.model.engines import FusedEngine
from tvdenoise.solver import compiled
from tvdenoise.solver.descent import descend

IMAGE = with_noise(crop(clean("camera")), 25 / 255, seed=1).astype(np.float32)
COLOUR = np.stack([IMAGE, IMAGE[::-1], IMAGE.T], axis=-1)
LARGE = np.tile(IMAGE, (12, 12))[:513, :512]  # by a row too large for one thread
WEIGHTS = np.random.default_rng(2).uniform(0.2, 2, IMAGE.shape)
GAPS = np.where(np.random.default_rng(3).random(IMAGE.shape) < 0.1, np.nan, IMAGE)


@pytest.fixture
def in_python(monkeypatch):
    """Return a function that denoises without the compiled descent."""

    def denoised(*arguments, **keywords):
        with monkeypatch.context() as patch:
            patch.setattr(compiled, "_LARGEST", 0)
            patch.setattr(compiled, "descend_for", None)
            return denoise(*arguments, **keywords)

    return denoised


CASES = {
    "grey": (IMAGE, {}),
    "double": (IMAGE.astype(np.float64), {"tolerance": 1e-7}),
    "colour": (COLOUR, {"channel_axis": -1}),
    "weights": (IMAGE, {"weights": WEIGHTS}),
    "held": (IMAGE, {"mask": WEIGHTS > 0.5}),
    "four channels": (np.stack([IMAGE] * 4), {"channel_axis": 0}),
    "limit": (IMAGE, {"max_iterations": 7}),
    "precision": (IMAGE, {"tolerance": 0}),
}


@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_it_equals_the_descent_in_python_bit_for_bit(case, trace, in_python, monkeypatch):
    image, keywords = CASES[case]
    monkeypatch.setattr(FusedEngine, "advance", None)  # which the compiled descent does not call
    reports = [], []
    found = denoise(image, 14.0, threads=1, trace=trace, progress=reports[0].append, **keywords)
    monkeypatch.undo()
    expected = in_python(image, 14.0, threads=1, trace=trace, progress=reports[1].append, **keywords)
    assert found.image.tobytes() == expected.image.tobytes()
    for name in ("status", "iterations", "value", "distance_bound", "tolerance", "trace"):
        assert getattr(found, name) == getattr(expected, name), name
    assert reports[0] == reports[1]
    assert len(found.trace) == (found.iterations if trace else 0)


def test_it_goes_on_after_python_has_looked_at_signals_and_ends_where_python_does(in_python, monkeypatch):
    expected = in_python(IMAGE, 14.0)
    assert expected.iterations > 6
    for count in (1, 3, expected.iterations - 1, expected.iterations, expected.iterations + 1):
        monkeypatch.setattr(compiled, "_VALUES_AT_A_TIME", count * IMAGE.size)
        found = denoise(IMAGE, 14.0)
        assert found.iterations == expected.iterations
        assert found.image.tobytes() == expected.image.tobytes()
    limited = denoise(IMAGE, 14.0, max_iterations=6)
    assert (limited.iterations, limited.status) == (6, Status.ITERATION_LIMIT)


def test_small_images_have_one_thread_whatever_is_allowed(monkeypatch):
    threads = []
    monkeypatch.setattr(
        "tvdenoise.solver.descent.suits",
        lambda *given: threads.append(given[0].threads) or compiled.suits(*given),
    )
    for image, keywords in ((LARGE[:512], {}), (LARGE, {}), (LARGE[:512], {"step": "fixed"})):
        denoise(image, 14.0, threads=2, max_iterations=1, **keywords)
    assert threads == [1, 2, 2]


def test_several_threads_fixed_steps_and_rare_forms_are_left_to_python(monkeypatch):
    steps = []
    monkeypatch.setattr(compiled, "descend_for", None)
    monkeypatch.setattr(
        "tvdenoise.solver.descent.descend", lambda *given: steps.append(given) or descend(*given)
    )
    denoise(IMAGE, 14.0, weights=(WEIGHTS > 0.5).astype(float))
    denoise(LARGE, 14.0, threads=2)
    denoise(IMAGE, 14.0, step="fixed", max_iterations=9)
    denoise(GAPS, 14.0, nan="keep")
    denoise(np.stack([IMAGE, IMAGE[::-1]]), 14.0, spatial_axes=(0, 1, 2))
    denoise(IMAGE, 14.0, penalty="huber", tv="anisotropic")
    assert len(steps) == 6
