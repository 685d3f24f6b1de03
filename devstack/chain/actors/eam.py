"""The Ethereum address manager f010, and f01's Exec4 that it makes contracts with (actors.md §10)."""

from __future__ import annotations

from typing import Final

from devstack.chain.actors.dispatch import unhandled
from devstack.chain.evm_state import EvmState
from devstack.chain.machine import Abort, Exit, Runtime
from devstack.chain.states import CODE_CIDS, Actor, InitState
from devstack.chain.table import replace
from devstack.evm.host import eth_address
from devstack.evm.precompiles import is_reserved
from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.actors.evm import (
    ConstructorParams,
    Create2Params,
    CreateParams,
    CreateReturn,
    EamMethod,
    EvmMethod,
    RawBytes,
)
from lotus_client.actors.methods import INIT
from lotus_client.actors.system import CreatedActor
from lotus_client.address import Address
from lotus_client.crypto import keccak256
from lotus_client.eth import create2_address, create_address

__all__ = ["EXEC4", "exec4", "invoke"]

EXEC4: Final = 3  # f01
_EAM: Final = 10


def invoke(runtime: Runtime, method: int, params: bytes) -> bytes:
    """Create and Create2 are for contracts, CreateExternal for accounts that call f010 themselves."""
    if method == EamMethod.CREATE:
        wanted = CreateParams.from_cbor(params)
        creator = _contract(runtime)
        return _create(runtime, creator, create_address(creator, wanted.nonce), wanted.initcode)
    if method == EamMethod.CREATE2:
        salted = Create2Params.from_cbor(params)
        creator = _contract(runtime)
        address = create2_address(creator, salted.salt, salted.initcode)
        return _create(runtime, creator, address, salted.initcode)
    if method == EamMethod.CREATE_EXTERNAL:
        creator, stable = _account(runtime)
        address = create_address(stable, runtime.machine.origin[1])
        return _create(runtime, creator, address, RawBytes.from_cbor(params).data)
    raise unhandled(method)


def _contract(runtime: Runtime) -> bytes:
    runtime.require(
        runtime.code_of(runtime.caller) == "evm", Exit.FORBIDDEN, "only contracts call this"
    )
    return eth_address(runtime.machine, runtime.caller)


def _account(runtime: Runtime) -> tuple[bytes, bytes]:
    """The creator that the contract sees, and what its address is derived from."""
    own = eth_address(runtime.machine, runtime.caller)
    code = runtime.code_of(runtime.caller)
    if code == "ethaccount":
        return own, own
    runtime.require(code == "account", Exit.FORBIDDEN, f"a {code} actor cannot create contracts")
    key: Address = runtime.machine.actors[runtime.caller].state.address
    return own, keccak256(key.to_bytes())[12:]


def _create(runtime: Runtime, creator: bytes, address: bytes, initcode: bytes) -> bytes:
    runtime.require(not is_reserved(address), Exit.FORBIDDEN, "a reserved address")
    machine = runtime.machine
    delegated = Address.of_eth(address)
    params = ConstructorParams(creator, initcode).to_cbor()
    existing = machine.resolve(delegated)
    if existing is not None and runtime.code_of(existing) != "placeholder":
        runtime.require(runtime.code_of(existing) == "evm", Exit.FORBIDDEN, "the address is taken")
        runtime.must_send(Address.of_id(existing), EvmMethod.RESURRECT, params, runtime.value)
        return CreateReturn(existing, None, address).to_cbor()
    wanted = cbor.encode([CODE_CIDS["evm"], params, address])
    made = CreatedActor.from_cbor(runtime.must_send(INIT, EXEC4, wanted, runtime.value))
    return CreateReturn(made.id_address.actor_id, made.robust_address, address).to_cbor()


def exec4(runtime: Runtime, params: bytes) -> bytes:
    """f01's method for address managers: a new actor under f4 and f2, in place of a placeholder if there is one."""
    runtime.require_caller(_EAM)
    code, constructor, subaddress = wire.fields(cbor.decode(params), 3, "Exec4")
    runtime.require(wire.link(code) == CODE_CIDS["evm"], Exit.FORBIDDEN, "only contracts")
    from devstack.chain.actors.init import next_actor_address

    machine = runtime.machine
    robust = next_actor_address(machine)
    delegated = Address.of_eth(wire.octets(subaddress))
    actor_id = machine.resolve(delegated)
    balance = 0
    if actor_id is None:
        made = machine.new_id(delegated)
    else:
        made, balance = actor_id, machine.actors[actor_id].balance
        if machine.actors[made].code != "placeholder":
            raise Abort(Exit.FORBIDDEN, f"{delegated} exists")
    init: InitState = runtime.state
    runtime.set_state(replace(init, address_map=init.address_map.with_({robust: made})))
    machine.set_actor(made, Actor("evm", EvmState(), balance=balance, delegated=delegated))
    created = Address.of_id(made)
    runtime.must_send(created, EvmMethod.CONSTRUCTOR, wire.octets(constructor), runtime.value)
    return CreatedActor(created, robust).to_cbor()
