"""`StateSearchMsg`, `StateWaitMsg`, `StateCompute` and `StateCall`: messages and what they did."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from devstack.auth import Permission
from devstack.chain import ExecutionTrace, Invocation
from devstack.node import FullNode
from devstack.rpc.encode import (
    actor_json,
    address_json,
    amount_json,
    bytes_json,
    cid_json,
    list_json,
    lookup_json,
    message_json,
    receipt_json,
)
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method
from devstack.rpc.params import BOOL, CID, EPOCH, MESSAGE, OPTIONAL_MESSAGES, TIPSET_KEY, UINT64
from lotus_client.address import Address
from lotus_client.chain import HeadChange, TipSetKey
from lotus_client.cid import Cid
from lotus_client.messages import Message
from lotus_client.state import MessageLookup
from lotus_client.types import Epoch

__all__ = ["METHODS", "METHODS_V0"]

Json = dict[str, Any]

_FINALITY: Final = 900  # the largest confidence that Lotus takes


def _search(
    node: FullNode, key: TipSetKey, cid: Cid, lookback: Epoch, allow_replaced: bool
) -> Json | None:
    found = node.network.search_message(cid, key, lookback, allow_replaced=allow_replaced)
    return None if found is None else lookup_json(found)


async def _wait(
    node: FullNode, cid: Cid, confidence: int, lookback: Epoch, allow_replaced: bool
) -> Json:
    if confidence > _FINALITY:
        raise RpcError(1, f"confidence {confidence} is above the finality of {_FINALITY} epochs")

    def find() -> MessageLookup | None:
        found = node.network.search_message(cid, None, lookback, allow_replaced=allow_replaced)
        deep = found is not None and node.network.head.height >= found.height + confidence
        return found if deep else None

    moved = asyncio.Event()

    def on_change(_changes: list[HeadChange]) -> None:
        moved.set()

    stop = node.heads.listen(on_change)
    try:
        while (found := find()) is None:
            moved.clear()
            await moved.wait()
    finally:
        stop()
    return lookup_json(found)


def _compute(node: FullNode, height: Epoch, messages: list[Message], key: TipSetKey) -> Json:
    tipset = node.network.tipset(key)
    if messages:
        raise RpcError(1, "this node computes a tipset as it is, without extra messages")
    if height != tipset.height:
        raise RpcError(
            1, f"this node computes a tipset at its own height {tipset.height}, not {height}"
        )
    execution = node.network.execution(tipset.key)
    return {
        "Root": cid_json(execution.state_root),
        "Trace": list_json(execution.invocations, _invocation_json),
    }


def _call(node: FullNode, message: Message, key: TipSetKey) -> Json:
    return _invocation_json(node.network.call(message, key))


def _invocation_json(run: Invocation) -> Json:
    gas = run.gas
    return {
        "MsgCid": cid_json(run.cid),
        "Msg": message_json(run.message),
        "MsgRct": receipt_json(run.receipt),
        "GasCost": {
            "Message": None if run.implicit else cid_json(run.cid),
            "GasUsed": "0" if run.implicit else str(run.receipt.gas_used),
            "BaseFeeBurn": amount_json(gas.base_fee_burn),
            "OverEstimationBurn": amount_json(gas.over_estimation_burn),
            "MinerPenalty": amount_json(gas.miner_penalty),
            "MinerTip": amount_json(gas.miner_tip),
            "Refund": amount_json(gas.refund),
            "TotalCost": amount_json(gas.total_cost),
        },
        "ExecutionTrace": _trace_json(run.trace),
        "Error": run.error,
        "Duration": 1,  # nanoseconds; the chain keeps no clock, so executions compare equal
    }


def _trace_json(trace: ExecutionTrace) -> Json:
    body: Json = {
        "Msg": {
            "From": address_json(Address.of_id(trace.from_)),
            "To": address_json(trace.to),
            "Value": amount_json(trace.value),
            "Method": trace.method,
            "Params": bytes_json(trace.params or None),
            "ParamsCodec": trace.params_codec,
            "GasLimit": trace.gas_limit,
            "ReadOnly": trace.read_only,
        },
        "MsgRct": {
            "ExitCode": trace.exit_code,
            "Return": bytes_json(trace.return_ or None),
            "ReturnCodec": trace.return_codec,
        },
        "GasCharges": None,
        "Subcalls": list_json(trace.subcalls, _trace_json),
    }
    if trace.invoked_id is not None and trace.invoked is not None:
        body["InvokedActor"] = {"Id": trace.invoked_id, "State": actor_json(trace.invoked)}
    return body


async def _wait_v0(node: FullNode, cid: Cid, confidence: int) -> Json:
    return await _wait(node, cid, confidence, Epoch(-1), allow_replaced=True)


def _search_v0(node: FullNode, cid: Cid) -> Json | None:
    return _search(node, TipSetKey(), cid, Epoch(-1), allow_replaced=True)


_READ = Permission.READ
_COMMON: tuple[Method[FullNode], ...] = (
    Method("StateCompute", _READ, (EPOCH, OPTIONAL_MESSAGES, TIPSET_KEY), _compute),
    Method("StateCall", _READ, (MESSAGE, TIPSET_KEY), _call),
)

METHODS: tuple[Method[FullNode], ...] = (
    *_COMMON,
    Method("StateSearchMsg", _READ, (TIPSET_KEY, CID, EPOCH, BOOL), _search),
    Method("StateWaitMsg", _READ, (CID, UINT64, EPOCH, BOOL), _wait),
)

# `/rpc/v0` keeps the older, shorter forms (Lotus `api/v0api/full.go`).
METHODS_V0: tuple[Method[FullNode], ...] = (
    *_COMMON,
    Method("StateSearchMsg", _READ, (CID,), _search_v0),
    Method("StateWaitMsg", _READ, (CID, UINT64), _wait_v0),
)
