"""What runs in place leave behind about files that cannot say themselves that they are denoised."""

from __future__ import annotations

from typing import Protocol


class Ledger(Protocol):
    """The digests (SHA-256) of what was put in the place of inputs."""

    @property
    def replaced(self) -> frozenset[str]:
        """The digests that earlier runs have written."""
        ...

    def announce(self, target: str, digest: str) -> None:
        """Keep, safely on the disk, what is about to replace a file. Raises TvdenoiseError."""
        ...


class NoLedger:
    """That of runs which keep none."""

    replaced: frozenset[str] = frozenset()

    def announce(self, target: str, digest: str) -> None:
        raise AssertionError(f"{target}: nothing keeps {digest}")  # the plan has refused this
