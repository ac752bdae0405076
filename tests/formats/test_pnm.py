"""The portable maps of floats, PFM, and 16 bits in plain text."""

from __future__ import annotations

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from support.readers import tiff_values
from support.round_trips import close, returned
from support.values import noise
from tvdenoise.errors import TvdenoiseError, UnreadableImageError
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.reading import read
from tvdenoise.files.writing import encode
from tvdenoise.formats.registry import FORMAT_BY_EXTENSION

GREY = noise(5, 7, dtype=np.float32) * 7 - 2
COLOUR = noise(5, 7, 3, dtype=np.float32) * 7 - 2


def pfm(values: np.ndarray, order: str = "<", scale: str = "1.0", separator: str = "\n") -> bytes:
    sign = "-" if order == "<" else ""
    kind = "PF" if values.ndim == 3 else "Pf"
    header = separator.join((kind, f"{values.shape[1]} {values.shape[0]}", sign + scale)) + "\n"
    return header.encode() + values[::-1].astype(f"{order}f4").tobytes()


@pytest.mark.parametrize("extension", ["pfm", "pnm"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("values", [GREY, COLOUR], ids=["grey", "colour"])
def test_a_pfm_comes_through_in_either_byte_order(values, order, extension, command, tmp_path: Path) -> None:
    name = f"a.{extension}"
    (tmp_path / name).write_bytes(pfm(values, order))
    np.testing.assert_array_equal(read(tmp_path / name).intensities, values)
    written = returned(command, name).read_bytes()
    assert written.startswith(pfm(values)[:12])
    close(np.frombuffer(written[-values.nbytes :], "<f4").reshape(values.shape)[::-1], values)
    assert len(written) == len(pfm(values))


def test_pillow_reads_what_is_written_in_grey() -> None:
    from io import BytesIO

    with Image.open(BytesIO(encode(DecodedImage(GREY), FORMAT_BY_EXTENSION[".pfm"]))) as opened:
        np.testing.assert_array_equal(np.array(opened), GREY)


def test_the_first_row_of_a_pfm_is_the_lowest(tmp_path: Path) -> None:
    (tmp_path / "a.pfm").write_bytes(b"PF 1 2 1.0\n" + struct.pack(">6f", *range(6)))
    assert read(tmp_path / "a.pfm").intensities.tolist() == [[[3, 4, 5]], [[0, 1, 2]]]


@pytest.mark.parametrize("values", [GREY, COLOUR], ids=["grey", "colour"])
def test_the_scale_of_a_pfm_is_kept_and_not_applied(values, command, tmp_path: Path) -> None:
    (tmp_path / "a.pfm").write_bytes(pfm(values, ">", "2.5"))
    result = command("run", "a.pfm", "--mu", "1e9", "--data-range", "8")
    assert "note: its values" in result.stderr
    assert "2.5" in result.stderr
    assert (tmp_path / "a_denoised.pfm").read_bytes().startswith(pfm(values, "<", "2.5")[:12])
    close(read(tmp_path / "a_denoised.pfm").intensities, values)


def test_colour_floats_go_between_pfm_and_tiff(command, tmp_path: Path) -> None:
    (tmp_path / "a.pfm").write_bytes(pfm(COLOUR))
    close(tiff_values(returned(command, "a.pfm", "b.tif")), COLOUR)
    close(read(returned(command, "b.tif", "c.pfm")).intensities, COLOUR)


@pytest.mark.parametrize(
    "header", [b"PF 0 2 1.0\n", b"PF 2 2 0\n", b"PF 2 2 1e999\n", b"PF 2 2 x\n", b"PF 2\n", b"Pf 0 2 1\n"]
)
def test_a_pfm_with_an_impossible_header_is_refused(header: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pfm").write_bytes(header + bytes(48))
    with pytest.raises(UnreadableImageError):
        read(tmp_path / "a.pfm")


def test_a_huge_pfm_is_refused_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "a.pfm").write_bytes(b"PF 999999999 999999999 -1\n" + bytes(12))
    with pytest.raises(TvdenoiseError, match="megapixels"):
        read(tmp_path / "a.pfm")


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)], ids=["P2", "P3"])
def test_16_bits_in_plain_text_are_read_to_the_last(shape, command, tmp_path: Path) -> None:
    values = noise(*shape, dtype=np.uint16)
    name = "a.pgm" if len(shape) == 2 else "a.ppm"
    kind = "P2" if len(shape) == 2 else "P3"
    text = "\n".join(f"{number} # a comment, 7" if number % 5 == 0 else f"{number}" for number in values.flat)
    (tmp_path / name).write_bytes(f"{kind}\n# by hand\n7 5\n65535\n{text}".encode())
    np.testing.assert_array_equal(imagecodecs.imread(returned(command, name, "b.png")), values)
    binary = returned(command, name).read_bytes()
    assert binary.startswith(b"P5\n" if len(shape) == 2 else b"P6\n")
    assert binary.endswith(values.astype(">u2").tobytes())


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1000])
def test_plain_text_is_read_the_same_in_blocks_of_any_size(block: int, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tvdenoise.formats.pnm._BLOCK", block)
    (tmp_path / "a.ppm").write_bytes(b"P3 2 1 65535 1 22#5\n333 # 6\r#\n4444\n55555 6")
    assert read(tmp_path / "a.ppm").intensities.tolist() == [[[1, 22, 333], [4444, 55555, 6]]]


def test_an_odd_largest_value_in_plain_text_is_stretched_with_a_notice(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P3 1 1 1000 0 500 1000")
    picture = read(tmp_path / "a.ppm")
    assert picture.notes == ("intensities up to 1000 are written as intensities up to 65535",)
    assert picture.intensities.tolist() == [[[0, 32768, 65535]]]
