"""JSON-RPC over one WebSocket with go-jsonrpc's channel frames.

A channel method is answered with a channel number; values then come as `xrpc.ch.val [channel, value]` until
`xrpc.ch.close [channel]`; `xrpc.cancel [request id]` ends it from our side. Source: go-jsonrpc `websocket.go`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from lotus_client.errors import (
    LotusConnectError,
    LotusDecodeError,
    LotusError,
    LotusTimeout,
    LotusUnauthorized,
)
from lotus_client.secrets import Secret, redact
from lotus_client.transport.base import decode_json, error_of, request_body
from lotus_client.transport.http import headers_for

__all__ = ["WsTransport"]

_PING_SECONDS: Final = 20.0
_CLOSED: Final = (
    aiohttp.WSMsgType.CLOSE,
    aiohttp.WSMsgType.CLOSING,
    aiohttp.WSMsgType.CLOSED,
    aiohttp.WSMsgType.ERROR,
)


@dataclass(slots=True, eq=False)
class _Stream:
    """Values of one channel on their way to a subscriber; `end` is put last when there are no more."""

    values: asyncio.Queue[Any]
    end: LotusError | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, eq=False)
class _Pending:
    """A request that waits for its answer; `stream` is set for a channel method."""

    method: str
    answer: asyncio.Future[Any]
    stream: _Stream | None = None
