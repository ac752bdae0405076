"""A dry run and a run agree about every file, since the same function decides for both."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile, TiffImagePlugin

from support.seeds import SEEDS, SEVERAL
from support.tiff_files import simple_tiff
from support.values import noise
from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.batch.dry_run import Action, Forecast
from tvdenoise.batch.outcome import FileStatus
from tvdenoise.batch.outputs import Job
from tvdenoise.batch.plan import Plan
from tvdenoise.batch.runner import Runner
from tvdenoise.errors import TvdenoiseError
from tvdenoise.files.opening import header_of, opened_file
from tvdenoise.files.reading import open_images
from tvdenoise.files.stack import Stack
from tvdenoise.options import FileOptions

GREY, COLOUR = noise(20, 24), noise(20, 24, 3)


def _tiff(values: np.ndarray, **options: object) -> Callable[[], bytes]:
    def make() -> bytes:
        stream = io.BytesIO()
        tifffile.imwrite(stream, values, **({"photometric": "minisblack"} | options))
        return stream.getvalue()

    return make


def _saved(image: Image.Image, codec: str, **options: object) -> Callable[[], bytes]:
    def make() -> bytes:
        stream = io.BytesIO()
        image.save(stream, codec, **options)
        return stream.getvalue()

    return make


def _with_tags(tags: dict[int, object]) -> Callable[[], bytes]:
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory[tag] = value
    return _saved(Image.fromarray(GREY), "TIFF", tiffinfo=directory)


def _without_adobe() -> bytes:
    contents = _saved(Image.new("CMYK", (24, 20)), "JPEG")()
    start = contents.index(b"\xff\xee")
    return contents[:start] + contents[start + 2 + int.from_bytes(contents[start + 2 : start + 4], "big") :]


def _views(kind: int) -> Callable[[], bytes]:
    """Two images of a camera with two lenses, or whatever the kind says."""

    def make() -> bytes:
        views = [Image.fromarray(COLOUR)] * 2
        contents = bytearray(_saved(views[0], "MPO", save_all=True, append_images=views[1:])())
        entries = contents.index(struct.pack("<I", 0x030000)) + 16
        contents[entries : entries + 4] = struct.pack("<I", kind)
        return bytes(contents)

    return make


def _pages(*pages: np.ndarray) -> Callable[[], bytes]:
    """Pages that differ, with those of three samples as colours."""

    def make() -> bytes:
        stream = io.BytesIO()
        with tifffile.TiffWriter(stream) as writer:
            for page in pages:
                writer.write(page, photometric="rgb" if page.ndim == 3 else "minisblack")
        return stream.getvalue()

    return make


def _pyramid() -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(noise(64, 64), photometric="minisblack", tile=(16, 16), subifds=1)
        writer.write(noise(32, 32), photometric="minisblack", tile=(16, 16), subfiletype=1)
    return stream.getvalue()


#: Files with a property, of which each is refused by itself, or written only as some formats.
ODD: dict[str, Callable[[], bytes]] = {
    "raw_preview.tif": _with_tags({254: 1}),
    "raw.tif": _with_tags({50706: b"\1\4\0\0"}),
    "lab.tif": _saved(Image.new("LAB", (24, 20)), "TIFF"),
    "i1.tif": _tiff(GREY.astype("i1")),
    "i2.tif": _tiff(GREY.astype("i2") - 99),
    "u4.tif": _tiff(GREY.astype("u4"), compression="zlib"),
    "i4.tif": _tiff(GREY.astype("i4")),
    "i8.tif": _tiff(GREY.astype("i8")),
    "f8.tif": _tiff(GREY.astype("f8")),
    "complex.tif": _tiff(GREY.astype("c8")),
    "rgb_i2.tif": _tiff(COLOUR.astype("i2"), photometric="rgb"),
    "five_bands.tif": _tiff(noise(20, 24, 5), planarconfig="contig"),
    "two_bands.tif": _tiff(noise(20, 24, 2), planarconfig="contig"),
    "infrared.tif": _tiff(noise(20, 24, 4), photometric="rgb", extrasamples=["unspecified"]),
    "premultiplied.tif": _tiff(noise(20, 24, 4), photometric="rgb", extrasamples=["assocalpha"]),
    "two_alphas.tif": _tiff(noise(20, 24, 5), photometric="rgb", extrasamples=["unassalpha", "assocalpha"]),
    "deep_jpeg.tif": lambda: simple_tiff("<", 42, 1, 12, 1),
    "cmyk_f4.tif": _tiff(noise(20, 24, 4, dtype=np.float32), photometric="separated"),
    "bool.tif": _tiff(GREY > 99),
    "group4.tif": _saved(Image.fromarray(GREY > 99), "TIFF", compression="group4"),
    "lut.tif": _tiff(GREY, photometric="palette", colormap=np.tile(np.arange(256, dtype="u2") * 257, (3, 1))),
    "odd_palette.tif": _saved(Image.fromarray(COLOUR).quantize(9), "TIFF"),
    "two_sizes.tif": _pages(GREY, GREY[:9, :7]),
    "two_depths.tif": _pages(GREY, noise(20, 24, 3, dtype=np.uint16)),
    "with_bits.tif": _pages(GREY, GREY > 99),
    "with_complex.tif": _pages(GREY, GREY.astype("c8")),
    "pyramid.tif": _pyramid,
    "metamorph.tif": _with_tags({33629: (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)}),
    "depth.tif": _with_tags({32997: 2}),
    "twelve_bits.jpg": lambda: imagecodecs.jpeg8_encode(noise(20, 24, dtype=np.uint16) // 16, bitspersample=12),
    "without_adobe.jpg": _without_adobe,
    "stereo.jpg": _views(0x020002),
    "undefined.jpg": _views(0),
    "large_preview.jpg": _views(0x010002),
    "lossless.jpg": lambda: imagecodecs.ljpeg_encode(GREY, bitspersample=8),
    "keyed_grey.png": _saved(Image.fromarray(GREY), "PNG", transparency=3),
    "keyed_deep.png": _saved(Image.fromarray(noise(20, 24, dtype=np.uint16)), "PNG", transparency=3),
    "keyed_bits.png": _saved(Image.fromarray(GREY > 99), "PNG", transparency=0),
    "bits.png": _saved(Image.fromarray(GREY > 99), "PNG"),
    "grey_palette.png": _saved(Image.fromarray(GREY).quantize(5), "PNG"),
    "film_of_one.gif": _saved(Image.fromarray(GREY), "GIF", save_all=True),
    "five_channels.j2k": lambda: bytes(imagecodecs.jpeg2k_encode(noise(20, 24, 5), codecformat="j2k")),
    "signed.j2k": lambda: bytes(imagecodecs.jpeg2k_encode(GREY.astype("i1"), codecformat="j2k")),
    "cmyk.psd": lambda: b"8BPS" + bytes(40),
    "sequence.avif": _saved(Image.fromarray(COLOUR), "AVIF", save_all=True, append_images=[Image.fromarray(COLOUR)]),
    "grey_alpha.avif": _saved(Image.fromarray(noise(20, 24, 2), "LA"), "AVIF"),
    "nothing.png": bytes,
    "text.tif": lambda: b"just text",
}  # fmt: skip
FILES = ODD | SEEDS | SEVERAL
TARGETS = (None, ".tif", ".png", ".jpg", ".ppm", ".pgm", ".webp", ".gif", ".pbm", ".j2k", ".pfm")
#: Whether a palette is used for grey alone shows only in the pixels.
PALETTES = {"palette.png", "palette.bmp", "palette.tif", "palette.gif", "odd_palette.tif", "grey.gif"}
GREY_ALONE = {".pgm", ".gif"}


def told(path: Path, target: Path, settings: FileOptions, **traits: object) -> tuple[str | None, str | None]:
    """Why a dry run says that a file would fail, and why it fails in a run; None where it does not."""
    try:
        header = header_of(path)
    except TvdenoiseError as error:  # what cannot be planned is refused by the plan, in both
        return str(error), str(error)
    job = Job(path, target, header=header, **traits)
    forecast = Forecast(
        settings.max_megapixels,
        first_frame=settings.first_frame,
        volume=settings.volume,
        impulses=settings.impulses,
        has_weights=settings.has_weights,
    )
    (prospect,) = forecast.prospects(Plan((job,)))
    planned = prospect.reason if prospect.action is Action.FAIL else None
    outcome = Runner(settings, Denoiser(settings, lambda: None)).attempt(job)
    reason = f"{outcome.reason}; {outcome.remedy}" if outcome.remedy else outcome.reason
    return planned, reason if outcome.status is FileStatus.FAILED else None


#: Those that are not written in their own format.
OTHERWISE = {"one_bit.png", "one_bit.tif", "bits.pbm", "deep.avif"}
SETTINGS = FileOptions(mu=20.0, max_iterations=1)


def _agree(
    name: str, folder: Path, targets: tuple[str | None, ...], settings: FileOptions = SETTINGS
) -> None:
    path = folder / name
    path.write_bytes(FILES[name]())
    if settings is SETTINGS and name in SEEDS.keys() - OTHERWISE:
        assert told(path, folder / f"out{path.suffix}", settings) == (None, None)
    for extension in targets:
        target = folder / f"out{extension or path.suffix}"
        planned, happened = told(path, target, settings)
        if name in PALETTES and extension in GREY_ALONE and planned is None:
            happened = (happened or "cannot hold 8-bit colour").partition("cannot hold 8-bit colour")[1]
            planned = "cannot hold 8-bit colour"
        assert planned == happened, extension


@pytest.mark.parametrize("name", FILES)
def test_a_dry_run_promises_what_a_run_does(name: str, tmp_path: Path) -> None:
    _agree(name, tmp_path, (None, ".jpg", ".ppm"))


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_dry_run_promises_what_a_run_does_in_any_format(name: str, tmp_path: Path) -> None:
    _agree(name, tmp_path, TARGETS)


@pytest.mark.parametrize(
    "settings",
    [
        FileOptions(mu=20.0, max_iterations=1, first_frame=True),
        FileOptions(mu=20.0, max_iterations=1, volume=True),
        FileOptions(mu=20.0, max_iterations=1, impulses="on"),
        FileOptions(mu=20.0, max_iterations=1, max_megapixels=0.0001),
    ],
    ids=["first frame", "volume", "impulses", "pixels"],
)
@pytest.mark.parametrize("name", [*ODD, *SEVERAL])
def test_a_dry_run_promises_what_a_run_does_with_any_options(name: str, settings, tmp_path: Path) -> None:
    _agree(name, tmp_path, (None, ".png"), settings)


@pytest.mark.parametrize("name", ["pages.tif", "film.gif", "colour.png", "bits.png"])
def test_a_dry_run_knows_of_outputs_that_need_a_single_image(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FILES[name]())
    planned, happened = told(
        tmp_path / name, tmp_path / f"out{name[-4:]}", SETTINGS, trace=tmp_path / "t.csv"
    )
    assert planned == happened
    assert (planned is None) == (name == "colour.png")


@pytest.mark.parametrize("name", FILES)
def test_the_kind_of_pixels_that_a_header_shows_is_that_of_the_image(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FILES[name]())
    try:
        with (tmp_path / name).open("rb") as stream:
            found = open_images(stream, first_frame=True)
    except TvdenoiseError:
        pytest.skip("refused")
    image = found.first if isinstance(found, Stack) else found
    with opened_file(tmp_path / name, first_frame=True) as file:
        kinds = file.forms[0].kinds
    assert image.kind in kinds
    assert len(kinds) <= (4 if isinstance(found, Stack) or name in SEVERAL else 2)


def test_what_is_refused_by_its_header_is_not_decoded(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a.png").write_bytes(SEEDS["deep_colour_alpha.png"]())
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    monkeypatch.setattr(imagecodecs, "png_decode", lambda _: pytest.fail("decoded"))
    planned, happened = told(tmp_path / "a.png", tmp_path / "out.jpg", SETTINGS)
    assert planned == happened
    assert "JPEG cannot hold 16-bit colour with alpha" in (planned or "")
