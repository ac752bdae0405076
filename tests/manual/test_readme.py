"""The README is short, and the commands that everything starts with work."""

import re
import shlex

from support.pages import MANUAL, README, ROOT, links_of, text_of

MOST_LINES = 170


def _command(marker: str) -> str:
    found = re.search(rf"<!-- {marker} -->\n```sh\n(.+)\n```", text_of(README))
    assert found, marker
    return found[1]


def test_the_readme_is_short():
    assert len(text_of(README).splitlines()) <= MOST_LINES


def test_the_first_command_names_a_sample_that_exists_and_may_be_run_twice():
    words = shlex.split(_command("first command"))
    sample = next(word for word in words if word.startswith("sample_images/"))
    assert (ROOT / sample).is_file()
    assert "--overwrite" in words


def test_the_test_command_runs_pytest():
    assert _command("test command").endswith("-m pytest")


def test_it_leads_to_every_page_of_the_manual():
    pages = {path.relative_to(ROOT).as_posix() for path in MANUAL.glob("*.md")}
    assert pages - set(links_of(README)) == {"tvdenoise/manual/index.md"}
