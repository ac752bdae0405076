"""Masks: images that mark which pixels of other images to denoise, and which to keep."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.batch.outputs import identity_of
from tvdenoise.errors import (
    SeveralImagesError,
    TvdenoiseError,
    UnreadableImageError,
    UnsupportedImageError,
    UsageError,
)
from tvdenoise.files.orientation import Orientation
from tvdenoise.files.paths import printable, reason_of
from tvdenoise.files.reading import open_images
from tvdenoise.files.slices import in_order, open_slices
from tvdenoise.files.stack import Stack
from tvdenoise.formats.registry import has_image_extension

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.batch.plan import Plan
    from tvdenoise.files.decoded import DecodedImage


@dataclass(frozen=True)
class MaskForm:
    """Number and size of the masks in a file; a single mask applies to any number of images."""

    name: str
    count: int
    columns: int
    rows: int

    def require_count(self, images: int) -> None:
        """Raise UnsupportedImageError unless the masks suit this number of images."""
        if self.count in (1, images):
            return
        raise UnsupportedImageError(
            f"it holds {'a single image' if images == 1 else f'{images} images'} "
            f"and the mask {self.name} has {self.count}",
            "give a mask with one image, used for all, or with as many images",
        )

    def require_size(self, columns: int, rows: int, *, is_turned: bool = False) -> None:
        """Raise UnsupportedImageError for an image of another size as shown; is_turned: it is stored rotated."""
        if (columns, rows) == (self.columns, self.rows):
            return
        turned = ", turned by its orientation," if is_turned else ""
        raise UnsupportedImageError(
            f"the image{turned} has {columns} × {rows} pixels "
            f"and the mask {self.name} has {self.columns} × {self.rows}",
            "give a mask of the same size",
        )

    def require_likely(self, columns: int, rows: int, images: int) -> None:
        """Check count and size from an image's header alone: the image may be stored rotated."""
        self.require_count(images)
        if (rows, columns) != (self.columns, self.rows):
            self.require_size(columns, rows)


class MaskFile:
    """A file with one mask for all images, or one mask for each image of a stack; or a folder of such masks.

    Masks are boolean (rows, columns), True for white, False for black; they apply to images as shown, after
    orientation. Reading raises UsageError for anything else.
    """

    def __init__(self, path: str, max_megapixels: float) -> None:
        self._path = path
        self._name = printable(path)
        self._max_megapixels = max_megapixels
        self._single: NDArray[np.bool_] | None = None
        self._count = 0

    def check(self) -> MaskForm:
        """Read the whole file once. Also raises UsageError if all masks are black everywhere."""
        shape, some_are_white = (0, 0), False
        for mask in self._read(None):
            shape, some_are_white = mask.shape, some_are_white or bool(mask.any())
        if not some_are_white:
            raise UsageError(
                f"the mask {self._name} is black everywhere: nothing would be denoised",
                "make the area to denoise white",
            )
        return self._form(shape)

    def masks(self, found: DecodedImage | Stack, numbers: Iterable[int]) -> Iterator[NDArray[np.bool_]]:
        """Yield the masks of the images with these increasing numbers, oriented as stored; a single mask, forever.

        Raises UnsupportedImageError if the size of the images, or their number, differs from that of the masks.
        """
        if self._count == 0:
            next(self._read(None))
        self._form((0, 0)).require_count(found.count if isinstance(found, Stack) else 1)
        masks = self._read(numbers) if self._single is None else repeat(self._single)
        for mask in masks:
            yield self._as_stored(mask, found.first if isinstance(found, Stack) else found)

    def _form(self, shape: tuple[int, ...]) -> MaskForm:
        rows, columns = shape
        return MaskForm(self._name, self._count, columns, rows)

    def _read(self, numbers: Iterable[int] | None) -> Iterator[NDArray[np.bool_]]:
        """Yield the masks with these numbers; None for all."""
        try:
            with self._opened() as found:
                self._count = found.count if isinstance(found, Stack) else 1
                if not isinstance(found, Stack):
                    self._single = self._white_in(found)
                    yield self._single
                    return
                for image in found.read(range(self._count) if numbers is None else numbers):
                    yield self._white_in(image)
        except UsageError:
            raise
        except OSError as error:
            raise self._unusable(UnreadableImageError(reason_of(error))) from error
        except TvdenoiseError as error:
            raise self._unusable(error) from error

    @contextmanager
    def _opened(self) -> Iterator[DecodedImage | Stack]:
        path = Path(self._path)
        if path.is_dir():
            yield open_slices(masks_in(path), None, self._max_megapixels)
            return
        with path.open("rb") as stream:
            yield open_images(stream, self._max_megapixels, to_denoise=False)

    def _unusable(self, error: TvdenoiseError) -> UsageError:
        remedy = error.remedy_elsewhere if isinstance(error, SeveralImagesError) else error.remedy
        if os.path.isdir(self._path):
            remedy = "give a folder with one mask for each slice, with names that differ only in their number"
        return UsageError(f"the mask {self._name} cannot be used: {error.reason}", remedy)

    def _white_in(self, image: DecodedImage) -> NDArray[np.bool_]:
        """True where a mask is white, oriented as shown."""
        values = image.intensities
        values = values if values.ndim == 3 else values[..., np.newaxis]
        white = 1 if image.is_float else np.iinfo(values.dtype).max
        is_white: NDArray[np.bool_] = (values == white).all(axis=-1)
        others = np.count_nonzero(~(is_white | (values == 0).all(axis=-1)))
        if image.channels == 4:  # inks
            raise UsageError(f"the mask {self._name} is in CMYK", "save it in grey, as PNG")
        if others:
            raise UsageError(
                f"{others} pixels of the mask {self._name} are neither black nor white",
                "use only these two, and save it losslessly, as PNG",
            )
        if image.visible is not None:
            raise UsageError(f"the mask {self._name} has transparent pixels", "save it without alpha")
        return Orientation.of(image).shown(is_white)

    def _as_stored(self, mask: NDArray[np.bool_], image: DecodedImage) -> NDArray[np.bool_]:
        """Turn a mask from the orientation of display to that of an image's stored pixels."""
        orientation = Orientation.of(image)
        columns, rows = orientation.shown_size(image.size)
        self._form(mask.shape).require_size(columns, rows, is_turned=image.size != (columns, rows))
        return np.ascontiguousarray(orientation.stored(mask))


def masks_in(folder: Path) -> list[Path]:
    """The masks in a folder, in the order of their numbers. Raises TvdenoiseError and OSError."""
    names = [path.name for path in folder.iterdir() if has_image_extension(path) and path.name[0] != "."]
    if not names:
        raise UnreadableImageError("it is a folder without images")
    return [folder / name for name in in_order(names)]


def require_apart(path: str, plan: Plan) -> None:
    """Raise UsageError if the mask is also an input, or would be overwritten."""
    name, jobs = printable(path), (*plan.jobs, *plan.skipped)
    masks = set(map(identity_of, masks_in(Path(path)) if os.path.isdir(path) else [Path(path)]))
    for job in (file for each in jobs for file in each.files):
        if identity_of(job.source) in masks:
            raise UsageError(
                f"{name} is both the mask and an input", "move it elsewhere, or leave it out with --exclude"
            )
        if not masks.isdisjoint(map(identity_of, job.outputs)):
            reason = f"{name} is the mask and would be replaced by the output of {printable(job.source)}"
            raise UsageError(reason, "choose another name with -o")
