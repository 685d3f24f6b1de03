"""`StateSearchMsg`, `StateWaitMsg`, `StateCompute` and `StateCall`: messages and what they did."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
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
from devstack.rpc.methods import Method, Param
from devstack.rpc.params import (
    BOOL,
    CID,
    EPOCH,
    MESSAGE,
    OPTIONAL_MESSAGES,
    TIPSET_KEY,
    UINT64,
    decode_address,
    decode_object,
)
from devstack.rpc.resolve import state_at
from devstack.rpc.state_params import return_json
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
    return lookup_json(found) | {"ReturnDec": _decoded_return(node, found)}


def _decoded_return(node: FullNode, found: MessageLookup) -> Any:
    receipt = found.receipt
    if receipt.exit_code or not receipt.return_:
        return None
    message = node.network.message(found.message).message
    state = node.network.state(found.tipset)
    return return_json(state.code_name(message.to), message.method, receipt.return_)


def _compute(node: FullNode, height: Epoch, messages: list[Message], key: TipSetKey) -> Json:
    execution = node.network.compute(height, messages, key)
    return {
        "Root": cid_json(execution.state_root),
        "Trace": list_json(execution.invocations, _invocation_json),
    }


def _call(node: FullNode, message: Message, key: TipSetKey) -> Json:
    return _invocation_json(node.network.call_on_parent(message, key))


def _replay(node: FullNode, key: TipSetKey, cid: Cid) -> Json:
    """The message as it ran in that tipset; without a tipset, wherever it or its replacement ran."""
    wanted = cid
    if not key:
        found = node.network.search_message(cid)
        if found is None:
            raise RpcError(1, f"didn't find msg {cid}")
        wanted, key = found.message, node.network.tipset(found.tipset).parents
    for run in node.network.execution(key).invocations:
        if run.cid == wanted:
            return _invocation_json(run)
    raise RpcError(1, "given message not found in tipset")


@dataclass(frozen=True, slots=True)
class _Match:
    """`MessageMatch`: the sender and the recipient to look for, as they are written in messages."""

    to: Address | None
    sender: Address | None

    def __call__(self, message: Message) -> bool:
        """Whether a message has them."""
        return self.to in (None, message.to) and self.sender in (None, message.from_)


def _list_messages(
    node: FullNode, match: _Match, key: TipSetKey, lowest: Epoch
) -> list[Json] | None:
    named = match.to or match.sender
    if named is None:
        raise RpcError(1, "must specify at least To or From in message filter")
    if state_at(node, key).actor_id(named) is None:
        return None
    found: list[Json] = []
    tipset = node.network.tipset(key)
    while tipset.height >= lowest:
        messages = node.network.messages_in_tipset(tipset.key)
        found += [cid_json(signed.cid) for signed in messages if match(signed.message)]
        if not tipset.parents:
            break
        tipset = node.network.tipset(tipset.parents)
    return found or None


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


async def _wait_limited(node: FullNode, cid: Cid, confidence: int, limit: Epoch) -> Json:
    return await _wait(node, cid, confidence, limit, allow_replaced=True)


def _search_v0(node: FullNode, cid: Cid) -> Json | None:
    return _search(node, TipSetKey(), cid, Epoch(-1), allow_replaced=True)


def _search_limited(node: FullNode, cid: Cid, limit: Epoch) -> Json | None:
    return _search(node, TipSetKey(), cid, limit, allow_replaced=True)


def _receipt(node: FullNode, cid: Cid, key: TipSetKey) -> Json | None:
    found = node.network.search_message(cid, key)
    return None if found is None else receipt_json(found.receipt)


def _decode_match(value: Any) -> _Match:
    body = decode_object(value)
    return _Match(decode_address(body.get("To")), decode_address(body.get("From")))


_READ = Permission.READ
_MATCH = Param("*api.MessageMatch", _decode_match)
_COMMON: tuple[Method[FullNode], ...] = (
    Method("StateCompute", _READ, (EPOCH, OPTIONAL_MESSAGES, TIPSET_KEY), _compute),
    Method("StateCall", _READ, (MESSAGE, TIPSET_KEY), _call),
    Method("StateReplay", _READ, (TIPSET_KEY, CID), _replay),
    Method("StateListMessages", _READ, (_MATCH, TIPSET_KEY, EPOCH), _list_messages),
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
    Method("StateSearchMsgLimited", _READ, (CID, EPOCH), _search_limited),
    Method("StateWaitMsg", _READ, (CID, UINT64), _wait_v0),
    Method("StateWaitMsgLimited", _READ, (CID, UINT64, EPOCH), _wait_limited),
    Method("StateGetReceipt", _READ, (CID, TIPSET_KEY), _receipt),
)
