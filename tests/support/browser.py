"""A headless browser on the page of ``tune --live``."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DRIVER = "chromedriver"
#: Moves a slider and resolves to the milliseconds from the event to the first and the full decoded image, with the
#: parameters of the latter.
_MOVE = """
const [name, value, done] = arguments;
const range = document.getElementById(name);
const asked = performance.now();
let first = null, evaluations = null;
const heard = ({ detail }) => {
  if (detail.kind !== "after" || detail[name] === undefined && name !== "strength") return;
  const now = performance.now() - asked;
  if (first === null) { first = now; evaluations = detail.evaluations; }
  if (!detail.isFinal) return;
  document.removeEventListener("image", heard);
  done({ first, full: now, evaluations: detail.evaluations, bound: detail.bound, mu: detail.mu,
         server: detail.milliseconds });
};
document.addEventListener("image", heard);
range.value = value;
range.dispatchEvent(new Event("input", { bubbles: true }));
"""


def missing() -> str | None:
    """Return why there is no browser for tests; None if there is one."""
    if not any(map(shutil.which, BROWSERS)):
        return f"none of {', '.join(BROWSERS)} is installed"
    if shutil.which(DRIVER) is None:
        return f"{DRIVER} is not installed"
    return None


@contextmanager
def browser(width: int = 1360, height: int = 900) -> Iterator[Chrome]:
    """Start a headless browser, without downloading a driver."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, BROWSERS)))
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        f"--window-size={width},{height}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which(DRIVER)))
    try:
        driver.set_script_timeout(30)
        yield driver
    finally:
        driver.quit()


def move(driver: Chrome, slider: str, value: float) -> dict[str, float]:
    """Move a slider to a number (the slider holds its logarithm) and wait for the full image."""
    from math import log

    return driver.execute_async_script(_MOVE, slider, log(value))


@dataclass(frozen=True)
class Served:
    """A running ``tune --live``."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        return int(self.url.split(":")[2].partition("/")[0])

    @property
    def token(self) -> str:
        return self.url.rstrip("/").rpartition("/")[2]

    def interrupt(self) -> tuple[int, str]:
        """Press Ctrl-C; return the exit code and the messages."""
        self.process.send_signal(signal.SIGINT)
        _, messages = self.process.communicate(timeout=60)
        return self.process.returncode, messages


@contextmanager
def served(folder: Path, environment: dict[str, str], *arguments: str) -> Iterator[Served]:
    """Run ``tvdenoise tune --live`` in a folder for the duration of a block."""
    command = [sys.executable, "-m", "tvdenoise", "tune", "--live", "--no-browser", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        while "preparing" in line:
            line = process.stderr.readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, line + process.stderr.read()
        yield Served(process, found[0])
    finally:
        process.kill()
        process.communicate()
