"""Sets of small numbers as runs, and their RLE+ bytes.

Sector lists in messages and state, and the allocation map behind an unsealed sector file, are all RLE+.
Layout, bits from the least significant of each byte on: version `00`; the first run's value; then per run
`1` (length 1), `01` and 4 bits (2..15) or `00` and a uvarint. Nothing at all is the empty set.
Source: go-bitfield `rle/rleplus_writer.go`, `rle/rleplus_reader.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lotus_client.varint import VarintError, decode_uvarint, encode_uvarint

__all__ = ["BitField", "BitFieldError", "Bitfield", "decode_rle_plus", "encode_rle_plus"]

_MAX_BYTES = 32 << 10  # a 32 GiB partition's worst case is far below; bounds work on hostile input
_END = 1 << 64


class BitFieldError(ValueError):
    """Bytes that are no RLE+ set, or a set too large to be listed."""


@dataclass(frozen=True, slots=True)
class BitField:
    """A set of numbers by its runs: unset, set, unset, … lengths, beginning with unset, ending with set.

    This is also Lotus' JSON form, except that the empty set is printed as `[0]` there.
    """

    runs: tuple[int, ...] = ()

    @classmethod
    def of(cls, numbers: Iterable[int]) -> BitField:
        """The set of these numbers, in any order."""
        runs: list[int] = []
        end = 0
        for number in sorted(set(numbers)):
            if number < 0:
                raise BitFieldError(f"a bitfield holds numbers from 0, got {number}")
            if runs and number == end:
                runs[-1] += 1
            else:
                runs += [number - end, 1]
            end = number + 1
        return cls(tuple(runs))

    @classmethod
    def from_bytes(cls, raw: bytes) -> BitField:
        """The set of its RLE+ bytes.

        Raises:
            BitFieldError: not RLE+ in its minimal form.
        """
        return cls(decode_rle_plus(raw))

    def to_bytes(self) -> bytes:
        """The RLE+ bytes."""
        return encode_rle_plus(self.runs)

    def spans(self) -> Iterator[tuple[int, int]]:
        """(first, behind last) of each run of members, ascending."""
        position = 0
        for index, run in enumerate(self.runs):
            if index % 2:
                yield position, position + run
            position += run

    def members(self, limit: int = 1 << 20) -> list[int]:
        """All members, ascending.

        Raises:
            BitFieldError: more than `limit`; a few bytes can name 2**63 of them.
        """
        if self.count > limit:
            raise BitFieldError(f"the bitfield has {self.count} members, at most {limit} are read")
        return [number for first, end in self.spans() for number in range(first, end)]

    @property
    def count(self) -> int:
        """How many members."""
        return sum(self.runs[1::2])

    def __contains__(self, number: int) -> bool:
        return any(first <= number < end for first, end in self.spans())


def encode_rle_plus(runs: Iterable[int]) -> bytes:
    """The RLE+ bytes of alternating unset and set run lengths, beginning with unset.

    A first run of 0, runs of 0 between (which join their neighbours) and a last unset run are fine.
    """
    joined = _join(runs)
    if not joined:
        return b""
    first_is_set = joined[0] == 0
    bits, width = int(first_is_set) << 2, 3
    for run in joined[1:] if first_is_set else joined:
        code, size = _encode_run(run)
        bits |= code << width
        width += size
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _join(runs: Iterable[int]) -> list[int]:
    joined: list[int] = []
    for index, run in enumerate(runs):
        if run < 0:
            raise BitFieldError("a run length is not negative")
        if len(joined) % 2 == index % 2:
            joined.append(run)
        else:  # the run before was dropped as empty, so this one goes on with the one before it
            joined[-1] += run
        if run == 0 and len(joined) > 1:
            joined.pop()
    if len(joined) % 2:
        joined.pop()
    return joined


def _encode_run(run: int) -> tuple[int, int]:
    if run == 1:
        return 1, 1
    if run < 16:
        return 0b10 | run << 2, 6
    number = encode_uvarint(run)
    return int.from_bytes(number, "little") << 2, 2 + 8 * len(number)


def decode_rle_plus(raw: bytes) -> tuple[int, ...]:
    """Alternating unset and set run lengths, beginning with unset (maybe 0), ending with set.

    Raises:
        BitFieldError: another version, cut short, an empty run, a trailing zero byte, or numbers beyond 64 bits.
    """
    if not raw:
        return ()
    if len(raw) > _MAX_BYTES:
        raise BitFieldError(f"a bitfield is at most {_MAX_BYTES} bytes, got {len(raw)}")
    if raw[-1] == 0:
        raise BitFieldError("RLE+ bytes end with a zero byte")
    if raw[0] & 0b11:
        raise BitFieldError(f"RLE+ version {raw[0] & 0b11} is not 0")
    runs = [0] if raw[0] & 0b100 else []
    position = total = 0
    position, last = 3, int.from_bytes(raw[-1:], "little").bit_length() + 8 * (len(raw) - 1)
    while position < last:
        run, position = _decode_run(raw, position)
        total += run
        if run == 0 or total >= _END:
            raise BitFieldError("an RLE+ run is empty or reaches beyond 64 bits")
        runs.append(run)
    return tuple(runs[:-1] if len(runs) % 2 else runs)


def _decode_run(raw: bytes, position: int) -> tuple[int, int]:
    window = int.from_bytes(raw[position // 8 : position // 8 + 12], "little") >> position % 8
    if window & 1:
        return 1, position + 1
    if window & 0b10:
        return window >> 2 & 0xF, position + 6
    try:
        run, size = decode_uvarint((window >> 2 & (1 << 80) - 1).to_bytes(10, "little"))
    except VarintError as error:
        raise BitFieldError(f"an RLE+ run length is wrong: {error}") from error
    return run, position + 2 + 8 * size


@dataclass(frozen=True, slots=True)
class Bitfield:
    """A set of numbers 0..2**63-1 as ascending, non-touching half-open ranges `(start, end)`."""

    ranges: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        last = -1
        for start, end in self.ranges:
            if not (last < start < end <= 1 << 63):
                raise ValueError(
                    "a bitfield's ranges ascend within 0..2**63, are not empty and do not touch"
                )
            last = end

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Bitfield:
        """The set of these numbers, in any order."""
        ranges: list[tuple[int, int]] = []
        for number in sorted(set(numbers)):
            if ranges and ranges[-1][1] == number:
                ranges[-1] = (ranges[-1][0], number + 1)
            else:
                ranges.append((number, number + 1))
        return cls(tuple(ranges))

    @classmethod
    def of_runs(cls, runs: Iterable[int]) -> Bitfield:
        """The set written as run lengths, alternating unset and set and starting with unset.

        Raises:
            ValueError: a negative run, or numbers beyond 2**63-1.
        """
        ranges: list[tuple[int, int]] = []
        position, is_set = 0, False
        for run in runs:
            if run < 0:
                raise ValueError("a run of a bitfield is not negative")
            if is_set and run:
                if ranges and ranges[-1][1] == position:  # an empty run between two set ones
                    ranges[-1] = (ranges[-1][0], position + run)
                else:
                    ranges.append((position, position + run))
            position += run
            is_set = not is_set
        return cls(tuple(ranges))

    def runs(self) -> list[int]:
        """The run lengths, starting with unset; `[0]` for the empty set, as Lotus prints it."""
        out: list[int] = []
        position = 0
        for start, end in self.ranges:
            out += [start - position, end - start]
            position = end
        return out or [0]

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and any(start <= number < end for start, end in self.ranges)

    def __iter__(self) -> Iterator[int]:
        """The numbers in ascending order; a node may claim very many, so bound what you take."""
        for start, end in self.ranges:
            yield from range(start, end)

    @property
    def count(self) -> int:
        """How many numbers are in the set (`len` would overflow on hostile input)."""
        return sum(end - start for start, end in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)
