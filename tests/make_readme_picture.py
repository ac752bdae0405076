"""Makes the README's picture: samples before and after `tvdenoise run`, side by side.

python tests/make_readme_picture.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

SAMPLES = Path(__file__).parent.parent / "sample_images"
SHOWN = ("coffee.png", "camera.png")
HEIGHT, GAP = 200, 6


def main() -> None:
    """Denoise the samples with the command itself and paste each before and after."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tvdenoise", "run", *(str(SAMPLES / name) for name in SHOWN)]
        subprocess.run([*command, "-o", folder + "/"], check=True)
        pictures = [_opened(place / name) for name in SHOWN for place in (SAMPLES, Path(folder))]
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    canvas = Image.new("RGB", (width, HEIGHT), "white")
    left = 0
    for picture in pictures:
        canvas.paste(picture, (left, 0))
        left += picture.width + GAP
    canvas.save(SAMPLES / "readme" / "before_after.png", optimize=True)


def _opened(path: Path) -> Image.Image:
    """The middle of a picture, HEIGHT pixels high and not scaled."""
    picture = Image.open(path).convert("RGB")
    top, left = (picture.height - HEIGHT) // 2, (picture.width - 260) // 2
    return picture.crop((left, top, left + 260, top + HEIGHT))


if __name__ == "__main__":
    main()
