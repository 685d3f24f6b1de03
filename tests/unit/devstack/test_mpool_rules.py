from __future__ import annotations

import pytest

from devstack.chain import Network, PushRefused
from lotus_client.messages import Message, SignedMessage
from lotus_client.types import AttoFil


def transfer(network: Network, sender: str, ahead: int = 0, premium: int = 0) -> SignedMessage:
    key = network.key(sender)
    message = network.estimate_gas(
        Message(
            network.key("carol").address,
            key.address,
            network.mpool.next_nonce(key.address) + ahead,
            AttoFil(1),
            gas_premium=AttoFil(premium),
        )
    )
    return message.signed_by(key)


def test_an_untrusted_message_may_leave_no_gap() -> None:
    network = Network()
    with pytest.raises(PushRefused, match="unfulfilled nonce gap"):
        network.mpool.push(transfer(network, "alice", ahead=1), trusted=False)
    network.mpool.push(transfer(network, "alice", ahead=1))
    network.mpool.push(transfer(network, "alice"), trusted=False)
    assert len(network.mpool.pending()) == 2


def test_a_sender_has_room_for_a_hundred_untrusted_messages() -> None:
    network = Network()
    for _ in range(100):
        network.mpool.push(transfer(network, "alice"), trusted=False)
    with pytest.raises(PushRefused, match="too many pending messages"):
        network.mpool.push(transfer(network, "alice"), trusted=False)
    network.mpool.push(transfer(network, "alice"))


def test_clearing_leaves_local_messages_unless_told_otherwise() -> None:
    network = Network()
    told: list[tuple[str, SignedMessage]] = []
    network.mpool.subscribe(lambda kind, signed: told.append((kind, signed)))
    mine, foreign = transfer(network, "alice"), transfer(network, "bob")
    network.mpool.push(mine)
    network.mpool.push(foreign, trusted=False)
    network.mpool.clear(local=False)
    assert network.mpool.pending() == [mine]
    network.mpool.clear(local=True)
    assert network.mpool.pending() == []
    assert told[-2:] == [("remove", foreign), ("remove", mine)]


def test_priority_senders_go_first_whatever_others_pay() -> None:
    network = Network()
    rich, poor = transfer(network, "alice", premium=500_000), transfer(network, "bob")
    network.mpool.push(rich)
    network.mpool.push(poor)
    assert network.mpool.select() == [rich, poor]
    network.mpool.priority = (network.key("bob").address,)
    assert network.mpool.select() == [poor, rich]


def test_the_messages_of_one_sender_come_by_nonce() -> None:
    network = Network()
    later, sooner = transfer(network, "alice", ahead=1), transfer(network, "alice")
    for signed in (later, sooner, transfer(network, "bob")):
        network.mpool.push(signed)
    assert network.mpool.of_sender(network.key("alice").address) == [sooner, later]
    assert network.mpool.of_sender(network.key("nobody").address) == []
