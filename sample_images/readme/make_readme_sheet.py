"""Makes the manual's contact sheet with `tvdenoise tune`, in 256 colours so that it stays small.

python sample_images/readme/make_readme_sheet.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

SAMPLES = Path(__file__).resolve().parent.parent
SHOWN = ("--grid", "3x3", "--crop", "60,20,200,160")
COLOURS = 256


def main() -> None:
    """Run the command itself on a sample that has a clean reference."""
    with tempfile.TemporaryDirectory() as folder:
        sheet = Path(folder) / "sheet.png"
        inputs = (SAMPLES / "coffee.png", "--reference", SAMPLES / "clean" / "coffee_clean.png")
        subprocess.run([sys.executable, "-m", "tvdenoise", "tune", *inputs, *SHOWN, "-o", sheet], check=True)
        with Image.open(sheet) as drawn:
            small = drawn.quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(SAMPLES / "readme" / "tune.png", optimize=True)


if __name__ == "__main__":
    main()
