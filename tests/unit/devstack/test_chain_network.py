from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devstack.chain import (
    FIL,
    ChainLookupError,
    MessageFailed,
    Network,
    NetworkConfig,
    PushRefused,
)
from devstack.chain.amt import array_root, message_meta
from devstack.chain.election import draw, wins
from devstack.chain.invariants import check_invariants
from lotus_client.actors.multisig import ProposeParams
from lotus_client.address import Address
from lotus_client.chain import HeadChange
from lotus_client.cid import Cid
from lotus_client.crypto import verify_signature
from lotus_client.messages import Message, SignedMessage
from lotus_client.types import AttoFil, Epoch
from tests.unit.devstack.chain_story import Story


def transfer(network: Network, sender: str = "alice", **changes: object) -> SignedMessage:
    key = network.key(sender)
    message = network.estimate_gas(
        Message(
            network.key("bob").address,
            key.address,
            network.mpool.next_nonce(key.address),
            AttoFil(FIL),
        )
    )
    return replace(message, **changes).signed_by(key)  # type: ignore[arg-type]


def test_equal_configs_and_calls_make_equal_chains() -> None:
    heads = []
    for _ in range(2):
        network = Network(NetworkConfig(seed=5))
        network.mpool.push(transfer(network))
        network.advance(20)
        heads.append(network.head.key)
    assert heads[0] == heads[1]
    assert Network(NetworkConfig(seed=6)).genesis.key != Network(NetworkConfig(seed=5)).genesis.key


def test_headers_are_signed_and_named_by_their_bytes() -> None:
    network = Network()
    network.mpool.push(transfer(network))
    tipset = network.mine_epoch()
    assert tipset is not None
    for cid, header in zip(tipset.key, tipset.blocks, strict=True):
        assert header.cid == cid
        assert header.parents == network.genesis.key
        worker = network.state().miner_info(header.miner).worker
        assert header.block_sig is not None
        key = network.state().account_key(worker)
        verify_signature(header.block_sig, key, header.to_cbor(signed=False))
        included = [signed.cid for signed in network.messages_in_block(cid)]
        assert header.messages == message_meta([], included)
        assert included


def test_message_roots_are_those_of_a_real_chain() -> None:
    # the empty list and the empty pair, as in the blocks of Forest's chain4.car
    empty = "bafy2bzacedswlcz5ddgqnyo3sak3jmhmkxashisnlpq6ujgyhe4mlobzpnhs6"
    assert array_root([]) == Cid.parse(empty)
    meta = "bafy2bzacecmda75ovposbdateg7eyhwij65zklgyijgcjwynlklmqazpwlhba"
    assert message_meta([], []) == Cid.parse(meta)


def test_a_message_is_executed_one_tipset_after_its_inclusion() -> None:
    network = Network()
    bob = network.key("bob").address
    before = network.state().balance(bob)
    signed = transfer(network)
    cid = network.mpool.push(signed)
    included = network.mine_epoch()
    assert included is not None
    assert network.state(included.key).balance(bob) == before
    assert network.search_message(cid) is None
    child = network.mine_epoch()
    assert child is not None
    assert network.state(child.key).balance(bob) == before + AttoFil(FIL)
    found = network.search_message(cid)
    assert found is not None
    assert (found.tipset, found.height) == (child.key, child.height)
    sent = network.parent_messages(child.key.cids[0])
    receipts = network.parent_receipts(child.key.cids[0])
    assert receipts[sent.index(signed)] == found.receipt
    assert child.blocks[0].parent_state_root == network.pending_state(included.key).root
    execution = network.execution(included.key)
    assert execution.state_root == child.parent_state_root
    assert execution.receipts == receipts
    assert execution.receipts_root == child.blocks[0].parent_message_receipts


def test_null_rounds_leave_holes_that_lookups_step_over() -> None:
    network = Network()
    network.advance(2)
    low = network.head
    assert network.mine_epoch(null=True) is None
    assert network.head == low
    high = network.mine_epoch()
    assert high is not None
    assert high.height == 4
    assert high.parents == low.key
    assert network.tipset_by_height(Epoch(3)) == low
    assert network.tipset_after_height(Epoch(3)) == high
    runs = network.execution(high.key).invocations
    assert [run.message.nonce for run in runs if run.message.to == Address.of_id(3)] == [3, 4]
    with pytest.raises(ChainLookupError, match="greater than start point"):
        network.tipset_by_height(Epoch(5))


def test_a_reorg_reverts_then_applies_and_messages_come_back() -> None:
    network = Network()
    network.advance(5)
    batches: list[list[HeadChange]] = []
    stop = network.subscribe(batches.append)
    cid = network.mpool.push(transfer(network))
    network.advance(3)
    assert network.search_message(cid) is not None
    old = network.head
    batches.clear()
    changes = network.reorg(3)
    assert batches == [changes]
    reverts = [change.tipset for change in changes if change.type == "revert"]
    applies = [change.tipset for change in changes if change.type == "apply"]
    assert [change.type for change in changes] == ["revert"] * 3 + ["apply"] * len(applies)
    assert reverts[0] == old
    assert applies[-1] == network.head
    assert applies[0].parents == reverts[-1].parents
    assert network.head.height > old.height
    assert network.head.blocks[0].parent_weight > old.blocks[0].parent_weight
    assert network.search_message(cid) is None
    assert cid in network.mpool
    network.advance(2)
    assert network.search_message(cid) is not None
    assert network.path(old.key, network.head.key)[:3] == changes[:3]
    assert network.search_message(cid, old.key) is not None  # the old fork can still be read
    stop()
    assert check_invariants(network.pending_state().tree) == []
    with pytest.raises(ValueError, match="has no 1000"):
        network.reorg(1000)


def test_the_mempool_refuses_what_lotus_refuses() -> None:
    network = Network()
    good = transfer(network)
    for changes, why in (
        ({"nonce": 9}, "nonce gap"),
        ({"value": AttoFil(10**9 * FIL)}, "not enough funds"),
        ({"gas_fee_cap": AttoFil(1), "gas_premium": AttoFil(0)}, "base fee"),
        ({"gas_premium": AttoFil(10**12)}, "GasPremium"),
        ({"gas_limit": 10}, "GasLimit"),
        ({"params": bytes(70_000)}, "too large"),
        ({"value": AttoFil(-1)}, "negative"),
    ):
        bad = replace(good.message, **changes).signed_by(network.key("alice"))  # type: ignore[arg-type]
        with pytest.raises(PushRefused, match=why):
            network.mpool.push(bad)
    forged = SignedMessage(good.message, network.key("bob").sign(good.message.cid.raw))
    with pytest.raises(PushRefused, match="signature"):
        network.mpool.push(forged)
    nobody = network.key("stranger")
    unknown = replace(good.message, from_=nobody.address).signed_by(nobody)
    with pytest.raises(PushRefused, match="actor not found"):
        network.mpool.push(unknown)
    network.mpool.push(good)
    with pytest.raises(PushRefused, match="already in mpool"):
        network.mpool.push(good)
    network.advance(2)
    with pytest.raises(PushRefused, match="nonce too low"):
        network.mpool.push(good)


def test_replacing_needs_a_premium_of_one_tenth_more_plus_one() -> None:
    network = Network()
    first = transfer(network)
    network.mpool.push(first)
    least = first.message.gas_premium.value * 110 // 100 + 1
    cap = AttoFil(least * 2)
    low = first.message.with_fees(cap, AttoFil(least - 1)).signed_by(network.key("alice"))
    with pytest.raises(PushRefused, match="replace by fee has too low GasPremium"):
        network.mpool.push(low)
    high = first.message.with_fees(cap, AttoFil(least)).signed_by(network.key("alice"))
    network.mpool.push(high)
    assert network.mpool.pending() == [high]
    network.advance(2)
    found = network.search_message(high.cid)
    assert found is not None
    assert network.mpool.pending() == []
    assert network.search_message(first.cid) == found  # the same call under another CID
    assert network.search_message(first.cid, allow_replaced=False) is None


def test_a_gap_waits_until_it_is_filled_and_nonces_stay_in_order() -> None:
    network = Network()
    first, third = transfer(network), transfer(network, nonce=2)
    network.mpool.push(third)
    network.advance(2)
    assert network.search_message(third.cid) is None
    network.mpool.push(first)
    network.mpool.push(transfer(network, nonce=1))
    assert network.mpool.next_nonce(network.key("alice").address) == 3
    tipset = network.mine_epoch()
    assert tipset is not None
    assert [one.message.nonce for one in network.messages_in_tipset()] == [0, 1, 2]


def test_gas_money_is_divided_without_loss() -> None:
    network = Network()
    signed = transfer(network)
    network.mpool.push(signed)
    network.advance(1)
    (run,) = (run for run in network.execution().invocations if run.cid == signed.cid)
    parts = run.gas.base_fee_burn + run.gas.over_estimation_burn + run.gas.miner_tip
    limit = signed.message.gas_limit * signed.message.gas_fee_cap.value
    assert (parts + run.gas.refund).value == limit
    assert run.gas.base_fee_burn.value == 100 * run.receipt.gas_used


def test_a_call_that_would_fail_cannot_be_estimated() -> None:
    network = Network()
    call = ProposeParams(Address.of_id(6), AttoFil(0), 2, b"").to_cbor()
    message = Message(Address.of_id(80), network.key("alice").address, method=2, params=call)
    with pytest.raises(MessageFailed) as caught:
        network.estimate_gas(message)
    assert caught.value.exit_code == 18
    assert network.state().actor(Address.of_id(80)).nonce == 0


def test_past_states_stay_as_they_were() -> None:
    network = Network()
    network.advance(3)
    key, root = network.head.key, network.state().root
    reward = network.state().reward()
    network.advance(200)
    assert network.state(key).root == root
    assert network.state(key).reward() == reward


def test_a_provider_can_join_later() -> None:
    network = Network()
    miner = network.create_provider("alice", "alice-worker", AttoFil(10 * FIL))
    assert miner == Address.of_id(1003)  # 1002 went to the new worker's account
    view = network.pending_state()
    assert view.miner_info(miner).worker == Address.of_id(1002)
    assert view.balance(miner) == AttoFil(10 * FIL)
    assert miner in network.providers


def test_wins_follow_the_share_of_power() -> None:
    share = [wins(draw("test", index), 1, 10) for index in range(4000)]
    mean = sum(share) / len(share)
    assert 0.45 < mean < 0.55  # 5 times a tenth
    assert wins(draw("x"), 0, 10) == 0
    assert all(wins(draw("y", index), 10, 10) <= 15 for index in range(500))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["alice", "bob", "owner-1", "worker-1", "root-1"]),
            st.sampled_from([1, 2, 4, 5, 6, 7, 80, 99, 100, 1000, 1001]),
            st.sampled_from([0, 2, 3, 4, 5, 8, 9, 10, 11, 14, 16, 28, 34, 80475954, 1 << 25]),
            st.one_of(
                st.binary(max_size=12),
                st.sampled_from(
                    [b"\x82\x42\x00\x65\x48\x00" + bytes(3) + b"\x04" + bytes(3), b"\x81\x80",
                     b"\x81\x41\x00", b"\x80", b"\x82\x00\x40"]
                ),
            ),
            st.integers(0, 5 * FIL),
        ),
        max_size=25,
    ),
    st.lists(st.integers(0, 3), max_size=3),
)  # fmt: skip
def test_no_stream_of_messages_breaks_the_states_rules(
    calls: list[tuple[str, int, int, bytes, int]], reorgs: list[int]
) -> None:
    network = Network()
    for index, (sender, to, method, params, value) in enumerate(calls):
        network.send(sender, Address.of_id(to), method, params, AttoFil(value))
        if index % 5 == 4:
            network.advance(1)
    network.advance(2)
    for depth in reorgs:
        if 0 < depth < network.head.height:
            network.reorg(depth)
        network.mine_epoch(null=True)
        network.advance(2)
    assert check_invariants(network.pending_state().tree) == []


def test_a_random_story_stays_sound_over_reorgs_and_null_rounds() -> None:
    story = Story(Network(NetworkConfig(seed=3)))
    story.pre_commit(1, [])
    story.network.advance(12)
    story.prove(1, [])
    story.network.prove_automatically(Address.of_id(1001))
    for _ in range(4):
        story.network.advance(300)
        story.network.mine_epoch(null=True)
        story.network.reorg(2)
        story.sound()
    assert story.network.pending_state().faults(Address.of_id(1001)) == frozenset()


def test_epochs_pass_in_about_a_millisecond() -> None:
    network = Network()
    start = time.process_time()
    network.advance(500)
    assert time.process_time() - start < 5  # half a second on an idle core
