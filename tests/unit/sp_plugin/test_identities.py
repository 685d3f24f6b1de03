"""Who is who on chain: asked once an epoch, and never guessed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lotus_client.address import Address
from lotus_client.crypto import Secp256k1Key
from lotus_client.errors import LotusActorNotFound, LotusConnectError, LotusError, LotusRpcError
from lotus_client.state import MinerInfo
from lotus_client.types import ActorId, Epoch
from sp_plugin.approvals.identities import Identities
from tests.fake_payout_chain import MINER

PROVIDER, OWNER, ADA = ActorId(1001), ActorId(100), ActorId(101)
KEY = Secp256k1Key(b"\2" * 32).address


class Chain:
    """Who is who now; `error` is what the node says instead."""

    def __init__(self) -> None:
        self.asked = 0
        self.ids: dict[Address, ActorId] = {}
        self.owner = Address.of_id(OWNER)
        self.error: LotusError | None = None

    async def miner_info(self, provider: ActorId) -> MinerInfo:
        self._note()
        beneficiary = replace(MINER.beneficiary, address=self.owner)
        return replace(MINER, owner=self.owner, beneficiary=beneficiary)

    async def lookup_id(self, address: Address) -> ActorId:
        self._note()
        found = {Address.of_id(OWNER): OWNER, Address.of_id(ADA): ADA, **self.ids}
        if address not in found:
            raise LotusActorNotFound("StateLookupID", 1, "actor not found")
        return found[address]

    async def account_key(self, address: Address) -> Address:
        self._note()
        for key, actor in self.ids.items():
            if address in (key, Address.of_id(actor)):
                return key
        raise LotusRpcError("StateAccountKey", 1, "not an account")

    def _note(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error


class World:
    """A chain, a clock, and the one who remembers."""

    def __init__(self) -> None:
        self.chain, self.seconds = Chain(), 0.0
        self.identities = Identities(self.chain, PROVIDER, clock=lambda: self.seconds)

    async def forms(self, epoch: int) -> frozenset[Address]:
        found = await self.identities.conflicts(None, [KEY], Epoch(epoch))
        return found.forms_of(KEY)


@pytest.fixture
def world() -> World:
    return World()


async def test_everybody_is_asked_about_once_an_epoch(world: World):
    assert await world.forms(5) == {KEY}
    asked = world.chain.asked
    for _ in range(100):
        await world.forms(5)
    assert world.chain.asked == asked
    world.chain.ids[KEY] = ADA  # the key's first message makes an account
    assert await world.forms(6) == {KEY, Address.of_id(ADA)}


async def test_what_was_said_half_a_minute_ago_is_asked_again_in_the_same_epoch(world: World):
    await world.forms(5)
    world.chain.ids[KEY] = ADA
    world.seconds = 29
    assert await world.forms(5) == {KEY}
    world.seconds = 31
    assert await world.forms(5) == {KEY, Address.of_id(ADA)}


async def test_a_new_owner_counts_from_the_next_epoch_on(world: World):
    before = await world.identities.conflicts(None, [], Epoch(5))
    assert before.provider == {Address.of_id(PROVIDER), Address.of_id(OWNER)}
    world.chain.owner = Address.of_id(ADA)
    after = await world.identities.conflicts(None, [], Epoch(6))
    assert after.provider == {Address.of_id(PROVIDER), Address.of_id(ADA)}


@pytest.mark.parametrize(
    "error", [LotusConnectError("gone"), LotusRpcError("StateLookupID", 1, "loading state failed")]
)
async def test_a_node_that_does_not_say_who_is_who_lets_nobody_through(world: World, error):
    world.chain.error = error
    with pytest.raises(LotusError):
        await world.forms(5)
    world.chain.error = None
    world.chain.ids[KEY] = ADA
    assert await world.forms(5) == {KEY, Address.of_id(ADA)}  # the fault was not kept
