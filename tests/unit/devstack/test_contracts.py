"""Contracts as actors of the chain."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from eth_abi import decode, encode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devstack.chain import Network, PushRefused
from devstack.chain.evm_state import EvmState
from devstack.chain.invariants import check_invariants
from lotus_client import cbor
from lotus_client.actors.evm import (
    EAM,
    CreateReturn,
    EamMethod,
    EvmMethod,
    RawBytes,
    cbor_bytes,
    log_of,
)
from lotus_client.address import Address
from lotus_client.crypto import Secp256k1Key, keccak256
from lotus_client.eth import create_address, sign_delegated
from lotus_client.messages import Message
from lotus_client.types import AttoFil
from tests.unit.devstack.contracts import FIL, HEIR, Caller, calldata, initcode


@pytest.fixture(scope="module")
def network() -> Network:
    return Network()


@pytest.fixture(scope="module")
def caller(network: Network) -> Caller:
    return Caller(network)


@pytest.fixture(scope="module")
def counter(caller: Caller) -> Address:
    return caller.deploy(initcode("Counter", ["uint256"], [5]))


@pytest.fixture(scope="module")
def factory(caller: Caller) -> Address:
    return caller.deploy(initcode("Factory"))


def test_a_placeholder_becomes_an_account_with_its_first_message(network: Network) -> None:
    caller = Caller(network, 9)
    assert network.pending_state().code_name(caller.address) == "placeholder"
    before = network.pending_state().actor_id(caller.address)
    caller.send(Address.parse("0x" + "ab" * 20), b"", value=5)
    after = network.pending_state()
    assert after.code_name(caller.address) == "ethaccount"
    assert after.actor_id(caller.address) == before
    assert after.actor(caller.address).nonce == 1
    assert after.balance(Address.parse("0x" + "ab" * 20)) == AttoFil(5)


def test_a_contract_is_made_where_ethereum_would_make_it(network: Network, caller: Caller) -> None:
    nonce = network.mpool.next_nonce(caller.address)
    contract = caller.deploy(initcode("Counter", ["uint256"], [5]), value=3)
    assert contract.eth_address == create_address(caller.eth, nonce)
    state = network.pending_state()
    assert state.code_name(contract) == "evm"
    assert state.balance(contract) == AttoFil(3)
    assert state.actor(contract).delegated_address == contract
    kept: EvmState = state.actor_state(contract)
    assert kept.bytecode_hash == keccak256(kept.bytecode)
    assert kept.nonce == 1
    assert caller.read(contract, calldata("owner()"), ["address"]) == ("0x" + caller.eth.hex(),)


def test_a_contract_takes_the_place_of_a_placeholder_and_keeps_its_money(
    network: Network, caller: Caller
) -> None:
    nonce = network.mpool.next_nonce(caller.address)
    future = Address.of_eth(create_address(caller.eth, nonce))
    network.mine_until(network.send("alice", future, value=AttoFil(11)))
    before = network.pending_state().actor_id(future)
    assert caller.deploy(initcode("Token", ["uint256"], [1])) == future
    assert network.pending_state().actor_id(future) == before
    assert network.pending_state().balance(future) == AttoFil(11)


def test_a_native_account_can_make_and_call_contracts(network: Network) -> None:
    key = network.key("alice").address
    made = network.mine_until(
        network.send("alice", EAM, EamMethod.CREATE_EXTERNAL,
                     cbor_bytes(initcode("Counter", ["uint256"], [5])))
    )  # fmt: skip
    created = CreateReturn.from_cbor(made.receipt.return_)
    nonce = network.pending_state().actor(key).nonce - 1
    assert created.eth_address == create_address(keccak256(key.to_bytes())[12:], nonce)
    called = network.mine_until(
        network.send("alice", Address.of_id(created.actor_id), EvmMethod.INVOKE_CONTRACT,
                     cbor_bytes(calldata("add(uint256,string)", 2, "")))
    )  # fmt: skip
    assert decode(["uint256"], RawBytes.from_cbor(called.receipt.return_).data) == (7,)


def test_what_a_call_changed_and_told_stays(caller: Caller, counter: Address) -> None:
    (before,) = caller.read(counter, calldata("count()"), ["uint256"])
    receipt = caller.send(counter, calldata("add(uint256,string)", 7, "hello"), value=2)
    assert caller.read(counter, calldata("count()"), ["uint256"]) == (before + 7,)
    assert receipt.events_root is not None
    (event,) = caller.network.events_of_root(receipt.events_root)
    assert event.emitter == caller.network.pending_state().actor_id(counter)
    log = log_of(event.entries)
    assert log is not None
    topics, data = log
    assert topics == (
        keccak256(b"Counted(address,uint256,string)"),
        caller.eth.rjust(32, b"\0"),
        (before + 7).to_bytes(32, "big"),
    )
    assert decode(["string"], data) == ("hello",)


def test_a_revert_undoes_everything_but_gas_and_nonce(caller: Caller, counter: Address) -> None:
    network = caller.network
    before = network.pending_state()
    receipt = caller.send(counter, calldata("add(uint256,string)", 5000, "x"), value=9)
    after = network.pending_state()
    assert (receipt.exit_code, receipt.events_root) == (33, None)
    selector = keccak256(b"TooMuch(uint256,uint256)")[:4]
    assert RawBytes.from_cbor(receipt.return_).data == selector + encode(
        ["uint256", "uint256"], [5000, 1000]
    )
    assert after.balance(counter) == before.balance(counter)
    assert after.actor(counter).head == before.actor(counter).head
    assert after.actor(caller.address).nonce == before.actor(caller.address).nonce + 1
    assert after.balance(caller.address) < before.balance(caller.address)


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("fe", 34),  # INVALID
        ("0c", 35),  # no such instruction
        ("f2", 35),  # CALLCODE, which the FEVM does not have
        ("01", 36),  # ADD of nothing
        ("5f" * 1025, 37),
        ("5f60205f3e", 38),  # RETURNDATACOPY beyond what was returned
        ("5f56", 39),  # a jump to no JUMPDEST
        ("5f5ffd", 33),
    ],
)
def test_each_way_to_fail_has_the_evm_actors_exit_code(
    caller: Caller, code: str, exit_code: int
) -> None:
    run = caller.look(EAM, bytes.fromhex(code))
    assert run.exit_code == exit_code
    assert run.gas_used < 50_000_000  # what is left is not taken, as nothing else in the FVM does


def test_a_loop_without_end_takes_its_gas_limit_and_nothing_else(
    caller: Caller, counter: Address
) -> None:
    before = caller.network.pending_state().actor(counter).head
    receipt = caller.send(counter, calldata("spin()"), gas=30_000_000)
    assert (receipt.exit_code, receipt.gas_used) == (7, 30_000_000)
    assert caller.network.pending_state().actor(counter).head == before


# Instructions that put something on the stack, then any: random code that gets somewhere.
PUSHES = st.integers(0, 255).map(lambda value: bytes((0x60, value)))


WIDE = st.binary(min_size=32, max_size=32).map(lambda word: b"\x7f" + word)


CODE = st.lists(
    st.one_of(PUSHES, PUSHES, PUSHES, WIDE, st.integers(0, 255).map(lambda op: bytes((op,)))),
    max_size=60,
).map(b"".join)


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(code=CODE)
def test_no_code_breaks_the_chain(caller: Caller, code: bytes) -> None:
    message = replace(caller.message(EAM, b"\x5f" + code), gas_limit=40_000_000)
    receipt = caller.network.call(message).receipt
    assert receipt.exit_code in (0, 7, 16, 33, 34, 35, 36, 37, 38, 39, 40)
    assert receipt.gas_used <= 40_000_000


def test_code_may_be_24_kib_and_not_begin_with_0xef(caller: Caller) -> None:
    def returns(size: int, first: int = 0) -> bytes:  # initcode that returns so many bytes
        return bytes([0x60, first, 0x5F, 0x53, 0x61, *size.to_bytes(2, "big"), 0x5F, 0xF3])

    assert caller.look(EAM, returns(24 << 10)).exit_code == 0
    assert caller.look(EAM, returns((24 << 10) + 1)).exit_code == 16
    assert caller.look(EAM, returns(1, 0xEF)).exit_code == 16


def test_value_goes_out_by_solidity_transfer(caller: Caller, counter: Address) -> None:
    network = caller.network
    caller.run(counter, b"", value=10)  # into `receive`
    held = network.pending_state().balance(counter).value
    fresh = Address.of_eth(b"\xab\xcd" * 10)
    caller.run(counter, calldata("send(address,uint256)", fresh.eth_address, 4))
    state = network.pending_state()
    assert state.balance(counter) == AttoFil(held - 4)
    assert state.balance(fresh) == AttoFil(4)
    assert state.code_name(fresh) == "placeholder"
    too_much = calldata("send(address,uint256)", fresh.eth_address, 10**20)
    assert caller.look(counter, too_much).exit_code == 33


def test_method_0_moves_value_without_running_code(caller: Caller) -> None:
    token = caller.deploy(initcode("Token", ["uint256"], [1]))  # has no `receive`
    assert caller.look(token, b"", value=5).exit_code == 33
    network = caller.network
    found = network.mine_until(network.send("alice", token, value=AttoFil(5)))
    assert found.receipt.exit_code == 0
    assert network.pending_state().balance(token) == AttoFil(5)


def test_a_contract_sees_the_chain_around_it(caller: Caller, counter: Address) -> None:
    types = ["uint256", "uint256", "uint256", "address", "uint256", "bytes32"]
    number, time, chain, origin, fee, parent = caller.read(
        counter, calldata("surroundings()"), types
    )
    head = caller.network.head
    config = caller.network.config
    assert number == head.height + 1
    assert time == config.genesis_timestamp + number * config.block_delay_seconds
    assert (chain, fee) == (config.eip155_chain_id, 100)
    assert origin == "0x" + caller.eth.hex()
    assert parent == head.key.cid.digest


def test_the_mempool_takes_delegated_messages_of_their_signer_only(caller: Caller) -> None:
    network = caller.network
    chain_id = network.config.eip155_chain_id
    message = caller.message(HEIR, b"", 1)
    ready = network.estimate_gas(message)
    good = sign_delegated(ready, caller.key, chain_id)
    other = Secp256k1Key(b"\x55" * 32)
    stranger = sign_delegated(
        Message(HEIR, other.delegated_address, 0, AttoFil(1), ready.gas_limit, AttoFil(1000),
                AttoFil(500), ready.method), other, chain_id,
    )  # fmt: skip
    with pytest.raises(PushRefused, match="actor not found"):
        network.mpool.push(stranger)
    with pytest.raises(PushRefused, match="invalid signature"):
        network.mpool.push(sign_delegated(ready, caller.key, chain_id + 1))
    with pytest.raises(PushRefused, match="invalid signature"):
        network.mpool.push(ready.signed_by(caller.key))
    network.mpool.push(good)
    assert network.mpool.next_nonce(caller.address) == ready.nonce + 1
    network.mine_until(good.cid)


def test_messages_of_an_account_that_a_reorg_takes_away_wait_for_it() -> None:
    network = Network()
    network.advance(2)
    caller = Caller(network)
    sent = caller.message(HEIR, b"", 5)
    signed = sign_delegated(network.estimate_gas(sent), caller.key, network.config.eip155_chain_id)
    network.mpool.push(signed)
    network.advance(1)
    network.reorg(4)
    assert network.pending_state().actor_id(caller.address) is None
    assert signed.cid in network.mpool
    assert network.mine_until(signed.cid).receipt.exit_code == 0
    assert network.pending_state().balance(HEIR) == AttoFil(5)


def test_equal_histories_with_contracts_give_equal_chains() -> None:
    def story() -> Network:
        network = Network()
        caller = Caller(network)
        counter = caller.deploy(initcode("Counter", ["uint256"], [5]))
        caller.run(counter, calldata("add(uint256,string)", 7, "hello"))
        network.advance(1)
        return network

    assert story().head.key == story().head.key


def test_no_contract_no_evm() -> None:
    code = (
        "import sys; from devstack.stack import Devstack; from devstack.chain import Network\n"
        "Network().advance(3)\n"
        "assert not [name for name in sys.modules if name in ('eth', 'web3', 'rlp')], 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_money_neither_appears_nor_vanishes(
    network: Network, caller: Caller, factory: Address
) -> None:
    def total() -> int:
        return sum(actor.balance for actor in network.pending_state().tree.actors.values())

    before = total()
    caller.run(factory, calldata("make(uint256)", 3), value=FIL)
    caller.send(factory, calldata("make(uint256)", 13), value=FIL)
    assert total() == before
    assert check_invariants(network.pending_state().tree) == []


def test_a_contracts_state_code_and_storage_are_blocks_of_the_chain(
    network: Network, caller: Caller
) -> None:
    contract = caller.deploy(initcode("Counter", ["uint256"], [258]))
    state = network.pending_state()
    kept: EvmState = state.actor_state(contract)
    head = network.blocks.get(state.actor(contract).head)
    assert head is not None
    code, code_hash, storage, transient, nonce, tombstone = cbor.decode(head)
    assert (code_hash, transient, nonce, tombstone) == (keccak256(kept.bytecode), None, 1, None)
    assert network.blocks.get(code) == kept.bytecode
    root = network.blocks.get(storage)
    assert root is not None
    _, pointers = cbor.decode(root)
    assert pointers == [{"v": [[b"", b"\x01\x02"]]}]  # slot 0 holds 258, both without leading zeros


def test_without_py_evm_no_contract_gets_into_the_mempool_and_none_runs(
    network: Network, caller: Caller, counter: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = caller.message(counter, calldata("count()"))
    ready = sign_delegated(
        network.estimate_gas(message), caller.key, network.config.eip155_chain_id
    )
    monkeypatch.setattr("devstack.evm.find_spec", lambda _name: None)
    with pytest.raises(PushRefused, match="module disabled"):
        network.mpool.push(ready)
    assert network.call(message).receipt.exit_code == 22
