"""Masks: pictures that say where others are denoised and where they are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tvdenoise.errors import TvdenoiseError, UnreadableImageError, UnsupportedImageError, UsageError
from tvdenoise.files.paths import printable, reason_of
from tvdenoise.files.reading import open_pictures
from tvdenoise.files.stack import Stack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.files.picture import Picture


class MaskFile:
    """A file that holds one mask for all pictures, or one for each picture of a file that holds as many.

    Masks are (rows, columns), true where they are white, false where they are black. Reading raises UsageError for
    anything else.
    """

    def __init__(self, path: str, max_megapixels: float) -> None:
        self._path = path
        self._name = printable(path)
        self._max_megapixels = max_megapixels
        self._single: NDArray[np.bool_] | None = None
        self._count = 0

    def check(self) -> None:
        """Read all of it once."""
        for _ in self._read(None):
            pass

    def masks(self, found: Picture | Stack, numbers: Iterable[int]) -> Iterator[NDArray[np.bool_]]:
        """Those of the pictures of increasing numbers, without an end where one serves all.

        Raises UnsupportedImageError for pictures of another size, or of another number than there are masks.
        """
        if self._count == 0:
            next(self._read(None))
        count = found.count if isinstance(found, Stack) else 1
        if self._count not in (1, count):
            pictures = "a single picture" if count == 1 else f"{count} pictures"
            raise UnsupportedImageError(
                f"it holds {pictures} and the mask {self._name} {self._count}",
                "give a mask of one picture, which serves all, or of as many",
            )
        masks = self._read(numbers) if self._single is None else repeat(self._single)
        for mask in masks:
            self._require_size_of(mask, found.first if isinstance(found, Stack) else found)
            yield mask

    def _read(self, numbers: Iterable[int] | None) -> Iterator[NDArray[np.bool_]]:
        """The masks of some numbers, None for all."""
        try:
            with Path(self._path).open("rb") as stream:
                found = open_pictures(stream, self._max_megapixels, to_denoise=False)
                self._count = found.count if isinstance(found, Stack) else 1
                if not isinstance(found, Stack):
                    self._single = self._white_in(found)
                    yield self._single
                    return
                for picture in found.read(range(self._count) if numbers is None else numbers):
                    yield self._white_in(picture)
        except UsageError:
            raise
        except OSError as error:
            raise self._unusable(UnreadableImageError(reason_of(error))) from error
        except TvdenoiseError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: TvdenoiseError) -> UsageError:
        return UsageError(f"the mask {self._name} cannot be used: {error.reason}", error.remedy)

    def _white_in(self, picture: Picture) -> NDArray[np.bool_]:
        values = picture.intensities
        values = values if values.ndim == 3 else values[..., np.newaxis]
        white = 1 if picture.is_float else np.iinfo(values.dtype).max
        is_white: NDArray[np.bool_] = (values == white).all(axis=-1)
        others = np.count_nonzero(~(is_white | (values == 0).all(axis=-1)))
        if picture.channels == 4:  # inks
            raise UsageError(f"the mask {self._name} is in CMYK", "save it in grey, as PNG")
        if others:
            raise UsageError(
                f"{others} pixels of the mask {self._name} are neither black nor white",
                "make it of these two, and save it without loss, as PNG",
            )
        if picture.visible is not None:
            raise UsageError(f"the mask {self._name} is transparent in places", "save it without alpha")
        return is_white

    def _require_size_of(self, mask: NDArray[np.bool_], picture: Picture) -> None:
        rows, columns = mask.shape
        if picture.size != (columns, rows):
            own_columns, own_rows = picture.size
            raise UnsupportedImageError(
                f"the picture has {own_columns} × {own_rows} pixels and the mask {self._name} {columns} × {rows}",
                "give a mask of the same size",
            )
