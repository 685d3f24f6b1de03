"""What the guard is shown: deadlines by the chain, work and resources by the host. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lotus_client.types import Epoch
from sp_plugin.config.guard import HostRole

__all__ = ["Activity", "ChainSight", "DueDeadline", "GuardRules", "HostSight"]


@dataclass(frozen=True, slots=True)
class GuardRules:
    """The operator's rules. Percentages are whole; `keep_free_bytes` is what the disk of data_dir keeps free."""

    role: HostRole
    lead_epochs: int = 10
    idle_epochs: int = 4
    max_load_percent: int | None = None
    max_io_wait_percent: int | None = None
    least_memory_bytes: int = 0
    keep_free_bytes: int = 0


@dataclass(frozen=True, slots=True)
class DueDeadline:
    """A deadline with partitions that need a proof; `missing` are those of them without one on chain."""

    index: int
    challenge: Epoch
    open: Epoch
    close: Epoch
    needed: tuple[int, ...]
    missing: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChainSight:
    """The open deadline and those whose challenge is near, as a node showed them at `head`.

    `head_time` is the head's timestamp in Unix seconds. `next_challenge` is that of the first deadline not looked at.
    """

    head: Epoch
    head_time: int
    block_delay_seconds: int
    deadlines: tuple[DueDeadline, ...]
    next_challenge: Epoch

    def epoch_at(self, now: float) -> Epoch:
        """The chain's epoch at a moment in Unix seconds: blocks may be late, epochs are not."""
        passed = int(now - self.head_time) // max(1, self.block_delay_seconds)
        return Epoch(self.head + max(0, passed))


class Activity(StrEnum):
    """Whether software of the provider is seen at work on this host."""

    BUSY = "busy"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class HostSight:
    """What this host shows; None is what it does not tell.

    `proving` and `sealing` are None where nothing that would show them can be seen. `seen` says by what they were seen,
    `unseen` what could not be looked at, and why.
    """

    proving: Activity | None = None
    sealing: Activity | None = None
    seen: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    load_percent: int | None = None
    io_wait_percent: int | None = None
    memory_bytes: int | None = None
    disk_free_bytes: int | None = None
