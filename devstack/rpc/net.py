"""`Net*` and `ID`: a node without libp2p. It has an identity, and no addresses, peers or traffic.

Source: Lotus `node/impl/net/net.go`.
"""

from __future__ import annotations

from typing import Any, NoReturn

from devstack.auth import Permission
from devstack.node import FullNode
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method
from devstack.rpc.params import STRING, STRINGS

__all__ = ["METHODS"]

Json = dict[str, Any]

_REACHABILITY_UNKNOWN = 0  # go-libp2p network.ReachabilityUnknown
_NOT_CONNECTED = 0  # go-libp2p network.NotConnected


def _id(node: FullNode) -> str:
    return node.peer_id


def _addresses(node: FullNode) -> Json:
    return {"ID": node.peer_id, "Addrs": []}


def _bandwidth(_node: FullNode) -> Json:
    return {"TotalIn": 0, "TotalOut": 0, "RateIn": 0, "RateOut": 0}


def _nobody(_node: FullNode) -> list[Any]:
    return []


def _by_name(_node: FullNode) -> Json:
    return {}


def _nat(_node: FullNode) -> Json:
    return {"Reachability": _REACHABILITY_UNKNOWN, "PublicAddrs": None}


def _connectedness(_node: FullNode, _peer: str) -> int:
    return _NOT_CONNECTED


def _agent_version(_node: FullNode, _peer: str) -> NoReturn:
    raise RpcError(1, "item not found")  # the peerstore's word for a peer it has never met


def _disconnect(_node: FullNode, _peer: str) -> None:
    """There is no connection to end."""


def _protect(node: FullNode, peers: list[str]) -> None:
    node.protected_peers.update(peers)


def _unprotect(node: FullNode, peers: list[str]) -> None:
    node.protected_peers.difference_update(peers)


def _protected(node: FullNode) -> list[str]:
    return sorted(node.protected_peers)


def _find_peer(_node: FullNode, _peer: str) -> NoReturn:
    raise RpcError(1, "routing: not found")


_READ = Permission.READ

METHODS: tuple[Method[FullNode], ...] = (
    Method("ID", _READ, (), _id),
    Method("NetAddrsListen", _READ, (), _addresses),
    Method("NetAutoNatStatus", _READ, (), _nat),
    Method("NetBandwidthStats", _READ, (), _bandwidth),
    Method("NetBandwidthStatsByPeer", _READ, (), _by_name),
    Method("NetBandwidthStatsByProtocol", _READ, (), _by_name),
    Method("NetAgentVersion", _READ, (STRING,), _agent_version),
    Method("NetDisconnect", Permission.WRITE, (STRING,), _disconnect),
    Method("NetProtectAdd", Permission.ADMIN, (STRINGS,), _protect),
    Method("NetProtectList", _READ, (), _protected),
    Method("NetProtectRemove", Permission.ADMIN, (STRINGS,), _unprotect),
    Method("NetConnectedness", _READ, (STRING,), _connectedness),
    Method("NetFindPeer", _READ, (STRING,), _find_peer),
    Method("NetPeers", _READ, (), _nobody),
)
