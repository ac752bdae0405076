"""The visible part while a slider moves, solved from the last solution on."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.live.view import Region, reduced
from tvdenoise.model.colour import RGB_CHANNELS, to_opponent

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from numpy.typing import NDArray

    from tvdenoise.live.scene import Scene
    from tvdenoise.live.setting import Setting
    from tvdenoise.solver.descent import Method, Status


#: How much of the change of μ a start takes part in: nothing of a change of so little (of log μ), then more by this
#: slope, and no more than by the root (evaluations counted on photographs).
_SMALL_CHANGE, _SLOPE, _LARGEST_EXPONENT = 0.04, 2.0, 0.5


@dataclass(frozen=True, eq=False)
class SolveStage:
    """x: the iterate, which the next evaluation overwrites; distance_bound: as of `Solution`.

    status: how the solve ended; None while it goes on.
    """

    x: NDArray[np.floating[Any]]
    distance_bound: float
    evaluations: int
    status: Status | None


def stages(
    method: Method,
    noisy: NDArray[np.floating[Any]],
    mu: float,
    epsilon: float,
    start: NDArray[np.floating[Any]],
) -> Generator[SolveStage, None, None]:
    """The iterates for planes (channels, rows, columns), the last one within the tolerance."""
    with method.descent(method.objective(noisy, mu, epsilon), start) as descent:
        for state in descent.states():
            bound = descent.certificate.distance_bound(state.evaluation)
            yield SolveStage(descent.iterate, bound, state.iterations, state.status)


def start_from(
    noisy: NDArray[np.floating[Any]], x: NDArray[np.floating[Any]], old_mu: float, mu: float
) -> NDArray[np.floating[Any]]:
    """Where to start for μ, given the solution for another one.

    At the minimiser μ(f − x) is the gradient of the total variation. Were that the same for both, the residual
    would change by old μ/μ; it changes by less, and the gradient is spoilt where it should not have changed. So a
    small change starts from the old solution, a large one with the residual times the root of old μ/μ.
    """
    change = float(np.log(mu / old_mu))
    exponent = min(max(_SLOPE * (abs(change) - _SMALL_CHANGE), 0.0), _LARGEST_EXPONENT)
    if exponent == 0:
        return x
    start: NDArray[np.floating[Any]] = np.subtract(x, noisy)
    start *= np.float32(np.exp(-exponent * change))
    start += noisy
    return start


#: Lengths, of those over which what lies outside the solved part loses its influence, that its margin has.
_REACHES = 6
_LEAST_MARGIN, _LARGEST_MARGIN = 16, 128
#: Seconds after which a solve that goes on shows where it is.
_FIRST_PICTURE = 0.04
#: Evaluations before which a picture would look like the input.
_LEAST_EVALUATIONS = 4
#: Seconds without a picture after which even a stale solve shows where it is.
_STARVING = 0.15


@dataclass(frozen=True, eq=False)
class Shown:
    """region: what is visible; planes: as they were solved (opponents where the picture is in colour)."""

    region: Region
    planes: NDArray[np.floating[Any]]
    stage: SolveStage


@dataclass(eq=False)
class _Solved:
    """The part that was solved last, and what for."""

    region: Region
    noisy: NDArray[np.floating[Any]]
    x: NDArray[np.floating[Any]]
    mu: float


class Preview:
    """Solves for one page, which asks for one thing after the other."""

    def __init__(self, scene: Scene, clock: Callable[[], float] = time.perf_counter) -> None:
        self._scene = scene
        self._clock = clock
        self._last: _Solved | None = None
        self._last_shown = -math.inf

    def pictures(
        self, region: Region, setting: Setting, is_stale: Callable[[], bool], asked: float
    ) -> Iterator[Shown]:
        """The region with a setting: at most one picture on the way, and the one within the tolerance.

        Where the solve breaks down, the input, whose bound is not finite.

        is_stale: whether something else is asked for by now, for which this is given up, unless nothing has been
        shown for too long. asked: when it was asked for, by the clock.
        """
        solved = self._posed(region, setting)
        scale = region.scale  # with pixels so large, the same picture has that much larger differences
        mu, epsilon = setting.mu * scale, setting.epsilon * scale
        start = start_from(solved.noisy, solved.x, solved.mu, mu)
        has_shown = False
        method = self._scene.method(setting.options)
        for stage in stages(method, solved.noisy, mu, epsilon, start):
            if not math.isfinite(stage.distance_bound):
                self._last = None
                yield Shown(region, solved.noisy[:, *region.within(solved.region)], stage)
                return
            self._last = _Solved(solved.region, solved.noisy, stage.x, mu)
            now = self._clock()
            stale = is_stale()
            is_due = not has_shown and now - asked > _FIRST_PICTURE and not stale
            is_overdue = stale and now - self._last_shown > _STARVING
            worth_it = stage.evaluations >= _LEAST_EVALUATIONS
            if stage.status is not None or (worth_it and (is_due or is_overdue)):
                has_shown = True
                yield Shown(region, stage.x[:, *region.within(solved.region)], stage)
                self._last_shown = self._clock()
            if stale and (worth_it or not is_overdue):
                return

    def _posed(self, region: Region, setting: Setting) -> _Solved:
        """The part to solve, and where to start: at the last solution as far as that goes, else at the input.

        That is hardly sooner at the end than from the input alone, but looks like it from the beginning.
        """
        scene, last = self._scene, self._last
        shape = (reduced(scene.rows, region.level), reduced(scene.columns, region.level))
        part = region.widened(self._margin(setting, region.scale), *shape)
        if last is not None and last.region == part:
            return last
        noisy = np.ascontiguousarray(scene.planes.part(part))
        noisy = to_opponent(noisy) if len(noisy) == RGB_CHANNELS else noisy
        if last is None or (common := part.overlap(last.region)) is None:
            return _Solved(part, noisy, noisy, setting.mu * region.scale)
        x = noisy.copy()
        x[:, *common.within(part)] = last.x[:, *common.within(last.region)]
        return _Solved(part, noisy, x, last.mu)

    def _margin(self, setting: Setting, scale: int) -> int:
        """Pixels around what is visible, in powers of two.

        J's curvature is at most μ + K·∇ᵀ∇ with K = weight²/ε, whose inverse falls off by e over √(K/μ) pixels.
        """
        widest = max(self._scene.method(setting.options).channel_weights)
        reach = widest / math.sqrt(setting.mu * setting.epsilon) / scale
        margin = 2 ** math.ceil(math.log2(max(_REACHES * reach, 1)))
        return int(min(max(margin, _LEAST_MARGIN), _LARGEST_MARGIN))
