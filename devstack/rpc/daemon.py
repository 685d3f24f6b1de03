"""The daemon itself: its identity, alerts, shutting down. Source: Lotus `node/impl/common/common.go`."""

from __future__ import annotations

from typing import Any

from devstack.auth import Permission
from devstack.node import FullNode
from devstack.rpc.methods import Method
from devstack.rpc.subscription import Subscription

__all__ = ["METHODS", "alerts"]


def alerts(_node: Any) -> list[Any]:
    """No alerts: Lotus raises them about its host and its configuration, of which the devnet has neither."""
    return []


def _shutdown(node: FullNode) -> None:
    node.shutdown_asked.set()


def _closing(node: FullNode) -> Subscription:
    return node.closing()


METHODS: tuple[Method[FullNode], ...] = (
    Method("LogAlerts", Permission.ADMIN, (), alerts),
    Method("Shutdown", Permission.ADMIN, (), _shutdown),
    Method("Closing", Permission.READ, (), _closing, channel=True),
)
