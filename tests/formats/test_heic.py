"""HEIC, where pillow-heif is installed: within a few levels, exact in alpha, turned as it says; else told."""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import ExifTags, Image

from support.metadata import PROFILE, XMP, exif_bytes, information
from support.round_trips import gradual
from support.values import noise, pixels
from tvdenoise.files.decoded import DecodedImage, Metadata
from tvdenoise.files.reading import read
from tvdenoise.files.writing import write
from tvdenoise.formats.heic import HeicTraits
from tvdenoise.formats.registry import FORMAT_BY_EXTENSION

HEIC = FORMAT_BY_EXTENSION[".heic"]
needs_package = pytest.mark.skipif(
    find_spec("pillow_heif") is None, reason="pillow-heif is not installed (pip install 'tvdenoise[heic]')"
)


def make_heic(path: Path, values: np.ndarray, mode: str | None = None, **options: object) -> Path:
    """By pillow-heif itself; values above 8 bits with the name of their mode."""
    import pillow_heif

    if mode is None:
        image = pillow_heif.from_pillow(Image.fromarray(values))
    else:
        image = pillow_heif.from_bytes(mode, values.shape[1::-1], values.tobytes())
    contents = BytesIO()
    image.save(contents, **options)
    path.write_bytes(contents.getvalue())
    return path


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_without_the_package_the_remedy_is_told(brand: bytes, command, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tvdenoise.formats.heic.find_spec", lambda _name: None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(60))
    Image.fromarray(noise(9, 9)).save(tmp_path / "a.png")
    for arguments in (("run", "a.heic"), ("run", "a.png", "-o", "b.heic")):
        result = command(*arguments)
        assert result.exit_code == 1
        assert "install tvdenoise[heic]" in result.stderr
    assert not (tmp_path / "b.heic").exists()


@needs_package
@pytest.mark.parametrize("chroma", ["444", "422", "420"])
def test_the_chroma_subsampling_of_the_input_is_kept(chroma: str, command, tmp_path: Path) -> None:
    make_heic(tmp_path / "a.heic", gradual(64, 64, 3), chroma=chroma)
    assert command("run", "a.heic").exit_code == 0
    traits = read(tmp_path / "a_denoised.heic").traits
    assert isinstance(traits, HeicTraits)
    assert traits.chroma == chroma


@needs_package
def test_a_lower_quality_makes_a_smaller_file(command, tmp_path: Path) -> None:
    make_heic(tmp_path / "a.heic", noise(64, 64, 3), quality=95)
    for name, quality in (("b.heic", "30"), ("c.heic", "95")):
        assert command("run", "a.heic", "-o", name, "--mu", "1e9", "--quality", quality).exit_code == 0
    assert (tmp_path / "b.heic").stat().st_size < (tmp_path / "c.heic").stat().st_size / 2


@needs_package
def test_profile_exif_and_xmp_are_kept(command, tmp_path: Path) -> None:
    options = {"icc_profile": PROFILE, "exif": exif_bytes(orientation=1), "xmp": XMP}
    Image.fromarray(gradual(20, 10, 3)).save(tmp_path / "a.webp", **options)
    for source, target in (("a.webp", "b.heic"), ("b.heic", "c.heic"), ("c.heic", "d.webp")):
        result = command("run", source, "-o", target)
        assert result.exit_code == 0
        assert "note" not in result.stderr
    after = information(tmp_path / "d.webp")
    after["exif"] = b"Exif\0\0" + after["exif"].removeprefix(b"Exif\0\0")
    assert {name: after[name] for name in options} == options


@pytest.mark.slow
@needs_package
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_turned_once(orientation: int, command, tmp_path: Path) -> None:
    values = gradual(20, 10, 3)
    values[:5, :5] = 255
    metadata = Metadata(exif=exif_bytes(orientation).removeprefix(b"Exif\0\0"))
    write(DecodedImage(values, metadata=metadata), tmp_path / "a.heic", HEIC)
    assert command("run", "a.heic", "-o", "b.heic", "--mu", "1e9").exit_code == 0
    assert command("run", "b.heic", "-o", "c.png", "--mu", "1e9").exit_code == 0
    turned = Image.fromarray(values)
    turned.getexif()[ExifTags.Base.Orientation] = orientation
    from PIL import ImageOps

    expected = np.array(ImageOps.exif_transpose(turned)).astype(int)
    with Image.open(tmp_path / "c.png") as opened:
        assert opened.getexif()[ExifTags.Base.Orientation] == 1
        assert opened.getexif()[ExifTags.Base.Make] == "Maker"
    assert np.abs(pixels(tmp_path / "c.png") - expected).max() < 20


@needs_package
def test_codes_of_other_colours_stay_and_are_told_elsewhere(command, tmp_path: Path) -> None:
    codes = {"color_primaries": 12, "transfer_characteristics": 13, "matrix_coefficients": 6}
    make_heic(tmp_path / "a.heic", gradual(64, 64, 3), **codes, full_range_flag=1)
    assert "note" not in command("run", "a.heic").stderr
    assert b"colrnclx\0\x0c\0\r" in (tmp_path / "a_denoised.heic").read_bytes()
    assert "its colour description (CICP 12/13) is dropped" in command("run", "a.heic", "-o", "b.png").stderr


@needs_package
@pytest.mark.parametrize("mode", ["L;16", "RGB;16", "RGBA;16", "LA;16"])
def test_more_than_8_bits_become_16_in_a_format_that_holds_them(mode: str, command, tmp_path: Path) -> None:
    shape = (20, 30) if mode == "L;16" else (20, 30, len(mode) - 3)
    values = noise(*shape, dtype=np.uint16)
    options = {"chroma": "444", "matrix_coefficients": 0} if "RGB" in mode else {}
    make_heic(tmp_path / "a.heic", values, mode, quality=-1, **options)
    refused = command("run", "a.heic")
    assert refused.exit_code == 1
    assert "HEIC cannot hold 16-bit" in refused.stderr
    result = command("run", "a.heic", "-o", "a.png", "--mu", "1e9")
    assert "note: 10-bit" in result.stderr
    exact = (values >> 6) * (65535 / 1023)
    np.testing.assert_allclose(imagecodecs.imread(tmp_path / "a.png"), exact, rtol=0, atol=0.51)


@needs_package
def test_an_input_is_replaced_where_a_report_records_it(command, tmp_path: Path) -> None:
    path = make_heic(tmp_path / "a.heic", gradual(64, 64, 3))
    arguments = ("run", "a.heic", "--in-place", "--report", "r")
    assert command("run", "a.heic", "--in-place").exit_code == 2
    assert command(*arguments).exit_code == 0
    after = path.read_bytes()
    assert "already denoised" in command(*arguments, "--skip-existing").stderr
    assert path.read_bytes() == after


@needs_package
def test_a_file_of_the_general_brand_is_read(tmp_path: Path) -> None:
    path = make_heic(tmp_path / "a.heic", gradual(64, 64, 3))
    path.write_bytes(path.read_bytes().replace(b"ftypheic", b"ftypmif1", 1))
    assert read(path).codec == "HEIF"
