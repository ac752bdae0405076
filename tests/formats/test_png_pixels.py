"""Large PNG files are compressed in blocks, on any number of threads, and hold the same pixels in the same size."""

from __future__ import annotations

from io import BytesIO

import cv2
import imagecodecs
import numpy as np
import pytest
from PIL import Image

from support.metadata import PROFILE, exif_bytes
from support.round_trips import decoded_of
from support.samples import clean
from support.values import noise
from tvdenoise.files.decoded import DecodedImage, Metadata
from tvdenoise.files.reading import open_images
from tvdenoise.files.writing import encode
from tvdenoise.formats import png_pixels
from tvdenoise.formats.png_chunks import chunks_of
from tvdenoise.formats.registry import FORMAT_BY_EXTENSION
from tvdenoise.machine import limited_threads

PNG = FORMAT_BY_EXTENSION[".png"]


def _pillows(values: np.ndarray) -> bytes:
    contents = BytesIO()
    Image.fromarray(values).save(contents, "PNG")
    return contents.getvalue()


@pytest.mark.parametrize("kind", ["L", "LA", "RGB", "RGBA", "I;16", "LA;16", "RGB;16", "RGBA;16"])
def test_blocks_hold_the_pixels_and_metadata_for_any_number_of_threads(kind: str, monkeypatch) -> None:
    image = decoded_of(kind)
    metadata = Metadata(icc=PROFILE, exif=exif_bytes(1), text=(("Title", "blocks"),))
    image = DecodedImage(image.intensities, image.alpha, metadata=metadata)
    whole = encode(image, PNG)
    monkeypatch.setattr(png_pixels, "_BLOCK", 2 * image.intensities[0].nbytes)
    written = []
    for threads in (1, 2, 5):
        with limited_threads(threads):
            written.append(encode(image, PNG))
    assert written[0] == written[1] == written[2] != whole
    found = open_images(BytesIO(written[0]))
    assert isinstance(found, DecodedImage)
    np.testing.assert_array_equal(found.intensities, image.intensities)
    if image.alpha is not None:
        np.testing.assert_array_equal(found.alpha, image.alpha)
    np.testing.assert_array_equal(imagecodecs.png_decode(written[0]), imagecodecs.png_decode(whole))
    assert cv2.imdecode(np.frombuffer(written[0], np.uint8), cv2.IMREAD_UNCHANGED) is not None
    other, same = (
        [chunk for chunk in chunks_of(BytesIO(data), None) if chunk.kind != b"IDAT"]
        for data in (written[0], whole)
    )
    assert other == same


def test_photographs_and_drawings_are_no_larger_than_pillow_makes_them(monkeypatch) -> None:
    monkeypatch.setattr(png_pixels, "_BLOCK", 1 << 16)
    photograph = (clean("coffee", colour=True) * 255).astype(np.uint8)
    drawing = np.tile(noise(16, 16) // 128 * 255, (24, 32))
    for values in (photograph, drawing):
        assert len(values) * values[0].nbytes > 2 << 16
        written = encode(DecodedImage(values), PNG)
        assert len(written) < 1.02 * len(_pillows(values)) + 1000


def test_only_rows_without_long_matches_are_compressed_by_their_runs() -> None:
    photograph = noise(1 << 16).tobytes()
    assert png_pixels._strategy_for(photograph) == png_pixels.zlib.Z_RLE
    assert png_pixels._strategy_for(photograph[:1000] * 64) != png_pixels.zlib.Z_RLE
