"""A provider's own misfortunes, by real messages: faulty sectors, recoveries, terminations, missed window PoSts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from devstack.chain.actors.miner_state import deadline_info, is_mutable
from devstack.chain.states import MinerState
from devstack.datacap import settle
from devstack.miner_node import MinerNode
from devstack.node import FullNode
from devstack.provider import SealingProvider
from lotus_client.cid import Cid
from lotus_client.state import MessageLookup
from lotus_client.types import SectorNumber

__all__ = ["SectorFaults"]

_LONGEST_WAIT = 2880  # epochs: every deadline comes round once in a proving period
_MAY_RUN = (1, 2)  # a message pushed now runs one epoch on, or two when that one's block is full


class SectorFaults:
    """Does to sectors what goes wrong with them. Every call mines until its message is executed."""

    def __init__(self, node: FullNode, miners: Sequence[MinerNode]) -> None:
        self._node = node
        self._miners = miners

    async def fault(self, sectors: Sequence[int], miner: int = 0) -> MessageLookup:
        """Declare sectors faulty; their power goes.

        Raises:
            ValueError: no such miner, or a sector in no deadline.
            MessageFailed: the chain refused it.
        """
        return await self._do(miner, sectors, "faults", _before_cutoff, "declare_faults")

    async def recover(self, sectors: Sequence[int], miner: int = 0) -> MessageLookup:
        """Declare faulty sectors recovered; their power is back after their next window PoSt. Raises as `fault`."""
        return await self._do(miner, sectors, "recoveries", _before_cutoff, "declare_recovered")

    async def terminate(self, sectors: Sequence[int], miner: int = 0) -> MessageLookup:
        """End sectors early, with the termination fee. Raises as `fault`."""
        return await self._do(miner, sectors, "terminations", is_mutable, "terminate")

    def skip_posts(self, windows: int = 1, miner: int = 0) -> None:
        """Let the miner miss its next window PoSts, one for each deadline that has something to prove.

        Raises:
            ValueError: no such miner, or fewer than one.
        """
        if windows < 1:
            raise ValueError("at least one window PoSt is skipped")
        provider = self._provider(miner)
        provider.network.skip_posts(provider.miner, windows)

    def _provider(self, miner: int) -> SealingProvider:
        if not 0 <= miner < len(self._miners):
            raise ValueError(f"there is no miner {miner}: {len(self._miners)} run here")
        return self._miners[miner].provider

    async def _do(
        self,
        miner: int,
        sectors: Sequence[int],
        what: str,
        ready: Callable[[int, int, int], bool],
        send: str,
    ) -> MessageLookup:
        provider = self._provider(miner)
        numbers = [SectorNumber(number) for number in sectors]
        await self._wait(provider, numbers, ready)
        cid: Cid = getattr(provider, send)(numbers)
        return await settle(self._node, cid, f"{what} of {provider.miner}")

    async def _wait(
        self,
        provider: SealingProvider,
        numbers: Sequence[SectorNumber],
        ready: Callable[[int, int, int], bool],
    ) -> None:
        """Mine until the sectors' deadlines take such a declaration."""
        chain = self._node.chain
        for _ in range(_LONGEST_WAIT):
            state: MinerState = chain.miner_state(provider.miner.actor_id)
            places = [chain.pending_state().sector_place(provider.miner, one) for one in numbers]
            if all(
                place is None or ready(state.proving_period_start, place.deadline, chain.epoch + on)
                for place in places
                for on in _MAY_RUN
            ):
                return
            await self._node.advance(1)


def _before_cutoff(proving_period_start: int, deadline: int, epoch: int) -> bool:
    return epoch < deadline_info(proving_period_start, deadline, epoch).fault_cutoff
