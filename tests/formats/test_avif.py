"""AVIF: colours within a few levels, alpha and metadata exactly; more than 8 bits are never cut."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import ExifTags, Image, features

from support.metadata import PROFILE, XMP, exif_bytes, information
from support.round_trips import gradual, gradual_image
from support.values import noise, pixels
from tvdenoise.errors import UnsupportedImageError
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.reading import read
from tvdenoise.files.writing import encode
from tvdenoise.formats.avif import AvifTraits
from tvdenoise.formats.registry import FORMAT_BY_EXTENSION
from tvdenoise.machine import limited_threads

pytestmark = pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
AVIF = FORMAT_BY_EXTENSION[".avif"]


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_the_chroma_subsampling_of_the_input_is_kept(
    subsampling: str, make_image, command, tmp_path: Path
) -> None:
    make_image("a.avif", gradual(16, 16, 3), subsampling=subsampling)
    assert command("run", "a.avif").exit_code == 0
    for name in ("a.avif", "a_denoised.avif"):
        traits = read(tmp_path / name).traits
        assert isinstance(traits, AvifTraits)
        assert traits.subsampling == subsampling


def test_a_lower_quality_makes_a_smaller_file() -> None:
    sizes = [len(encode(gradual_image("RGBA"), AVIF, quality)) for quality in (30, None)]
    assert sizes[0] < sizes[1] / 2


@pytest.mark.parametrize("shape", [(16, 16), (70, 130, 3), (300, 200, 4)])
def test_the_file_does_not_depend_on_the_number_of_threads(shape: tuple[int, ...]) -> None:
    values = gradual(*shape)
    alpha = values[..., 3] if shape[2:] == (4,) else None
    image = DecodedImage(values if len(shape) < 3 else np.ascontiguousarray(values[..., :3]), alpha)
    written = []
    for threads in (1, 2, 3, 7):
        with limited_threads(threads):
            written.append(encode(image, AVIF))
    assert written == written[:1] * 4


@pytest.mark.slow
@pytest.mark.parametrize("orientation", [1, 6])
def test_profile_exif_and_xmp_keep_every_byte(orientation: int, make_image, command, tmp_path: Path) -> None:
    options = {"icc_profile": PROFILE, "exif": exif_bytes(orientation), "xmp": XMP}
    make_image("a.webp", gradual(20, 10, 3), **options)
    for source, target in (("a.webp", "b.avif"), ("b.avif", "c.avif")):
        result = command("run", source, "-o", target)
        assert result.exit_code == 0
        assert "note" not in result.stderr
        after = information(tmp_path / target)
        assert {name: after[name] for name in options} == options
        with Image.open(tmp_path / target) as opened:
            assert opened.size == (10, 20), "the pixels stay as stored"
            assert opened.getexif()[ExifTags.Base.Orientation] == orientation
    assert (b"irot" in (tmp_path / "c.avif").read_bytes()) == (orientation == 6), "which viewers go by"


@pytest.mark.parametrize("length", [20, 39, 40, 90])
def test_exif_data_of_any_length_are_kept(length: int, make_image, command, tmp_path: Path) -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0".ljust(length, b"x")
    make_image("a.webp", gradual(8, 8, 3), exif=exif)
    assert command("run", "a.webp", "-o", "b.avif").exit_code == 0
    assert information(tmp_path / "b.avif")["exif"].removeprefix(b"Exif\0\0") == exif[6:]


def test_codes_of_other_colours_stay_and_are_told_elsewhere(make_image, command, tmp_path: Path) -> None:
    path = make_image("a.avif", gradual(8, 8, 3))
    usual, wide = b"colrnclx\0\1\0\r", b"colrnclx\0\x0c\0\r"
    assert usual in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(usual, wide))
    assert "note" not in command("run", "a.avif").stderr
    assert wide in (tmp_path / "a_denoised.avif").read_bytes()
    assert "its colour description (CICP 12/13) is dropped" in command("run", "a.avif", "-o", "b.png").stderr


@pytest.mark.slow
@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 2), (20, 30, 3), (20, 30, 4)])
def test_more_than_8_bits_become_16_in_a_format_that_holds_them(
    bits: int, shape: tuple[int, ...], command, tmp_path: Path
) -> None:
    values = noise(*shape, dtype=np.uint16) >> (16 - bits)
    values.flat[:2] = 0, 2**bits - 1
    (tmp_path / "a.avif").write_bytes(imagecodecs.avif_encode(values, level=100, bitspersample=bits))
    refused = command("run", "a.avif")
    assert refused.exit_code == 1
    assert "AVIF cannot hold 16-bit" in refused.stderr
    result = command("run", "a.avif", "-o", "a.png", "--mu", "1e9")
    assert f"note: {bits}-bit" in result.stderr
    exact = values * (65535 / (2**bits - 1))
    np.testing.assert_allclose(imagecodecs.imread(tmp_path / "a.png"), exact, rtol=0, atol=0.51)


def test_an_input_is_replaced_where_a_report_records_it(make_image, command) -> None:
    path = make_image("a.avif", gradual(9, 9, 3))
    arguments = ("run", "a.avif", "--in-place", "--report", "r")
    assert command("run", "a.avif", "--in-place").exit_code == 2
    assert command(*arguments).exit_code == 0
    after = path.read_bytes()
    assert "already denoised" in command(*arguments, "--skip-existing").stderr
    assert path.read_bytes() == after


def test_animations_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(noise(8, 8, 3, seed=seed)) for seed in range(2)]
    frames[0].save(tmp_path / "a.avif", save_all=True, append_images=frames[1:])
    several = "several images in one AVIF are not supported; "
    with pytest.raises(UnsupportedImageError, match=several + "use only the first with --first-frame"):
        read(tmp_path / "a.avif", first_frame=False)
    with pytest.raises(UnsupportedImageError, match=several + "save the image you want"):
        read(tmp_path / "a.avif")


def test_a_pillow_without_avif_is_told(make_image, command, monkeypatch, tmp_path: Path) -> None:
    make_image("a.avif", gradual(8, 8, 3))
    make_image("a.png")
    monkeypatch.setattr("PIL.AvifImagePlugin.SUPPORTED", False)
    monkeypatch.setattr("tvdenoise.formats.avif.features.check", lambda _name: False)
    for arguments in (("run", "a.avif"), ("run", "a.png", "-o", "b.avif")):
        result = command(*arguments)
        assert result.exit_code == 1
        assert "without AVIF" in result.stderr
    assert not (tmp_path / "b.avif").exists()
    assert pixels(tmp_path / "a.png").shape == (12, 17)
