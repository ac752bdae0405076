"""``tvdenoise learn``: learn a prior from clean images."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvdenoise.commands import typer_options
from tvdenoise.commands.exits import exit_codes
from tvdenoise.commands.typer_options import positive, whole
from tvdenoise.errors import UsageError
from tvdenoise.files.paths import printable

if TYPE_CHECKING:
    from tvdenoise.batch.learning import Learning, LearningReport
    from tvdenoise.errors import TvdenoiseError


_PANEL = "Learning"
_LARGEST_SIDE, _LARGEST_RHO = 15, 0.99
#: What holds without ``--start``, which brings its own.
_FILTERS, _COARSE, _GROUP, _SIDE, _HIDDEN = "36", "12", "2", "7", "0"
#: The options that apply to ``--show``.
_OF_DRAWING = ("output", "show", "colour", "overwrite", "quiet", "debug")
#: Seconds between reports where standard error is no terminal.
_BETWEEN = 60.0


def _number(text: str) -> Any:
    return typer.Option(metavar="NUMBER", help=text, rich_help_panel=_PANEL)


def learn(
    context: typer.Context,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="File of the prior, or of the drawing.")
    ],
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="CLEAN", help="Clean images, or folders of them.")
    ] = None,
    show: Annotated[
        str | None,
        typer.Option(
            metavar="PRIOR",
            help="Instead of learning, draw the filters and potentials of this prior (learned, gated or a file) as a "
            ".png, .svg or .pdf file. With --colour, those for colour images.",
        ),
    ] = None,
    steps: Annotated[str, _number("Length of the schedule, in steps.")] = "4000",
    minutes: Annotated[str | None, _number("Stop after this many minutes, even with steps left.")] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="PRIOR",
            help="Start from the filters of this prior: learned, gated, or a file. A few hundred steps then suffice.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    filters: Annotated[str | None, _number(f"Number of filters, {_FILTERS} by default.")] = None,
    coarse: Annotated[
        str | None,
        _number(
            "How many of the filters take every second pixel of a smoothed image, and see twice as far; "
            f"{_COARSE} by default."
        ),
    ] = None,
    group: Annotated[
        str | None,
        _number(
            f"How many filters share a potential, which takes the norm of their responses; {_GROUP} by default."
        ),
    ] = None,
    size: Annotated[str | None, _number(f"Side of a filter, an odd number, {_SIDE} by default.")] = None,
    hidden: Annotated[
        str | None,
        _number(
            "Hidden values of the gate, which weakens the potentials where the noisy image shows texture; "
            f"{_HIDDEN}, no gate, by default, and 24 in the prior gated."
        ),
    ] = None,
    rho: Annotated[
        str,
        _number(
            "How far from convex the potentials may be; 0 for convex ones. The bound grows with 1/(1 - RHO), "
            "so a smaller one saves evaluations."
        ),
    ] = "0.95",
    least_epsilon: Annotated[
        str,
        _number(
            "Least ε₁, the width of the round bottom of the potentials, as a part of the level. Solves with a smaller "
            "one need more evaluations."
        ),
    ] = "0.06",
    colour: Annotated[
        bool,
        typer.Option(
            "--colour", help="Learn filters over the channels of colour images.", rich_help_panel=_PANEL
        ),
    ] = False,
    noise: Annotated[
        str,
        typer.Option(
            metavar="white|mixed",
            help="Noise to learn from: white, or mixed with noise that grows with the intensity or is correlated.",
            rich_help_panel=_PANEL,
        ),
    ] = "white",
    seed: Annotated[str, _number("Seed of patches and noise.")] = "0",
    recursive: typer_options.Recursive = False,
    include: typer_options.Include = None,
    exclude: typer_options.Exclude = None,
    overwrite: typer_options.Overwrite = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    debug: typer_options.Debug = False,
) -> None:
    """Learn a prior from clean images: filters and potentials that take the place of the image gradient.

    Noise of many levels is added to parts of the images, and the filters are changed so that denoising brings back the
    clean parts. The result depends only on the images, the options and the seed. Prior and state are saved every minute
    and on interruption; the same command continues bit for bit. Learning uses all processors, and with the default
    options takes about ten minutes on two. The PSNR is that of images that are kept aside, one in eight and at least
    one of several, with noise of 25/255.

    [bold]Examples[/bold]

    tvdenoise learn photographs/ -o photographs.prior
    tvdenoise learn clean/*.tif -o cells.prior --start learned --steps 500
    tvdenoise learn --show cells.prior -o filters.png
    """
    with exit_codes(debug=debug, continuation="what was learned is kept; the same command continues"):
        from tvdenoise.batch.learning import Learning, LearningRequest, clean_images
        from tvdenoise.batch.request import Patterns
        from tvdenoise.model.colour import RGB_CHANNELS
        from tvdenoise.model.prior_file import prior_named

        if show is not None:
            if inputs:
                raise UsageError("--show takes no images", "leave out the images, or --show")
            _refuse_options_of_learning(context)
            _draw(show, output, colour=colour, overwrite=overwrite)
            return
        if not inputs:
            raise UsageError("no clean images are given", "name images or folders")
        given: dict[str, Any] = {
            "inputs": tuple(inputs), "output": output, "steps": whole("--steps", steps) or 1, "rho": _rho(rho),
            "least_epsilon": _least_epsilon(least_epsilon),
            "minutes": positive("--minutes", minutes), "seed": _from_zero("--seed", seed), "colour": colour,
            "mixed_noise": _is_mixed(noise),
            "overwrite": overwrite, "recursive": recursive,
            "patterns": Patterns(tuple(include or ()), tuple(exclude or ())),
        }  # fmt: skip
        if start is None:
            numbers: dict[str, Any] = {
                "filters": whole("--filters", filters or _FILTERS) or 1,
                "coarse": _from_zero("--coarse", coarse or _COARSE),
                "group": whole("--group", group or _GROUP) or 1,
                "side": _side(size or _SIDE),
                "hidden": _from_zero("--hidden", hidden or _HIDDEN),
            }
            request = LearningRequest(**given, **numbers)
        elif filters or coarse or group or size:
            raise UsageError(
                "--start keeps the number and the size of the filters",
                "leave out --filters, --coarse, --group and --size",
            )
        else:
            begun = prior_named(start).suiting(RGB_CHANNELS if colour else 1)
            if begun.bank.gate is not None and hidden:
                raise UsageError("--start keeps the gate of the prior", "leave out --hidden")
            request = LearningRequest.continuing(
                begun, hidden=_from_zero("--hidden", hidden or _HIDDEN), **given
            )
        request.first_state()
        failed = []

        def fail(source: Path, error: TvdenoiseError) -> None:
            failed.append(source)
            print(f"tvdenoise: {printable(source)}: {error}", file=sys.stderr)

        with Learning(request, clean_images(request, fail)) as learning:
            _follow(learning, quiet=quiet)
            if not quiet:
                _summarise(learning, output)
    raise typer.Exit(1 if failed else 0)


def _is_mixed(noise: str) -> bool:
    if noise not in ("white", "mixed"):
        raise UsageError(f"--noise must be white or mixed, not {noise!r}")
    return noise == "mixed"


def _rho(text: str) -> float:
    try:
        rho = float(text)
    except ValueError:
        rho = -1.0
    if not 0 <= rho <= _LARGEST_RHO:
        raise UsageError(f"--rho must be a number from 0 to {_LARGEST_RHO}, not {text!r}")
    return rho


def _least_epsilon(text: str) -> float:
    value = positive("--least-epsilon", text)
    if value is None or value > 1:
        raise UsageError(f"--least-epsilon must be a number above 0 and at most 1, not {text!r}")
    return value


def _side(text: str) -> int:
    side = whole("--size", text, _LARGEST_SIDE) or 1
    if side % 2 == 0 or side == 1:
        raise UsageError(f"--size must be an odd number from 3, not {text}", f"the default is {_SIDE}")
    return side


def _from_zero(option: str, text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"{option} must be a whole number, not {text!r}")
    return int(text)


def _refuse_options_of_learning(context: typer.Context) -> None:
    """Raise UsageError if options are given that ``--show`` does not have."""
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if option.name not in _OF_DRAWING and source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"--show does not learn, so {option.opts[0]} does not apply", "leave it out")


def _draw(prior: str, output: str, *, colour: bool, overwrite: bool) -> None:
    """Draw a prior. Raises PriorError, UsageError, UnwritableImageError and OSError."""
    from tvdenoise.batch.measures import refuse_existing
    from tvdenoise.model.colour import RGB_CHANNELS
    from tvdenoise.model.prior_file import prior_named
    from tvdenoise.pictures.figures import require_plot_name
    from tvdenoise.pictures.prior_figure import save_prior

    require_plot_name(output)
    refuse_existing(output, overwrite=overwrite)
    save_prior(prior_named(prior).suiting(RGB_CHANNELS if colour else 1), output)


def _follow(learning: Learning, *, quiet: bool) -> None:
    """Learn, with a line that says how far it is."""
    is_terminal = sys.stderr.isatty()
    if learning.step and not quiet:
        print(f"tvdenoise: continuing after step {learning.step}", file=sys.stderr)
    told, psnr = -_BETWEEN, None
    for report in learning.run():
        psnr = report.psnr or psnr
        now = time.monotonic()
        if quiet or now < told + (1.0 if is_terminal else _BETWEEN):
            continue
        told = now
        print(_line(report, psnr), end="\r" if is_terminal else "\n", file=sys.stderr, flush=True)
    if is_terminal and not quiet:
        print("\x1b[2K", end="\r", file=sys.stderr)


def _line(report: LearningReport, psnr: float | None) -> str:
    from tvdenoise.commands.output import duration

    judged = "" if psnr is None else f", PSNR {psnr:.2f} dB"
    return f"step {report.step} of {report.steps}{judged}, {duration(report.seconds_left)} left"


def _summarise(learning: Learning, output: str) -> None:
    prior = learning.prior
    state = "" if learning.is_finished else "; the same command continues"
    print(
        f"{printable(output)}: {prior.bank.count} filters, rho {prior.rho:.2f}, {prior.steps} steps, "
        f"PSNR {learning.psnr():.2f} dB{state}",
        file=sys.stderr,
    )
