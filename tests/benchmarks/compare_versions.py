"""Whether two installed versions of tvdenoise do the same, byte for byte.

    python tests/benchmarks/compare_versions.py --old PYTHON --new PYTHON
    python tests/benchmarks/compare_versions.py --old PYTHON --new PYTHON --new-path FOLDER --only tune --keep kept/

PYTHON is an interpreter whose environment has tvdenoise installed; with --old-path or --new-path it imports the
package from that folder (a checkout, say) instead. Both versions get the sample images and some 250 generated files
(``version_inputs``), and run the same commands in two folders, at the same time. Then exit codes, standard output and
written files are compared. In the scenario "continued" the old version begins in both folders, and each version goes
on from what it left: reports, half-finished batches and images that were replaced in place.

It prints a line for each difference and a closing count; the exit code is 1 where there is any difference.
--only NAME takes the scenarios with NAME in their names, --accept PATTERN leaves out differences whose line matches a
regular expression, such as "record: only new has" (both may be repeated). --keep FOLDER keeps all files in a new
folder, --list names the scenarios and what is left out of the comparison, with the reasons.

Needs NumPy, Pillow, tifffile and imagecodecs, not tvdenoise. HEIC takes part where pillow_heif is installed. On two
idle cores it takes less than five minutes.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from version_differences import (
    LAYOUT_TAGS,
    LEFT_OUT_FIELDS,
    LEFT_OUT_TAGS,
    OTHERS_LEFT_OUT,
    differences,
    table_differences,
)
from version_inputs import make_inputs

LIMIT = 600  # seconds for a command

# What the versions are asked to do


@dataclass(frozen=True)
class Command:
    """One command line; "@" stands for the scenario's own folder of outputs.

    shows: what standard output holds: "bytes" of a file, a table as ``version_differences`` names it, or "words" that
        are left out.
    by_old: the old version runs it in both folders.
    """

    arguments: tuple[str, ...]
    shows: str = "bytes"
    given: str | None = None
    by_old: bool = False


@dataclass(frozen=True)
class Copy:
    """Copies a folder, or the start of a file."""

    source: str
    target: str
    length: int | None = None


@dataclass(frozen=True)
class Same:
    """Demands that two folders hold the same bytes: nothing was denoised in between."""

    first: str
    second: str


Step = Command | Copy | Same


@dataclass(frozen=True)
class Scenario:
    """Steps that build on each other; times: whether the files' times of change are compared."""

    name: str
    steps: tuple[Step, ...]
    times: bool = False


def _command(words: Sequence[str], shows: str, given: str | None, by_old: bool) -> Command:
    return Command(tuple(words), shows, given, by_old)


def run(*words: str, shows: str = "bytes", given: str | None = None, by_old: bool = False) -> Command:
    return _command(("run", *words), shows, given, by_old)


def ask(*words: str, shows: str = "json", by_old: bool = False) -> Command:
    return _command(words, shows, None, by_old)


FIXED = ("--mu", "14")  # where the choice of parameters is not what is looked at

OPTIONS: dict[str, tuple[str, ...]] = {
    "mu": ("--mu", "20"),
    "sigma": ("--sigma", "15/255"),
    "strength": ("--strength", "1.5"),
    "epsilon": (*FIXED, "--epsilon", "2/255"),
    "epsilon_alone": ("--epsilon", "0.02"),
    "noise": ("--noise", "white"),
    "chroma": (*FIXED, "--chroma", "1.5"),
    "tv": (*FIXED, "--tv", "componentwise"),
    "penalty": (*FIXED, "--penalty", "huber"),
    "step": (*FIXED, "--step", "fixed", "--max-iterations", "60"),
    "engine": (*FIXED, "--engine", "sparse"),
    "together": (
        *FIXED,
        "--engine",
        "sparse",
        "--penalty",
        "huber",
        "--tv",
        "componentwise",
        "--chroma",
        "2",
    ),
    "tolerance": (*FIXED, "--tolerance", "0.1/255"),
    "data_range": ("--data-range", "2", "--threads", "1"),
}
CONVERSIONS: dict[str, tuple[str, ...]] = {
    "kinds/grey16.png": ("a.tif", "a.jp2"),
    "kinds/texts.png": ("b.tif", "b.webp", "b.jpg"),
    "kinds/turned.jpg": ("c.png", "c.avif"),
    "kinds/colour8_alpha.png": ("d.webp", "d.jpg"),
    "kinds/float32.tif": ("e.pfm", "e.png"),
    "kinds/camera.tif": ("f.jpg", "f.png"),
    "kinds/grey8.png": ("g.gif", "g.heic", "g.unknown"),
    "kinds/inks.jpg": ("h.tif",),
    "kinds/deep.ppm": ("i.png",),
    "stacks/film.gif": ("j.png", "j.webp"),
    "stacks/pages.tif": ("k.png",),
}
CONVERSION_OPTIONS = {"c.avif": ("--quality", "70"), "d.webp": ("--strip-metadata",)}
USAGE: tuple[tuple[str, ...], ...] = (
    ("run", "in/few", "--mu", "-1"),
    ("run", "in/few", "--mu", "nan"),
    ("run", "in/few", "--penalty", "other", "-o", "@/"),
    ("run", "in/stacks/pages.tif", "--spacing", "4,1,1", "-o", "@/"),
    ("run", "in/few/grey8.png", "in/few/inks8.tif", "-o", "@/one.png"),
    ("run", "in/few/grey8.png", "-o", "in/few/grey8.png", "--overwrite"),
    ("run", "in/few", "in/kinds/grey8.png", "-o", "@/"),
    ("run", "in/few", "--skip-existing", "--overwrite", "-o", "@/"),
    ("run", "in/few", "--memory", "lots", "-o", "@/"),
    ("run", "in/few", "--in-place", "-o", "@/"),
    ("run", "in/few", "--trace", "@/trace.csv", "-o", "@/"),
    ("run", "nowhere.png", "-o", "@/"),
    ("run", "in/few", "--include", "nothing*", "-o", "@/"),
    ("tune", "in/few/grey8.png", "--grid", "4x4", "-o", "@/sheet.png"),
    ("noise", "nowhere.png"),
)
LOSSY = tuple(
    f"in/kinds/{name}" for name in ("halved.jpg", "lossy.webp", "halved.avif", "lossy.jp2", "grey.avif")
)
CLEAN = "in/samples/clean"


def scenarios() -> list[Scenario]:
    """All of them, the quick ones first."""
    beside = ("@/beside/b.png", "@/beside/raw", *FIXED)
    place, film = ("--in-place", *FIXED), "in/stacks/film.png"
    listed = {
        "usage": [ask(*words, shows="bytes") for words in USAGE],
        "report": [
            ask("report", "in/reports/report.jsonl", "--json", shows="account"),
            ask("report", "in/reports/report.jsonl", shows="words"),
            ask("report", "in/reports/damaged.jsonl", "in/reports/cut.jsonl", "--json", shows="account"),
            ask("report", "in/reports/empty.jsonl", "in/reports/no_report.jsonl", "--json", shows="account"),
        ],
        "dry-run": [
            run("in/kinds", "in/bad", "in/samples", "-o", "@/", "--dry-run", shows="plan"),
            run("in/tree", "in/large", "-r", "-o", "@/", "--dry-run", "--memory", "300MB", shows="plan"),
            run("in/stacks", "--dry-run", "--in-place", "--volume", shows="plan"),
        ],
        "compare": [
            ask("compare", f"{CLEAN}/camera_clean.png", "in/samples/camera.png", f"{CLEAN}/camera_clean.png",
                "in/few/grey8.png", "--json"),
            ask("compare", f"{CLEAN}/retina_clean.png", "in/samples/retina.png", shows="lines"),
            ask("compare", f"{CLEAN}/rocket_clean.png", "in/samples/rocket.png", "--json", "--data-range", "4095"),
            ask("compare", "in/kinds/float32.tif", "in/kinds/float32_byteswapped.tif", "in/bad/half.tif",
                shows="lines"),
            ask("compare", f"{CLEAN}/coffee_clean.png", "in/samples/coffee.png", "--plot", "@/plot.png",
                shows="lines"),
        ],
        "noise": [
            ask("noise", "in/samples", "--json"),
            ask("noise", "in/samples", "--plot", "@/plot.png", shows="noise"),
            ask("noise", "in/kinds", "in/stacks", "in/bad", "--first-frame", "--json"),
            ask("noise", "in/few", "in/tree", "-r", "--exclude", "raw", "--data-range", "2", "--json"),
        ],
        "streams": [
            run("-", *FIXED, given="in/kinds/texts.png"),
            run("-", *FIXED, "--format", "tiff", given="in/kinds/turned.jpg"),
            run("-", *FIXED, "-o", "@/film.webp", given="in/stacks/film_lossless.webp"),
            run("in/kinds/grey16.tif", *FIXED, "-o", "-"),
            run("-", *FIXED, given="in/bad/half.png"),
        ],
        "trace": [
            run("in/few/halved.jpg", "-o", "@/", "--trace", "@/trace.csv", "--report", "@/report.jsonl"),
            run("in/few/grey8.png", *FIXED, "-o", "@/", "--trace", "@/trace.png"),
        ],
        "shared": [
            run("in/series", "-o", "@/images/", "--shared-parameters", "--report", "@/report.jsonl", "--jobs", "2"),
        ],
        "names": [
            run("in/tree", "-r", *FIXED, "-o", "@/all/", "--report", "@/report.jsonl"),
            run("in/tree", "-r", *FIXED, "-o", "@/some/", "--include", "*.png", "--exclude", "thumb*", "--exclude",
                "raw/old", "--suffix", "_smooth"),
            Copy("in/tree", "@/beside"),
            run(*beside, "--report", "@/beside.csv"),
            run(*beside),
            run(*beside, "--overwrite", "--strength", "2"),
        ],
        "skip-existing": [
            run("in/tree", *FIXED, "-o", "@/images/", "--include", "*e*", "--report", "@/report.jsonl"),
            run("in/tree", *FIXED, "-o", "@/images/", "--skip-existing", "--report", "@/report.jsonl"),
            ask("report", "@/report.jsonl", "--json", shows="account"),
        ],
        "masks": [
            run("in/few", "-o", "@/disc/", "--mask", "in/masks/disc.png", "--report", "@/report.jsonl"),
            run("in/few", *FIXED, "-o", "@/disc16/", "--mask", "in/masks/disc16.tif", "--jobs", "1"),
            run("in/few/grey8.png", *FIXED, "-o", "@/white/", "--mask", "in/masks/white.png"),
            run("in/few/grey8.png", *FIXED, "-o", "@/black/", "--mask", "in/masks/black.png"),
            run("in/few/grey8.png", *FIXED, "-o", "@/grey/", "--mask", "in/masks/grey.png"),
            run("in/stacks/pages.tif", "in/few/grey8.png", *FIXED, "-o", "@/planes/", "--mask",
                "in/masks/planes.tif"),
            run("in/stacks/pages.tif", *FIXED, "-o", "@/volume/", "--volume", "--mask", "in/masks/plane.png"),
        ],
        "missing": [
            run("in/missing", *FIXED, "-o", "@/refused/", "--report", "@/refused.jsonl"),
            run("in/missing", "-o", "@/filled/", "--nan", "fill", "--report", "@/filled.jsonl"),
            run("in/missing/stack.tif", *FIXED, "-o", "@/volume/", "--nan", "fill", "--volume"),
        ],
        "refusals": [
            run("in/bad", *FIXED, "-o", "@/images/", "--report", "@/report.jsonl"),
            run("in/bad", *FIXED, "-o", "@/first/", "--first-frame", "--max-pixels", "0.001"),
            run("in/few/grey8.png", "in/bad/text.png", "in/few/inks8.tif", *FIXED, "-o", "@/fast/", "--fail-fast",
                "--jobs", "1", "--quiet"),
        ],
        "stacks": [
            run("in/stacks", "-o", "@/images/", "--report", "@/report.jsonl"),
            run("in/stacks", "-o", "@/per_plane/", "--per-plane", "--include", "im*", "--include", "film.*",
                "--report", "@/per_plane.csv"),
            run("in/stacks", "in/bad/shapes.tif", "in/bad/several.mpo.jpg", *FIXED, "-o", "@/first/",
                "--first-frame", "--jobs", "2"),
        ],
        "volumes": [
            run("in/stacks", "-o", "@/images/", "--volume", "--report", "@/report.jsonl"),
            run("in/stacks", *FIXED, "-o", "@/spaced/", "--volume", "--spacing", "4,1,1.5", "--include", "*.tif",
                "--residual", "@/removed", "--report", "@/spaced.jsonl"),
        ],
        "conversions": [
            run(f"in/{source}", *FIXED, "-o", f"@/{target}", *CONVERSION_OPTIONS.get(target, ()))
            for source, targets in CONVERSIONS.items()
            for target in targets
        ] + [run(*LOSSY, *FIXED, "-o", "@/rough/", "--quality", "60", "--residual", "@/removed")],
        "options": [
            run("in/few", *words, "-o", f"@/{name}/", "--report", f"@/{name}.jsonl")
            for name, words in OPTIONS.items()
        ],
        "tune": [
            ask("tune", "in/samples/camera.png", "-o", "@/camera.png", "--grid", "3x3", "--json"),
            ask("tune", "in/samples/coffee.png", "--reference", f"{CLEAN}/coffee_clean.png", "--grid", "3x3",
                "--crop", "60,20,160,120", "-o", "@/coffee.png", shows="cells"),
            ask("tune", "in/samples/camera.png", "-o", "@/camera.png", "--json"),
            ask("tune", "in/kinds/turned.jpg", "--strength", "0.5,1,2", "-o", "@/turned.png", shows="cells"),
            ask("tune", "in/kinds/grey16.tif", "--mu", "20", "--epsilon", "0.01", "--grid", "3x1", "--penalty",
                "huber", "--tv", "componentwise", "--step", "fixed", "--max-iterations", "99", "-o", "@/deep.png",
                shows="cells"),
            ask("tune", "in/kinds/colour8_alpha.png", "--grid", "1x3", "--chroma", "2", "--sigma", "0.05", "-o",
                "@/alpha.png", "--json"),
            ask("tune", "in/kinds/inks8.tif", "--grid", "3x1", "-o", "@/inks.png", "--json"),
        ],
        "in-place": [
            Copy("in/recorded", "@/recorded"),
            run("@/recorded", *place, "--report", "@/recorded.jsonl"),
            Copy("@/recorded", "@/recorded_once"),
            run("@/recorded", *place),
            Same("@/recorded_once", "@/recorded"),
            run("@/recorded", *place, "--again"),
            Copy("in/unrecorded", "@/unrecorded"),
            run("@/unrecorded", *place),
            run("@/unrecorded", *place, "--report", "@/unrecorded.csv"),
            Copy("@/unrecorded", "@/unrecorded_once"),
            run("@/unrecorded", *place, "--report", "@/unrecorded.csv", "--skip-existing"),
            Same("@/unrecorded_once", "@/unrecorded"),
            Copy("in/few", "@/stripped"),
            run("@/stripped", *place, "--strip-metadata", "--report", "@/stripped.jsonl", "--preserve-times"),
        ],
        "continued": [
            run("in/kinds", *FIXED, "-o", "@/kinds/", "--exclude", "*.t*", "--exclude", "*.j*", "--report",
                "@/kinds.jsonl", by_old=True),
            run("in/kinds", *FIXED, "-o", "@/kinds/", "--skip-existing", "--report", "@/kinds.jsonl"),
            ask("report", "@/kinds.jsonl", "--json", shows="account"),
            run("in/few", *FIXED, "-o", "@/few/", "--exclude", "*.tif", "--report", "@/few.csv", by_old=True),
            run("in/few", *FIXED, "-o", "@/few/", "--skip-existing", "--report", "@/few.csv"),
            ask("report", "@/few.csv", "--json", shows="account"),
            run("in/series", "-o", "@/series/", "--shared-parameters", "--exclude", "series[34]*", "--report",
                "@/series.jsonl", by_old=True),
            run("in/series", "-o", "@/series/", "--shared-parameters", "--skip-existing", "--report",
                "@/series.jsonl"),
            Copy("@/few.csv", "@/cut.csv", length=-20),
            run("in/few", *FIXED, "-o", "@/few/", "--skip-existing", "--report", "@/cut.csv"),
            Copy("in/recorded", "@/recorded"),
            run("@/recorded", *place, by_old=True),
            Copy("@/recorded", "@/recorded_once"),
            run("@/recorded", *place, "--report", "@/recorded.jsonl"),
            Same("@/recorded_once", "@/recorded"),
            ask("noise", "@/recorded", "--first-frame", "--json"),
            Copy("in/unrecorded", "@/unrecorded"),
            run("@/unrecorded", *place, "--report", "@/unrecorded.jsonl", by_old=True),
            Copy("@/unrecorded", "@/unrecorded_once"),
            run("@/unrecorded", *place, "--report", "@/unrecorded.jsonl", "--skip-existing"),
            Same("@/unrecorded_once", "@/unrecorded"),
        ],
        "samples": [
            run("in/samples", "-o", "@/images/", "--report", "@/report.jsonl", "--residual", "@/removed"),
            ask("report", "@/report.jsonl", "--json", shows="account"),
        ],
        "large": [
            run("in/large", *FIXED, "-o", "@/images/", "--memory", "300MB", "--jobs", "1", "--exclude", "volume*",
                "--report", "@/report.jsonl"),
            run("in/large/volume.tif", *FIXED, "-o", "@/images/", "--memory", "300MB", "--volume", "--report",
                "@/volume.jsonl"),
        ],
        "kinds": [run("in/kinds", "-o", "@/images/", "--report", "@/report.jsonl", "--verbose")],
        "stripped": [
            run("in/kinds", film, *FIXED, "-o", "@/images/", "--jobs", "2", "--strip-metadata", "--preserve-times",
                "--report", "@/report.csv"),
        ],
    }  # fmt: skip
    return [Scenario(name, tuple(steps), name in {"stripped", "in-place"}) for name, steps in listed.items()]


# Running them


@dataclass(frozen=True)
class Version:
    """An interpreter, and the folder from which it imports the package where it is not the installed one."""

    name: str
    python: str
    path: str | None

    def environment(self) -> dict[str, str]:
        found = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NUMBA"))
        }
        found |= {"COLUMNS": "200", "NO_COLOR": "1", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        if self.path is not None:
            found["PYTHONPATH"] = str(Path(self.path).resolve())
        return found

    def described(self) -> str:
        """Its number and where it lies. Raises SystemExit where it cannot be imported."""
        asked = "import tvdenoise; print(tvdenoise.__version__, tvdenoise.__file__)"
        with tempfile.TemporaryDirectory() as elsewhere:
            done = subprocess.run(
                [self.python, "-c", asked], env=self.environment(), cwd=elsewhere, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"--{self.name} {self.python} cannot import tvdenoise:\n{done.stderr}")
        return done.stdout.strip()


@dataclass
class Ran:
    """What a command left behind besides files."""

    command: Command
    code: int | str
    output: bytes
    has_traceback: bool


def run_all(
    chosen: Sequence[Scenario], folder: Path, own: Version, old: Version, stopped: threading.Event
) -> dict[str, list[Ran | str]]:
    """What became of the steps of each scenario: of commands, and a text where another step failed."""
    found = {}
    for scenario in chosen:
        if stopped.is_set():
            break
        start = time.perf_counter()
        outputs = f"out/{scenario.name}"
        (folder / outputs).mkdir(parents=True)
        found[scenario.name] = [
            result for step in scenario.steps if (result := _run(step, folder, outputs, own, old)) is not None
        ]
        print(f"{own.name}: {scenario.name}, {time.perf_counter() - start:.1f} s", file=sys.stderr)
    return found


def _run(step: Step, folder: Path, outputs: str, own: Version, old: Version) -> Ran | str | None:
    def place(word: str) -> str:
        return word.replace("@", outputs, 1) if word.startswith("@") else word

    match step:
        case Copy(source, target, length):
            path = folder / place(source)
            if not path.exists():
                return f"{source} is missing"
            if length is None:
                shutil.copytree(path, folder / place(target), symlinks=True)
            else:
                (folder / place(target)).write_bytes(path.read_bytes()[:length])
            return None
        case Same(first, second):
            one, two = (_contents_in(folder / place(name)) for name in (first, second))
            changed = sorted(name for name in one | two if one.get(name) != two.get(name))
            return f"{second} was denoised again: {', '.join(changed)}" if changed else None
        case Command():
            version = old if step.by_old else own
            words = [version.python, "-m", "tvdenoise", *map(place, step.arguments)]
            with (folder / step.given).open("rb") if step.given else nullcontext(subprocess.DEVNULL) as given:
                try:
                    done = subprocess.run(
                        words, env=version.environment(), cwd=folder, stdin=given, capture_output=True,
                        timeout=LIMIT, check=False,
                    )  # fmt: skip
                except subprocess.TimeoutExpired:
                    return Ran(step, f"none after {LIMIT} s", b"", has_traceback=False)
            return Ran(step, done.returncode, done.stdout, b"Traceback (most recent" in done.stderr)


def _contents_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


# Comparing


@dataclass
class FileSummary:
    """Differences as they are found: where, and what; files and tables are counted."""

    files: int = 0
    tables: int = 0
    found: list[tuple[str, str]] = field(default_factory=list)

    def add(self, place: str, *texts: str) -> None:
        self.found += [(place, text) for text in texts]

    def accept(self, patterns: Sequence[str]) -> int:
        """Drop the differences that match one of some patterns, and say how many they were."""
        count = len(self.found)
        self.found = [
            (place, text)
            for place, text in self.found
            if not any(re.search(pattern, f"{place}: {text}") for pattern in patterns)
        ]
        return count - len(self.found)

    def lines(self) -> Iterator[str]:
        """One for each difference; the same in many places is one line."""
        places = defaultdict(list)
        for place, text in self.found:
            places[text].append(place)
        for text, where in places.items():
            if len(where) > 5:
                yield f"{len(where)} places, such as {where[0]} and {where[-1]}: {text}"
            else:
                yield from (f"{place}: {text}" for place in where)


def compare_all(
    chosen: Sequence[Scenario], folder: Path, old: Mapping[str, list[Any]], new: Mapping[str, list[Any]]
) -> FileSummary:
    findings = FileSummary()
    for scenario in chosen:
        name = scenario.name
        outputs = [run for run in new[name] if isinstance(run, Ran)]
        for version, results in (("old", old), ("new", new)):
            for text in results[name]:
                if isinstance(text, str):
                    findings.add(f"{version}: {name}", text)
        for before, after in zip((run for run in old[name] if isinstance(run, Ran)), outputs, strict=True):
            _compare_runs(before, after, f"{name}: {shlex.join(after.command.arguments)}", findings)
        _compare_folders(*(folder / version / "out" / name for version in ("old", "new")), scenario, findings)
    return findings


def _compare_runs(old: Ran, new: Ran, place: str, findings: FileSummary) -> None:
    if old.code != new.code:
        findings.add(place, f"exit code {old.code} → {new.code}")
    if old.has_traceback != new.has_traceback:
        findings.add(place, f"only {'old' if old.has_traceback else 'new'} shows a traceback")
    shows = new.command.shows
    if shows == "words":
        if bool(old.output) != bool(new.output):
            findings.add(place, "standard output: only one version prints anything")
    elif shows == "bytes":
        if old.output or new.output:
            findings.files += 1
        findings.add(place, *(f"standard output: {text}" for text in differences(old.output, new.output)))
    else:
        findings.tables += 1
        texts = table_differences(shows, old.output, new.output)
        findings.add(place, *(f"standard output: {text}" for text in texts))


def _compare_folders(old: Path, new: Path, scenario: Scenario, findings: FileSummary) -> None:
    """All that lies in two folders, hidden files and remains of temporary ones included."""
    names = [
        {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
        for folder in (old, new)
    ]
    for name in sorted(names[0] | names[1]):
        place = f"{scenario.name}/{name}"
        findings.files += 1
        if name not in names[0] or name not in names[1]:
            findings.add(place, f"only {'old' if name in names[0] else 'new'} writes it")
            continue
        pair = (old / name, new / name)
        states = [path.lstat() for path in pair]
        if states[0].st_mode != states[1].st_mode:
            modes = " → ".join(stat.filemode(state.st_mode) for state in states)
            findings.add(place, f"permissions {modes}")
        if scenario.times and any(_was_kept(state) for state in states):
            kept = [_was_kept(state) for state in states]
            if kept[0] != kept[1]:
                findings.add(place, f"only {'old' if kept[0] else 'new'} keeps the time of the last change")
        if pair[0].is_symlink() and pair[1].is_symlink():
            if os.readlink(pair[0]) != os.readlink(pair[1]):
                findings.add(place, "the link leads elsewhere")
            continue
        before, after = (path.read_bytes() for path in pair)
        if name.endswith(".jsonl") or (name.endswith(".csv") and b"status" in before[:200]):
            findings.tables += 1
            findings.add(place, *table_differences("report", before, after))
        else:
            findings.add(place, *differences(before, after, sheet=scenario.name == "tune", path=name))


def _was_kept(state: os.stat_result) -> bool:
    """Whether a file has the time that inputs have."""
    return state.st_mtime < 1_700_000_000


# The command line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("old", "new"):
        parser.add_argument(f"--{name}", metavar="PYTHON", help=f"interpreter of the {name} version")
        parser.add_argument(f"--{name}-path", metavar="FOLDER", help="import tvdenoise from this folder")
    parser.add_argument("--only", metavar="NAME", action="append", help="scenarios with NAME in their names")
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="keep all files in this new folder")
    parser.add_argument(
        "--accept", metavar="PATTERN", action="append", default=[], help="a difference that is wanted"
    )
    parser.add_argument("--list", action="store_true", help="name scenarios, and what is left out")
    return parser


def _list() -> None:
    for scenario in scenarios():
        print(f"{scenario.name}: {sum(isinstance(step, Command) for step in scenario.steps)} commands")
    print("\nLeft out:")
    tags = {f"tag {number}": why for number, why in LEFT_OUT_TAGS.items()}
    types = "they may have any type of integer, and their absence stands for their default"
    tags[f"types of tags {', '.join(map(str, LAYOUT_TAGS))}"] = types
    for name, why in {**LEFT_OUT_FIELDS, **tags, **OTHERS_LEFT_OUT}.items():
        print(f"{name}: {why}")


def _samples() -> Path:
    """The repository's sample images, above this script."""
    for folder in Path(__file__).resolve().parents:
        if (folder / "sample_images").is_dir():
            return folder / "sample_images"
    raise SystemExit("there is no folder sample_images above this script")


def main() -> int:
    sys.stdout.reconfigure(errors="backslashreplace")
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.list:
        _list()
        return 0
    if arguments.old is None or arguments.new is None:
        parser.error("--old and --new are needed")
    chosen = [each for each in scenarios() if any(name in each.name for name in arguments.only or [""])]
    if not chosen:
        parser.error(f"no scenario has such a name; there are {', '.join(each.name for each in scenarios())}")
    old = Version("old", arguments.old, arguments.old_path)
    new = Version("new", arguments.new, arguments.new_path)
    for version in (old, new):
        print(f"{version.name}: {version.described()}", file=sys.stderr)
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True)
    with nullcontext(arguments.keep) if arguments.keep else tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        make_inputs(folder / "in", _samples())
        for version in (old, new):
            (folder / version.name).mkdir()
            shutil.copytree(folder / "in", folder / version.name / "in", symlinks=True)
        stopped = threading.Event()
        with ThreadPoolExecutor() as pool:
            runs = [
                pool.submit(run_all, chosen, folder / each.name, each, old, stopped) for each in (old, new)
            ]
            try:
                results = [each.result() for each in runs]
            except BaseException:  # of Ctrl-C, too: the other thread ends with its scenario
                stopped.set()
                raise
        findings = compare_all(chosen, folder, *results)
        inputs = [_contents_in(folder / place) for place in ("in", "old/in", "new/in")]
        for version, found in zip((old, new), inputs[1:], strict=True):
            if found != inputs[0]:
                findings.add(version.name, "inputs were changed")
    accepted = findings.accept(arguments.accept)
    for line in findings.lines():
        print(line)
    print(
        f"{findings.files} files and {findings.tables} tables compared, {len(findings.found)} differences"
        + (f", {accepted} more accepted" if accepted else "")
    )
    return 1 if findings.found else 0


if __name__ == "__main__":
    sys.exit(main())
