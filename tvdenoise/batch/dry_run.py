"""Dry run: predict what a plan would do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from tvdenoise.batch.admission import form_of, require_admitted
from tvdenoise.batch.denoiser import require_colour_noise
from tvdenoise.batch.in_place import slices_are_done, was_denoised
from tvdenoise.batch.large import require_parts_possible
from tvdenoise.batch.masks import MaskForm
from tvdenoise.batch.planes import require_one_size
from tvdenoise.batch.volumes import require_whole_volume
from tvdenoise.errors import TvdenoiseError, UnreadableImageError
from tvdenoise.files.large import require_large_carried
from tvdenoise.files.memory import MemoryBudget, require_memory
from tvdenoise.files.opening import axes_of, opened_file
from tvdenoise.files.paths import reason_of
from tvdenoise.files.reading import large_image
from tvdenoise.files.slices import naming_slice, require_single
from tvdenoise.files.writing import require_kind_carried

if TYPE_CHECKING:
    from tvdenoise.batch.outputs import Job
    from tvdenoise.batch.plan import Plan
    from tvdenoise.formats.family import Format


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
    has_weights: pixels are masked, or may be missing; impulses, chroma_only: the options of these names; form: of
    standard output; gate_values: of learned filters that denoise the images, see `bytes_of_filters`.
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
    form: Format | None = None
    chroma_only: bool = False
    gate_values: Callable[[int], int] | None = None

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
                self._require_slices_admitted(job)
            else:
                with opened_file(job.source, self.max_megapixels, first_frame=self.first_frame) as file:
                    if job.once and self._was_denoised(job, file.record):
                        return Prospect(source, target, Action.SKIP, "already denoised", size)
                    form = self.form or form_of(job, file.contents.family.codec)
                    require_admitted(file, job, form, volume=self.volume, impulses=self.impulses)
            self._require_mask_fits(job)
            if header is not None:
                require_colour_noise(
                    header.channels - header.has_alpha,
                    chroma_only=self.chroma_only,
                    in_bands=header.in_bands,
                )
            how = _IN_PARTS if self._is_in_parts(job) else None
        except TvdenoiseError as error:
            return Prospect(source, target, Action.FAIL, str(error), size)
        return Prospect(source, target, Action.DENOISE, how, size)

    def _require_slices_admitted(self, job: Job) -> None:
        """Raise TvdenoiseError for a slice whose header says that it cannot be read, or not be written."""
        for each in job.slices:
            with naming_slice(each.source), opened_file(each.source, self.max_megapixels) as file:
                require_single(file)
                codec, (image, *_) = file.contents.family.codec, file.forms
            if each is job.slices[0]:
                require_kind_carried(image.kinds, codec, image.size, form_of(each, codec))

    def _is_in_parts(self, job: Job) -> bool:
        """Return True if the file exceeds the memory. Raises TvdenoiseError if it cannot be denoised in parts."""
        if self.volume and job.header is not None:
            require_memory(job.header.bytes_needed, self.budget)
            needed = job.header.volume_bytes_needed(has_weights=self.has_weights)
            if (shortage := self.budget.shortage(needed)) is not None:
                require_whole_volume(self.mask, self.impulses, shortage, self.budget.remedy)
            return shortage is not None
        if job.header is None:
            return False
        needed = replace(job.header, gate_values=self.gate_values).bytes_needed
        if self.budget.shortage(needed) is None:
            return False
        opened = opened_file(
            job.source, self.max_megapixels, first_frame=self.first_frame, gate_values=self.gate_values
        )
        with opened as file:
            large = large_image(file, self.budget)
        if large is None:
            return False
        form = self.form or form_of(job, large.pixel.codec)
        require_large_carried(large, form, self.budget.remedy)
        require_parts_possible(self.mask, job, self.budget.remedy, self.impulses)
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

    def _was_denoised(self, job: Job, record: str | None) -> bool:
        try:
            return was_denoised(job, record, self.replaced)
        except OSError as error:
            raise UnreadableImageError(reason_of(error)) from error
