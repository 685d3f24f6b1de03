"""When two nodes agree enough for money to move, and what is said when they do not."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from lotus_client.address import Address
from lotus_client.agreement import compare_nodes
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.cid import dag_cbor_cid
from lotus_client.errors import (
    LotusActorNotFound,
    LotusConnectError,
    LotusError,
    LotusLookbackRefused,
)
from lotus_client.node import NetworkParams
from lotus_client.state import ActorState
from lotus_client.types import AttoFil, Epoch
from sp_plugin.node import NodesAgree
from tests.head_world import HeadWorld

WALLET = Address.of_id(100)
CODE = dag_cbor_cid(b"\xa0")


@dataclass
class FakeNode:
    """A node on a world of tipsets, with one wallet."""

    world: HeadWorld
    lag: int = 0
    final: int = 10
    nonce: int = 3
    balance: int = 1000
    pool: int = 3
    chain_id: int | None = 314
    has_wallet: bool = True
    looks_back: int = 1000
    error: LotusError | None = None
    closed: bool = field(default=False)

    async def head(self) -> TipSet:
        if self.error is not None:
            raise self.error
        tipset = self.world.head
        for _ in range(self.lag):
            tipset = self.world.known[tipset.parents]
        return tipset

    async def genesis(self) -> TipSet:
        return self.world.genesis

    async def network_params(self) -> NetworkParams:
        return NetworkParams("n", 30, Epoch(150), self.chain_id, 0, {})

    async def finalized_tipset(self) -> TipSet:
        return await self.tipset_by_height(Epoch(self.final), TipSetKey())

    async def tipset_by_height(self, height: Epoch, tsk: TipSetKey) -> TipSet:
        tipset = self.world.known[tsk] if tsk else await self.head()
        if tipset.height - height > self.looks_back:
            raise LotusLookbackRefused("m", 1, "lookbacks of more than 24h0m0s are disallowed")
        while tipset.height > height:
            tipset = self.world.known[tipset.parents]
        return tipset

    async def actor(self, address: Address, tsk: TipSetKey) -> ActorState:
        if not self.has_wallet:
            raise LotusActorNotFound("m", 11, "actor not found")
        return ActorState(CODE, CODE, self.nonce, AttoFil(self.balance), None)

    async def mpool_nonce(self, address: Address) -> int:
        return self.pool

    async def close(self) -> None:
        self.closed = True


def world() -> HeadWorld:
    made = HeadWorld()
    made.mine(40)
    return made


async def said(first: FakeNode, second: FakeNode) -> str:
    return "; ".join(map(str, await compare_nodes(first, second, WALLET)))


async def test_two_nodes_of_one_chain_agree_also_when_one_is_a_little_behind() -> None:
    here = world()
    assert await said(FakeNode(here), FakeNode(here)) == ""
    assert await said(FakeNode(here), FakeNode(here, lag=3, final=12)) == ""
    assert await said(FakeNode(here, lag=3, final=12), FakeNode(here)) == ""


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"balance": 999}, "nonce and balance"), ({"nonce": 4}, "nonce and balance"), ({"has_wallet": False}, "nonce and balance"),
        ({"pool": 4}, "next nonce"), ({"chain_id": 314159}, "chain id"), ({"lag": 25}, "heads"),
    ],
)  # fmt: skip
async def test_what_they_tell_differently_is_named(changes: dict[str, int], text: str) -> None:
    here = world()
    assert text in await said(FakeNode(here), FakeNode(here, **changes))  # type: ignore[arg-type]


async def test_a_message_that_only_the_used_node_has_yet_is_no_disagreement() -> None:
    here = world()
    assert await said(FakeNode(here, pool=4), FakeNode(here)) == ""


async def test_a_wallet_that_neither_chain_knows_is_empty_for_both() -> None:
    here = world()
    assert await said(FakeNode(here, has_wallet=False), FakeNode(here, has_wallet=False)) == ""


async def test_an_unknown_chain_id_is_not_compared() -> None:
    here = world()
    assert await said(FakeNode(here, chain_id=None), FakeNode(here)) == ""


def forked(depth: int) -> tuple[HeadWorld, HeadWorld]:
    """Two views of one tree that part so many tipsets below the head."""
    one = world()
    other = HeadWorld.__new__(HeadWorld)
    other.__dict__ = dict(one.__dict__)
    other.rewind(depth)
    other.mine(depth)
    return one, other


async def test_chains_that_part_above_the_compared_state_agree_and_deeper_ones_do_not() -> None:
    one, other = forked(2)
    assert await said(FakeNode(one), FakeNode(other)) == ""
    one, other = forked(8)
    assert "the tipset at" in await said(FakeNode(one), FakeNode(other))
    one, other = forked(36)
    assert "final for one" in await said(FakeNode(one), FakeNode(other))


async def test_another_genesis_ends_the_comparison() -> None:
    other = HeadWorld()
    other.rewind(0)
    other.genesis = other.head = other._make(TipSetKey(), 0)
    assert "genesis" in await said(FakeNode(world()), FakeNode(other))


async def test_a_gateway_that_does_not_look_back_so_far_is_compared_in_the_other_direction() -> (
    None
):
    here = world()
    assert await said(FakeNode(here), FakeNode(here, looks_back=8, final=50)) == ""
    one, other = forked(36)
    assert "final for one" in await said(FakeNode(one), FakeNode(other, looks_back=8, final=50))


# the choice of two among several


def nodes_agree(used: str = "a", **nodes: FakeNode) -> NodesAgree:
    return NodesAgree(nodes, lambda: used)


async def test_the_node_that_is_pushed_to_and_one_more_must_answer() -> None:
    here, away = world(), LotusConnectError("c is away")
    good = nodes_agree(a=FakeNode(here), b=FakeNode(here), c=FakeNode(here, error=away))
    assert await good.why_not(WALLET) == ""
    alone = nodes_agree(a=FakeNode(here), c=FakeNode(here, error=away))
    assert "c is away" in await alone.why_not(WALLET)
    elsewhere = nodes_agree("c", a=FakeNode(here), b=FakeNode(here), c=FakeNode(here, error=away))
    assert "too few" in await elsewhere.why_not(WALLET)


async def test_one_of_three_that_contradicts_is_enough_to_wait() -> None:
    here = world()
    three = nodes_agree(a=FakeNode(here), b=FakeNode(here), c=FakeNode(here, balance=1))
    assert "disagree about the nonce and balance" in await three.why_not(WALLET)


async def test_all_are_closed() -> None:
    nodes = {"a": FakeNode(world()), "b": FakeNode(world())}
    await NodesAgree(nodes, lambda: "a").close()
    assert all(node.closed for node in nodes.values())
