"""The state as an independent reader finds it, block by block from a header's state root, is what the typed reads say."""

from __future__ import annotations

from typing import Any

import pytest

from devstack.chain import Network
from devstack.chain.actors.reward import initial
from devstack.chain.code_cids import CODE_CIDS, MANIFEST
from lotus_client.actors.datacap import INFINITE_ALLOWANCE
from lotus_client.actors.methods import VERIFIED_REGISTRY
from lotus_client.address import Address
from lotus_client.chain import BlockHeader, TipSet
from lotus_client.cid import Cid
from lotus_client.messages import SignedMessage
from lotus_client.state import Allocation, Claim
from lotus_client.types import Epoch
from tests.unit.devstack.chain_story import MIB, PROVIDER, piece_cid
from tests.unit.devstack.state_reader import Reader, busy_network
from tests.walker import number, read, read_amt, read_hamt


@pytest.fixture(scope="module")
def network() -> Network:
    return busy_network()


@pytest.fixture(scope="module")
def reader(network: Network) -> Reader:
    return Reader(network, network.head.blocks[0].parent_state_root)


def test_every_actor_record_is_what_state_get_actor_says(network: Network, reader: Reader) -> None:
    view = network.state()
    assert len(reader.actors) == len(view.tree.actors) > 20
    for actor_id, (code, head, nonce, balance, delegated) in reader.actors.items():
        record = view.actor(Address.of_id(actor_id))
        assert (code, head, nonce) == (record.code, record.head, record.nonce)
        assert number(balance) == record.balance.value
        assert delegated is None
        read(reader.get, head)


def test_the_address_map_leads_to_the_ids(network: Network, reader: Reader) -> None:
    addresses, next_id, name = reader.state(1)
    assert (next_id, name) == (1002, "devstack")
    found = reader.by_address(addresses)
    assert found[network.key("alice").address] == network.state().actor_id(
        network.key("alice").address
    )
    assert {address: network.state().actor_id(address) for address in found} == found


def test_the_system_actor_names_the_code_of_the_manifest(reader: Reader) -> None:
    (data,) = reader.state(0)
    assert dict(read(reader.get, data)) == CODE_CIDS  # type: ignore[arg-type]
    assert read(reader.get, MANIFEST.cid) == [1, data]
    # Lotus build/builtin_actors_gen.go: the v18.0.0 bundle for 2k networks
    expected = "bafy2bzaced35gjxagazf2fne5dakbok5abmivsh7cq7huwfuptebgwjmcpcf6"
    assert str(MANIFEST.cid) == expected


def test_allocations_and_claims_are_grouped_by_owner(network: Network, reader: Reader) -> None:
    _root, _verifiers, _proposals, allocations, next_id, claims = reader.state(6)
    view = network.state()
    assert next_id == 17
    read_allocations = {
        one: Allocation(one, *value)  # type: ignore[arg-type]
        for inner in reader.by_number(allocations).values()
        for one, value in reader.by_number(inner).items()
    }
    assert read_allocations == dict(view.all_allocations())
    assert len(read_allocations) == 14
    by_client = reader.by_number(allocations)
    for client in ("alice", "root-1"):
        key = network.key(client).address
        owner = view.actor_id(key)
        assert owner is not None
        assert reader.by_number(by_client[owner]).keys() == view.allocations(key).keys()
    (inner,) = reader.by_number(claims).values()
    read_claims = {one: Claim(one, *value) for one, value in reader.by_number(inner).items()}  # type: ignore[arg-type]
    assert read_claims == dict(view.claims(PROVIDER)) == dict(view.all_claims())
    assert len(read_claims) == 2


def test_verifiers_and_datacap_are_in_their_own_units(network: Network, reader: Reader) -> None:
    view = network.state()
    verifiers = reader.by_address(reader.state(6)[1])
    bob = network.key("bob").address
    owner = view.actor_id(bob)
    assert owner is not None
    assert {one: number(cap) for one, cap in verifiers.items()} == {
        Address.of_id(owner): view.verifier_datacap(bob)
    }
    governor, (supply, balances, allowances, width) = reader.state(7)
    assert (Address.from_bytes(governor), width) == (VERIFIED_REGISTRY, 5)
    held = {one: number(tokens) for one, tokens in reader.by_number(balances).items()}
    assert sum(held.values()) == number(supply)
    assert held == {one: (view.datacap(Address.of_id(one)) or 0) * 10**18 for one in (*held, 6)}
    assert held[6] == 14 * MIB * 10**18
    clients = {view.actor_id(network.key(name).address) for name in ("alice", "root-1")}
    allowed = reader.by_number(allowances)  # what a grant lets f05 spend
    assert allowed.keys() == clients
    for operators in allowed.values():
        spendable = reader.by_number(operators)
        assert {one: number(tokens) for one, tokens in spendable.items()} == {5: INFINITE_ALLOWANCE}


def test_pending_proposals_have_signed_varint_keys(reader: Reader) -> None:
    signers, threshold, next_txn, locked, start, duration, pending = reader.state(80)
    assert (len(signers), threshold, next_txn) == (2, 2, 3)
    assert (locked, start, duration) == (b"", 0, 0)
    found = read_hamt(reader.get, pending)
    assert found.keys() == {b"\x02", b"\x04"}  # 1 and 2, zigzag
    to, value, method, params, approved = found[b"\x04"]
    assert (Address.from_bytes(to), number(value), method, params) == (
        Address.of_id(100),
        6,
        0,
        b"",
    )
    assert approved == signers[:1]


def test_the_market_is_empty_and_its_cron_has_run(network: Network, reader: Reader) -> None:
    state = reader.state(5)
    assert [read_amt(reader.get, root) for root in state[:2]] == [{}, {}]
    assert [read(reader.get, root)[0] for root in state[:2]] == [5, 6]
    for root in (*state[2:5], state[6], *state[11:]):
        assert read_hamt(reader.get, root) == {}
    assert state[7] == network.head.height - 1


def test_past_states_stay_readable_block_by_block(network: Network) -> None:
    early = Reader(network, network.tipset_by_height(Epoch(3)).blocks[0].parent_state_root)
    assert read_hamt(early.get, early.state(6)[3]) == {}
    assert number(early.state(1000)[2]) < number(
        Reader(network, network.head.blocks[0].parent_state_root).state(1000)[2]
    )


def test_the_blocks_of_a_tipset_lead_to_messages_receipts_and_events(network: Network) -> None:
    found = next(
        tipset
        for height in range(network.head.height)
        if network.messages_in_tipset((tipset := network.tipset_by_height(Epoch(height))).key)
        and any(
            one.events_root for one in network.parent_receipts(_block_of(_child(network, tipset)))
        )
    )
    reader = Reader(network, found.blocks[0].parent_state_root)
    raw = reader.get(_block_of(found).raw)
    header = BlockHeader.from_cbor(raw)
    assert header == found.blocks[0]
    bls, secp = read(reader.get, header.messages)
    assert _list(reader, bls) == []
    messages = [SignedMessage.from_cbor(reader.get(cid.raw)) for cid in _list(reader, secp)]
    assert messages == list(network.messages_in_block(_block_of(found)))
    child = _child(network, found)
    receipts = _list(reader, child.blocks[0].parent_message_receipts)
    for written, receipt in zip(receipts, network.parent_receipts(_block_of(child)), strict=True):
        assert written == [
            receipt.exit_code, receipt.return_, receipt.gas_used, receipt.events_root
        ]  # fmt: skip
        if receipt.events_root is not None:
            events = read_amt(reader.get, receipt.events_root)
            emitted = network.events_of_root(receipt.events_root)
            assert [event[0] for event in events.values()] == [one.emitter for one in emitted]


def _block_of(tipset: TipSet) -> Cid:
    return next(iter(tipset.key))


def _child(network: Network, tipset: TipSet) -> TipSet:
    return network.tipset_after_height(Epoch(tipset.height + 1))


def test_a_cid_of_nothing_is_not_found(network: Network) -> None:
    assert network.blocks.get(Cid.parse(str(MANIFEST.cid)[:-8] + "aaaaaaaa")) is None
    assert network.blocks.get(piece_cid(1)) is None


def test_the_first_baseline_is_one_byte_below_its_initial_value_as_in_builtin_actors_test() -> None:
    assert initial(0).this_epoch_baseline_power == 2_888_888_880_000_000_000 - 1
    assert initial(0).effective_baseline_power == 2_888_888_880_000_000_000
    assert (initial(1 << 39).cumsum_realized, initial(1 << 39).effective_network_time) == (
        1 << 39,
        1,
    )


def _list(reader: Reader, root: Cid) -> list[Any]:
    """A list of the first layout that fits one node, as those of this story do."""
    height, count, (_bitmap, links, values) = read(reader.get, root)
    assert (height, links, count) == (0, [], len(values))
    return list(values)
