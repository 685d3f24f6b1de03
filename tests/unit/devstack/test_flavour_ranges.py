"""Byte ranges and sniffing as Go's net/http has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.flavours.byte_ranges import BadRange, ByteRange, NoOverlap, parse_ranges
from devstack.flavours.sniff import content_type_of


# Go's net/http range_test.go ParseRangeTests
@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        ("", 0, []),
        ("", 1000, []),
        ("bytes=", 0, []),
        ("bytes=0-9", 10, [(0, 10)]),
        ("bytes=0-", 10, [(0, 10)]),
        ("bytes=5-", 10, [(5, 5)]),
        ("bytes=0-20", 10, [(0, 10)]),
        ("bytes=1-2,5-", 10, [(1, 2), (5, 5)]),
        ("bytes=-2 , 7-", 11, [(9, 2), (7, 4)]),
        ("bytes=0-0 ,2-2, 7-", 11, [(0, 1), (2, 1), (7, 4)]),
        ("bytes=-5", 10, [(5, 5)]),
        ("bytes=-15", 10, [(0, 10)]),
        ("bytes=0-499", 10000, [(0, 500)]),
        ("bytes=500-600,601-999", 10000, [(500, 101), (601, 399)]),
        ("bytes=20-,0-1", 10, [(0, 2)]),  # what lies behind the end is passed over beside another
    ],
)
def test_a_range_header_means_what_it_means_to_go(
    header: str, size: int, expected: list[tuple[int, int]]
) -> None:
    assert parse_ranges(header, size) == [ByteRange(*pair) for pair in expected]


@pytest.mark.parametrize(
    "header",
    ["keks=0-5", "bytes=7", "bytes= 7 ", "bytes=,,-", "bytes=5-4", "bytes=A-", "bytes=A- ", "bytes=--2"],
)  # fmt: skip
def test_what_is_no_range_is_refused(header: str) -> None:
    with pytest.raises(BadRange):
        parse_ranges(header, 10)


def test_ranges_behind_the_end_alone_are_another_error() -> None:
    with pytest.raises(NoOverlap):
        parse_ranges("bytes=20-,30-", 10)


def test_more_bytes_than_the_body_has_give_the_whole_body() -> None:
    assert parse_ranges("bytes=0-9,0-9", 10) == []


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 150))
def test_one_range_is_what_slicing_gives(start: int, last: int, size: int) -> None:
    body = bytes(range(size))
    if start > last or start >= size:
        with pytest.raises((BadRange, NoOverlap)):
            parse_ranges(f"bytes={start}-{last}", size)
        return
    (found,) = parse_ranges(f"bytes={start}-{last}", size)
    assert body[found.start : found.start + found.length] == body[start : last + 1]
    assert found.content_range(size) == f"bytes {start}-{min(last, size - 1)}/{size}"


# Go's net/http sniff_test.go, and what lies in pieces
@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"", "text/plain; charset=utf-8"),
        (bytes([1, 2, 3]), "application/octet-stream"),
        (b"<HtMl><bOdY>blah blah blah</body></html>", "text/html; charset=utf-8"),
        (b"\n\n  <!DOCTYPE HTML>...", "text/html; charset=utf-8"),
        (b"\n<?xml!", "text/xml; charset=utf-8"),
        (b"GIF89a...", "image/gif"),
        (b"\x1f\x8b\x08", "application/x-gzip"),
        (b"RIFFb\xb8\x00\x00WAVEfmt \x12\x00\x00\x00\x06", "audio/wave"),
        (b"\x0a\xa1gversion\x02", "application/octet-stream"),  # a CARv2
        (b"plain words, and no control bytes", "text/plain; charset=utf-8"),
        (b"<a-tag-that-is-none", "text/plain; charset=utf-8"),
    ],
)  # fmt: skip
def test_the_content_type_is_the_one_go_detects(start: bytes, expected: str) -> None:
    assert content_type_of(start) == expected
