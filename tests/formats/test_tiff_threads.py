"""A TIFF of many segments is written and read on any number of threads, with the same bytes and pixels."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import tifffile

from support.values import noise
from tvdenoise.errors import UnreadableImageError
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.reading import open_images
from tvdenoise.files.writing import encode
from tvdenoise.formats.registry import FORMAT_BY_EXTENSION
from tvdenoise.formats.tiff import writing
from tvdenoise.formats.tiff.writing import TiffTraits
from tvdenoise.machine import limited_threads

TIFF = FORMAT_BY_EXTENSION[".tif"]
VALUES = noise(100, 70, 3, dtype=np.uint16)


def _written(threads: int, **traits) -> bytes:
    image = DecodedImage(VALUES, noise(100, 70, dtype=np.uint16), codec="TIFF", traits=TiffTraits(**traits))
    with limited_threads(threads):
        return encode(image, TIFF)


@pytest.mark.parametrize("traits", [{}, {"tile": (16, 32)}, {"compression": "tiff_lzw"}], ids=str)
def test_segments_are_the_same_for_any_number_of_threads(traits, monkeypatch) -> None:
    monkeypatch.setattr(writing, "_STRIP", VALUES[0].nbytes)
    monkeypatch.setattr(writing, "_BANDS", 3)
    written = [_written(threads, **traits) for threads in (1, 2, 5)]
    assert written == written[:1] * 3
    assert tifffile.TiffFile(BytesIO(written[0])).pages.first.dataoffsets[4:], "several segments"
    np.testing.assert_array_equal(tifffile.imread(BytesIO(written[0]))[..., :3], VALUES)
    for threads in (1, 2, 5):
        with limited_threads(threads):
            found = open_images(BytesIO(written[0]))
        assert isinstance(found, DecodedImage)
        np.testing.assert_array_equal(found.intensities, VALUES)


def test_damaged_segments_are_refused_with_one_reason_for_any_number_of_threads(monkeypatch) -> None:
    monkeypatch.setattr(writing, "_STRIP", 4 * VALUES[0].nbytes)
    damaged = bytearray(_written(1))
    page = tifffile.TiffFile(BytesIO(damaged)).pages.first
    for number in (7, 3):
        start = page.dataoffsets[number]
        damaged[start : start + 12] = bytes((number,)) * 12
    reasons = set()
    for threads in (1, 2, 5):
        with limited_threads(threads), pytest.raises(UnreadableImageError) as raised:
            open_images(BytesIO(damaged))
        reasons.add(raised.value.reason)
    assert len(reasons) == 1
