"""``tvdenoise noise``: estimate the noise of images."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvdenoise.commands import typer_options
from tvdenoise.commands.exits import exit_codes
from tvdenoise.commands.typer_options import takes_options

if TYPE_CHECKING:
    from tvdenoise.batch.measures import Estimate


@takes_options(only=("data_range", "first_frame", "nan", "nodata"))
def noise(
    inputs: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Images, or folders of images.")],
    asked: typer_options.Asked,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per image.")] = False,
    plot: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Plot the noise against the intensity; a .png, .svg or .pdf file."),
    ] = None,
    recursive: typer_options.Recursive = False,
    include: typer_options.Include = None,
    exclude: typer_options.Exclude = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing plot.")] = False,
    debug: typer_options.Debug = False,
) -> None:
    """Estimate the noise of images: its level, its growth with intensity and its correlation.

    Levels are standard deviations; 255 is the data range. The correlation is that of neighbouring pixels. The growth
    is the ratio of the largest standard deviation at any intensity to the smallest. Colour images are measured as
    luminance and two opponent channels, CMYK images ink by ink, bands one by one. A second estimator assumes white
    noise; a warning names its level if the two disagree. Impulses are pixels that no neighbour supports.

    [bold]Examples[/bold]

    tvdenoise noise photo.jpg
    tvdenoise noise scans/ --json > noise.jsonl
    tvdenoise noise cell.tif --plot noise.png
    """
    with exit_codes(debug=debug):
        from tvdenoise.batch.measures import estimates
        from tvdenoise.batch.request import Patterns

        settings = asked.options()
        found = []
        failed = False
        for estimate in estimates(
            tuple(inputs),
            Patterns(tuple(include or ()), tuple(exclude or ())),
            recursive=recursive,
            settings=settings,
            plot=plot,
            overwrite=overwrite,
        ):
            if estimate.error is not None:
                failed = True
                print(f"tvdenoise: {estimate.source}: {estimate.error}", file=sys.stderr)
                continue
            found.append(estimate)
            if as_json:
                print(json.dumps(_entry(estimate)), flush=True)
        if found and not as_json:
            _print_table(found)
        _warn(found)
        if plot is not None and found:
            from tvdenoise.pictures.figures import save_noise_curves

            save_noise_curves([(estimate.name, estimate.model) for estimate in found], plot)
    raise typer.Exit(1 if failed else 0)


def _entry(estimate: Estimate) -> dict[str, Any]:
    """One image as JSON; intensities and levels are fractions of the data range."""
    model = estimate.model
    return {
        "source": estimate.source,
        **({} if estimate.band is None else {"band": estimate.band}),
        "kind": model.kind.value,
        "sigma": model.sigma,
        "white_sigma": model.white_sigma,
        "agree": model.estimators_agree,
        "growth": model.growth,
        "impulses": estimate.impulses,
        "channels": [
            {
                "sigma": channel.sigma,
                "correlation": channel.correlation,
                "intensities": channel.intensities.tolist(),
                "variances": channel.variances.tolist(),
                "spectrum": channel.spectrum.tolist(),
            }
            for channel in model.channels
        ],
    }


def _print_table(found: list[Estimate]) -> None:
    from tvdenoise.commands.output import new_table, print_table

    table = new_table("image", "noise", "level", "channels", "growth", "correlation ↕ ↔", "impulses")
    for estimate in found:
        model = estimate.model
        down, across = model.channels[0].correlation
        levels = " ".join(f"{channel.sigma * 255:.2f}" for channel in model.channels)
        table.add_row(
            estimate.name,
            model.kind.value,
            f"{model.sigma * 255:.2f}",
            levels,
            f"×{model.growth:.2g}",
            f"{down:.2f} {across:.2f}",
            f"{estimate.impulses:,}",
        )
    print_table(table)


def _warn(found: list[Estimate]) -> None:
    for estimate in found:
        model = estimate.model
        if not model.estimators_agree:
            print(
                f"tvdenoise: {estimate.name}: warning: the estimators disagree: assuming white noise, the level "
                f"is {model.white_sigma * 255:.2f}, not {model.sigma * 255:.2f}; try both and look at the results",
                file=sys.stderr,
            )
