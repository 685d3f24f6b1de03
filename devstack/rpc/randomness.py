"""Chain randomness by RPC. Source: Lotus `node/impl/full/state.go`, `chain/stmgr/stmgr.go`; v0 has other names and order."""

from __future__ import annotations

from typing import Any

from devstack.auth import Permission
from devstack.chain.randomness import (
    beacon_digest,
    beacon_entry,
    draw_from_digest,
    ticket_digest,
)
from devstack.node import FullNode
from devstack.rpc.encode import bytes_json
from devstack.rpc.methods import Method
from devstack.rpc.params import BYTES, EPOCH, INT64, TIPSET_KEY
from lotus_client.chain import TipSetKey
from lotus_client.types import Epoch

__all__ = ["METHODS", "METHODS_V0", "beacon_entry_json"]


def _from_tickets(
    node: FullNode, domain: int, epoch: Epoch, entropy: bytes, key: TipSetKey
) -> str | None:
    digest = ticket_digest(node.network, epoch, key)
    return bytes_json(draw_from_digest(digest, domain, epoch, entropy))


def _from_beacon(
    node: FullNode, domain: int, epoch: Epoch, entropy: bytes, key: TipSetKey
) -> str | None:
    digest = beacon_digest(node.network, epoch, key)
    return bytes_json(draw_from_digest(digest, domain, epoch, entropy))


def _ticket_digest(node: FullNode, epoch: Epoch, key: TipSetKey) -> str | None:
    return bytes_json(ticket_digest(node.network, epoch, key))


def _beacon_digest(node: FullNode, epoch: Epoch, key: TipSetKey) -> str | None:
    return bytes_json(beacon_digest(node.network, epoch, key))


def beacon_entry_json(round_: int, data: bytes) -> dict[str, Any]:
    """A beacon entry."""
    return {"Round": round_, "Data": bytes_json(data)}


def _entry(node: FullNode, epoch: Epoch) -> dict[str, Any]:
    entry = beacon_entry(node.network.config.seed, epoch)
    return beacon_entry_json(entry.round, entry.data)


def _tickets_v0(
    node: FullNode, key: TipSetKey, domain: int, epoch: Epoch, entropy: bytes
) -> str | None:
    return _from_tickets(node, domain, epoch, entropy, key)


def _beacon_v0(
    node: FullNode, key: TipSetKey, domain: int, epoch: Epoch, entropy: bytes
) -> str | None:
    return _from_beacon(node, domain, epoch, entropy, key)


_READ = Permission.READ
_DRAW = (INT64, EPOCH, BYTES, TIPSET_KEY)
_DRAW_V0 = (TIPSET_KEY, INT64, EPOCH, BYTES)

_COMMON: tuple[Method[FullNode], ...] = (
    Method("StateGetRandomnessFromTickets", _READ, _DRAW, _from_tickets),
    Method("StateGetRandomnessFromBeacon", _READ, _DRAW, _from_beacon),
)

METHODS: tuple[Method[FullNode], ...] = (
    *_COMMON,
    Method("StateGetRandomnessDigestFromTickets", _READ, (EPOCH, TIPSET_KEY), _ticket_digest),
    Method("StateGetRandomnessDigestFromBeacon", _READ, (EPOCH, TIPSET_KEY), _beacon_digest),
    Method("StateGetBeaconEntry", _READ, (EPOCH,), _entry),
)

METHODS_V0: tuple[Method[FullNode], ...] = (
    *_COMMON,
    Method("ChainGetRandomnessFromTickets", _READ, _DRAW_V0, _tickets_v0),
    Method("ChainGetRandomnessFromBeacon", _READ, _DRAW_V0, _beacon_v0),
    Method("BeaconGetEntry", _READ, (EPOCH,), _entry),
)
