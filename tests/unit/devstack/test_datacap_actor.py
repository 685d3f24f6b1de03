from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.chain.machine import Exit
from lotus_client import cbor
from lotus_client.actors import datacap as wire
from lotus_client.actors.datacap import DATACAP_PRECISION, INFINITE_ALLOWANCE
from lotus_client.actors.methods import VERIFIED_REGISTRY
from lotus_client.actors.methods import DatacapMethod as Method
from lotus_client.actors.verifreg import AllocationRequests, AllocationsResponse
from lotus_client.address import Address
from tests.unit.devstack.direct import MIB, Direct
from tests.unit.devstack.fil_plus_story import (
    make_verifier,
    new_ids,
    request,
    transfer,
    with_datacap,
)

TOKEN = DATACAP_PRECISION


@pytest.fixture
def chain() -> Direct:
    chain = Direct()
    with_datacap(chain)
    return chain


def amount(raw: bytes) -> int:
    value = cbor.decode(raw)
    assert isinstance(value, bytes)
    return cbor.decode_bigint(value)


def allowance(chain: Direct, owner: str, operator: Address) -> int:
    query = wire.AllowanceQuery(chain.id(owner), operator).to_cbor()
    return amount(chain.ok("dave", 7, Method.ALLOWANCE, query))


def held(chain: Direct, name: str) -> int:
    return amount(chain.ok("dave", 7, Method.BALANCE, cbor.encode(chain.id(name).to_bytes())))


def allow(chain: Direct, operator: str, tokens: int) -> int:
    params = wire.AllowanceChange(chain.id(operator), tokens).to_cbor()
    return amount(chain.ok("alice", 7, Method.INCREASE_ALLOWANCE, params))


def test_the_token_says_what_it_is(chain: Direct) -> None:
    assert cbor.decode(chain.ok("dave", 7, Method.NAME)) == "DataCap"
    assert cbor.decode(chain.ok("dave", 7, Method.SYMBOL)) == "DCAP"
    assert cbor.decode(chain.ok("dave", 7, Method.GRANULARITY)) == 10**18
    assert amount(chain.ok("dave", 7, Method.TOTAL_SUPPLY)) == 64 * MIB * TOKEN
    assert held(chain, "alice") == 64 * MIB * TOKEN
    nobody = cbor.encode(Address.of_actor_data(b"nobody").to_bytes())
    assert chain.ok("dave", 7, Method.BALANCE, nobody) == cbor.encode(b"")


def test_a_grant_lets_the_market_spend_without_limit(chain: Direct) -> None:
    assert allowance(chain, "alice", Address.of_id(5)) == INFINITE_ALLOWANCE
    assert allowance(chain, "alice", chain.id("carol")) == 0
    assert allowance(chain, "alice", Address.of_actor_data(b"nobody")) == 0


def test_allowances_grow_shrink_to_nothing_and_are_revoked(chain: Direct) -> None:
    assert allow(chain, "carol", 5) == 5
    assert allow(chain, "carol", 7) == 12
    less = wire.AllowanceChange(chain.id("carol"), 20).to_cbor()
    assert amount(chain.ok("alice", 7, Method.DECREASE_ALLOWANCE, less)) == 0
    assert allow(chain, "carol", 9) == 9
    revoke = wire.RevokeAllowanceParams(chain.id("carol")).to_cbor()
    assert amount(chain.ok("alice", 7, Method.REVOKE_ALLOWANCE, revoke)) == 9
    assert allowance(chain, "alice", chain.id("carol")) == 0
    negative = wire.AllowanceChange(chain.id("carol"), -1).to_cbor()
    for method in (Method.INCREASE_ALLOWANCE, Method.DECREASE_ALLOWANCE):
        assert chain.call("alice", 7, method, negative).exit_code == Exit.ILLEGAL_ARGUMENT


def test_an_operator_allocates_with_its_clients_tokens(chain: Direct) -> None:
    allow(chain, "carol", 3 * MIB * TOKEN)
    data = AllocationRequests((request(chain, 1, 2 * MIB),)).to_cbor()
    params = wire.TransferFromParams(chain.id("alice"), VERIFIED_REGISTRY, 2 * MIB * TOKEN, data)
    raw = chain.ok("carol", 7, Method.TRANSFER_FROM, params.to_cbor())
    answer = wire.TransferFromReturn.from_cbor(raw)
    assert answer.allowance == MIB * TOKEN
    assert answer.from_balance == 62 * MIB * TOKEN
    assert answer.to_balance == 2 * MIB * TOKEN
    assert AllocationsResponse.from_cbor(answer.recipient_data).new_allocations == (1,)
    assert chain.state(6).allocations[1].client == chain.ids["alice"]
    chain.sound()


def test_transfers_from_others_are_within_allowance_and_balance_and_only_to_the_registry(
    chain: Direct,
) -> None:
    def move(source: Address, to: Address, tokens: int, who: str = "carol") -> int:
        data = AllocationRequests((request(chain, 1, MIB),)).to_cbor()
        params = wire.TransferFromParams(source, to, tokens, data).to_cbor()
        return chain.call(who, 7, Method.TRANSFER_FROM, params).exit_code

    alice, tokens = chain.id("alice"), MIB * TOKEN
    assert move(alice, VERIFIED_REGISTRY, tokens) == Exit.INSUFFICIENT_FUNDS
    allow(chain, "carol", 100 * MIB * TOKEN)
    assert move(alice, chain.id("dave"), tokens) == Exit.FORBIDDEN
    assert move(alice, VERIFIED_REGISTRY, 5) == Exit.ILLEGAL_ARGUMENT
    assert move(alice, VERIFIED_REGISTRY, 99 * MIB * TOKEN) == Exit.INSUFFICIENT_FUNDS
    assert move(alice, VERIFIED_REGISTRY, tokens, "alice") == Exit.ILLEGAL_ARGUMENT
    nobody = Address.of_actor_data(b"nobody")
    assert move(nobody, VERIFIED_REGISTRY, tokens) == Exit.INSUFFICIENT_FUNDS
    assert allowance(chain, "alice", chain.id("carol")) == 100 * MIB * TOKEN  # nothing was spent
    assert move(alice, VERIFIED_REGISTRY, tokens) == 0


def test_transfers_go_only_to_and_from_the_registry(chain: Direct) -> None:
    def move(to: Address, tokens: int) -> int:
        params = wire.TransferParams(to, tokens).to_cbor()
        return chain.call("alice", 7, Method.TRANSFER, params).exit_code

    assert move(chain.id("bob"), MIB * TOKEN) == Exit.FORBIDDEN
    assert move(VERIFIED_REGISTRY, 1) == Exit.ILLEGAL_ARGUMENT
    assert move(Address.of_actor_data(b"nobody"), TOKEN) == Exit.ILLEGAL_ARGUMENT
    assert transfer(chain, request(chain, 1, 65 * MIB)).exit_code == Exit.INSUFFICIENT_FUNDS


def test_a_refusing_receiver_undoes_the_transfer_with_its_own_code(chain: Direct) -> None:
    sent = transfer(chain, request(chain, 1, MIB), size=2 * MIB)
    assert sent.exit_code == Exit.ILLEGAL_ARGUMENT
    assert held(chain, "alice") == 64 * MIB * TOKEN
    assert new_ids(transfer(chain, request(chain, 1, MIB))) == (1,)


def test_burning_ones_own_and_others_tokens_lowers_the_supply(chain: Direct) -> None:
    left = chain.ok("alice", 7, Method.BURN, wire.BurnParams(MIB * TOKEN).to_cbor())
    assert wire.BurnParams.from_cbor(left).amount == 63 * MIB * TOKEN
    allow(chain, "carol", 2 * MIB * TOKEN)
    params = wire.BurnFromParams(chain.id("alice"), MIB * TOKEN).to_cbor()
    answer = wire.BurnFromReturn.from_cbor(chain.ok("carol", 7, Method.BURN_FROM, params))
    assert answer == wire.BurnFromReturn(62 * MIB * TOKEN, MIB * TOKEN)
    assert amount(chain.ok("dave", 7, Method.TOTAL_SUPPLY)) == 62 * MIB * TOKEN
    stranger = chain.call("dave", 7, Method.BURN_FROM, params)
    assert stranger.exit_code == Exit.INSUFFICIENT_FUNDS
    too_much = wire.BurnParams(99 * MIB * TOKEN).to_cbor()
    assert chain.call("alice", 7, Method.BURN, too_much).exit_code == Exit.INSUFFICIENT_FUNDS
    chain.sound()


def test_only_the_registry_mints_and_destroys(chain: Direct) -> None:
    mint = wire.MintParams(chain.id("alice"), TOKEN).to_cbor()
    destroy = wire.BurnFromParams(chain.id("alice"), TOKEN).to_cbor()
    assert chain.call("alice", 7, Method.MINT, mint).exit_code == Exit.FORBIDDEN
    assert chain.call("alice", 7, Method.DESTROY, destroy).exit_code == Exit.FORBIDDEN
    raw = chain.ok(6, 7, Method.DESTROY, destroy)
    assert wire.BurnParams.from_cbor(raw).amount == (64 * MIB - 1) * TOKEN


def test_tokens_move_without_events(chain: Direct) -> None:
    chain.ok("alice", 7, Method.BURN, wire.BurnParams(TOKEN).to_cbor())
    assert chain.events == []
    assert make_verifier(chain, "carol") == 0
    assert chain.events == ["verifier-balance"]


def test_balances_freeze_with_network_version_29(chain: Direct) -> None:
    chain.at(chain.epoch + 1, version=29)
    burn = chain.call("alice", 7, Method.BURN, wire.BurnParams(TOKEN).to_cbor())
    assert burn.exit_code == Exit.FORBIDDEN
    params = wire.BurnFromParams(chain.id("alice"), TOKEN).to_cbor()
    assert chain.call("carol", 7, Method.BURN_FROM, params).exit_code == Exit.FORBIDDEN
    assert chain.call(6, 7, Method.DESTROY, params).exit_code == Exit.FORBIDDEN
    assert held(chain, "alice") == 64 * MIB * TOKEN


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10**40)), max_size=12))
def test_an_allowance_is_the_sum_of_its_changes_never_below_zero(
    changes: list[tuple[bool, int]],
) -> None:
    chain = Direct()
    expected = 0
    for grows, tokens in changes:
        method = Method.INCREASE_ALLOWANCE if grows else Method.DECREASE_ALLOWANCE
        params = wire.AllowanceChange(chain.id("carol"), tokens).to_cbor()
        expected = max(expected + (tokens if grows else -tokens), 0)
        assert amount(chain.ok("alice", 7, method, params)) == expected
    assert allowance(chain, "alice", chain.id("carol")) == expected
