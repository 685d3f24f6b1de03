"""JSON-RPC over one WebSocket with go-jsonrpc's channel frames.

A channel method is answered with a channel number; values then come as `xrpc.ch.val [channel, value]` until
`xrpc.ch.close [channel]`; `xrpc.cancel [request id]` ends it from our side. Source: go-jsonrpc `websocket.go`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Any, Final

import aiohttp

from lotus_client.errors import (
    LotusConnectError,
    LotusDecodeError,
    LotusTimeout,
    LotusUnauthorized,
)
from lotus_client.secrets import Secret, redact
from lotus_client.transport.base import request_body
from lotus_client.transport.channels import ChannelBook, Stream
from lotus_client.transport.http import headers_for

__all__ = ["WsTransport"]

_PING_SECONDS: Final = 20.0
_CANCEL_SECONDS: Final = 5.0  # a courtesy to the node: never worth waiting long for
_CLOSE_SECONDS: Final = 2.0


class WsTransport:
    """A transport over one WebSocket, opened on first use and again after a drop.

    `max_message_bytes` bounds one frame; `max_queued_bytes` bounds what waits for one slow subscriber, whose
    subscription then ends with `LotusConnectError` (Lotus does the same to slow readers).
    """

    def __init__(
        self,
        url: str,
        token: Secret | None = None,
        *,
        timeout_seconds: float = 60.0,
        max_message_bytes: int = 64 << 20,
        max_queued_bytes: int = 128 << 20,
    ) -> None:
        self._url = url
        self._token = token
        self._timeout = timeout_seconds
        self._max_message = max_message_bytes
        self._max_queued = max_queued_bytes
        self._opening = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._connection: _Connection | None = None
        self._closed = False

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """The `result` of one request; when we stop waiting the node is told so."""
        connection = await self._connected(method)
        return await connection.request(method, params, None, self._timeout)

    async def subscribe(self, method: str, params: Sequence[Any]) -> AsyncGenerator[Any, None]:
        """The values of a channel method until the node ends it; closing the generator cancels it there."""
        connection = await self._connected(method)
        stream = Stream(method, self._max_queued)
        await connection.request(method, params, stream, self._timeout)
        try:
            while (value := await stream.next()) is not Stream.END:
                yield value
        finally:
            await connection.cancel(stream)

    async def close(self) -> None:
        """Close the socket; open subscriptions end with `LotusConnectError`."""
        self._closed = True
        async with self._opening:
            if self._connection is not None:
                await self._connection.close()
            if self._session is not None:
                await self._session.close()

    async def _connected(self, method: str) -> _Connection:
        async with self._opening:
            if self._closed:
                raise LotusConnectError("this connection was closed")
            if self._connection is None or self._connection.is_lost:
                if self._connection is not None:
                    await self._connection.close()
                self._connection = _Connection(await self._dial(method))
            return self._connection

    async def _dial(self, method: str) -> aiohttp.ClientWebSocketResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        where = redact(self._url)
        try:
            async with asyncio.timeout(self._timeout):
                return await self._session.ws_connect(
                    self._url,
                    headers=headers_for(self._token),
                    max_msg_size=self._max_message,
                    heartbeat=_PING_SECONDS,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),
                )
        except TimeoutError as error:
            raise LotusTimeout(
                f"{method}: no connection to {where} within {self._timeout:g} s"
            ) from error
        except aiohttp.WSServerHandshakeError as error:
            if error.status == 401:
                raise LotusUnauthorized(
                    f"{method}: the node refuses the token (HTTP 401): was it made on this node?"
                ) from error
            raise LotusConnectError(
                f"{method}: {where} answered HTTP {error.status} to the WebSocket handshake"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise LotusConnectError(
                f"{method}: cannot reach the node at {where}: {redact(str(error))}"
            ) from error


class _Connection:
    """One open socket with the task that reads it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._book = ChannelBook()
        self._reader = asyncio.create_task(self._read(), name="lotus-websocket-reader")

    @property
    def is_lost(self) -> bool:
        """Whether nothing more will come from this socket."""
        return self._book.lost is not None

    async def request(
        self, method: str, params: Sequence[Any], stream: Stream | None, timeout_seconds: float
    ) -> Any:
        """Send a request and give its result; with `stream`, values of its channel flow there from then on."""
        request_id, answer = self._book.expect(method, stream)
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._send(request_body(request_id, method, params))
                return await answer
        except TimeoutError as error:
            await self._send_cancel(request_id)
            raise LotusTimeout(f"{method}: no answer within {timeout_seconds:g} s") from error
        except asyncio.CancelledError:
            await self._send_cancel(request_id)
            raise
        finally:
            self._book.forget(request_id)

    async def cancel(self, stream: Stream) -> None:
        """Tell the node that nobody reads `stream` any more, unless it has ended by itself."""
        if self._book.drop(stream) and stream.request_id is not None:
            await self._send_cancel(stream.request_id)

    async def close(self) -> None:
        """End everything and close the socket."""
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader
        await self._socket.close()

    async def _send(self, text: str) -> None:
        try:
            await self._socket.send_str(text)
        except (aiohttp.ClientError, OSError) as error:
            raise LotusConnectError(
                f"the connection to the node broke: {redact(str(error))}"
            ) from error

    async def _send_cancel(self, request_id: int) -> None:
        # the request id, not the channel's number; the notification itself has no id
        with suppress(LotusConnectError, TimeoutError):
            async with asyncio.timeout(_CANCEL_SECONDS):
                await self._send(
                    f'{{"jsonrpc":"2.0","method":"xrpc.cancel","params":[{request_id}]}}'
                )

    async def _read(self) -> None:
        reason = "it was closed on our side"
        try:
            while True:
                message = await self._socket.receive()
                if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    for request_id in self._book.take(message.data):
                        await self._send_cancel(request_id)
                    continue
                if message.type is aiohttp.WSMsgType.ERROR:
                    reason = str(message.data)
                else:
                    reason = f"the node closed it (code {self._socket.close_code})"
                return
        except LotusDecodeError as error:
            reason = f"the node sent something else than JSON-RPC: {error}"
        finally:
            self._book.lose(LotusConnectError(f"the connection to the node ended: {reason}"))
            await self._socket.close()
