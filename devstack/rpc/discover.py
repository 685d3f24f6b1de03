"""`Discover` (`rpc.discover`): an OpenRPC document of the methods that a path serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from devstack.auth import Permission
from devstack.rpc.methods import NAMESPACE, Method, MethodTable, RawParams

__all__ = ["openrpc_document", "with_discover"]

NodeT = TypeVar("NodeT")

_VERSION = "1.36.2+2k+devstack"


def with_discover(methods: Sequence[Method[NodeT]]) -> MethodTable[NodeT]:
    """The table of these methods and of `Discover`, which describes them all."""
    document: dict[str, Any] = {}
    discover: Method[NodeT] = Method(
        "Discover", Permission.READ, (), lambda _node: document, aliases=("rpc.discover",)
    )
    rows = (*methods, discover)
    document |= openrpc_document(rows)
    return MethodTable(rows)


def openrpc_document(methods: Sequence[Method[Any]]) -> dict[str, Any]:
    """Names, parameters (by their Go types, as Lotus' own document names them) and permissions.

    Results have no schema here: the documents that Lotus publishes have them, and the tests hold the answers to those.
    """
    described = sorted((_described(method) for method in methods), key=lambda one: one["name"])
    return {
        "openrpc": "1.2.6",
        "info": {"title": "Lotus RPC API", "version": _VERSION},
        "methods": described,
    }


def _described(method: Method[Any]) -> dict[str, Any]:
    types = ["jsonrpc.RawParams"] if isinstance(method.params, RawParams) else []
    if not isinstance(method.params, RawParams):
        types = [param.go_type for param in method.params]
    return {
        "name": NAMESPACE + method.name,
        "summary": f"Perms: {method.permission}",
        "paramStructure": "by-position",
        "params": [
            {"name": f"p{number}", "description": go_type, "required": True, "schema": {}}
            for number, go_type in enumerate(types, 1)
        ],
        "result": {"name": "channel" if method.channel else "result", "schema": {}},
        "deprecated": False,
    }
