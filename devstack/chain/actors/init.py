"""Init f01: new actors under new ids and f2 addresses."""

from __future__ import annotations

from typing import Final

from devstack.chain.actors.dispatch import Action, call_method, taking
from devstack.chain.actors.eam import EXEC4, exec4
from devstack.chain.machine import Exit, Machine, Runtime
from devstack.chain.states import CODE_CIDS, Actor, MultisigState
from lotus_client import cbor
from lotus_client.actors.methods import InitMethod, MultisigMethod
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
    """Exec, and Exec4 for contracts."""
    return call_method(runtime, _METHODS, method, params)


def _exec(runtime: Runtime, wanted: ExecParams) -> bytes:
    """A new multisig; the message's value goes to its constructor, whose failure is the message's.

    Payment channels, which anyone could make too, do not exist on a devstack network, and f04 makes miners itself.
    """
    runtime.require(
        wanted.code == CODE_CIDS["multisig"], Exit.FORBIDDEN, "only multisigs can be made here"
    )
    machine = runtime.machine
    robust = next_actor_address(machine)
    actor_id = machine.new_id(robust)
    machine.set_actor(actor_id, Actor("multisig", MultisigState((), 0)))
    created = Address.of_id(actor_id)
    runtime.must_send(created, MultisigMethod.CONSTRUCTOR, wanted.constructor_params, runtime.value)
    return CreatedActor(created, robust).to_cbor()


_METHODS: Final[dict[int, Action]] = {
    InitMethod.EXEC: taking(ExecParams.from_cbor, _exec),
    EXEC4: exec4,
}
