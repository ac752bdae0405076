"""Files as instruments write them, denoised by this version and by another one: a table, case by case.

    python tests/benchmarks/measurements.py --against CHECKOUT
    python tests/benchmarks/measurements.py --against CHECKOUT --cases FOLDER --options 'depth* --nodata=0'

Each file of ``support.measurements`` is denoised by ``python -m tvdenoise run`` of this checkout, and of another
one, in a temporary folder. The table (Markdown) gives the error of the result over the error of the input, so that
less is better and 1 is no gain; "changed" where pixels without truth (no data, outside a mask), the type or the shape
did not come back; whether the case's own property holds; or the reason why the file was refused. An option that the
other version does not know is left out there.

--cases FOLDER judges other files instead: those that FOLDER/truth.npz names, with the true values of their images.
Files and sub-folders without truth are only run. --options 'PATTERN OPTIONS' adds options for files whose names
match (may be repeated). With --nodata=VALUE among them, and in files that declare it, such pixels are not judged.
The exit code is 1 if this version misses the ratio or the property of one of its own cases.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from math import inf
from pathlib import Path

import numpy as np
import tifffile

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.measurements import CASES, GDAL_NODATA, Case, Outcome, Truth, images_in, outcome
from support.processes import ROOT

_UNKNOWN = re.compile(r"no such option:? '?(--[\w-]+)|invalid value for '?(--[\w-]+)", re.IGNORECASE)
_LIMIT = 600  # seconds for a file


def run(checkout: Path, source: Path, target: str, options: Sequence[str]) -> str:
    """Run the command of a checkout in the folder of the source; return why it was refused, or nothing."""
    ended = subprocess.run(
        [sys.executable, "-m", "tvdenoise", "run", source.name, "-o", target, *options],
        capture_output=True,
        text=True,
        cwd=source.parent,
        env=os.environ | {"PYTHONPATH": str(checkout), "PYTHONUTF8": "1", "COLUMNS": "400"},
        timeout=_LIMIT,
        check=False,
    )
    if ended.returncode == 0:
        return ""
    unknown = _UNKNOWN.search(ended.stderr)
    name = unknown and (unknown[1] or unknown[2])
    known = [word for word in options if word.partition("=")[0] != name]
    if len(known) < len(options):
        return run(checkout, source, target, known)
    lines = [line for line in ended.stderr.splitlines() if line.startswith("tvdenoise: ")]
    refusal = next((line for line in lines if "note: " not in line), ended.stderr)
    refusal = refusal.replace(f"{source.parent}/", "").removeprefix("tvdenoise: ")
    return refusal.removeprefix(f"{source.name}: ").strip() or "no reason"


def tried(checkout: Path, case: Case, truth: Truth | None, source: Path, name: str) -> Outcome | str:
    """Denoise a file into a folder of this name beside it; return its outcome, or why it was refused."""
    refusal = run(checkout, source, f"{name}/", case.options)
    folder = source.with_name(name)
    return refusal or outcome(case, truth, source, folder if source.is_dir() else folder / source.name)


def shown(found: Outcome | str) -> str:
    if isinstance(found, str):
        return f"refused: {found}".replace("|", "\\|")
    parts = [] if found.ratio in (None, inf) else [f"{found.ratio:.2f}"]
    parts += [] if found.is_kept else ["changed"]
    parts += [] if found.holds is None else ["yes" if found.holds else "no"]
    return ", ".join(parts) or "done"


def is_missed(case: Case, found: Outcome | str) -> bool:
    if isinstance(found, str):
        return True
    too_large = case.most is not None and found.ratio is not None and found.ratio > case.most
    return too_large or not found.is_kept or found.holds is False


# Files made elsewhere


def others(folder: Path, given: Sequence[str]) -> Iterator[Case]:
    """Yield the cases of the files and sub-folders of a folder."""
    truth = np.load(folder / "truth.npz")
    for path in sorted(folder.iterdir()):
        if path.name == "truth.npz":
            continue
        options = [
            word
            for pattern, *words in map(shlex.split, given)
            if fnmatch(path.name, pattern)
            for word in words
        ]
        true = truth[path.name] if path.name in truth.files else None

        def make(target: Path, path: Path = path, true=true, options=tuple(options)) -> Truth | None:
            target.symlink_to(path.resolve(), target_is_directory=path.is_dir())
            return None if true is None else [_judged(each, true, path, options) for each in images_in(path)]

        yield Case(path.name, make, options=tuple(options))


def _judged(image: np.ndarray, true: np.ndarray, path: Path, options: Sequence[str]) -> np.ndarray:
    """Return the truth in the shape of the image, NaN where there is no data, and in an alpha channel."""
    true = true[..., np.newaxis] if true.ndim < image.ndim else true
    judged = np.array(np.broadcast_to(true, image.shape), dtype=float)
    stated = [word.partition("=")[2] for word in options if word.startswith("--nodata=")]
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as opened:
            page = opened.pages.first
            stated += [str(page.tags[GDAL_NODATA].value)] if GDAL_NODATA in page.tags else []
            if page.extrasamples and page.extrasamples[-1] in (1, 2):  # alpha
                judged[..., -1] = np.nan
    for value in map(float, stated):
        judged[image == value if np.isfinite(value) else ~np.isfinite(image)] = np.nan
    return judged


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another version")
    parser.add_argument("--cases", type=Path, metavar="FOLDER", help="files with a truth.npz, not our own")
    parser.add_argument(
        "--options", action="append", default=[], metavar="'PATTERN OPTIONS'", help="for --cases"
    )
    parser.add_argument("--only", action="append", metavar="PATTERN", help="the cases whose name matches")
    given = parser.parse_args()
    cases = CASES if given.cases is None else others(given.cases, given.options)
    checkouts = {"before": given.against, "after": ROOT} if given.against else {"after": ROOT}
    print(f"| case | options | {' | '.join(checkouts)} |")
    print(f"|---|---|{'---|' * len(checkouts)}", flush=True)
    missed = []
    for case in cases:
        if given.only and not any(fnmatch(case.name, pattern) for pattern in given.only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / case.name
            truth = case.make(source)
            found = {
                name: tried(checkout.resolve(), case, truth, source, name)
                for name, checkout in checkouts.items()
            }
        options = " ".join(case.options)
        row = [f"{case.name} ({case.says})" if case.says else case.name, f"`{options}`" if options else ""]
        print(f"| {' | '.join([*row, *map(shown, found.values())])} |", flush=True)
        if given.cases is None and is_missed(case, found["after"]):
            missed.append(case.name)
    if missed:
        print(f"\nMissed: {', '.join(missed)}")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
