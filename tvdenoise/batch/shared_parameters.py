"""Shared parameters: chosen on a few images of a set, used for all."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tvdenoise.batch.denoiser import Denoiser, spacing_of
from tvdenoise.batch.outcome import SharedParameters
from tvdenoise.batch.plan import with_headers
from tvdenoise.batch.volumes import mask_of_volume, opened_slices
from tvdenoise.errors import TvdenoiseError, UnreadableImageError, UsageError
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.large import LargeImage
from tvdenoise.files.memory import MemoryBudget
from tvdenoise.files.paths import printable, reason_of
from tvdenoise.files.reading import open_within
from tvdenoise.files.stack import Stack, gathered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tvdenoise.batch.outputs import Job
    from tvdenoise.batch.plan import Plan
    from tvdenoise.batch.request import Request
    from tvdenoise.files.stack import Volume
    from tvdenoise.options import FileOptions
    from tvdenoise.parameters import Parameters


_SAMPLE = 9  # images of a kind; odd, so that the median is one of the values
_MOST_VALUES, _LEAST_PLANES = 1 << 24, 4  # size of the sample from a volume
_SIDE = 1024  # rows and columns of the sample from a large image


def share_parameters(
    plan: Plan,
    settings: FileOptions,
    known: tuple[SharedParameters, ...],
    announce_compilation: Callable[[], None],
) -> tuple[FileOptions, tuple[SharedParameters, ...]]:
    """FileOptions with one mu for all images of a plan with equal numbers of channels, and the new choices.

    known: choices of the run that this one continues; only other numbers of channels need a new choice.
    """
    kept = frozenset(shared.channels for shared in known)
    chosen = choose_shared(plan, Denoiser(settings, announce_compilation), settings, kept)
    shared_mu = sorted((shared.channels, shared.mu) for shared in known + chosen)
    return replace(settings, shared_mu=tuple(shared_mu)), chosen


def refuse_useless(request: Request, settings: FileOptions) -> None:
    """Raise UsageError if parameters cannot be shared, or if a run that continues this one would choose others."""
    if settings.mu is not None:
        raise UsageError("--shared-parameters chooses mu, and --mu sets it", "give only one of them")
    if settings.is_learned:
        raise UsageError(
            "--shared-parameters chooses mu, which learned filters do not have", "set --level instead"
        )
    if settings.per_plane:
        reason = "--shared-parameters chooses one mu for all, and --per-plane one for each image"
        raise UsageError(reason, "give only one of them")
    if request.reads_standard_input or request.writes_standard_output:
        raise UsageError("--shared-parameters needs several files", "leave it out")
    if request.in_place and request.report is None:
        raise UsageError(
            "--shared-parameters with --in-place would choose others in a second run, on denoised files",
            "add --report FILE to keep them there",
        )


def choose_shared(
    plan: Plan, denoiser: Denoiser, settings: FileOptions, known: frozenset[int] = frozenset()
) -> tuple[SharedParameters, ...]:
    """Choose parameters for each number of channels that is not known, on a sample of the whole plan.

    The sample includes files already done, so a run that continues another one chooses the same parameters.
    Unreadable images are skipped.
    """
    found = defaultdict(list)
    for stated, jobs in _by_channels(plan.jobs + plan.skipped).items():
        for job in sample_of(jobs) if stated not in known else ():
            for channels, mu, sigma in _chosen(job, denoiser, settings):
                found[channels].append((mu, sigma, printable(job.source)))
    return tuple(
        _median(channels, choices) for channels, choices in sorted(found.items()) if channels not in known
    )


def _by_channels(jobs: Iterable[Job]) -> dict[int, list[Job]]:
    """Group jobs by the channels in their headers, so that the sample includes rare kinds of images.

    1-bit images, which need no parameters, are left out.
    """
    found = defaultdict(list)
    for job in with_headers(jobs):
        header = job.header
        if header is not None and header.is_bilevel:
            continue
        found[header.channels - header.has_alpha if header is not None else 0].append(job)
    return found


def sample_of(jobs: Sequence[Job]) -> list[Job]:
    """A sample of the jobs, evenly spread over the sources sorted by name."""
    ordered = sorted(jobs, key=lambda job: str(job.source))
    if len(ordered) <= _SAMPLE:
        return ordered
    return [ordered[round(number * (len(ordered) - 1) / (_SAMPLE - 1))] for number in range(_SAMPLE)]


def _chosen(job: Job, denoiser: Denoiser, settings: FileOptions) -> Iterator[tuple[int, float, float | None]]:
    try:
        found = _choice_on(job, denoiser, settings)
    except TvdenoiseError:  # reported when the image is denoised
        return
    if found is not None:
        channels, chosen = found
        yield channels, chosen.mu, None if chosen.noise is None else chosen.noise.sigma


def _choice_on(job: Job, denoiser: Denoiser, settings: FileOptions) -> tuple[int, Parameters] | None:
    """Channels and parameters of the image in a file, the middle image or volume of a stack or of slices, or the
    middle of a large image.

    None for a stack of channels, and for bands, which share no parameters, and for 1-bit images, which need none.
    """
    if job.slices:
        noisy, mask = _in_the_middle(opened_slices(job, settings), denoiser, settings)
        return noisy.channels, denoiser.choose(noisy, mask)
    try:
        with job.source.open("rb") as stream:
            found = open_within(
                stream,
                MemoryBudget(settings.memory),
                settings.max_megapixels,
                first_frame=settings.first_frame,
                couples_bands=settings.couple_bands,
                may_hold=settings.not_finite,
            )
            if isinstance(found, Stack) and found.axes.channel_count > 1:
                return None
            noisy, mask = _in_the_middle(found, denoiser, settings)
            if noisy.in_bands and not settings.couple_bands:
                return None
            if isinstance(noisy, DecodedImage) and noisy.is_bilevel:
                return None
    except OSError as error:
        raise UnreadableImageError(reason_of(error)) from error
    return noisy.channels, denoiser.choose(noisy, mask)


def _in_the_middle(
    found: DecodedImage | Stack | LargeImage, denoiser: Denoiser, settings: FileOptions
) -> tuple[DecodedImage | Volume, NDArray[np.bool_] | None]:
    """The middle image or volume, with its mask."""
    if isinstance(found, LargeImage):
        return found.middle(_SIDE), None
    if not isinstance(found, Stack):
        return found, next(denoiser.masks(found, (0,)))
    if settings.volume:
        volumes = found.axes.volumes
        numbers = _middle(volumes[len(volumes) // 2], _MOST_VALUES // found.first.intensities.size)
        spacing, _ = spacing_of(found.axes, settings.spacing)
        return gathered(found, numbers, spacing), mask_of_volume(denoiser, found, numbers)
    numbers = (found.count // 2,)
    return next(found.read(numbers)), next(denoiser.masks(found, numbers))


def _middle(numbers: tuple[int, ...], most: int) -> tuple[int, ...]:
    """The middle numbers: at most this many, but at least a few."""
    most = max(most, _LEAST_PLANES)
    start = max(0, (len(numbers) - most) // 2)
    return numbers[start : start + most]


def _median(channels: int, choices: list[tuple[float, float | None, str]]) -> SharedParameters:
    levels = [sigma for _, sigma, _ in choices if sigma is not None]
    return SharedParameters(
        channels,
        statistics.median_low(mu for mu, _, _ in choices),
        statistics.median_low(levels) if levels else None,
        tuple(source for _, _, source in choices),
    )
