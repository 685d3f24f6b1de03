"""What a route answers and which query it reads: said where the handler stands, and shown in `/openapi.json`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel

__all__ = ["Described", "answers", "described"]

_DESCRIBED: Final = "_sp_plugin_described"

Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Described:
    """The answer's shape (None: free JSON), the names of query parameters, and the body's shape."""

    answer: type[BaseModel] | None = None
    query: tuple[str, ...] = ()
    body: type[BaseModel] | None = None


def answers(
    answer: type[BaseModel], *query: str, body: type[BaseModel] | None = None
) -> Callable[[Endpoint], Endpoint]:
    """Say what a handler answers with 200, and which query parameters and body it reads."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _DESCRIBED, Described(answer, query, body))
        return endpoint

    return mark


def described(handler: Any) -> Described:
    """What was said of a handler."""
    found: Described = getattr(handler, _DESCRIBED, Described())
    return found
