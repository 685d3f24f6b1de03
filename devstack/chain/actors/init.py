"""Init f01: new actors under new ids and f2 addresses."""

from __future__ import annotations

from devstack.chain.actors.basic import unhandled
from devstack.chain.actors.eam import EXEC4, exec4
from devstack.chain.actors.multisig import constructed
from devstack.chain.machine import Exit, Machine, Runtime
from devstack.chain.states import CODE_CIDS, Actor
from lotus_client import cbor
from lotus_client.actors.methods import InitMethod
from lotus_client.actors.multisig import ConstructorParams
from lotus_client.actors.system import CreatedActor, ExecParams
from lotus_client.address import Address

__all__ = ["invoke", "next_actor_address"]


def next_actor_address(machine: Machine) -> Address:
    """The f2 address of the next actor that the running message makes (actors.md §1)."""
    origin, nonce = machine.origin
    data = cbor.encode(origin.to_bytes())
    data += nonce.to_bytes(8, "big") + machine.exec_count.to_bytes(8, "big")
    machine.exec_count += 1
    return Address.of_actor_data(data)


def invoke(runtime: Runtime, method: int, params: bytes) -> bytes:
    """Exec4 for contracts, and Exec, of multisigs only: the devnet has no payment channels, and f04 makes miners itself."""
    if method == EXEC4:
        return exec4(runtime, params)
    if method != InitMethod.EXEC:
        raise unhandled(method)
    wanted = ExecParams.from_cbor(params)
    runtime.require(
        wanted.code == CODE_CIDS["multisig"], Exit.FORBIDDEN, "only multisigs can be made here"
    )
    robust = next_actor_address(runtime.machine)
    machine = runtime.machine
    actor_id = machine.new_id(robust)
    state = constructed(runtime, ConstructorParams.from_cbor(wanted.constructor_params))
    machine.set_actor(actor_id, Actor("multisig", state))
    created = Address.of_id(actor_id)
    if runtime.value:
        runtime.must_send(created, 0, value=runtime.value)
    return CreatedActor(created, robust).to_cbor()
