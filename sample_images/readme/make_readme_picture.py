"""Makes the README's image before and after, and the manual's comparison, with the commands themselves.

python sample_images/readme/make_readme_picture.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

SAMPLES = Path(__file__).resolve().parent.parent
SHOWN = ("coffee.png", "camera.png")
HEIGHT, GAP = 200, 6
COMPARED = 800  # columns


def main() -> None:
    """Make both."""
    before_and_after()
    compared()


def before_and_after() -> None:
    """Denoise the samples and paste each before and after."""
    with tempfile.TemporaryDirectory() as folder:
        _tvdenoise("run", *(str(SAMPLES / name) for name in SHOWN), "-o", folder + "/")
        pictures = [_opened(place / name) for name in SHOWN for place in (SAMPLES, Path(folder))]
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    canvas = Image.new("RGB", (width, HEIGHT), "white")
    left = 0
    for picture in pictures:
        canvas.paste(picture, (left, 0))
        left += picture.width + GAP
    canvas.save(SAMPLES / "readme" / "before_after.png", optimize=True)


def compared() -> None:
    """The side-by-side picture of a sample, small enough for a README."""
    with tempfile.TemporaryDirectory() as folder:
        names = ("clean.png", "noisy.png", "denoised.png")
        for name, source in zip(names, ("clean/camera_clean.png", "camera.png"), strict=False):
            shutil.copy(SAMPLES / source, Path(folder) / name)
        _tvdenoise("run", "noisy.png", "-o", "denoised.png", folder=folder)
        _tvdenoise("compare", *names, "--plot", "plot.png", folder=folder)
        with Image.open(Path(folder) / "plot.png") as plot:
            small = plot.convert("RGB").resize(
                (COMPARED, plot.height * COMPARED // plot.width), Image.Resampling.LANCZOS
            )
    small.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        SAMPLES / "readme" / "compared.png", optimize=True
    )


def _tvdenoise(*arguments: str, folder: str | None = None) -> None:
    subprocess.run([sys.executable, "-m", "tvdenoise", *arguments], check=True, cwd=folder)


def _opened(path: Path) -> Image.Image:
    """The middle of a picture, HEIGHT pixels high and not scaled."""
    picture = Image.open(path).convert("RGB")
    top, left = (picture.height - HEIGHT) // 2, (picture.width - 260) // 2
    return picture.crop((left, top, left + 260, top + HEIGHT))


if __name__ == "__main__":
    main()
