"""Dry run: predict what a plan would do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tvdenoise.batch.bilevel import require_despeckled
from tvdenoise.batch.denoiser import no_volume
from tvdenoise.batch.in_place import slices_are_done, was_put_there
from tvdenoise.batch.large import require_parts_possible
from tvdenoise.batch.masks import MaskForm
from tvdenoise.batch.planes import require_one_size
from tvdenoise.batch.volumes import require_no_mask
from tvdenoise.errors import TvdenoiseError, UnreadableImageError, UnsupportedImageError
from tvdenoise.files.large import require_large_carried
from tvdenoise.files.memory import MemoryBudget, require_memory
from tvdenoise.files.opening import axes_of, opened_file
from tvdenoise.files.paths import reason_of
from tvdenoise.files.pillow import is_bilevel
from tvdenoise.files.reading import large_image
from tvdenoise.files.slices import naming_slice
from tvdenoise.files.writing import require_several_carried
from tvdenoise.formats.registry import format_for, format_in_place, format_named

if TYPE_CHECKING:
    from tvdenoise.batch.outputs import Job
    from tvdenoise.batch.plan import Plan


_IN_PARTS = "in parts, because it does not fit in memory"


class Action(StrEnum):
    """The predicted action on a file."""

    DENOISE = "denoise"
    SKIP = "skip"
    FAIL = "fail"


@dataclass(frozen=True)
class Prospect:
    """The predicted outcome of a file.

    size: columns, rows and channels, if the header gives them; target: None if there is none; reason: why the file
    would be skipped or fail, or how it would be denoised.
    """

    source: str
    target: str | None
    action: Action
    reason: str | None = None
    size: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Forecast:
    """Predicts from headers alone what a plan would do; errors in the data show only in a real run.

    max_megapixels: larger images fail; replaced: digests of files that earlier runs put in the place of inputs;
    from_stream: the input is a stream, and not read; first_frame: read only the first of several images; volume:
    denoise stacks as volumes; budget: of memory; mask: its file; mask_form: number and size of its masks;
    has_weights: pixels are masked, or may be missing; impulses: the option of that name.
    """

    max_megapixels: float
    replaced: frozenset[str] = frozenset()
    from_stream: bool = False
    first_frame: bool = False
    volume: bool = False
    budget: MemoryBudget = field(default_factory=MemoryBudget)
    mask: str | None = None
    mask_form: MaskForm | None = None
    has_weights: bool = False
    impulses: str = "off"

    def prospects(self, plan: Plan) -> Iterator[Prospect]:
        """Yield predictions in the order of a run by one process."""
        for failure in plan.failures:
            yield Prospect(str(failure.source), None, Action.FAIL, str(failure.error))
        for job in plan.skipped:
            yield Prospect(str(job.source), str(job.target), Action.SKIP, "exists")
        for job in plan.jobs:
            yield self._of_job(job)

    def _of_job(self, job: Job) -> Prospect:
        source, target = str(job.source), str(job.target)
        if self.from_stream:
            return Prospect(source, target, Action.DENOISE)
        header = job.header
        size = (header.columns, header.rows, header.channels) if header is not None else None
        try:
            if job.slices:
                if slices_are_done(job, self.replaced):
                    return Prospect(source, target, Action.SKIP, "already denoised", size)
                self._require_openable(job)
            elif self._has_more_to_say(job):
                with opened_file(job.source, self.max_megapixels, first_frame=self.first_frame) as file:
                    record = file.record
                if job.once and (record is not None or self._was_put_there(job.source)):
                    return Prospect(source, target, Action.SKIP, "already denoised", size)
            if self._has_bilevel(job):
                require_despeckled(job, self.impulses, volume=self.volume)
            if self.volume and not job.slices:
                _require_volume(job.source)
            _require_writable_format(job, first_frame=self.first_frame)
            self._require_mask_fits(job)
            how = _IN_PARTS if self._is_in_parts(job) else None
        except TvdenoiseError as error:
            return Prospect(source, target, Action.FAIL, str(error), size)
        return Prospect(source, target, Action.DENOISE, how, size)

    def _require_openable(self, job: Job) -> None:
        """Raise TvdenoiseError for a slice whose header says that it cannot be read, or has too many pixels."""
        for each in job.slices:
            with naming_slice(each.source), opened_file(each.source, self.max_megapixels) as file:
                _ = file.contents

    def _is_in_parts(self, job: Job) -> bool:
        """Return True if the file exceeds the memory. Raises TvdenoiseError if it cannot be denoised in parts."""
        if self.volume and job.header is not None:
            require_memory(job.header.bytes_needed, self.budget)
            needed = job.header.volume_bytes_needed(has_weights=self.has_weights)
            if (shortage := self.budget.shortage(needed)) is not None:
                require_no_mask(self.mask, shortage, self.budget.remedy)
            return shortage is not None
        if job.header is None or self.budget.shortage(job.header.bytes_needed) is None:
            return False
        with opened_file(job.source, self.max_megapixels, first_frame=self.first_frame) as file:
            large = large_image(file, self.budget)
        if large is None:
            return False
        codec = large.pixel.codec
        form = format_in_place(job.target, codec) if job.in_place else format_for(job.target, codec)
        require_large_carried(large, form, self.budget.remedy)
        require_parts_possible(self.mask, job, self.budget.remedy)
        return True

    def _require_mask_fits(self, job: Job) -> None:
        """Raise UnsupportedImageError if the masks do not match the images in size or number."""
        if self.mask_form is None or job.header is None:
            return
        is_looked_into = max(self.mask_form.count, job.header.planes) > 1 and not self.first_frame
        count = len(job.files)
        if is_looked_into and not job.slices and (axes := axes_of(job.source)) is not None:
            require_one_size(axes, self.mask)
            count = axes.count
        self.mask_form.require_likely(job.header.columns, job.header.rows, count)

    def _has_bilevel(self, job: Job) -> bool:
        """Return True if any image to denoise has 1 bit per pixel."""
        header = job.header
        if header is None or not header.has_bilevel:
            return False
        if not self.first_frame or header.planes == 1:
            return True
        with opened_file(job.source, self.max_megapixels, first_frame=True) as file:
            return is_bilevel(file.opened)

    def _has_more_to_say(self, job: Job) -> bool:
        """Return True if the header is not enough, and the file must be opened, which takes time."""
        header = job.header
        return (
            self.volume
            or job.once
            or header is None
            or header.columns * header.rows > self.max_megapixels * 1e6
        )

    def _was_put_there(self, path: Path) -> bool:
        try:
            return was_put_there(path, self.replaced)
        except OSError as error:
            raise UnreadableImageError(reason_of(error)) from error


def _require_volume(path: Path) -> None:
    """Raise UnsupportedImageError if the images of a file are no planes of a volume."""
    axes = axes_of(path)
    if axes is None:
        raise no_volume()
    _ = axes.volumes


def _require_writable_format(job: Job, *, first_frame: bool) -> None:
    """Raise UnsupportedImageError if the target's format is read-only, or cannot hold several images."""
    form = None if job.in_place else format_named(job.files[0].target.suffix)
    if form is not None and not form.kinds:
        raise UnsupportedImageError(f"{form.name} cannot be written", "choose another format with -o")
    if (
        form is not None
        and job.header is not None
        and job.header.planes > 1
        and not (first_frame or job.slices)
    ):
        require_several_carried(form, job.header.planes, job.header.codec)
