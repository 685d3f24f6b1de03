"""Tokens, version and sync state: what surrounds the chain."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, Final, Protocol

from devstack.auth import BadToken, Permission, TokenIssuer
from devstack.node import FullNode
from devstack.rpc.encode import tipset_json
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method
from devstack.rpc.params import BOOL, STRING, STRINGS

__all__ = [
    "AUTH_METHODS",
    "METHODS",
    "METHODS_V0",
    "HasTokens",
    "time_json",
    "version_json",
]

# major << 16 | minor << 8 | patch; Lotus `api/version.go` at 1.36.
_API_VERSION_V1: Final = 2 << 16 | 3 << 8
_API_VERSION_V0: Final = 1 << 16 | 5 << 8
_LOTUS_VERSION: Final = "1.36.2+2k+devstack"

_SESSION: Final = str(uuid.uuid4())
_SYNC_COMPLETE: Final = 4  # Lotus `api/types.go` SyncStateStage


class HasTokens(Protocol):
    """A node of either kind."""

    @property
    def tokens(self) -> TokenIssuer:
        """What makes and checks its tokens."""


def version_json(api_version: int, block_delay_seconds: int) -> dict[str, Any]:
    """What `Version` answers. The version text names the devstack, the numbers are what tools check."""
    return {
        "Version": _LOTUS_VERSION,
        "APIVersion": api_version,
        "BlockDelay": block_delay_seconds,
        "Agent": "sp-plugin-devstack",
    }


def _version_v1(node: FullNode) -> dict[str, Any]:
    return version_json(_API_VERSION_V1, node.network.config.block_delay_seconds)


def _version_v0(node: FullNode) -> dict[str, Any]:
    return version_json(_API_VERSION_V0, node.network.config.block_delay_seconds)


def _auth_new(node: HasTokens, permissions: list[str]) -> str:
    return node.tokens.issue_base64(permissions)


def _auth_verify(node: HasTokens, token: str) -> list[str] | None:
    try:
        return node.tokens.verify(token) or None
    except BadToken as error:
        raise RpcError(1, str(error)) from error


def _session(_node: FullNode) -> str:
    return _SESSION


def time_json(seconds: float) -> str:
    """A moment (Unix seconds) as Go prints it."""
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC).isoformat().replace("+00:00", "Z")


def _start_time(node: FullNode) -> str:
    return time_json(node.started_at)


def _sync_state(node: FullNode) -> dict[str, Any]:
    head = tipset_json(node.network.head)
    started = _start_time(node)
    return {
        "ActiveSyncs": [
            {
                "WorkerID": 1,
                "Base": head,
                "Target": head,
                "Stage": _SYNC_COMPLETE,
                "Height": node.network.head.height,
                "Start": started,
                "End": started,
                "Message": "",
            }
        ],
        "VMApplied": 0,
    }


def _node_status(node: FullNode, with_chain: bool) -> dict[str, Any]:
    status: dict[str, Any] = {
        "SyncStatus": {
            "Epoch": node.network.head.height,
            "Behind": node.chain.head.height - node.network.head.height,
        },
        "PeerStatus": {"PeersToPublishMsgs": 0, "PeersToPublishBlocks": 0},
        "ChainStatus": {"BlocksPerTipsetLast100": 0, "BlocksPerTipsetLastFinality": 0},
    }
    if with_chain:
        for name, depth in (("Last100", 100), ("LastFinality", 900)):
            status["ChainStatus"][f"BlocksPerTipset{name}"] = _blocks_per_tipset(node, depth)
    return status


def _blocks_per_tipset(node: FullNode, depth: int) -> float:
    tipset, tipsets, blocks = node.network.head, 0, 0
    while tipsets < depth:
        tipsets, blocks = tipsets + 1, blocks + len(tipset.blocks)
        if not tipset.parents:
            break
        tipset = node.network.tipset(tipset.parents)
    return blocks / tipsets


_READ, _ADMIN = Permission.READ, Permission.ADMIN

AUTH_METHODS: tuple[Method[Any], ...] = (
    Method("AuthNew", _ADMIN, (STRINGS,), _auth_new),
    Method("AuthVerify", _READ, (STRING,), _auth_verify),
)

_COMMON: tuple[Method[FullNode], ...] = (
    *AUTH_METHODS,
    Method("Session", _READ, (), _session),
    Method("StartTime", _READ, (), _start_time),
    Method("SyncState", _READ, (), _sync_state),
    Method("NodeStatus", _READ, (BOOL,), _node_status),
)

METHODS: tuple[Method[FullNode], ...] = (*_COMMON, Method("Version", _READ, (), _version_v1))
METHODS_V0: tuple[Method[FullNode], ...] = (*_COMMON, Method("Version", _READ, (), _version_v0))
