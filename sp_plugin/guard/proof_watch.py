"""Whether the prover of this host was seen to make a deadline's proof, and to rest since. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from lotus_client.types import Epoch
from sp_plugin.guard.sights import Activity, DueDeadline

__all__ = ["ProofWatch"]


@dataclass(frozen=True, slots=True)
class ProofWatch:
    """What was seen since the challenge of the deadline that opens (or opened) at `opens`; None before there was one.

    Rest counts only behind work: a prover that has not begun yet rests too.
    """

    opens: Epoch | None = None
    was_busy: bool = False
    idle_since: Epoch | None = None

    def look(self, due: DueDeadline | None, activity: Activity | None, epoch: Epoch) -> ProofWatch:
        """The watch after another look, `due` being the deadline whose proof is in the making. What is not seen is no rest."""
        if due is None:
            return ProofWatch()
        known = self if self.opens == due.open else ProofWatch(due.open)
        if activity is Activity.BUSY:
            return ProofWatch(due.open, was_busy=True)
        if activity is None or not known.was_busy:
            return ProofWatch(due.open, known.was_busy)
        since = epoch if known.idle_since is None else known.idle_since
        return ProofWatch(due.open, was_busy=True, idle_since=since)

    def rested(self, deadline: DueDeadline, epoch: Epoch) -> int:
        """For how many epochs its prover has rested behind its work; 0 if it has not."""
        if self.opens != deadline.open or self.idle_since is None:
            return 0
        return max(0, epoch - self.idle_since)
