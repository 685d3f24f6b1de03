"""Releasing: what vested of the accruals up to the final tipset becomes payable."""

from __future__ import annotations

from fil_plus.periods import PERIOD_EPOCHS
from lotus_client.chain import TipSet
from lotus_client.types import Epoch
from sp_plugin.earnings.booking import release_drafts
from sp_plugin.store.ledger import LedgerRepository

__all__ = ["Releases"]


class Releases:
    """Books releases, and knows when it is time to."""

    def __init__(self, ledger: LedgerRepository) -> None:
        self._ledger = ledger
        self._done_at: Epoch | None = None  # None: perhaps never, e.g. after a start

    def make_due(self) -> None:
        """A period is being closed: release at the next chance."""
        self._done_at = None

    def is_due(self, final: TipSet) -> bool:
        """After every closing and once a period. A start counts as one: it may follow a crash between the two."""
        return self._done_at is None or final.height - self._done_at >= PERIOD_EPOCHS

    async def release(self, final: TipSet) -> bool:
        """Book what vested and is not booked yet; whether there was anything."""
        drafts = release_drafts(await self._ledger.entries(), final.height, final.key)
        if drafts:
            await self._ledger.append(drafts)
        self._done_at = final.height
        return bool(drafts)
