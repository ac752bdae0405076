"""Helper threads that stay: what they are handed, and what they survive."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from support.processes import environment
from tvdenoise import denoise
from tvdenoise.model import threads
from tvdenoise.model.threads import Team

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture
def team():
    made = Team(3)
    yield made
    made.dismiss()


def test_every_thread_of_a_team_does_the_work_once_and_the_same_threads_do_the_next(team):
    for _ in range(3):
        barrier, seen = threading.Barrier(3, timeout=60), []

        def work(barrier=barrier, seen=seen):
            barrier.wait()  # all threads are in here at the same time
            seen.append(threading.get_ident())

        team(work)
        assert len(set(seen)) == 3
        assert threading.get_ident() in seen


def test_helpers_of_a_dismissed_team_serve_the_next_one():
    first = Team(4)
    helpers = set(first._helpers)
    assert len(helpers) == 3
    first.dismiss()
    count = threading.active_count()
    second = Team(4)
    assert set(second._helpers) == helpers
    assert threading.active_count() == count
    second.dismiss()


def test_an_error_of_one_thread_is_raised_when_all_have_ended_and_the_team_works_on(team):
    caller, ended = threading.get_ident(), []

    def fail_elsewhere():
        if threading.get_ident() != caller:
            time.sleep(0.01)
            ended.append(None)
            raise ValueError("the work of a helper")

    for _ in range(2):
        with pytest.raises(ValueError, match="the work of a helper"):
            team(fail_elsewhere)
    assert len(ended) == 4
    calls = []
    team(lambda: calls.append(None))
    assert len(calls) == 3


def test_an_interrupted_caller_waits_for_its_helpers(team):
    caller, ended = threading.get_ident(), []

    def interrupt():
        if threading.get_ident() == caller:
            raise KeyboardInterrupt
        time.sleep(0.05)
        ended.append(None)

    with pytest.raises(KeyboardInterrupt):
        team(interrupt)
    assert len(ended) == 2


def test_interruptions_while_it_waits_neither_hang_nor_leave_a_helper_at_work(team, monkeypatch):
    class Interrupted:
        """A queue whose reader is interrupted just after it has read, and once more before."""

        def __init__(self, queue):
            self.queue, self.left = queue, 2

        def put(self, item):
            self.queue.put(item)

        def get(self):
            if self.left != 1:
                self.queue.get()
            self.left -= 1
            if self.left >= 0:
                raise KeyboardInterrupt

    for _ in range(3):
        ended = []
        for helper in team._helpers:
            monkeypatch.setattr(helper, "done", Interrupted(helper.done))

        def work(ended=ended):
            if threading.current_thread().name == "tvdenoise-helper":
                time.sleep(0.05)
                ended.append(None)

        with pytest.raises(KeyboardInterrupt):
            team(work)
        assert len(ended) == 2
        assert all(helper.work is None for helper in team._helpers)
        monkeypatch.undo()
        calls = []
        team(lambda calls=calls: calls.append(None))
        assert len(calls) == 3


def _solved(image, count):
    return denoise(image, 10.0, threads=count).image.tobytes()


@pytest.fixture(scope="module")
def image():
    """Return an image of several bands."""
    return np.random.default_rng(0).random((600, 500), np.float32)


def test_concurrent_callers_share_no_helper_and_get_the_same_bytes(image):
    expected, found = _solved(image, 1), []
    callers = [
        threading.Thread(target=lambda: found.extend(_solved(image, 3) for _ in range(3))) for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == [expected] * 12
    assert len(threads._idle) == len(set(threads._idle)), "no helper is idle twice"


@needs_fork
def test_a_child_after_a_fork_has_threads_of_its_own(image, team):
    expected = _solved(image, 2)  # so that there are helpers
    child = os.fork()
    if child == 0:
        calls = []
        team(lambda: calls.append(None))  # of a team from before the fork, too
        os._exit(0 if _solved(image, 2) == expected and len(calls) == 3 else 1)
    deadline = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        assert time.monotonic() < deadline, "the child waits for threads that it does not have"
        time.sleep(0.01)
    assert os.waitstatus_to_exitcode(ended[1]) == 0
    assert _solved(image, 2) == expected


def test_the_interpreter_ends_while_helpers_wait():
    script = """
import numpy as np, threading
from tvdenoise import denoise
denoise(np.random.default_rng(0).random((600, 500), np.float32), 10.0, threads=3)
assert any(thread.name == "tvdenoise-helper" for thread in threading.enumerate())
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
