"""RLE+ bitfields: sets of numbers written as run lengths (sector numbers, allocated bytes of an unsealed file).

Bits are read lowest first: 2 version bits 00, 1 bit for the value of the first run, then runs, alternating in value:
`1` is length 1, `01` + 4 bits a length below 16, `00` + uvarint any length. Runs are kept as ranges, so a hostile run
length costs nothing. Source: filecoin-project/go-bitfield `rle/rleplus_reader.go`, `rleplus_writer.go`, `rleplus.go`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lotus_client.varint import encode_uvarint

__all__ = ["MAX_ENCODED_SIZE", "BitField", "BitFieldError"]

# go-bitfield's own limit for a field in a message or in state, 32 KiB.
MAX_ENCODED_SIZE: Final = 32 << 10

_MAX_VALUE: Final = 1 << 64
_MAX_VARINT_GROUPS: Final = 10


class BitFieldError(ValueError):
    """Bytes or JSON that are not a valid RLE+ bitfield; the message says why."""


@dataclass(frozen=True, slots=True)
class BitField:
    """A set of numbers below 2**64 as sorted ranges [start, stop) that neither touch nor overlap."""

    ranges: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        end = -1
        for start, stop in self.ranges:
            if not end < start < stop <= _MAX_VALUE:
                raise BitFieldError(f"range {start}..{stop} is empty, out of order or too large")
            end = stop

    @classmethod
    def from_ranges(cls, ranges: Iterable[tuple[int, int]]) -> BitField:
        """The union of ranges [start, stop) in any order; empty ones are dropped.

        Raises:
            BitFieldError: a range is negative or ends above 2**64.
        """
        joined: list[tuple[int, int]] = []
        for start, stop in sorted(ranges):
            if stop < start:
                raise BitFieldError(f"range {start}..{stop} ends before it starts")
            if stop == start:
                continue
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
            else:
                joined.append((start, stop))
        return cls(tuple(joined))

    @classmethod
    def from_ints(cls, values: Iterable[int]) -> BitField:
        """The set of `values`, given in any order."""
        return cls.from_ranges((value, value + 1) for value in values)

    @classmethod
    def decode(cls, data: bytes, *, max_encoded: int = MAX_ENCODED_SIZE) -> BitField:
        """The set written in `data`; no bytes are the empty set.

        Run lengths longer than they need be and zero bytes at the end are read, as they carry no ambiguity.

        Raises:
            BitFieldError: longer than `max_encoded`, wrong version, a run of zero before the end, or beyond 2**64.
        """
        if len(data) > max_encoded:
            raise BitFieldError(f"a bitfield of {len(data)} bytes exceeds the limit {max_encoded}")
        return cls(tuple(_decode_ranges(data)))

    @classmethod
    def from_run_lengths(cls, runs: Sequence[int]) -> BitField:
        """The set of Lotus' JSON form: run lengths alternating from absent to present, `[0, 3, 5, 2]`.

        Raises:
            BitFieldError: a run is not a positive integer (only the first may be 0), or beyond 2**64.
        """
        ranges, position = [], 0
        for index, length in enumerate(runs):
            if not isinstance(length, int) or isinstance(length, bool) or length < 0:
                raise BitFieldError(f"run {index} is {length!r}, not a length")
            if length == 0 and index:
                raise BitFieldError(f"run {index} is 0; only the first may be")
            if index % 2:
                ranges.append((position, position + length))
            position += length
        return cls(tuple(ranges))

    def run_lengths(self) -> list[int]:
        """Lotus' JSON form of the set; the empty set is `[0]`."""
        runs, position = [], 0
        for start, stop in self.ranges:
            runs += [start - position, stop - start]
            position = stop
        return runs or [0]

    def encode(self) -> bytes:
        """The shortest RLE+ bytes of the set; the empty set has none."""
        if not self.ranges:
            return b""
        runs = self.run_lengths()
        bits = 0b100 if runs[0] == 0 else 0
        parts = [(bits, 3)] + [_encode_run(length) for length in runs if length]
        out = bytearray()
        pending = width = 0
        for value, size in parts:
            pending |= value << width
            width += size
            while width >= 8:
                out.append(pending & 0xFF)
                pending >>= 8
                width -= 8
        out.append(pending)
        return bytes(out).rstrip(
            b"\0"
        )  # readers take missing bits for zeros and refuse a zero last byte

    @property
    def count(self) -> int:
        """How many numbers are in the set (may exceed what `len` can return)."""
        return sum(stop - start for start, stop in self.ranges)

    def covers(self, start: int, stop: int) -> bool:
        """Whether every number of [start, stop) is in the set; an empty range always is."""
        if start >= stop:
            return True
        at = bisect_right(self.ranges, start, key=lambda item: item[0]) - 1
        return at >= 0 and stop <= self.ranges[at][1]

    def __contains__(self, value: int) -> bool:
        return self.covers(value, value + 1)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __iter__(self) -> Iterator[int]:
        """Every number, ascending. Check `count` first when the bytes came from outside."""
        for start, stop in self.ranges:
            yield from range(start, stop)

    def __or__(self, other: BitField) -> BitField:
        return BitField.from_ranges(self.ranges + other.ranges)

    def __sub__(self, other: BitField) -> BitField:
        out: list[tuple[int, int]] = []
        holes = list(reversed(other.ranges))
        for whole_start, stop in self.ranges:
            start = whole_start
            while holes and holes[-1][1] <= start:
                holes.pop()
            while holes and holes[-1][0] < stop:
                hole_start, hole_stop = holes[-1]
                if hole_start > start:
                    out.append((start, hole_start))
                start = max(start, hole_stop)
                if hole_stop > stop:
                    break
                holes.pop()
            if start < stop:
                out.append((start, stop))
        return BitField(tuple(out))

    def __and__(self, other: BitField) -> BitField:
        return self - (self - other)


def _encode_run(length: int) -> tuple[int, int]:
    """A run's bits, lowest first, and how many they are."""
    if length == 1:
        return 1, 1
    if length < 16:
        return 0b10 | length << 2, 6
    varint = encode_uvarint(length)
    return int.from_bytes(varint, "little") << 2, 2 + 8 * len(varint)


def _decode_ranges(data: bytes) -> Iterator[tuple[int, int]]:
    reader = _BitReader(data)
    if reader.take(2) != 0:
        raise BitFieldError("RLE+ version is not 0")
    present = reader.take(1) == 1
    position = 0
    while not reader.at_end():
        length = reader.run()
        if length == 0:
            raise BitFieldError("a run of length 0 lies before the end")
        if position + length > _MAX_VALUE:
            raise BitFieldError("the runs go beyond 2**64")
        if present:
            yield position, position + length
        position += length
        present = not present


class _BitReader:
    """Bits of `data`, lowest first; behind the end come zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data.rstrip(b"\0")
        self._next = 0
        self._bits = 0
        self._width = 0

    def at_end(self) -> bool:
        """Whether only zero bits are left."""
        return self._bits == 0 and self._next >= len(self._data)

    def take(self, count: int) -> int:
        while self._width < count:
            byte = self._data[self._next] if self._next < len(self._data) else 0
            self._bits |= byte << self._width
            self._next += 1
            self._width += 8
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        self._width -= count
        return value

    def run(self) -> int:
        if self.take(1):
            return 1
        if self.take(1):
            return self.take(4)
        length = 0
        for group in range(_MAX_VARINT_GROUPS):
            byte = self.take(8)
            length |= (byte & 0x7F) << 7 * group
            if byte < 0x80:
                if byte == 0 and group:
                    raise BitFieldError("a run length is not in its shortest form")
                return length
        raise BitFieldError("a run length exceeds 64 bits")
