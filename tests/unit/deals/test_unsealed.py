from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deals.fr32 import pad
from deals.unsealed import (
    NotAllocated,
    UnsealedChanged,
    UnsealedCorrupt,
    UnsealedFile,
    UnsealedWriter,
)

SECTOR = 1 << 16
PAYLOAD = bytes(range(1, 252)) * 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "unsealed" / "s-t01000-1"
    UnsealedWriter(file, SECTOR).write_piece(1 << 14, 1 << 14, io.BytesIO(PAYLOAD))
    return file


def test_a_new_file_has_a_bitmap_of_length_zero_and_nothing_in_it(tmp_path: Path) -> None:
    file = tmp_path / "s-t01000-9"
    UnsealedWriter(file, 2048)
    assert file.stat().st_size == 2052  # as Lotus makes it for a 2 KiB sector
    with UnsealedFile.open(file, 2048) as unsealed:
        assert not unsealed.allocated
        with pytest.raises(NotAllocated, match="unseal"):
            unsealed.read_piece(0, 128)


@pytest.mark.parametrize(
    ("bitmap", "whole"),
    [
        (b"\0", False),
        # version 00, first run present, `00`, then 2048 as varint 80 10; a zero byte more than needed
        ((0b100 | 0x1080 << 5).to_bytes(4, "little"), True),
    ],
)
def test_bitmaps_with_the_zero_byte_that_gos_writer_leaves_are_read(
    tmp_path: Path, bitmap: bytes, whole: bool
) -> None:
    file = tmp_path / "s-t01000-8"
    file.write_bytes(bytes(2048) + bitmap + len(bitmap).to_bytes(4, "little"))
    with UnsealedFile.open(file, 2048) as unsealed:
        assert unsealed.has(0, 2048) is whole


def test_a_file_without_a_trailer_is_wholly_present(tmp_path: Path) -> None:
    file = tmp_path / "s-t01000-2"
    file.write_bytes(pad(bytes([7]) * 127 * 16))
    with UnsealedFile.open(file, 2048) as unsealed, unsealed.read_piece(1024, 1024) as reader:
        assert reader.read() == bytes([7]) * 127 * 8


def test_a_piece_is_read_back_with_zeros_behind_it(path: Path) -> None:
    with UnsealedFile.open(path, SECTOR) as file, file.read_piece(1 << 14, 1 << 14) as reader:
        piece = reader.read()
    assert len(piece) == (1 << 14) // 128 * 127
    assert piece[: len(PAYLOAD)] == PAYLOAD
    assert not any(piece[len(PAYLOAD) :])


def test_the_data_on_disk_is_padded_at_the_padded_offset(path: Path) -> None:
    raw = path.read_bytes()
    assert raw[1 << 14 :].startswith(pad(PAYLOAD)[: len(PAYLOAD)])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.integers(0, 1 << 14), st.integers(0, 1 << 14))
def test_any_range_of_a_piece_can_be_read(path: Path, start: int, count: int) -> None:
    with UnsealedFile.open(path, SECTOR) as file, file.read_piece(1 << 14, 1 << 14) as reader:
        whole = PAYLOAD.ljust((1 << 14) // 128 * 127, b"\0")
        reader.seek(start)
        assert reader.read(count) == whole[start : start + count]


def test_the_end_of_a_piece_can_be_found_by_seeking(path: Path) -> None:
    with UnsealedFile.open(path, SECTOR) as file, file.read_piece(1 << 14, 1 << 14) as reader:
        assert reader.seek(0, io.SEEK_END) == (1 << 14) // 128 * 127
        assert reader.read(10) == b""
        with pytest.raises(ValueError, match="seek"):
            reader.seek(-1)


def test_bytes_that_are_not_allocated_are_not_given_out(path: Path) -> None:
    with UnsealedFile.open(path, SECTOR) as file:
        with pytest.raises(NotAllocated):
            file.read_piece(0, 1 << 15)  # only its second half is there
        assert not file.has(0, 128)
    UnsealedWriter(path, SECTOR).free(1 << 14, 1 << 13)
    with UnsealedFile.open(path, SECTOR) as file:
        assert not file.has(1 << 14, 128)
        assert file.has((1 << 14) + (1 << 13), 1 << 13)


def test_a_range_that_cannot_be_a_piece_is_refused(path: Path) -> None:
    with UnsealedFile.open(path, SECTOR) as file:
        for offset, size in [(128, 256), (-128, 128), (SECTOR, 128), (0, SECTOR * 2), (0, 100)]:
            with pytest.raises(ValueError, match="piece"):
                file.read_piece(offset, size)


@pytest.mark.parametrize("change", ["touched", "rewritten", "deleted", "replaced", "shorter"])
def test_a_file_that_changes_while_it_is_read_is_noticed(path: Path, change: str) -> None:
    with UnsealedFile.open(path, SECTOR) as file, file.read_piece(1 << 14, 1 << 14) as reader:
        if change == "touched":
            os.utime(path, ns=(1, 1))
        elif change == "rewritten":
            UnsealedWriter(path, SECTOR).write_piece(0, 128, io.BytesIO(b"x"))
        elif change == "deleted":
            path.unlink()
        elif change == "replaced":
            other = path.with_name("new")
            other.write_bytes(path.read_bytes())
            other.rename(path)
        else:
            os.truncate(path, SECTOR // 8)
        with pytest.raises(UnsealedChanged, match="while it was read"):
            reader.read()


@pytest.mark.parametrize(
    ("size", "trailer", "reason"),
    [
        (SECTOR - 1, b"", "fewer than the sector size"),
        (SECTOR, b"\0", "trailer"),
        (SECTOR, b"\x01\0\0\0", "trailer says"),
        (SECTOR, b"\xff\xff\xff\xff", "trailer says"),
        (SECTOR, b"\x03\x01\0\0\0", "version"),
        (SECTOR, b"\x44" + b"\xff" * 9 + b"\x0a\0\0\0", "corrupt|beyond"),
        (SECTOR, bytes(40_000) + (40_000).to_bytes(4, "little"), "limit"),
    ],
)
def test_a_corrupt_file_is_refused_with_its_reason(
    tmp_path: Path, size: int, trailer: bytes, reason: str
) -> None:
    file = tmp_path / "s-t01000-3"
    file.write_bytes(bytes(size) + trailer)
    with pytest.raises(UnsealedCorrupt, match=reason):
        UnsealedFile.open(file, SECTOR)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=30))
def test_any_trailer_is_read_or_refused(tmp_path: Path, trailer: bytes) -> None:
    file = tmp_path / "s-t01000-4"
    file.write_bytes(bytes(2048) + trailer + len(trailer).to_bytes(4, "little"))
    try:
        with UnsealedFile.open(file, 2048) as unsealed:
            assert all(stop <= 2048 for _, stop in unsealed.allocated.ranges)
    except UnsealedCorrupt:
        pass


def test_a_payload_too_large_for_its_piece_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        UnsealedWriter(path, SECTOR).write_piece(0, 128, io.BytesIO(bytes(128)))


def test_a_fifo_in_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    fifo = tmp_path / "s-t01000-5"
    os.mkfifo(fifo)
    with pytest.raises(UnsealedCorrupt):
        UnsealedFile.open(fifo, SECTOR)


def test_closing_an_owning_reader_closes_the_file(path: Path) -> None:
    file = UnsealedFile.open(path, SECTOR)
    reader = file.read_piece(1 << 14, 1 << 14, owns_file=True)
    reader.close()
    with pytest.raises(OSError, match="descriptor"):
        file.read_piece(1 << 14, 1 << 14)
