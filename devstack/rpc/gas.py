"""`GasEstimate*`: the chain's own estimate, in the parts that Lotus hands out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from devstack.auth import Permission
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


def with_estimated_gas(node: FullNode, message: Message, spec: SendSpec) -> Message:
    """The message with its zero gas fields filled, the whole fee within `spec.max_fee` if that is given."""
    return node.network.estimate_gas(message, spec.max_fee or None)


def _message_gas(
    node: FullNode, sent: SentMessage, spec: SendSpec, _key: TipSetKey
) -> dict[str, Any]:
    body = message_json(with_estimated_gas(node, sent.message, spec))
    return body | {"Params": ""} if sent.has_empty_params else body


def _gas_limit(node: FullNode, message: Message, _key: TipSetKey) -> int:
    return node.network.estimate_gas(replace(message, gas_limit=0)).gas_limit


def _fee_cap(node: FullNode, message: Message, _max_queue_blocks: int, _key: TipSetKey) -> str:
    asked = replace(message, gas_limit=message.gas_limit or 1, gas_fee_cap=AttoFil(0))
    return amount_json(node.network.estimate_gas(asked).gas_fee_cap)


def _premium(
    node: FullNode, _blocks: int, sender: Address | None, gas_limit: int, _key: TipSetKey
) -> str:
    # The premium does not depend on the call, so any transfer of that limit has it.
    asked = Message(
        to=node.network.genesis_miner,
        from_=sender or node.network.genesis_miner,
        gas_limit=gas_limit or 1,
    )
    return amount_json(node.network.estimate_gas(asked).gas_premium)


_READ = Permission.READ

METHODS: tuple[Method[FullNode], ...] = (
    Method("GasEstimateMessageGas", _READ, (MESSAGE_AS_SENT, SEND_SPEC, TIPSET_KEY), _message_gas),
    Method("GasEstimateGasLimit", _READ, (MESSAGE, TIPSET_KEY), _gas_limit),
    Method("GasEstimateFeeCap", _READ, (MESSAGE, EPOCH, TIPSET_KEY), _fee_cap),
    Method("GasEstimateGasPremium", _READ, (UINT64, ADDRESS, EPOCH, TIPSET_KEY), _premium),
)
