"""JSON-RPC over one WebSocket with go-jsonrpc's channel frames.

A channel method is answered with a channel number; values then come as `xrpc.ch.val [channel, value]` until
`xrpc.ch.close [channel]`; `xrpc.cancel [request id]` ends it from our side. Both sides ping: a go-jsonrpc server every five
seconds, so a connection on which nothing at all is heard is dead, whatever TCP says. Source: go-jsonrpc `websocket.go`.
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
    LotusNotSupported,
    LotusTimeout,
    LotusUnauthorized,
)
from lotus_client.secrets import Secret, redact
from lotus_client.transport.channels import ChannelBook, Stream
from lotus_client.transport.envelope import request_body
from lotus_client.transport.http import headers_for

__all__ = ["WsTransport"]

_CANCEL_SECONDS: Final = 5.0  # a courtesy to the node: never worth waiting long for
_CLOSE_SECONDS: Final = 2.0


class WsTransport:
    """A transport over one WebSocket, opened on first use and again after a drop.

    `max_message_bytes` bounds one frame; `max_queued_bytes` bounds what waits for one slow subscriber, whose
    subscription then ends with `LotusConnectError` (Lotus does the same to slow readers). After `idle_seconds` without a
    frame, a ping or an answer to ours, the connection is given up and a new one is opened at the next use.
    """

    def __init__(
        self,
        url: str,
        token: Secret | None = None,
        *,
        timeout_seconds: float = 60.0,
        max_message_bytes: int = 64 << 20,
        max_queued_bytes: int = 128 << 20,
        idle_seconds: float = 40.0,
    ) -> None:
        self._url = url
        self._token = token
        self._timeout = timeout_seconds
        self._max_message = max_message_bytes
        self._max_queued = max_queued_bytes
        self._idle = idle_seconds
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
                self._connection = _Connection(await self._dial(method), self._idle)
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
                    autoping=False,  # so that the server's pings are seen, and count as a sign of life
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
            if error.status in (400, 404, 405, 501):
                raise LotusNotSupported(
                    method, -32601, f"{where} opens no WebSocket (HTTP {error.status})"
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

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, idle_seconds: float) -> None:
        self._socket = socket
        self._idle = idle_seconds
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
                message = await self._heard()
                if message.type is aiohttp.WSMsgType.PING:
                    await self._socket.pong(message.data)
                elif message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    for request_id in self._book.take(message.data):
                        await self._send_cancel(request_id)
                elif message.type is not aiohttp.WSMsgType.PONG:
                    reason = self._why_ended(message)
                    return
        except LotusDecodeError as error:
            reason = f"the node sent something else than JSON-RPC: {error}"
        except TimeoutError:
            reason = f"nothing was heard from the node for {self._idle:g} s"
        except (aiohttp.ClientError, OSError) as error:
            reason = redact(str(error))
        finally:
            self._book.lose(LotusConnectError(f"the connection to the node ended: {reason}"))
            await self._socket.close()

    async def _heard(self) -> aiohttp.WSMessage:
        """The next message; a ping of ours is what a silent node must answer."""
        try:
            return await self._socket.receive(timeout=self._idle / 2)
        except TimeoutError:
            await self._socket.ping()
        return await self._socket.receive(timeout=self._idle / 2)

    def _why_ended(self, message: aiohttp.WSMessage) -> str:
        if message.type is aiohttp.WSMsgType.ERROR:
            return str(message.data)
        return f"the node closed it (code {self._socket.close_code})"
