"""Small values of the chain, typed so that they cannot be confused.

`NewType` where only confusion must be prevented; `AttoFil` is a class because money has arithmetic.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NewType

__all__ = [
    "EPOCHS_PER_DAY",
    "ActorId",
    "AllocationId",
    "AttoFil",
    "ClaimId",
    "Epoch",
    "NetworkVersion",
    "PaddedPieceSize",
    "SectorNumber",
]

Epoch = NewType("Epoch", int)  # 30 s each on mainnet; genesis is 0
ActorId = NewType("ActorId", int)  # the N of "f0N"
SectorNumber = NewType("SectorNumber", int)  # unique within one miner actor, never reused
AllocationId = NewType("AllocationId", int)
ClaimId = NewType("ClaimId", int)  # the id of the allocation it came from
PaddedPieceSize = NewType("PaddedPieceSize", int)  # bytes, a power of two of at least 128
NetworkVersion = NewType("NetworkVersion", int)

# builtin-actors runtime/src/runtime/policy.rs
EPOCHS_PER_DAY: Final = 2880

_ATTO_PER_FIL: Final = 10**18
_MAX_AMOUNT_TEXT: Final = 100  # all FIL there will ever be has 28 digits of attoFIL
_WHOLE: Final = re.compile("-?[0-9]+")
_DECIMAL: Final = re.compile(r"(?P<sign>-?)(?P<whole>[0-9]+)(?:\.(?P<fraction>[0-9]+))?")


@dataclass(frozen=True, slots=True, order=True)
class AttoFil:
    """An amount of FIL in attoFIL (10**-18 FIL). Exact; may be negative in a posting."""

    value: int

    def __post_init__(self) -> None:
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise TypeError(f"AttoFil takes an int, got {self.value!r}")

    @classmethod
    def parse(cls, text: str) -> AttoFil:
        """The amount of a decimal attoFIL string as Lotus prints it; empty is 0.

        Raises:
            ValueError: not a whole decimal number.
        """
        if not text:
            return cls(0)
        if len(text) > _MAX_AMOUNT_TEXT or not _WHOLE.fullmatch(text):
            raise ValueError(f"{text[:60]!r} is not a whole number of attoFIL")
        return cls(int(text))

    @classmethod
    def from_fil(cls, text: str) -> AttoFil:
        """The amount of a decimal FIL string such as `"1.5"`, exact to the last of 18 places.

        Raises:
            ValueError: not a number, or finer than one attoFIL.
        """
        found = _DECIMAL.fullmatch(text) if len(text) <= _MAX_AMOUNT_TEXT else None
        if found is None:
            raise ValueError(f"{text[:60]!r} is not an amount of FIL such as 1.5")
        sign, whole, fraction = found["sign"], found["whole"], found["fraction"] or ""
        if fraction[18:].strip("0"):
            raise ValueError(f"{text!r} is finer than one attoFIL (18 decimal places)")
        number = int(whole + fraction[:18].ljust(18, "0"))
        return cls(-number if sign else number)

    def __add__(self, other: AttoFil) -> AttoFil:
        if not isinstance(other, AttoFil):
            return NotImplemented
        return AttoFil(self.value + other.value)

    def __sub__(self, other: AttoFil) -> AttoFil:
        if not isinstance(other, AttoFil):
            return NotImplemented
        return AttoFil(self.value - other.value)

    def __neg__(self) -> AttoFil:
        return AttoFil(-self.value)

    def __bool__(self) -> bool:
        return self.value != 0

    def __str__(self) -> str:
        """The decimal attoFIL string, as on the wire."""
        return str(self.value)

    def to_fil(self) -> str:
        """A decimal FIL string without trailing zeros, e.g. `"1.5"`; exact."""
        whole, rest = divmod(abs(self.value), _ATTO_PER_FIL)
        text = f"{whole}.{rest:018d}".rstrip("0").rstrip(".")
        return f"-{text}" if self.value < 0 else text
