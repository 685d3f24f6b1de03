from __future__ import annotations

import pytest

from devstack.chain import FIL, Network, PushRefused
from devstack.chain.amt import message_meta
from devstack.chain.mining import block_order
from lotus_client import cbor
from lotus_client.bls import BlsKey, aggregate_bls
from lotus_client.crypto import Signature, SignatureType
from lotus_client.messages import Message, SignedMessage
from lotus_client.types import AttoFil


@pytest.fixture
def network() -> Network:
    network = Network()
    for name in ("one", "two"):
        network.mine_until(network.send("alice", network.bls_key(name).address, value=AttoFil(FIL)))
    return network


def test_an_f3_account_sends_money_and_its_message_has_the_unsigned_cid(network: Network) -> None:
    key, bob = network.bls_key("one"), network.key("bob").address
    before = network.pending_state().balance(bob)
    cid = network.send(key, bob, value=AttoFil(5))
    assert network.message(cid).message.cid == cid
    found = network.mine_until(cid)
    assert (found.message, found.receipt.exit_code) == (cid, 0)
    assert network.pending_state().balance(bob) == before + AttoFil(5)
    actor = network.pending_state().actor(key.address)
    assert actor.nonce == 1


def test_a_block_lists_and_executes_bls_messages_first_and_carries_their_aggregate(
    network: Network,
) -> None:
    bob = network.key("bob").address
    senders = ("alice", network.bls_key("one"), "bob", network.bls_key("two"))
    for sender in senders:
        network.send(sender, bob, value=AttoFil(1))
    tipset = network.mine_epoch()
    assert tipset is not None
    for cid, header in zip(tipset.key, tipset.blocks, strict=True):
        included = network.messages_in_block(cid)
        kinds = [one.signature.type for one in included]
        assert kinds == sorted(kinds, key=lambda kind: kind is not SignatureType.BLS)
        bls = [one for one in included if one.signature.type is SignatureType.BLS]
        others = [one for one in included if one.signature.type is not SignatureType.BLS]
        assert (len(bls), len(others)) == (2, 2)
        assert header.messages == message_meta([m.cid for m in bls], [m.cid for m in others])
        assert header.bls_aggregate == aggregate_bls([one.signature for one in bls])
    executed = [one.signature.type for one in network.messages_in_tipset(tipset.key)]
    assert executed[:2] == [SignatureType.BLS] * 2


def test_bls_messages_are_kept_without_signature_under_the_headers_messages(
    network: Network,
) -> None:
    key, bob = network.bls_key("one"), network.key("bob").address
    bls, secp = network.send(key, bob, value=AttoFil(1)), network.send("alice", bob)
    tipset = network.mine_epoch()
    assert tipset is not None
    listed = network.blocks.get(tipset.blocks[0].messages)
    assert listed is not None
    roots = cbor.decode(listed)
    assert isinstance(roots, list)
    assert all(network.blocks.get(root) for root in roots)  # type: ignore[arg-type]
    assert network.blocks.get(bls) == network.message(bls).message.to_cbor()
    assert network.blocks.get(secp) == network.message(secp).to_cbor()


def test_the_order_within_each_kind_stays(network: Network) -> None:
    bob = network.key("bob").address
    keys = [
        network.key("alice"),
        network.bls_key("one"),
        network.key("bob"),
        network.bls_key("two"),
    ]
    signed = [Message(bob, key.address, index).signed_by(key) for index, key in enumerate(keys)]
    assert [one.message.nonce for one in block_order(signed)] == [1, 3, 0, 2]


def test_a_bls_message_pays_for_its_unsigned_bytes(network: Network) -> None:
    key, alice = network.bls_key("one"), network.key("alice")
    message = Message(alice.address, key.address, 0, AttoFil(1))
    assert message.signed_by(key).chain_length == len(message.to_cbor())
    plain = Message(key.address, alice.address, 0, AttoFil(1)).signed_by(alice)
    assert plain.chain_length == len(plain.to_cbor())


def test_a_false_bls_signature_is_not_taken(network: Network) -> None:
    key, other = network.bls_key("one"), network.bls_key("two")
    message = network.estimate_gas(Message(other.address, key.address, 0, AttoFil(1)))
    with pytest.raises(PushRefused):
        network.mpool.push(SignedMessage(message, other.sign(message.cid.raw)))
    with pytest.raises(PushRefused):
        network.mpool.push(SignedMessage(message, Signature(SignatureType.BLS, bytes(96))))
    assert network.mpool.push(message.signed_by(key)) == message.cid


def test_a_reorganised_bls_message_returns_to_the_mempool(network: Network) -> None:
    cid = network.send(network.bls_key("one"), network.key("bob").address, value=AttoFil(5))
    network.mine_epoch()
    network.reorg(1)
    assert cid in network.mpool
    assert network.mine_until(cid).receipt.exit_code == 0


def test_names_give_the_same_bls_key_in_every_network_of_a_seed() -> None:
    assert Network().bls_key("one").address == Network().bls_key("one").address
    assert isinstance(Network().bls_key("one"), BlsKey)
