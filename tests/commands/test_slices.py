"""``--volume`` on a folder of slices: one volume, written back as the files that it came from, all of them or none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from commands.test_volumes import little_memory, noisy, together  # noqa: F401  # a fixture
from support.processes import environment
from support.readers import facts_of, tiff_values
from support.values import pixels
from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.batch.report import read_report
from tvdenoise.tiling.passes import TiledSolution

NAMES = [f"s_{number}.png" for number in range(8, 13)]  # whose alphabetical order is another


def make_slices(folder: Path, values: np.ndarray, names: list[str] = NAMES) -> Path:
    """Write planes to files in this order."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, plane in zip(names, values, strict=True):
        if name.endswith(".tif"):
            tifffile.imwrite(folder / name, plane, metadata=None)
        else:
            Image.fromarray(plane).save(folder / name)
    return folder


def read_slices(folder: Path, names: list[str] = NAMES) -> np.ndarray:
    read = tiff_values if names[0].endswith(".tif") else pixels
    return np.stack([np.squeeze(read(folder / name)) for name in names])


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


@pytest.fixture
def slices(tmp_path: Path) -> np.ndarray:
    """The values of a folder ``in`` of slices."""
    values = noisy(5, 20, 18)
    make_slices(tmp_path / "in", values)
    return values


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (noisy(5, 20, 18), NAMES),
        (noisy(3, 20, 18, 3), ["b3_z1.png", "b3_z02.png", "b3_z3.png"]),
        (noisy(4, 20, 18, dtype=np.uint16), [f"{number}.tif" for number in range(4)]),
        (noisy(4, 20, 18, dtype=np.float32), [f"z{number}_of_12.tif" for number in (9, 10, 11, 12)]),
    ],
    ids=["grey", "colour", "deep", "float"],
)
def test_the_slices_are_one_volume(values: np.ndarray, names: list[str], command, tmp_path: Path) -> None:
    make_slices(tmp_path / "in", values, names)
    result = command("run", "in/", "--volume", "--spacing", "2,1,1", "-o", "out/", "--report", "r.jsonl")
    assert result.exit_code == 0, result.stderr
    assert f"in → out: {len(names)} images in one volume, spacing 2,1,1, " in result.stderr
    np.testing.assert_array_equal(read_slices(tmp_path / "out", names), together(values, (2, 1, 1)))
    assert set(contents(tmp_path / "out")) == set(names)
    (entry,) = map(json.loads, (tmp_path / "r.jsonl").read_text().splitlines())
    assert (entry["source"], entry["target"], entry["status"]) == ("in", "out", "done")
    assert (entry["planes"], entry["volumes"], entry["converged"]) == (len(names), 1, True)
    assert 0 < entry["distance_bound"] < 0.01


def test_each_slice_keeps_what_is_its_own(command, tmp_path: Path) -> None:
    values, alpha = noisy(3, 20, 18), np.full((20, 18), 255, np.uint8)
    (tmp_path / "in").mkdir()
    for number, plane in enumerate(values):
        text = PngInfo()
        text.add_text("Title", f"slice {number}")
        alpha[:] = 100 + number
        Image.fromarray(np.dstack([plane, alpha])).save(tmp_path / "in" / f"{number}.png", pnginfo=text)
    assert command("run", "in", "--volume").exit_code == 0
    for number in range(3):
        path = tmp_path / "in" / f"{number}_denoised.png"
        assert (pixels(path)[..., 1] == 100 + number).all()
        with Image.open(path) as opened:
            assert opened.text["Title"] == f"slice {number}"
        assert facts_of(path).metadata["record"].startswith("tvdenoise ")
    result = command("run", "in", "--volume", "--skip-existing")
    assert "in → in: exists, skipped" in result.stderr, "the outputs are no slices"


@pytest.mark.parametrize(
    ("options", "spacing", "note"),
    [
        (
            {"imagej": True, "resolution": (2.0, 2.5), "metadata": {"spacing": 1.5, "unit": "um"}},
            "1.5,0.4,0.5",
            None,
        ),
        (
            {"ome": True, "metadata": {"axes": "YX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.25}},
            "0.2,0.25,0.2",
            "the distance between its planes is not stated",
        ),
        ({"resolution": (300, 300)}, "1,1,1", "the distance between its planes is not stated"),
    ],
)
def test_the_spacing_that_slices_state_is_used(
    options: dict[str, Any], spacing: str, note: str | None, command, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    values = noisy(3, 20, 18)
    for number, plane in enumerate(values):
        tifffile.imwrite(tmp_path / "in" / f"{number}.tif", plane, photometric="minisblack", **options)
    result = command("run", "in", "--volume", "-o", "out")
    assert f"3 images in one volume, spacing {spacing}, " in result.stderr
    assert ("note: " in result.stderr) == (note is not None)
    assert (note or "") in result.stderr
    wanted = together(values, tuple(map(float, spacing.split(","))))
    np.testing.assert_array_equal(read_slices(tmp_path / "out", ["0.tif", "1.tif", "2.tif"]), wanted)


def test_folders_and_files_with_several_images_are_items_of_one_run(command, tmp_path: Path) -> None:
    values = noisy(3, 20, 18)
    for number, name in enumerate(("a", "b/deep")):
        make_slices(tmp_path / "in" / name, np.roll(values, number, 1), ["1.png", "2.png", "3.png"])
    for name in ("c/one.tif", "c/two.tif", "named.tif"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "in" / name, values, photometric="minisblack", metadata=None)
    single = make_slices(tmp_path / "in" / "lonely", values[:1], ["1.png"])
    plan = command("run", "in", "--volume", "-r", "--exclude", "lonely", "-o", "out", "--dry-run")
    assert sorted(line.split("\t")[0] for line in plan.stdout.splitlines()) == [
        *("in/a", "in/b/deep", "in/c/one.tif", "in/c/two.tif", "in/named.tif")
    ]
    results = []
    for jobs in ("1", "2"):
        arguments = ("--jobs", jobs, "-o", f"out{jobs}", "--report", f"r{jobs}.jsonl")
        result = command("run", "in", "--volume", "-r", "--exclude", "lonely", *arguments)
        assert result.exit_code == 0, result.stderr
        assert "5 files: 5 done" in result.stderr
        entries = read_report(f"r{jobs}.jsonl").entries
        results.append({(entry["source"], entry["planes"], entry["distance_bound"]) for entry in entries})
        written = (tmp_path / f"out{jobs}").rglob("*.*")
        assert len({path.relative_to(tmp_path / f"out{jobs}"): path for path in written}) == 9
    assert results[0] == results[1]
    for name in ("a/2.png", "b/deep/3.png", "c/one.tif"):
        one, two = ((tmp_path / out / name).read_bytes() for out in ("out1", "out2"))
        assert one == two
    result = command("run", single, single / "1.png", "--volume", "-o", "out/")
    assert result.exit_code == 1
    assert "a single image, not a volume; leave out --volume, or name the folder of all its slices" in (
        result.stderr
    )


def remove(folder: Path) -> None:
    (folder / "s_10.png").unlink()


def add_another_pattern(folder: Path) -> None:
    make_slices(folder, noisy(1, 20, 18), ["overview.png"])


def add_several(folder: Path) -> None:
    tifffile.imwrite(folder / "stack.tif", noisy(3, 20, 18), photometric="minisblack")


def add_another_volume(folder: Path) -> None:
    for path in list(folder.iterdir()):
        path.rename(folder / f"t0_{path.name}")
    make_slices(folder, noisy(5, 20, 18), [f"t1_{name}" for name in NAMES])


def add_another_size(folder: Path) -> None:
    make_slices(folder, noisy(1, 20, 19), ["s_13.png"])


def add_another_depth(folder: Path) -> None:
    make_slices(folder, noisy(1, 20, 18, dtype=np.uint16), ["s_13.png"])


@pytest.mark.parametrize(
    ("spoil", "reason", "remedy"),
    [
        (remove, "in: number 10 is missing between s_9.png and s_11.png; add what is", ()),
        (add_another_pattern, "in: its images have names of two patterns", ("--include", "s_*.png")),
        (add_several, "in: stack.tif holds several images, a volume by itself", ("--exclude", "stack.tif")),
        (add_several, "and s_10.png one, a slice; choose with", ("--include", "stack.tif")),
        (add_another_volume, "have the same number", ("--include", "t0_s_*.png")),
        (add_another_size, "s_13.png (PNG, 19 × 20 pixels, ", ("--exclude", "s_13.png")),
        (
            add_another_depth,
            "s_13.png (PNG, 18 × 20 pixels, 1 channel of 16 bits) differs",
            ("--exclude", "s_13.png"),
        ),
    ],
    ids=["gap", "patterns", "stack", "stack alone", "volumes", "size", "depth"],
)
@pytest.mark.usefixtures("slices")
def test_what_is_no_volume_is_refused_before_anything_is_done(
    spoil: Any, reason: str, remedy: tuple[str, ...], command, tmp_path: Path
) -> None:
    spoil(tmp_path / "in")
    for options in ((), ("--dry-run",), ("--in-place",)):
        output = () if "--in-place" in options else ("-o", "out")
        result = command("run", "in", "--volume", *output, *options)
        assert result.exit_code == 2, result.stderr
        assert reason in result.stderr
        assert result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    if remedy:
        assert remedy[0] in result.stderr
        result = command("run", "in", "--volume", "-o", "out", *remedy)
        assert result.exit_code == 0, result.stderr


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def scribble(path: Path) -> None:
    path.write_bytes(b"no image")


def turn(path: Path) -> None:
    """The size in the header stays that of the others."""
    exif = Image.Exif()
    exif[274] = 3
    with Image.open(path) as opened:
        opened.load()
    opened.save(path, exif=exif)


def animate(path: Path) -> None:
    """The beginning does not show it: the comment comes first."""
    frames = [Image.fromarray(plane) for plane in noisy(2, 20, 18)]
    text = PngInfo()
    text.add_text("Comment", "two frames")
    frames[0].save(path, save_all=True, append_images=frames[1:], pnginfo=text)
    whole = path.read_bytes()
    comment = whole.index(b"tEXt") - 4
    length = int.from_bytes(whole[comment : comment + 4], "big") + 12
    moved = whole[comment : comment + length]
    rest = whole[:comment] + whole[comment + length :]
    path.write_bytes(rest[:33] + moved + rest[33:])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (cut, "tvdenoise: in: slice s_10.png: the file is "),
        (scribble, "tvdenoise: in: slice s_10.png: not an image, or damaged; "),
        (turn, "tvdenoise: in: slice s_10.png differs from the first in its orientation: 3, not 1; "),
        (animate, "tvdenoise: in: slice s_10.png: it holds several images; leave it out with --exclude"),
    ],
)
@pytest.mark.usefixtures("slices")
def test_a_bad_slice_fails_the_volume_and_nothing_is_written(
    spoil: Any, reason: str, command, tmp_path: Path
) -> None:
    spoil(tmp_path / "in" / "s_10.png")
    before = contents(tmp_path / "in")
    make_slices(tmp_path / "other", noisy(2, 20, 18), ["1.png", "2.png"])
    for number, options in enumerate((("-o", "out"), ("--in-place",))):
        residual = ("--residual", f"removed{number}")
        result = command("run", "in", "other", "--volume", *residual, *options)
        assert result.exit_code == 1
        assert reason in result.stderr
        assert "2 files: 1 done, 1 failed" in result.stderr
        assert contents(tmp_path / "in") == before
        assert set(contents(tmp_path / f"removed{number}")) == {"1_residual.png", "2_residual.png"}
    assert set(contents(tmp_path / "out")) == {"1.png", "2.png"}


@pytest.mark.parametrize(
    "options", [("-o", "in"), ("-o", "out/"), ("-o", "out/", "--overwrite"), ("--in-place",)]
)
def test_a_failure_while_the_outputs_are_put_in_place_undoes_it(
    options: tuple[str, ...], slices: np.ndarray, command, tmp_path: Path, monkeypatch
) -> None:
    if "--overwrite" in options:
        make_slices(tmp_path / "out", slices)
    suffix = ("--suffix", "_x") if "in" in options else ()
    before = contents(tmp_path / "in"), contents(tmp_path / "out")
    replace = Path.replace

    def refuse(path: Path, target: Path) -> Path:
        if path.parent.name == "new" and target.name.startswith("s_11"):
            raise PermissionError(1, "operation not permitted")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", refuse)
    result = command("run", "in", "--volume", "--residual", "removed", *options, *suffix)
    assert result.exit_code == 1
    assert "tvdenoise: in: cannot write " in result.stderr
    assert "s_11" in result.stderr
    assert (contents(tmp_path / "in"), contents(tmp_path / "out")) == before
    assert not contents(tmp_path / "removed")


@pytest.mark.usefixtures("slices")
def test_a_slice_that_changes_meanwhile_fails_the_volume(command, tmp_path: Path, monkeypatch) -> None:
    solve = Denoiser.solve

    def change(*arguments: Any, **options: Any) -> Any:
        with (tmp_path / "in" / "s_11.png").open("ab") as stream:
            stream.write(b"more")
        return solve(*arguments, **options)

    monkeypatch.setattr(Denoiser, "solve", change)
    result = command("run", "in", "--volume", "-o", "out")
    assert result.exit_code == 1
    assert "in: slice s_11.png: the file changed while it was being denoised; run it again" in result.stderr
    assert not contents(tmp_path / "out")


@pytest.mark.usefixtures("slices")
def test_existing_outputs_are_skipped_only_if_all_are_there(command, tmp_path: Path) -> None:
    arguments = ("run", "in", "--volume", "-o", "out/")
    assert command(*arguments).exit_code == 0
    whole = contents(tmp_path / "out")
    result = command(*arguments)
    assert result.exit_code == 2
    assert "s_8.png already exists (and 4 more); add --overwrite" in result.stderr
    result = command(*arguments, "--skip-existing", "--report", "r.jsonl")
    assert "in → out: exists, skipped" in result.stderr
    for name, left in (("s_9.png", None), ("s_12.png", b"")):
        (tmp_path / "out" / name).unlink()
        if left is not None:
            (tmp_path / "out" / name).write_bytes(left)
        (tmp_path / "out" / "s_8.png").write_bytes(whole["s_11.png"])
        assert "in → out: 5 images in one volume" in command(*arguments, "--skip-existing").stderr
        assert contents(tmp_path / "out") == whole


@pytest.mark.parametrize("extension", ["png", "tif", "bmp"])
def test_in_place_a_volume_is_replaced_once(extension: str, command, tmp_path: Path) -> None:
    names = [f"{number}.{extension}" for number in range(3)]
    values = noisy(3, 20, 18)
    make_slices(tmp_path / "in", values, names)
    report = ("--report", "r.jsonl", "--skip-existing") if extension == "bmp" else ()
    if report:
        result = command("run", "in", "--volume", "--in-place")
        assert result.exit_code == 2
        assert "0.bmp: BMP has no place to record" in result.stderr
    assert command("run", "in", "--volume", "--in-place", *report).exit_code == 0
    once = contents(tmp_path / "in")
    np.testing.assert_array_equal(read_slices(tmp_path / "in", names), together(values, (1, 1, 1)))
    plan = command("run", "in", "--volume", "--in-place", "--dry-run", *report)
    assert "\tskip\talready denoised" in plan.stdout
    result = command("run", "in", "--volume", "--in-place", *report)
    assert "in → in: already denoised, skipped; denoise it once more with --again" in result.stderr
    assert contents(tmp_path / "in") == once
    if report:
        statuses = [entry["status"] for entry in read_report("r.jsonl").entries]
        assert statuses == [*["replacing"] * 3, "done", "skipped"]
    make_slices(tmp_path / "in", values[:1], names[:1])
    for options in ((), ("--dry-run",)):
        result = command("run", "in", "--volume", "--in-place", *report, *options)
        assert result.exit_code == 1
        assert "2 of its 3 slices are denoised already, such as 1." in result.stdout + result.stderr
    assert command("run", "in", "--volume", "--in-place", "--again", *report[:2], "--mu", "3").exit_code in (
        0,
        2,
    )


_KILL = """
import os, signal
from pathlib import Path
replace = Path.replace
def die(path, target):
    if path.parent.name == "new" and target.name == {name!r}:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, target)
Path.replace = die
rename = Path.rename
def stop(path, target):
    if {name!r} == "ready":
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, target)
Path.rename = stop
from tvdenoise.commands.app import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["png", "bmp"])
@pytest.mark.parametrize("moment", ["ready", "0", "2"])
def test_an_interrupted_replacement_is_completed_by_the_next_run(
    moment: str, extension: str, command, tmp_path: Path
) -> None:
    """Ready: before anything is replaced, so that the originals are still there."""
    names = [f"{number}.{extension}" for number in range(4)]
    values = noisy(4, 20, 18)
    make_slices(tmp_path / "in", values, names)
    before = contents(tmp_path / "in")
    arguments = ("run", "in", "--volume", "--in-place", "--report", "r.jsonl", "--skip-existing")
    name = moment if moment == "ready" else f"{moment}.{extension}"
    finished = subprocess.run(
        [sys.executable, "-c", _KILL.format(name=name), *arguments],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        check=False,
    )
    assert finished.returncode == -signal.SIGKILL, finished.stderr
    left = {name: (tmp_path / "in" / name).read_bytes() for name in names}
    assert sum(left[name] != before[name] for name in names) == (int(moment) if moment != "ready" else 0)
    result = command(*arguments)
    assert result.exit_code == 0, result.stderr
    assert ("already denoised, skipped" in result.stderr) == (moment != "ready")
    assert set(contents(tmp_path / "in")) == set(names)
    np.testing.assert_array_equal(read_slices(tmp_path / "in", names), together(values, (1, 1, 1)))


@pytest.mark.parametrize(("count", "name"), [(1, "mask.tif"), (5, "mask.tif"), (5, "masks")])
def test_masks_and_residuals_are_those_of_the_slices(
    count: int, name: str, slices: np.ndarray, command, tmp_path: Path
) -> None:
    mask = np.zeros((count, 20, 18), np.uint8)
    for number in range(count):
        mask[number, : 8 + number, :] = 255
    if name == "masks":
        make_slices(tmp_path / "masks", mask, [f"m{number}.png" for number in range(8, 13)])
    else:
        tifffile.imwrite(tmp_path / name, mask, photometric="minisblack", metadata=None)
    result = command("run", "in", "--volume", "-o", "out", "--mask", name, "--residual", "removed")
    assert result.exit_code == 0, result.stderr
    found, kept = read_slices(tmp_path / "out"), np.broadcast_to(mask == 0, slices.shape)
    np.testing.assert_array_equal(found[kept], slices[kept])
    assert np.mean(found[~kept] != slices[~kept]) > 0.5
    removed = read_slices(tmp_path / "removed", [name.replace(".png", "_residual.png") for name in NAMES])
    assert (removed[kept] == 128).all()
    signs = np.sign(slices.astype(int) - found), np.sign(removed.astype(int) - 128)
    assert np.mean(signs[0][~kept] * signs[1][~kept] >= 0) > 0.99
    result = command("run", "in", "--volume", "-o", "other", "--trace", "t.csv")
    assert result.exit_code == 2
    assert "--trace records the solve of one file, not of a folder of slices; leave it out" in result.stderr


@pytest.mark.parametrize(
    ("mask", "code", "reason"),
    [
        ("in", 2, "in is both the mask and an input"),
        ("out", 2, "out is the mask and would be replaced by the output of in/s_8.png"),
        (
            "gap",
            2,
            "the mask gap cannot be used: number 1 is missing between 0.png and 2.png; give a folder",
        ),
        ("empty", 2, "the mask empty cannot be used: it is a folder without images; give a folder with"),
        ("few", 1, "it holds 5 images and the mask few has 3; give a mask with one image"),
    ],
)
def test_a_folder_of_masks_that_does_not_fit_is_refused(
    mask: str, code: int, reason: str, command, tmp_path: Path
) -> None:
    white = np.full((5, 20, 18), 255, np.uint8)
    make_slices(tmp_path / "in", white)
    make_slices(tmp_path / "out", white)
    make_slices(tmp_path / "gap", white[:2], ["0.png", "2.png"])
    make_slices(tmp_path / "few", white[:3], ["0.png", "1.png", "2.png"])
    (tmp_path / "empty").mkdir()
    for options in ((), ("--dry-run",)):
        result = command("run", "in", "--volume", "-o", "out", "--overwrite", "--mask", mask, *options)
        assert result.exit_code == code, result.stderr
        assert reason in (result.stderr + result.stdout).replace(f"{tmp_path}/", "")


@pytest.mark.slow
def test_slices_larger_than_the_memory_are_solved_in_parts(
    little_memory: list[TiledSolution],  # noqa: F811
    command,
    tmp_path: Path,
) -> None:
    names = [f"{number}.tif" for number in range(200)]
    values = noisy(200, 20, 18, dtype=np.float32)
    make_slices(tmp_path / "in", values, names)
    arguments = ("run", "in", "--volume", "--mu", "12", "-o", "out")
    assert "\tdenoise\tin parts, " in command(*arguments, "--dry-run").stdout
    result = command(*arguments, "--report", "r.jsonl")
    assert result.exit_code == 0, result.stderr
    assert little_memory[0].windows > 1
    whole = together(values, (1, 1, 1), mu=12)
    bound = json.loads((tmp_path / "r.jsonl").read_text())["distance_bound"]
    assert np.sqrt(np.mean((read_slices(tmp_path / "out", names) - whole) ** 2)) <= 2 * bound
    assert set(contents(tmp_path / "out")) == set(names)


@pytest.mark.usefixtures("slices")
def test_slices_share_parameters_and_keep_their_times(command, tmp_path: Path) -> None:
    make_slices(tmp_path / "more", noisy(3, 20, 18, seed=5) // 2, ["1.png", "2.png", "3.png"])
    os.utime(tmp_path / "in" / "s_9.png", ns=(10**18, 10**18))
    options = ("--shared-parameters", "--preserve-times", "--report", "r.jsonl")
    result = command("run", "in", "more", "--volume", "-o", "out", *options)
    assert result.exit_code == 0, result.stderr
    assert len({entry["mu"] for entry in read_report("r.jsonl").entries}) == 1
    assert (tmp_path / "out" / "s_9.png").stat().st_mtime_ns == 10**18


@pytest.mark.slow
@pytest.mark.usefixtures("slices")
def test_a_cluster_takes_a_folder_as_one_item(process, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="tvdenoise[cluster] is not installed")
    assert process("run", "in", "--volume", "-o", "here").returncode == 0
    finished = process("run", "in", "--volume", "-o", "there", "--cluster", "local", "--residual", "removed")
    assert finished.returncode == 0, finished.stderr
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert len(contents(tmp_path / "removed")) == 5
    assert "in → there: 5 images in one volume" in finished.stderr.decode()
