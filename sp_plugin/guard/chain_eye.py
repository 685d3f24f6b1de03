"""Looking at the chain: which deadlines matter now, and which of their partitions have a proof on chain."""

from __future__ import annotations

from typing import Protocol

from lotus_client.bitfield import BitField
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.proving import DeadlineInfo, ProvingPartition
from lotus_client.types import ActorId, Epoch
from sp_plugin.guard.sights import ChainSight, DueDeadline

__all__ = ["ChainEye", "ProvingChain"]


class ProvingChain(Protocol):
    """What is asked of a node; `LotusClient` is one."""

    async def head(self) -> TipSet: ...
    async def proving_deadline(
        self, provider: ActorId, tsk: TipSetKey | None = None
    ) -> DeadlineInfo: ...
    async def posted_partitions(
        self, provider: ActorId, tsk: TipSetKey | None = None
    ) -> tuple[BitField, ...]: ...
    async def partitions(
        self, provider: ActorId, deadline: int, tsk: TipSetKey | None = None
    ) -> tuple[ProvingPartition, ...]: ...


class ChainEye:
    """Keeps the newest sight of one provider's deadlines; a node is only asked again when its head is another."""

    def __init__(
        self, chain: ProvingChain, provider: ActorId, block_delay_seconds: int, lead_epochs: int
    ) -> None:
        self._chain = chain
        self._provider = provider
        self._delay = block_delay_seconds
        self._lead = lead_epochs
        self._key: TipSetKey | None = None
        self.newest: ChainSight | None = None

    async def look(self) -> ChainSight:
        """The deadlines at the node's head.

        All is read at one tipset, whose state is that before its own messages: a proof shows one epoch after its block.

        Raises:
            LotusError: it cannot be had now; `newest` stays.
        """
        head = await self._chain.head()
        if self.newest is None or head.key != self._key:
            self.newest = await self._sight(head)
            self._key = head.key
        return self.newest

    async def _sight(self, head: TipSet) -> ChainSight:
        info = await self._chain.proving_deadline(self._provider, head.key)
        posted = await self._chain.posted_partitions(self._provider, head.key)
        near = self._near(info, head.height)
        deadlines = [await self._deadline(item, posted, info, head) for item in near]
        return ChainSight(
            head.height,
            min(block.timestamp for block in head.blocks),
            self._delay,
            tuple(item for item in deadlines if item.needed),
            info.after(len(near)).challenge,
        )

    def _near(self, info: DeadlineInfo, epoch: Epoch) -> list[DeadlineInfo]:
        """The open deadline and the next ones, as far as one may be challenged before there is another sight."""
        far = epoch + self._lead + info.window
        steps = range(1, info.deadlines)
        return [info, *(n for step in steps if (n := info.after(step)).challenge <= far)]

    async def _deadline(
        self, item: DeadlineInfo, posted: tuple[BitField, ...], info: DeadlineInfo, head: TipSet
    ) -> DueDeadline:
        partitions = await self._chain.partitions(self._provider, item.index, head.key)
        needed = tuple(at for at, found in enumerate(partitions) if found.needs_proof)
        # Proofs of a deadline that has not opened yet are of the last period, if there are any.
        is_open = item.open == info.open and item.index < len(posted)
        proven = posted[item.index] if is_open else BitField()
        return DueDeadline(
            item.index,
            item.challenge,
            item.open,
            item.close,
            needed,
            tuple(at for at in needed if at not in proven),
        )
