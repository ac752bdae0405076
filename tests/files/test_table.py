"""Every combination of format, pixels and metadata that the manual claims comes through, no other is written."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from support.makers import MAKERS, METADATA, SAMPLES, Maker, Metadata, exif_block, metadata_for, values_of
from support.readers import Facts, facts_of
from support.round_trips import decoded_of
from tvdenoise.commands.app import app
from tvdenoise.errors import TvdenoiseError, UnsupportedImageError
from tvdenoise.files.decoded import PIXEL_KINDS
from tvdenoise.files.reading import read
from tvdenoise.files.writing import encode
from tvdenoise.formats.family import METADATA_NAMES, Format
from tvdenoise.formats.registry import FORMATS

pytestmark = pytest.mark.xdist_group("table")  # which is made once
CLAIMED = [(form, kind) for form in FORMATS for kind in sorted(form.kinds | form.approximates)]
LOSSLESS = [  # GIF too, since these pictures have no more pixels than it has colours
    (form, kind)
    for form, kind in CLAIMED
    if (maker := MAKERS.get((form.name, kind))) is None or maker.tolerance == 0
]
SHAPES = ((1, 1), (1, 7), (7, 1), (12, 17))
CONTENTS = ("noise", "constant", "extremes")
OPTIONS = (
    ("--epsilon", "0.2"),
    ("--epsilon", "1e-9", "--chroma", "5"),
    ("--penalty", "huber", "--tv", "anisotropic"),
    ("--step", "fixed", "--tolerance", "0"),
    ("--engine", "sparse"),
    ("--data-range", "1000", "--mu", "1e15"),  # mu is per data range
)
HARDLY = ("--mu", "1e12")  # smooths by less than what can be seen
HARDLY_ANYTHING = (
    2e-11  # by which it may change doubles: 5 times 4 (weight and slope of the penalty) over this mu
)


@dataclass(frozen=True)
class Case:
    """One file: its format, kind of pixels and metadata, and what its pixels are like."""

    form: Format
    kind: str
    metadata: tuple[str, ...] = ()
    content: str = "noise"
    shape: tuple[int, int] = (12, 17)

    def __str__(self) -> str:
        rows, columns = self.shape
        return "-".join(
            (self.form.name, self.kind, "+".join(self.metadata) or "none", self.content, f"{rows}x{columns}")
        )

    @property
    def place(self) -> Path:
        return Path(f"{self}{self.form.extensions[0]}")

    @property
    def maker(self) -> Maker:
        """Fails by name where there is none."""
        if (maker := MAKERS.get((self.form.name, self.kind))) is None:
            pytest.fail(f"no maker for {self.form.name} of {PIXEL_KINDS.get(self.kind)} ({self.kind})")
        if unknown := [name for name in self.metadata if name not in METADATA]:
            pytest.fail(f"no maker for {METADATA_NAMES[unknown[0]]} ({unknown[0]})")
        if maker.needs and find_spec(maker.needs) is None:
            pytest.skip(f"{maker.needs} is not installed")
        return maker

    @property
    def can_be_made(self) -> bool:
        maker = MAKERS.get((self.form.name, self.kind))
        has_package = maker is not None and (maker.needs is None or find_spec(maker.needs) is not None)
        return has_package and set(self.metadata) <= set(METADATA)

    @property
    def values(self) -> np.ndarray:
        content = "smooth" if self.maker.tolerance else self.content
        return self.maker.held(values_of(self.kind, *self.shape, content))

    @property
    def described(self) -> Metadata:
        return metadata_for(self.kind, self.metadata)

    def make(self, folder: Path) -> None:
        self.maker.write(folder / self.place, self.values, self.described)


def variants(form: Format, kind: str) -> list[Case]:
    """Without metadata, with each alone, and with all that the format claims to carry; bands of rare types without."""
    if kind.startswith("MULTI") and kind != "MULTI":
        return [Case(form, kind)]
    names = [name for name in METADATA_NAMES if name in form.carries and name != "record"]
    choices = dict.fromkeys([(), *((name,) for name in names), tuple(names)])
    return [Case(form, kind, chosen) for chosen in choices]


def pictures(form: Format, kind: str) -> list[Case]:
    """Of odd sizes and with every content."""
    contents = (*CONTENTS, "wide") if kind in SAMPLES and np.dtype(SAMPLES[kind][0]).kind == "f" else CONTENTS
    sized = [Case(form, kind, content="noise", shape=shape) for shape in SHAPES]
    return list(dict.fromkeys([*sized, *(Case(form, kind, content=content) for content in contents)]))


DESCRIBED = [case for claim in CLAIMED for case in variants(*claim)]
EXACT = [case for claim in LOSSLESS for case in pictures(*claim)]


@dataclass(frozen=True)
class Run:
    """What one run of the command made of the files in a folder."""

    before: Path
    after: Path
    messages: str

    def facts(self, case: Case) -> tuple[Facts, Facts]:
        """Of a file as it was made, and of what came out."""
        assert case.maker
        written = self.after / case.place
        assert written.exists(), [line for line in self.messages.splitlines() if str(case) in line]
        return facts_of(self.before / case.place), facts_of(written)


def run_on(folder: Path, cases: list[Case], *options: str) -> Run:
    """Make the files that can be made, and run the command on all of them at once."""
    run_folder = Run(folder / "before", folder / "after", "")
    run_folder.before.mkdir()
    for case in cases:
        if case.can_be_made:
            case.make(run_folder.before)
    result = CliRunner().invoke(
        app, ["run", str(run_folder.before), "-o", f"{run_folder.after}/", *HARDLY, *options]
    )
    return Run(run_folder.before, run_folder.after, result.stderr)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_on(tmp_path_factory.mktemp("table"), list(dict.fromkeys(DESCRIBED + EXACT)))


def require_close(after: np.ndarray, before: np.ndarray) -> None:
    """Integers bit for bit, floats to 4 units in the last place of the largest, doubles to what smoothing changes."""
    assert after.dtype == before.dtype
    assert after.shape == before.shape
    if before.dtype.kind == "f":
        unit = float(np.spacing(np.abs(before).max()))
        np.testing.assert_allclose(after, before, rtol=0, atol=max(4 * unit, HARDLY_ANYTHING))
    else:
        np.testing.assert_array_equal(after, before)


@pytest.mark.slow
@pytest.mark.parametrize("case", DESCRIBED, ids=str)
def test_a_claimed_combination_comes_through(case: Case, run: Run) -> None:
    before, after = run.facts(case)
    assert before.codec == after.codec == case.form.codec
    assert before.layout == after.layout
    if case.maker.tolerance == 0:
        require_close(after.values, before.values)
        np.testing.assert_array_equal(before.values, case.values)
    else:
        assert before.values.shape == after.values.shape == case.values.shape
        assert after.values.dtype == before.values.dtype == case.values.dtype
        difference = after.values.astype(int) - before.values
        assert np.abs(difference).max() <= case.maker.tolerance
    if "A" in case.kind:
        np.testing.assert_array_equal(after.values[..., -1], before.values[..., -1])
        np.testing.assert_array_equal(before.values[..., -1], case.values[..., -1])


@pytest.mark.parametrize("case", [case for case in DESCRIBED if case.metadata], ids=str)
def test_claimed_metadata_come_through(case: Case, run: Run) -> None:
    before, after = run.facts(case)
    for name in case.metadata:
        assert_made(name, before.metadata.get(name), case.described[name])
        assert after.metadata.get(name) == before.metadata[name], name
    assert set(after.metadata) - {"record"} == set(before.metadata)


def assert_made(name: str, found: Any, expected: Any) -> None:
    """The maker did put there what it was given."""
    if name == "dpi":
        np.testing.assert_allclose(found, expected, rtol=1e-3)
    elif name == "exif" and isinstance(found, bytes):
        assert found.removeprefix(b"Exif\0\0") == exif_block(expected).removeprefix(b"Exif\0\0")
    elif name in ("exif", "tags"):
        assert found.keys() == expected.keys()
    else:
        assert found == expected


@pytest.mark.parametrize("case", [case for case in DESCRIBED if not case.metadata], ids=str)
def test_the_parameters_used_are_recorded_exactly_where_that_is_claimed(case: Case, run: Run) -> None:
    _, after = run.facts(case)
    assert ("record" in after.metadata) == ("record" in case.form.carries)
    assert "mu=1000000000000.0; " in after.metadata.get("record", "mu=1000000000000.0; ")


@pytest.mark.parametrize("case", EXACT, ids=str)
def test_hardly_any_smoothing_changes_hardly_any_bit(case: Case, run: Run) -> None:
    before, after = run.facts(case)
    require_close(after.values, before.values)


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_whatever_the_other_options_are(options: tuple[str, ...], tmp_path: Path) -> None:
    cases = [case for claim in LOSSLESS if (case := Case(*claim)).can_be_made]
    finished = run_on(tmp_path, cases, *options)
    for case in cases:
        before, after = finished.facts(case)
        require_close(after.values, before.values)


@pytest.mark.parametrize("claim", CLAIMED, ids=lambda claim: f"{claim[0].name}-{claim[1]}")
def test_a_truncated_file_is_refused(claim: tuple[Format, str], tmp_path: Path) -> None:
    form, kind = claim
    case = Case(form, kind, shape=(12, 17) if form.name == "GIF" else (40, 50))
    case.make(tmp_path)
    path = tmp_path / case.place
    whole = path.read_bytes()
    for part in (0.1, 0.5, 0.97):
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(TvdenoiseError):
            read(path)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_what_a_format_cannot_hold_is_refused_with_those_that_can(form: Format) -> None:
    """Alpha is never dropped, CMYK never converted, no depth cut, and no float made an integer."""
    for kind in SAMPLES.keys() - form.kinds - form.approximates:
        with pytest.raises(UnsupportedImageError, match=r"cannot hold .*; choose "):
            encode(decoded_of(kind), form)
