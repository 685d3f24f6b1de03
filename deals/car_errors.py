"""What can be wrong with a CAR, and how much of one is accepted."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CarCorrupt", "CarError", "CarLimitExceeded", "CarLimits", "NotACar"]


class CarError(ValueError):
    """Base: the CAR cannot be read; `offset` is the byte in the stream where it fails."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} (byte {offset})")
        self.offset = offset


class NotACar(CarError):
    """The bytes do not begin as a CARv1 or CARv2 does; the piece may hold something else."""


class CarCorrupt(CarError):
    """A CAR that is cut short, inconsistent, or holds a block that is not what its CID says."""


class CarLimitExceeded(CarError):
    """A size in the CAR is above the limit that this reader was given."""


@dataclass(frozen=True, slots=True)
class CarLimits:
    """What a reader accepts: bytes of header and of one block, number of roots and of blocks."""

    max_header: int = 64 << 10
    max_block: int = 2 << 20  # Bitswap's block limit, which every IPFS tool keeps to
    max_roots: int = 1024
    max_blocks: int = 2_000_000
