"""`Mpool*`: pushing messages, alone or in batches, and looking at those that wait."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from devstack.auth import Permission
from devstack.mpool_config import MpoolConfig
from devstack.node import FullNode
from devstack.rpc.encode import address_json, cid_json, list_json, signed_message_json
from devstack.rpc.errors import RpcError
from devstack.rpc.gas import with_estimated_gas
from devstack.rpc.methods import Method, Param
from devstack.rpc.params import (
    ADDRESS,
    BOOL,
    FLOAT,
    MESSAGE,
    MESSAGES,
    SEND_SPEC,
    SIGNED_MESSAGE,
    SIGNED_MESSAGES,
    TIPSET_KEY,
    SendSpec,
    decode_address,
    decode_float,
    decode_int,
    decode_list,
    decode_object,
)
from devstack.rpc.resolve import defined
from devstack.rpc.subscription import Subscription
from devstack.wallet import UnknownKey
from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.eth import EthTransactionError
from lotus_client.messages import Message, SignedMessage

__all__ = ["METHODS", "push_message"]

Json = dict[str, Any]

# Lotus `api/types.go` MpoolChange
_CHANGES: Final = {"add": 0, "remove": 1}
_BUFFERED_UPDATES: Final = 10_000


def _push(node: FullNode, signed: SignedMessage) -> Json:
    return cid_json(node.network.mpool.push(signed))


def _push_untrusted(node: FullNode, signed: SignedMessage) -> Json:
    return cid_json(node.network.mpool.push(signed, trusted=False))


def _batch_push(node: FullNode, batch: list[SignedMessage]) -> list[Json] | None:
    # Lotus pushes one after the other: what stands before a bad one has been pushed.
    return list_json(batch, lambda signed: _push(node, signed))


def _batch_push_untrusted(node: FullNode, batch: list[SignedMessage]) -> list[Json] | None:
    return list_json(batch, lambda signed: _push_untrusted(node, signed))


def push_message(node: FullNode, message: Message, spec: SendSpec) -> SignedMessage:
    """The message with gas and nonce, signed by the node's wallet and pushed; the same again for a repeated UUID.

    Raises:
        RpcError: a nonce was given, the sender's money does not suffice, or the wallet lacks its key.
        MessageFailed: its execution would fail.
        PushRefused: the mempool does not take it.
    """
    if spec.uuid is not None and spec.uuid in node.sent_by_uuid:
        return node.sent_by_uuid[spec.uuid]
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
    except (UnknownKey, EthTransactionError) as error:
        raise RpcError(1, f"mpool push: failed to sign message: {error}") from error
    node.network.mpool.push(signed)
    if spec.uuid is not None:
        node.sent_by_uuid[spec.uuid] = signed
    return signed


def _push_message(node: FullNode, message: Message, spec: SendSpec) -> Json:
    return signed_message_json(push_message(node, message, spec))


def _batch_push_message(
    node: FullNode, messages: list[Message], spec: SendSpec
) -> list[Json] | None:
    # One UUID cannot name several messages; Lotus' batch pushes each by itself too.
    each = replace(spec, uuid=None) if len(messages) > 1 else spec
    return list_json(messages, lambda message: _push_message(node, message, each))


def _nonce(node: FullNode, sender: Address | None) -> int:
    return node.network.mpool.next_nonce(node.key_address(defined(sender)))


def _pending(node: FullNode, _key: TipSetKey) -> list[Json] | None:
    return list_json(node.network.mpool.pending(), signed_message_json)


def _select(node: FullNode, key: TipSetKey, _quality: float) -> list[Json] | None:
    """The messages of the next blocks. Every block of the devnet takes the best of them, whatever its ticket's quality."""
    if key and key != node.network.head.key:
        raise RpcError(1, "this node selects messages on top of its head only")
    return list_json(node.network.mpool.select(), signed_message_json)


def _clear(node: FullNode, local: bool) -> None:
    node.network.mpool.clear(local=local)


def _subscribe(node: FullNode) -> Subscription:
    stream = Subscription(_BUFFERED_UPDATES, lambda _: stop())

    def tell(kind: str, signed: SignedMessage) -> None:
        stream.publish({"Type": _CHANGES[kind], "Message": signed_message_json(signed)})

    stop = node.network.mpool.subscribe(tell)
    return stream


def _config(node: FullNode) -> Json:
    config = node.mpool_config
    return {
        "PriorityAddrs": list_json(config.priority, address_json),
        "SizeLimitHigh": config.size_limit_high,
        "SizeLimitLow": config.size_limit_low,
        "ReplaceByFeeRatio": config.replace_by_fee_ratio,
        "PruneCooldown": config.prune_cooldown,
        "GasLimitOverestimation": config.gas_over_estimation,
    }


def _set_config(node: FullNode, config: MpoolConfig) -> None:
    problem = config.problem()
    if problem is not None:
        raise RpcError(1, problem)
    node.mpool_config = config
    node.network.mpool.priority = config.priority


def _decode_config(value: Any) -> MpoolConfig:
    body = decode_object(value)
    priority = decode_list(body.get("PriorityAddrs"), decode_address)
    return MpoolConfig(
        tuple(address for address in priority if address is not None),
        decode_int(body.get("SizeLimitHigh")),
        decode_int(body.get("SizeLimitLow")),
        decode_float(body.get("ReplaceByFeeRatio")),
        decode_int(body.get("PruneCooldown")),
        decode_float(body.get("GasLimitOverestimation")),
    )


_READ, _WRITE, _SIGN = Permission.READ, Permission.WRITE, Permission.SIGN
_CONFIG = Param("*types.MpoolConfig", _decode_config)

METHODS: tuple[Method[FullNode], ...] = (
    Method("MpoolPush", _WRITE, (SIGNED_MESSAGE,), _push),
    Method("MpoolPushUntrusted", _WRITE, (SIGNED_MESSAGE,), _push_untrusted),
    Method("MpoolBatchPush", _WRITE, (SIGNED_MESSAGES,), _batch_push),
    Method("MpoolBatchPushUntrusted", _WRITE, (SIGNED_MESSAGES,), _batch_push_untrusted),
    Method("MpoolPushMessage", _SIGN, (MESSAGE, SEND_SPEC), _push_message),
    Method("MpoolBatchPushMessage", _SIGN, (MESSAGES, SEND_SPEC), _batch_push_message),
    Method("MpoolGetNonce", _READ, (ADDRESS,), _nonce),
    Method("MpoolPending", _READ, (TIPSET_KEY,), _pending),
    Method("MpoolSelect", _READ, (TIPSET_KEY, FLOAT), _select),
    Method("MpoolClear", _WRITE, (BOOL,), _clear),
    Method("MpoolSub", _READ, (), _subscribe, channel=True),
    Method("MpoolGetConfig", _READ, (), _config),
    Method("MpoolSetConfig", Permission.ADMIN, (_CONFIG,), _set_config),
)
