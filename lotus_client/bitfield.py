"""Sets of sector numbers as the actors keep them: runs, so that a set of a billion numbers stays small."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Bitfield"]


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
