"""Planes that wait until their turn to be written comes, in a file without a name."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Shelf:
    """Holds arrays of one shape and type by their numbers; the file is as long as the most that were held at a time.

    folder: where the file lies, None for the system's folder of temporary files. It vanishes however the process ends.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        self._slots: dict[int, int] = {}
        self._free: list[int] = []
        self._like: NDArray[Any] = np.empty(0)

    def __enter__(self) -> Shelf:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def __contains__(self, number: int) -> bool:
        return number in self._slots

    @property
    def length(self) -> int:
        """Of the file, in bytes."""
        return 0 if self._file is None else self._file.seek(0, os.SEEK_END)

    def put(self, number: int, values: NDArray[Any]) -> None:
        """Raises OSError."""
        if self._file is None:
            self._file = TemporaryFile(dir=self._folder)  # noqa: SIM115  # as long as this lasts
        self._like = values[:0]
        slot = self._free.pop() if self._free else len(self._slots)
        self._file.seek(slot * values.nbytes)
        self._file.write(np.ascontiguousarray(values).data)
        self._slots[number] = slot

    def take(self, number: int, shape: tuple[int, ...]) -> NDArray[Any]:
        """What was put there, which is held no more. Raises OSError."""
        assert self._file is not None
        values = np.empty(shape, self._like.dtype)
        slot = self._slots.pop(number)
        self._file.seek(slot * values.nbytes)
        if self._file.readinto(values.data.cast("B")) != values.nbytes:  # type: ignore[attr-defined]
            raise OSError("a temporary file was cut short")
        self._free.append(slot)
        return values
