"""Writing several pictures into one file, one by one as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tvdenoise.errors import UnsupportedImageError, UnwritableImageError
from tvdenoise.files.atomic import write_atomically
from tvdenoise.files.families import FAMILIES
from tvdenoise.files.families.tiff_tags import MALFORMED
from tvdenoise.files.formats import Format
from tvdenoise.files.picture import Picture
from tvdenoise.files.process_wide import PILLOW_SETTINGS
from tvdenoise.files.stack import Stack
from tvdenoise.files.writing import require_carried, require_readable

_FIRST_ALONE = "or take the first alone with --first-frame"


def require_several_carried(form: Format, count: int, codec: str) -> None:
    """Raise UnsupportedImageError unless a format holds as many pictures as a file of a codec does, and such."""
    remedy = f"keep the format of the input, {_FIRST_ALONE}"
    source, several = FAMILIES[codec].several, FAMILIES[form.codec].several
    assert source is not None
    if several is None:
        raise UnsupportedImageError(f"{form.name} holds one picture, and the file {count}", remedy)
    if source.is_of_frames != several.is_of_frames:
        what, other = ("animations", "pages") if source.is_of_frames else ("pages", "animations")
        raise UnsupportedImageError(f"{form.name} holds {other}, not {what}", remedy)


def require_stack_carried(stack: Stack, form: Format) -> None:
    """Raise UnsupportedImageError unless the format can hold the pictures, all of them, and their timing."""
    require_several_carried(form, stack.count, stack.codec)
    require_carried(stack.first, form)


@dataclass(frozen=True, eq=False)
class StackWriter:
    """Writes the pictures of a stack, as they become of it, in a format; see `write`."""

    stack: Stack
    form: Format
    quality: int | None = None

    def write_to(self, stream: BinaryIO, pictures: Iterable[Picture]) -> None:
        """To an empty stream that can be sought. Raises UnsupportedImageError and UnwritableImageError."""
        several = FAMILIES[self.form.codec].several
        assert several is not None
        try:
            with PILLOW_SETTINGS:
                several.write(self.stack.series, self._carried(pictures), stream, self.quality)
        except _PicturesError as error:
            raise error.cause from None
        except MALFORMED as error:
            if isinstance(error, OSError) and error.errno:  # of the disk
                raise
            raise UnwritableImageError(
                f"cannot encode it as {self.form.name}: {error}", "choose another format with -o"
            ) from error

    def write(
        self,
        target: Path,
        pictures: Iterable[Picture],
        *,
        before: Callable[[Path], None] | None = None,
        times: tuple[int, int] | None = None,
    ) -> None:
        """Into a target's place, once all are on the disk; see `writing.write`."""

        def verify(written: Path) -> None:
            require_readable(written, self.stack.first, self.form, self.stack.count)
            if before is not None:
                before(written)

        write_atomically(target, lambda stream: self.write_to(stream, pictures), verify, times)

    def _carried(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        try:
            for picture in pictures:
                require_carried(picture, self.form)
                yield picture
        except MALFORMED as error:
            raise _PicturesError(error) from error


class _PicturesError(Exception):
    """What went wrong before there was anything to encode."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause
