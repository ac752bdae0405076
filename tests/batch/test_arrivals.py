"""Which files have settled, at times that the tests choose."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvdenoise.batch.watch import Arrivals, Stamp

A, B = Path("a.png"), Path("b.png")


class Disk(dict[Path, int]):
    """Files by their sizes."""

    def look(self, path: Path) -> Stamp | None:
        return Stamp((0, 0), self[path], 0, 0o644) if path in self else None


@pytest.fixture
def disk() -> Disk:
    return Disk({A: 1})


@pytest.fixture
def arrivals(disk: Disk) -> Arrivals:
    return Arrivals(2.0, disk.look)


def test_a_file_is_handed_out_once_when_it_has_been_the_same_for_long_enough(arrivals: Arrivals) -> None:
    arrivals.note([A], 10.0)
    assert arrivals.next_due == 12.0
    assert arrivals.settled(11.9) == []
    assert arrivals.settled(12.0) == [A]
    assert arrivals.next_due is None
    arrivals.note([A], 13.0)
    assert arrivals.settled(20.0) == []


def test_a_growing_file_waits_even_where_no_event_tells_of_it(arrivals: Arrivals, disk: Disk) -> None:
    arrivals.note([A], 10.0)
    disk[A] = 2
    assert arrivals.settled(12.0) == []
    assert arrivals.settled(13.9) == []
    assert arrivals.settled(14.0) == [A]


def test_news_of_a_change_starts_the_time_again(arrivals: Arrivals, disk: Disk) -> None:
    arrivals.note([A], 10.0)
    disk[A] = 2
    arrivals.note([A], 11.5)
    assert arrivals.settled(12.5) == []
    assert arrivals.settled(13.5) == [A]


def test_a_file_that_changes_later_is_handed_out_again(arrivals: Arrivals, disk: Disk) -> None:
    arrivals.note([A], 10.0)
    assert arrivals.settled(12.0) == [A]
    disk[A] = 2
    arrivals.note([A], 20.0)
    assert arrivals.settled(22.0) == [A]


def test_a_file_that_goes_away_is_forgotten(arrivals: Arrivals, disk: Disk) -> None:
    disk[B] = 1
    arrivals.note([A, B], 10.0)
    del disk[A]
    assert arrivals.settled(12.0) == [B]
    del disk[B]
    arrivals.note([A, B], 13.0)
    assert arrivals.next_due is None
    disk[B] = 1
    arrivals.note([B], 14.0)
    assert arrivals.settled(16.0) == [B]


def test_a_burst_of_news_about_a_file_is_one_arrival(arrivals: Arrivals) -> None:
    for number in range(1000):
        arrivals.note([A], 10.0 + number / 1000)
    assert arrivals.settled(12.0) == [A]
