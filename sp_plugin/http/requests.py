"""Reading requests: bodies, numbers and booleans as the known clients send them, each with a bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from lotus_client.json_text import read_json
from sp_plugin.errors import BadInput

__all__ = ["flag", "job_in", "json_body", "number", "text"]


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


def job_in(body: Mapping[str, Any]) -> dict[str, Any]:
    """The job that a request's body carries under `Job`, in whatever case.

    Raises:
        BadInput: there is none.
    """
    job = next((value for key, value in body.items() if key.casefold() == "job"), None)
    if not isinstance(job, dict):
        raise BadInput('must be a job: {"Job": {"Type": "batch", "Tasks": [...]}}', field="Job")
    return job


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
