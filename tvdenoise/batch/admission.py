"""Admission: what a file's header decides about denoising it. A run asks before it decodes, a dry run instead.

Errors in the data, and values that are refused (such as NaN), show only in the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvdenoise.batch.bilevel import require_despeckled
from tvdenoise.batch.denoiser import no_volume
from tvdenoise.batch.planes import require_single_for_extra_outputs
from tvdenoise.files.writing import require_kind_carried, require_several_carried
from tvdenoise.formats.registry import format_for, format_in_place

if TYPE_CHECKING:
    from tvdenoise.batch.outputs import Job
    from tvdenoise.files.opening import OpenedFile
    from tvdenoise.formats.family import Format


def form_of(job: Job, codec: str) -> Format:
    """The format of a job's target, given the codec of its source."""
    return format_in_place(job.target, codec) if job.in_place else format_for(job.target, codec)


def require_admitted(file: OpenedFile, job: Job, form: Format, *, volume: bool, impulses: str) -> None:
    """Raise UnsupportedImageError or UnreadableImageError for a file that cannot be denoised, or not be written.

    form: to write; volume, impulses: the options of these names.
    """
    contents = file.contents
    series = None if file.first_frame else contents.series
    if series is not None:
        require_several_carried(form, series.count, contents.family.codec)
        require_single_for_extra_outputs(job)
    for image in file.forms:
        require_kind_carried(image.kinds, contents.family.codec, image.size, form)
        if image.is_bilevel:
            require_despeckled(job, impulses, volume=volume)
    if volume and series is None:
        raise no_volume()
    if volume and series is not None:
        _ = series.axes.volumes
