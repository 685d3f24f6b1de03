"""A miner's proving deadlines as a node tells them. Source: go-state-types `dline`, Lotus `api/types.go` (Deadline, Partition)."""

from __future__ import annotations

from dataclasses import dataclass

from lotus_client.bitfield import BitField
from lotus_client.types import Epoch

__all__ = ["DeadlineInfo", "ProvingPartition"]


@dataclass(frozen=True, slots=True)
class DeadlineInfo:
    """The deadline that is open at `current_epoch` (or the first one, before the period starts), and the rules of all.

    A deadline takes proofs from `open` up to, but not at, `close`; their randomness is drawn at `challenge`. The last
    three are constants of the network: deadlines in a period, epochs a deadline is open, epochs from challenge to open.
    """

    current_epoch: Epoch
    period_start: Epoch
    index: int
    open: Epoch
    close: Epoch
    challenge: Epoch
    deadlines: int
    window: int
    lookback: int

    def after(self, steps: int) -> DeadlineInfo:
        """The deadline `steps` further, in the next period where this one is over."""
        index = self.index + steps
        opens = Epoch(self.open + steps * self.window)
        period = self.deadlines * self.window
        return DeadlineInfo(
            self.current_epoch,
            Epoch(self.period_start + index // self.deadlines * period),
            index % self.deadlines,
            opens,
            Epoch(opens + self.window),
            Epoch(opens - self.lookback),
            self.deadlines,
            self.window,
            self.lookback,
        )


@dataclass(frozen=True, slots=True)
class ProvingPartition:
    """Sectors that are proven together: those that have not ended, and of these the faulty and the recovering ones."""

    live: BitField
    faulty: BitField
    recovering: BitField

    @property
    def needs_proof(self) -> bool:
        """Whether a missing proof would cost something: it has healthy, new or recovering sectors.

        A partition with none is not proven, and cannot be (builtin-actors `deadline_state.rs`).
        """
        return bool(self.live - self.faulty) or bool(self.recovering)
