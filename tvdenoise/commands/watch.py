"""``tvdenoise watch``: denoise new images in a folder."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tvdenoise.batch.outcome import FileStatus, Outcome
from tvdenoise.commands import typer_options
from tvdenoise.commands.exits import exit_codes
from tvdenoise.commands.output import line_of_tally
from tvdenoise.commands.typer_options import count_or_auto, positive, takes_options
from tvdenoise.files.paths import printable

if TYPE_CHECKING:
    from tvdenoise.batch.request import Request
    from tvdenoise.batch.watch import Watch
    from tvdenoise.commands.console import Console
    from tvdenoise.options import FileOptions


_SETTLING = 2.0  # seconds


@takes_options(without=("mask", "mask_above", "nan"))
def watch(
    folder: typer_options.WatchedFolder,
    asked: typer_options.Asked,
    output: typer_options.OutputFolder,
    recursive: typer_options.Recursive = False,
    settle: typer_options.Settle = None,
    poll: typer_options.Poll = None,
    suffix: typer_options.Suffix = None,
    report: typer_options.Report = None,
    jobs: typer_options.Jobs = None,
    quiet: typer_options.Quiet = False,
    verbose: typer_options.Verbose = False,
    debug: typer_options.Debug = False,
) -> None:
    """Watch a folder and denoise each image that appears, once it has stopped changing, until interrupted.

    Images that are already there come first, unless their results are newer. If a file changes, it is denoised
    again and its result is replaced. Nothing is written to the input folder.

    [bold]Examples[/bold]

    tvdenoise watch scans/ -o denoised/
    tvdenoise watch scans/ --recursive -o denoised/ --report watch.jsonl
    tvdenoise watch /mnt/microscope -o denoised/ --poll 10 --settle 30

    [bold]Exit codes[/bold]

      1  the folder disappeared
      2  nothing done; the request cannot be carried out
    130  interrupted (143: terminated); finished files are kept
    """
    with exit_codes(debug=debug, continuation="finished files are kept, the same command continues"):
        from tvdenoise.batch.outputs import Folder
        from tvdenoise.batch.request import Request
        from tvdenoise.batch.watch import Watch
        from tvdenoise.commands.console import Console

        settings = asked.options()
        request = Request((folder,), output, suffix, report=report, skip_existing=True)
        watched = Watch(
            Path(folder),
            Folder(Path(output), suffix or ""),
            recursive,
            positive("--settle", settle) or _SETTLING,
            positive("--poll", poll),
        )
        console = Console(quiet=quiet, verbose=verbose, debug=debug, count=1)
        _serve(watched, request, settings, console, count_or_auto("--jobs", jobs))


def _serve(
    watched: Watch, request: Request, settings: FileOptions, console: Console, jobs: int | None
) -> NoReturn:
    """Denoise files as they arrive, until a signal or an error ends it."""
    from tvdenoise.batch.plan import Streams
    from tvdenoise.batch.report import open_report
    from tvdenoise.batch.run import outcomes, workforce_for

    with open_report(request, watched.present()) as report, console, closing(watched.plans()) as plans:
        console.tell_message(f"watching {printable(watched.folder)}; press Ctrl-C to stop")
        try:
            while True:
                if (plan := next(plans)).count == 0:
                    continue
                workforce = workforce_for(plan, settings, Streams(), report, console.tell_compilation, jobs)
                with closing(outcomes(plan, workforce)) as found:
                    for outcome in found:
                        if not _was_taken_away(outcome):
                            report.add(outcome)
                            console.tell(outcome)
        finally:
            console.tell_message(line_of_tally(console.tally, console.tally.count))


def _was_taken_away(outcome: Outcome) -> bool:
    """True if a file disappeared before it was read, which is not a failure."""
    return outcome.status is FileStatus.FAILED and not os.path.lexists(outcome.source)
