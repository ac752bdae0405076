"""Small files as instruments write them, with the truth that a denoiser is to come close to.

`CASES` holds, for each, its name, the options of ``tvdenoise run`` that suit it, and what its result must be: how large
its error may be beside that of the input, and properties in words. Each case writes its file, or folder of files, and
whatever its options name, into a folder. Pixels that hold no measurement, and pixels outside a mask, are NaN in the
truth: they must come back as they were.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import ExifTags, Image, ImageDraw, MpoImagePlugin

Values = np.ndarray
#: The true values of each image of a file, in the order of `images_in`; NaN where there is no measurement.
Truth = Sequence[Values]

ROWS, COLUMNS = 112, 144
#: The level of the noise of a `scene`, whose intensities lie between 0.15 and 0.8.
LEVEL = 0.07
GDAL_NODATA = 42113


@dataclass(frozen=True)
class Case:
    """A file, and what its result must be.

    make: writes the file at a path; returns the truth, or None where only the properties count.
    most: the largest ratio of the error of the result to that of the input.
    options: one word each, so that those that a version does not know can be left out.
    says: what holds where `holds` is true of source and target, in words.
    """

    name: str
    make: Callable[[Path], Truth | None]
    most: float | None = None
    options: tuple[str, ...] = ()
    says: str = ""
    holds: Callable[[Path, Path], bool] | None = None


@dataclass(frozen=True)
class Outcome:
    """ratio: of the errors, None without a truth; is_kept: type, shape and pixels without truth are as they were;
    holds: the case's own property, None where it has none."""

    ratio: float | None
    is_kept: bool
    holds: bool | None


def outcome(case: Case, truth: Truth | None, source: Path, target: Path) -> Outcome:
    """Compare a result with the truth and with its source."""
    holds = None if case.holds is None else case.holds(source, target)
    if truth is None:
        return Outcome(None, True, holds)
    return Outcome(*compared(truth, images_in(source), images_in(target)), holds)


def compared(truth: Truth, before: Sequence[Values], after: Sequence[Values]) -> tuple[float, bool]:
    """Return the ratio of the errors of results and inputs, and whether all that is not judged was kept."""
    is_kept = len(before) == len(after)
    squares = np.zeros(2)
    for true, old, new in zip(truth, before, after, strict=False):
        if old.shape != new.shape or old.dtype != new.dtype:
            return np.inf, False
        judged = np.isfinite(true)
        is_kept &= np.array_equal(old[~judged], new[~judged], equal_nan=old.dtype.kind == "f")
        for number, values in enumerate((new, old)):
            squares[number] += np.sum((values[judged].astype(float) - true[judged]) ** 2)
    return float(np.sqrt(squares[0] / squares[1])), is_kept


def images_in(path: Path) -> list[Values]:
    """Return the images of a file, or of the files of a folder in the order of their names, as other programs read
    them: pages of full resolution; codes, not colours, of a palette."""
    if path.is_dir():
        return [image for each in sorted(path.iterdir()) for image in images_in(each)]
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as opened:
            return [page.asarray() for page in opened.pages if not page.is_reduced]
    with Image.open(path) as opened:
        return [np.array(opened)]


# What is seen


def scene(rows: int = ROWS, columns: int = COLUMNS, shift: int = 0) -> Values:
    """Return discs and a bar of even brightness on an even ground: a truth in [0.15, 0.8]."""
    down, across = np.mgrid[:rows, :columns]
    image = np.full((rows, columns), 0.15)
    image[:, columns // 2 : columns // 2 + columns // 5] = 0.45
    for row, column, radius, brightness in (
        (0.3, 0.25, 0.2, 0.8),
        (0.7, 0.6, 0.22, 0.65),
        (0.75, 0.2, 0.13, 0.3),
    ):
        near = (down - row * rows) ** 2 + (across - column * columns - shift) ** 2 < (radius * rows) ** 2
        image[near] = brightness
    return image


def noise(*shape: int, seed: int = 0) -> Values:
    """Return white noise of level one."""
    return np.random.default_rng(seed).standard_normal(shape or (ROWS, COLUMNS))


def noisy(true: Values | None = None, seed: int = 0, level: float = LEVEL) -> Values:
    true = scene() if true is None else true
    return true + level * noise(*true.shape, seed=seed)


def coded(values: Values, dtype: str) -> Values:
    """Round to an integer type, clipped to its range."""
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def written(path: Path, values: Values, **options: Any) -> None:
    """Write a TIFF, without tifffile's own description, or any other file by Pillow."""
    if path.suffix == ".tif":
        tifffile.imwrite(path, values, **{"metadata": None} | options)
    else:
        Image.fromarray(values).save(path, **options)


# Where data lie in their container, and what type it has


def _scaled(dtype: str, scale: float, offset: float) -> Callable[[Path], Truth]:
    """Return a maker of scale · scene + offset, rounded to the type."""

    def make(path: Path) -> Truth:
        values = noisy() * scale + offset
        written(path, values.astype(dtype) if dtype.startswith("f") else coded(values, dtype))
        return [scene() * scale + offset]

    return make


def _photons(dtype: str, brightest: float, offset: float = 0) -> Callable[[Path], Truth]:
    """Return a maker of counts of photons on an offset."""

    def make(path: Path) -> Truth:
        counts = np.random.default_rng(0).poisson(scene() * brightest)
        written(path, coded(counts + offset, dtype))
        return [scene() * brightest + offset]

    return make


# Bands and alpha


def _bands(dtype: str, levels: Sequence[float], **options: Any) -> Callable[[Path], Truth]:
    """Return a maker of bands with noise of these levels, of one scene at different brightness."""

    def make(path: Path) -> Truth:
        truth, values = [], []
        largest = np.iinfo(dtype).max
        for number, level in enumerate(levels):
            true = scene() * (0.5 + 0.1 * number)
            truth.append(true * largest)
            values.append(coded(noisy(true, number, level) * largest, dtype))
        written(path, np.dstack(values), planarconfig="contig", **options)
        return [np.dstack(truth)]

    return make


def _premultiplied(*, is_opaque: bool) -> Callable[[Path], Truth]:
    """Return a maker of 16-bit colour multiplied by its alpha, which grows to the right."""

    def make(path: Path) -> Truth:
        alpha = np.ones((ROWS, COLUMNS)) if is_opaque else np.linspace(0.5, 1, COLUMNS) * np.ones((ROWS, 1))
        colour = np.dstack([scene() * part for part in (1, 0.8, 0.6)])
        values = np.dstack([noisy(colour) * alpha[..., np.newaxis], alpha])
        options = {"photometric": "rgb", "extrasamples": ["assocalpha"], "planarconfig": "contig"}
        written(path, coded(values * 65535, "u2"), **options)
        return [np.dstack([colour * alpha[..., np.newaxis] * 65535, np.full_like(alpha, np.nan)])]

    return make


# What is no measurement


def _with_stated_nodata(stated: str, value: float) -> Callable[[Path], Truth]:
    """Return a maker of a float raster whose border, as GDAL states, holds no data."""

    def make(path: Path) -> Truth:
        true, values = scene() * 90 + 400, (noisy() * 90 + 400).astype("f4")
        outside = np.zeros(true.shape, bool)
        outside[:25], outside[:, -30:], outside[60:70, 20:35] = True, True, True
        true[outside], values[outside] = np.nan, value
        written(path, values, extratags=[(GDAL_NODATA, "s", 0, stated, True)])
        return [true]

    return make


def _depth_map(path: Path) -> Truth:
    """Write millimetres with shadows and lone pixels at zero."""
    true = scene() * 3000 + 700
    values = coded(true + 40 * noise(), "u2")
    missing = np.random.default_rng(1).random(true.shape) < 0.08
    missing[40:58, 70:95] = True
    true[missing], values[missing] = np.nan, 0
    written(path, values)
    return [true]


def _dead_pixels(path: Path) -> Truth:
    true = scene() * 800
    values = coded(noisy() * 800, "i4")
    dead = np.random.default_rng(2).random(true.shape) < 0.01
    true[dead], values[dead] = np.nan, -1
    written(path, values)
    return [true]


def _clipped(dtype: str, gain: float, offset: float, largest: float, level: float) -> Callable[[Path], Truth]:
    """Return a maker of a scene that leaves [0, largest] at one end, as the values do, whatever the type holds."""

    def make(path: Path) -> Truth:
        true = scene() * gain + offset
        values = np.clip(noisy(true, level=level) * largest, 0, largest)
        written(path, values.astype(dtype) if dtype.startswith("f") else coded(values, dtype))
        return [np.clip(true, 0, 1) * largest]

    return make


# What samples mean


def _lookup_table(path: Path) -> Truth:
    """Write a microscope's image with a table from black to magenta."""
    table = np.zeros((3, 256), "u2")
    table[0] = table[2] = np.arange(256) * 257
    written(path, coded(noisy() * 255, "u1"), photometric="palette", colormap=table)
    return [scene() * 255]


def _keeps_table(source: Path, target: Path) -> bool:
    tables = [tifffile.TiffFile(path).pages.first.colormap for path in (source, target)]
    return tables[1] is not None and np.array_equal(*tables)


def _masked(mask_of: Callable[[Values], Values], **options: Any) -> Callable[[Path], Truth]:
    """Return a maker of an image with a mask beside it, which mask_of makes of the pixels to denoise."""

    def make(path: Path) -> Truth:
        inside = np.hypot(*np.mgrid[-ROWS // 2 : ROWS // 2, -COLUMNS // 2 : COLUMNS // 2]) < 50
        written(path, coded(noisy() * 255, "u1"))
        written(path.with_name("mask.tif"), mask_of(inside), **options)
        return [np.where(inside, scene() * 255, np.nan)]

    return make


def _packed(path: Path) -> Truth:
    """Write 12 bits a sample, three bytes for two samples."""
    written(path, coded(np.clip(noisy(), 0, 1) * 4095, "u2"), bitspersample=12)
    return [scene() * 4095]


# Several images in a file, and several files of one image


def _stack(path: Path) -> Truth:
    """Write a stack whose description states nothing but its shape."""
    truth = [scene(shift=shift) * 255 for shift in range(6)]
    values = np.stack([coded(true + 18 * noise(seed=seed), "u1") for seed, true in enumerate(truth)])
    written(path, values.reshape(2, 3, ROWS, COLUMNS), photometric="minisblack", metadata={})
    return truth


def _slices(path: Path) -> Truth:
    path.mkdir()
    truth = [scene(shift=shift) * 4095 for shift in range(8)]
    for number, true in enumerate(truth):
        written(path / f"scan_{number + 7}.tif", coded(true + 300 * noise(seed=number), "u2"))
    # In the order of their names, in which `images_in` reads them: 10 stands before 7.
    return [truth[int(each.stem.partition("_")[2]) - 7] for each in sorted(path.iterdir())]


def _pages(path: Path) -> Truth:
    """Write pages of two sizes and types."""
    truth = [scene() * 255, scene(80, 64) * 60000]
    with tifffile.TiffWriter(path) as opened:
        for true, dtype in zip(truth, ("u1", "u2"), strict=True):
            values = coded(noisy(true, level=LEVEL * true.max()), dtype)
            opened.write(values, photometric="minisblack", metadata=None)
    return truth


def _pyramid(path: Path) -> Truth:
    with tifffile.TiffWriter(path) as opened:
        values = coded(noisy() * 255, "u1")
        opened.write(values, subifds=1, tile=(48, 64), photometric="minisblack", metadata=None)
        half = coded(_halved(values), "u1")
        opened.write(half, subfiletype=1, tile=(32, 32), photometric="minisblack", metadata=None)
    return [scene() * 255]


def _halved(values: Values) -> Values:
    rows, columns = values.shape
    return values.reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))


def _has_its_own_overview(source: Path, target: Path) -> bool:
    """Whether the overview is the result at half its size, and both are stored in the tiles of the source."""
    del source
    with tifffile.TiffFile(target) as opened:
        page = opened.pages.first
        if not page.pages:
            return False
        below = page.pages[0]
        tiles = [each.tags["TileWidth"].value for each in (page, below)]
        return tiles == [64, 32] and bool(np.abs(below.asarray() - _halved(page.asarray())).max() <= 1)


# Impulses


def _salt_and_pepper(path: Path) -> Truth:
    values = coded(noisy() * 255, "u1")
    chance = np.random.default_rng(3).random(values.shape)
    values[chance < 0.015], values[chance > 0.985] = 0, 255
    written(path, values)
    return [scene() * 255]


def _hot_pixels(path: Path) -> Truth:
    """Write a dark frame."""
    values = coded(25 + 3 * noise(), "u1")
    for place in ((20, 31), (55, 100), (80, 7)):
        values[place] = 250
    written(path, values)
    return [np.full(values.shape, 25.0)]


def _is_dark(source: Path, target: Path) -> bool:
    return bool(images_in(source)[0].max() == 250 and images_in(target)[0].max() < 60)


def _text() -> Values:
    """Return a page of large letters, white is True."""
    page = Image.new("1", (300, 160), 1)
    draw = ImageDraw.Draw(page)
    for top in (8, 56, 104):
        draw.text((8, top), "Measure twice", fill=0, font_size=36)
    return np.array(page)


def _speckled(*, is_bilevel: bool) -> Callable[[Path], Truth]:
    """Return a maker of a scanned page with specks of one pixel."""

    def make(path: Path) -> Truth:
        page = _text()
        flipped = page ^ (np.random.default_rng(4).random(page.shape) < 0.01)
        if is_bilevel:
            written_as = {"compression": "group4", "dpi": (300, 300)}
            Image.fromarray(flipped).save(path, **written_as)
            return [page.astype(float)]
        written(path, np.where(flipped, 255, 0).astype("u1"))
        return [page * 255.0]

    return make


def _is_group_4(source: Path, target: Path) -> bool:
    del source
    with Image.open(target) as opened:
        return opened.mode == "1" and opened.info["compression"] == "group4"


# Colour noise alone


def _colour_noise(path: Path) -> Truth:
    """Write red and blue noise around grey that has none: R + G + B is even in each region."""
    true = np.rint(np.dstack([scene() * 200 + 10] * 3))
    first, second = (np.rint(14 * noise(seed=seed)) for seed in (1, 2))
    values = true + np.dstack([first, second, -first - second])
    written(path, coded(values, "u1"))
    return [true]


def _keeps_brightness(source: Path, target: Path) -> bool:
    before, after = (images_in(path)[0].sum(axis=-1) for path in (source, target))
    return bool(np.count_nonzero(before != after) < 0.001 * before.size)


# Images within images


def _colour_jpeg(size: tuple[int, int] = (COLUMNS, ROWS)) -> Image.Image:
    return Image.fromarray(coded(np.dstack([noisy() * part for part in (250, 200, 120)]), "u1")).resize(size)


def _old_thumbnail(path: Path) -> None:
    """Write a camera's JPEG with a thumbnail that shows another image."""
    small = io.BytesIO()
    Image.new("RGB", (36, 28), (20, 40, 220)).save(small, "JPEG")
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    block = bytearray(exif.tobytes().removeprefix(b"Exif\0\0"))
    order = "little" if block.startswith(b"II") else "big"
    first = int.from_bytes(block[4:8], order)
    entries = int.from_bytes(block[first : first + 2], order)
    link = first + 2 + 12 * entries
    block += bytes(len(block) % 2)
    block[link : link + 4] = len(block).to_bytes(4, order)
    start = len(block) + 2 + 3 * 12 + 4
    block += (3).to_bytes(2, order)
    for tag, kind, value in ((259, 3, 6), (513, 4, start), (514, 4, len(small.getvalue()))):
        width = 2 if kind == 3 else 4
        block += b"".join(number.to_bytes(size, order) for number, size in ((tag, 2), (kind, 2), (1, 4)))
        block += value.to_bytes(width, order).ljust(4, b"\0")
    _colour_jpeg().save(path, quality=95, exif=b"Exif\0\0" + bytes(block) + bytes(4) + small.getvalue())


def _shows_the_result(source: Path, target: Path) -> bool:
    """Whether the thumbnail of the EXIF data, if there is one, shows what the image shows."""
    del source
    with Image.open(target) as opened:
        start = opened.info["exif"].find(b"\xff\xd8")
        if start < 0:
            return True
        small = Image.open(io.BytesIO(opened.info["exif"][start:])).convert("RGB")
        whole = opened.resize(small.size, Image.Resampling.BOX)
        return float(np.abs(np.subtract(small, whole, dtype=float)).mean()) < 12


def _ultra_hdr(path: Path) -> None:
    """Write a phone's JPEG with a gain map behind it."""
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" '
        b'hdrgm:GainMapMax="1.5"/></rdf:RDF></x:xmpmeta>'
    )
    gain = _colour_jpeg((36, 28)).convert("L")
    gain.encoderinfo = {"xmp": xmp}
    _colour_jpeg().save(path, format="MPO", save_all=True, append_images=[gain], quality=95, xmp=xmp)


def _keeps_gain_map(source: Path, target: Path) -> bool:
    """Whether the index still leads to the gain map, which is the same, and its announcement stands."""
    found = []
    for path in (source, target):
        try:
            image = MpoImagePlugin.MpoImageFile(path)
        except ValueError:  # there is no such index, or it leads nowhere
            return False
        with image as opened:  # Pillow opens the first image of such a file only
            if opened.n_frames != 2:
                return False
            is_announced = b"hdrgm:Version" in opened.info.get("xmp", b"")
            opened.seek(1)
            found.append((is_announced, np.array(opened).tobytes()))
    return found[0] == found[1]


CASES = (
    Case("dim_counts_u16.tif", _scaled("u2", 44, 300), 0.45),
    Case("photons_on_offset_u16.tif", _photons("u2", 60, 100), 0.45),
    *(
        Case(f"volts_1e{power}_f32.tif", _scaled("f4", 10.0**power, 0), 0.45)
        for power in (-9, -6, -3, 3, 6, 9)
    ),
    Case("hounsfield_f32.tif", _scaled("f4", 1400, -1000), 0.45),
    Case("kelvin_f64.tif", _scaled("f8", 0.05, 293), 0.45),
    Case("difference_i8.tif", _scaled("i1", 150, -70), 0.45),
    Case("scanimage_i16.tif", _scaled("i2", 2600, -900), 0.45),
    Case("counter_u32.tif", _photons("u4", 700), 0.45),
    Case("counter_i32.tif", _scaled("i4", 9000, 3e8), 0.45),
    Case("dead_pixels_i32.tif", _dead_pixels, 0.45, ("--nodata=-1",)),
    Case("five_bands_u16.tif", _bands("u2", (0.02, 0.04, 0.06, 0.03, 0.05), photometric="minisblack"), 0.45),
    Case("two_bands_u8.tif", _bands("u1", (0.03, 0.06), photometric="minisblack"), 0.45),
    Case(
        "infrared_u8.tif",
        _bands("u1", (0.05,) * 3 + (0.02,), photometric="rgb", extrasamples=["unspecified"]),
        0.45,
    ),
    Case("premultiplied_opaque_u16.tif", _premultiplied(is_opaque=True), 0.45),
    Case("premultiplied_u16.tif", _premultiplied(is_opaque=False), 0.45),
    Case("raster_nodata_f32.tif", _with_stated_nodata("-9999", -9999), 0.45),
    Case("raster_nan_f32.tif", _with_stated_nodata("nan", np.nan), 0.45),
    Case("depth_map.png", _depth_map, 0.45, ("--nodata=0",)),
    Case("overexposed.png", _clipped("u1", 2.3, 0, 255, 0.04), 0.4),
    Case("saturated_12_of_16.tif", _clipped("u2", 2.3, 0, 4095, 0.04), 0.4),
    Case("saturated_f32.tif", _clipped("f4", 2.3, 0, 4.2e-3, 0.04), 0.4),
    Case("background_subtracted_u16.tif", _clipped("u2", 1.4, -0.35, 4000, 0.04), 0.4),
    Case("magenta_table.tif", _lookup_table, 0.45, says="LUT kept", holds=_keeps_table),
    Case("mask_bool.png", _masked(lambda inside: inside), 0.45, ("--mask=mask.tif",)),
    Case(
        "mask_white_is_zero.png",
        _masked(lambda inside: inside, photometric="miniswhite"),
        0.45,
        ("--mask=mask.tif",),
    ),
    Case("mask_of_ones.png", _masked(lambda inside: inside.astype("u1")), 0.45, ("--mask=mask.tif",)),
    Case(
        "mask_of_labels.png",
        _masked(lambda inside: (inside * (1 + np.arange(COLUMNS) // 30)).astype("i4")),
        0.45,
        ("--mask=mask.tif",),
    ),
    Case("shape_alone.tif", _stack, 0.45),
    Case("slices", _slices, 0.45, ("--volume",)),
    Case("two_sizes.tif", _pages, 0.5),
    Case("pyramid.tif", _pyramid, 0.45, says="overview rebuilt in tiles", holds=_has_its_own_overview),
    Case("packed_12_bit.tif", _packed, 0.45),
    Case("salt_and_pepper.png", _salt_and_pepper, 0.35, ("--impulses=auto",)),
    Case("hot_pixels.png", _hot_pixels, 0.3, ("--impulses=on",), "no hot pixel", _is_dark),
    Case("page.png", _speckled(is_bilevel=False), 0.65, ("--impulses=auto",)),
    Case("fax.tif", _speckled(is_bilevel=True), 0.65, ("--impulses=on",), "Group 4", _is_group_4),
    Case("colour_noise.png", _colour_noise, 0.2, ("--chroma-only",), "R + G + B kept", _keeps_brightness),
    Case("camera.jpg", _old_thumbnail, says="thumbnail shows the result", holds=_shows_the_result),
    Case("phone.jpg", _ultra_hdr, says="gain map kept", holds=_keeps_gain_map),
)
