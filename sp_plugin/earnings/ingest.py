"""Ingest: record final wins, close periods, release what vested, in this order. Every rule is in the pure modules."""

from __future__ import annotations

from dataclasses import dataclass

from lotus_client.types import Epoch
from sp_plugin.earnings.period_closer import PeriodCloser
from sp_plugin.earnings.ports import EarningsChain, Holdings, ShareRegister
from sp_plugin.earnings.recording import WinRecorder
from sp_plugin.earnings.releasing import Releases
from sp_plugin.earnings.split_inputs import EarningsSettings
from sp_plugin.store.earnings import EarningsRepository
from sp_plugin.store.ledger import LedgerRepository

__all__ = ["Earnings", "EarningsStep"]


@dataclass(frozen=True, slots=True)
class EarningsStep:
    """What a step did. `waiting` names unknown wins that keep a period open."""

    recorded: int
    closed: tuple[tuple[int, int], ...]
    released: bool
    waiting: tuple[str, ...]


class Earnings:
    """The earnings of one provider."""

    def __init__(
        self,
        chain: EarningsChain,
        holdings: Holdings,
        register: ShareRegister,
        *,
        earnings: EarningsRepository,
        ledger: LedgerRepository,
        settings: EarningsSettings,
    ) -> None:
        self._chain = chain
        self._recorder = WinRecorder(chain, holdings, earnings, settings)
        self._releases = Releases(ledger)
        self._closer = PeriodCloser(
            chain,
            holdings,
            register,
            earnings=earnings,
            releases=self._releases,
            settings=settings,
        )

    async def step(self) -> EarningsStep:
        """Record the wins that became final, close what can be closed, release what vested. Safe to repeat.

        Raises:
            LotusUnavailable: the node did not answer; the same step again goes on where this one was.
        """
        final = await self._chain.finalized_tipset()
        recorded = await self._recorder.record(final) + await self._recorder.record_late()
        closed, waiting = await self._closer.close(final)
        released = await self._releases.release(final) if self._releases.is_due(final) else False
        return EarningsStep(recorded, tuple(closed), released, tuple(waiting))

    async def backfill(self, first: Epoch, last: Epoch) -> int:
        """Record wins of an earlier range again, as far as the node still knows them; how many were read.

        Wins that are complete are left as they are; those of closed periods come in as supplements.
        """
        return await self._recorder.backfill(first, last)
