"""The environment and the leftovers of the command in a separate process."""

from __future__ import annotations

import os
from pathlib import Path

from tvdenoise.files.atomic import temporary_beside

ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """Return the environment of this process, with the project importable and the language fixed."""
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "COLUMNS": "200"}


def temporaries(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith((".tmp", ".ready"))]


def left_by(target: Path, process: int = 4194305) -> Path:
    """Make the temporary file beside a target that a process would leave.

    process: its number; by default one above all that Linux gives.
    """
    name = temporary_beside(target).name
    left = target.with_name(name.replace(f"-{os.getpid()}-", f"-{process}-"))
    left.touch()
    return left
