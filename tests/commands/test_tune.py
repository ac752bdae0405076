"""``tvdenoise tune``: contact sheets that show what ``run`` gives, labelled, marked, and written like results."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from support.banks import small_prior
from support.makers import METADATA
from support.processes import temporaries
from support.samples import SAMPLES, clean, crop, psnr, with_noise
from support.values import noise, pixels

COLUMNS = ["cell", "mu", "epsilon", "strength", "psnr", "ssim", "mark", "command"]
LEARNED_COLUMNS = ["cell", "level", "strength", "psnr", "ssim", "mark", "command"]
MARGIN, GAP, BORDER, LINE, LEAST_WIDTH = 12, 8, 8, 19, 240
AUTOMATIC, BEST = (86, 180, 233), (240, 228, 66)


def rows_of(result, columns=COLUMNS):
    """The cells that were printed, as dictionaries."""
    assert result.exit_code == 0, result.stderr
    heads, *lines = (line.split("\t") for line in result.stdout.splitlines())
    assert heads == columns
    return [dict(zip(heads, line, strict=True)) for line in lines]


def tile(sheet, name, size, lines=2):
    """The pixels of the cell with a name such as B3 (A0 is the noisy picture) with its frame."""
    width, height = size
    left = MARGIN + int(name[1]) * (max(LEAST_WIDTH, width) + 2 * BORDER + GAP)
    top = MARGIN + 3 * LINE + GAP + (ord(name[0]) - ord("A")) * (height + 2 * BORDER + lines * LINE + GAP)
    return sheet[top : top + height + 2 * BORDER, left : left + width + 2 * BORDER]


def inside(framed):
    return framed[BORDER:-BORDER, BORDER:-BORDER]


def saved(path: Path, image: np.ndarray) -> Path:
    Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def pair(tmp_path):
    """A noisy picture of 160 × 160 pixels, noisy.png, and its clean reference, clean.png."""
    image = crop(clean("camera"), 160)
    saved(tmp_path / "clean.png", image)
    return saved(tmp_path / "noisy.png", with_noise(image, 20 / 255, 1))


@pytest.fixture
def prior(tmp_path):
    (tmp_path / "small.prior").write_bytes(small_prior().to_bytes())
    return "small.prior"


@pytest.mark.slow
@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("shown", [("--grid", "3x3"), ("--strength", "0.5,2")], ids=["grid", "strengths"])
def test_a_cell_is_what_the_printed_command_gives_there(command, tmp_path, colour, shown):
    image = with_noise(crop(clean("coffee", colour=colour), 180), 20 / 255, 2)
    saved(tmp_path / "photo.png", image)
    # All cells converge on every processor: the tolerance is well above what single precision can certify, which
    # is up to 0.03/255 in grey and 0.23/255 in colour, whose weights and small epsilon make the problem harder.
    tolerance = "0.3/255" if colour else "0.05/255"
    cells = rows_of(command("tune", "photo.png", *shown, "--crop", "50,40,100,98", "--tolerance", tolerance))
    assert len(cells) == (9 if "--grid" in shown else 3)
    assert [cell["mark"] for cell in cells if cell["mark"]] == ["automatic"]
    sheet = pixels(tmp_path / "photo_tune.png")
    noisy = pixels(tmp_path / "photo.png")[40:138, 50:150].reshape(98, 100, -1)
    assert (inside(tile(sheet, "A0", (100, 98))) == noisy).all()
    for cell in cells:
        words = shlex.split(cell["command"])
        assert words[:3] == ["tvdenoise", "run", "photo.png"]
        report = tmp_path / f"{cell['cell']}.jsonl"
        assert command(*words[1:], "-o", "whole.png", "--overwrite", "--report", report).exit_code == 0
        entry = json.loads(report.read_text())
        assert [f"{entry[name]:.3g}" for name in ("mu", "epsilon")] == [
            f"{float(cell[name]):.3g}" for name in ("mu", "epsilon")
        ]
        whole = pixels(tmp_path / "whole.png")[40:138, 50:150].reshape(98, 100, -1).astype(int)
        difference = np.abs(inside(tile(sheet, cell["cell"], (100, 98))) - whole)
        assert np.mean(difference > 1) < 1e-3, cell
        assert difference.mean() < 0.1, cell


@pytest.mark.slow
def test_the_grid_lies_around_the_automatic_choice(command, pair):
    cells = {cell["cell"]: cell for cell in rows_of(command("tune", pair))}
    assert len(cells) == 15
    assert [name for name, cell in cells.items() if cell["mark"] == "automatic"] == ["B3"]
    assert cells["B3"]["command"] == f"tvdenoise run {pair}"
    mu, epsilon = ({name: float(cell[key]) for name, cell in cells.items()} for key in ("mu", "epsilon"))
    for column, factor in enumerate((2, 2**0.5, 1, 2**-0.5, 0.5), 1):
        assert mu[f"B{column}"] == pytest.approx(mu["B3"] * factor, rel=0.01)
        assert mu[f"A{column}"] == mu[f"C{column}"] == mu[f"B{column}"]
    for row, factor in zip("ABC", (1 / 3, 1, 3), strict=True):
        assert epsilon[f"{row}1"] == pytest.approx(epsilon["B3"] * factor, rel=0.01)


def test_the_sheet_has_room_for_all_cells(command, pair, tmp_path):
    assert command("tune", pair, "--grid", "3x1", "-o", "sheet.png").exit_code == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.size == (
            2 * MARGIN + 4 * (LEAST_WIDTH + 2 * BORDER) + 3 * GAP,
            2 * MARGIN + 3 * LINE + GAP + 160 + 2 * BORDER + 2 * LINE,
        )
    assert not (tmp_path / "noisy_tune.png").exists()


def test_a_reference_marks_the_best_cell(command, pair, tmp_path):
    cells = rows_of(command("tune", pair, "--reference", "clean.png", "--grid", "5x1"))
    best = max(cells, key=lambda cell: float(cell["psnr"]))
    assert [cell for cell in cells if "best PSNR" in cell["mark"]] == [best]
    assert "best SSIM" in max(cells, key=lambda cell: float(cell["ssim"]))["mark"]
    command(*shlex.split(best["command"])[1:], "-o", "best.png", "--overwrite")
    found = psnr(pixels(tmp_path / "best.png") / 255, pixels(tmp_path / "clean.png") / 255)
    assert float(best["psnr"]) == pytest.approx(found, abs=0.02)

    sheet = pixels(tmp_path / "noisy_tune.png")
    assert (inside(tile(sheet, "A1", (160, 160), 3))[..., 0] == pixels(tmp_path / "clean.png")).all()
    framed = {
        cell["cell"]: {
            tuple(map(int, colour)) for colour in tile(sheet, f"A{number}", (160, 160), 3)[:BORDER, 80]
        }
        for number, cell in enumerate(cells, 2)  # after the noisy picture and the reference
    }
    assert [name for name, colours in framed.items() if BEST in colours] == [best["cell"]]
    assert [name for name, colours in framed.items() if AUTOMATIC in colours] == ["A3"]


@pytest.mark.slow
def test_no_label_is_cut_off_or_reaches_into_the_next(command, pair, tmp_path):
    rows_of(
        command("tune", pair, "--reference", "clean.png", "--grid", "1x1")
    )  # the best of one in both ways
    sheet = pixels(tmp_path / "noisy_tune.png")
    assert (sheet[:, -MARGIN:] == sheet[0, 0]).all()
    tiny = command(
        "tune", pair, "--mu", "0.000123", "--epsilon", "0.000123", "--crop", "0,0,9,9", "-o", "a.png"
    )
    assert tiny.exit_code == 0
    below = pixels(tmp_path / "a.png")[-MARGIN - LINE : -MARGIN]
    written = np.flatnonzero((below != sheet[0, 0]).any(axis=(0, 2)))
    assert np.count_nonzero(np.diff(written) > 2 * BORDER) >= 4  # between five columns of labels


def test_parameters_of_ones_own_are_the_centre(command, pair):
    cells = rows_of(
        command("tune", pair, "--mu", "20", "--epsilon", "1/100", "--grid", "3x1", "--tv", "componentwise")
    )
    assert [cell["mark"] for cell in cells] == ["", "given", ""]
    assert cells[1]["command"].endswith(" --mu 20 --epsilon 0.01 --tv anisotropic")
    assert cells[0]["command"].endswith(" --mu 28.3 --epsilon 0.01 --tv anisotropic")


@pytest.mark.usefixtures("prior")
@pytest.mark.parametrize(("name", "tolerance"), [("learned", "0.4/255"), ("small.prior", "0.1/255")])
def test_learned_filters_have_a_row_of_levels_and_a_cell_is_what_its_command_gives(
    command, tmp_path, name, tolerance
):
    saved(tmp_path / "photo.png", with_noise(crop(clean("camera"), 180), 20 / 255, 2))
    asked = ("--prior", name, "--tolerance", tolerance)
    result = command("tune", "photo.png", *asked, "--crop", "20,12,40,48")
    cells = rows_of(result, LEARNED_COLUMNS)
    assert [cell["cell"] for cell in cells] == ["A1", "A2", "A3", "A4", "A5"]
    assert [cell["mark"] for cell in cells] == ["", "", "automatic", "", ""]
    assert f"automatic level {cells[2]['level']}; 5 settings" in result.stderr
    for cell, factor in zip(cells, (0.5, 2**-0.5, 1, 2**0.5, 2), strict=True):
        assert float(cell["level"]) == pytest.approx(float(cells[2]["level"]) * factor, rel=0.01)
        assert float(cell["strength"]) == pytest.approx(factor, rel=0.01)
    sheet = pixels(tmp_path / "photo_tune.png")
    for number in (1, 2):
        cell, words = cells[number], shlex.split(cells[number]["command"])
        given = [] if number == 2 else ["--level", cell["level"]]
        options = ["--tolerance", tolerance, "--prior", name, *given]
        assert words == ["tvdenoise", "run", "photo.png", *options]
        assert command(*words[1:], "-o", "whole.png", "--overwrite").exit_code == 0
        whole = pixels(tmp_path / "whole.png")[12:60, 20:60, np.newaxis].astype(int)
        shown = inside(tile(sheet, f"A{number + 1}", (160, 192)))[::4, ::4]
        assert np.abs(shown - whole).max() <= 1
        assert np.abs(shown - whole).mean() < 0.05


def test_a_level_of_ones_own_is_the_centre_and_strengths_scale_the_automatic_one(command, pair, prior):
    asked = ("tune", pair, "--prior", prior, "--crop", "8,9,40,30", "--overwrite")
    own = ("--level", "20/255", "--grid", "3x1", "--reference", "clean.png")
    cells = rows_of(command(*asked, *own), LEARNED_COLUMNS)
    assert ["given" in cell["mark"] for cell in cells] == [False, True, False]
    best = max(cells, key=lambda cell: float(cell["psnr"]))
    assert [cell for cell in cells if "best PSNR" in cell["mark"]] == [best]
    assert cells[1]["command"].endswith(f" --prior {prior} --level 20/255")
    assert cells[2]["command"].endswith(f" --prior {prior} --level 0.111")
    entry = json.loads(command(*asked, "--strength", "2", "--json").stdout)
    gentle, strong = entry["cells"]
    assert (gentle["mu"], gentle["epsilon"], strong["mu"], strong["epsilon"]) == (None,) * 4
    assert strong["level"] == pytest.approx(2 * gentle["level"])
    assert strong["command"] == f"tvdenoise run {pair} --strength 2 --prior {prior}"


def test_a_cell_whose_solve_fell_short_is_said_to_have(command, pair):
    asked = ("tune", pair, "--grid", "3x1", "--mu", "10")
    assert [cell["mark"] for cell in rows_of(command(*asked, "--max-iterations", "5"))] == [
        "not converged",
        "given, not converged",
        "not converged",
    ]


def test_json_tells_the_same_in_one_line(command, pair):
    result = command("tune", pair, "--json", "--strength", "2", "--crop", "8,9,40,30", "--quiet")
    entry = json.loads(result.stdout)
    assert result.stderr == ""
    assert entry["crop"] == [8, 9, 40, 30]
    assert [cell["strength"] for cell in entry["cells"]] == [1, 2]
    assert entry["cells"][0]["mu"] == pytest.approx(2 * entry["cells"][1]["mu"])
    assert entry["cells"][0]["level"] is None
    assert entry["cells"][0]["marks"] == ["automatic"]


def test_the_picture_is_shown_upright_and_the_crop_is_of_what_is_seen(command, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(40, 70, 3)).save(tmp_path / "side.png", exif=exif)
    assert command("tune", "side.png", "--crop", "5,20,30,45", "--grid", "1x1").exit_code == 0
    with Image.open(tmp_path / "side.png") as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened))
    shown = inside(tile(pixels(tmp_path / "side_tune.png"), "A0", (30 * 4, 45 * 4)))
    assert (shown[::4, ::4] == upright[20:65, 5:35]).all()


def test_the_colour_profile_is_kept(command, tmp_path):
    grey = bytearray(METADATA["icc"])
    grey[16:20] = b"GRAY"
    for name, values, profile, mode in (
        ("colour", noise(20, 20, 3), METADATA["icc"], "RGB"),
        ("grey", noise(20, 20), bytes(grey), "L"),
    ):
        Image.fromarray(values).save(tmp_path / f"{name}.png", icc_profile=profile)
        assert command("tune", f"{name}.png", "--grid", "1x1").exit_code == 0
        with Image.open(tmp_path / f"{name}_tune.png") as sheet:
            assert sheet.info["icc_profile"] == profile
            assert sheet.mode == mode


def test_transparent_pixels_are_shown_on_a_checker(command, tmp_path):
    values = noise(16, 16, 4)
    values[..., 3] = np.where(np.arange(16) < 8, 0, 255)
    Image.fromarray(values).save(tmp_path / "icon.png")
    assert command("tune", "icon.png", "--grid", "1x1").exit_code == 0
    shown = inside(tile(pixels(tmp_path / "icon_tune.png"), "A0", (192, 192)))
    assert (shown[::12, 96::12] == values[:, 8:, :3]).all()
    assert set(np.unique(shown[:, :96])) == {100, 155}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("one.png", noise(1, 1)),
        ("line.png", noise(1, 300)),
        ("column.png", noise(300, 1)),
        ("constant.png", np.full((40, 300, 3), 90, np.uint8)),
        ("deep.png", noise(40, 50, dtype=np.uint16)),
        ("hidden.png", np.zeros((20, 20, 4), np.uint8)),
        ("float.tif", noise(40, 50, dtype=np.float32)),
        ("ink.tif", noise(40, 50, 4)),
    ],
)
def test_odd_pictures_have_a_sheet(command, tmp_path, name, values):
    opened = Image.fromarray(values, "CMYK") if name == "ink.tif" else Image.fromarray(values)
    opened.save(tmp_path / name)
    assert len(rows_of(command("tune", name, "--reference", name))) == 15
    with Image.open(tmp_path / name.replace(".tif", ".png").replace(".png", "_tune.png")) as sheet:
        assert sheet.width > 6 * LEAST_WIDTH


def test_dark_pictures_of_16_bits_are_shown_between_percentiles_all_alike(command, tmp_path):
    values = np.linspace(1000, 3000, 60 * 60).reshape(60, 60).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "dark.png")
    assert command("tune", "dark.png", "--mu", "1e9", "--grid", "1x1").exit_code == 0
    sheet = pixels(tmp_path / "dark_tune.png")
    shown = inside(tile(sheet, "A0", (180, 180)))
    assert shown.min() == 0
    assert shown.max() == 255
    assert (inside(tile(sheet, "A1", (180, 180))) == shown).all()


def test_a_sheet_is_never_taken_for_a_picture_of_a_folder(command, pair, tmp_path):
    assert command("tune", pair, "--grid", "1x1").exit_code == 0
    (tmp_path / "clean.png").unlink()
    result = command("run", tmp_path, "--dry-run")
    assert [Path(line.split("\t")[0]).name for line in result.stdout.splitlines()] == ["noisy.png"]


@pytest.mark.slow
@pytest.mark.usefixtures("pair", "prior")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-o", "sheet.jpg"), "contact sheets are .png files"),
        (("-o", "noisy.png", "--overwrite"), "is an input"),
        (("-o", "clean.png", "--overwrite", "--reference", "clean.png"), "is an input"),
        (("--grid", "4x3"), "odd number"),
        (("--grid", "5"), "COLUMNSxROWS"),
        (("--crop", "1,2,3"), "X,Y,WIDTH,HEIGHT"),
        (("--crop", "100,0,61,10"), "160 columns and 160 rows"),
        (("--crop", "0,0,0,10"), "outside"),
        (("--strength", "0.5,x"), "--strength must be a number"),
        (("--strength", "2", "--grid", "3x3"), "contradict"),
        (("--strength", "2", "--mu", "3"), "--strength scales the automatic --mu"),
        (("--prior", "small.prior", "--grid", "5x3"), "give --grid 5x1"),
        (
            ("--prior", "small.prior", "--level", "0.1", "--strength", "2"),
            "the automatic --level, which is given",
        ),
        (("--prior", "small.prior", "--mu", "3"), "set --level instead"),
        (("--prior", "small.prior", "--chroma-only"), "cannot be combined with --chroma-only"),
        (("--prior", "small.prior", "--level", "0.9"), "--level takes at most 1"),
        (("--level", "0.1"), "--level is that of learned filters"),
        (("--reference", "small.png"), "small.png: the reference's size is 17 × 12, the image's 160 × 160"),
        (("--reference", "colour.png"), "number of channels"),
        (("--reference", "deep.png"), "type of values is uint16"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(command, tmp_path, options, said):
    Image.fromarray(noise(12, 17)).save(tmp_path / "small.png")
    Image.fromarray(noise(160, 160, 3)).save(tmp_path / "colour.png")
    Image.fromarray(noise(160, 160, dtype=np.uint16)).save(tmp_path / "deep.png")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    result = command("tune", "noisy.png", *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_existing_sheet_is_only_replaced_when_asked(command, pair, tmp_path):
    sheet = tmp_path / "noisy_tune.png"
    sheet.write_bytes(b"precious")
    assert command("tune", pair, "--grid", "1x1").exit_code == 2
    assert sheet.read_bytes() == b"precious"
    assert command("tune", pair, "--grid", "1x1", "--overwrite").exit_code == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize(
    "arguments", [("bad.png",), ("noisy.png", "--reference", "bad.png"), ("missing.png",)]
)
def test_a_file_that_cannot_be_read_is_named_in_one_line(command, tmp_path, arguments):
    (tmp_path / "bad.png").write_bytes(b"not an image")
    result = command("tune", *arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"tvdenoise: {arguments[-1]}: ")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*_tune.png"))
    assert not temporaries(tmp_path)


def test_floats_far_above_their_range_need_it_said(command, tmp_path, prior):
    Image.fromarray(noise(60, 60, dtype=np.float32) * 4000).save(tmp_path / "counts.tif")
    result = command("tune", "counts.tif")
    assert result.exit_code == 2
    assert "add --data-range 3999" in result.stderr
    learned = command("tune", "counts.tif", "--prior", prior)
    assert learned.exit_code == 2
    assert "of which level is a fraction; add --data-range 3999" in learned.stderr
    assert len(rows_of(command("tune", "counts.tif", "--data-range", "4000"))) == 15


@pytest.mark.slow
def test_samples_of_every_kind_are_shown(command, tmp_path):
    for source in sorted(SAMPLES.glob("*.*g")):
        assert command("tune", source, "--grid", "1x1", "-o", tmp_path / f"{source.stem}.png").exit_code == 0


@pytest.mark.slow
@pytest.mark.usefixtures("pair")
def test_a_terminal_gets_aligned_columns_without_the_empty_ones(process_on_terminal):
    code, shown = process_on_terminal("tune", "noisy.png", "--grid", "3x1", "--quiet", shows_output=True)
    assert code == 0
    heads, *lines = shown.splitlines()
    assert heads.split() == ["cell", "mu", "epsilon", "strength", "mark", "command"]
    assert [line.index("tvdenoise run noisy.png") for line in lines] == [heads.index("command")] * 3


def test_names_are_quoted_for_a_shell(command, tmp_path):
    Image.fromarray(noise(20, 20)).save(tmp_path / "it's a photo.png")
    (cell,) = rows_of(command("tune", "it's a photo.png", "--grid", "1x1"))
    assert shlex.split(cell["command"]) == ["tvdenoise", "run", "it's a photo.png"]
