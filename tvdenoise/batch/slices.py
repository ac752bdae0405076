"""Folders of slices: which of the files found are a volume together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tvdenoise.batch.request import Found
from tvdenoise.errors import TvdenoiseError, UsageError
from tvdenoise.files.opening import Header, header_of
from tvdenoise.files.paths import printable
from tvdenoise.files.slices import NumberingError, in_order


@dataclass(frozen=True)
class FoundSlices:
    """The files of a folder that are the planes of one volume, in their order.

    header: of their stack.
    """

    folder: Path
    slices: tuple[Found, ...]
    header: Header


def with_volumes(entries: Iterable[Found]) -> Iterator[Found | FoundSlices]:
    """Yield the files found, and in place of those of a folder of slices, the folder.

    A folder that was searched holds slices if it has several files, and each holds one image. Raises UsageError for a
    folder of which that is true in part, and for slices that differ in size or kind, or whose names tell no order.
    """
    folders: dict[tuple[Path, Path] | Path, dict[Path, Found]] = {}
    for entry in entries:
        key = entry.source if entry.folder is None else (entry.folder, entry.place.parent)
        folders.setdefault(key, {}).setdefault(entry.source, entry)
    for key, found in folders.items():
        volume = _slices(list(found.values())) if isinstance(key, tuple) else None
        yield from found.values() if volume is None else (volume,)


def _slices(found: list[Found]) -> FoundSlices | None:
    """The volume in one folder; None if each file is to be denoised by itself."""
    headers = {entry: _header(entry.source) for entry in found}
    known = {entry: header for entry, header in headers.items() if header is not None}
    single = {entry: header for entry, header in known.items() if header.planes == 1}
    if len(found) < 2 or not single:
        return None
    folder = found[0].source.parent
    several = next((entry for entry in known if entry not in single), None)
    if several is not None:
        raise UsageError(
            f"{printable(folder)}: {printable(several.source.name)} holds several images, a volume by itself, and "
            f"{printable(next(iter(single)).source.name)} one, a slice",
            "choose with --include or --exclude, or put them into folders of their own",
        )
    by_name = {entry.source.name: entry for entry in found}
    try:
        ordered = [by_name[name] for name in in_order(list(by_name))]
    except NumberingError as error:
        raise UsageError(f"{printable(folder)}: {error.reason}", error.remedy) from error
    header = _require_one_form(folder, single)
    return FoundSlices(folder, tuple(ordered), replace(header, planes=len(found), volume=len(found)))


def _header(path: Path) -> Header | None:
    """The header of a file; None for one that fails later, when it is read."""
    try:
        return header_of(path)
    except TvdenoiseError:
        return None


def _require_one_form(folder: Path, headers: dict[Found, Header]) -> Header:
    """The header of all slices. Raises UsageError for slices that differ in size or kind."""
    (first, header), *others = headers.items()
    for entry, other in others:
        if other != header:
            raise UsageError(
                f"{printable(folder)}: the slices of a volume are of one size and kind, and "
                f"{printable(entry.source.name)} ({_shown(other)}) differs from {printable(first.source.name)} "
                f"({_shown(header)})",
                "leave out with --exclude what is no slice, or leave out --volume",
            )
    return header


def _shown(header: Header) -> str:
    alpha = ", with alpha" if header.has_alpha else ""
    channels = f"{header.channels} channel{'' if header.channels == 1 else 's'}"
    bits = f"{channels} of {8 * header.bytes_per_sample} bits{alpha}"
    return f"{header.codec}, {header.columns} × {header.rows} pixels, {bits}"
