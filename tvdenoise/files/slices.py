"""Slices: the files of a folder, each with one image, that are the planes of one volume."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

from tvdenoise.errors import SeveralImagesError, TvdenoiseError, UnreadableImageError, UnsupportedImageError
from tvdenoise.files.decoded import PIXEL_KINDS, DecodedImage
from tvdenoise.files.memory import MemoryBudget
from tvdenoise.files.opening import OpenedFile, opened_file
from tvdenoise.files.orientation import Orientation
from tvdenoise.files.paths import printable, reason_of
from tvdenoise.files.reading import open_within
from tvdenoise.files.stack import DEPTH, Axes, Series, Stack

_NUMBER = re.compile(r"([0-9]+)")
_SPECIAL = re.compile(r"([*?[])")  # in shell patterns


class NumberingError(TvdenoiseError):
    """The names of files do not tell the order of slices."""


def in_order(names: Sequence[str]) -> list[str]:
    """Sort the names of slices by the last number that differs between them, 2 before 10.

    Raises NumberingError unless the names are alike but for their numbers, and the numbers follow each other.
    """
    parts = {name: _NUMBER.split(name) for name in names}
    _require_one_pattern(parts)
    numbers = {name: tuple(map(int, found[1::2])) for name, found in parts.items()}
    differing = [
        place for place, column in enumerate(zip(*numbers.values(), strict=True)) if len(set(column)) > 1
    ]
    place = differing[-1] if differing else -1
    ordered = sorted(names, key=lambda name: (numbers[name][place:] or (0,))[0])
    for name, following in pairwise(ordered):
        step = numbers[following][place] - numbers[name][place] if differing else 0
        if step == 0:
            raise _twice(name, following, parts[name], place if len(differing) > 1 else None)
        if step > 1:
            first, last = numbers[name][place] + 1, numbers[following][place] - 1
            missing = f"number {first} is" if step == 2 else f"numbers {first} to {last} are"
            raise NumberingError(
                f"{missing} missing between {printable(name)} and {printable(following)}",
                "add what is missing, or number the files without gaps",
            )
    return ordered


def _require_one_pattern(parts: dict[str, list[str]]) -> None:
    patterns = {name: tuple(found[::2]) for name, found in parts.items()}
    (usual, _), *others = Counter(patterns.values()).most_common()
    if not others:
        return
    other = others[0][0]
    names = list(parts)
    examples = [printable(next(name for name in names if patterns[name] == each)) for each in (usual, other)]
    remedy = "put them into folders of their own"
    if len(usual) > 1 and _selects(usual, patterns):
        remedy = f"choose one with --include {_quoted(usual)}"
    elif len(others) == 1 and _selects(other, patterns):
        remedy = f"leave one out with --exclude {_quoted(other)}"
    raise NumberingError(
        f"its images have names of {_count(len(others) + 1)} patterns, such as {' and '.join(examples)}, "
        "and the slices of a volume have one",
        f"{remedy}, or leave out --volume",
    )


def _selects(texts: tuple[str, ...], patterns: dict[str, tuple[str, ...]]) -> bool:
    """Return whether a shell pattern selects the names with these texts between numbers, and no others."""
    return all(fnmatchcase(name, _glob(texts)) == (own == texts) for name, own in patterns.items())


def _glob(texts: Sequence[str]) -> str:
    return "*".join(map(_escaped, texts))


def _quoted(texts: Sequence[str]) -> str:
    return shlex.quote(printable(_glob(texts)))


def _count(number: int) -> str:
    return {2: "two", 3: "three"}.get(number, str(number))


def _twice(name: str, other: str, parts: list[str], place: int | None) -> NumberingError:
    """The error for two slices with the same number; place: of this number, if other numbers differ."""
    reason = (
        f"{printable(name)} and {printable(other)} have the same number, and the slices of a volume do not"
    )
    if place is None:
        return NumberingError(reason, "number the files differently")
    before, after = "".join(parts[: 2 * place + 1]), "".join(parts[2 * place + 2 :])
    return NumberingError(
        reason, f"choose one volume with --include {_quoted((before, after))}, or leave out --volume"
    )


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"[\1]", text)


@contextmanager
def naming_slice(path: Path) -> Iterator[None]:
    """Prefix errors inside with the name of the slice."""
    try:
        yield
    except SeveralImagesError as error:
        reason = f"slice {printable(path.name)}: {error.reason}"
        raise UnsupportedImageError(reason, error.remedy_elsewhere) from error
    except TvdenoiseError as error:
        raise type(error)(f"slice {printable(path.name)}: {error.reason}", error.remedy) from error


def open_slices(
    paths: Sequence[Path],
    budget: MemoryBudget | None,
    max_megapixels: float,
    *,
    may_hold: tuple[float, ...] = (),
) -> Stack:
    """Return the images of the files, in this order, as the planes of one volume.

    The files are opened as they are read. budget: see `reading.open_within`. Raises UnreadableImageError and
    UnsupportedImageError, which name the slice.
    """
    first = _slice(paths[0], budget, max_megapixels, may_hold=may_hold)
    with naming_slice(paths[0]), opened_file(paths[0]) as file:
        stated = file.stated_spacing or Axes.plain(1)
    axes = Axes(DEPTH, (len(paths),), stated.spacing, stated.unit)

    def numbered(numbers: Iterable[int]) -> Iterator[DecodedImage]:
        for number in numbers:
            if number >= len(paths):
                return
            image = _slice(paths[number], budget, max_megapixels, may_hold=may_hold)
            _require_alike(image, first, paths[number])
            yield image

    return Stack(first, Series(axes), numbered)


def _slice(
    path: Path, budget: MemoryBudget | None, max_megapixels: float, *, may_hold: tuple[float, ...]
) -> DecodedImage:
    with naming_slice(path):
        try:
            with path.open("rb") as stream:
                found = open_within(stream, budget, max_megapixels, may_hold=may_hold, in_parts=False)
        except OSError as error:
            raise UnreadableImageError(reason_of(error)) from error
        if not isinstance(found, DecodedImage):
            raise _no_slice()
    return found


def require_single(file: OpenedFile) -> None:
    """Raise TvdenoiseError for a file whose header says that it is no slice."""
    if file.contents.series is not None:
        raise _no_slice()


def _no_slice() -> UnsupportedImageError:
    return UnsupportedImageError(
        "it holds several images", "leave it out with --exclude: it is no slice of a volume"
    )


def _require_alike(image: DecodedImage, first: DecodedImage, path: Path) -> None:
    """Raise UnsupportedImageError unless a slice has the size, kind, orientation and format of the first."""
    ours, theirs = _form(image), _form(first)
    if ours != theirs:
        what, own, other = next(
            found for found in zip(_FORM, ours, theirs, strict=True) if found[1] != found[2]
        )
        raise UnsupportedImageError(
            f"slice {printable(path.name)} differs from the first in its {what}: {own}, not {other}",
            "save all slices alike, or leave out with --exclude what is none",
        )


_FORM = ("format", "kind of pixels", "size", "orientation")


def _form(image: DecodedImage) -> tuple[str, ...]:
    columns, rows = image.size
    size = f"{columns} × {rows} pixels"
    return image.codec, PIXEL_KINDS[image.kind], size, str(Orientation.of(image).number)
