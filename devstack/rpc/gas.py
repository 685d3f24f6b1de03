"""`GasEstimate*`. Source: Lotus `node/impl/gasutils/gasutils.go`, `chain/messagepool/messagepool.go` (CapGasFee).

Lotus adds a little random noise to premiums; the devnet does not, so that equal chains give equal estimates.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from devstack.auth import Permission
from devstack.chain import MessageFailed
from devstack.chain.gas import BASE_FEE, BLOCK_GAS_LIMIT, gas_used
from devstack.node import FullNode
from devstack.rpc.encode import amount_json, message_json
from devstack.rpc.methods import Method
from devstack.rpc.params import ADDRESS, EPOCH, MESSAGE, SEND_SPEC, TIPSET_KEY, UINT64, SendSpec
from devstack.rpc.sent_message import MESSAGE_AS_SENT, SentMessage
from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.messages import Message
from lotus_client.types import AttoFil

__all__ = ["METHODS", "with_estimated_gas"]

_MIN_PREMIUM: Final = 100_000
_DEFAULT_MAX_FEE: Final = AttoFil(7 * 10**16)
_PREMIUM_BLOCKS: Final = 10
_FEE_CAP_BLOCKS: Final = 20
_SIGNATURE_ROOM: Final = 80  # bytes that signing adds to a message on chain, at most
_USUAL_SIGNATURE: Final = 70
_BLOCK_GAS_TARGET: Final = BLOCK_GAS_LIMIT // 2


def with_estimated_gas(node: FullNode, message: Message, spec: SendSpec) -> Message:
    """The message with its zero gas fields filled and the whole fee within `spec.max_fee`, or 0.07 FIL without one.

    Raises:
        MessageFailed: its execution would fail (tried only when the gas limit is asked for).
    """
    if message.gas_limit == 0:
        limit = int(_limit(node, message, TipSetKey()) * node.mpool_config.gas_over_estimation)
        message = replace(message, gas_limit=min(limit, BLOCK_GAS_LIMIT))
    if message.gas_premium.value == 0:
        message = replace(
            message, gas_premium=AttoFil(_premium(node, _PREMIUM_BLOCKS, TipSetKey()))
        )
    if message.gas_fee_cap.value == 0:
        message = replace(message, gas_fee_cap=_fee_cap(message, _FEE_CAP_BLOCKS))
    return _capped(message, spec)


def _capped(message: Message, spec: SendSpec) -> Message:
    most = (spec.max_fee if spec.max_fee.value else _DEFAULT_MAX_FEE).value
    fee_cap, limit = message.gas_fee_cap.value, message.gas_limit
    if spec.maximize_fee_cap or fee_cap * limit > most:
        fee_cap = most // limit if limit else fee_cap
    premium = min(message.gas_premium.value, fee_cap)
    return replace(message, gas_fee_cap=AttoFil(fee_cap), gas_premium=AttoFil(premium))


def _limit(node: FullNode, message: Message, key: TipSetKey) -> int:
    run = node.network.call(replace(message, gas_limit=0), key)
    if run.receipt.exit_code:
        raise MessageFailed(run.receipt.exit_code, f"method {message.method} of {message.to}")
    size = len(message.to_cbor())
    # The run reckons with a signature of the usual size.
    room = gas_used(message, size + _SIGNATURE_ROOM) - gas_used(message, size + _USUAL_SIGNATURE)
    return run.receipt.gas_used + room


def _fee_cap(message: Message, queue_blocks: int) -> AttoFil:
    """What the base fee can grow to in so many epochs (an eighth each), plus the premium."""
    factor = int((1 + 1 / 8) ** queue_blocks * (1 << 8))
    return AttoFil((BASE_FEE * factor >> 8) + message.gas_premium.value)


def _premium(node: FullNode, blocks: int, key: TipSetKey) -> int:
    """The median premium per gas of the last 2 * `blocks` tipsets, or the floor for that patience."""
    blocks = blocks or 1
    tipset = node.network.tipset(key)
    prices: list[tuple[int, int]] = []
    seen = 0
    for _ in range(2 * blocks):
        if not tipset.parents:
            break
        tipset = node.network.tipset(tipset.parents)
        seen += len(tipset.blocks)
        prices += [
            (signed.message.gas_premium.value, signed.message.gas_limit)
            for signed in node.network.messages_in_tipset(tipset.key)
        ]
    premium = _median(prices, seen)
    if premium >= _MIN_PREMIUM:
        return premium
    return {1: 2 * _MIN_PREMIUM, 2: 3 * _MIN_PREMIUM // 2}.get(blocks, _MIN_PREMIUM)


def _median(prices: list[tuple[int, int]], blocks: int) -> int:
    room = _BLOCK_GAS_TARGET * blocks // 2
    last = before = 0
    for price, limit in sorted(prices, reverse=True):
        last, before = price, last
        room -= limit
        if room < 0:
            break
    return (last + before) // 2 if before else last


def _message_gas(
    node: FullNode, sent: SentMessage, spec: SendSpec, _key: TipSetKey
) -> dict[str, Any]:
    body = message_json(with_estimated_gas(node, sent.message, spec))
    return body | {"Params": ""} if sent.has_empty_params else body


def _gas_limit(node: FullNode, message: Message, key: TipSetKey) -> int:
    return _limit(node, message, key)


def _gas_fee_cap(_node: FullNode, message: Message, queue_blocks: int, _key: TipSetKey) -> str:
    return amount_json(_fee_cap(message, queue_blocks))


def _gas_premium(
    node: FullNode, blocks: int, _sender: Address | None, _limit: int, key: TipSetKey
) -> str:
    return amount_json(_premium(node, min(blocks, _FEE_CAP_BLOCKS), key))


_READ = Permission.READ

METHODS: tuple[Method[FullNode], ...] = (
    Method("GasEstimateMessageGas", _READ, (MESSAGE_AS_SENT, SEND_SPEC, TIPSET_KEY), _message_gas),
    Method("GasEstimateGasLimit", _READ, (MESSAGE, TIPSET_KEY), _gas_limit),
    Method("GasEstimateFeeCap", _READ, (MESSAGE, EPOCH, TIPSET_KEY), _gas_fee_cap),
    Method("GasEstimateGasPremium", _READ, (UINT64, ADDRESS, EPOCH, TIPSET_KEY), _gas_premium),
)
