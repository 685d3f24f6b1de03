"""The provider's programs among the processes of a host, on a /proc made of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sp_plugin.guard.processes import ProcessEye
from sp_plugin.guard.resources import io_wait_percent, memory_available
from sp_plugin.guard.sights import Activity

TICKS = os.sysconf("SC_CLK_TCK")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Proc:
    """A /proc whose processes can be set to work."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def process(self, pid: int, comm: str, cgroup: str = "0::/user.slice\n") -> None:
        directory = self.root / str(pid)
        (directory / "task" / str(pid)).mkdir(parents=True)
        (directory / "comm").write_text(comm + "\n")
        (directory / "cgroup").write_text(cgroup)
        self.ticks(pid, 0)

    def ticks(self, pid: int, ticks: int, state: str = "S", thread_state: str = "S") -> None:
        # the name may hold anything, also a bracket: proc(5)
        fields = ["0"] * 40
        fields[10], fields[11] = str(ticks // 2), str(ticks - ticks // 2)
        rest = " ".join(fields)
        stat = f"{pid} (a) strange) name) {state} {rest}"
        (self.root / str(pid) / "stat").write_text(stat)
        thread = f"{pid} (thread) {thread_state} {rest}"
        (self.root / str(pid) / "task" / str(pid) / "stat").write_text(thread)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    (tmp_path / "self").mkdir()
    return Proc(tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def eye(proc: Proc, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> ProcessEye:
    monkeypatch.setattr(os, "getuid", lambda: 12345)  # the files here are another's
    return ProcessEye(proc.root, clock)


def test_nothing_is_known_where_none_of_them_runs(eye, proc, clock):
    proc.process(7, "bash")
    assert eye.look().activity is None
    clock.now += 5
    assert eye.look().found == ()


def test_work_shows_from_the_second_look_on(eye, proc, clock):
    proc.process(7, "lotus-miner")
    first = eye.look()
    assert (first.activity, first.found) == (None, ("lotus-miner (7)",))
    clock.now += 10
    proc.ticks(7, 2 * TICKS)  # a fifth of a core
    assert eye.look().activity is Activity.IDLE
    clock.now += 10
    proc.ticks(7, 6 * TICKS)
    assert eye.look().activity is Activity.BUSY


def test_two_looks_at_once_are_one_since_a_tick_of_the_clock_is_no_work(eye, proc, clock):
    proc.process(7, "lotus-miner")
    eye.look()
    clock.now += 10
    assert eye.look().activity is Activity.IDLE
    clock.now += 0.01
    proc.ticks(7, 1)
    assert eye.look().activity is Activity.IDLE
    clock.now += 1
    proc.ticks(7, TICKS)
    assert eye.look().activity is Activity.BUSY


def test_many_together_are_at_work_although_none_alone_is(eye, proc, clock):
    for pid in (1, 2, 3):
        proc.process(pid, "lotus-worker")
    eye.look()
    clock.now += 10
    for pid in (1, 2, 3):
        proc.ticks(pid, TICKS)
    assert eye.look().activity is Activity.BUSY


def test_a_thread_that_waits_for_its_disk_is_at_work(eye, proc, clock):
    proc.process(7, "curio")
    eye.look()
    clock.now += 10
    proc.ticks(7, 1, thread_state="D")
    assert eye.look().activity is Activity.BUSY


@pytest.mark.parametrize(
    "cgroup",
    [
        "0::/system.slice/lotus-miner.service\n",
        "9:name=systemd:/system.slice/lotus-miner@one.service\n8:pids:/\n",
    ],
)
def test_a_unit_of_that_name_counts_whatever_its_processes_are_called(eye, proc, cgroup):
    proc.process(7, "start.sh", cgroup)
    assert eye.look().found == ("lotus-miner (7)",)


def test_other_names_and_units_do_not(eye, proc):
    proc.process(7, "curious", "0::/system.slice/not-lotus-miner.service\n")
    proc.process(8, "lotus", "0::/lotus-miner\n")
    assert eye.look().found == ()


def test_processes_of_this_user_are_not_counted_since_a_job_can_bear_any_name(proc, clock):
    proc.process(7, "lotus-miner")
    owner = (proc.root / "7").stat().st_uid
    eye = ProcessEye(proc.root, clock)
    eye._not_counted = {owner}
    assert eye.look().found == ()


def test_new_processes_are_found_within_half_a_minute_and_gone_ones_forgotten(eye, proc, clock):
    proc.process(7, "lotus-miner")
    eye.look()
    proc.process(8, "lotus-worker")
    clock.now += 31
    assert eye.look().found == ("lotus-miner (7)", "lotus-worker (8)")
    for file in ("stat", "comm"):
        (proc.root / "7" / file).unlink()
    clock.now += 5
    assert eye.look().found == ("lotus-worker (8)",)


@pytest.mark.parametrize("text", ["", "7", "7 (x) S", "7 (x) S a b c d e f g h i j k l m n"])
def test_a_stat_that_cannot_be_read_is_no_process(eye, proc, text):
    proc.process(7, "lotus-miner")
    (proc.root / "7" / "stat").write_text(text)
    assert eye.look().activity is None


def test_a_process_with_an_id_used_again_never_counts_backwards(eye, proc, clock):
    proc.process(7, "lotus-miner")
    proc.ticks(7, 1000 * TICKS)
    eye.look()
    clock.now += 5
    proc.ticks(7, 0)
    assert eye.look().activity is Activity.IDLE


def test_waiting_for_disks_and_memory_are_read_as_linux_prints_them(tmp_path):
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure" / "io").write_text(
        "some avg10=71.20 avg60=2.57 avg300=7.56 total=4214119670\n"
        "full avg10=33.04 avg60=0.00 avg300=0.00 total=0\n"
    )
    (tmp_path / "meminfo").write_text("MemTotal:  24684 kB\nMemAvailable:    2048 kB\n")
    assert io_wait_percent(tmp_path) == 33
    assert memory_available(tmp_path) == 2 << 20
    assert io_wait_percent(tmp_path / "none") is None
    (tmp_path / "meminfo").write_text("MemTotal:  24684 kB\n")
    assert memory_available(tmp_path) is None
