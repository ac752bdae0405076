"""TIFF files assembled byte by byte."""

from __future__ import annotations

import struct


def simple_tiff(order: str, version: int, samples: int, bits: int, form: int) -> bytes:
    """Return a TIFF (version 42) or BigTIFF (43) of 2 × 1 zeros, with BitsPerSample stored inline."""
    big = version == 43
    entry, position = ("HHQQ", 16) if big else ("HHII", 8)
    entries = [(256, 2), (257, 1), (258, bits), (259, 1), (262, 2 if samples == 3 else 1), (277, samples)]
    entries += [(278, 1), (279, 2 * samples * bits // 8), (339, form)]
    data = b"II" if order == "<" else b"MM"
    data += struct.pack(f"{order}H", version) + struct.pack(
        f"{order}{'HHQ' if big else 'I'}", *((8, 0, 16) if big else (8,))
    )
    assert len(data) == position
    data += struct.pack(f"{order}{'Q' if big else 'H'}", len(entries) + 1)
    for tag, value in sorted([*entries, (273, 400)]):
        width = 8 if big else 4
        inline = struct.pack(f"{order}H", value).ljust(width, b"\0")
        data += struct.pack(f"{order}{entry[:-1]}", tag, 3, 1) + inline
    return data.ljust(400, b"\0") + bytes(2 * samples * bits // 8)
