"""Learning a prior from the clean images in files and folders, with what it saves to continue from."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tvdenoise.batch.outputs import identity_of
from tvdenoise.batch.request import DEFAULT_SUFFIX, Discovery, Failure, Patterns, nothing_found
from tvdenoise.errors import NothingToDoError, TvdenoiseError, UnsupportedImageError, UsageError
from tvdenoise.files.atomic import write_atomically
from tvdenoise.files.decoded import DecodedImage, white_of
from tvdenoise.files.paths import printable, reason_of
from tvdenoise.files.reading import open_images
from tvdenoise.formats.registry import has_image_extension
from tvdenoise.learning.course import Course, CourseState, Schedule
from tvdenoise.learning.patches import Sampler
from tvdenoise.learning.weights import Terms, starting_weights, weights_of
from tvdenoise.machine import available_threads
from tvdenoise.model.colour import RGB_CHANNELS, to_opponent
from tvdenoise.model.prior_file import MOST_BYTES, SHIPPED, LearnedPrior

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray


#: Follows the name of a prior in that of the file from which its course is continued.
STATE_SUFFIX = ".state"
#: Intensities are fractions of the data range times this, the unit of noise levels.
UNIT = 255
#: Rec. 601: the luminance of a colour image.
_LUMINANCE = (0.299, 0.587, 0.114)
#: The rows and columns of a patch, the least side of an image, and one image in so many that is only judged by.
_PATCH = (64, 116)
_LEAST_SIDE = 32
_JUDGED = 8
#: Patches and noise level to judge by, how exactly they are solved, and the steps between.
_JUDGED_PATCHES, _JUDGED_LEVEL, _JUDGED_TOLERANCE, _BETWEEN = 12, 25.0, 0.006, 50
#: The shares of patches with noise that grows with the intensity, and with correlated noise, in mixed noise.
_MIXED = 0.25
#: Bytes that a number takes in a prior's file, at most.
_BYTES_A_NUMBER = 25
#: Seconds between saved states.
_SAVING = 60.0


@dataclass(frozen=True)
class LearningRequest:
    """What to learn, and from what.

    inputs: files and folders of clean images. output: the prior's file. steps: the length of the schedule.
    filters: of both scales together. coarse: how many of them are of scale 2. group: how many share a potential.
    hidden: hidden values of the gate, 0 for none. side: of a filter. start: a prior to start from, which has such
    filters; by default they start as cosine waves.
    rho: the largest ρ, 0 for convex potentials. least_epsilon: of the potentials, as a part of the level.
    levels: least and largest noise level, of 255.
    minutes: after so many, learning stops although the schedule has steps left; None for no limit.
    mixed_noise: the noise of some patches grows with the intensity or is correlated; otherwise all of it is white.
    colour: learn filters over all three opponent channels; otherwise over the luminance. overwrite: replace the output
    of another course.
    """

    inputs: tuple[str, ...]
    output: str
    steps: int
    filters: int
    coarse: int
    group: int
    side: int
    rho: float
    least_epsilon: float
    hidden: int
    minutes: float | None = None
    levels: tuple[float, float] = (5.0, 60.0)
    seed: int = 0
    colour: bool = False
    overwrite: bool = False
    recursive: bool = False
    patterns: Patterns = field(default_factory=Patterns)
    threads: int | None = None
    start: LearnedPrior | None = None
    mixed_noise: bool = False

    @classmethod
    def continuing(cls, start: LearnedPrior, hidden: int, **fields: Any) -> LearningRequest:
        """Return the request that starts from a prior and keeps the numbers and the side of its filters, and its gate.

        hidden: the hidden values of a new gate, if it has none.
        """
        bank = start.bank
        return cls(
            filters=bank.count, coarse=bank.at_scale(2)[0].count, group=bank.members, side=2 * bank.radius + 1,
            hidden=hidden if bank.gate is None else bank.gate.hidden, start=start, **fields,
        )  # fmt: skip

    @property
    def channels(self) -> int:
        """Of the images that the prior is for."""
        return RGB_CHANNELS if self.colour else 1

    @property
    def terms(self) -> Terms:
        """What the bank is to keep to."""
        return Terms(
            self.side, self.rho, self.least_epsilon, coarse=self.coarse, group=self.group, hidden=self.hidden
        )

    def first_state(self) -> CourseState:
        """Return the first state. Raises UsageError if there cannot be so many filters, or such ones to start from."""
        try:
            if self.start is not None:
                weights = weights_of(self.start.bank, self.terms, self.channels)
            else:
                weights = starting_weights(self.terms, self.filters, self.channels)
            if _BYTES_A_NUMBER * sum(one.size for one in weights) > MOST_BYTES:
                raise ValueError(f"the file of so many filters would have more than {MOST_BYTES >> 20} MiB")
            return CourseState.start(weights)
        except ValueError as error:
            remedy = (
                "change --filters, --coarse, --group, --size or --hidden"
                if self.start is None
                else "give another prior"
            )
            raise UsageError(str(error), remedy) from error


@dataclass(frozen=True)
class LearningReport:
    """The progress of a course.

    psnr: on patches that are judged by, with noise of 25/255, in decibels; None if not measured at this step.
    seconds_left: until the end of the schedule, or of the minutes.
    """

    step: int
    steps: int
    error: float
    evaluations: float
    psnr: float | None
    seconds_left: float


@dataclass(frozen=True, eq=False)
class CleanImage:
    """A clean image: its name, and its planes (channels, rows, columns) in units of 1/255 of its range."""

    name: str
    planes: NDArray[np.float32]


def clean_images(request: LearningRequest, fail: Callable[[Path, TvdenoiseError], None]) -> list[CleanImage]:
    """Read all images, those of stacks one by one; ``fail`` is told which cannot be learned from.

    Raises NothingToDoError if there are none.
    """
    entries = list(Discovery(request.recursive, DEFAULT_SUFFIX, None, request.patterns).find(request.inputs))
    _require_own_output(request, [entry.source for entry in entries])
    found: list[CleanImage] = []
    for entry in entries:
        try:
            if isinstance(entry, Failure):
                raise entry.error
            found += _read(entry.source, colour=request.colour)
        except TvdenoiseError as error:
            fail(entry.source, error)
    if not entries:
        raise nothing_found(request.inputs, request.patterns, recursive=request.recursive)
    if not found:
        raise NothingToDoError("no image can be learned from", "see the messages above")
    return found


def _require_own_output(request: LearningRequest, sources: list[Path]) -> None:
    """Raise UsageError if the prior or its state would take the place of an input, or be no file."""
    output, name = Path(request.output), printable(request.output)
    if request.output == "-":
        raise UsageError("learn writes files only", "choose a name such as mine.prior")
    if output.is_dir():
        raise UsageError(f"{name} is a folder", "choose a name such as mine.prior")
    if has_image_extension(output):
        raise UsageError(f"{name} has the name of an image", "choose a name such as mine.prior")
    inputs = {identity_of(source) for source in sources} - {None}
    if inputs & {identity_of(output), identity_of(state_path_of(output))}:
        raise UsageError(f"the prior {name}, or its state, would replace an input", "choose another name")
    start = None if request.start is None or request.start.name in SHIPPED else Path(request.start.name)
    if start is not None and output.exists() and identity_of(output) == identity_of(start):
        raise UsageError(f"{name} is also the prior to start from", "choose another name")


def _read(source: Path, *, colour: bool) -> Iterator[CleanImage]:
    try:
        stream = source.open("rb")
    except OSError as error:
        raise UnsupportedImageError(reason_of(error)) from error
    with stream:
        opened = open_images(stream, may_hold=(np.nan, np.inf, -np.inf))
        images = [opened] if isinstance(opened, DecodedImage) else opened.images()
        for image in images:
            yield CleanImage(source.name, _planes(image, colour=colour))


def _planes(image: DecodedImage, *, colour: bool) -> NDArray[np.float32]:
    """Return the planes to learn from. Raises UnsupportedImageError."""
    if image.channels not in (1, RGB_CHANNELS) or image.in_bands or image.is_bilevel:
        raise UnsupportedImageError("priors are learned from grey and colour images", "leave it out")
    if image.visible is not None:
        raise UnsupportedImageError("some of its pixels are hidden", "leave it out, or crop it")
    if image.is_float and not np.isfinite(image.intensities).all():
        raise UnsupportedImageError("some of its values are not finite", "leave it out, or crop it")
    if min(image.size) < _LEAST_SIDE:
        raise UnsupportedImageError(f"its sides must be at least {_LEAST_SIDE} pixels long", "leave it out")
    if colour and image.channels == 1:
        raise UnsupportedImageError("it is grey", "leave it out, or leave out --colour")
    values: NDArray[np.floating] = image.noisy().astype(np.float64)
    if image.is_float:
        low, high = values.min(), values.max()
        values = (values - low) / (high - low or 1.0)
    else:
        values /= white_of(image.intensities.dtype)
    if image.channels == 1:
        planes = values[np.newaxis]
    elif colour:
        planes = to_opponent(np.ascontiguousarray(np.moveaxis(values, -1, 0)))
    else:
        planes = (values @ np.array(_LUMINANCE))[np.newaxis]
    return (UNIT * planes).astype(np.float32)


class Learning:
    """A course in files: continues from a saved state, and saves prior and state as it goes.

    images: at least one. Raises UsageError if the output exists and no state continues it, or the state is of
    another course.
    """

    def __init__(self, request: LearningRequest, images: list[CleanImage]) -> None:
        self._request = request
        self._output = Path(request.output)
        self._names = tuple(image.name for image in images)
        planes = [image.planes for image in images]
        self._key = _key_of(request, planes)
        least = min(min(one.shape[1:]) for one in planes)
        shape = min(_PATCH[0], least), min(_PATCH[1], least)
        learned, judged = _set_apart(planes)
        share = _MIXED if request.mixed_noise else 0.0
        sampler = Sampler(learned, request.levels, shape, request.seed, growing=share, correlated=share)
        self._judged = Sampler(judged, request.levels, shape, request.seed + 1).draw(
            0, _JUDGED_PATCHES, _JUDGED_LEVEL
        )
        threads = request.threads or available_threads()
        self._course = Course(request.terms, Schedule(steps=request.steps), sampler, self._state(), threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads."""
        self._course.__exit__()

    @property
    def is_finished(self) -> bool:
        """True if the schedule has no steps left."""
        return self._course.state.step >= self._request.steps

    @property
    def step(self) -> int:
        """The number of steps taken."""
        return self._course.state.step

    @property
    def prior(self) -> LearnedPrior:
        """The prior as it is now."""
        request = self._request
        return LearnedPrior(self._course.bank, request.levels, self._names, self.step, request.seed)

    def run(self) -> Iterator[LearningReport]:
        """Learn until the schedule or the minutes end, and save; yields a report after each step.

        What is learned is saved too if the caller stops early or an exception passes through.
        """
        start = saved = time.monotonic()
        first = self.step
        minutes = self._request.minutes
        end = np.inf if minutes is None else start + 60 * minutes
        try:
            while not self.is_finished and time.monotonic() < end:
                report = self._course.advance()
                is_judged = self.step % _BETWEEN == 0 or self.is_finished
                psnr = self.psnr() if is_judged else None
                now = time.monotonic()
                left = (now - start) / (self.step - first) * (self._request.steps - self.step)
                yield LearningReport(
                    self.step, self._request.steps, report.error, report.evaluations, psnr,
                    max(0.0, min(left, end - now)),
                )  # fmt: skip
                if now > saved + _SAVING:
                    self._save()
                    saved = now
        finally:
            self._save()

    def psnr(self) -> float:
        """Return the mean PSNR of the patches that are judged by."""
        errors = self._course.errors(self._judged, _JUDGED_TOLERANCE)
        return float(np.mean(20 * np.log10(UNIT / _JUDGED_LEVEL) - 10 * np.log10(errors)))

    def _state(self) -> CourseState:
        """The state to begin with: that which the same command saved, even with ``--overwrite``, or the first."""
        start, path = self._request.first_state(), state_path_of(self._output)
        if not os.path.lexists(path):
            if os.path.lexists(self._output) and not self._request.overwrite:
                raise UsageError(f"{printable(self._output)} already exists", "add --overwrite to replace it")
            return start
        try:
            state = CourseState.from_bytes(path.read_bytes(), self._key, start.weights)
            if state.step > self._request.steps:
                raise ValueError("it is damaged")
            return state
        except ValueError as error:
            if self._request.overwrite:
                return start
            raise UsageError(
                f"{printable(path)} does not continue this command: {error}",
                "repeat the command that wrote it, or add --overwrite to start again",
            ) from error

    def _save(self) -> None:
        """Write the prior, and the state unless the course is finished."""
        write_atomically(self._output, self.prior.to_bytes(), _accept)
        path = state_path_of(self._output)
        if self.is_finished:
            with suppress(FileNotFoundError):
                path.unlink()
        else:
            write_atomically(path, self._course.state.to_bytes(self._key), _accept)


def _set_apart(
    planes: list[NDArray[np.float32]],
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Return the images to learn from, and those that are only judged by: one in eight, and one at least.

    A single image has to be both.
    """
    first = min(_JUDGED // 2, len(planes) - 1)
    judged = planes[first::_JUDGED]
    learned = [one for place, one in enumerate(planes) if place % _JUDGED != first]
    return learned or judged, judged


def state_path_of(output: Path) -> Path:
    """The file from which an interrupted course is continued."""
    return output.with_name(output.name + STATE_SUFFIX)


def _accept(path: Path) -> None:
    """Accept the file: its content was made here."""


def _key_of(request: LearningRequest, planes: list[NDArray[np.float32]]) -> str:
    """Return a digest of all that decides a course."""
    terms = (
        request.steps, request.filters, request.coarse, request.group, request.side, request.rho, request.hidden,
        request.least_epsilon, request.mixed_noise, request.levels, request.seed, request.colour,
        request.start and request.start.digest,
    )  # fmt: skip
    digest = hashlib.sha256(repr(terms).encode())
    for one in planes:
        digest.update(repr(one.shape).encode() + one.tobytes())
    return digest.hexdigest()
