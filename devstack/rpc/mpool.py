"""`Mpool*`: pushing messages and looking at those that wait."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from devstack.auth import Permission
from devstack.node import FullNode
from devstack.rpc.encode import cid_json, list_json, signed_message_json
from devstack.rpc.errors import RpcError
from devstack.rpc.gas import with_estimated_gas
from devstack.rpc.methods import Method
from devstack.rpc.params import ADDRESS, MESSAGE, SEND_SPEC, SIGNED_MESSAGE, TIPSET_KEY, SendSpec
from devstack.rpc.resolve import defined
from devstack.wallet import UnknownKey
from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.messages import Message, SignedMessage

__all__ = ["METHODS"]

Json = dict[str, Any]


def _push(node: FullNode, signed: SignedMessage) -> Json:
    return cid_json(node.network.mpool.push(signed))


def _push_message(node: FullNode, message: Message, spec: SendSpec) -> Json:
    if spec.uuid is not None and spec.uuid in node.sent_by_uuid:
        return signed_message_json(node.sent_by_uuid[spec.uuid])
    if message.nonce:
        raise RpcError(
            1,
            f"MpoolPushMessage expects message nonce to be 0, was {message.nonce}",
        )
    sender = node.key_address(message.from_)
    ready = with_estimated_gas(node, replace(message, from_=sender), spec)
    balance = node.network.pending_state().balance(sender)
    if balance < ready.required_funds:
        raise RpcError(
            1,
            "mpool push: not enough funds: "
            f"{balance.to_fil()} FIL < {ready.required_funds.to_fil()} FIL",
        )
    ready = replace(ready, nonce=node.network.mpool.next_nonce(sender))
    try:
        signed = node.wallet.sign_message(sender, ready)
    except UnknownKey as error:
        raise RpcError(1, f"mpool push: failed to sign message: {error}") from error
    node.network.mpool.push(signed)
    if spec.uuid is not None:
        node.sent_by_uuid[spec.uuid] = signed
    return signed_message_json(signed)


def _nonce(node: FullNode, sender: Address | None) -> int:
    return node.network.mpool.next_nonce(node.key_address(defined(sender)))


def _pending(node: FullNode, _key: TipSetKey) -> list[Json] | None:
    return list_json(node.network.mpool.pending(), signed_message_json)


def _config(_node: FullNode) -> Json:
    # Lotus' defaults, `chain/messagepool/config.go`; the cooldown is in nanoseconds.
    return {
        "PriorityAddrs": None,
        "SizeLimitHigh": 30_000,
        "SizeLimitLow": 20_000,
        "ReplaceByFeeRatio": 1.25,
        "PruneCooldown": 60_000_000_000,
        "GasLimitOverestimation": 1.25,
    }


METHODS: tuple[Method[FullNode], ...] = (
    Method("MpoolPush", Permission.WRITE, (SIGNED_MESSAGE,), _push),
    Method("MpoolPushMessage", Permission.SIGN, (MESSAGE, SEND_SPEC), _push_message),
    Method("MpoolGetNonce", Permission.READ, (ADDRESS,), _nonce),
    Method("MpoolPending", Permission.READ, (TIPSET_KEY,), _pending),
    Method("MpoolGetConfig", Permission.READ, (), _config),
)
