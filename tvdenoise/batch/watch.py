"""Watch a folder: plan the files that have arrived completely, for as long as it is watched."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tvdenoise.batch.outputs import Folder, Job, identity_of
from tvdenoise.batch.plan import Plan, plan_replacing
from tvdenoise.batch.request import DEFAULT_SUFFIX, Discovery, Failure, Found
from tvdenoise.errors import TvdenoiseError, UnwritableImageError, UsageError
from tvdenoise.files.atomic import require_writable, sweep
from tvdenoise.files.opening import codec_of
from tvdenoise.files.paths import key_of, printable


@dataclass(frozen=True)
class Stamp:
    """The attributes of a file that reveal a change."""

    identity: tuple[int, int]
    size: int
    modified: int
    mode: int

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        """The stamp of a regular file, or None."""
        try:
            status = path.stat()
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        identity = status.st_dev, status.st_ino
        return cls(identity, status.st_size, status.st_mtime_ns, status.st_mode)


@dataclass(frozen=True)
class _Look:
    """A file's stamp, and the time since which it has been the same."""

    stamp: Stamp
    since: float


class Arrivals:
    """Collects changed files, and hands each out once it is settled.

    A file is settled when it has not changed for ``settling`` seconds; it is handed out again only after a change.
    Times come from any monotonic clock. look: returns the current stamp of a file; None if there is none.
    """

    def __init__(self, settling: float, look: Callable[[Path], Stamp | None] = Stamp.of) -> None:
        self._settling = settling
        self._look = look
        self._waiting: dict[Path, _Look] = {}
        self._handed_out: dict[Path, Stamp] = {}

    def note(self, paths: Iterable[Path], now: float) -> None:
        """Note paths that are new, changed or gone."""
        for path in paths:
            stamp = self._look(path)
            if stamp is None:
                self._waiting.pop(path, None)
                self._handed_out.pop(path, None)
            elif stamp == self._handed_out.get(path):
                self._waiting.pop(path, None)
            elif path not in self._waiting or self._waiting[path].stamp != stamp:
                self._waiting[path] = _Look(stamp, now)

    def settled(self, now: float) -> list[Path]:
        """Hand out the settled files, ordered by their last change."""
        due = [path for path, look in self._waiting.items() if now - look.since >= self._settling]
        self.note(due, now)
        settled = []
        for path in due:
            look = self._waiting.get(path)
            if look is not None and now - look.since >= self._settling:
                settled.append(path)
                self._handed_out[path] = self._waiting.pop(path).stamp
        return sorted(settled, key=lambda path: (self._handed_out[path].modified, os.fspath(path)))

    @property
    def next_due(self) -> float | None:
        """The earliest time at which a file may be settled; None if none is waiting."""
        if not self._waiting:
            return None
        return self._settling + min(look.since for look in self._waiting.values())


_BREATH = 0.1  # seconds to collect the events of a burst
_TICK = 1.0  # seconds between checks that the folder still exists
_ROUND = 60.0  # seconds between searches of the whole folder, for missed events


@dataclass(frozen=True)
class Watch:
    """A watched folder and its destination.

    settling: seconds that a file must be unchanged; polling: seconds between polls, or None to use system events.
    Raises UsageError if the folders conflict, or if watchdog is not installed.
    """

    folder: Path
    destination: Folder
    recursive: bool
    settling: float
    polling: float | None = None

    def __post_init__(self) -> None:
        if find_spec("watchdog") is None:
            reason = "watching a folder requires watchdog, which is not installed"
            raise UsageError(reason, "pip install 'tvdenoise[watch]'")
        here, there = (Path(os.path.realpath(path)) for path in (self.folder, self.destination.path))
        if not here.is_dir():
            raise UsageError(f"{printable(self.folder)} is not a folder", "name an existing folder")
        if there.exists() and not there.is_dir():
            raise UsageError(f"-o {printable(self.destination.path)} is not a folder", "name a folder")
        if here == there or here.is_relative_to(there):
            reason = (
                f"{printable(self.folder)} lies in the output folder: results would be denoised as new files"
            )
            raise UsageError(reason, f"name another with -o, such as {printable(self.folder / 'denoised')}")
        try:
            require_writable(there)
        except UnwritableImageError as error:
            raise UsageError(error.reason, error.remedy) from error
        sweep(there)

    def present(self) -> Plan:
        """A plan of all files now in the folder, done or not."""
        files = (entry for entry in self._find() if isinstance(entry, Found))
        return Plan(tuple(Job(file.source, self.destination.target(file)) for file in files))

    def plans(self) -> Generator[Plan, None, None]:
        """Yield a plan whenever files have settled, beginning with present files whose output is not up to date.

        Runs forever; raises TvdenoiseError if the folder disappears.
        """
        arrivals = Arrivals(self.settling)
        intake = _Intake(self.folder, self.destination)
        while self.folder.is_dir():
            try:
                yield from self._plans_of_one(arrivals, intake)
            except UsageError:  # the folder cannot be watched
                if self.folder.is_dir():
                    raise
        raise TvdenoiseError(f"{printable(self.folder)} no longer exists")

    def _plans_of_one(self, arrivals: Arrivals, intake: _Intake) -> Iterator[Plan]:
        """Yield plans until another folder, or a mounted file system, takes the folder's place."""
        from tvdenoise.batch.folder_events import FolderEvents  # requires watchdog

        next_round = time.monotonic()
        with FolderEvents(self.folder, recursive=self.recursive, polling=self.polling) as events:
            watched = identity_of(self.folder)
            while watched is not None and identity_of(self.folder) == watched:
                if (now := time.monotonic()) >= next_round:
                    next_round = now + _ROUND
                    found = list(self._find())
                    arrivals.note((entry.source for entry in found if isinstance(entry, Found)), now)
                    yield intake.plan_of_unreadable(entry for entry in found if isinstance(entry, Failure))
                yield intake.plan(arrivals.settled(time.monotonic()))
                due = arrivals.next_due
                if changed := events.take(_TICK if due is None else min(_TICK, due - time.monotonic())):
                    time.sleep(_BREATH)
                    changed |= events.take(0)
                    arrivals.note(self._images(changed), time.monotonic())
                if self.folder in changed:  # removed, and a new folder may have got its inode
                    return

    def _find(self) -> Iterator[Found | Failure]:
        return self._discovery.find((str(self.folder),))

    def _images(self, changed: Iterable[Path]) -> Iterator[Path]:
        """Yield the images among changed files, and those in new folders."""
        for path in changed:
            if not path.is_dir():
                if self._discovery.takes(path, self.folder):
                    yield path
            elif path != self.folder and self._discovery.looks_into(path, self.folder):
                inside = self._discovery.find((str(path),))
                yield from (entry.source for entry in inside if isinstance(entry, Found))

    @property
    def _discovery(self) -> Discovery:
        left_out = Path(os.path.realpath(self.destination.path))
        return Discovery(self.recursive, self.destination.suffix or DEFAULT_SUFFIX, left_out)


class _Intake:
    """Makes plans of files that have arrived."""

    def __init__(self, folder: Path, destination: Folder) -> None:
        self._folder = folder
        self._destination = destination
        self._owners: dict[str, Path] = {}
        self._seen: set[Path] = set()

    def plan_of_unreadable(self, failures: Iterable[Failure]) -> Plan:
        """A plan of failures for unreadable sub-folders, each reported once."""
        fresh = tuple(failure for failure in failures if failure.source not in self._seen)
        self._seen.update(failure.source for failure in fresh)
        return Plan((), failures=fresh)

    def plan(self, sources: Iterable[Path]) -> Plan:
        """Plan the files whose outputs are missing or outdated; a problem with one file fails only that file."""
        found = [Found(source, source.relative_to(self._folder)) for source in sources]
        return plan_replacing(found, self._destination, self._is_current, self._refusal)

    def _is_current(self, job: Job) -> bool:
        """Return True if the output is newer than the last change of the input, including of its name.

        An input seen before has changed, perhaps while it was denoised, so the times prove nothing.
        """
        if job.source in self._seen:
            return False
        self._seen.add(job.source)
        try:
            source, target = job.source.stat(), job.target.stat()
        except OSError:
            return False
        return _moment(target) > _moment(source) and codec_of(job.target) is not None

    def _refusal(self, job: Job) -> Failure | None:
        """A failure if the output belongs to another input, or is not a file."""
        if job.target.exists() and not job.target.is_file():
            reason = f"its output {printable(job.target)} exists and is not a file"
            return Failure(job.source, UnwritableImageError(reason, "move that out of the way"))
        place = key_of(os.path.realpath(job.target))
        owner = self._owners.setdefault(place, job.source)
        if owner == job.source or not owner.exists():
            self._owners[place] = job.source
            return None
        reason = f"its output {printable(job.target)} would also be that of {printable(owner)}"
        return Failure(job.source, UnwritableImageError(reason, "rename one of them"))


def _moment(status: os.stat_result) -> int:
    """Time of the last change of contents, name or permissions, which programs cannot set (Windows: of contents)."""
    return status.st_mtime_ns if os.name == "nt" else status.st_ctime_ns
