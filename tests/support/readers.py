"""Pixels and metadata of image files, read by Pillow and imagecodecs."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from support.jp2_files import described
from support.makers import METADATA, XMP_KEYWORD

_RECORD = re.compile(r"tvdenoise \S+; mu=\S+; epsilon=\S+")


@dataclass(frozen=True, eq=False)
class Facts:
    """codec: as Pillow names it; layout: the meaning of the channels; metadata: by the names of `METADATA`."""

    codec: str
    layout: str
    values: np.ndarray
    metadata: dict[str, Any]


def facts_of(path: Path) -> Facts:
    """Read a file. Fails for a codec without a reader."""
    if path.suffix == ".tif":
        return _facts_of_tiff(path)
    if path.read_bytes().startswith(b"PF"):  # unknown to Pillow
        return Facts("PPM", "colour floats", _colour_pfm(path), {})
    with _opened(path) as opened:
        codec, mode = str(opened.format), opened.mode
        assert codec in PIXELS, f"no reader for {codec}"
        opened.load()
        metadata = {
            "icc": opened.info.get("icc_profile"),
            "exif": opened.info.get("exif"),
            "xmp": opened.info.get("xmp"),
            "dpi": opened.info.get("dpi"),
            "text": {
                keyword: str(text)
                for keyword, text in getattr(opened, "text", {}).items()
                if keyword not in (XMP_KEYWORD, "tvdenoise")
            },
            "record": _record(" ".join(_places_of_records(opened))),
        }
    if codec == "HEIF" and metadata["exif"]:
        metadata["exif"] = metadata["exif"].removeprefix(b"Exif\0\0")  # optional
    if codec == "JPEG2000":
        metadata |= {**described(path.read_bytes()), "record": _record(path.read_bytes().decode("latin-1"))}
    found = {name: value for name, value in metadata.items() if value}
    return Facts(codec, mode, PIXELS[codec](path), found)


def _opened(path: Path) -> Image.Image:
    if path.suffix == ".heic":
        import pillow_heif

        return pillow_heif.HeifImageFile(path)
    return Image.open(path)


def _places_of_records(opened: Image.Image) -> list[str]:
    comments = [contents for name, contents in getattr(opened, "applist", []) if name == "COM"]
    texts = [opened.info.get("comment", b""), *comments, opened.info.get("tvdenoise", "")]
    return [text.decode("latin-1") if isinstance(text, bytes) else str(text) for text in texts]


def _record(text: str) -> str | None:
    found = _RECORD.search(text)
    return found[0] if found else None


def _facts_of_tiff(path: Path) -> Facts:
    [tags] = tiff_tags(path)
    metadata = {
        "icc": tags.get(34675),
        "exif": {number: tags[number] for number in METADATA["exif"] if number in tags},
        "xmp": tags.get(700),
        "dpi": (float(tags[282]), float(tags[283])) if tags.get(296) == 2 else None,
        "tags": {number: tags[number] for number in METADATA["tags"] if number in tags},
        "record": _record(str(tags.get(11, ""))),
    }
    layout = f"{tags[262]} {tags.get(338)} {tags[258]} {tags.get(339, (1,) * tags[277])}"
    return Facts(
        "TIFF", layout, tiff_values(path), {name: value for name, value in metadata.items() if value}
    )


def tiff_values(file: Path | bytes) -> np.ndarray:
    """Return the pixels of a TIFF by libtiff in imagecodecs; several pages are stacked along a further axis.

    To prevent libtiff from converting CMYK to RGB, the values are declared grey.
    """
    contents = file if isinstance(file, bytes) else file.read_bytes()
    for form in ("<HHIH", "<HHQH"):
        contents = contents.replace(struct.pack(form, 262, 3, 1, 5), struct.pack(form, 262, 3, 1, 1))
    several = len(tiff_tags(contents)) > 1
    return imagecodecs.tiff_decode(contents, index=None if several else 0)


def tiff_tags(file: Path | bytes) -> list[dict[int, Any]]:
    """Return the tags of each page of a TIFF by Pillow, including those of EXIF and GPS directories."""
    stream = BytesIO(file if isinstance(file, bytes) else file.read_bytes())
    header = stream.read(8)
    header += stream.read(8) if header[2] == 43 else b""
    place = ImageFileDirectory_v2(header).next
    found = []
    while place:
        directory = _directory(stream, header, place)
        place = directory.next
        tags = dict(directory)
        for number in {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo} & set(tags):
            tags[number] = dict(_directory(stream, header, tags[number]))
        found.append(tags)
    return found


def _directory(stream: BytesIO, header: bytes, place: int) -> ImageFileDirectory_v2:
    directory = ImageFileDirectory_v2(header)
    stream.seek(place)
    directory.load(stream)
    return directory


def _by_pillow(path: Path) -> np.ndarray:
    with _opened(path) as opened:
        return np.array(opened)


def _codestream(path: Path) -> np.ndarray:
    """Decode the bare codestream: with its boxes, the decoder would convert the pixels by the colour profile."""
    contents = path.read_bytes()
    return imagecodecs.jpeg2k_decode(contents[contents.index(b"\xff\x4f\xff\x51") :])


def _heif(path: Path) -> np.ndarray:
    """Decode to colour, or to grey if the file says so."""
    with _opened(path) as opened:
        is_grey, values = "chroma" not in opened.info, np.array(opened)
    return values[..., ::3] if is_grey and values.ndim == 3 else values


def _gif(path: Path) -> np.ndarray:
    """Decode to colour, or to grey if all colours are grey."""
    with Image.open(path) as opened:
        has_alpha = "transparency" in opened.info
        values = np.array(opened.convert("RGBA" if has_alpha else "RGB"))
    if has_alpha:
        values[values[..., -1] == 0] = 0
    if (values[..., :3] == values[..., :1]).all():
        return values[..., ::3] if has_alpha else values[..., 0]
    return values


def _colour_pfm(path: Path) -> np.ndarray:
    found = re.match(rb"PF\n(\d+) (\d+)\n-1.0\n", contents := path.read_bytes())
    assert found is not None
    stored = np.frombuffer(contents, "<f4", offset=found.end())
    return stored.reshape(int(found[2]), int(found[1]), 3)[::-1].astype(np.float32)


def _pnm(path: Path) -> np.ndarray:
    """Decode with Pillow, except 16-bit colour, which it truncates."""
    contents = path.read_bytes()
    header = re.match(rb"P6\s(\d+)\s(\d+)\s65535\s", contents)
    if header is None:
        return _by_pillow(path)
    return np.frombuffer(contents, ">u2", offset=header.end()).reshape(int(header[2]), int(header[1]), 3)


#: Readers by Pillow's name of the codec.
PIXELS: dict[str, Callable[[Path], np.ndarray]] = {
    "PNG": lambda path: imagecodecs.png_decode(path.read_bytes()),
    "JPEG": lambda path: imagecodecs.jpeg8_decode(path.read_bytes()),
    "WEBP": lambda path: imagecodecs.webp_decode(path.read_bytes()),
    "AVIF": lambda path: imagecodecs.avif_decode(path.read_bytes()),
    "HEIF": _heif,
    "JPEG2000": _codestream,
    "GIF": _gif,
    "BMP": _by_pillow,
    "PPM": _pnm,
}
