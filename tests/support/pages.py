"""The pages of documentation, and parsers of their Markdown: links, headings, examples, command lines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
MANUAL = ROOT / "tvdenoise" / "manual"
PAGES = (README, *sorted(MANUAL.glob("*.md")))

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^ {4}\S.*\n)+", re.MULTILINE)
_INLINE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    """Return a page without its blocks of code."""
    return _INDENTED.sub("", _FENCED.sub("", text_of(page)))


def links_of(page: Path) -> list[str]:
    """Return the targets of all links and images."""
    return _LINK.findall(_INLINE.sub("", prose_of(page)))


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that forges make from headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in _HEADING.findall(_FENCED.sub("", text_of(page)))
    }


def blocks_of(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return [code for name, code in _FENCED.findall(text_of(page)) if name == language]


def inline_of(page: Path) -> list[str]:
    """Return the inline code in sentences and tables, each on one line."""
    return [" ".join(code.replace("\\|", "|").split()) for code in _INLINE.findall(prose_of(page))]


def command_lines_of(page: Path, program: str) -> list[tuple[str, ...]]:
    """Return the arguments of every command line of a program, in blocks or inline."""
    blocks = [*blocks_of(page, "sh"), *_INDENTED.findall(_FENCED.sub("", text_of(page)))]
    lines = [line.strip() for block in blocks for line in block.splitlines()] + inline_of(page)
    typed = re.compile(rf"(?:\.venv/bin/)?{program} (?![\dA-Z])(?!.*\[)")  # neither records nor usage lines
    return list(dict.fromkeys(tuple(_words(line)) for line in lines if typed.match(line)))


def _words(line: str) -> Iterator[str]:
    """Yield the words after the program's name, without comments and redirections."""
    _, *words = shlex.split(line, comments=True)
    remaining = iter(words)
    for word in remaining:
        if word in ("<", ">"):
            next(remaining)
        else:
            yield word
