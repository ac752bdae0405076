"""Damaged files end well: done or refused in a line of their own, nothing half written, nothing changed."""

from __future__ import annotations

import struct
import subprocess
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from support.launcher import launched
from support.mutations import mutants
from support.processes import temporaries
from support.seeds import SEEDS, SEVERAL
from tvdenoise.errors import TvdenoiseError
from tvdenoise.files.reading import open_images, read
from tvdenoise.files.stack import Stack
from tvdenoise.files.writing import encode
from tvdenoise.formats.registry import FORMAT_BY_EXTENSION

_ALL = SEEDS | SEVERAL
_GROUPS, _MUTANTS = 4, 15  # of all seeds, and of each seed
_OPTIONS = ("-o", "out/", "--mu", "20", "--max-iterations", "3", "--max-pixels", "1", "--quiet")


def _written(folder: Path, names: list[str], group: int) -> dict[str, bytes]:
    """The mutants of some seeds, put into a folder."""
    folder.mkdir()
    files = {}
    for name in names:
        stem, _, extension = name.partition(".")
        for number, contents in enumerate(mutants(_ALL[name](), _MUTANTS, seed=group + len(name))):
            files[f"{stem}_{number}.{extension}"] = contents
    for name, contents in files.items():
        (folder / name).write_bytes(contents)
    return files


def _require_good_ending(
    folder: Path, ended: subprocess.CompletedProcess[str], files: dict[str, bytes]
) -> None:
    """Every file has an output that is whole, or a line that says why not; nothing else is left."""
    assert ended.returncode in (0, 1), ended.stderr
    lines = ended.stderr.splitlines()
    assert not [line for line in lines if not line.startswith("tvdenoise: ")]
    assert not [line for line in lines if "unexpected" in line]
    assert not temporaries(folder)
    outputs = list((folder / "out").iterdir()) if (folder / "out").exists() else []
    for output in outputs:
        with output.open("rb") as stream:
            found = open_images(stream)
            assert not isinstance(found, Stack) or len(list(found.images())) == found.count
    failed = {name for name in files if any(f"in/{name}: " in line for line in lines)}
    assert failed | {path.name for path in outputs} == set(files)
    assert len(failed) + len(outputs) == len(files)
    assert {path.name: path.read_bytes() for path in (folder / "in").iterdir()} == files


@pytest.mark.slow
@pytest.mark.parametrize("group", range(_GROUPS))
def test_a_folder_of_damaged_files_ends_well(group: int, tmp_path: Path) -> None:
    names = list(_ALL)[group::_GROUPS]
    files = _written(tmp_path / "in", names, group)
    ended, *_ = launched(tmp_path, "in", *_OPTIONS)
    _require_good_ending(tmp_path, ended, files)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(40))
def test_a_damaged_file_in_a_process_of_its_own_ends_well(number: int, tmp_path: Path) -> None:
    name = list(_ALL)[number % len(_ALL)]
    *_, contents = mutants(_ALL[name](), 1 + number % 6, seed=1000 + number)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(contents)
    ended, *_ = launched(tmp_path, f"in/{name}", *_OPTIONS)
    _require_good_ending(tmp_path, ended, {name: contents})


@pytest.mark.slow
@pytest.mark.parametrize("name", _ALL)
def test_no_damage_gets_past_the_package_s_own_errors(name: str, tmp_path: Path) -> None:
    for contents in mutants(_ALL[name](), 24, seed=2000 + len(name)):
        (tmp_path / name).write_bytes(contents)
        try:
            read(tmp_path / name, max_megapixels=1)
        except TvdenoiseError as error:
            assert "\n" not in str(error)  # noqa: PT017  # most damage goes unnoticed, and that is fine


def test_undamaged_seeds_are_read_and_there_are_enough_of_them(tmp_path: Path) -> None:
    assert len(SEEDS) >= 70
    assert len(SEEDS) * _MUTANTS + 40 >= 600
    for name, make in SEEDS.items():
        (tmp_path / name).write_bytes(make())
        read(tmp_path / name)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_a_tag_whose_value_has_the_wrong_type_is_left_out_with_a_notice(
    compression: str, tmp_path: Path
) -> None:
    stream = BytesIO()
    exif = Image.Exif()
    exif[270], exif[271] = "kept", "long enough"
    Image.new("L", (4, 4)).save(stream, "TIFF", compression=compression, exif=exif)
    contents = bytearray(stream.getvalue())
    place = contents.index(struct.pack("<HHI", 271, 2, 12))
    struct.pack_into("<HHI", contents, place, 271, 5, 1)  # a fraction in the place of a text
    (tmp_path / "a.tif").write_bytes(contents)
    picture = read(tmp_path / "a.tif")
    assert picture.notes == ("its TIFF tags 271 (Make) are dropped",)
    with Image.open(BytesIO(encode(picture, FORMAT_BY_EXTENSION[".tif"]))) as written:
        assert written.tag_v2[270] == "kept"
