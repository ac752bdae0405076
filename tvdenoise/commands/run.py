"""``tvdenoise run``: denoise files and folders."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import typer

from tvdenoise.commands import typer_options
from tvdenoise.commands.exits import exit_codes
from tvdenoise.commands.output import new_table, print_lines, print_table
from tvdenoise.commands.typer_options import count_or_auto, takes_options
from tvdenoise.files.paths import printable

if TYPE_CHECKING:
    from rich.table import Table

    from tvdenoise.batch.dry_run import Prospect
    from tvdenoise.batch.masks import MaskForm
    from tvdenoise.batch.outcome import SharedParameters
    from tvdenoise.batch.plan import Plan
    from tvdenoise.batch.request import Request
    from tvdenoise.commands.console import Console
    from tvdenoise.errors import ExitCode
    from tvdenoise.formats.family import Format
    from tvdenoise.options import FileOptions


_LONGEST_TABLE = 500  # rows; a longer one is slow to lay out, and nobody reads all of it


def print_plan(prospects: list[Prospect]) -> None:
    """Print a table on a terminal; otherwise, or if it would be very long, one tab-separated line per file."""
    if sys.stdout.isatty() and len(prospects) <= _LONGEST_TABLE:
        print_table(_table(prospects))
    else:
        print_lines(_lines(prospects))


def line_of_plan(prospects: list[Prospect]) -> str:
    """The number of files by action."""
    counts = Counter(prospect.action.value for prospect in prospects)
    files = f"{len(prospects)} file{'' if len(prospects) == 1 else 's'}"
    return (
        f"{files}: {counts['denoise']} to denoise, {counts['skip']} to skip, {counts['fail']} would fail; "
        "nothing was written"
    )


def _table(prospects: list[Prospect]) -> Table:
    table = new_table("source", "target", "pixels", "channels", "action")
    for prospect in prospects:
        columns, rows, channels = prospect.size or ("", "", "")
        what = f"{prospect.action.value}: {prospect.reason}" if prospect.reason else prospect.action.value
        pixels = f"{columns} × {rows}" if prospect.size else ""
        names = printable(prospect.source), printable(prospect.target or "")
        table.add_row(*names, pixels, str(channels), what)
    return table


def _lines(prospects: list[Prospect]) -> Iterator[str]:
    for prospect in prospects:
        size = map(str, prospect.size or ("", "", ""))
        parts = (prospect.source, prospect.target or "", *size, prospect.action.value, prospect.reason or "")
        yield "\t".join(map(printable, parts))


# Everything numerical is imported inside the functions, so that --help starts at once.


@takes_options()
def run(
    inputs: typer_options.Inputs,
    asked: typer_options.Asked,
    shared_parameters: typer_options.SharedParameters = False,
    output: typer_options.Output = None,
    recursive: typer_options.Recursive = False,
    include: typer_options.Include = None,
    exclude: typer_options.Exclude = None,
    overwrite: typer_options.Overwrite = False,
    skip_existing: typer_options.SkipExisting = False,
    in_place: typer_options.InPlace = False,
    again: typer_options.Again = False,
    suffix: typer_options.Suffix = None,
    form: typer_options.FormatName = None,
    report: typer_options.Report = None,
    residual: typer_options.Residual = None,
    trace: typer_options.Trace = None,
    dry_run: typer_options.DryRun = False,
    jobs: typer_options.Jobs = None,
    cluster: typer_options.Cluster = None,
    fail_fast: typer_options.FailFast = False,
    quiet: typer_options.Quiet = False,
    verbose: typer_options.Verbose = False,
    debug: typer_options.Debug = False,
) -> None:
    """Denoise images, with a bound on the distance of each result from the exact minimiser.

    The result minimises [bold]total variation + mu/2 ‖result − input‖²[/bold]. Intensities are fractions of the
    data range, and can be typed as fractions: 2.5/255.

    [bold]Examples[/bold]

    tvdenoise run photo.png
    tvdenoise run photo.png --strength 1.5
    tvdenoise run photo.png --mu 20 -o smooth.png
    tvdenoise run photo.png --sigma 15/255
    tvdenoise run photo.png --prior learned
    tvdenoise run holiday/ --recursive -o denoised/ --report report.jsonl
    tvdenoise run holiday/ --in-place
    tvdenoise run huge.tif --memory 1GB
    tvdenoise run photo.png --residual removed/ --trace descent.png
    tvdenoise run scans/ -r --include '*.tif' --exclude raw -o denoised/ --dry-run
    tvdenoise run stack.tif --volume --spacing 4,1,1
    tvdenoise run slices/ --volume -o denoised/
    tvdenoise run - < noisy.png > denoised.png

    [bold]Exit codes[/bold]

      0  all files done
      1  some files failed; the others are done
      2  nothing done; the request cannot be carried out
      3  no image found
    130  interrupted (143: terminated); finished files are kept
    """
    with exit_codes(debug=debug):
        from tvdenoise.batch.request import Patterns, Request

        settings = asked.options()
        request = Request(
            tuple(inputs),
            output,
            suffix,
            form,
            report,
            recursive,
            overwrite,
            skip_existing,
            in_place,
            again,
            patterns=Patterns(tuple(include or ()), tuple(exclude or ())),
            dry_run=dry_run,
            residual=residual,
            trace=trace,
        )
        code = _carry_out(
            request,
            settings,
            jobs=count_or_auto("--jobs", jobs),
            shared_parameters=shared_parameters,
            cluster=cluster,
            fail_fast=fail_fast,
            quiet=quiet,
            verbose=verbose,
            debug=debug,
        )
    raise typer.Exit(code)


def _carry_out(
    request: Request,
    settings: FileOptions,
    *,
    jobs: int | None,
    shared_parameters: bool,
    cluster: str | None,
    fail_fast: bool,
    quiet: bool,
    verbose: bool,
    debug: bool,
) -> ExitCode:
    """Plan and run, and print and report the outcome of each file as soon as it is known."""
    from tvdenoise.batch.masks import mask_file_of, require_apart
    from tvdenoise.batch.outputs import require_possible
    from tvdenoise.batch.plan import make_plan, plan_with_streams, streams_of
    from tvdenoise.batch.report import open_report, shared_before
    from tvdenoise.batch.run import cluster_for, outcomes, require_clusters_possible, workforce_for
    from tvdenoise.batch.share import Eta
    from tvdenoise.batch.shared_parameters import refuse_useless, share_parameters
    from tvdenoise.commands.console import Console
    from tvdenoise.errors import UsageError

    streams = streams_of(request)
    if settings.preserve_times and not streams.are_unused:
        raise UsageError("--preserve-times works on files, not on standard streams", "leave it out")
    if shared_parameters:
        refuse_useless(request, settings)
    mask_file = mask_file_of(settings)
    masks = None if mask_file is None else mask_file.check()  # before anything is written
    strips = settings.strip_metadata
    known = shared_before(request) if shared_parameters else ()
    if cluster is not None:
        require_clusters_possible(request, settings)
    if streams.are_unused:
        plan = make_plan(
            request,
            strips_metadata=strips,
            has_replacement_log=cluster is None,
            volume=settings.volume,
        )
    else:
        require_possible(request)
        plan = plan_with_streams(request)
    if settings.mask is not None:
        require_apart(settings.mask, plan)
    console = Console(quiet=quiet, verbose=verbose, debug=debug, count=plan.count, eta=Eta(plan))
    if request.dry_run:
        return _show(plan, request, settings, masks, console, streams.form)
    chosen: tuple[SharedParameters, ...] = ()
    if shared_parameters:
        settings, chosen = share_parameters(plan, settings, known, console.tell_compilation)
        console.tell_shared(settings)
    with (
        cluster_for(cluster, plan, settings, jobs) as far,
        open_report(request, plan) as report,
        console,
    ):
        report.keep(chosen)
        workforce = far or workforce_for(
            plan, settings, streams, report, console.tell_compilation, jobs, console.tell_plane
        )
        with closing(outcomes(plan, workforce, fail_fast=fail_fast)) as found:
            for outcome in found:
                report.add(outcome)
                console.tell(outcome)
    return console.tally.exit_code


def _show(
    plan: Plan,
    request: Request,
    settings: FileOptions,
    masks: MaskForm | None,
    console: Console,
    form: Format | None,
) -> ExitCode:
    """Print the plan of a dry run."""
    from tvdenoise.batch.dry_run import Action, Forecast
    from tvdenoise.batch.report import check_report, replaced_before
    from tvdenoise.errors import ExitCode
    from tvdenoise.files.memory import MemoryBudget
    from tvdenoise.parameters import gate_values_of

    check_report(request, plan)
    forecast = Forecast(
        settings.max_megapixels,
        replaced_before(request),
        request.reads_standard_input,
        first_frame=settings.first_frame,
        volume=settings.volume,
        budget=MemoryBudget(settings.memory),
        mask=settings.mask,
        mask_form=masks,
        has_weights=settings.has_weights,
        impulses=settings.impulses,
        form=form,
        chroma_only=settings.chroma_only,
        gate_values=gate_values_of(settings),
    )
    prospects = list(forecast.prospects(plan))
    print_plan(prospects)
    console.tell_message(line_of_plan(prospects))
    would_fail = any(prospect.action is Action.FAIL for prospect in prospects)
    return ExitCode.FILE_FAILED if would_fail else ExitCode.DONE
