"""Reading the bodies of the control API, and answering it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from devstack.auth import Permission
from devstack.chain import ChainLookupError, ForkRefused, MessageFailed, PushRefused
from devstack.datacap import DatacapEnded
from devstack.node import EpochsNotReached, FullNode
from devstack.provider import PieceRejected
from devstack.rpc.server import authenticate
from lotus_client.address import Address
from lotus_client.chain import HeadChange, TipSet
from lotus_client.json_text import read_json

__all__ = [
    "Action",
    "address",
    "authorize",
    "changes_json",
    "flag",
    "head_json",
    "integer",
    "integers",
    "route",
    "text",
]

Json = dict[str, Any]
Action = Callable[[Json], Awaitable[Json]]

_REFUSED: Final = (
    ChainLookupError,
    DatacapEnded,
    EpochsNotReached,
    ForkRefused,
    MessageFailed,
    OSError,
    PieceRejected,
    PushRefused,
)


def authorize(request: web.Request, node: FullNode) -> None:
    """Return if the request carries the node's admin token.

    Raises:
        web.HTTPException: it does not.
    """
    if not authenticate(request, node.tokens).may(Permission.ADMIN):
        raise web.HTTPForbidden(
            text=json.dumps({"error": "this needs the node's admin token"}),
            content_type="application/json",
        )


def route(node: FullNode, action: Action) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler of one action: 400 for a bad body, 409 for what the chain refuses."""

    async def handle(request: web.Request) -> web.Response:
        authorize(request, node)
        try:
            return web.json_response(await action(_body(await request.read())))
        except _REFUSED as error:
            return web.json_response({"error": str(error)}, status=409)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)

    return handle


def _body(raw: bytes) -> Json:
    body = read_json(raw or b"{}")
    if isinstance(body, dict):
        return body
    raise ValueError("the body is a JSON object")


def head_json(head: TipSet) -> Json:
    """A head as the control API shows it."""
    return {"height": head.height, "tipset": [str(cid) for cid in head.key]}


def changes_json(changes: list[HeadChange], head: TipSet) -> Json:
    """How many tipsets a change of head reverted and applied, and the head now."""
    return {
        "reverted": sum(change.type == "revert" for change in changes),
        "applied": sum(change.type == "apply" for change in changes),
        **head_json(head),
    }


def integer(body: Json, name: str, low: int, high: int, default: int | None = None) -> int:
    """A whole number of the body; ValueError when it is not there or out of range."""
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} is a whole number from {low} to {high}, got {value!r}")
    return value


def integers(body: Json, name: str) -> list[int]:
    """A list of whole numbers that are not negative; ValueError for anything else."""
    value = body.get(name)
    if isinstance(value, list) and all(type(one) is int and one >= 0 for one in value):
        return value
    raise ValueError(f"{name} is a list of whole numbers, got {value!r}")


def flag(body: Json, name: str) -> bool:
    """A true or false, false when absent; ValueError for anything else."""
    value = body.get(name, False)
    if isinstance(value, bool):
        return value
    raise ValueError(f"{name} is true or false, got {value!r}")


def text(body: Json, name: str, default: str | None = None) -> str:
    """A text; ValueError for anything else."""
    value = body.get(name, default)
    if isinstance(value, str):
        return value
    raise ValueError(f"{name} is text, got {value!r}")


def address(body: Json, name: str) -> Address:
    """An address; ValueError for anything else."""
    return Address.parse(text(body, name))
