"""Metadata to put into files, and a reader of metadata by Pillow."""

from __future__ import annotations

from pathlib import Path

from PIL import ExifTags, Image, ImageCms, TiffImagePlugin

from tvdenoise import __version__

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">here</x:xmpmeta>'
RECORD = f"tvdenoise {__version__}; mu=8.0; epsilon=0.02"
ASKED = ("--mu", "8", "--epsilon", "0.02")


def exif_bytes(orientation: int = 6) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] = TiffImagePlugin.IFDRational(1, 50)
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return exif.tobytes()


def information(path: Path) -> dict:
    with Image.open(path) as opened:
        opened.load()
        return dict(opened.info)
