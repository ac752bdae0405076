"""Whether a cluster can do a plan as this machine would: what its processes have, and which files they see."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvdenoise.batch.cluster_task import SHARED
from tvdenoise.errors import UsageError
from tvdenoise.files.atomic import temporary_beside
from tvdenoise.files.paths import printable

if TYPE_CHECKING:
    from distributed import Client

    from tvdenoise.batch.plan import Plan

# What decides the bytes of the results. Sent as text: a process without tvdenoise could not even read a function of it.
_VERSIONS = (
    "{'tvdenoise': __import__('tvdenoise').__version__}"
    " | dict(map(lambda name: (name, __import__('importlib.metadata').metadata.version(name)),"
    " ('numpy', 'scipy', 'numba', 'pillow', 'imagecodecs')))"
)


def require_same_versions(client: Client) -> None:
    """Raise UsageError unless the scheduler and all workers have what this process has."""
    ours: dict[str, str] = eval(_VERSIONS)
    try:
        scheduler = client.run_on_scheduler(eval, _VERSIONS)
    except Exception as error:  # noqa: BLE001  # whatever its Python says, raised here
        scheduler = error
    _require_same("the scheduler", scheduler, ours)
    for address, versions in client.run(eval, _VERSIONS, on_error="return").items():
        _require_same(f"the worker {address}", versions, ours)


def _require_same(who: str, theirs: dict[str, str] | BaseException, ours: dict[str, str]) -> None:
    if isinstance(theirs, ModuleNotFoundError):
        raise UsageError(f"{who} has no {theirs.name}", f"install tvdenoise {ours['tvdenoise']} there, too")
    if isinstance(theirs, BaseException):
        raise UsageError(f"{who} does not work: {type(theirs).__name__}: {one_line(theirs)}")
    for name, version in ours.items():
        if theirs[name] != version:
            reason = f"{who} has {name} {theirs[name]}, not {version}"
            raise UsageError(reason, "install the same versions everywhere: others may give other results")


def require_shared_outputs(client: Client, plan: Plan) -> None:
    """Raise UsageError unless all workers see the files that this process makes where the outputs go."""
    for folder in _one_on_each_device(folder for job in plan.jobs for folder in job.folders):
        probe = temporary_beside(folder / "probe")
        try:
            probe.touch()
            seen = client.run(os.path.exists, str(probe), on_error="return")
        finally:
            with suppress(OSError):
                probe.unlink()
        for address, is_seen in seen.items():
            if is_seen is not True:
                raise UsageError(f"the worker {address} does not see {printable(folder)}", SHARED)


def _one_on_each_device(folders: Iterable[Path]) -> Iterable[Path]:
    """Of the folders, or what exists above them, one on each file system."""
    found: dict[int, Path] = {}
    for folder in dict.fromkeys(folders):
        existing = folder
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        found.setdefault(os.stat(existing).st_dev, existing)
    return found.values()


def one_line(error: BaseException | Any) -> str:
    return " ".join(str(error).split()) or type(error).__name__
