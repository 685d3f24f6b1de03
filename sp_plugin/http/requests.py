"""Reading requests: bodies, numbers and booleans as the known clients send them, each with a bound."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from lotus_client.json_text import read_json
from sp_plugin.errors import BadInput

__all__ = ["flag", "json_body", "number", "text"]


async def json_body(request: web.Request) -> dict[str, Any]:
    """The JSON object in the body; an empty body is an empty object.

    Raises:
        BadInput: not JSON, or not an object.
    """
    raw = await request.read()
    if not raw.strip():
        return {}
    try:
        value = read_json(raw)
    except ValueError as error:
        raise BadInput(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadInput("the body must be a JSON object")
    return value


def text(request: web.Request, name: str) -> str | None:
    """A query parameter; clients send empty ones for "not set"."""
    return request.query.get(name) or None


def number(request: web.Request, name: str, default: int, most: int) -> int:
    """A whole number of the query; 0 and empty mean the default, as Bacalhau's clients mean it.

    Raises:
        BadInput: not a number, or negative.
    """
    given = request.query.get(name) or "0"
    if not (given.isascii() and given.isdigit() and len(given) < 19):
        raise BadInput(f"must be a whole number, got {given[:40]!r}", field=name)
    return min(int(given) or default, most)


def flag(request: web.Request, name: str) -> bool:
    """A boolean of the query: Go sends `true`, the Python SDK `True`."""
    return request.query.get(name, "").lower() in ("true", "1")
