"""A Dask cluster does what this machine would do, whatever happens to its workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from support.own_time import own_time
from support.processes import environment, temporaries
from support.values import noise
from tvdenoise.batch.outputs import Job
from tvdenoise.commands.app import app
from tvdenoise.errors import UsageError
from tvdenoise.options import FileOptions

pytest.importorskip("distributed", reason="tvdenoise[cluster] is not installed")

from tvdenoise.batch import cluster as cluster_module
from tvdenoise.batch.cluster import Cluster, require_same_versions
from tvdenoise.batch.outcome import FileStatus, Outcome

pytestmark = pytest.mark.xdist_group("cluster")  # which starts once


@contextmanager
def dask(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def running_cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The address of a scheduler, and its two worker processes, of which one has two threads."""
    note = folder / "scheduler.json"
    here = ("--host", "127.0.0.1", "--no-dashboard")
    with ExitStack() as stack:
        stack.enter_context(dask("dask_scheduler", *here, "--port", "0", "--scheduler-file", str(note)))
        shared = (*here, "--no-nanny", "--local-directory", str(folder), "--scheduler-file", str(note))
        workers = [
            stack.enter_context(dask("dask_worker", *shared, "--nthreads", str(count))) for count in (1, 2)
        ]
        deadline = time.monotonic() + 120
        while not (note.exists() and note.read_text().endswith("}")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield json.loads(note.read_text())["address"], workers


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_cluster(tmp_path_factory.mktemp("dask")) as (address, _):
        yield address


def make_photographs(folder: Path) -> Path:
    (folder / "photos").mkdir()
    for name in "abcdefghij":
        Image.fromarray(noise(150, 200, seed=ord(name))).save(folder / "photos" / f"{name}.png")
    return folder / "photos"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    return make_photographs(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run on one machine writes."""
    folder = tmp_path_factory.mktemp("expected")
    arguments = ["run", str(make_photographs(folder)), "-o", str(folder / "out"), "--jobs", "1"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    return contents(folder / "out")


@pytest.mark.slow
def test_a_cluster_writes_and_tells_what_one_machine_does(
    cluster, photographs, expected, process, tmp_path: Path
) -> None:
    (photographs / "k.png").write_bytes(b"no image")
    finished = process("run", "photos", "-o", "out", "--cluster", cluster, "--report", "r.jsonl")
    told = finished.stderr.decode()
    assert finished.returncode == 1, told
    assert contents(tmp_path / "out") == expected
    assert len(told.splitlines()) == 12
    assert "tvdenoise: photos/k.png: " in told
    assert told.endswith("11 files: 10 done, 1 failed, 0 skipped\n")
    report = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert {entry["source"] for entry in report} == {f"photos/{name}.png" for name in "abcdefghijk"}
    assert {entry["target"] for entry in report} == {f"out/{name}.png" for name in "abcdefghijk"}


@pytest.mark.slow
def test_what_is_written_beside_the_results_lies_where_it_would_without_a_cluster(
    cluster, make_image, process, tmp_path: Path
) -> None:
    make_image("a.png", noise(30, 40))
    told = [
        process(
            "run", "a.png", "-o", f"{name}.png", "--residual", name, "--trace", f"{name}.csv", *options
        ).stderr
        for name, options in (("here", ()), ("there", ("--cluster", cluster)))
    ]
    for name in ("{}.csv", "{}.png", "{}/a_residual.png"):
        here, there = (tmp_path / name.format(place) for place in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()
    assert told[0].splitlines()[1] == told[1].splitlines()[1]


@pytest.mark.slow
@pytest.mark.usefixtures("photographs")
def test_with_a_worker_killed_half_way_all_files_are_done(expected, tmp_path: Path) -> None:
    (tmp_path / "dask").mkdir()
    with running_cluster(tmp_path / "dask") as (address, workers):
        arguments = ("run", "photos", "-o", "out", "--cluster", address)
        child = subprocess.Popen(
            [sys.executable, "-m", "tvdenoise", *arguments],
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=environment(),
        )
        assert child.stderr is not None
        child.stderr.readline()
        workers[1].kill()
        told = child.stderr.read().decode()
        assert child.wait(timeout=60) == 0, told
    assert told.endswith("10 files: 10 done, 0 failed, 0 skipped\n")
    assert contents(tmp_path / "out") == expected


@pytest.mark.slow
@pytest.mark.usefixtures("photographs")
def test_a_cluster_can_be_started_here(expected, process, tmp_path: Path) -> None:
    finished = process("run", "photos", "-o", "out", "--cluster", "local", "--jobs", "2", "--quiet")
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert contents(tmp_path / "out") == expected


def processes_of(session: int) -> list[str]:
    """The states of its processes, of those that have not ended."""
    states = []
    if os.path.isdir("/proc/self"):
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                state, _, _, of_session, *_ = path.read_text().rpartition(")")[2].split()
                states += [state] if int(of_session) == session else []
    else:
        listed = ["ps", "-o", "stat=", "-s", str(session)]
        states = subprocess.run(listed, capture_output=True, text=True, check=False).stdout.split()
    return [state for state in states if not state.startswith(("Z", "X"))]


@pytest.mark.slow
def test_ctrl_c_ends_a_cluster_of_this_machine_at_once(make_image, tmp_path: Path) -> None:
    make_image("a.png", noise(2, 2))
    make_image("b.png", noise(1200, 1200))
    options = ("--step", "fixed", "--mu", "0.01", "--tolerance", "1e-5", "--max-iterations", "100000")
    # A child of a process that ignores Ctrl-C, as background jobs do, would ignore it too.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    child = subprocess.Popen(
        [sys.executable, "-m", "tvdenoise", "run", "a.png", "b.png", "--cluster", "local", *options],
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, previous)
    assert child.stderr is not None
    assert b"a_denoised.png" in child.stderr.readline()
    with own_time(child.pid) as taken:
        os.killpg(child.pid, signal.SIGINT)
        told = child.stderr.read().decode()
        assert child.wait(timeout=60) == 130
    assert taken.seconds < 2
    *_, summary, ending = told.splitlines()
    assert summary.startswith("1 of 2 files: 1 done")
    assert ending == "tvdenoise: interrupted; finished files are kept, --skip-existing continues"
    assert "Traceback" not in told
    deadline = time.monotonic() + 30
    while processes_of(child.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not temporaries(tmp_path)


@pytest.mark.slow
def test_in_place_each_file_is_replaced_once(cluster, photographs, expected, process) -> None:
    assert process("run", "photos", "--in-place", "--cluster", cluster).returncode == 0
    assert contents(photographs) == expected
    finished = process("run", "photos", "--in-place", "--cluster", cluster)
    assert finished.stderr.endswith(b"10 files: 0 done, 0 failed, 10 skipped\n")
    assert contents(photographs) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a.png", "--cluster", "127.0.0.1:1"), "no Dask scheduler answers at 127.0.0.1:1"),
        (("a.png", "--cluster", "nonsense"), "no Dask scheduler answers at nonsense"),
    ],
)
def test_a_cluster_that_does_not_answer_is_refused_soon(
    arguments, words, make_image, process, tmp_path: Path
) -> None:
    make_image("a.png")
    start = time.perf_counter()
    finished = process("run", *arguments)
    assert finished.returncode == 2
    assert time.perf_counter() - start < 15
    assert words in finished.stderr.decode()
    assert len(finished.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("a.png", "--in-place", "--again", "--cluster", "local"),
        ("a.bmp", "--in-place", "--report", "r", "--cluster", "local"),
        ("-", "--cluster", "local"),
    ],
)
def test_what_no_cluster_can_do_is_refused(arguments, make_image, command, tmp_path: Path) -> None:
    make_image("a.png")
    make_image("a.bmp")
    result = command("run", *arguments)
    assert result.exit_code == 2
    assert "--cluster" in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bmp", "a.png"]


def test_without_dask_the_remedy_is_named(make_image, command, monkeypatch) -> None:
    make_image("a.png")
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = command("run", "a.png", "--cluster", "local")
    assert result.exit_code == 2
    assert result.stderr.endswith("which is not installed; install tvdenoise[cluster]\n")


def test_a_job_that_is_done_again_by_another_worker_is_not_denoised_twice(make_image, monkeypatch) -> None:
    monkeypatch.setattr(cluster_module, "_threads", lambda: 1)
    source = make_image("a.png")
    job = Job(source, source, in_place=True, once=True)
    assert cluster_module.attempt(FileOptions(), job, cluster_module.__version__).status is FileStatus.DONE
    once = source.read_bytes()
    assert cluster_module.attempt(FileOptions(), job, cluster_module.__version__).status is FileStatus.SKIPPED
    assert source.read_bytes() == once


def test_a_worker_says_what_it_does_not_see_and_what_it_is_not(make_image, tmp_path: Path) -> None:
    unseen = cluster_module.attempt(
        FileOptions(), Job(tmp_path / "x.png", tmp_path / "y.png"), cluster_module.__version__
    )
    assert unseen.reason is not None
    assert unseen.reason.startswith("no such file on the worker ")
    assert unseen.remedy == "all workers need the same file system under the same paths"
    other = cluster_module.attempt(FileOptions(), Job(make_image(), tmp_path / "y.png"), "0.0")
    assert other.reason is not None
    assert "not 0.0" in other.reason


class FakeClient:
    """A cluster of two workers that does one job whenever it is asked for its workers."""

    def __init__(self) -> None:
        self.waiting: list[FakeFuture] = []
        self.most = 0

    def nthreads(self) -> dict[str, int]:
        return {"tcp://a": 1, "tcp://b": 8}

    def submit(self, _function, _settings, job: Job, _version, key: str, **_options) -> FakeFuture:
        future = FakeFuture(key)
        future.job = job
        self.waiting.append(future)
        self.most = max(self.most, len(self.waiting))
        if len(self.waiting) == 4:
            self.finish()
        return future

    def finish(self) -> None:
        future = self.waiting.pop(0)
        future.set_result(Outcome(str(future.job.source), str(future.job.target), FileStatus.DONE))

    def cancel(self, futures: list[Future[Outcome]], *, force: bool) -> None:
        assert force
        assert len(futures) <= 4

    def run_on_scheduler(self, _function, _text: str) -> dict[str, str]:
        raise ModuleNotFoundError("No module named 'tvdenoise'", name="tvdenoise")


class DeadlyClient(FakeClient):
    """A cluster of one worker at a time, which a poisoned job kills, and with it what waits there."""

    def __init__(self) -> None:
        super().__init__()
        self.worker = 0

    def nthreads(self) -> dict[str, int]:
        if any(future.job.source.name == "poison.png" for future in self.waiting):
            self.worker += 1
            self.waiting.clear()
        while self.waiting:
            self.finish()
        return {f"tcp://{self.worker}": 1}


class FakeFuture(Future[Outcome]):
    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.job: Job

    def release(self) -> None:
        pass


def test_only_two_jobs_a_worker_are_handed_out_at_a_time() -> None:
    client = FakeClient()
    jobs = [Job(Path(f"{number}.png"), Path(f"out/{number}.png")) for number in range(50)]
    found = Cluster(client, FileOptions(), None).outcomes(jobs)  # type: ignore[arg-type]
    sources = [next(found).source for _ in range(40)]
    assert sources == [f"{number}.png" for number in range(40)]
    assert client.most == 4
    found.close()


def test_a_file_that_kills_every_worker_costs_no_other_file(monkeypatch) -> None:
    monkeypatch.setattr("tvdenoise.batch.cluster._INTERVAL", 0.001)
    names = ["a.png", "poison.png", "b.png", "c.png"]
    client = DeadlyClient()
    found = list(Cluster(client, FileOptions(), None).outcomes([Job(Path(n), Path("out", n)) for n in names]))  # type: ignore[arg-type]
    assert [outcome.source for outcome in found if outcome.status is FileStatus.FAILED] == ["poison.png"]
    assert sorted(outcome.source for outcome in found) == sorted(names)
    assert found[-1].reason == "every worker that tried it was killed, probably because memory ran out"
    assert client.worker <= 7


def test_a_scheduler_without_tvdenoise_is_refused() -> None:
    with pytest.raises(UsageError, match="the scheduler has no tvdenoise; install tvdenoise"):
        require_same_versions(FakeClient())  # type: ignore[arg-type]


LATE_WORDS = """
import logging
from tvdenoise.batch.cluster import silence
with silence():
    pass
for name in ("distributed.batched", "distributed.client", "tornado.application", "asyncio"):
    logging.getLogger(name).error("a late word")
"""


@pytest.mark.slow
def test_dask_says_nothing_after_it_is_done_with() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE_WORDS], env=environment(), capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")
