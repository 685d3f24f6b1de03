"""Do two nodes tell the same of the chain and of a wallet? Asked before money moves by what one of them says.

Compared are the network (genesis, chain id), whether the final tipset of either lies on the other's chain, and the wallet's
nonce and balance in one state that both have. That state lies a few epochs below the heads, where honest nodes agree.
What a mempool holds is not compared, but for this: a node that counts more messages of the wallet than the one that will be
used knows of one that we do not.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol

from lotus_client.address import Address
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.errors import LotusActorNotFound, LotusStateUnavailable
from lotus_client.node import NetworkParams
from lotus_client.state import ActorState
from lotus_client.types import AttoFil, Epoch

__all__ = ["ComparedNode", "Disagreement", "compare_nodes"]

_BELOW_THE_HEADS: Final = 5  # epochs; reorgs are rarely deeper (Lotus' own MessageConfidence)
_MAY_DIFFER: Final = 10  # epochs between two heads that are both in sync


class ComparedNode(Protocol):
    """The reads that are needed; `LotusClient` has them."""

    async def head(self) -> TipSet: ...
    async def genesis(self) -> TipSet: ...
    async def finalized_tipset(self) -> TipSet: ...
    async def network_params(self) -> NetworkParams: ...
    async def tipset_by_height(self, height: Epoch, tsk: TipSetKey, /) -> TipSet: ...
    async def actor(self, address: Address, tsk: TipSetKey, /) -> ActorState: ...
    async def mpool_nonce(self, address: Address, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One thing that two nodes tell differently, for people."""

    what: str
    first: str
    second: str

    def __str__(self) -> str:
        return f"{self.what}: {self.first} and {self.second}"


async def compare_nodes(
    used: ComparedNode, other: ComparedNode, wallet: Address
) -> tuple[Disagreement, ...]:
    """What the two nodes disagree about; empty if nothing. `used` is the one that payouts will be pushed to.

    Raises:
        LotusUnavailable: one of them does not answer, so nothing is known.
    """
    found = await _network(used, other)
    if found:
        return found  # no tipset of one means anything to the other
    heads = await asyncio.gather(used.head(), other.head())
    if abs(heads[0].height - heads[1].height) > _MAY_DIFFER:
        return (Disagreement("heads", str(heads[0].height), str(heads[1].height)),)
    found = await _finality(used, other, heads)
    return found or await _wallet(used, other, heads, wallet)


async def _network(used: ComparedNode, other: ComparedNode) -> tuple[Disagreement, ...]:
    first, second = await asyncio.gather(used.genesis(), other.genesis())
    if first.key != second.key:
        return (Disagreement("genesis", str(first.key), str(second.key)),)
    chains = await asyncio.gather(used.network_params(), other.network_params())
    if chains[0].chain_id != chains[1].chain_id and None not in (
        chains[0].chain_id,
        chains[1].chain_id,
    ):
        return (Disagreement("chain id", str(chains[0].chain_id), str(chains[1].chain_id)),)
    return ()


async def _finality(
    used: ComparedNode, other: ComparedNode, heads: tuple[TipSet, TipSet]
) -> tuple[Disagreement, ...]:
    finals = await asyncio.gather(used.finalized_tipset(), other.finalized_tipset())
    for final, node, head, name in (
        (finals[0], other, heads[1], "the second node's chain"),
        (finals[1], used, heads[0], "the first node's chain"),
    ):
        try:
            there = await node.tipset_by_height(final.height, head.key)
        except LotusStateUnavailable:
            continue  # a gateway need not look back that far; the other direction is checked
        if there.key != final.key:
            what = f"the tipset at {final.height}, final for one, on {name}"
            return (Disagreement(what, str(final.key), str(there.key)),)
    return ()


async def _wallet(
    used: ComparedNode,
    other: ComparedNode,
    heads: tuple[TipSet, TipSet],
    wallet: Address,
) -> tuple[Disagreement, ...]:
    height = Epoch(max(0, min(head.height for head in heads) - _BELOW_THE_HEADS))
    places = await asyncio.gather(
        used.tipset_by_height(height, heads[0].key), other.tipset_by_height(height, heads[1].key)
    )
    if places[0].key != places[1].key:
        what = f"the tipset at {height}"
        return (Disagreement(what, str(places[0].key), str(places[1].key)),)
    first, second = await asyncio.gather(
        _account(used, wallet, places[0]), _account(other, wallet, places[1])
    )
    if first != second:
        what = f"nonce and balance of {wallet} at {height}"
        return (Disagreement(what, _shown(first), _shown(second)),)
    pools = await asyncio.gather(_next_nonce(used, wallet), _next_nonce(other, wallet))
    if pools[1] > pools[0]:
        return (Disagreement(f"next nonce of {wallet}", str(pools[0]), str(pools[1])),)
    return ()


async def _account(node: ComparedNode, wallet: Address, at: TipSet) -> tuple[int, AttoFil]:
    try:
        actor = await node.actor(wallet, at.key)
    except LotusActorNotFound:
        return 0, AttoFil(0)
    return actor.nonce, actor.balance


async def _next_nonce(node: ComparedNode, wallet: Address) -> int:
    try:
        return await node.mpool_nonce(wallet)
    except LotusActorNotFound:
        return 0


def _shown(account: tuple[int, AttoFil]) -> str:
    return f"{account[0]} and {account[1].to_fil()} FIL"
