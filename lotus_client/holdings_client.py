"""The long lists: a provider's claims and sectors, a client's allocations. They are read in parts as they arrive."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from lotus_client import codec
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.chain import TipSetKey
from lotus_client.chain_client import ChainClient, key_param
from lotus_client.codec import At
from lotus_client.errors import LotusError
from lotus_client.state import Allocation, Claim, SectorOnChainInfo
from lotus_client.transport import Shape, stream_items
from lotus_client.types import ActorId, AllocationId, ClaimId, SectorNumber

__all__ = ["HoldingsClient"]

T = TypeVar("T")


class HoldingsClient(ChainClient):
    """Reads of claims, allocations and sectors. Use `LotusClient`, which has the rest."""

    # verified registry

    async def claims(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> dict[ClaimId, Claim]:
        """Every claim of a provider, proven or not, all in memory; `iter_claims` holds only one part."""
        return {claim.id: claim async for claim in self.iter_claims(provider, tsk)}

    async def iter_claims(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> AsyncGenerator[Claim, None]:
        """Every claim of a provider in the node's order, while the answer arrives. Close it to stop reading.

        Raises:
            LotusDecodeError: some claim is not one; those before it were given out already.
        """
        method, params = "StateGetClaims", [self._text(provider), key_param(tsk)]
        async with aclosing(self._parts(method, params, "map")) as parts:
            async for part in parts:
                for name, item in part:
                    yield codec.quick_claim(name, item, method)

    async def claim(
        self, provider: Address | ActorId, claim_id: ClaimId, tsk: TipSetKey | None = None
    ) -> Claim | None:
        """One claim, or None when the provider has no such claim."""
        return await self._call(
            "StateGetClaim",
            [self._text(provider), claim_id, key_param(tsk)],
            lambda here: here.optional(lambda item: codec.claim_from_json(item, claim_id)),
        )

    async def allocations(
        self, client: Address | ActorId, tsk: TipSetKey | None = None
    ) -> dict[AllocationId, Allocation]:
        """The client's allocations that are neither claimed nor removed."""
        return {
            allocation.id: allocation async for allocation in self.iter_allocations(client, tsk)
        }

    async def iter_allocations(
        self, client: Address | ActorId, tsk: TipSetKey | None = None
    ) -> AsyncGenerator[Allocation, None]:
        """The same, one by one while the answer arrives."""
        method, params = "StateGetAllocations", [self._text(client), key_param(tsk)]
        async with aclosing(self._parts(method, params, "map")) as parts:
            async for part in parts:
                for name, item in part:
                    yield codec.quick_allocation(name, item, method)

    async def allocation(
        self, client: Address | ActorId, allocation_id: AllocationId, tsk: TipSetKey | None = None
    ) -> Allocation | None:
        """One allocation, or None when it is claimed, removed or never was."""
        return await self._call(
            "StateGetAllocation",
            [self._text(client), allocation_id, key_param(tsk)],
            lambda here: here.optional(
                lambda item: codec.allocation_from_json(item, allocation_id)
            ),
        )

    # sectors

    async def sectors(
        self,
        provider: Address | ActorId,
        tsk: TipSetKey | None = None,
        only: BitField | None = None,
    ) -> list[SectorOnChainInfo]:
        """The committed sectors, of `only` these numbers if given; expired ones stay until compacted."""
        return [sector async for sector in self.iter_sectors(provider, tsk, only)]

    async def iter_sectors(
        self,
        provider: Address | ActorId,
        tsk: TipSetKey | None = None,
        only: BitField | None = None,
    ) -> AsyncGenerator[SectorOnChainInfo, None]:
        """The same, one by one while the answer arrives."""
        chosen = None if only is None else codec.bitfield_to_json(only)
        params = [self._text(provider), chosen, key_param(tsk)]
        async with aclosing(self._sectors("StateMinerSectors", params)) as sectors:
            async for sector in sectors:
                yield sector

    async def active_sectors(
        self, provider: Address | ActorId, tsk: TipSetKey | None = None
    ) -> list[SectorOnChainInfo]:
        """The sectors that count for power: proven, not faulty, not terminated."""
        params = [self._text(provider), key_param(tsk)]
        return [sector async for sector in self._sectors("StateMinerActiveSectors", params)]

    async def sector(
        self, provider: Address | ActorId, number: SectorNumber, tsk: TipSetKey | None = None
    ) -> SectorOnChainInfo | None:
        """One committed sector, or None."""
        return await self._call(
            "StateSectorGetInfo",
            [self._text(provider), number, key_param(tsk)],
            lambda here: here.optional(codec.sector_from_json),
        )

    async def sector_infos(
        self,
        provider: Address | ActorId,
        numbers: Iterable[SectorNumber],
        tsk: TipSetKey | None = None,
    ) -> dict[SectorNumber, SectorOnChainInfo | None]:
        """Some committed sectors, None for those that are not; in as few requests as the node takes.

        Raises:
            LotusError: the first failure of any of them.
        """
        wanted = list(dict.fromkeys(numbers))
        found = await self._call_many(
            "StateSectorGetInfo",
            [[self._text(provider), number, key_param(tsk)] for number in wanted],
            lambda here: here.optional(codec.sector_from_json),
        )
        return dict(zip(wanted, _all_well(found), strict=True))

    async def _sectors(
        self, method: str, params: Sequence[Any]
    ) -> AsyncGenerator[SectorOnChainInfo, None]:
        number = 0
        async with aclosing(self._parts(method, params, "list")) as parts:
            async for part in parts:
                for item in part:
                    yield codec.sector_from_json(At(item, f"{method}[{number}]"))
                    number += 1

    async def _parts(
        self, method: str, params: Sequence[Any], shape: Shape
    ) -> AsyncGenerator[list[Any], None]:
        parts = stream_items(self._transport, f"Filecoin.{method}", params, shape)
        async with aclosing(parts):
            async for part in parts:
                yield part


def _all_well(outcomes: Sequence[T | LotusError]) -> list[T]:
    found: list[T] = []
    for outcome in outcomes:
        if isinstance(outcome, LotusError):
            raise outcome
        found.append(outcome)
    return found
