"""How files share the processors and the memory."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

from tvdenoise.batch.in_place import NoReplacementLog
from tvdenoise.batch.outcome import FileStatus, Outcome
from tvdenoise.batch.outputs import Job
from tvdenoise.batch.plan import Plan, Streams
from tvdenoise.batch.run import Alone, InTurn, workforce_for
from tvdenoise.batch.share import Machine, Share, affordable_workers, useful_workers
from tvdenoise.batch.worker_pool import WorkerPool
from tvdenoise.files.memory import PROCESS
from tvdenoise.files.opening import Header
from tvdenoise.options import FileOptions


def job(number: int, columns: int = 1000) -> Job:
    path = Path(f"{number}.png")
    return Job(path, path, header=Header("PNG", columns, 1000, 3, 1, has_alpha=False))


def threads_of(jobs: list[Job], workers: int, machine: Machine) -> list[int]:
    """The threads of jobs that are taken one after the other while as many as possible are at work."""
    share, at_work, found = Share(jobs, workers, machine), [], []
    for _ in jobs:
        if len(at_work) == workers:
            share.give_back(at_work.pop(0))
        taken = share.take()
        assert taken is not None
        at_work.append(taken[0])
        found.append(taken[1])
    return found


def test_many_files_get_a_thread_each_and_the_last_ones_what_is_left() -> None:
    assert threads_of([job(n) for n in range(9)], 8, Machine(8, 1e12)) == [1] * 9
    assert threads_of([job(n) for n in range(2)], 8, Machine(8, 1e12)) == [4, 4]
    assert threads_of([job(0)], 8, Machine(8, 1e12)) == [8]


def test_files_of_which_memory_holds_only_one_get_all_threads() -> None:
    large = job(0)
    share = Share([large, job(1)], 8, Machine(8, 1.5 * large.memory))
    assert share.take() == (large, 8)


def test_a_file_waits_until_there_is_memory_for_it() -> None:
    jobs = [job(n) for n in range(3)]
    share = Share(jobs, 3, Machine(4, 2.5 * jobs[0].memory))
    first, second = share.take(), share.take()
    assert first is not None
    assert second is not None
    taken: list[tuple[Job, int] | None] = []
    waiting = Thread(target=lambda: taken.append(share.take()))
    waiting.start()
    waiting.join(0.1)
    assert not taken
    share.give_back(first[0])
    waiting.join(5)
    assert taken[0] is not None
    assert taken[0][0] is jobs[2]


def test_a_file_larger_than_the_memory_is_done_alone() -> None:
    share = Share([job(0), job(1)], 2, Machine(2, 1))
    first = share.take()
    assert first is not None
    share.give_back(first[0])
    assert share.take() is not None


def test_after_a_stop_nothing_is_handed_out() -> None:
    share = Share([job(0)], 1, Machine(1, 1e9))
    share.stop()
    assert share.take() is None


@pytest.mark.parametrize(
    ("jobs", "processors", "threads", "expected"),
    [
        ([job(0, 10)] * 3, 8, None, 1),  # they take less time than starting a process
        ([job(0, 4000)] * 3, 8, None, 3),
        ([job(0, 4000)] * 30, 8, None, 8),
        ([job(0, 4000)] * 30, 8, 4, 2),
        ([job(0, 4000)], 8, None, 1),
    ],
)
def test_as_many_workers_are_used_as_are_useful(
    jobs, processors: int, threads: int | None, expected: int
) -> None:
    assert useful_workers(jobs, Machine(processors, 1e12), threads) == expected


def test_a_given_memory_bounds_the_workers_with_their_own_and_the_parents() -> None:
    jobs = [job(n) for n in range(5)]
    usual = jobs[0].memory
    assert affordable_workers(jobs, 4, 4 * (usual + PROCESS) + PROCESS) == 4
    assert affordable_workers(jobs, 4, 4 * (usual + PROCESS) + PROCESS - 1) == 3
    assert affordable_workers(jobs, 4, PROCESS) == 1
    assert affordable_workers([*jobs, job(9, 10**6)], 4, 4 * (usual + PROCESS) + PROCESS) == 4


def test_what_is_given_is_shared_beside_the_processes_themselves() -> None:
    assert Machine(4, 1e12).beside(3, 10**9) == Machine(4, 10**9 - 3 * PROCESS)
    assert Machine(4, 1e8).beside(3, 10**9).memory == 1e8
    assert Machine(4, 1e12).beside(3, None) == Machine(4, 1e12)


def shifts(jobs: list[Job], memory: int | None, workers: int = 2) -> list[tuple[type, list[Job]]]:
    """Who does which jobs."""
    plan, settings = Plan(tuple(jobs)), FileOptions(memory=memory)
    found = workforce_for(plan, settings, Streams(), NoReplacementLog(), lambda: None, workers)
    if isinstance(found, InTurn):
        return [(type(workforce), list(own)) for workforce, own in found._shifts]
    return [(type(found), jobs)]


def test_a_file_without_room_beside_other_processes_is_done_when_they_have_ended() -> None:
    small, large = [job(n) for n in range(3)], job(9, 20_000)
    total = 3 * PROCESS + 2 * small[0].memory
    assert shifts([*small, large], total) == [(WorkerPool, small), (Alone, [large])]
    assert shifts(small, total) == [(WorkerPool, small)]
    assert shifts(small, 2 * PROCESS) == [(Alone, small)]
    assert shifts([*small, large], None) == [(WorkerPool, [*small, large])]


def test_every_file_of_every_shift_is_told() -> None:
    class Told:
        def outcomes(self, jobs):
            for one in jobs:
                yield Outcome(str(one.source), None, FileStatus.DONE)

    first, second = [job(1), job(2)], [job(3)]
    told = InTurn(((Told(), first), (Told(), second))).outcomes([*first, *second])
    assert [outcome.source for outcome in told] == ["1.png", "2.png", "3.png"]
