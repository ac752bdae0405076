"""Which files are taken, what their outputs are called, and what is refused before any work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from support.processes import left_by, temporaries
from support.values import noise
from tvdenoise.batch.plan import Plan, make_plan
from tvdenoise.batch.request import Request
from tvdenoise.errors import NothingToDoError, UsageError
from tvdenoise.files import atomic


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def plan(*inputs: str, **options: object) -> Plan:
    return make_plan(Request(inputs, **options))


def pairs(planned: Plan) -> dict[str, str]:
    return {str(job.source): str(job.target) for job in planned.jobs}


@pytest.mark.usefixtures("here")
class TestNames:
    def test_without_an_output_the_result_lies_beside_the_input(self) -> None:
        touch("x/a.png", "b.tar.tif")
        planned = plan("x/a.png", "b.tar.tif")
        assert pairs(planned) == {"x/a.png": "x/a_denoised.png", "b.tar.tif": "b.tar_denoised.tif"}

    def test_the_suffix_can_be_chosen(self) -> None:
        touch("a.png")
        assert pairs(plan("a.png", suffix="-clean")) == {"a.png": "a-clean.png"}
        assert pairs(plan("a.png", suffix="-clean", output="out/")) == {"a.png": "out/a-clean.png"}

    @pytest.mark.parametrize("suffix", ["", "/x", "a\\b"])
    def test_a_suffix_that_is_no_part_of_a_name_is_refused(self, suffix: str) -> None:
        with pytest.raises(UsageError, match="--suffix"):
            Request(("a.png",), suffix=suffix)

    def test_an_image_extension_means_a_file(self) -> None:
        touch("a.png")
        assert pairs(plan("a.png", output="new/b.TIF")) == {"a.png": "new/b.TIF"}

    @pytest.mark.parametrize("output", ["out", "out/", "out.d/", "there.png"])
    def test_a_folder_is_what_exists_as_one_or_ends_like_one(self, output: str) -> None:
        touch("x/a.png", "there.png/keep")
        assert pairs(plan("x/a.png", output=output)) == {"x/a.png": str(Path(output) / "a.png")}

    def test_an_unknown_extension_is_refused_with_the_known_ones(self) -> None:
        touch("a.png")
        with pytest.raises(UsageError, match=r"\.xcf .*\.png"):
            plan("a.png", output="b.xcf")

    @pytest.mark.parametrize("inputs", [("a.png", "b.png"), ("x",)])
    def test_several_inputs_for_one_file_are_refused(self, inputs: tuple[str, ...]) -> None:
        touch("a.png", "b.png", "x/c.png")
        with pytest.raises(UsageError, match="-o out/"):
            plan(*inputs, output="out.png")

    def test_the_trees_of_folders_are_mirrored_names_and_extensions_unchanged(self) -> None:
        touch("x/a.png", "x/p/q/b.JPG", "x/p/c.tiff")
        assert pairs(plan("x", output="out", recursive=True)) == {
            "x/a.png": "out/a.png",
            "x/p/c.tiff": "out/p/c.tiff",
            "x/p/q/b.JPG": "out/p/q/b.JPG",
        }

    def test_without_an_output_the_results_of_a_folder_lie_beside_its_files(self) -> None:
        touch("x/a.png")
        assert pairs(plan("x")) == {"x/a.png": "x/a_denoised.png"}


@pytest.mark.usefixtures("here")
class TestDiscovery:
    def test_sub_folders_are_looked_into_only_when_asked(self) -> None:
        touch("x/a.png", "x/y/b.png")
        assert list(pairs(plan("x"))) == ["x/a.png"]
        assert list(pairs(plan("x", recursive=True))) == ["x/a.png", "x/y/b.png"]

    def test_hidden_files_and_files_without_an_image_extension_are_left_alone(self) -> None:
        touch("x/a.png", "x/.b.png", "x/._a.png", "x/.h/c.png", "x/desktop.ini", "x/notes.txt", "x/.DS_Store")
        assert list(pairs(plan("x", recursive=True))) == ["x/a.png"]

    def test_earlier_results_in_a_folder_are_not_inputs(self) -> None:
        touch("x/a.png", "x/a_denoised.png", "x/b_denoised.png")
        assert list(pairs(plan("x", overwrite=True))) == ["x/a.png", "x/b_denoised.png"]

    def test_the_output_folder_inside_the_input_folder_is_never_picked_up(self) -> None:
        touch("x/a.png", "x/out/a.png")
        assert list(pairs(plan("x", output="x/out", recursive=True, overwrite=True))) == ["x/a.png"]

    def test_a_temporary_is_never_an_input(self) -> None:
        touch("x/a.png")
        atomic.temporary_beside(Path("x/b.png")).touch()
        assert list(pairs(plan("x"))) == ["x/a.png"]

    def test_a_named_file_is_taken_whatever_its_name(self) -> None:
        touch("scan", ".hidden.png", "a.xyz")
        assert list(pairs(plan("scan", ".hidden.png", "a.xyz"))) == ["scan", ".hidden.png", "a.xyz"]

    def test_an_input_that_is_given_twice_is_done_once(self) -> None:
        touch("x/a.png")
        assert len(plan("x/a.png", "x", "./x/a.png").jobs) == 1

    def test_missing_inputs_and_special_files_fail_and_the_others_are_planned(self) -> None:
        touch("a.png")
        os.mkfifo("pipe.png")
        planned = plan("a.png", "missing.png", "pipe.png", "a\0.png")
        assert len(planned.jobs) == 1
        assert [failure.error.reason for failure in planned.failures] == [
            "no such file or directory",
            "not a regular file",
            "not a valid file name",
        ]

    def test_folders_without_images_are_nothing_to_do(self) -> None:
        touch("x/notes.txt", "x/y/a.png")
        with pytest.raises(NothingToDoError, match="--recursive"):
            plan("x")

    def test_a_name_that_becomes_too_long_fails_alone(self) -> None:
        touch("a" * 245 + ".png", "b.png")
        planned = plan("a" * 245 + ".png", "b.png")
        assert list(pairs(planned)) == ["b.png"]
        assert "file name too long" in str(planned.failures[0].error)

    def test_a_long_name_that_just_fits_is_planned(self) -> None:
        name = "a" * 251 + ".png"
        touch(name)
        assert pairs(plan(name, output="out/")) == {name: f"out/{name}"}


@pytest.mark.usefixtures("here")
class TestRefusals:
    @pytest.mark.parametrize("inputs", [("x", "y"), ("y", "x")])
    @pytest.mark.parametrize("folder", ["a.png", "A.png"])
    def test_an_output_that_would_be_the_folder_of_another_is_refused(self, inputs, folder: str) -> None:
        touch("x/a.png", f"y/{folder}/deep/b.png")
        reason = (
            f"x/a.png would become out/a.png, and y/{folder}/deep/b.png would become "
            f"out/{folder}/deep/b.png in a folder of that name"
        )
        with pytest.raises(UsageError, match=reason):
            plan(*inputs, output="out/", recursive=True)

    @pytest.mark.parametrize(
        "names", [("x/a.png", "y/a.png"), ("a.png", "y/A.png"), ("\u00e9.png", "y/e\u0301.png")]
    )
    def test_two_inputs_with_one_output_are_refused(self, names: tuple[str, ...]) -> None:
        touch(*names)
        with pytest.raises(UsageError, match=f"{names[0]} and {names[1]}"):
            plan(*names, output="out/")

    def test_two_extensions_are_two_outputs(self) -> None:
        touch("a.jpg", "a.png")
        assert pairs(plan("a.jpg", "a.png", output="o")) == {"a.jpg": "o/a.jpg", "a.png": "o/a.png"}

    @pytest.mark.parametrize("output", ["a.png", "./a.png", ".", "y/../a.png", "link.png", "hard.png"])
    def test_an_output_that_is_its_input_is_refused_even_when_overwriting(self, output: str) -> None:
        touch("a.png", "y/keep")
        Path("link.png").symlink_to("a.png")
        Path("hard.png").hardlink_to("a.png")
        with pytest.raises(UsageError, match=r"a\.png: "):
            plan("a.png", output=output, overwrite=True)

    def test_an_output_that_is_another_input_is_refused_even_when_overwriting(self) -> None:
        touch("a.png", "a_denoised.png")
        with pytest.raises(UsageError, match=r"a_denoised\.png"):
            plan("a.png", "a_denoised.png", overwrite=True)

    def test_an_existing_output_is_refused_with_both_remedies(self) -> None:
        touch("a.png", "a_denoised.png", "b.png", "b_denoised.png")
        with pytest.raises(UsageError, match=r"a_denoised\.png already exists \(and 1 more\); add --"):
            plan("a.png", "b.png")

    def test_an_existing_output_is_overwritten_when_asked(self) -> None:
        touch("a.png", "a_denoised.png")
        assert len(plan("a.png", overwrite=True).jobs) == 1

    def test_a_folder_in_the_place_of_an_output_is_refused(self) -> None:
        touch("a.png", "a_denoised.png/keep")
        with pytest.raises(UsageError, match=r"a_denoised\.png"):
            plan("a.png", overwrite=True)

    def test_both_flags_for_existing_outputs_contradict_each_other(self) -> None:
        with pytest.raises(UsageError, match="contradict"):
            Request(("a.png",), overwrite=True, skip_existing=True)

    def test_an_output_folder_that_cannot_be_written_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        touch("a.png", "out/keep")

        def refuse(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(atomic.os, "open", refuse)
        with pytest.raises(UsageError, match="out: permission denied"):
            plan("a.png", output="out")

    def test_a_refused_plan_has_changed_nothing(self, here: Path) -> None:
        touch("a.png", "y/A.png")
        before = sorted(here.rglob("*"))
        with pytest.raises(UsageError):
            plan("a.png", "y/A.png", output="out/")
        assert sorted(here.rglob("*")) == before
        assert not temporaries(here)


def test_existing_outputs_are_skipped_only_if_they_can_be_read(make_image, here: Path) -> None:
    for name in ("a.png", "a_denoised.png", "b.png", "c.png"):
        make_image(name)
    (here / "b_denoised.png").touch()
    (here / "c_denoised.png").write_text("rubbish")
    planned = plan("a.png", "b.png", "c.png", skip_existing=True)
    assert [str(job.source) for job in planned.skipped] == ["a.png"]
    assert list(pairs(planned)) == ["b.png", "c.png"]


@pytest.mark.parametrize(("extension", "length"), [("png", -12), ("png", -40), ("jpg", 400), ("bmp", -1)])
@pytest.mark.usefixtures("here")
def test_a_truncated_output_is_not_done(extension: str, length: int, make_image) -> None:
    make_image(f"a.{extension}", noise(40, 40))
    output = make_image(f"a_denoised.{extension}", noise(40, 40))
    assert plan(f"a.{extension}", skip_existing=True).skipped
    output.write_bytes(output.read_bytes()[:length])
    assert pairs(plan(f"a.{extension}", skip_existing=True)) == {f"a.{extension}": output.name}


def test_an_existing_output_that_is_not_carried_is_kept(make_image, here: Path) -> None:
    make_image("a.tif")
    Image.new("CMYK", (4, 4)).save(here / "a_denoised.tif")
    assert plan("a.tif", skip_existing=True).skipped


@pytest.mark.usefixtures("here")
def test_a_file_that_is_hidden_from_us_fails_rather_than_being_left_out(monkeypatch) -> None:
    touch("x/a.png")
    find = Path.stat

    def refuse(path: Path, **options: bool) -> os.stat_result:
        if path.name == "a.png":
            raise PermissionError(13, "Permission denied")
        return find(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    assert list(pairs(plan("x", output="out"))) == ["x/a.png"]


def test_what_a_dead_run_left_in_the_output_folder_is_swept(make_image, here: Path) -> None:
    make_image("a.png")
    left_by(here / "a")
    plan("a.png")
    assert not temporaries(here)
