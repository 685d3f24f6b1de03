"""`MsigGet*`: what a multisig holds, vests and waits for. Source: Lotus `node/impl/full/state.go`."""

from __future__ import annotations

from typing import Any

from devstack.auth import Permission
from devstack.chain import StateView
from devstack.chain.actors.multisig import locked_amount
from devstack.chain.states import MultisigState
from devstack.node import FullNode
from devstack.rpc.encode import address_json, amount_json, bytes_json
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method
from devstack.rpc.params import ADDRESS, TIPSET_KEY
from devstack.rpc.resolve import existing_id, state_at
from lotus_client.address import Address
from lotus_client.chain import TipSetKey

__all__ = ["METHODS"]

Json = dict[str, Any]
MaybeAddress = Address | None


def _at(
    node: FullNode, msig: MaybeAddress, key: TipSetKey
) -> tuple[StateView, Address, MultisigState]:
    state = state_at(node, key)
    found = existing_id(state, msig)
    if state.code_name(found) != "multisig":
        code = state.actor(found).code
        raise RpcError(1, f"failed to load multisig actor state: unknown actor code {code}")
    held: MultisigState = state.actor_state(found)
    return state, found, held


def _available(node: FullNode, msig: MaybeAddress, key: TipSetKey) -> str:
    state, found, held = _at(node, msig, key)
    return amount_json(state.balance(found).value - locked_amount(held, state.epoch))


def _vested(node: FullNode, msig: MaybeAddress, start: TipSetKey, end: TipSetKey) -> str:
    first, last = node.network.tipset(start).height, node.network.tipset(end).height
    if first > last:
        raise RpcError(1, f"start tipset {first} is after end tipset {last}")
    if first == last:
        return "0"
    _, _, held = _at(node, msig, end)
    return amount_json(locked_amount(held, first) - locked_amount(held, last))


def _schedule(node: FullNode, msig: MaybeAddress, key: TipSetKey) -> Json:
    _, _, held = _at(node, msig, key)
    return {
        "InitialBalance": amount_json(held.initial_balance),
        "StartEpoch": held.start_epoch,
        "UnlockDuration": held.unlock_duration,
    }


def _pending(node: FullNode, msig: MaybeAddress, key: TipSetKey) -> list[Json]:
    _, _, held = _at(node, msig, key)
    return [
        {
            "ID": number,
            "To": address_json(txn.to),
            "Value": amount_json(txn.value),
            "Method": txn.method,
            "Params": bytes_json(txn.params or None),
            "Approved": [address_json(Address.of_id(one)) for one in txn.approved],
        }
        for number, txn in sorted(held.pending.items())
    ]


_READ = Permission.READ

METHODS: tuple[Method[FullNode], ...] = (
    Method("MsigGetAvailableBalance", _READ, (ADDRESS, TIPSET_KEY), _available),
    Method("MsigGetVested", _READ, (ADDRESS, TIPSET_KEY, TIPSET_KEY), _vested),
    Method("MsigGetVestingSchedule", _READ, (ADDRESS, TIPSET_KEY), _schedule),
    Method("MsigGetPending", _READ, (ADDRESS, TIPSET_KEY), _pending),
)
