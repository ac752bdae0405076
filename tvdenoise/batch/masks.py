"""Masks: images that mark which pixels of other images to denoise, and which to keep."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tvdenoise.batch.outputs import identity_of
from tvdenoise.errors import (
    SeveralImagesError,
    TvdenoiseError,
    UnreadableImageError,
    UnsupportedImageError,
    UsageError,
)
from tvdenoise.files.mask_values import MaskSource, MaskValues, mask_source
from tvdenoise.files.orientation import Orientation
from tvdenoise.files.paths import printable, reason_of
from tvdenoise.files.slices import in_order, naming_slice
from tvdenoise.files.stack import Stack
from tvdenoise.formats.registry import has_image_extension

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.batch.plan import Plan
    from tvdenoise.files.decoded import DecodedImage
    from tvdenoise.options import FileOptions


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

    above: True where a value is above it; None takes booleans, files of two values and labels, True where not zero.
    Masks are boolean (rows, columns), True where to denoise; they apply to images as shown, after orientation. Reading
    raises UsageError for files that are no mask.
    """

    def __init__(self, path: str, max_megapixels: float, above: float | None = None) -> None:
        self._path = path
        self._name = printable(path)
        self._max_megapixels = max_megapixels
        self._above = above
        self._single: NDArray[np.bool_] | None = None
        self._count = 0

    def check(self) -> MaskForm:
        """Read the whole file once. Also raises UsageError if nothing would be denoised."""
        shape, some_are_in = (0, 0), False
        kinds = _Kinds(self._name)
        for values, mask in self._read(None):
            if self._above is None:
                kinds.add(values)
            shape, some_are_in = mask.shape, some_are_in or bool(mask.any())
        kinds.require_clear()
        if not some_are_in:
            raise self._empty()
        return self._form(shape)

    def _empty(self) -> UsageError:
        if self._above is not None:
            reason = f"no pixel of the mask {self._name} is above {self._above:g}: nothing would be denoised"
            return UsageError(reason, "choose a lower --mask-above")
        return UsageError(
            f"the mask {self._name} is black everywhere: nothing would be denoised",
            "make the area to denoise white",
        )

    def masks(self, found: DecodedImage | Stack, numbers: Iterable[int]) -> Iterator[NDArray[np.bool_]]:
        """Yield the masks of the images with these increasing numbers, oriented as stored; a single mask, forever.

        Raises UnsupportedImageError if the size of the images, or their number, differs from that of the masks.
        """
        if self._count == 0:
            next(self._read((0,)))
        self._form((0, 0)).require_count(found.count if isinstance(found, Stack) else 1)
        masks = (mask for _, mask in self._read(numbers)) if self._single is None else repeat(self._single)
        for mask in masks:
            yield self._as_stored(mask, found.first if isinstance(found, Stack) else found)

    def _form(self, shape: tuple[int, ...]) -> MaskForm:
        rows, columns = shape
        return MaskForm(self._name, self._count, columns, rows)

    def _read(self, numbers: Iterable[int] | None) -> Iterator[tuple[MaskValues, NDArray[np.bool_]]]:
        """Yield the images with these numbers (None for all), as stored and as masks."""
        try:
            with self._opened() as source:
                self._count = source.count
                for values in source.read(range(source.count) if numbers is None else numbers):
                    mask = self._mask_in(values)
                    if source.is_single:
                        self._single = mask
                    yield values, mask
        except UsageError:
            raise
        except OSError as error:
            raise self._unusable(UnreadableImageError(reason_of(error))) from error
        except TvdenoiseError as error:
            raise self._unusable(error) from error

    @contextmanager
    def _opened(self) -> Iterator[MaskSource]:
        path = Path(self._path)
        if path.is_dir():
            yield _slices(masks_in(path), self._max_megapixels)
            return
        with path.open("rb") as stream, mask_source(stream, self._max_megapixels) as source:
            yield source

    def _unusable(self, error: TvdenoiseError) -> UsageError:
        remedy = error.remedy_elsewhere if isinstance(error, SeveralImagesError) else error.remedy
        if os.path.isdir(self._path):
            remedy = "give a folder with one mask for each slice, with names that differ only in their number"
        return UsageError(f"the mask {self._name} cannot be used: {error.reason}", remedy)

    def _mask_in(self, found: MaskValues) -> NDArray[np.bool_]:
        """True where to denoise, oriented as shown."""
        values = found.values
        if values.dtype.kind == "f" and (missing := np.count_nonzero(np.isnan(values))):
            raise UsageError(
                f"{missing} values of the mask {self._name} are NaN",
                "replace them by zero, or by another number",
            )
        if found.has_transparency:
            raise UsageError(f"the mask {self._name} has transparent pixels", "save it without alpha")
        if self._above is not None:
            grey = values.mean(axis=-1) if values.ndim == 3 else values
            return np.asarray(grey > self._above)
        is_in: NDArray[np.bool_] = values != 0
        return np.asarray(is_in.any(axis=-1)) if values.ndim == 3 else is_in

    def _as_stored(self, mask: NDArray[np.bool_], image: DecodedImage) -> NDArray[np.bool_]:
        """Turn a mask from the orientation of display to that of an image's stored pixels."""
        orientation = Orientation.of(image)
        columns, rows = orientation.shown_size(image.size)
        self._form(mask.shape).require_size(columns, rows, is_turned=image.size != (columns, rows))
        return np.ascontiguousarray(orientation.stored(mask))


def mask_file_of(settings: FileOptions) -> MaskFile | None:
    """The file that the options name as the mask, if they do."""
    if settings.mask is None:
        return None
    return MaskFile(settings.mask, settings.max_megapixels, settings.mask_above)


_MOST_LEVELS = 32  # of images whose neighbouring pixels mostly differ


class _Kinds:
    """What the values of all images of a mask file are, seen together: whether "not zero" is what they mean.

    It is for booleans, for files of two values of which one is zero, and for labels. It is not for files that are
    compressed with loss, or shaded: grey levels up to the largest of their type, or that mostly differ from pixel to
    pixel. There nothing but a threshold tells in from out.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._levels: NDArray[Any] = np.empty(0)
        self._dtype = np.dtype(bool)
        self._largest = 1
        self._unclear = 0  # values that are neither zero nor the largest
        self._is_lossy = self._is_rough = self._is_palette = False

    def add(self, found: MaskValues) -> None:
        """Count the values of an image."""
        values = _without_colours(found.values)
        self._dtype, self._largest, self._is_palette = values.dtype, found.largest, found.is_palette
        self._is_lossy |= found.is_lossy
        self._unclear += int(np.count_nonzero((values != 0) & (values != found.largest)))
        levels = np.unique(values)
        self._levels = np.union1d(self._levels, levels).astype(values.dtype)
        self._is_rough |= len(levels) > _MOST_LEVELS and _differs_mostly(values)

    def require_clear(self) -> None:
        """Raise UsageError unless "not zero" is what the values mean."""
        if self._unclear == 0 or self._is_clear():
            return
        middle = float(self._levels.min()) / 2 + float(self._levels.max()) / 2
        middle = np.floor(middle) if self._dtype.kind in "iu" else middle
        raise UsageError(
            f"{self._unclear} pixels of the mask {self._name} are neither black nor white",
            "use only these two, and save it losslessly, as PNG, or choose what is in by a value, such as "
            f"--mask-above {middle:.6g}",
        )

    def _is_clear(self) -> bool:
        count, has_zero = len(self._levels), bool((self._levels == 0).any())
        is_one = count == 1 and bool(self._levels[0] == 1)
        if self._is_lossy:
            return False
        if is_one or (count <= 2 and has_zero):
            return True
        if self._dtype.kind == "f" or self._is_rough:
            return False
        if self._dtype.itemsize > 2:  # hardly any image has these types
            return True
        is_shaded = not self._is_palette and bool((self._levels == self._largest).any())
        return has_zero and not is_shaded


def _without_colours(values: NDArray[Any]) -> NDArray[Any]:
    """Grey values of an image whose channels are equal; otherwise booleans for one colour on black, and the
    means of the channels, which are shades, for more colours."""
    if values.ndim == 2:
        return values
    if (values == values[..., :1]).all():
        return values[..., 0]
    some = values[(values != 0).any(axis=-1)][0]
    is_some: NDArray[np.bool_] = (values == some).all(axis=-1)
    if (is_some | (values == 0).all(axis=-1)).all():
        return is_some
    return np.asarray(values.mean(axis=-1))


def _differs_mostly(values: NDArray[Any]) -> bool:
    """Return whether most pixels differ from their neighbour in the row or in the column, as labels do not."""
    return any(
        beside.size > 0 and np.count_nonzero(beside) > beside.size / 2
        for beside in (values[:, 1:] != values[:, :-1], values[1:] != values[:-1])
    )


def _slices(paths: Sequence[Path], max_megapixels: float) -> MaskSource:
    """The masks in files of one image each, opened as they are read."""

    def one(path: Path) -> MaskValues:
        with naming_slice(path), path.open("rb") as stream, mask_source(stream, max_megapixels) as source:
            if not source.is_single:
                raise UnsupportedImageError("it holds several images")
            return next(source.read((0,)))

    first = one(paths[0])

    def read(numbers: Iterable[int]) -> Iterator[MaskValues]:
        for number in numbers:
            if number >= len(paths):
                return
            found = one(paths[number])
            if found.values.shape[:2] != first.values.shape[:2]:
                with naming_slice(paths[number]):
                    raise UnsupportedImageError("it differs from the first in its size")
            yield found

    return MaskSource(len(paths), is_single=False, read=read)


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
