"""Events from the chain itself: the event root in the receipt of every message.

The receipts of a tipset's messages are in its child, so this needs no index and cannot show another fork's events.
Source: Lotus `chain/stmgr` and `node/impl/full/chain.go` (ChainGetParentReceipts, ChainGetEvents), FIP-0049.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from deals.event_sources.base import SourceName, Stretch
from deals.ports import ChainNode
from lotus_client.address import Address
from lotus_client.chain import TipSet
from lotus_client.cid import Cid
from lotus_client.errors import LotusDecodeError
from lotus_client.state import ActorEvent, EventEntry
from lotus_client.types import ActorId

__all__ = ["Receipts"]

_TOGETHER: Final = 16  # requests under way at one time
_TIPSETS: Final = (
    32  # tipsets whose answers are held at one time: some 200 messages each on mainnet
)

Emitted = list[tuple[ActorId, tuple[EventEntry, ...]]]


class Receipts:
    """Every event of every message; which are the provider's is decided by `parse_event`."""

    name = SourceName.RECEIPTS

    def __init__(self, node: ChainNode, provider: ActorId) -> None:
        self._node = node
        self._emitters = (Address.of_id(5), Address.of_id(6), Address.of_id(provider))
        self._turn = asyncio.Semaphore(_TOGETHER)

    async def read(self, stretch: Stretch) -> list[ActorEvent]:
        """See `EventSource.read`. Only events of the registry, the market and the provider's miner actor are given."""
        children = (*stretch.tipsets[1:], stretch.child)
        pairs = list(zip(stretch.tipsets, children, strict=True))
        events: list[ActorEvent] = []
        for start in range(0, len(pairs), _TIPSETS):
            for part in await asyncio.gather(
                *(self._of_tipset(*pair) for pair in pairs[start : start + _TIPSETS])
            ):
                events += part
        return events

    async def _of_tipset(self, tipset: TipSet, child: TipSet) -> Sequence[ActorEvent]:
        block = child.key.cids[0]
        async with self._turn:
            receipts = await self._node.parent_receipts(block)
        roots = {receipt.events_root for receipt in receipts if receipt.events_root is not None}
        if not roots:
            return []
        async with self._turn:
            messages = await self._node.parent_messages(block)
        if len(messages) != len(receipts):
            raise LotusDecodeError(
                "ChainGetParentReceipts",
                f"{len(receipts)} receipts for {len(messages)} messages of block {block}",
            )
        ordered = sorted(roots, key=str)
        emitted = dict(zip(ordered, await asyncio.gather(*map(self._under, ordered)), strict=True))
        return [
            ActorEvent(
                Address.of_id(emitter), entries, False, tipset.height, tipset.key, message.cid
            )
            for message, receipt in zip(messages, receipts, strict=True)
            if receipt.events_root is not None
            for emitter, entries in emitted[receipt.events_root]
            if Address.of_id(emitter) in self._emitters
        ]

    async def _under(self, root: Cid) -> Emitted:
        async with self._turn:
            return await self._node.events_of(root)
