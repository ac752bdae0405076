"""Solve the visible part while a slider moves, starting from the last solution."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.live.view import Region, reduced
from tvdenoise.model.colour import RGB_CHANNELS, to_opponent
from tvdenoise.model.filters import MARGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from numpy.typing import NDArray

    from tvdenoise.live.scene import Scene
    from tvdenoise.live.view import Setting
    from tvdenoise.solver.descent import Method, Status


#: The exponent of old μ/μ in a start: 0 up to this change of log μ, then rising with this slope to its largest value.
#: Chosen by counting evaluations on photographs.
_SMALL_CHANGE, _SLOPE, _LARGEST_EXPONENT = 0.04, 2.0, 0.5


@dataclass(frozen=True, eq=False)
class SolveStage:
    """x: the iterate, which the next evaluation overwrites; distance_bound: as in `Solution`.

    status: how the solve ended; None while it runs.
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
    """The iterates for planes (channels, rows, columns); the last one is within the tolerance."""
    with method.descent(method.posed(noisy, mu, epsilon), start) as descent:
        for state in descent.states():
            bound = descent.certificate.distance_bound(state.evaluation)
            yield SolveStage(descent.iterate, bound, state.iterations, state.status)


def start_from(
    noisy: NDArray[np.floating[Any]], x: NDArray[np.floating[Any]], old_mu: float, mu: float
) -> NDArray[np.floating[Any]]:
    """The starting point for μ, given the solution for another μ.

    At the minimiser μ(f − x) is the gradient of the total variation. If that were the same for both, the residual
    would scale by old μ/μ. It scales by less, and scaling spoils the gradient where it should not change. So after a
    small change the solve starts from the old solution, after a large one from its residual times √(old μ/μ). The
    same suits learned filters, whose level is 1/μ.
    """
    change = float(np.log(mu / old_mu))
    exponent = min(max(_SLOPE * (abs(change) - _SMALL_CHANGE), 0.0), _LARGEST_EXPONENT)
    if exponent == 0:
        return x
    start: NDArray[np.floating[Any]] = np.subtract(x, noisy)
    start *= np.float32(np.exp(-exponent * change))
    start += noisy
    return start


#: The margin around the visible part, in multiples of the distance over which outside pixels lose their influence.
_REACHES = 6
_LEAST_MARGIN, _LARGEST_MARGIN = 16, 128
#: Seconds after which a running solve shows its iterate.
_FIRST_IMAGE = 0.04
#: Evaluations before which an iterate looks like the input.
_LEAST_EVALUATIONS = 4
#: Seconds without a new image after which even a stale solve shows its iterate.
_STARVING = 0.15


@dataclass(frozen=True, eq=False)
class Shown:
    """region: the visible region; planes: its planes as solved (opponent channels for RGB images)."""

    region: Region
    planes: NDArray[np.floating[Any]]
    stage: SolveStage


@dataclass(eq=False)
class _Solved:
    """The part that was solved last, and its parameters; luminance: kept, None if it is solved with the rest."""

    region: Region
    noisy: NDArray[np.floating[Any]]
    x: NDArray[np.floating[Any]]
    mu: float
    luminance: NDArray[np.floating[Any]] | None = None

    def visible(self, region: Region, planes: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """A region of planes of this part, with the luminance if it is kept."""
        within = region.within(self.region)
        part = planes[:, *within]
        return part if self.luminance is None else np.concatenate([self.luminance[:, *within], part])


class Preview:
    """Solves the requests of one page, one after the other."""

    def __init__(self, scene: Scene, clock: Callable[[], float] = time.perf_counter) -> None:
        self._scene = scene
        self._clock = clock
        self._last: _Solved | None = None
        self._last_shown = -math.inf

    def images(
        self, region: Region, setting: Setting, is_stale: Callable[[], bool], asked: float
    ) -> Iterator[Shown]:
        """The denoised region: at most one intermediate image, and the one within the tolerance.

        If the solve breaks down, it yields the input, with an infinite bound.

        is_stale: returns True once there is a newer request; the solve then ends, unless nothing has been shown for
        too long. asked: the time of the request, by the clock.
        """
        solved = self._part_to_solve(region, setting)
        # On a coarser grid the same image has differences larger by the scale. Learned filters take the level 1/μ over
        # the scale, by which means of blocks have less white noise.
        scale = region.scale
        mu, epsilon = setting.mu * scale, setting.epsilon * scale
        start = start_from(solved.noisy, solved.x, solved.mu, mu)
        has_shown = False
        method = self._scene.method(setting.options)
        for stage in stages(method, solved.noisy, mu, epsilon, start):
            if not math.isfinite(stage.distance_bound):
                self._last = None
                yield Shown(region, solved.visible(region, solved.noisy), stage)
                return
            self._last = replace(solved, x=stage.x, mu=mu)
            now = self._clock()
            stale = is_stale()
            is_due = not has_shown and now - asked > _FIRST_IMAGE and not stale
            is_overdue = stale and now - self._last_shown > _STARVING
            worth_it = stage.evaluations >= _LEAST_EVALUATIONS
            if stage.status is not None or (worth_it and (is_due or is_overdue)):
                has_shown = True
                yield Shown(region, solved.visible(region, stage.x), stage)
                self._last_shown = self._clock()
            if stale and (worth_it or not is_overdue):
                return

    def _part_to_solve(self, region: Region, setting: Setting) -> _Solved:
        """The part to solve, and its starting point: the last solution where it overlaps, otherwise the usual one.

        This saves few evaluations compared with the usual one, but looks right from the beginning.
        """
        scene, last = self._scene, self._last
        shape = (reduced(scene.rows, region.level), reduced(scene.columns, region.level))
        part = region.widened(self._margin(setting, region.scale), *shape)
        if last is not None and last.region == part:
            return last
        noisy = np.ascontiguousarray(scene.planes.part(part))
        noisy = to_opponent(noisy) if len(noisy) == RGB_CHANNELS else noisy
        luminance = None
        if setting.options.chroma_only:
            luminance, noisy = noisy[:1], noisy[1:]
        mu = setting.mu * region.scale
        start = scene.method(setting.options).start(noisy, mu)
        if last is None or (common := part.overlap(last.region)) is None:
            return _Solved(part, noisy, start, mu, luminance)
        x = start.copy()
        x[:, *common.within(part)] = last.x[:, *common.within(last.region)]
        return _Solved(part, noisy, x, last.mu, luminance)

    def _margin(self, setting: Setting, scale: int) -> int:
        """Width of the margin around the visible part in pixels, a power of two.

        With total variation J's curvature is at most μ + K·∇ᵀ∇ with K = weight²/ε, whose inverse falls off by e over
        √(K/μ) pixels.
        """
        if setting.options.is_learned:
            return MARGIN
        widest = max(self._scene.method(setting.options).channel_weights)
        reach = widest / math.sqrt(setting.mu * setting.epsilon) / scale
        margin = 2 ** math.ceil(math.log2(max(_REACHES * reach, 1)))
        return int(min(max(margin, _LEAST_MARGIN), _LARGEST_MARGIN))
