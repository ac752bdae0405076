"""Make the sample pictures: clean pictures that are free to redistribute, with simulated noise.

    python sample_images/make_sample_images.py [FOLDER]           write them (default: sample_images)
    python sample_images/make_sample_images.py [FOLDER] --check   compare the folder's pixels with these

The noisy pictures go into FOLDER, their clean references into FOLDER/clean. The clean pictures come with
scikit-image, inside its wheel; nothing is downloaded. Every draw is seeded.

Unless said otherwise an intensity is in units of the data range (0 is black, 1 the largest value of the
file's type), and an array is (rows, columns) or (rows, columns, channels) in float64. Sizes in pixels are
width × height.
"""

import argparse
import io
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import convolve
from skimage import data

Intensities = NDArray[np.float64]
Pixels = NDArray[np.uint8] | NDArray[np.uint16]

JPEG_OPTIONS = {"quality": 90, "subsampling": "4:2:0"}
JPEG_DESCRIPTION = "Simulated camera noise on a clean photograph"


@dataclass(frozen=True, eq=False)
class Pair:
    """The stored values of a noisy picture and of its clean reference, of one shape and type."""

    noisy: Pixels
    clean: Pixels


@dataclass(frozen=True)
class Sample:
    """One sample picture: the name of the noisy file and how the pair is made from a seeded generator."""

    file_name: str
    seed: int
    simulate: Callable[[np.random.Generator], Pair]

    @property
    def clean_name(self) -> str:
        """Name of the clean reference, always a PNG: nothing is lost in it."""
        return f"clean/{Path(self.file_name).stem}_clean.png"

    def pair(self) -> Pair:
        """The two pictures; the same at every call."""
        return self.simulate(np.random.default_rng(self.seed))


# --- Intensities and stored values --------------------------------------------------------------------------


def intensities(picture: NDArray[np.uint8]) -> Intensities:
    """8-bit values as intensities in [0, 1]."""
    return picture / 255.0


def quantised(picture: Intensities, bits: int = 8) -> Pixels:
    """Intensities as a file stores them: cut to [0, 1] and rounded to `bits` (8 or 16) bits."""
    largest = 2**bits - 1
    return np.rint(np.clip(picture, 0.0, 1.0) * largest).astype(np.uint8 if bits == 8 else np.uint16)


def block_mean(picture: Intensities, factor: int) -> Intensities:
    """Mean over blocks of factor × factor pixels; incomplete ones at the right and bottom are left out."""
    rows, columns = (length // factor for length in picture.shape[:2])
    whole = picture[: rows * factor, : columns * factor]
    return whole.reshape(rows, factor, columns, factor, -1).mean(axis=(1, 3)).squeeze()


def luminance(picture: Intensities) -> Intensities:
    """Grey from RGB with the weights of Rec. 709."""
    return picture @ np.array([0.2126, 0.7152, 0.0722])


def linear_light(encoded: Intensities) -> Intensities:
    """The light that an sRGB value stands for, in [0, 1]."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def srgb_encoded(light: Intensities) -> Intensities:
    """The sRGB value of a light in [0, 1]; light outside is cut."""
    light = np.clip(light, 0.0, 1.0)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


# --- Noise --------------------------------------------------------------------------------------------------


def with_white_noise(clean: Intensities, sigma: float, generator: np.random.Generator) -> Intensities:
    """Add white Gaussian noise of standard deviation sigma (intensity), in every pixel and channel."""
    return clean + sigma * generator.standard_normal(clean.shape)


def with_photon_noise(
    clean: Intensities, full_scale: float, read_noise: float, generator: np.random.Generator
) -> Intensities:
    """Count photons and read them out: Poisson–Gaussian noise.

    Args:
        clean: intensities, not negative.
        full_scale: expected photons at intensity 1.
        read_noise: standard deviation of the Gaussian read-out noise, in photons.
        generator: the seeded source of the draws.

    Returns:
        Intensities of variance clean / full_scale + (read_noise / full_scale)².
    """
    photons = generator.poisson(full_scale * clean)
    return (photons + read_noise * generator.standard_normal(clean.shape)) / full_scale


def mosaicked(light: Intensities) -> Intensities:
    """What a sensor with the Bayer pattern RGGB sees of (rows, columns, 3): one colour a pixel."""
    seen = light[..., 1].copy()
    seen[0::2, 0::2] = light[0::2, 0::2, 0]
    seen[1::2, 1::2] = light[1::2, 1::2, 2]
    return seen


def demosaicked(seen: Intensities) -> Intensities:
    """The three colours of a Bayer picture (RGGB), the missing ones interpolated linearly."""
    places = np.zeros((*seen.shape, 3))
    places[0::2, 0::2, 0] = 1
    places[0::2, 1::2, 1] = places[1::2, 0::2, 1] = 1
    places[1::2, 1::2, 2] = 1
    tent = np.array([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]])
    colours = [
        convolve(seen * place, tent, mode="mirror") / convolve(place, tent, mode="mirror")
        for place in np.moveaxis(places, -1, 0)
    ]
    return np.stack(colours, axis=-1)


# --- The samples --------------------------------------------------------------------------------------------


def camera(generator: np.random.Generator) -> Pair:
    """A grey photograph, 320×320, with white Gaussian noise, sigma 25/255."""
    clean = intensities(data.camera()[30:350, 90:410])
    return Pair(quantised(with_white_noise(clean, 25 / 255, generator)), quantised(clean))


def brick(generator: np.random.Generator) -> Pair:
    """A grey photograph of a texture, 256×256, with weak white Gaussian noise, sigma 10/255."""
    clean = block_mean(intensities(data.brick()), 2)
    return Pair(quantised(with_white_noise(clean, 10 / 255, generator)), quantised(clean))


def coffee(generator: np.random.Generator) -> Pair:
    """A colour photograph, 300×200, with white Gaussian noise, sigma 25/255."""
    clean = block_mean(intensities(data.coffee()), 2)
    return Pair(quantised(with_white_noise(clean, 25 / 255, generator)), quantised(clean))


def astronaut(generator: np.random.Generator) -> Pair:
    """A colour portrait, 210×230, with strong white Gaussian noise, sigma 50/255."""
    clean = block_mean(intensities(data.astronaut()), 2)[:230, 20:230]
    return Pair(quantised(with_white_noise(clean, 50 / 255, generator)), quantised(clean))


def chelsea(generator: np.random.Generator) -> Pair:
    """A colour photograph, 352×256, as a camera makes it: photons counted behind a Bayer mosaic (300 at
    white, read noise 4), demosaicked, gamma-encoded. The clean reference is the same camera's picture
    without noise.
    """
    seen = mosaicked(linear_light(intensities(data.chelsea()[20:276, 50:402])))
    noisy = with_photon_noise(seen, 300, 4, generator)
    return Pair(quantised(srgb_encoded(demosaicked(noisy))), quantised(srgb_encoded(demosaicked(seen))))


def cell(generator: np.random.Generator) -> Pair:
    """A cell, 256×256, its background (grey level 40) subtracted, seen with few photons (50 at white, read
    noise 1.5), as in a fluorescence microscope.
    """
    background = 40 / 255
    picture = intensities(data.cell()[240:496, 285:541])
    clean = np.clip((picture - background) / (1 - background), 0.0, 1.0)
    return Pair(quantised(with_photon_noise(clean, 50, 1.5, generator)), quantised(clean))


def retina(generator: np.random.Generator) -> Pair:
    """The back of an eye, 235×235, with white Gaussian noise, sigma 20/255, then cut out: alpha falls
    linearly from opaque at 102 pixels from the centre to transparent at 110, and
    what is fully transparent is white.
    """
    clean = block_mean(intensities(data.retina()), 6)
    noisy = with_white_noise(clean, 20 / 255, generator)
    rows, columns = clean.shape[:2]
    row, column = np.ogrid[:rows, :columns]
    distance = np.hypot(row - (rows - 1) / 2, column - (columns - 1) / 2)
    alpha = quantised(np.clip((110 - distance) / 8, 0.0, 1.0))
    return Pair(cut_out(quantised(noisy), alpha), cut_out(quantised(clean), alpha))


def cut_out(colours: Pixels, alpha: Pixels) -> Pixels:
    """RGBA from 8-bit RGB and alpha, white where alpha is 0."""
    visible = np.where(alpha[..., np.newaxis] == 0, np.uint8(255), colours)
    return np.dstack([visible, alpha])


def rocket(generator: np.random.Generator) -> Pair:
    """A rocket at dusk, 320×213, grey with 16 bits, few photons (400 at white, read noise 4)."""
    clean = luminance(block_mean(intensities(data.rocket()), 2))
    return Pair(quantised(with_photon_noise(clean, 400, 4, generator), 16), quantised(clean, 16))


SAMPLES = (
    Sample("camera.png", 1, camera),
    Sample("brick.png", 2, brick),
    Sample("coffee.png", 3, coffee),
    Sample("astronaut.png", 4, astronaut),
    Sample("chelsea.jpg", 5, chelsea),
    Sample("cell.png", 6, cell),
    Sample("retina.png", 7, retina),
    Sample("rocket.png", 8, rocket),
)


# --- Files --------------------------------------------------------------------------------------------------


def encoded(pixels: Pixels, file_name: str) -> bytes:
    """The bytes of a PNG or JPEG file with these pixels."""
    stream = io.BytesIO()
    picture = Image.fromarray(pixels)
    if file_name.endswith(".jpg"):
        exif = Image.Exif()
        exif[0x010E] = JPEG_DESCRIPTION
        picture.save(stream, "JPEG", exif=exif, **JPEG_OPTIONS)
    else:
        picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def decoded(source: Path | io.BytesIO) -> Pixels:
    """The stored values of a picture file."""
    with Image.open(source) as picture:
        return np.asarray(picture)


def files() -> Iterator[tuple[str, bytes]]:
    """Name (relative to the folder) and content of every picture: noisy, clean, noisy, clean, …"""
    for sample in SAMPLES:
        pair = sample.pair()
        yield sample.file_name, encoded(pair.noisy, sample.file_name)
        yield sample.clean_name, encoded(pair.clean, sample.clean_name)


def psnr(noisy: Pixels, clean: Pixels) -> float:
    """Peak signal-to-noise ratio in dB over the visible pixels; the peak is the largest value of the type."""
    if noisy.ndim == 3 and noisy.shape[-1] == 4:
        visible = clean[..., 3] > 0
        noisy, clean = noisy[visible][:, :3], clean[visible][:, :3]
    peak = float(np.iinfo(clean.dtype).max)
    return 10 * math.log10(peak**2 / np.mean((noisy.astype(np.float64) - clean) ** 2))


def write(folder: Path) -> None:
    """Write every picture and print a line for each sample: size and PSNR."""
    (folder / "clean").mkdir(parents=True, exist_ok=True)
    for name, content in files():
        (folder / name).write_bytes(content)
    for sample in SAMPLES:
        noisy, clean = decoded(folder / sample.file_name), decoded(folder / sample.clean_name)
        print(f"{sample.file_name}: {noisy.shape} {noisy.dtype}, PSNR {psnr(noisy, clean):.2f} dB")


def differences(folder: Path) -> list[str]:
    """One sentence for every picture that is missing from the folder or has other pixels there."""
    problems = []
    for name, content in files():
        if not (folder / name).is_file():
            problems.append(f"{name} is missing")
            continue
        stored, made = decoded(folder / name), decoded(io.BytesIO(content))
        if stored.dtype != made.dtype or not np.array_equal(stored, made):
            problems.append(f"{name} has other pixels than this script makes")
    return problems


def main() -> int:
    """Write or check; 0 when all is well, 1 when a check found a difference."""
    parser = argparse.ArgumentParser(description="Make the sample pictures, or check that they are as made.")
    default = Path(__file__).resolve().parent
    parser.add_argument("folder", nargs="?", type=Path, default=default, help="default: sample_images")
    parser.add_argument("--check", action="store_true", help="write nothing; compare the decoded pixels")
    arguments = parser.parse_args()
    if not arguments.check:
        write(arguments.folder)
        return 0
    problems = differences(arguments.folder)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
