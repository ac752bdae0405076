"""``--mask`` and ``--nan fill`` on the command line."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from support.readers import tiff_values
from support.values import noise, pixels
from tvdenoise import denoise
from tvdenoise.batch.denoiser import Denoiser
from tvdenoise.commands.typer_options import Asked
from tvdenoise.errors import UnsupportedImageError, UsageError
from tvdenoise.files.decoded import DecodedImage
from tvdenoise.files.orientation import Orientation
from tvdenoise.options import ContradictionError, FileOptions

WHITE_DISC = np.where(np.hypot(*(np.indices((40, 50)) - 20)) < 15, 255, 0).astype(np.uint8)


@pytest.fixture
def mask(make_image):
    """A mask of 50 × 40 pixels, white in a disc."""
    return make_image("mask.png", WHITE_DISC)


def _with_holes(shape: tuple[int, ...]) -> np.ndarray:
    """Floats of which every 17th, in memory's order, is NaN."""
    values = noise(*shape, dtype=np.float32)
    values.ravel()[::17] = np.nan
    return values


@pytest.mark.parametrize(
    "values",
    [noise(40, 50), noise(40, 50, 3), noise(40, 50, dtype=np.float32)],
    ids=["grey", "colour", "float"],
)
def test_pixels_are_kept_exactly_where_the_mask_is_black(values, mask, make_image, command) -> None:
    source = make_image("a.tif", values)
    assert command("run", source, "--mask", mask, "-o", "out.tif").exit_code == 0
    result = pixels(Path("out.tif"))
    assert np.array_equal(result[WHITE_DISC == 0], values[WHITE_DISC == 0])
    assert np.std(result[WHITE_DISC > 0].astype(float)) < 0.9 * np.std(values[WHITE_DISC > 0].astype(float))


@pytest.mark.slow
def test_a_mask_of_all_white_equals_no_mask(make_image, command) -> None:
    make_image("a.png", noise(40, 50, 3))
    for name, values in (
        ("grey.png", np.full((40, 50), 255, np.uint8)),
        ("deep.png", np.full((40, 50), 65535, np.uint16)),
        ("colour.png", np.full((40, 50, 3), 255, np.uint8)),
    ):
        make_image(name, values)
        command("run", "a.png", "-o", "plain.png", "--overwrite")
        assert command("run", "a.png", "--mask", name, "-o", "masked.png", "--overwrite").exit_code == 0
        assert Path("masked.png").read_bytes() == Path("plain.png").read_bytes()


@pytest.mark.slow
def test_a_mask_serves_all_files_in_all_processes(mask, make_image, command) -> None:
    for number in range(3):
        make_image(f"in/{number}.png", noise(40, 50, seed=number))
    one = command("run", "in", "-o", "one", "--mask", mask, "--jobs", "1")
    two = command("run", "in", "-o", "two", "--mask", mask, "--jobs", "2")
    assert one.exit_code == two.exit_code == 0
    for number in range(3):
        result, source = pixels(Path(f"two/{number}.png")), pixels(Path(f"in/{number}.png"))
        assert np.array_equal(result, pixels(Path(f"one/{number}.png")))
        assert np.array_equal(result[WHITE_DISC == 0], source[WHITE_DISC == 0])


def test_hidden_pixels_and_a_mask_go_together(mask, make_image, command) -> None:
    values = noise(40, 50, 4)
    values[:, :10, 3] = 0
    make_image("a.png", values)
    assert command("run", "a.png", "--mask", mask, "-o", "out.png").exit_code == 0
    result = pixels(Path("out.png"))
    assert np.array_equal(result[WHITE_DISC == 0], values[WHITE_DISC == 0])
    assert np.array_equal(result[..., 3], values[..., 3])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((40, 50), 254, np.uint8), "2000 pixels of the mask {} are neither black nor white; "),
        (noise(40, 50, 3), "are neither black nor white; "),
        (np.dstack([WHITE_DISC, np.minimum(WHITE_DISC, 7)]), "the mask {} has transparent pixels; "),
        (np.zeros((40, 50), np.uint8), "the mask {} is black everywhere: nothing would be denoised; "),
    ],
    ids=["grey", "colour", "transparent", "black"],
)
def test_what_is_neither_black_nor_white_is_no_mask(values, reason, make_image, command) -> None:
    make_image("a.png", noise(40, 50))
    path = make_image("mask.png", values)
    result = command("run", "a.png", "--mask", "mask.png")
    assert result.exit_code == 2
    assert reason.format(path) in result.stderr
    assert result.stderr.count("\n") == 1
    assert {entry.name for entry in Path().iterdir()} == {"a.png", "mask.png"}


def test_a_mask_that_cannot_be_read_is_refused_before_anything_is_done(make_image, command) -> None:
    make_image("a.png")
    result = command("run", "a.png", "--mask", "no.png")
    assert result.exit_code == 2
    assert "no.png cannot be used: no such file" in result.stderr.lower()


def test_pictures_of_another_size_than_the_mask_fail_and_the_others_are_done(
    mask, make_image, command
) -> None:
    make_image("in/a.png", noise(40, 50))
    make_image("in/b.png", noise(50, 40))
    result = command("run", "in", "--mask", mask, "-o", "out")
    assert result.exit_code == 1
    assert "b.png: " in result.stderr
    assert "40 × 50" in result.stderr
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]


@pytest.mark.slow
def test_the_plan_knows_that_a_mask_is_of_another_size_or_number(mask, make_image, command, tmp_path) -> None:
    for name, values in (("fits", noise(40, 50)), ("other", noise(40, 51)), ("deep", noise(40, 50, 3))):
        make_image(f"in/{name}.png", values)
    Image.fromarray(noise(50, 40)).save("in/turned.jpg", exif=_turned(6))
    _pages(Path("in/pages.tif"), noise(3, 40, 50))
    _pages(tmp_path / "masks.tif", np.stack([WHITE_DISC] * 3))
    reason = "the image has 51 × 40 pixels and the mask"
    alone = ("in/deep.png", "in/fits.png", "in/other.png", "in/turned.jpg")
    for given, expected in (
        (mask, {"in/other.png": reason}),
        (tmp_path / "masks.tif", dict.fromkeys(alone, "it holds a single image and the mask")),
    ):
        planned = command("run", "in", "--mask", given, "-o", "out", "--overwrite", "--dry-run")
        lines = [line.split("\t") for line in planned.stdout.splitlines()]
        failing = {line[0]: line[6] for line in lines if line[5] == "fail"}
        assert failing.keys() == expected.keys()
        assert all(failing[name].startswith(told) for name, told in expected.items())
        result = command("run", "in", "--mask", given, "-o", "out", "--overwrite")
        assert planned.exit_code == result.exit_code == 1
        assert f"{5 - len(expected)} done, {len(expected)} failed" in result.stderr


def _turned(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("extension", ["png", "tif"])
def test_a_mask_is_laid_over_a_photograph_as_it_is_shown(number, extension, make_image, command) -> None:
    """Drawn in a program that shows the photograph upright, and saved as it looks there."""
    shown = noise(40, 50)
    stored = np.ascontiguousarray(Orientation(number).stored(shown))
    disc = np.where(np.hypot(*(np.indices((40, 50)) - 12)) < 11, 255, 0).astype(np.uint8)
    make_image(f"a.{extension}", stored, exif=_turned(number))
    make_image("mask.png", disc)
    assert command("run", f"a.{extension}", "--mask", "mask.png", "-o", f"out.{extension}").exit_code == 0
    with Image.open(f"out.{extension}") as opened:
        result = np.asarray(ImageOps.exif_transpose(opened))
    assert np.array_equal(result[disc == 0], shown[disc == 0])
    assert np.mean(result[disc > 0] != shown[disc > 0]) > 0.9


def test_a_mask_that_is_stored_turned_is_taken_as_it_is_shown(make_image, command) -> None:
    make_image("a.png", noise(40, 50))
    make_image("mask.png", WHITE_DISC)
    stored = np.ascontiguousarray(Orientation(6).stored(WHITE_DISC))
    make_image("turned.png", stored, exif=_turned(6))
    for name in ("mask.png", "turned.png"):
        assert command("run", "a.png", "--mask", name, "-o", f"of_{name}").exit_code == 0
    assert Path("of_mask.png").read_bytes() == Path("of_turned.png").read_bytes()
    make_image("b.png", noise(40, 50), exif=_turned(6))
    reason = "the image, turned by its orientation, has 40 × 50 pixels and the mask"
    assert f"b.png: {reason}" in command("run", "b.png", "--mask", "mask.png").stderr


def test_a_mask_is_neither_an_input_nor_an_output(make_image, command) -> None:
    make_image("in/a.png", noise(40, 50))
    path = make_image("in/mask.png", WHITE_DISC)
    before = path.read_bytes()
    for words in (
        ("in", "-o", "out"),
        ("in", "--in-place"),
        ("in/a.png", "-o", "in/mask.png", "--overwrite"),
    ):
        for more in ((), ("--dry-run",)):
            result = command("run", *words, "--mask", path, *more)
            assert result.exit_code == 2
            assert re.search(rf"{re.escape(str(path))} is (?:both )?the mask and ", result.stderr)
    assert path.read_bytes() == before
    assert command("run", "in", "-o", "out", "--mask", path, "--exclude", "mask.png").exit_code == 0
    assert [entry.name for entry in Path("out").iterdir()] == ["a.png"]


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3)])
@pytest.mark.parametrize("extension", ["tif", "pfm"])
def test_nan_is_filled_where_it_is_asked_for_and_said(shape, extension, tmp_path, command) -> None:
    from tvdenoise.files.reading import read
    from tvdenoise.files.writing import write
    from tvdenoise.formats.registry import format_for

    source, values = tmp_path / f"a.{extension}", _with_holes(shape)
    write(DecodedImage(values), source, format_for(source, "TIFF"))
    refused = command("run", source.name)
    assert refused.exit_code == 1
    assert refused.stderr.startswith(f"tvdenoise: {source.name}: some values are not finite (NaN); ")
    done = command("run", source.name, "--nan", "fill", "-o", f"out.{extension}", "--report", "r.jsonl")
    assert done.exit_code == 0
    missing = np.isnan(values).any(axis=-1) if len(shape) == 3 else np.isnan(values)
    assert f"note: {np.count_nonzero(missing)} missing pixels (NaN) filled" in done.stderr
    assert "missing pixels filled, no distance bound" in done.stderr
    assert "warning" not in done.stderr
    assert np.isfinite(read(tmp_path / f"out.{extension}").intensities).all()
    entry = json.loads(Path("r.jsonl").read_text())
    assert (entry["status"], entry["converged"], entry["distance_bound"]) == ("done", True, None)
    assert (
        "no distance is bounded"
        in command(
            "run", source.name, "--nan", "fill", "-o", f"out.{extension}", "--overwrite", "--verbose"
        ).stderr
    )


def test_infinities_are_refused_even_so(make_image, command) -> None:
    values = noise(9, 9, dtype=np.float32)
    values[3, 3] = np.inf
    make_image("a.tif", values)
    result = command("run", "a.tif", "--nan", "fill")
    assert result.exit_code == 1
    assert "infinite" in result.stderr


def test_of_alpha_that_is_no_number_nobody_is_told_to_fill_it(command, tmp_path) -> None:
    values = noise(9, 9, 4, dtype=np.float32)
    values[3, 3, 3] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=["unassalpha"])
    result = command("run", "a.tif", "--nan", "fill")
    assert result.exit_code == 1
    assert result.stderr == (
        "tvdenoise: a.tif: some values of its alpha are not finite; replace NaN and infinities by numbers first\n"
    )


def test_files_without_missing_pixels_come_out_the_same_with_and_without_nan_fill(
    make_image, command
) -> None:
    make_image("a.tif", noise(40, 50, dtype=np.float32))
    command("run", "a.tif", "-o", "plain.tif")
    command("run", "a.tif", "-o", "fill.tif", "--nan", "fill")
    assert Path("plain.tif").read_bytes() == Path("fill.tif").read_bytes()


def test_contradicting_options_of_volumes_are_refused() -> None:
    with pytest.raises(ContradictionError, match="spacing requires volume"):
        FileOptions(spacing=(1.0, 1.0, 1.0))
    with pytest.raises(UsageError, match="--spacing requires --volume"):
        Asked({"spacing": "1,1,1"}).options()
    with pytest.raises(UnsupportedImageError, match="not a volume"):
        Denoiser(FileOptions(volume=True), lambda: None).solve(DecodedImage(noise(9, 9)))


def _pages(path: Path, values: np.ndarray) -> np.ndarray:
    tifffile.imwrite(path, values, photometric="minisblack", metadata=None)
    return values


@pytest.mark.slow
@pytest.mark.parametrize("together", [False, True], ids=["planes", "volume"])
@pytest.mark.parametrize("of_all", [False, True], ids=["one for all", "one for each"])
def test_planes_are_kept_exactly_where_their_mask_is_black(together, of_all, command, tmp_path) -> None:
    values = _pages(tmp_path / "a.tif", noise(5, 40, 50, dtype=np.uint16))
    masks = np.stack([np.roll(WHITE_DISC, 4 * number, axis=1) for number in range(5)])
    if of_all:
        masks[:] = masks[0]
    _pages(tmp_path / "mask.tif", masks[0] if of_all else masks)
    arguments = ("--mask", "mask.tif", "-o", "out.tif", *(("--volume",) if together else ()))
    result = command("run", "a.tif", *arguments)
    assert result.exit_code == 0, result.stderr
    found = tiff_values(tmp_path / "out.tif")
    assert np.array_equal(found[masks == 0], values[masks == 0])
    assert np.mean(found[masks > 0] != values[masks > 0]) > 0.99
    if together:
        wanted = denoise(values, spatial_axes=(0, 1, 2), mask=masks > 0).image
        assert np.array_equal(found, np.rint(wanted * np.float32(65535)).astype(np.uint16))


def test_the_masks_of_planes_are_those_of_their_volume_where_channels_lie_between(command, tmp_path) -> None:
    values = noise(4, 2, 30, 20)
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, metadata={"axes": "ZCYX"})
    masks = np.where(noise(4, 2, 30, 20, seed=1) > 99, 255, 0).astype(np.uint8)
    _pages(tmp_path / "mask.tif", masks.reshape(8, 30, 20))
    assert command("run", "a.tif", "--mask", "mask.tif", "--volume").exit_code == 0
    found = tiff_values(tmp_path / "a_denoised.tif").reshape(values.shape)
    assert np.array_equal(found[masks == 0], values[masks == 0])
    for channel in range(2):
        wanted = denoise(values[:, channel], spatial_axes=(0, 1, 2), mask=masks[:, channel] > 0).image
        assert np.array_equal(found[:, channel], np.rint(wanted * np.float32(255)).astype(np.uint8))


@pytest.mark.parametrize("together", [False, True], ids=["planes", "volume"])
def test_a_stack_with_a_mask_of_all_white_equals_one_without(together, command, tmp_path) -> None:
    _pages(tmp_path / "a.tif", noise(3, 20, 24))
    _pages(tmp_path / "mask.tif", np.full((3, 20, 24), 255, np.uint8))
    more = ("--volume",) if together else ()
    command("run", "a.tif", "-o", "plain.tif", *more)
    command("run", "a.tif", "-o", "masked.tif", "--mask", "mask.tif", *more)
    assert Path("plain.tif").read_bytes() == Path("masked.tif").read_bytes()


def test_masks_of_another_number_than_the_pictures_are_refused(make_image, command, tmp_path) -> None:
    _pages(tmp_path / "a.tif", noise(3, 20, 24))
    make_image("b.png", noise(20, 24))
    _pages(tmp_path / "mask.tif", np.full((2, 20, 24), 255, np.uint8))
    mask = tmp_path / "mask.tif"
    for more in ((), ("--volume",)):
        result = command("run", "a.tif", "--mask", "mask.tif", *more)
        assert result.exit_code == 1
        told = f"tvdenoise: a.tif: it holds 3 images and the mask {mask} has 2; give a mask with one image"
        assert result.stderr.startswith(told)
    result = command("run", "b.png", "--mask", "mask.tif")
    assert f"b.png: it holds a single image and the mask {mask} has 2; give a mask with one" in result.stderr
    assert not list(tmp_path.glob("*_denoised*"))


def test_one_bad_mask_of_many_is_refused_before_anything_is_done(command, tmp_path) -> None:
    _pages(tmp_path / "a.tif", noise(3, 20, 24))
    masks = np.full((3, 20, 24), 255, np.uint8)
    masks[2, 3, 3] = 7
    _pages(tmp_path / "mask.tif", masks)
    result = command("run", "a.tif", "--mask", "mask.tif")
    assert result.exit_code == 2
    assert "1 pixels of the mask" in result.stderr
    assert "neither black nor white" in result.stderr


X = np.indices((40, 50))[1]
INSIDE = X > 15
RAMP = np.minimum(6 * X, 255).astype(np.uint8)
LABELS = X // 13


def _boolean(path: Path, photometric: str, **options: object) -> None:
    tifffile.imwrite(path, INSIDE, photometric=photometric, **options)


def _png_of_indices(path: Path, indices: np.ndarray) -> None:
    """Labels as segmentations are stored: black, a colour for each class, and nearly white for the unlabelled."""
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0] + [9, 9, 9] * 251 + [224, 224, 192])
    image.save(path)


MASKS = {
    "bool.tif": (lambda path: tifffile.imwrite(path, INSIDE), INSIDE),
    "bool_white_is_zero.tif": (lambda path: _boolean(path, "miniswhite"), INSIDE),
    "bool_black_is_zero.tif": (lambda path: _boolean(path, "minisblack"), INSIDE),
    "bool_packbits.tif": (lambda path: _boolean(path, "miniswhite", compression="packbits"), INSIDE),
    "one_bit.png": (lambda path: Image.fromarray(INSIDE).save(path), INSIDE),
    "zero_one.tif": (lambda path: tifffile.imwrite(path, INSIDE.astype(np.uint8)), INSIDE),
    "zero_one.png": (lambda path: Image.fromarray(INSIDE.astype(np.uint8)).save(path), INSIDE),
    "all_one.png": (lambda path: Image.fromarray(np.ones((40, 50), np.uint8)).save(path), INSIDE | True),
    "two_values.png": (lambda path: Image.fromarray(INSIDE * np.uint8(77)).save(path), INSIDE),
    "white_is_zero.tif": (
        lambda path: tifffile.imwrite(path, INSIDE * np.uint8(255), photometric="miniswhite"),
        INSIDE,
    ),
    "two_colours.png": (lambda path: Image.fromarray(INSIDE[..., None] * np.uint8([9, 0, 80])).save(path), INSIDE),
    "floats.tif": (lambda path: tifffile.imwrite(path, INSIDE * np.float32(0.3)), INSIDE),
    "doubles.tif": (lambda path: tifffile.imwrite(path, INSIDE * 1.0), INSIDE),
    "labels_u1.png": (lambda path: Image.fromarray(LABELS.astype(np.uint8)).save(path), LABELS > 0),
    "labels_u2.tif": (
        lambda path: tifffile.imwrite(path, (900 * LABELS).astype("u2"), tile=(16, 16), compression="zlib"),
        LABELS > 0,
    ),
    "labels_i4.tif": (lambda path: tifffile.imwrite(path, LABELS.astype("i4"), byteorder=">"), LABELS > 0),
    "labels_negative.tif": (lambda path: tifffile.imwrite(path, (LABELS - 1).astype("i4")), LABELS != 1),
    "labels_u4.tif": (lambda path: tifffile.imwrite(path, LABELS.astype("u4"), compression="lzma"), LABELS > 0),
    "labels_i8.tif": (lambda path: tifffile.imwrite(path, LABELS.astype("i8")), LABELS > 0),
    "labels_turned.tif": (
        lambda path: tifffile.imwrite(path, LABELS.T[:, ::-1].astype("i4"), extratags=[(274, 3, 1, 8, True)]),
        np.rot90(LABELS.T[:, ::-1]) > 0,
    ),
    "indices.png": (lambda path: _png_of_indices(path, np.where(X > 40, 255, LABELS)), (LABELS > 0) | (X > 40)),
    "two_indices.png": (
        lambda path: Image.fromarray(WHITE_DISC).convert("P").quantize(2).save(path), WHITE_DISC > 0,
    ),
    "green_labels.tif": (
        lambda path: tifffile.imwrite(
            path, LABELS.astype(np.uint8), photometric="palette", colormap=np.tile(np.arange(256, dtype="u2"), (3, 1))
        ),
        LABELS > 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MASKS)
def test_what_is_not_zero_is_in_whatever_the_file_says_of_its_colours(
    name, tmp_path, make_image, command
) -> None:
    make, inside = MASKS[name]
    make(tmp_path / name)
    values = noise(40, 50)
    make_image("a.png", values)
    given = ("--mask", name, "-o", "out.png", "--max-iterations", "4", "--mu", "20", "--report", "r.jsonl")
    result = command("run", "a.png", *given)
    assert result.exit_code == 0, result.stderr
    told = f"{np.count_nonzero(inside):,} of 2,000 pixels in the mask ({np.mean(inside) * 100:.4g} %)"
    assert told in result.stderr
    assert json.loads(Path("r.jsonl").read_text())["in_mask"] == np.count_nonzero(inside)
    out = pixels(Path("out.png"))
    assert np.array_equal(out[~inside], values[~inside])
    assert np.mean(out[inside] != values[inside]) > 0.9


UNCLEAR = {
    "ramp.png": (lambda path: Image.fromarray(RAMP).save(path), 127, X > 21),
    "few_shades.png": (lambda path: Image.fromarray(np.uint8([0, 9, 255])[X // 17]).save(path), 127, X > 33),
    "faint_ramp.png": (lambda path: Image.fromarray((4 * X).astype(np.uint8)).save(path), 98, X > 24),
    "four_bits.tif": (
        lambda path: tifffile.imwrite(path, np.minimum(X // 3, 15).astype("u1"), bitspersample=4), 7, X > 23,
    ),
    "photo.png": (lambda path: Image.fromarray(noise(40, 50) // 2).save(path), None, None),
    "lossy.jpg": (lambda path: Image.fromarray(WHITE_DISC).save(path, quality=50), 127, WHITE_DISC > 0),
    "dark.jpg": (lambda path: Image.fromarray(INSIDE * np.uint8(2)).save(path), 1, INSIDE),
    "lossy.webp": (lambda path: Image.fromarray(WHITE_DISC).save(path, quality=30), 127, WHITE_DISC > 0),
    "lossy.tif": (
        lambda path: Image.fromarray(WHITE_DISC).save(path, compression="jpeg", quality=30), 127, WHITE_DISC > 0,
    ),
    "without_zero.png": (lambda path: Image.fromarray(np.uint8([20, 50])[X // 25]).save(path), 35, X > 24),
    "floats.tif": (lambda path: tifffile.imwrite(path, (X / 49).astype("f4")), 0.5, X > 24),
    "doubles.tif": (lambda path: tifffile.imwrite(path, X * 1e3 - 7e4), -45500, X > 24),
    "colours.png": (lambda path: Image.fromarray(np.uint8([[0, 9, 9], [9, 99, 0]])[X // 25]).save(path), 21, X > 24),
}  # fmt: skip


@pytest.mark.parametrize("name", UNCLEAR)
def test_a_mask_in_shades_takes_a_value_which_the_refusal_proposes(
    name, tmp_path, make_image, command
) -> None:
    make, value, inside = UNCLEAR[name]
    make(tmp_path / name)
    values = noise(40, 50)
    make_image("a.png", values)
    refused = command("run", "a.png", "--mask", name)
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1
    proposed = re.fullmatch(
        r"tvdenoise: \d+ pixels of the mask \S+ are neither black nor white; use only these two, and save it "
        r"losslessly, as PNG, or choose what is in by a value, such as --mask-above (\S+)\n",
        refused.stderr,
    )
    assert proposed is not None, refused.stderr
    assert value is None or float(proposed[1]) == pytest.approx(value, abs=2 if value > 1 else 0.01)
    given = (
        "--mask",
        name,
        "--mask-above",
        proposed[1],
        "-o",
        "out.png",
        "--max-iterations",
        "4",
        "--mu",
        "20",
    )
    assert command("run", "a.png", *given).exit_code == 0
    if inside is not None:
        out = pixels(Path("out.png"))
        assert np.mean((out == values) == ~inside) > 0.95


@pytest.mark.parametrize(
    ("values", "more", "reason"),
    [
        (np.where(INSIDE, np.float32(1), np.nan), (), r"640 values of the mask \S+ are NaN; replace them by zero"),
        (np.where(INSIDE, np.float32(1), np.nan), ("--mask-above", "0.5"), r"are NaN; replace"),
        (LABELS.astype("i4"), ("--mask-above", "3"), r"no pixel of the mask \S+ is above 3: .*; choose a lower"),
        (np.zeros((40, 50), "i4"), (), r"is black everywhere: nothing would be denoised; "),
        (np.ones((40, 50, 2), "u1"), (), r"it has further channels; save it in grey"),
        (np.ones((40, 50, 5), "u1"), (), r"cannot be used: .*; save it in grey"),
        (LABELS.astype("i4"), ("--mask-above", "nan"), r"--mask-above must be a finite number, not 'nan'"),
    ],
)  # fmt: skip
def test_what_says_nothing_is_no_mask(values, more, reason, tmp_path, make_image, command) -> None:
    tifffile.imwrite(tmp_path / "mask.tif", values, photometric="minisblack", planarconfig="contig")
    make_image("a.png", noise(40, 50))
    result = command("run", "a.png", "--mask", "mask.tif", *more)
    assert result.exit_code == 2
    assert re.search(reason, result.stderr)
    assert result.stderr.count("\n") == 1


def test_a_value_without_a_mask_is_refused(make_image, command) -> None:
    make_image("a.png")
    result = command("run", "a.png", "--mask-above", "3")
    assert result.exit_code == 2
    assert "--mask-above requires --mask; give both, or leave it out" in result.stderr


@pytest.mark.parametrize("kind", ["cut", "sparse"])
def test_a_mask_of_which_a_part_is_missing_is_refused(kind, tmp_path, make_image, command) -> None:
    tifffile.imwrite(tmp_path / "mask.tif", np.ones((40, 50), "i4"), rowsperstrip=8, compression="zlib")
    path = tmp_path / "mask.tif"
    with tifffile.TiffFile(path) as file:
        tag = file.pages.first.tags[273]
        place = tag.valueoffset + 4 * 3
    contents = bytearray(path.read_bytes())
    contents[place : place + 4] = (len(contents) + 9).to_bytes(4, "little") if kind == "cut" else bytes(4)
    path.write_bytes(contents)
    make_image("a.png", noise(40, 50))
    result = command("run", "a.png", "--mask", "mask.tif")
    assert result.exit_code == 2
    assert "the file is truncated" in result.stderr


def test_labels_of_several_planes_are_seen_together(command, tmp_path) -> None:
    values = _pages(tmp_path / "a.tif", noise(3, 40, 50))
    masks = np.stack([LABELS, 1 + LABELS % 2, 0 * LABELS]).astype(np.uint8)
    _pages(tmp_path / "mask.tif", masks)
    result = command(
        "run", "a.tif", "--mask", "mask.tif", "--mu", "20", "--max-iterations", "4", "-o", "out.tif"
    )
    assert result.exit_code == 0, result.stderr
    assert f"{np.count_nonzero(masks):,} of 6,000 pixels in the mask" in result.stderr
    found = tiff_values(tmp_path / "out.tif")
    assert np.array_equal(found[masks == 0], values[masks == 0])
    assert np.mean(found[masks > 0] != values[masks > 0]) > 0.9
