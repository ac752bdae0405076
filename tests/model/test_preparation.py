"""The time that loading and compiling kernels takes, and who is told of a compilation."""

from contextlib import ExitStack

import pytest

from tvdenoise.model import preparation


@pytest.fixture
def now(monkeypatch):
    """Return a list whose last element is the time."""
    times = [100.0]
    monkeypatch.setattr(preparation.time, "perf_counter", lambda: times[-1])
    return times


def test_the_clock_stands_still_while_kernels_are_prepared(now):
    start = preparation.clock()
    now.append(101.0)
    assert preparation.clock() - start == 1
    preparation.begin()
    now.append(105.0)
    during = preparation.clock()
    assert during - start == 1
    preparation.begin()  # one that the first needs
    now.append(107.0)
    preparation.end()
    now.append(110.0)
    preparation.end()
    assert preparation.clock() - start == 1
    now.append(110.5)
    assert preparation.clock() - start == 1.5
    assert preparation.clock() - during == 0.5


def test_the_last_listener_is_told_in_whatever_order_they_leave():
    told = []
    first, second = ExitStack(), ExitStack()
    first.enter_context(preparation.announcing(lambda: told.append("first")))
    second.enter_context(preparation.announcing(lambda: told.append("second")))
    preparation.announce()
    first.close()
    preparation.announce()
    second.close()
    preparation.announce()
    assert told == ["second", "second"]
