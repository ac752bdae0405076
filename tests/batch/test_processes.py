"""Several files at the same time: the same bytes, and what happens when processes are killed."""

from __future__ import annotations

import itertools
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from support.own_time import own_time
from support.processes import environment, temporaries
from support.values import noise
from tvdenoise.batch.in_place import NoReplacementLog
from tvdenoise.batch.outputs import Job
from tvdenoise.batch.share import Machine, Share
from tvdenoise.batch.worker_pool import WorkerPool
from tvdenoise.options import FileOptions

pytestmark = pytest.mark.xdist_group("processes")
COUNT = 24
SLOW = ("--mu", "0.3", "--step", "fixed", "--tolerance", "1e-4", "--max-iterations", "3000")
ORPHANS_END_WITHIN = 30  # seconds, on a machine that has other things to do


def make_images(folder: Path, count: int = COUNT) -> None:
    from PIL import Image

    for number in range(count):
        path = folder / f"{'abc'[number % 3]}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(70 + number % 5, 90, seed=number)).save(path)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)  # as a shell's foreground job has it
    child = subprocess.Popen(
        [sys.executable, "-m", "tvdenoise", "run", "in", "-r", "-o", "out/", "--verbose", *SLOW, *arguments],
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(),
    )
    signal.signal(signal.SIGINT, previous)
    return child


def workers_of(parent: int) -> list[int]:
    """The processes whose parent is that one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if re.search(rf"^PPid:\t{parent}$", (folder / "status").read_text(), re.MULTILINE):
                found.append(int(folder.name))
    return found


def are_gone(processes: list[int]) -> bool:
    end = time.monotonic() + ORPHANS_END_WITHIN
    while time.monotonic() < end:
        if not any(_runs(process) for process in processes):
            return True
        time.sleep(0.02)
    return False


def _runs(process: int) -> bool:
    with suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    return False


def lines_until(child: subprocess.Popen[bytes], count: int) -> list[bytes]:
    """The first lines about finished files."""
    assert child.stderr is not None
    lines: list[bytes] = []
    while len(lines) < count:
        line = child.stderr.readline()
        assert line, "it ended early"
        lines += [line] if "→".encode() in line else []
    return lines


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A folder with inputs, and the outputs of a run in one process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    make_images(folder / "in")
    child = start(folder, "--jobs", "1")
    child.communicate(timeout=120)
    assert child.returncode == 0
    return folder, tree(folder / "out")


@pytest.fixture
def inputs(undisturbed: tuple[Path, dict[str, bytes]], tmp_path: Path) -> Path:
    (tmp_path / "in").symlink_to(undisturbed[0] / "in")
    return tmp_path


needs_proc = pytest.mark.skipif(
    not os.path.isdir("/proc/self"), reason="there is no /proc to look for processes in"
)


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--jobs", "2"), ("--jobs", "3", "--threads", "2"), ("--jobs", "auto")])
def test_the_number_of_jobs_and_threads_changes_no_byte(options, undisturbed, inputs: Path) -> None:
    child = start(inputs, *options)
    _, told = child.communicate(timeout=120)
    assert child.returncode == 0, told
    assert b"24 files: 24 done, 0 failed, 0 skipped" in told
    assert tree(inputs / "out") == undisturbed[1]


@pytest.mark.slow
@needs_proc
def test_a_killed_worker_costs_its_own_file_only(undisturbed, inputs: Path) -> None:
    child = start(inputs, "--jobs", "2", "--report", "report.jsonl")
    lines_until(child, 3)
    os.kill(workers_of(child.pid)[0], signal.SIGKILL)
    _, told = child.communicate(timeout=120)
    assert child.returncode == 1
    assert b"24 files: 23 done, 1 failed, 0 skipped" in told
    failures = [line for line in told.decode().splitlines() if line.startswith("tvdenoise: ")]
    assert len(failures) == 1
    lost = re.fullmatch(
        r"tvdenoise: in/([abc]/\d\d.png): the worker process was killed \(SIGKILL\), probably because memory ran out; "
        "try fewer --jobs",
        failures[0],
    )
    assert lost is not None
    assert not temporaries(inputs)
    outputs = tree(inputs / "out")
    # The worker may be killed when the output is in its place but not yet reported. Then it is whole.
    assert undisturbed[1].keys() - outputs.keys() <= {lost[1]}
    assert outputs.items() <= undisturbed[1].items()
    assert (inputs / "report.jsonl").read_text().count('"failed"') == 1


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_processes_at_once(number: int, code: int, undisturbed, inputs: Path) -> None:
    child = start(inputs, "--jobs", "2")
    lines_until(child, 3)
    workers = workers_of(child.pid)
    assert len(workers) == 2
    with own_time(child.pid, *workers) as taken:
        for process in (child.pid, *workers) if number == signal.SIGINT else (child.pid,):
            os.kill(process, number)  # a terminal sends Ctrl-C to all of them
        _, told = child.communicate(timeout=60)
    assert taken.seconds < 2
    assert child.returncode == code
    assert b"--skip-existing" in told
    assert b"Traceback" not in told
    assert are_gone(workers)
    assert not temporaries(inputs)
    assert tree(inputs / "out").items() <= undisturbed[1].items()


@pytest.mark.slow
@needs_proc
def test_ctrl_c_never_reaches_a_worker_not_even_while_it_starts(make_image, command, monkeypatch) -> None:
    class Interrupted(subprocess.Popen):
        def __init__(self, *arguments, **options) -> None:
            super().__init__(*arguments, **options)
            self.send_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    names = [make_image(name).name for name in ("a.png", "b.png")]
    result = command("run", *names, "--jobs", "2")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.endswith("2 files: 2 done, 0 failed, 0 skipped\n")


@pytest.mark.slow
@needs_proc
def test_a_worker_killed_while_it_starts_costs_one_file(undisturbed, inputs: Path) -> None:
    child = start(inputs, "--jobs", "2")
    while not (workers := workers_of(child.pid)):
        assert child.poll() is None
        time.sleep(0.01)
    os.kill(workers[0], signal.SIGKILL)
    _, told = child.communicate(timeout=120)
    assert child.returncode == 1
    assert b"24 files: 23 done, 1 failed, 0 skipped" in told
    assert tree(inputs / "out").items() <= undisturbed[1].items()


@pytest.mark.slow
@needs_proc
def test_long_jobs_die_with_their_parent(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "in").mkdir()
    for name, side in (("a", 2), ("b", 1200), ("c", 1200)):
        Image.fromarray(noise(side, side)).save(tmp_path / "in" / f"{name}.png")
    long = ("--mu", "0.01", "--tolerance", "1e-5", "--max-iterations", "100000")
    child = start(tmp_path, "--jobs", "2", *long)
    lines_until(child, 1)
    time.sleep(0.5)
    workers = workers_of(child.pid)
    assert workers
    child.kill()
    child.wait()  # not for the end of its messages, which the workers keep open
    assert are_gone(workers)
    child.communicate()


@pytest.mark.slow
def test_runs_killed_at_any_moment_are_continued_to_the_same_bytes(undisturbed, inputs: Path) -> None:
    moments = random.Random(5)
    for _ in range(10):
        child = start(inputs, "--jobs", "2", "--skip-existing")
        time.sleep(moments.uniform(0.3, 2.5))
        workers = workers_of(child.pid)
        child.kill()
        child.communicate()
        assert are_gone(workers)
    child = start(inputs, "--jobs", "2", "--skip-existing")
    _, told = child.communicate(timeout=120)
    assert child.returncode == 0, told
    assert tree(inputs / "out") == undisturbed[1]


def test_fail_fast_ends_with_the_first_failure(make_image, command, tmp_path: Path) -> None:
    make_image("a.png")
    make_image("b.png").write_bytes(b"")
    make_image("c.png")
    result = command("run", "a.png", "b.png", "c.png", "--fail-fast", "--jobs", "1")
    assert result.exit_code == 1
    assert "2 of 3 files: 1 done, 1 failed, 0 skipped" in result.stderr
    assert not (tmp_path / "c_denoised.png").exists()


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5"])
def test_a_number_of_jobs_that_is_none_is_refused(text: str, make_image, command) -> None:
    make_image("a.png")
    result = command("run", "a.png", f"--jobs={text}")
    assert result.exit_code == 2
    assert result.stderr == f"tvdenoise: --jobs must be a positive whole number or auto, not {text!r}\n"


@pytest.mark.slow
def test_a_run_in_place_keeps_its_ledger_in_the_report_whatever_process_replaces(make_image, process) -> None:
    files = [make_image(f"{number}.bmp", noise(30, 30, seed=number)) for number in range(6)]
    arguments = (
        "run",
        *(path.name for path in files),
        "--in-place",
        "--mu",
        "9",
        "--jobs",
        "2",
        "--report",
        "r.jsonl",
    )
    assert process(*arguments).returncode == 0
    once = [path.read_bytes() for path in files]
    again = process(*arguments, "--skip-existing")
    assert again.returncode == 0
    assert b"6 files: 0 done, 0 failed, 6 skipped" in again.stderr
    assert [path.read_bytes() for path in files] == once


class Reluctant(Share):
    """Keeps the thread that asks first waiting until a job of another one has ended, as memory that is short may."""

    def __init__(self, jobs: list[Job]) -> None:
        super().__init__(jobs, 2, Machine(2, math.inf))
        self._askers, self._given_back = itertools.count(), Event()

    def take(self) -> tuple[Job, int] | None:
        if next(self._askers) == 0:
            self._given_back.wait()
        return super().take()

    def give_back(self, job: Job) -> None:
        super().give_back(job)
        self._given_back.set()


@pytest.mark.slow
def test_no_worker_waits_for_one_that_waits_for_its_memory(make_image, tmp_path: Path) -> None:
    jobs = [Job(make_image(f"{name}.png"), tmp_path / f"{name}_denoised.png") for name in "abc"]
    crew, done = (
        WorkerPool(FileOptions(mu=9.0), 2, Reluctant(jobs), NoReplacementLog(), lambda: None),
        Event(),
    )
    Thread(target=lambda: (list(crew.outcomes(jobs)), done.set()), daemon=True).start()
    assert done.wait(30)
    assert all(job.target.exists() for job in jobs)
