"""1-bit images: refused by default, despeckled on request, and written as they were."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw

from support.values import noise, pixels
from tvdenoise.files.opening import header_of
from tvdenoise.files.reading import read

REFUSED = "1-bit image; --impulses on removes speckle"


def _page(rows: int = 60, columns: int = 203) -> np.ndarray:
    """Return a page of text, white is True, of a size whose rows do not fill their bytes."""
    page = Image.new("1", (columns, rows), 1)
    draw = ImageDraw.Draw(page)
    for top in range(4, rows - 20, 24):
        draw.rectangle((6, top, columns - 30, top + 3), fill=0)
        draw.rectangle((columns - 20, top, columns - 18, top + 2), fill=0)  # a full stop
    return np.array(page)


def _speckled(page: np.ndarray, seed: int = 0) -> tuple[np.ndarray, int]:
    """Flip single pixels and pairs that touch nothing, and return their number."""
    speckled, count = page.copy(), 0
    generator = np.random.default_rng(seed)
    for _ in range(40):
        row, column = (int(generator.integers(2, length - 4)) for length in page.shape)
        across = int(generator.integers(1, 3))
        around = speckled[row - 2 : row + 3, column - 2 : column + across + 2]
        if around.min() == around.max():
            speckled[row, column : column + across] ^= True
            count += 1
    return speckled, count


def _tags_of(path: Path) -> dict[int, object]:
    with tifffile.TiffFile(path) as opened:
        return {tag.code: tag.value for tag in opened.pages.first.tags}


@pytest.mark.parametrize("zero", [0, 1], ids=["white", "black"])
@pytest.mark.parametrize("compression", ["group4", "group3", "tiff_ccitt", "raw", "tiff_lzw", "packbits"])
def test_a_page_comes_back_without_specks_as_it_was_stored(
    compression: str, zero: int, command, tmp_path: Path
) -> None:
    page = _page()
    speckled, count = _speckled(page)
    assert count > 10
    stated = {262: zero, 269: "a document", 65000: "a text of another program"}
    Image.fromarray(speckled).save(
        tmp_path / "a.tif", compression=compression, tiffinfo=stated, dpi=(300, 150)
    )
    result = command("run", "a.tif", "--impulses", "on", "-o", "b.tif")
    assert result.exit_code == 0, result.stderr
    assert "a.tif → b.tif: despeckled, " in result.stderr
    assert f"note: {count} specks of one or two pixels removed\n" in result.stderr
    assert result.stderr.count("note: ") == 1
    with Image.open(tmp_path / "b.tif") as opened:
        assert (opened.mode, opened.info["compression"], opened.info["dpi"]) == ("1", compression, (300, 150))
        np.testing.assert_array_equal(np.array(opened), page)
    before, after = _tags_of(tmp_path / "a.tif"), _tags_of(tmp_path / "b.tif")
    for tag in (259, 262, 269, 282, 283, 296, 65000):
        assert before[tag] == after[tag]
    assert after[11] == after[11].split("; ")[0] + "; impulses=on"


def test_other_programs_read_the_strips_of_a_written_fax(command, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tvdenoise.formats.tiff.writing._STRIP", 4000)
    speckled, _ = _speckled(_page(300, 900))
    Image.fromarray(speckled).save(tmp_path / "a.tif", compression="group4")
    assert command("run", "a.tif", "--impulses", "on", "-o", "b.tif").exit_code == 0
    assert len(_tags_of(tmp_path / "b.tif")[273]) > 1
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif") > 0, _page(300, 900))


@pytest.mark.parametrize("options", [(), ("--impulses", "auto"), ("--dry-run",)], ids=str)
def test_a_1_bit_image_is_refused_unless_despeckled_and_the_batch_goes_on(
    options: tuple[str, ...], command, make_image, tmp_path: Path
) -> None:
    for name, more in (("a.tif", {"compression": "group4"}), ("b.png", {}), ("c.pbm", {})):
        make_image(name, _page(), **more)
    make_image("d.png", noise(20, 30))
    result = command("run", "a.tif", "b.png", "c.pbm", "d.png", "-o", "out/", *options)
    assert result.exit_code == 1
    told = result.stdout if options == ("--dry-run",) else result.stderr
    assert told.count(REFUSED) == 2  # PBM cannot be written at all
    assert [path.name for path in (tmp_path / "out").glob("*")] == ["d.png"] * (options != ("--dry-run",))


def test_a_dry_run_tells_what_despeckling_does(command, make_image) -> None:
    make_image("a.png", _page())
    assert "\tdenoise" in command("run", "a.png", "--impulses", "on", "--dry-run").stdout
    for options, reason in (
        (("--volume",), "1-bit images form no volume; leave out --volume"),
        (("--residual", "r/"), "a 1-bit image is despeckled without one; leave them out for this one"),
        (("--trace", "t.png"), "a 1-bit image is despeckled without one; leave them out for this one"),
    ):
        assert reason in command("run", "a.png", "--impulses", "on", "--dry-run", *options).stdout
        assert reason in command("run", "a.png", "--impulses", "on", *options).stderr


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.pnm"])
def test_other_formats_keep_the_bit(name: str, command, tmp_path: Path) -> None:
    speckled, _ = _speckled(_page())
    Image.fromarray(speckled).save(tmp_path / "in.png")
    assert command("run", "in.png", "--impulses", "on", "-o", name).exit_code == 0
    with Image.open(tmp_path / name) as opened:
        assert opened.mode == "1"
        np.testing.assert_array_equal(np.array(opened), _page())


def test_a_png_becomes_a_fax_in_a_tiff_and_grey_elsewhere(command, tmp_path: Path) -> None:
    Image.fromarray(_speckled(_page())[0]).save(tmp_path / "a.png", dpi=(200, 200))
    assert "note: its" not in command("run", "a.png", "--impulses", "on", "-o", "a.tif").stderr
    with Image.open(tmp_path / "a.tif") as opened:
        assert (opened.mode, opened.info["compression"], opened.tag_v2[262]) == ("1", "group4", 0)
        assert opened.info["dpi"] == pytest.approx((200, 200), abs=0.01)
    result = command("run", "a.png", "--impulses", "on", "-o", "a.webp")
    assert "note: its 1-bit pixels are written as 8-bit grey" in result.stderr
    np.testing.assert_array_equal(read(tmp_path / "a.tif").intensities, _page() * np.uint8(255))


def test_every_page_is_despeckled(command, tmp_path: Path) -> None:
    pages = [_speckled(_page(), seed) for seed in range(3)]
    first, *others = (Image.fromarray(values) for values, _ in (*pages, (_page(), 0)))
    first.save(tmp_path / "a.tif", compression="group4", save_all=True, append_images=others)
    assert REFUSED in command("run", "a.tif").stderr
    result = command("run", "a.tif", "--impulses", "on", "-o", "b.tif", "--report", "r.jsonl")
    count = sum(number for _, number in pages)
    assert f"note: {count} specks of one or two pixels removed in 3 of 4 1-bit images" in result.stderr
    with Image.open(tmp_path / "b.tif") as opened:
        assert opened.n_frames == 4
        for number in range(4):
            opened.seek(number)
            assert (opened.mode, opened.info["compression"]) == ("1", "group4")
            np.testing.assert_array_equal(np.array(opened), _page())
    entry = json.loads((tmp_path / "r.jsonl").read_text())
    assert (entry["status"], entry["mu"]) == ("done", None)
    assert command("report", "r.jsonl").exit_code == 0


@pytest.mark.parametrize("order", [1, -1])
def test_a_dry_run_knows_of_pages_of_one_bit_among_others(order: int, command, tmp_path: Path) -> None:
    pages = (Image.fromarray(_page()), Image.fromarray(noise(90, 80, 3)))[::order]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    for more, action in (
        ((), "fail"),
        (("--impulses", "on"), "denoise"),
        (("--first-frame",), "fail" if order == 1 else "denoise"),
    ):
        assert f"\t{action}" in command("run", "a.tif", "--dry-run", "--overwrite", *more).stdout
        result = command("run", "a.tif", *more, "--overwrite")
        assert result.exit_code == (action == "fail"), result.stderr
        assert (f"{REFUSED}\n" in result.stderr) == (action == "fail")


def test_a_mask_protects_specks(command, tmp_path: Path) -> None:
    speckled, _ = _speckled(_page())
    Image.fromarray(speckled).save(tmp_path / "a.png")
    inside = np.arange(speckled.shape[1]) < 100
    Image.fromarray(np.broadcast_to(inside, speckled.shape).copy()).save(tmp_path / "mask.png")
    assert command("run", "a.png", "--impulses", "on", "--mask", "mask.png", "-o", "b.png").exit_code == 0
    np.testing.assert_array_equal(pixels(tmp_path / "b.png"), np.where(inside, _page(), speckled))


def test_a_clean_page_is_said_to_be_unchanged(command, make_image) -> None:
    make_image("a.png", _page())
    assert "no pixel is changed" in command("run", "a.png", "--impulses", "on").stderr


def test_a_page_is_despeckled_in_place_once(command, tmp_path: Path) -> None:
    Image.fromarray(_speckled(_page())[0]).save(tmp_path / "a.tif", compression="group4")
    run = ("run", "a.tif", "--in-place", "--impulses", "on")
    assert command(*run).exit_code == 0
    assert "already denoised, skipped" in command(*run).stderr


@pytest.mark.parametrize("arguments", [("noise", "a.png"), ("tune", "a.png", "-o", "s.png")], ids=str)
def test_other_commands_name_the_one_that_despeckles(arguments: tuple[str, ...], command, make_image) -> None:
    make_image("a.png", _page())
    result = command(*arguments)
    assert result.exit_code != 0
    assert "1-bit image; tvdenoise run --impulses on removes speckle" in result.stderr


def test_1_bit_images_are_compared_as_black_and_white(command, make_image) -> None:
    make_image("a.png", _page())
    make_image("b.tif", _page(), compression="group4")
    assert "inf" in command("compare", "a.png", "b.tif").stdout


def test_1_bit_images_take_no_part_in_shared_parameters(command, make_image, tmp_path: Path) -> None:
    for number in range(9):
        make_image(f"{number}.png", _page())
    make_image("x.png", noise(40, 40))
    run = ("run", ".", "-o", "out", "--impulses", "on", "--shared-parameters", "--report", "r.jsonl")
    assert command(*run).exit_code == 0
    shared = json.loads((tmp_path / "r.jsonl").read_text().splitlines()[0])
    assert shared["notes"].endswith("x.png")


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_a_page_takes_little_memory(name: str, command, make_image, tmp_path: Path) -> None:
    rows, columns = 5000, 4000  # as 8-bit grey, it would take 400 MB
    make_image(name, np.ones((rows, columns), bool))
    assert header_of(tmp_path / name).bytes_needed == 8 * rows * columns
    result = command("run", name, "--impulses", "on", "--memory", "380MB")
    assert result.exit_code == 0, result.stderr
    result = command("run", name, "--impulses", "on", "--memory", "300MB", "--overwrite")
    assert "--memory allows 0.30 GB; split the image, or allow more with --memory" in result.stderr


def test_a_transparent_level_makes_a_1_bit_image_grey(command, make_image, tmp_path: Path) -> None:
    make_image("a.png", _page(), transparency=1)
    assert not header_of(tmp_path / "a.png").is_bilevel
    result = command("run", "a.png", "--mu", "1e9")
    assert "note: 1-bit pixels are written as 8-bit grey" in result.stderr
