"""Which tipset is final, and which reorganisations that forbids.

EC finality is 900 epochs (Lotus `build/buildconstants`). With the F3 simulation a tipset is final a fixed number of
epochs below the head: there are no participants and no certificates, only the effect, which is that finality trails the
head closely, never goes back, and no fork below it is taken.
"""

from __future__ import annotations

from typing import Final

from devstack.chain.store import ChainStore
from devstack.chain.values import ForkRefused
from lotus_client.chain import TipSet

__all__ = ["FINALITY", "Finality"]

FINALITY: Final = 900

# Lotus `chain/sync.go`: ErrForkTooLong and ErrForkCheckpoint as a failed sync words them. F3 sets the checkpoint.
_TOO_LONG: Final = "failed to sync fork: fork longer than threshold"
_CHECKPOINT: Final = "failed to sync fork: fork would require us to diverge from checkpointed block"


class Finality:
    """The finality of one node's chain. `f3_lag` is how many epochs F3 trails the head; None is without F3."""

    def __init__(self, store: ChainStore, f3_lag: int | None) -> None:
        self._store = store
        self._lag = f3_lag
        self._newest: TipSet | None = None

    @property
    def has_f3(self) -> bool:
        """Whether F3 is simulated."""
        return self._lag is not None

    def ec(self) -> TipSet:
        """The tipset 900 epochs below the head."""
        return self._below(FINALITY)

    def f3(self) -> TipSet | None:
        """The newest tipset that F3 finalized; it never goes back. None without F3."""
        if self._lag is None:
            return None
        found = self._below(self._lag)
        newest = self._newest
        if newest is None or found.height > newest.height or not self._store.is_canonical(newest):
            self._newest = newest = found
        return newest

    def final(self) -> TipSet:
        """The newer of the two, as Lotus' `ChainGetFinalizedTipSet`."""
        ec, f3 = self.ec(), self.f3()
        return f3 if f3 is not None and f3.height > ec.height else ec

    def check_fork(self, base: TipSet) -> None:
        """Return if a chain that leaves ours above `base` may be taken.

        Raises:
            ForkRefused: in the words of Lotus' sync.
        """
        f3 = self.f3()
        if f3 is not None and base.height < f3.height:
            raise ForkRefused(_CHECKPOINT)
        if self._store.head.height - base.height > FINALITY:
            raise ForkRefused(_TOO_LONG)

    def _below(self, depth: int) -> TipSet:
        head = self._store.head
        return self._store.by_height(max(head.height - depth, 0), head.key)
