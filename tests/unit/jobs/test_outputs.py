from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from deals.car import CarBlocks
from deals.unixfs import UnixFs
from sp_plugin.executors.base import ExecutionLimits
from sp_plugin.jobs.outputs import OutputRefused, check_outputs, pack_results

LIMITS = ExecutionLimits(output_bytes=10_000, output_files=20)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    directory = tmp_path / "results" / "out"
    (directory / "deep").mkdir(parents=True)
    (directory / "deep" / "a.txt").write_text("alpha")
    return directory


def test_plain_files_and_directories_are_taken(out):
    assert check_outputs([out], LIMITS) == (5, 2)


def _deep(path: Path) -> None:
    for _ in range(70):
        path = path / "d"
        path.mkdir()


BAD = {
    "symbolic link": lambda out: (out / "x").symlink_to("/etc/passwd"),
    "hard link": lambda out: (out / "x").hardlink_to(out / "deep" / "a.txt"),
    "device, pipe": lambda out: os.mkfifo(out / "x"),
    "not UTF-8": lambda out: Path(os.fsdecode(bytes(out) + b"/\xff")).touch(),
    "exceed 10000 bytes": lambda out: (out / "x").write_bytes(b"x" * 10_001),
    "exceed 20 files": lambda out: [(out / str(i)).touch() for i in range(30)],
    "exceed 20": _deep,
}


@pytest.mark.parametrize("said", BAD)
def test_what_is_not_a_plain_file_or_too_much_is_refused_by_name(out, said):
    BAD[said](out)
    with pytest.raises(OutputRefused, match=said):
        check_outputs([out], LIMITS)


def test_directories_nested_too_deep_are_refused(out):
    _deep(out)
    with pytest.raises(OutputRefused, match="nested deeper"):
        check_outputs([out], ExecutionLimits(output_files=1000))


def test_a_sparse_file_counts_with_its_holes(out):
    with (out / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OutputRefused, match="10000 bytes"):
        check_outputs([out], LIMITS)


def test_a_socket_is_refused(out, monkeypatch):
    monkeypatch.chdir(out)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with pytest.raises(OutputRefused, match="socket"):
            check_outputs([out], LIMITS)


def test_packed_results_have_a_root_that_reads_back(out, tmp_path):
    results = out.parent
    (results / "exitCode").write_text("0")
    packed = pack_results(results, tmp_path / "results.car")
    again = pack_results(results, tmp_path / "again.car")
    assert packed.root == again.root
    assert (tmp_path / "results.car").read_bytes() == (tmp_path / "again.car").read_bytes()
    assert packed.payload_bytes == 6
    with packed.car.open("rb") as car:
        fs = UnixFs(CarBlocks(car))
        assert b"".join(fs.read_file(fs.resolve(packed.root, ("out", "deep", "a.txt")).cid)) == (
            b"alpha"
        )
