"""A process uses no more processors than its container may, and no number is read from what is not there."""

import threading
from pathlib import Path

import pytest

from tvdenoise import machine
from tvdenoise.batch.share import Machine


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that makes a machine of 16 processors with these files of control groups."""

    def make(membership: str, files: dict[str, str]) -> None:
        files = {"self/cgroup": membership, **{f"groups/{name}": text for name, text in files.items()}}
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        monkeypatch.setattr(machine, "_PROCESS", tmp_path / "self")
        monkeypatch.setattr(machine, "_GROUPS", tmp_path / "groups")
        monkeypatch.setattr(machine, "_scheduled", lambda: 16)
        machine._granted.cache_clear()

    yield make
    machine._granted.cache_clear()


def _quota(folder: str, quota: int, period: int = 100_000) -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "200000 100000\n"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "250000 100000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "5000 100000\n"}, 1),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, 16),
        ("0::/a/b\n", {"a/b/cpu.max": "6400000 100000\n"}, 16),
        ("0::/a/b\n", {"a/b/cpu.max": "800000 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "max 100000\n"}, 4),
        ("0::/elsewhere\n", {"cpu.max": "400000 100000\n"}, 4),
        ("4:memory:/a\n3:cpu,cpuacct:/a\n", _quota("cpu/a", 150_000), 2),
        ("3:cpu,cpuacct:/a\n", _quota("cpu,cpuacct/a", 350_000), 4),
        ("3:cpu,cpuacct:/elsewhere\n", _quota("cpu", 20_000, 10_000), 2),
        ("3:cpu:/a\n", _quota("cpu/a", -1), 16),
        ("3:cpuset:/a\n", _quota("cpu/a", 100_000), 16),
        ("0::/a\n", {"a/cpu.max": "nonsense\n"}, 16),
        ("0::/a\n", {"a/cpu.max": "200000 0\n"}, 16),
        ("", {}, 16),
    ],
)
def test_processors_are_those_of_the_nearest_limit(membership, files, expected, groups) -> None:
    groups(membership, files)
    assert machine.available_threads() == expected
    assert Machine.here().processors == expected


def test_a_process_that_is_scheduled_on_fewer_processors_uses_these(groups, monkeypatch) -> None:
    groups("0::/a\n", {"a/cpu.max": "800000 100000\n"})
    monkeypatch.setattr(machine, "_scheduled", lambda: 3)
    assert machine.available_threads() == 3


def test_work_on_threads_returns_results_in_order_and_raises_the_first_error() -> None:
    seen = set()

    def work(part: int) -> int:
        seen.add(threading.current_thread())
        if part == 40:
            raise ValueError("part 40")
        return part * part

    for most in (1, 3):
        seen.clear()
        with machine.limited_threads(most):
            assert machine.usable_threads() == most
            assert machine.on_threads(work, range(30)) == [part * part for part in range(30)]
            assert 1 <= len(seen) <= most
            with pytest.raises(ValueError, match="part 40"):
                machine.on_threads(work, range(50))
            with machine.limited_threads(None):
                assert machine.usable_threads() == most
    assert machine.usable_threads() == machine.available_threads()
