"""GIF: 256 colours, chosen anew for the denoised picture; transparency and comment are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile

from tvdenoise.files.families.gif_animation import LOOPS, survey, write
from tvdenoise.files.families.gif_blocks import application_names, screen
from tvdenoise.files.families.gif_composing import frames, partial_frame
from tvdenoise.files.formats import Family, Format, Inspection, Several
from tvdenoise.files.picture import Picture
from tvdenoise.files.planes import encoded, planes_of
from tvdenoise.files.record import record_in, with_record, without_record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tvdenoise.files.stack import Series

_COLOURS = 256
_SAMPLE = 20_000  # pixels from which colours are chosen: more gain 0.1 dB, and all of them take minutes


@dataclass(frozen=True)
class GifTraits:
    """comment: without the record, as stored; interlace: whether the rows come in four passes."""

    comment: bytes = b""
    interlace: bool = False


def _inspect(opened: ImageFile.ImageFile, stream: BinaryIO) -> Inspection:
    comment = bytes(opened.info.get("comment", b"")).decode("latin-1")
    traits = GifTraits(without_record(comment).encode("latin-1"), _is_interlaced(opened))
    names = sorted({name for name in application_names(stream) if name not in LOOPS})
    left_out = ", ".join(name.decode("latin-1").rstrip() for name in names)
    palette = ["its palette is written as true colour or grey"] if opened.mode == "P" else []
    comments = ["its comments are left out"] if traits.comment else []
    return Inspection(
        (f"its GIF extensions {left_out} are left out",) if names else (),
        traits,
        record=record_in(comment),
        elsewhere=(*palette, *comments),
    )


def _is_interlaced(opened: ImageFile.ImageFile) -> bool:
    """What Pillow's decoder is told of it; a picture that is not there at all has no tile."""
    return any(bool(tile.args[1]) for tile in opened.tile if isinstance(tile.args, tuple))


def _decode(opened: ImageFile.ImageFile, stream: BinaryIO) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Without the notices about its palette and transparent colour, which stay what they are."""
    position = stream.tell()
    partial = partial_frame(opened, stream)
    stream.seek(position)
    if partial is not None:
        colours = partial[..., :3]
        is_grey = bool((colours == colours[..., :1]).all())
        return np.ascontiguousarray(colours[..., 0] if is_grey else colours), partial[..., 3].copy()
    opened.load()
    intensities, alpha, _ = planes_of(opened)
    return intensities, alpha


def _options(picture: Picture, _quality: int | None) -> dict[str, Any]:
    traits = picture.traits if isinstance(picture.traits, GifTraits) else GifTraits()
    comment, record = traits.comment.decode("latin-1"), picture.metadata.record
    if record:
        comment = with_record(comment, record)
    return {"comment": comment.encode("latin-1"), "interlace": traits.interlace}


def _encode(picture: Picture, options: Mapping[str, Any]) -> bytes | None:
    """A picture with a palette; one of 8-bit grey without alpha is left to Pillow, which writes it exactly."""
    if picture.kind == "L":
        return None
    colours = np.dstack([picture.intensities] * (1 if picture.has_channel_axis else 3))
    visible = _visible(picture)
    palette, chosen = _palette_for(colours[visible], _room(picture))
    indices = np.zeros(visible.shape, np.uint8)
    indices[visible] = chosen
    if picture.visible is not None:
        indices[~visible] = len(palette)
        palette = np.vstack((palette, colours[~visible][:1]))
        options = {**options, "transparency": len(palette) - 1}
    image = Image.frombytes("P", picture.size, indices.tobytes())
    image.putpalette(palette.tobytes())
    contents = BytesIO()
    image.save(contents, "GIF", optimize=False, **options)
    return contents.getvalue()


def _visible(picture: Picture) -> NDArray[np.bool_]:
    return np.ones(picture.intensities.shape[:2], bool) if picture.visible is None else picture.visible


def _room(picture: Picture) -> int:
    """How many colours there may be beside the transparent one."""
    return _COLOURS if picture.visible is None else _COLOURS - 1


def _palette_for(colours: NDArray[np.uint8], room: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Colours, shape (colours, 3), for pixels of shape (pixels, 3), and the index of each pixel's own.

    The pixels' own colours where there is room for them, else the nearest of some chosen by median cut and k-means.
    """
    codes, chosen = np.unique(_codes(colours), return_inverse=True)
    if len(codes) <= room:
        palette = np.stack((codes >> 16, codes >> 8 & 255, codes & 255), axis=-1)
        return palette.astype(np.uint8), chosen
    sample = _row_of(colours[:: -(-len(colours) // _SAMPLE)])
    palette_image = sample.quantize(room, Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE)
    reduced = _row_of(colours).quantize(palette=palette_image, dither=Image.Dither.NONE)
    return np.array(palette_image.getpalette(), np.uint8).reshape(-1, 3)[:room], np.asarray(reduced)[0]


def _row_of(colours: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(colours[np.newaxis]))


def _codes(colours: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """One number for each colour along the last axis."""
    return colours.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)


def _losses(picture: Picture) -> tuple[str, ...]:
    if picture.kind == "L":
        return ()
    colours = np.dstack([picture.intensities] * (1 if picture.has_channel_axis else 3))
    count = len(np.unique(_codes(colours[_visible(picture)])))
    return (f"its {count:,} colours are reduced to {_room(picture)}",) if count > _room(picture) else ()


def _strip(traits: object) -> object:
    assert isinstance(traits, GifTraits)
    return replace(traits, comment=b"")


def _write(series: Series, pictures: Iterator[Picture], stream: BinaryIO, _quality: int | None) -> None:
    def encode(picture: Picture) -> bytes:
        options = _options(picture, None)
        if (reduced := _encode(picture, options)) is not None:
            return reduced
        return encoded(picture, "GIF", options)

    write(encode, series, pictures, stream)


FAMILY = Family(
    formats=(
        Format(
            "GIF",
            "GIF",
            (".gif",),
            kinds=frozenset({"L"}),
            approximates=frozenset({"LA", "RGB", "RGBA"}),
            carries=frozenset({"record"}),
            longest_side=65_535,
            several="frames",
        ),
    ),
    inspect=_inspect,
    options=_options,
    screen=screen,
    strip=_strip,
    decode=_decode,
    encode=_encode,
    losses=_losses,
    several=Several(survey, _write, frames=frames),
)
