"""The line that a written file carries about how it was denoised, told from what users write themselves."""

from __future__ import annotations

import re

_RECORD = re.compile(r"tvdenoise [0-9][^;\s]*; mu=[^;\s]+; epsilon=[^;\s]+")
_SEPARATOR = " | "  # between what other programs left in the same place and the record


def record_in(text: str) -> str | None:
    """The record in a text, or None."""
    found = _RECORD.search(text)
    return found[0] if found else None


def without_record(text: str) -> str:
    """What else a text says."""
    return _SEPARATOR.join(part for part in text.split(_SEPARATOR) if part and not _RECORD.fullmatch(part))


def with_record(text: str, record: str) -> str:
    """The text and, after it, the record."""
    return _SEPARATOR.join(filter(None, (without_record(text), record)))
