"""What contracts make, call and end: each other, native actors, and by native methods."""

from __future__ import annotations

import pytest
from eth_abi import decode

from devstack.chain import Network
from devstack.chain.evm_state import EvmState
from lotus_client import cbor
from lotus_client.actors.evm import EAM, EamMethod, cbor_bytes, optional_bytes
from lotus_client.address import Address
from lotus_client.eth import create2_address, create_address
from lotus_client.messages import Message
from lotus_client.types import AttoFil
from tests.unit.devstack.contracts import HEIR, Caller, calldata, initcode


@pytest.fixture(scope="module")
def network() -> Network:
    return Network()


@pytest.fixture(scope="module")
def caller(network: Network) -> Caller:
    return Caller(network)


@pytest.fixture(scope="module")
def factory(caller: Caller) -> Address:
    return caller.deploy(initcode("Factory"))


def test_a_factory_makes_children_by_create_and_create2(caller: Caller, factory: Address) -> None:
    state: EvmState = caller.network.pending_state().actor_state(factory)
    made = caller.run(factory, calldata("make(uint256)", 3), value=5)[12:]
    assert factory.eth_address is not None
    assert made == create_address(factory.eth_address, state.nonce)
    child = Address.of_eth(made)
    assert caller.network.pending_state().balance(child) == AttoFil(5)
    assert caller.read(child, calldata("value()"), ["uint256"]) == (3,)
    salted = caller.run(factory, calldata("makeAt(bytes32,uint256)", b"\1" * 32, 3))[12:]
    code = initcode("Child", ["uint256"], [3])
    assert salted == create2_address(factory.eth_address, b"\1" * 32, code)
    again = caller.look(factory, calldata("makeAt(bytes32,uint256)", b"\1" * 32, 3))
    assert again.exit_code == 33  # the address is taken by a contract that lives


def test_the_reason_of_a_creation_that_failed_reaches_the_maker(
    caller: Caller, factory: Address
) -> None:
    answer = caller.run(factory, calldata("makeOrNot(uint256)", 13))
    assert decode(["bool", "string"], answer) == (False, "unlucky")


def test_contracts_call_each_other_and_a_failed_call_is_undone(
    caller: Caller, factory: Address
) -> None:
    child = caller.run(factory, calldata("make(uint256)", 3))[12:]
    caller.run(factory, calldata("setAnother(address,uint256)", child, 99), value=3)
    value = calldata("value()")
    assert caller.read(Address.of_eth(child), value, ["uint256"]) == (99,)
    assert caller.network.pending_state().balance(Address.of_eth(child)) == AttoFil(3)
    answer = caller.run(factory, calldata("tryAnother(address,uint256)", child, 1))
    assert decode(["bool", "string"], answer) == (False, "set in vain")
    assert caller.read(Address.of_eth(child), value, ["uint256"]) == (99,)


def test_delegatecall_writes_the_callers_storage_and_staticcall_none(
    caller: Caller, factory: Address
) -> None:
    child = caller.run(factory, calldata("make(uint256)", 3))[12:]
    value = calldata("value()")
    done = caller.run(factory, calldata("borrow(address,uint256)", child, 123))
    assert decode(["bool"], done) == (True,)
    assert caller.read(factory, value, ["uint256"]) == (123,)
    assert caller.read(Address.of_eth(child), value, ["uint256"]) == (3,)
    read_only = calldata("callReadOnly(address,uint256)", child, 1)
    assert caller.read(factory, read_only, ["bool"]) == (False,)


def test_a_contract_that_ends_leaves_its_money_and_an_address_to_use_again(
    caller: Caller, factory: Address
) -> None:
    network = caller.network
    call = calldata("makeAt(bytes32,uint256)", b"\2" * 32, 3)
    child = Address.of_eth(caller.run(factory, call, value=7)[12:])
    before = network.pending_state().balance(HEIR).value
    caller.run(child, calldata("end(address)", HEIR.eth_address))
    state = network.pending_state()
    assert state.balance(HEIR) == AttoFil(before + 7)
    assert caller.look(child, calldata("value()")).return_ == cbor_bytes(b"")  # no code to run
    assert Address.of_eth(caller.run(factory, call)[12:]) == child
    assert network.pending_state().actor_id(child) == state.actor_id(child)
    assert caller.read(child, calldata("value()"), ["uint256"]) == (3,)


def test_a_contract_may_end_in_the_message_that_made_it(caller: Caller, factory: Address) -> None:
    before = caller.network.pending_state().balance(HEIR).value
    call = calldata("makeAndEnd(uint256,address)", 1, HEIR.eth_address)
    caller.run(factory, call, value=77)
    assert caller.network.pending_state().balance(HEIR) == AttoFil(before + 77)


def test_precompiles_reach_native_actors(caller: Caller, factory: Address) -> None:
    network = caller.network
    alice = network.key("alice").address
    found = caller.read(factory, calldata("resolve(bytes)", alice.to_bytes()), ["bool", "uint256"])
    assert found == (True, network.pending_state().actor_id(alice))
    unknown = calldata("resolve(bytes)", Address.of_actor_data(b"nobody").to_bytes())
    assert caller.read(factory, unknown, ["bool", "uint256"]) == (True, 0)
    garbage = caller.read(factory, calldata("resolve(bytes)", b"\x09"), ["bool", "uint256"])
    assert garbage == (False, 0)
    own = network.pending_state().actor_id(factory)
    known = caller.read(factory, calldata("delegatedAddress(uint64)", own), ["bytes"])
    assert known == (factory.to_bytes(),)


def test_a_contract_calls_native_methods_by_address_and_by_id(
    caller: Caller, factory: Address
) -> None:
    answer = ["int256", "uint64", "bytes"]
    by_id = "callActorId(uint64,uint64,uint256,bytes)"
    name = caller.read(factory, calldata(by_id, 7, 48890204, 0, b""), answer)
    assert name == (0, 0x51, cbor.encode("DataCap"))
    bob = caller.network.key("bob").address
    call = calldata("callActor(bytes,uint64,uint256,bytes)", bob.to_bytes(), 0, 5, b"")
    before = caller.network.pending_state().balance(bob).value
    caller.run(factory, call, value=5)
    assert caller.network.pending_state().balance(bob) == AttoFil(before + 5)
    missing = caller.read(factory, calldata(by_id, 999_999, 0, 1, b""), answer, value=1)
    assert missing[0] != 0
    assert caller.look(factory, calldata(by_id, 7, 2, 0, b"")).exit_code == 33  # a reserved method


def test_a_contract_answers_native_methods_of_its_own(caller: Caller, factory: Address) -> None:
    network = caller.network
    alice = network.key("alice").address
    params = cbor.encode([1, 2])
    answered = network.call(Message(factory, alice, method=0x1000000, params=params)).receipt
    assert (answered.exit_code, answered.return_) == (0, params)
    refused = network.call(Message(factory, alice, method=0x1000001, params=params)).receipt
    assert (refused.exit_code, refused.return_) == (42, params)
    for method, code in ((7, 22), (1023, 22), (1, 18), (5, 18), (6, 18)):
        assert network.call(Message(factory, alice, method=method)).receipt.exit_code in (code, 21)


def test_only_contracts_create_through_the_eam_as_contracts_do(caller: Caller) -> None:
    network = caller.network
    for method in (EamMethod.CREATE, EamMethod.CREATE2):
        params = cbor.encode([b"\x5f", 1 if method is EamMethod.CREATE else bytes(32)])
        message = Message(EAM, network.key("alice").address, method=int(method), params=params)
        assert network.call(message).receipt.exit_code == 18
    assert (
        network.call(Message(EAM, network.key("alice").address, method=9)).receipt.exit_code == 22
    )


def test_a_miner_cannot_be_reached_as_a_contract_but_an_account_takes_any_call(
    caller: Caller,
) -> None:
    assert caller.look(caller.network.genesis_miner, b"\x01\x02\x03\x04").exit_code == 22
    accepted = caller.look(caller.network.key("bob").address, b"\x01\x02\x03\x04", value=3)
    assert (accepted.exit_code, optional_bytes(accepted.return_)) == (0, b"")
