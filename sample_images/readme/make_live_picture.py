"""Makes the manual's image of the page that `tvdenoise tune --live` opens, in a headless browser.

python sample_images/readme/make_live_picture.py
"""

from __future__ import annotations

import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import browser  # noqa: E402
from support.processes import environment  # noqa: E402

SAMPLE = "coffee.png"
TARGET = ROOT / "sample_images" / "readme" / "tune_live.png"


def main() -> None:
    """Photograph the page once it has its picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / SAMPLE).write_bytes((ROOT / "sample_images" / SAMPLE).read_bytes())
        with browser.served(folder, environment(), SAMPLE) as page, browser.browser(1200, 943) as driver:
            driver.get(page.url)
            time.sleep(3)
            browser.move(driver, "strength", 1.2)
            time.sleep(1)
            shown = Image.open(BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    shown.quantize(200, dither=Image.Dither.NONE).save(TARGET, optimize=True)


if __name__ == "__main__":
    main()
