"""``tvdenoise learn``: learns priors from files, and continues what was interrupted bit for bit."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tvdenoise.batch import learning
from tvdenoise.model.prior_file import LearnedPrior

QUICK = ("--filters", "16", "--coarse", "8", "--group", "2", "--size", "5", "--rho", "0.9", "--hidden", "3")


@pytest.fixture
def photographs(tmp_path):
    """A folder of small clean images of steps."""
    folder = tmp_path / "clean"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        colours = np.kron(rng.integers(0, 256, (6, 7, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        Image.fromarray(colours).save(folder / f"{number}.png")
    return folder


def _read(path):
    return LearnedPrior.from_bytes(path.read_bytes())


@pytest.fixture
def short_minutes(monkeypatch):
    """A clock by which each look takes a second, so that 0.05 minutes are a step or two on any machine."""
    seconds = itertools.count()
    monkeypatch.setattr(learning, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))


@pytest.mark.usefixtures("short_minutes")
def test_an_interrupted_course_continues_bit_for_bit(command, photographs, tmp_path):
    whole, parts = tmp_path / "whole.prior", tmp_path / "parts.prior"
    learn = ("learn", photographs, *QUICK, "--steps", "4")
    result = command(*learn, "-o", whole)
    assert result.exit_code == 0, result.stderr
    assert "16 filters, rho 0." in result.stderr
    stopped = command(*learn, "-o", parts, "--minutes", "0.05")
    assert "the same command continues" in stopped.stderr
    assert (tmp_path / "parts.prior.state").exists()
    assert 0 < _read(parts).steps < 4
    continued = command(*learn, "-o", parts)
    assert "continuing after step" in continued.stderr
    assert parts.read_bytes() == whole.read_bytes()
    assert not (tmp_path / "parts.prior.state").exists()
    assert _read(whole).learned_from == ("0.png", "1.png", "2.png")


@pytest.mark.usefixtures("short_minutes")
def test_a_state_of_another_command_is_refused_and_outputs_are_kept(command, photographs, tmp_path):
    output = tmp_path / "a.prior"
    command("learn", photographs, *QUICK, "-o", output, "--minutes", "0.05")
    before = output.read_bytes()
    refused = command("learn", photographs, *QUICK, "-o", output, "--seed", "1")
    assert refused.exit_code == 2
    assert "another course" in refused.stderr
    (tmp_path / "a.prior.state").unlink()
    refused = command("learn", photographs, *QUICK, "-o", output)
    assert refused.exit_code == 2
    assert "already exists; add --overwrite" in refused.stderr
    assert output.read_bytes() == before
    assert (
        command("learn", photographs, *QUICK, "-o", output, "--overwrite", "--minutes", "0.05").exit_code == 0
    )


@pytest.mark.usefixtures("short_minutes")
def test_a_course_that_may_overwrite_continues_too(command, photographs, tmp_path):
    output = tmp_path / "a.prior"
    output.write_text("an older one")
    learn = ("learn", photographs, *QUICK, "--steps", "4", "-o", output, "--overwrite")
    stopped = command(*learn, "--minutes", "0.05")
    assert "continuing" not in stopped.stderr
    done = _read(output).steps
    assert 0 < done < 4
    assert f"continuing after step {done}" in command(*learn).stderr
    assert _read(output).steps == 4
    command(*learn, "--minutes", "0.05")
    assert _read(output).steps < 4, "a course that is finished begins again"
    other = command(*learn, "--seed", "1", "--minutes", "0.05")
    assert "continuing" not in other.stderr
    assert _read(output).seed == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("clean/0.png", "has the name of an image"),
        ("clean/clean", "would replace an input"),
        ("clean", "is a folder"),
        ("-", "writes files only"),
    ],
)
def test_learning_never_replaces_an_input(name, reason, command, photographs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (photographs / "0.png").rename(photographs / "clean")
    Image.new("L", (40, 40)).save(photographs / "0.png")
    before = {path: path.read_bytes() for path in photographs.iterdir()}
    inputs = (photographs / "clean", photographs / "0.png")
    result = command("learn", *inputs, *QUICK, "--steps", "1", "--overwrite", "-o", name)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert {path: path.read_bytes() for path in photographs.iterdir()} == before
    assert not (tmp_path / "-").exists()


def test_the_prior_to_start_from_is_kept(command, photographs, tmp_path):
    prior = tmp_path / "a.prior"
    assert command("learn", photographs, *QUICK, "--steps", "1", "-o", prior).exit_code == 0
    before = prior.read_bytes()
    result = command("learn", photographs, "--steps", "1", "--start", prior, "--overwrite", "-o", prior)
    assert result.exit_code == 2
    assert "also the prior to start from" in result.stderr
    assert prior.read_bytes() == before


@pytest.mark.parametrize(
    ("count", "judged"), [(1, [0]), (2, [1]), (3, [2]), (5, [4]), (12, [4]), (13, [4, 12])]
)
def test_images_that_are_judged_by_are_not_learned_from(count, judged):
    planes = [np.full((1, 2, 2), place, np.float32) for place in range(count)]
    first, second = ([int(one[0, 0, 0]) for one in ones] for ones in learning._set_apart(planes))
    assert second == judged
    assert first == ([place for place in range(count) if place not in judged] or judged)


def test_colour_filters_see_three_channels_and_may_start_from_grey_ones(command, photographs, tmp_path):
    grey, colour = tmp_path / "grey.prior", tmp_path / "colour.prior"
    assert command("learn", photographs, *QUICK, "--steps", "1", "-o", grey).exit_code == 0
    learn = ("learn", photographs, "--colour", "--rho", "0.9", "--steps", "1")
    result = command(*learn, "--start", grey, "-o", colour)
    assert result.exit_code == 0, result.stderr
    assert _read(colour).bank.filters.shape == (8, 2, 3, 5, 5)
    result = command(*learn, *QUICK, "-o", colour, "--overwrite")
    assert result.exit_code == 0, result.stderr
    assert _read(colour).bank.filters.shape == (8, 2, 3, 5, 5)
    refused = command(*learn, "--start", grey, "--filters", "16", "-o", colour)
    assert refused.exit_code == 2
    assert "leave out --filters, --coarse, --group and --size" in refused.stderr
    assert _read(grey).bank.gate.hidden == _read(colour).bank.gate.hidden == 3
    refused = command(*learn, "--start", grey, "--hidden", "16", "-o", colour)
    assert refused.exit_code == 2
    assert "leave out --hidden" in refused.stderr
    refused = command("learn", photographs, "--start", colour, "-o", tmp_path / "b.prior")
    assert refused.exit_code == 2
    assert "3 channels" in refused.stderr


def test_potentials_are_as_round_as_asked_for(command, photographs, tmp_path):
    for name, options, least in (("a", (), 0.06), ("b", ("--least-epsilon", "0.3"), 0.3)):
        learn = ("learn", photographs, *QUICK, *options, "--steps", "1", "-o", tmp_path / f"{name}.prior")
        assert command(*learn).exit_code == 0
        assert least < _read(tmp_path / f"{name}.prior").bank.potentials.inner.min() < 2 * least + 0.1


def test_a_prior_is_drawn(command, photographs, tmp_path):
    prior, drawing = tmp_path / "a.prior", tmp_path / "a.png"
    command("learn", photographs, *QUICK, "-o", prior, "--steps", "1")
    assert command("learn", "--show", prior, "-o", drawing).exit_code == 0
    with Image.open(drawing) as picture:
        assert picture.width > 500
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 100
    assert "already exists" in command("learn", "--show", prior, "-o", drawing).stderr
    assert command("learn", "--show", drawing, "-o", tmp_path / "b.png").exit_code == 2
    assert command("learn", "--show", prior, "-o", tmp_path / "b.txt").exit_code == 2
    refused = command("learn", "--show", prior, "-o", tmp_path / "c.png", "--steps", "7")
    assert refused.exit_code == 2
    assert "--steps does not apply" in refused.stderr
    for options in ((), ("--colour",)):
        shipped = tmp_path / f"shipped{len(options)}.png"
        assert command("learn", "--show", "learned", *options, "-o", shipped).exit_code == 0
    sizes = [Image.open(tmp_path / f"shipped{number}.png").size for number in range(2)]
    assert sizes[0][1] < sizes[1][1], "colour filters have three channels, one below the other"
    assert "takes no images" in command("learn", photographs, "--show", prior, "-o", drawing).stderr
    assert "no clean images" in command("learn", "-o", prior).stderr


def test_images_of_which_none_can_be_learned_from_end_the_course(command, photographs, tmp_path):
    for path in photographs.iterdir():
        with Image.open(path) as picture:
            picture.convert("L").save(path)
    result = command("learn", photographs, *QUICK, "--colour", "-o", tmp_path / "a.prior")
    assert result.exit_code == 3
    *named, last = result.stderr.splitlines()
    assert len(named) == 3
    assert all(line.endswith("it is grey; leave it out, or leave out --colour") for line in named)
    assert last == "tvdenoise: no image can be learned from; see the messages above"


def test_images_that_cannot_be_learned_from_are_named_and_left_out(command, photographs, tmp_path):
    Image.new("L", (9, 9)).save(photographs / "small.png")
    Image.new("RGBA", (40, 40)).save(photographs / "hidden.png")
    (photographs / "broken.png").write_bytes(b"no image")
    Image.fromarray(np.full((40, 40), np.nan, np.float32)).save(photographs / "nan.tif")
    result = command("learn", photographs, *QUICK, "-o", tmp_path / "a.prior", "--steps", "1")
    assert result.exit_code == 1
    for name, reason in (
        ("small", "at least 32 pixels"),
        ("hidden", "hidden"),
        ("broken", "not an image"),
        ("nan", "not finite; leave it out, or crop it"),
    ):
        assert any(name in line and reason in line for line in result.stderr.splitlines())
    assert len(_read(tmp_path / "a.prior").learned_from) == 3


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--size", "4"), "--size must be an odd number"),
        (("--size", "1"), "--size must be an odd number"),
        (("--filters", "73"), "change --filters"),
        (("--filters", "8"), "of 8 filters of side 7, 12 cannot be coarse"),
        (("--filters", "448", "--coarse", "224", "--size", "15", "--hidden", "512"), "more than 8 MiB"),
        (("--coarse", "49"), "change --filters, --coarse"),
        (("--coarse", "-1"), "--coarse must be"),
        (("--hidden", "x"), "--hidden must be"),
        (("--hidden", "513"), "more than 512; change --filters, --coarse, --group, --size or --hidden"),
        (("--rho", "1"), "--rho must be"),
        (("--rho", "nan"), "--rho must be"),
        (("--least-epsilon", "0"), "--least-epsilon must be"),
        (("--least-epsilon", "auto"), "--least-epsilon must be"),
        (("--least-epsilon", "1.1"), "--least-epsilon must be"),
        (("--seed", "-1"), "--seed must be"),
        (("--minutes", "0"), "--minutes must be"),
        (("--steps", "x"), "--steps must be"),
    ],
)
def test_filters_that_cannot_be_are_refused(command, photographs, tmp_path, options, reason):
    result = command("learn", photographs, "-o", tmp_path / "a.prior", *options)
    assert result.exit_code == 2
    assert reason in result.stderr


def test_nothing_to_learn_from_has_its_exit_code(command, tmp_path):
    assert command("learn", tmp_path, "-o", tmp_path / "a.prior").exit_code == 3
