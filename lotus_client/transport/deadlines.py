"""How long each kind of call may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["HEAVY_READS", "Deadlines"]

# Answers of many megabytes, or work of minutes for the node. Source: Lotus issues on each of them (`StateCompute` runs a
# whole tipset; the list methods walk a HAMT or AMT of any size; an unlimited message search goes back to genesis).
HEAVY_READS: Final = frozenset(
    f"Filecoin.{name}"
    for name in [
        "ChainGetPath",
        "GetActorEventsRaw",
        "MpoolPending",
        "StateCompute",
        "StateGetAllocations",
        "StateGetClaims",
        "StateListMiners",
        "StateMinerActiveSectors",
        "StateMinerSectors",
        "StateReplay",
        "StateSearchMsg",
    ]
)


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that a whole call may take: a heavy read, and everything else."""

    usual_seconds: float = 60.0
    heavy_seconds: float = 300.0

    def of(self, method: str) -> float:
        """The deadline of one call."""
        return self.heavy_seconds if method in HEAVY_READS else self.usual_seconds
