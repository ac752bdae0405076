"""Memory: how much an image needs, how much the machine has, and whether it suffices."""

from __future__ import annotations

import ctypes
import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tvdenoise.errors import UnsupportedImageError
from tvdenoise.machine import control_groups, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

_PROCESS = Path("/proc/self")
_MACHINE = Path("/proc/meminfo")
#: Files of a control group: limit and usage, and the entry of memory.stat that counts droppable pages.
_SECOND_VERSION = ("memory.max", "memory.current", "inactive_file")
_FIRST_VERSION = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_KIBIBYTE = 1024


def available_memory() -> int | None:
    """Return the memory available to this process in bytes, or None if unknown."""
    known = [bound for bound in (_of_machine(), _of_groups(), _of_limit()) if bound is not None]
    return min(known) if known else None


def resident_memory() -> int | None:
    """Return the memory this process holds in bytes, or None if unknown."""
    resident = _entries(text_of(_PROCESS / "status")).get("VmRSS")
    return None if resident is None else resident * _KIBIBYTE


def give_back_freed_memory() -> None:
    """Return freed memory from the allocator to the system, where that is possible (glibc)."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _of_machine() -> int | None:
    available = _entries(text_of(_MACHINE)).get("MemAvailable")
    if available is not None:
        return available * _KIBIBYTE
    with suppress(AttributeError, ValueError, OSError):  # macOS and others: total memory
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_groups() -> int | None:
    """Return the least memory left in any control group of this process or its ancestors."""
    left = []
    for group in control_groups("memory"):
        limit_name, usage_name, droppable = _SECOND_VERSION if group.is_second else _FIRST_VERSION
        limit, usage = _number(group.text(limit_name)), _number(group.text(usage_name))
        if limit is not None and usage is not None:
            left.append(limit - usage + _entries(group.text("memory.stat")).get(droppable, 0))
    return min(left) if left else None


def _of_limit() -> int | None:
    """Return what is left of the address space limit (`ulimit -v`)."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    return limit - _entries(text_of(_PROCESS / "status")).get("VmSize", 0) * _KIBIBYTE


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isdecimal() else None  # "max" if there is no limit


def _entries(text: str) -> dict[str, int]:
    """Parse lines "NAME: NUMBER UNIT" or "NAME NUMBER"."""
    words = (line.replace(":", " ").split() for line in text.splitlines())
    return {line[0]: int(line[1]) for line in words if len(line) > 1 and line[1].isdecimal()}


#: Bytes a process takes without any image: interpreter, libraries and kernels.
PROCESS = 200_000_000
_FLOAT, _DOUBLE = 4, 8  # bytes
_GREY_PLANES = 3  # the noisy image, the iterate and the gradient, in single precision
_COLOUR_PLANES = 4  # per channel: those, and one for the colour rotation
_WEIGHTED_PLANES, _WEIGHTED_PLANES_A_CHANNEL = 3, 4  # for volumes with masked or missing pixels
#: With learned filters, more per channel: the direction, a transform and its inverse, the scaling of the metric and the
#: weights of the certificate, and of the coarse filters the smoothed image that they see, the gradient there, and that
#: smoothed.
_FILTER_PLANES = 8
_COPIES = 3.25  # of the stored values: the decoder's, ours, the result, and the encoded data
#: Bytes per pixel for despeckling a 1-bit image: the decoder's, ours, specks, the result, and the encoder's.
BYTES_OF_BILEVEL = 8
_CHOICE = 48_000_000  # approximate bytes for choosing the parameters, on a sample of bounded size
_SMALL = 1 << 26  # bytes that need no check
_CODE = 150_000_000  # bytes of code that is loaded only after an image has been read
_USABLE = 0.8  # of the available memory, for denoising in parts


def bytes_needed(
    columns: int,
    rows: int,
    channels: int,
    bytes_per_sample: int,
    *,
    has_alpha: bool | None = None,
    is_double: bool = False,
    in_bands: bool = False,
) -> int:
    """Return the peak memory for reading, denoising and writing an image, in bytes.

    channels: including alpha, and of a palette the channels it expands to; has_alpha: whether the last channel is
        alpha, by default true of 2 and 4 channels; is_double: it is denoised in double precision; in_bands: band by
        band.
    The result is 1.0 to 1.5 times what was measured on 24 megapixels, in PNG, JPEG, TIFF, WebP, BMP and PNM.
    The interpreter and the libraries (about 0.2 GB per process) are not included.
    """
    if has_alpha is None:
        has_alpha = channels in (2, 4)
    colours = channels - has_alpha
    planes = _GREY_PLANES if colours == 1 else _COLOUR_PLANES * colours
    if in_bands:
        planes = _GREY_PLANES + colours + 2  # the results of all bands, and a copy of one
    a_value = _DOUBLE if is_double else _FLOAT
    return math.ceil(columns * rows * (a_value * planes + _COPIES * channels * bytes_per_sample)) + _CHOICE


def bytes_of_filters(
    columns: int, rows: int, channels: int, gate_values: Callable[[int], int], *, is_double: bool = False
) -> int:
    """Return the memory that learned filters need besides `bytes_needed`.

    channels: that are denoised together. gate_values: the values per pixel that gates take for so many channels.
    """
    a_value = _DOUBLE if is_double else _FLOAT
    values = (_FILTER_PLANES + channels) * channels + gate_values(channels)
    return values * a_value * columns * rows


def volume_bytes_needed(
    columns: int,
    rows: int,
    planes: int,
    channels: int,
    bytes_per_sample: int,
    *,
    has_alpha: bool = False,
    has_weights: bool = False,
    is_double: bool = False,
) -> int:
    """Return the peak memory for denoising a volume, in bytes.

    channels: without alpha; has_weights: pixels are masked or may be missing; is_double: see `bytes_needed`.
    """
    voxels = columns * rows * planes
    arrays = _GREY_PLANES if channels == 1 else _COLOUR_PLANES * channels
    if has_weights:
        arrays += _WEIGHTED_PLANES + _WEIGHTED_PLANES_A_CHANNEL * channels
    a_voxel = (_DOUBLE if is_double else _FLOAT) * arrays + channels * bytes_per_sample + has_alpha
    one = bytes_needed(
        columns, rows, channels + has_alpha, bytes_per_sample, has_alpha=has_alpha, is_double=is_double
    )
    return voxels * a_voxel + one


@dataclass(frozen=True)
class MemoryBudget:
    """The memory a run may use.

    total: bytes, code included, or None for what the machine has.
    """

    total: int | None = None

    def shortage(self, needed: int) -> str | None:
        """Explain why ``needed`` bytes are not available; None if they are.

        With a given total, the result depends on the total alone unless the machine has less.
        """
        if self.total is not None and needed + PROCESS > self.total:
            return f"it needs {_rounded_up(needed + PROCESS)} of memory, and {self._allowed}"
        if needed <= _SMALL:
            return None
        available = available_memory()
        if available is not None and needed + _CODE > available:
            return (
                f"it needs {_gigabytes(needed + _CODE)} of memory, and {_gigabytes(available)} is available"
            )
        return None

    def shortage_of_parts(self, missing: int) -> str:
        """Explain that even denoising in parts lacks ``missing`` bytes."""
        if self.total is not None:
            return (
                f"it needs {_rounded_up(self.total + missing)} of memory even in parts, and {self._allowed}"
            )
        return f"even in parts it needs {_rounded_up(missing)} of memory more than is available"

    @property
    def _allowed(self) -> str:
        return f"--memory allows {(self.total or 0) / 1e9:.2f} GB"

    @property
    def remedy(self) -> str:
        """How the user can provide more memory."""
        return "free some memory" if self.total is None else "allow more with --memory"

    @property
    def for_parts(self) -> int | None:
        """Bytes that denoising in parts may take; None if unknown."""
        available = available_memory()
        known = [] if available is None else [int(_USABLE * (available - _CODE))]
        return min([*known, *(() if self.total is None else (self.total - PROCESS,))], default=None)

    @property
    def left(self) -> int | None:
        """Bytes that this process may take beyond what it holds now; None if unknown.

        Returns freed memory to the system first: the parts of an image must not depend on earlier images.
        """
        give_back_freed_memory()
        available = available_memory()
        known = [] if available is None else [int(_USABLE * available)]
        held = resident_memory() or PROCESS
        return min([*known, *(() if self.total is None else (self.total - held,))], default=None)


def require_memory(needed: int, budget: MemoryBudget | None = None) -> None:
    """Raise UnsupportedImageError if ``needed`` bytes exceed the budget."""
    budget = budget or MemoryBudget()
    if (shortage := budget.shortage(needed)) is not None:
        raise UnsupportedImageError(shortage, f"split the image, or {budget.remedy}")


def _gigabytes(number: int) -> str:
    return f"{max(number, 0) / 1e9:.1f} GB"


def _rounded_up(number: int) -> str:
    """Format a required size so that a limit of the printed value suffices."""
    return f"{math.ceil(number / 1e7) / 100:.2f} GB"
