"""JSON-RPC over HTTP POST, one request per call."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any, Final

import aiohttp

from lotus_client.errors import (
    LotusConnectError,
    LotusDecodeError,
    LotusNotSupported,
    LotusTimeout,
    LotusUnauthorized,
)
from lotus_client.secrets import Secret, redact
from lotus_client.transport.base import StreamOf, decode_json, error_of, request_body

__all__ = ["HttpTransport", "headers_for"]

_CHUNK: Final = 1 << 16


class HttpTransport:
    """A transport over HTTP. Sockets are opened on first use and kept."""

    def __init__(
        self,
        url: str,
        token: Secret | None = None,
        *,
        timeout_seconds: float = 60.0,
        max_response_bytes: int = 256 << 20,
    ) -> None:
        """`timeout_seconds` is the deadline of a whole call; a longer answer than `max_response_bytes` is refused."""
        self._url = url
        self._token = token
        self._timeout = timeout_seconds
        self._max_bytes = max_response_bytes
        self._ids = itertools.count(1)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """The `result` of one request.

        Raises:
            LotusError: as `RpcTransport.call`.
        """
        request_id = next(self._ids)
        body = request_body(request_id, method, params)
        try:
            async with asyncio.timeout(self._timeout):
                status, raw = await self._post(method, body)
        except TimeoutError as error:
            raise LotusTimeout(f"{method}: no answer within {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise LotusConnectError(
                f"{method}: cannot reach the node at {redact(self._url)}: {redact(str(error))}"
            ) from error
        return _result(method, request_id, status, raw)

    def subscribe(self, method: str, params: Sequence[Any]) -> StreamOf:
        """Always `LotusNotSupported`: a channel needs a WebSocket."""
        raise LotusNotSupported(method, -32601, "subscriptions need a WebSocket")

    async def close(self) -> None:
        """Close the kept sockets."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _post(self, method: str, body: str) -> tuple[int, bytes]:
        async with self._open_session().post(
            self._url, data=body, headers=headers_for(self._token), allow_redirects=False
        ) as response:
            received = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                received += chunk
                if len(received) > self._max_bytes:
                    raise LotusDecodeError(
                        method, f"the answer is larger than {self._max_bytes} bytes"
                    )
            return response.status, bytes(received)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise LotusConnectError("this connection was closed")
        if self._session is None:
            # our own deadline covers the whole call; aiohttp's would end long streams of bytes
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        return self._session


def headers_for(token: Secret | None) -> dict[str, str]:
    """The request headers, with the bearer token if there is one."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token.reveal()}"
    return headers


def _result(method: str, request_id: int, status: int, raw: bytes) -> Any:
    if status == 401:
        raise LotusUnauthorized(
            f"{method}: the node refuses the token (HTTP 401): was it made on this node?"
        )
    answer = _envelope_or_none(raw)
    # Lotus sends real JSON-RPC errors under 500 and 400 too, so the body is looked at first
    if answer is not None and isinstance(answer.get("error"), dict):
        _check_id(method, request_id, answer)
        raise error_of(method, answer["error"])
    if status == 403:
        raise LotusUnauthorized(f"{method}: the node or a proxy forbids it (HTTP 403)")
    if status == 429 or status >= 500:
        raise LotusConnectError(f"{method}: the node answered HTTP {status}; it may be busy")
    if status != 200:
        raise LotusConnectError(f"{method}: HTTP {status} is no answer of a Lotus node: wrong URL?")
    if answer is None:
        decode_json(method, raw)  # raises with the reason unless it is JSON of another kind
        raise LotusDecodeError(method, "the answer is no JSON-RPC object")
    _check_id(method, request_id, answer)
    if "result" not in answer:
        raise LotusDecodeError(method, "the answer has neither result nor error")
    return answer["result"]


def _envelope_or_none(raw: bytes) -> dict[str, Any] | None:
    try:
        answer = decode_json("", raw)
    except LotusDecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def _check_id(method: str, request_id: int, answer: dict[str, Any]) -> None:
    # a request that did not parse is answered with a null id
    found = answer.get("id")
    if found is None and "error" in answer:
        return
    if isinstance(found, bool) or found != request_id:
        raise LotusDecodeError(
            f"{method}.id", f"the answer is to request {str(found)[:40]}, not {request_id}"
        )
