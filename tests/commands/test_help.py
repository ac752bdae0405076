"""``tvdenoise help``: the manual in the terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from support.pages import MANUAL, text_of
from support.processes import environment

TOPICS = sorted(path.stem for path in MANUAL.glob("*.md") if path.stem != "index")


def test_without_a_topic_the_pages_are_listed_one_a_line(command) -> None:
    result = command("help")
    assert (result.exit_code, result.stderr) == (0, "")
    listed = dict(line.split("\t") for line in result.stdout.splitlines())
    assert sorted(listed) == TOPICS
    index = text_of(MANUAL / "index.md")
    for topic, about in listed.items():
        assert f"- [{topic}]({topic}.md): {about}\n" in index


@pytest.mark.parametrize("topic", TOPICS)
def test_a_page_is_printed_as_it_is_where_there_is_no_terminal(command, topic: str) -> None:
    result = command("help", topic)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == text_of(MANUAL / f"{topic}.md")


@pytest.mark.slow
def test_a_name_that_the_output_cannot_encode_is_no_error(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tvdenoise", "help", "method"],
        env=environment() | {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        cwd=tmp_path,
        check=True,
    )
    assert b"\\u03bc-strongly convex" in finished.stdout


@pytest.mark.parametrize(
    ("topic", "remedy"),
    [
        ("metod", "did you mean method? tvdenoise help lists the pages"),
        ("Batch", "did you mean batches? tvdenoise help lists the pages"),
        ("volumes", "did you mean stacks-and-volumes? tvdenoise help lists the pages"),
        ("weather", "tvdenoise help lists the pages"),
        ("../method", "did you mean method? tvdenoise help lists the pages"),
    ],
)
def test_an_unknown_topic_exits_with_2_and_names_close_ones(command, topic: str, remedy: str) -> None:
    result = command("help", topic)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"tvdenoise: the manual has no page {topic!r}; {remedy}\n"


def test_the_name_of_a_command_shows_its_help(command) -> None:
    result = command("help", "run")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.split() == command("run", "--help").stdout.split()


def test_the_help_of_the_program_names_the_manual(command) -> None:
    assert "tvdenoise help" in command("--help").stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "offered"), [("", TOPICS), ("ma", ["masks"]), ("p", ["parameters", "python"]), ("x", [])]
)
def test_shells_complete_topics(typed: str, offered: list[str], tmp_path: Path) -> None:
    asked = {
        "_TVDENOISE_COMPLETE": "complete_bash",
        "COMP_WORDS": f"tvdenoise help {typed}",
        "COMP_CWORD": "2",
    }
    finished = subprocess.run(
        [sys.executable, "-m", "tvdenoise"],
        env=environment() | asked,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert sorted(finished.stdout.split()) == offered
    assert finished.stderr == ""


def _plain(shown: str) -> str:
    """What a terminal shows, without the codes for styles."""
    return re.sub(r"\x1b\[[\d;]*m", "", shown).replace("\r", "")


@pytest.mark.slow
def test_a_page_is_laid_out_on_a_terminal(process_on_terminal) -> None:
    code, shown = process_on_terminal("help", "tuning", shows_output=True)
    assert code == 0
    lines = _plain(shown).split("\n")
    text = " ".join(_plain(shown).split())
    assert "(image: A contact sheet)" in text
    assert "tvdenoise tune photo.png --strength 0.25,0.5,1,2,4" in text
    for markdown in ("](", "|---|", "```", "## "):
        assert markdown not in text
    assert max(len(line.rstrip()) for line in lines) <= 100


@pytest.mark.slow
def test_links_become_topics_on_a_terminal(process_on_terminal) -> None:
    _, shown = process_on_terminal("help", "parameters", shows_output=True)
    assert "the same parameters for a set (help batches)" in " ".join(_plain(shown).split())


@pytest.mark.slow
def test_topics_are_a_table_on_a_terminal(process_on_terminal) -> None:
    code, shown = process_on_terminal("help", shows_output=True)
    assert code == 0
    assert "\t" not in shown
    for topic in TOPICS:
        assert topic in shown


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_a_page_on_a_terminal_goes_through_the_users_pager(tmp_path: Path) -> None:
    controller, terminal = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "tvdenoise", "help", "method"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=tmp_path,
        env=environment() | {"TERM": "xterm", "PAGER": "cat > paged; echo $LESS > less"},
    )
    os.close(terminal)
    drain = threading.Thread(target=_read_all, args=(controller,))
    drain.start()
    assert child.wait(timeout=60) == 0
    drain.join()
    os.close(controller)
    assert "The certificate" in _plain((tmp_path / "paged").read_text(encoding="utf-8"))
    assert (tmp_path / "less").read_text() == "FRX\n"


def _read_all(controller: int) -> None:
    try:
        while os.read(controller, 65536):
            pass
    except OSError:  # how Linux says that the other side was closed
        pass
