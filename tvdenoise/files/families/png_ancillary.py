"""The chunks of a PNG beside its pixels: which are kept, which are out of date, and which are told to be left out."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping

COLOUR_CHUNKS = frozenset({b"cHRM", b"cICP", b"gAMA", b"sRGB"})
TEXT_CHUNKS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
BACKGROUND, RESOLUTION = b"bKGD", b"pHYs"
# What the reader and the writer see to themselves.
_HANDLED = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"eXIf", RESOLUTION, b"acTL", b"fcTL", b"fdAT"}
)
# What denoising makes untrue: how many bits mean something, when it was changed, how often colours occur, and
# where its rows lie in the file.
_OUT_OF_DATE = frozenset({b"sBIT", b"tIME", b"hIST", b"sPLT", b"iDOT"})
_PALETTE = 3
# The gamma and the primaries of sRGB, which every program assumes.
_USUAL = {
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
}


def is_copied(kind: bytes) -> bool:
    """Whether a chunk is another program's own, and marked as one that may be copied when pixels change."""
    return kind[1:2].islower() and kind[3:4].islower()


def keeps_background(depth: int, colour: int) -> bool:
    """Whether the background colour means the same in what is written."""
    return depth >= 8 and colour != _PALETTE


def notices_of_left_out(
    kinds: Collection[bytes], *, has_aspect: bool, keeps_background: bool
) -> tuple[str, ...]:
    """One notice that names the chunks that no PNG written has, where there are any.

    has_aspect: the resolution is in no unit, and says that pixels are not square.
    """
    kept = _HANDLED | COLOUR_CHUNKS | TEXT_CHUNKS | _OUT_OF_DATE
    kept |= {BACKGROUND} if keeps_background else set()
    left_out = {kind for kind in kinds if kind not in kept and not is_copied(kind)}
    left_out |= {RESOLUTION} if has_aspect else set()
    return _named(left_out)


def notices_elsewhere(kept: Mapping[bytes, bytes], kinds: Collection[bytes]) -> tuple[str, ...]:
    """One notice that names the chunks (kept: their contents by name) of which other formats know nothing."""
    names = {kind for kind in kept if kind not in COLOUR_CHUNKS | TEXT_CHUNKS}
    names |= {b"cICP"} & set(kept)
    if not {b"iCCP", b"sRGB"} & set(kinds):
        names |= {kind for kind, usual in _USUAL.items() if kept.get(kind, usual) != usual}
    return _named(names)


def _named(kinds: Collection[bytes]) -> tuple[str, ...]:
    names = ", ".join(kind.decode("latin-1") for kind in sorted(kinds))
    return (f"its PNG chunks {names} are left out",) if names else ()
