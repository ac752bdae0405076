"""Makes the parts of the manual and of the README that follow from the code: the commands, and the formats.

python tests/make_manual.py
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import typer

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.pages import MANUAL, README
from tvdenoise.commands.app import app
from tvdenoise.files.decoded import PIXEL_KINDS
from tvdenoise.formats.family import METADATA_NAMES, Format
from tvdenoise.formats.registry import FAMILIES, FORMATS

HEAD = """# Commands

<!-- Made by python tests/make_manual.py; do not edit. -->

The pages of the manual explain these commands by what you want to do; this page lists them all. `tvdenoise COMMAND
--help` shows the same in the terminal.
"""
#: What a kind of pixels is: its depth, its colours, and whether there is alpha.
_KIND = re.compile(r"((?:signed )?\d+-bit|(?:half-precision |double-precision )?float) (\w+)( with alpha)?")
_COLOURS = ("grey", "colour", "CMYK", "bands")


# The commands


@cache
def commands_page() -> str:
    """The page ``commands``: usage, description, arguments and options of every command."""
    group: Any = typer.main.get_command(app)
    top = group.context_class(group, info_name="tvdenoise")
    sections = [HEAD, *(_section(group.get_command(top, name), top) for name in group.list_commands(top))]
    return "\n".join(sections)


def _section(command: Any, top: Any) -> str:
    context = command.context_class(command, info_name=command.name, parent=top)
    usage = " ".join(["tvdenoise", command.name, *command.collect_usage_pieces(context)])
    panels: dict[str, list[str]] = {}
    for parameter in command.get_params(context):
        is_argument = parameter.param_type_name == "argument"
        panel = "Arguments" if is_argument else getattr(parameter, "rich_help_panel", None) or "Options"
        panels.setdefault(panel, []).append(_item(*parameter.get_help_record(context)))
    lists = "".join(f"\n**{panel}**\n\n{''.join(items)}" for panel, items in panels.items())
    return f"## {command.name}\n\n    {usage}\n\n{_described(command.help)}\n{lists}"


def _item(name: str, about: str) -> str:
    """One argument or option; choices without the brackets that depend on Typer's version."""
    name = re.sub(r" [<\[]([^<>\[\]]+)[>\]]$", r" \1", name)
    about = re.sub(r" +\\?\[((?:default: |required)[^]]*)\]$", r" (\1)", about)
    return f"- `{name}`: {_escaped(about)}\n"


def _escaped(text: str) -> str:
    """Stars and leading underscores as themselves, where Markdown might take them for emphasis."""
    return re.sub(r"\*|(?<!\w)_", r"\\\g<0>", text)


def _described(text: str) -> str:
    """Rich markup as Markdown: examples as code, other lists as they are."""
    sentences, *blocks = re.split(r"\n\n\[bold\](\w[\w ]*)\[/bold\]\n\n", text)
    parts = [_escaped(sentences)]
    for heading, block in zip(blocks[::2], blocks[1::2], strict=True):
        parts.append(f"**{heading}**")
        parts.append(f"```sh\n{block}\n```" if heading == "Examples" else f"```\n{block}\n```")
    return "\n\n".join(parts).replace("[bold]", "**").replace("[/bold]", "**").rstrip()


# The formats


def formats_table() -> str:
    """Of the page ``files``: every format that is written, with the pixels and the metadata that it holds."""
    heads = ("format", "8 bits", "16 bits", "32 bits", "float", "alpha", "kept", "several")
    return _table(heads, (_row(form) for form in FORMATS if form.kinds))


def _row(form: Format) -> Iterator[str]:
    yield f"{form.name} ({' '.join(form.extensions)})"
    exact = _colours(form.kinds, "8-bit")
    rough = [name for name in _colours(form.approximates, "8-bit") if name not in exact]
    yield _joined(exact) + (f"; {', '.join(rough)} if the input is {form.name}" if rough else "")
    yield _joined(_colours(form.kinds, "16-bit"))
    yield _joined(_colours(form.kinds, "32-bit"))
    others = {"float16": "half-precision float", "float64": "double-precision float"}
    also = " and ".join(name for name, depth in others.items() if _colours(form.kinds, depth))
    yield _joined(_colours(form.kinds, "float")) + (f", also as {also}" if also else "")
    yield _alpha(form)
    yield _joined(name for field, name in METADATA_NAMES.items() if field in form.carries)
    yield form.several or "–"


def _alpha(form: Format) -> str:
    """Whether every kind of pixels may have alpha; no format has it for some of them only."""
    if form.approximates:
        return f"if the input is {form.name}"
    kinds = {_parts(kind) for kind in form.kinds}
    with_alpha = {(depth, colours) for depth, colours, alpha in kinds if alpha}
    assert with_alpha in (set(), {(depth, colours) for depth, colours, _ in kinds}), form.name
    return "yes" if with_alpha else "–"


def formats_summary() -> str:
    """Of the README: the formats that share a codec in one row."""
    heads = ("format", "pixels", "depth", "alpha", "several images")
    return _table(heads, (_summary(family.formats) for family in FAMILIES.values()))


def _summary(formats: tuple[Format, ...]) -> Iterator[str]:
    written = [form for form in formats if form.kinds]
    kinds = frozenset().union(*(form.kinds | form.approximates for form in written))
    names = ", ".join(form.name for form in written if not form.name.startswith(f"{written[0].name} "))
    yield f"{names} ({' '.join(extension for form in written for extension in form.extensions)})"
    yield ", ".join(name for name in _COLOURS if any(name in PIXEL_KINDS[kind] for kind in kinds))
    depths = [f"{bits} bits" for bits in ("8", "16", "32") if _colours(kinds, f"{bits}-bit")]
    depths = [", ".join(depths).replace(" bits, ", ", ")]
    depths += ["float"] if _colours(kinds, "float") else []
    yield ", ".join(depths) + (", 256 colours" if any(form.approximates for form in written) else "")
    yield "yes" if any(alpha for _, _, alpha in map(_parts, kinds)) else "–"
    yield next((form.several for form in written if form.several), "–")


def _parts(kind: str) -> tuple[str, str, bool]:
    found = _KIND.fullmatch(PIXEL_KINDS[kind])
    assert found, kind
    return found[1], found[2], bool(found[3])


def _colours(kinds: Iterable[str], depth: str) -> list[str]:
    """The colours that pixels of a depth may have."""
    held = {colours for form_depth, colours, _ in map(_parts, kinds) if form_depth == depth}
    return [name for name in _COLOURS if name in held]


def _joined(names: Iterable[str]) -> str:
    return ", ".join(names) or "–"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    lines = [f"| {' | '.join(cells)} |\n" for cells in (heads, *rows)]
    return lines[0] + "|---" * len(heads) + "|\n" + "".join(lines[1:])


# The files that hold them

TABLES = {MANUAL / "files.md": formats_table, README: formats_summary}
_PLACE = re.compile(r"(?<=<!-- formats, made by python tests/make_manual.py -->\n)(?:\|.*\n)*")


def with_table(page: str, table: str) -> str:
    """A page with a new table behind the comment that marks its place."""
    made, count = _PLACE.subn(lambda _: table, page)
    assert count == 1
    return made


def main() -> None:
    """Write them anew."""
    (MANUAL / "commands.md").write_text(commands_page(), encoding="utf-8")
    for path, make in TABLES.items():
        path.write_text(with_table(path.read_text(encoding="utf-8"), make()), encoding="utf-8")


if __name__ == "__main__":
    main()
