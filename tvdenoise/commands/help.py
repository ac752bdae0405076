"""``tvdenoise help``: show the manual in the terminal.

The pages are the Markdown files of ``tvdenoise/manual``; ``index.md`` alone names and describes them, one line each.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvdenoise.commands.exits import exit_codes
from tvdenoise.commands.output import new_table, print_lines, print_table
from tvdenoise.errors import UsageError
from tvdenoise.files.paths import printable

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_LISTED = re.compile(r"^- \[(?P<topic>[\w-]+)\]\((?P=topic)\.md\): (?P<about>.+)$", re.MULTILINE)
_CODE_OR_LINK = re.compile(
    r"(?P<code>```.*?```|`[^`\n]*`)|(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)", re.DOTALL
)
_LESS = "FRX"  # quit if it fits on the screen, show colours, leave the text there at the end
_WIDEST = 100  # columns of text; longer lines are hard to read


def manual() -> Traversable:
    """The folder of the pages."""
    from importlib.resources import files

    return files("tvdenoise").joinpath("manual")


def topics() -> dict[str, str]:
    """All topics in reading order, with their one-line descriptions."""
    index = manual().joinpath("index.md").read_text(encoding="utf-8")
    return {found["topic"]: found["about"] for found in _LISTED.finditer(index)}


def _completed(incomplete: str) -> list[tuple[str, str]]:
    """The topics with this beginning, for completion in a shell."""
    return [(topic, about) for topic, about in topics().items() if topic.startswith(incomplete)]


def show_help(
    context: typer.Context,
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="TOPIC",
            help="A page of the manual, or a command. Without it, list the pages.",
            autocompletion=_completed,
        ),
    ] = None,
) -> None:
    """Show a page of the manual, or list its pages.

    On a terminal the page is formatted and shown in a pager: $PAGER, or less. Otherwise its Markdown is printed
    unchanged.

    [bold]Examples[/bold]

    tvdenoise help
    tvdenoise help method
    tvdenoise help run
    tvdenoise help files > files.md
    """
    if topic is None:
        _list_topics()
        return
    _show_command(context, topic)
    with exit_codes(debug=False):
        page = _page(topic)
    if sys.stdout.isatty():
        _show_in_pager(_laid_out(page))
    else:
        print_lines(page.splitlines())


def _list_topics() -> None:
    if not sys.stdout.isatty():
        print_lines(f"{topic}\t{about}" for topic, about in topics().items())
        return
    table = new_table("topic", "description")
    for topic, about in topics().items():
        table.add_row(topic, about)
    print_table(table)


def _show_command(context: typer.Context, name: str) -> None:
    """Show the help of a command and exit; do nothing if there is no such command."""
    top = context.parent
    assert top is not None
    group: Any = top.command
    if (command := group.get_command(top, name)) is not None:
        command.make_context(name, ["--help"], parent=top)


def _page(topic: str) -> str:
    """The Markdown of a topic. Raises UsageError if there is no such topic."""
    known = topics()
    if topic in known:
        return manual().joinpath(f"{topic}.md").read_text(encoding="utf-8")
    word = topic.lower()
    near = [name for name in known if word in name] if word else []
    near = near or get_close_matches(word, known)
    guess = f"did you mean {' or '.join(near)}? " if near else ""
    raise UsageError(f"the manual has no page {printable(topic)!r}", f"{guess}tvdenoise help lists the pages")


def _laid_out(page: str) -> str:
    """A page formatted for this terminal, at most 100 columns wide."""
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.theme import Theme

    console = Console(theme=Theme({"markdown.code": "bold cyan", "markdown.code_block": "none"}))
    text = Markdown(_without_links(page), code_theme="ansi_dark", hyperlinks=False)
    with console.capture() as captured:
        console.print(text, width=min(console.width, _WIDEST))
    return captured.get()


def _without_links(page: str) -> str:
    """The Markdown with descriptions in place of images, and help topics in place of links to other pages."""
    known = topics()

    def reworded(found: re.Match[str]) -> str:
        if found["code"]:
            return found[0]
        if found["image"]:
            return f"(image: {found['text']})"
        if found["target"].startswith(("http:", "https:")):
            return found[0]
        topic, is_page, _ = found["target"].partition(".md")
        if not is_page or topic not in known:
            return found["text"]
        return f"`{topic}`" if found["text"] == topic else f"{found['text']} (`help {topic}`)"

    return _CODE_OR_LINK.sub(reworded, page)


def _show_in_pager(text: str) -> None:
    """Show a text in the user's pager if the terminal is interactive, otherwise print it."""
    import subprocess

    pager = os.environ.get("PAGER") or ("less" if shutil.which("less") else "")
    if not pager or not sys.stdin.isatty() or os.environ.get("TERM") == "dumb":
        print_lines(text.splitlines())
        return
    shown = subprocess.Popen(
        pager, shell=True, stdin=subprocess.PIPE, env={"LESS": _LESS} | os.environ, encoding="utf-8"
    )
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the pager
    try:
        shown.communicate(text)
    finally:
        signal.signal(signal.SIGINT, previous)
