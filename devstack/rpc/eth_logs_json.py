"""Actor events as Ethereum's logs. Source: Lotus `node/impl/eth/events.go`, `chain/types/ethtypes/eth_types.go`."""

from __future__ import annotations

from typing import Any, Final

from devstack.node import FullNode
from devstack.rpc.eth_forms import eth_address_of, hex_bytes, masked
from lotus_client.actors.evm import log_of
from lotus_client.address import Address
from lotus_client.chain import TipSet
from lotus_client.crypto import keccak256
from lotus_client.eth import message_hash

__all__ = ["bloom_of", "tipset_logs"]

Json = dict[str, Any]

_BLOOM_BYTES: Final = 256


def tipset_logs(node: FullNode, tipset: TipSet, *, removed: bool = False) -> list[Json]:
    """The logs that a tipset's messages emitted, in order. `logIndex` counts all actor events of the tipset."""
    network = node.network
    runs = network.invocations(tipset.key)
    if not any(run.events for run in runs):
        return []
    state = network.pending_state(tipset.key)
    messages = network.messages_in_tipset(tipset.key)
    logs: list[Json] = []
    index = -1
    for position, (run, signed) in enumerate(zip(runs, messages, strict=True)):
        for event in run.events:
            index += 1
            log = log_of(event.entries)
            if log is None:
                continue
            topics, data = log
            emitter = eth_address_of(Address.of_id(event.emitter), state) or masked(event.emitter)
            digest = message_hash(signed, network.config.eip155_chain_id)
            logs.append(
                {
                    "address": hex_bytes(emitter),
                    "data": hex_bytes(data),
                    "topics": [hex_bytes(topic) for topic in topics],
                    "removed": removed,
                    "logIndex": hex(index),
                    "transactionIndex": hex(position),
                    "transactionHash": hex_bytes(digest),
                    "blockHash": hex_bytes(tipset.key.cid.digest),
                    "blockNumber": hex(tipset.height),
                }
            )
    return logs


def bloom_of(logs: list[Json]) -> str:
    """The 2048-bit bloom filter of the logs' topics and addresses."""
    bits = bytearray(_BLOOM_BYTES)
    for log in logs:
        for item in (*log["topics"], log["address"]):
            digest = keccak256(bytes.fromhex(item[2:]))
            for at in (0, 2, 4):
                bit = int.from_bytes(digest[at : at + 2], "big") % (8 * _BLOOM_BYTES)
                bits[_BLOOM_BYTES - 1 - bit // 8] |= 1 << bit % 8
    return hex_bytes(bytes(bits))
