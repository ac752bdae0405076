"""How long the page of ``tune --live`` takes from a slider's event to the decoded picture, one megapixel at 1:1.

    python tests/benchmarks/live_latency.py [--moves 30]

Each move waits for the full picture of the one before. "first" is the first picture, stopped early where the full
one is not ready by then. In a browser where there is one, drawing aside; else at a client that speaks as the page
does. Processor time is that of the server for each move. Other work on the machine is part of the times.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import browser  # noqa: E402
from support.live_client import Client  # noqa: E402

SIDE = 1000
SIGMA = 20
Move = Callable[[float], dict[str, float]]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--moves", type=int, default=30)
    arguments.add_argument("--client", action="store_true", help="without a browser")
    given = arguments.parse_args()
    without = "asked for" if given.client else browser.missing()
    print(f"load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} processors; "
          + (f"no browser ({without})" if without else "in a browser"))  # fmt: skip
    print(f"{'':34} {'first picture':>18} {'full picture':>18} {'processor':>10}   {'evaluations':>11}")
    print(
        f"{'milliseconds':34} {'median':>9} {'95 %':>8} {'median':>9} {'95 %':>8} {'median':>10}   {'median':>11}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in ("grey", "colour"):
            picture(name == "colour").save(Path(folder) / f"{name}.png")
            with moving(Path(folder), f"{name}.png", in_browser=without is None) as (move, process):
                for kind, largest in (("moves up to 10 %", 1.1), ("moves up to a factor of 2", 2.0)):
                    report(f"{name}, {kind}", move, process, largest, given.moves)


def picture(is_colour: bool) -> Image.Image:
    """A sample at one megapixel with noise at that size."""
    with Image.open(ROOT / "sample_images" / "clean" / "astronaut_clean.png") as opened:
        clean = opened.convert("RGB" if is_colour else "L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    noisy = np.asarray(clean) + SIGMA * np.random.default_rng(0).standard_normal(np.shape(clean))
    return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))


@contextmanager
def moving(folder: Path, name: str, *, in_browser: bool) -> Iterator[tuple[Move, int]]:
    """What moves the strength, and the number of the process that answers."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with browser.served(folder, environment, name) as page:
        if not in_browser:
            with Client(page.url) as client:
                yield (lambda value: client.move(value, SIDE)), page.process.pid
            return
        with browser.browser(SIDE + 400, SIDE + 250) as driver:
            driver.get(page.url)
            time.sleep(3)
            driver.find_element("id", "one").click()
            time.sleep(1)
            visible = driver.execute_script(
                "const c = document.getElementById('image'); return [c.width, c.height]"
            )
            assert min(visible) >= SIDE, f"only {visible} pixels are visible"
            yield (lambda value: browser.move(driver, "strength", value)), page.process.pid


def report(title: str, move: Move, process: int, largest: float, moves: int) -> None:
    """Print a line about random moves of the strength by at most a factor."""
    rng = np.random.default_rng(1)
    strength, found = 1.0, []
    for _ in range(moves + 2):  # two to warm up
        factor = largest ** rng.uniform(-1, 1)
        strength = strength * factor if 1 / 3 < strength * factor < 3 else strength / factor
        before = processor_seconds(process)
        answer = move(strength)
        found.append(
            (
                answer["first"],
                answer["full"],
                1000 * (processor_seconds(process) - before),
                answer["evaluations"],
            )
        )
    first, full, processor, evaluations = np.array(found[2:]).T
    print(
        f"{title:34} {np.median(first):9.0f} {np.percentile(first, 95):8.0f} {np.median(full):9.0f} "
        f"{np.percentile(full, 95):8.0f} {np.median(processor):10.0f}   {np.median(evaluations):11.0f}"
    )


def processor_seconds(process: int) -> float:
    """Of all threads of a process, in user and system mode."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
