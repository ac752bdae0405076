"""``tvdenoise compare``: compare images with a reference, by PSNR and SSIM and in a plot."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvdenoise.commands import typer_options
from tvdenoise.commands.exits import exit_codes
from tvdenoise.commands.typer_options import parsed, takes_options
from tvdenoise.files.paths import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tvdenoise.batch.measures import Comparison, Similarity
    from tvdenoise.files.decoded import DecodedImage


@takes_options(only=("max_megapixels",))
def compare(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="The reference image.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Images to compare with it.")],
    asked: typer_options.Asked,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per image.")] = False,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Plot the images side by side, with the crop where they differ most and the differences; a .png, "
            ".svg or .pdf file.",
        ),
    ] = None,
    data_range: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            help="Difference between white and black. By default the largest value of an integer type, and 1 for "
            "floats.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing plot.")] = False,
    debug: typer_options.Debug = False,
) -> None:
    """Compare images with a reference: PSNR and SSIM.

    PSNR, in decibels, measures the mean squared error: halving it adds 3 dB. SSIM compares means, contrasts and
    structure in small windows, and is 1 for equal images. Both cover all channels and all visible pixels. The output
    is a table on a terminal, otherwise one tab-separated line per image with image, PSNR and SSIM.

    Each image must have the same size, kind of pixels, orientation and hidden pixels as the reference.

    [bold]Examples[/bold]

    tvdenoise compare clean.png noisy.png denoised.png
    tvdenoise compare clean.png denoised.png --plot compared.png
    tvdenoise compare clean.tif a.tif b.tif --json --data-range 4095
    """
    with exit_codes(debug=debug):
        from tvdenoise.batch.measures import comparisons, read_reference, require_panels, require_plot

        white = parsed("data_range", data_range)
        most = asked.options().max_megapixels
        if plot is not None:
            require_panels(tuple(images))
            require_plot(plot, map(Path, (reference, *images)), overwrite=overwrite)
        truth = read_reference(reference, most)
        found = list(_told(comparisons(truth, reference, tuple(images), white, most), as_json=as_json))
        if not as_json:
            _print(reference, found)
        if plot is not None and found:
            _draw(reference, truth, found, plot)
    raise typer.Exit(1 if len(found) < len(images) else 0)


def _draw(reference: str, truth: DecodedImage, found: list[Comparison], plot: str) -> None:
    from tvdenoise.pictures.comparison import Panel, save_side_by_side

    panels = [Panel(each.source, each.image, _caption(each.similarity)) for each in found]
    save_side_by_side(Panel(reference, truth, "reference"), panels, found[0].similarity.data_range, plot)


def _caption(measured: Similarity) -> str:
    if math.isinf(measured.psnr):
        return "equal to the reference"
    return f"PSNR {measured.psnr:.2f} dB" + ("" if measured.ssim is None else f", SSIM {measured.ssim:.3f}")


def _told(compared: Iterable[Comparison], *, as_json: bool) -> Iterable[Comparison]:
    """Yield each image that could be compared, and print errors and notes along the way."""
    for comparison in compared:
        name = printable(comparison.source)
        if comparison.error is not None:
            print(f"tvdenoise: {name}: {comparison.error}", file=sys.stderr)
            continue
        for note in comparison.similarity.notes:
            print(f"tvdenoise: {name}: note: {note}", file=sys.stderr)
        if as_json:
            print(json.dumps(_entry(comparison)), flush=True)
        yield comparison


def _entry(comparison: Comparison) -> dict[str, Any]:
    """One image as JSON, which cannot represent infinity."""
    similarity = comparison.similarity
    is_equal = math.isinf(similarity.psnr)
    return {
        "image": comparison.source,
        "psnr": None if is_equal else similarity.psnr,
        "ssim": similarity.ssim,
        "identical": is_equal,
        "data_range": similarity.data_range,
    }


def _print(reference: str, found: list[Comparison]) -> None:
    from tvdenoise.commands.output import new_table, print_lines, print_table

    if not found:
        return
    if not sys.stdout.isatty():
        print_lines("\t".join(_parts(comparison, decimals=6)) for comparison in found)
        return
    table = new_table("image", "PSNR (dB)", "SSIM", title=f"compared with {printable(reference)}")
    for comparison in found:
        table.add_row(*_parts(comparison, decimals=4))
    print_table(table)


def _parts(comparison: Comparison, decimals: int) -> tuple[str, str, str]:
    """Name, PSNR and SSIM; an unknown SSIM is an empty string."""
    ssim = comparison.similarity.ssim
    shown = "" if ssim is None else f"{ssim:.{decimals}f}"
    return printable(comparison.source), f"{comparison.similarity.psnr:.{decimals - 2}f}", shown
