"""HTTP byte ranges as Go's `net/http` understands them (`fs.go`, parseRange and serveContent)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BadRange", "ByteRange", "NoOverlap", "parse_ranges"]


class BadRange(ValueError):
    """A Range header that is no range; Go answers 416."""


class NoOverlap(ValueError):
    """Every range begins behind the end; Go answers 416 and says the size."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`length` bytes from `start`."""

    start: int
    length: int

    def content_range(self, size: int) -> str:
        """The `Content-Range` of a part of a body of `size` bytes."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


def parse_ranges(header: str, size: int) -> list[ByteRange]:
    """The ranges asked for, clipped to the body; none when there is no header, or when they add up to more than the body.

    In the last case Go serves the whole body, as that many ranges are an attack or a mistake.

    Raises:
        BadRange, NoOverlap: as their names say.
    """
    if not header:
        return []
    if not header.startswith("bytes="):
        raise BadRange("invalid range")
    specs = [spec.strip() for spec in header.removeprefix("bytes=").split(",")]
    given = [spec for spec in specs if spec]
    found = [part for spec in given if (part := _one(spec, size)) is not None]
    if given and not found:
        raise NoOverlap("invalid range: failed to overlap")
    return [] if sum(part.length for part in found) > size else found


def _one(spec: str, size: int) -> ByteRange | None:
    first, dash, last = (part.strip() for part in spec.partition("-"))
    if not dash or not (first or last):
        raise BadRange("invalid range")
    if not first:  # the last N bytes
        length = min(_number(last), size)
        return ByteRange(size - length, length)
    start = _number(first)
    if start >= size:
        return None
    stop = size if not last else min(_number(last) + 1, size)
    if stop <= start:
        raise BadRange("invalid range")
    return ByteRange(start, stop - start)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        raise BadRange("invalid range")
    return int(text)
