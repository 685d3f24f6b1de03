"""Reads of a miner's proving: which deadline is open, what was proven in it, what each of its partitions holds."""

from __future__ import annotations

from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.chain import TipSetKey
from lotus_client.chain_client import key_param
from lotus_client.codec.proving import (
    deadline_info_from_json,
    partitions_from_json,
    posted_from_json,
)
from lotus_client.holdings_client import HoldingsClient
from lotus_client.proving import DeadlineInfo, ProvingPartition
from lotus_client.types import ActorId

__all__ = ["ProvingClient"]


class ProvingClient(HoldingsClient):
    """Reads of deadlines. Use `LotusClient`, which has the rest."""

    async def proving_deadline(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> DeadlineInfo:
        """The deadline that is open at the tipset's height, by the miner's state."""
        params = [self._text(provider), key_param(tsk)]
        return await self._call("StateMinerProvingDeadline", params, deadline_info_from_json)

    async def posted_partitions(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> tuple[BitField, ...]:
        """By deadline: the partitions for which a SubmitWindowedPoSt was executed since it last closed."""
        params = [self._text(provider), key_param(tsk)]
        return await self._call("StateMinerDeadlines", params, posted_from_json)

    async def partitions(
        self, provider: Address | ActorId, deadline: int, tsk: TipSetKey | None = None
    ) -> tuple[ProvingPartition, ...]:
        """The partitions of a deadline, by their index."""
        params = [self._text(provider), deadline, key_param(tsk)]
        return await self._call("StateMinerPartitions", params, partitions_from_json)
