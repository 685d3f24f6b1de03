from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path

import pytest

from sp_plugin.executors.base import ExecutionLimits, OutcomeKind
from sp_plugin.executors.capture import CappedFile
from sp_plugin.executors.docker.handle import oom_kills
from sp_plugin.executors.docker.holder import waiting_program
from sp_plugin.executors.docker.images import may_pull
from sp_plugin.executors.docker.loop_image import image_bytes
from sp_plugin.executors.docker.pipes import open_pipes, parent_of
from sp_plugin.executors.docker.probing import disk_of
from sp_plugin.executors.docker.streams import resume_at
from sp_plugin.jobs.retries import RETRY_RULES, RetryRule

DIGEST = "@sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("image", "allowed", "may"),
    [
        ("ghcr.io/org/app" + DIGEST, ["ghcr.io/org"], True),
        ("ghcr.io/org/app" + DIGEST, ["ghcr.io/org/app"], True),
        ("ghcr.io/org/app:v1" + DIGEST, ["ghcr.io/org/app"], True),
        ("ghcr.io/organised/app" + DIGEST, ["ghcr.io/org"], False),
        ("ghcr.io/org/app:v1", ["ghcr.io/org"], False),  # a tag can move
        ("ghcr.io/org/app" + DIGEST, [], False),
        ("ghcr.io/org/app" + DIGEST, [""], False),
        ("busybox" + DIGEST, ["docker.io/library"], True),
        ("busybox" + DIGEST, ["busybox"], False),  # docker.io/busybox is another place
        ("org/app" + DIGEST, ["docker.io/org"], True),
        ("127.0.0.1:5000/app" + DIGEST, ["127.0.0.1:5000"], True),
        ("127.0.0.1:5000/app" + DIGEST, ["127.0.0.1:500"], False),
        ("evil.example/ghcr.io/org/app" + DIGEST, ["ghcr.io/org"], False),
    ],
)
def test_images_are_pulled_by_digest_and_from_allowed_repositories_only(image, allowed, may):
    assert may_pull(image, allowed) is may


@pytest.mark.parametrize(
    ("kept", "log", "skip", "lost"),
    [
        (b"", b"", 0, False),
        (b"abc", b"abcdef", 3, False),
        (b"abc", b"abc", 3, False),
        (b"abcdef", b"abc", 3, False),  # the engine had not written its log to the end
        (b"x" * 9000 + b"abc", b"x" * 5000 + b"abcdef", 5003, False),  # it lost its beginning
        (b"abc", b"xyz", 0, True),
    ],
)
def test_a_stream_goes_on_where_its_file_ends(tmp_path, kept, log, skip, lost):
    (tmp_path / "stdout").write_bytes(kept)
    file = CappedFile(tmp_path / "stdout", 1 << 20, is_resumed=True)
    assert resume_at(file, log) == (skip, lost)
    file.close()


def test_a_capped_file_that_is_resumed_keeps_its_limit_and_its_marker(tmp_path):
    path = tmp_path / "stdout"
    first = CappedFile(path, 10)
    first.write(b"12345")
    first.close()
    second = CappedFile(path, 10, is_resumed=True)
    second.write(b"678901")
    second.close()
    third = CappedFile(path, 10, is_resumed=True)
    third.write(b"more")
    third.close()
    assert third.truncated
    assert path.read_bytes() == b"1234567890\n[cut here: only the first 10 bytes are kept]\n"


def test_the_holders_program_is_what_it_was():
    assert waiting_program("x86_64")[-9:].hex() == "b8220000000f05ebf7"
    assert len(waiting_program("x86_64")) == 129
    assert len(waiting_program("aarch64")) == 152
    assert waiting_program("arm64")[18] == 183
    with pytest.raises(ValueError, match="riscv64"):
        waiting_program("riscv64")


def test_the_holders_program_waits_until_it_is_killed(tmp_path):
    program = tmp_path / "hold"
    program.write_bytes(waiting_program(platform.machine()))
    program.chmod(0o700)
    process = subprocess.Popen([program])
    time.sleep(0.3)
    assert process.poll() is None
    process.kill()
    assert process.wait() == -9


def test_killed_processes_are_counted_by_either_version_of_cgroups(tmp_path):
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "5").mkdir(parents=True)
    for place, file in (
        ("docker/abc", "memory.events"),
        ("memory/docker/abc", "memory.oom_control"),
    ):
        (cgroups / place).mkdir(parents=True)
        (cgroups / place / file).write_text("oom 4\noom_kill 2\n")
    for line in ("0::/docker/abc", "9:cpu,memory:/docker/abc"):
        (proc / "5/cgroup").write_text(f"1:name=systemd:/x\n{line}\n")
        assert oom_kills(5, "abc", cgroups, proc) == 2
        assert oom_kills(5, "other", cgroups, proc) is None
    assert oom_kills(6, "abc", cgroups, proc) is None


def test_pipes_are_read_only_of_the_container_that_is_meant(tmp_path):
    descriptors = tmp_path / "proc/7/fd"
    descriptors.mkdir(parents=True)
    ends = []
    for number, name in enumerate(("abc/init-stdout", "other/init-stderr")):
        pipe = tmp_path / name
        pipe.parent.mkdir()
        os.mkfifo(pipe)
        (descriptors / str(number)).symlink_to(pipe)
        ends.append(os.open(pipe, os.O_RDWR))
        os.write(ends[-1], b"last words")
    pipes = open_pipes(7, "abc", tmp_path / "proc")
    assert pipes.drain() == {"stdout": b"last words"}
    assert pipes.drain() == {"stdout": b""}
    pipes.close()
    for end in ends:
        os.close(end)
    assert parent_of(os.getpid()) == os.getppid()
    assert parent_of(4_000_000_000) is None


def test_a_partition_is_throttled_by_its_whole_disk(tmp_path):
    number = Path("/").stat().st_dev
    disk = tmp_path / "devices/sda"
    (disk / "sda1").mkdir(parents=True)
    (disk / "sda1/partition").write_text("1\n")
    (disk / "uevent").write_text("MAJOR=8\nDEVNAME=sda\nDEVTYPE=disk\n")
    (tmp_path / f"{os.major(number)}:{os.minor(number)}").symlink_to(disk / "sda1")
    assert disk_of(Path("/"), tmp_path) == "/dev/sda"
    assert disk_of(Path("/"), tmp_path / "none") is None


def test_an_image_has_room_for_its_limit_and_for_its_tables():
    limits = ExecutionLimits(output_bytes=1 << 30, output_files=10_000)
    assert 1.03 < image_bytes(limits) / (1 << 30) < 1.06
    assert image_bytes(limits) % 4096 == 0


def test_every_outcome_has_its_retry_rule():
    assert set(RETRY_RULES) == set(OutcomeKind)
    again = {kind for kind, rule in RETRY_RULES.items() if rule.attempts > 1}
    assert again == {
        OutcomeKind.INPUT_SEALED,
        OutcomeKind.IMAGE_MISSING,
        OutcomeKind.PUBLISH_FAILED,
        OutcomeKind.RUNTIME_FAULT,
    }
    for rule in RETRY_RULES.values():
        assert min(1, rule.attempts - 1) <= len(rule.waits) <= rule.attempts - 1
        assert list(rule.waits) == sorted(rule.waits)


def test_waits_grow_and_end_with_the_attempts():
    rule = RetryRule(4, (1, 60))
    assert [rule.wait_after(attempt) for attempt in (1, 2, 3, 4, 5)] == [1, 60, 60, None, None]
    assert RetryRule().wait_after(1) is None
