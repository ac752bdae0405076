"""The same parameters for a set: chosen on a few of its pictures, used for all."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tvdenoise.errors import TvdenoiseError
from tvdenoise.files.paths import printable
from tvdenoise.files.reading import read

if TYPE_CHECKING:
    from tvdenoise.batch.denoiser import Denoiser
    from tvdenoise.batch.plan import Job, Plan

_SAMPLE = 9  # pictures; an odd number, so that a median is one of theirs


@dataclass(frozen=True)
class SharedParameters:
    """channels: of the pictures that they are for; mu: the median of the sample's; sigma: that of its noise levels.

    sources: the pictures on which they were chosen.
    """

    channels: int
    mu: float
    sigma: float | None
    sources: tuple[str, ...]


def choose_shared(plan: Plan, denoiser: Denoiser, max_megapixels: float) -> tuple[SharedParameters, ...]:
    """Parameters for each number of channels in a sample of the whole plan, what is done already included.

    So a run that continues another one comes to the same parameters. Pictures that cannot be read are left out.
    """
    found = defaultdict(list)
    for job in sample_of(plan.jobs + plan.skipped):
        for channels, mu, sigma in _chosen(job, denoiser, max_megapixels):
            found[channels].append((mu, sigma, printable(job.source)))
    return tuple(_median(channels, choices) for channels, choices in sorted(found.items()))


def sample_of(jobs: Sequence[Job]) -> list[Job]:
    """At most so many jobs, evenly spread over their sources in the order of their names."""
    ordered = sorted(jobs, key=lambda job: str(job.source))
    if len(ordered) <= _SAMPLE:
        return ordered
    return [ordered[round(number * (len(ordered) - 1) / (_SAMPLE - 1))] for number in range(_SAMPLE)]


def _chosen(job: Job, denoiser: Denoiser, max_megapixels: float) -> Iterator[tuple[int, float, float | None]]:
    try:
        picture = read(job.source, max_megapixels)
        chosen = denoiser.choose(picture)
    except TvdenoiseError:  # told when the picture's turn comes
        return
    yield picture.channels, chosen.mu, None if chosen.noise is None else chosen.noise.sigma


def _median(channels: int, choices: list[tuple[float, float | None, str]]) -> SharedParameters:
    levels = [sigma for _, sigma, _ in choices if sigma is not None]
    return SharedParameters(
        channels,
        statistics.median_low(mu for mu, _, _ in choices),
        statistics.median_low(levels) if levels else None,
        tuple(source for _, _, source in choices),
    )
