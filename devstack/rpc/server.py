"""HTTP and WebSocket framing of go-jsonrpc on one path.

Source: go-jsonrpc `handler.go`, `server.go`, `websocket.go`, `auth/handler.go`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from http import HTTPStatus
from typing import Any, Final

from aiohttp import WSMsgType, web

from devstack.auth import BadToken, TokenIssuer
from devstack.rpc.dispatch import (
    Dispatcher,
    Request,
    error_response,
    parse_request,
    result_response,
)
from devstack.rpc.errors import RpcError
from devstack.rpc.interfere import interfere, pause, send_half, send_half_frame
from devstack.rpc.methods import Caller, method_name
from devstack.rpc.subscription import EthSubscription, Subscription
from lotus_client.json_text import read_json

__all__ = ["MAX_REQUEST_BYTES", "RpcEndpoint", "authenticate", "token_of"]

MAX_REQUEST_BYTES: Final = 100 << 20  # go-jsonrpc DEFAULT_MAX_REQUEST_SIZE
_PING_SECONDS: Final = 5


def authenticate(request: web.Request, tokens: TokenIssuer) -> Caller:
    """Who calls: `Authorization: Bearer …` or `?token=…`; nobody may read.

    Raises:
        web.HTTPUnauthorized: a token that is not of this node, with an empty body as Lotus sends it.
    """
    header = request.headers.get("Authorization", "")
    token = token_of(request)
    if not token:
        return Caller(frozenset(tokens.nobody()))
    if header and not header.startswith("Bearer "):
        raise web.HTTPUnauthorized(text="")
    try:
        return Caller(frozenset(tokens.verify(token)))
    except BadToken as error:
        raise web.HTTPUnauthorized(text="") from error


class RpcEndpoint:
    """One path (`/rpc/v1`): POST and, by the `Upgrade` header, WebSocket."""

    def __init__(self, dispatcher: Dispatcher[Any], tokens: TokenIssuer) -> None:
        self._dispatcher = dispatcher
        self._seam = dispatcher.seam
        self._tokens = tokens
        self._sockets: set[web.WebSocketResponse] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one HTTP request, or serve a WebSocket until it ends."""
        if self._seam.revoked(token_of(request)):
            raise web.HTTPUnauthorized(text="")
        caller = authenticate(request, self._tokens)
        if "upgrade" in request.headers.get("Connection", "").lower():
            wire = self._seam.wire(["upgrade"], socket=False)
            return await interfere(request, wire) or await self._serve_websocket(request, caller)
        return await self._serve_post(request, caller)

    async def shut_down(self, _app: web.Application) -> None:
        """End all open WebSockets, so that the server can stop; for `Application.on_shutdown`."""
        for socket in list(self._sockets):
            await socket.close(code=1001)

    async def _serve_post(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        body = (await request.read()).strip()
        try:
            if not body:
                raise RpcError.invalid_request()
            decoded = _decode_json(body)
        except RpcError as error:
            return _json(error_response(None, error), error.http_status)
        wire = self._seam.wire(_method_names(decoded), socket=False)
        instead = await interfere(request, wire)
        if instead is not None:
            return instead
        answer = await self._serve_decoded(decoded, caller)
        return await send_half(request, answer) if wire.cut else answer

    async def _serve_decoded(self, decoded: Any, caller: Caller) -> web.Response:
        try:
            if isinstance(decoded, list):
                return await self._serve_batch(decoded, caller)
        except RpcError as error:
            return _json(error_response(None, error), error.http_status)
        response, status = await self._answer(decoded, caller)
        return web.Response() if response is None else _json(response, status)

    async def _serve_batch(self, items: list[Any], caller: Caller) -> web.Response:
        if not items:
            raise RpcError.invalid_request()
        if not all(isinstance(item, dict) for item in items):
            raise RpcError.parse()
        answers = [(await self._answer(item, caller))[0] for item in items]
        present = [answer for answer in answers if answer is not None]
        return _json(present, HTTPStatus.OK) if present else web.Response()

    async def _answer(self, item: Any, caller: Caller) -> tuple[dict[str, Any] | None, int]:
        request_id = item.get("id") if isinstance(item, dict) else None
        try:
            request = parse_request(item)
            result = await self._dispatcher.call(request, caller, channels=False)
        except RpcError as error:
            return error_response(request_id, error), error.http_status
        return (None if request.id is None else result_response(request.id, result)), HTTPStatus.OK

    async def _serve_websocket(self, request: web.Request, caller: Caller) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=MAX_REQUEST_BYTES, compress=False)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            await _Connection(socket, request, self._dispatcher, caller).serve()
        finally:
            self._sockets.discard(socket)
        return socket


class _Connection:
    """One WebSocket: its calls in flight by request id, and its channels."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        dispatcher: Dispatcher[Any],
        caller: Caller,
    ) -> None:
        self._socket = socket
        self._request = request
        self._seam = dispatcher.seam
        self._dispatcher = dispatcher
        self._caller = caller
        self._calls: dict[object, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_channel = 0

    async def serve(self) -> None:
        """Read frames until the peer leaves; then everything it started is cancelled."""
        self._start(self._ping())
        try:
            async for message in self._socket:
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    break
                try:
                    self._receive(parse_request(_decode_json(message.data)))
                except RpcError:
                    break  # go-jsonrpc drops a connection whose frame is no request, unanswered
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._socket.close()

    def _receive(self, request: Request) -> None:
        if request.method == "xrpc.cancel":
            wanted = (
                request.params[0] if isinstance(request.params, list) and request.params else None
            )
            task = self._calls.get(wanted)
            if task is not None:
                task.cancel()
            return
        if not request.method or request.method.startswith("xrpc."):
            return  # answers to calls that we never make
        task = self._start(self._call(request))
        if request.id is not None:
            self._calls[request.id] = task
            task.add_done_callback(lambda done: self._forget(request.id, done))

    def _forget(self, request_id: object, task: asyncio.Task[None]) -> None:
        if self._calls.get(request_id) is task:
            del self._calls[request_id]

    def _start(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _call(self, request: Request) -> None:
        name = method_name(request.method)
        wire = self._seam.wire([name], socket=True)
        await pause(wire)
        try:
            result = await self._dispatcher.call(request, self._caller, channels=True)
        except RpcError as error:
            await self._send(error_response(request.id, error), cut=wire.cut)
            return
        if isinstance(result, EthSubscription):
            await self._send(result_response(request.id, result.id))
            self._start(self._notify_eth(result))  # lives on when the request is done
        elif isinstance(result, Subscription):
            await self._forward(name, request, result)
        elif request.id is not None:
            await self._send(result_response(request.id, result), cut=wire.cut)

    async def _forward(self, name: str, request: Request, stream: Subscription) -> None:
        self._last_channel += 1
        channel = self._last_channel
        try:
            await self._send(result_response(request.id, channel))
            async for value in self._seam.stream(name, stream):
                wire = self._seam.wire([f"{name}#value"], socket=True)
                await pause(wire)
                await self._notify("xrpc.ch.val", [channel, value], cut=wire.cut)
            await self._notify("xrpc.ch.close", [channel])
        except asyncio.CancelledError:  # xrpc.cancel, or the connection ends
            stream.close()
            with contextlib.suppress(ConnectionError, RuntimeError):
                await self._notify("xrpc.ch.close", [channel])
            raise
        finally:
            stream.close()

    async def _notify_eth(self, stream: EthSubscription) -> None:
        """Forward in Ethereum's form, until unsubscribed or the connection ends."""
        try:
            async for value in stream:
                await self._notify("eth_subscription", {"subscription": stream.id, "result": value})
        finally:
            stream.close()

    async def _notify(self, method: str, params: object, *, cut: bool = False) -> None:
        await self._send({"jsonrpc": "2.0", "method": method, "params": params}, cut=cut)

    async def _send(self, body: dict[str, Any], *, cut: bool = False) -> None:
        if cut:
            send_half_frame(self._request, _dumps(body))
            return
        with contextlib.suppress(ConnectionError):  # the read loop notices that the peer has gone
            await self._socket.send_str(_dumps(body))

    async def _ping(self) -> None:
        while not self._socket.closed:
            await asyncio.sleep(_PING_SECONDS)
            with contextlib.suppress(ConnectionError):
                await self._socket.ping()


def token_of(request: web.Request) -> str:
    """The request's token as it stands, empty without one."""
    header = request.headers.get("Authorization", "")
    return header.removeprefix("Bearer ") if header else request.query.get("token", "")


def _method_names(decoded: Any) -> list[str]:
    items = decoded if isinstance(decoded, list) else [decoded]
    names = (item.get("method") for item in items if isinstance(item, dict))
    return [method_name(name) for name in names if isinstance(name, str)]


def _decode_json(text: bytes | str) -> Any:
    try:
        return read_json(text)
    except ValueError as error:
        raise RpcError.parse() from error


def _dumps(body: Any) -> str:
    return json.dumps(body, separators=(",", ":")) + "\n"


def _json(body: Any, status: int) -> web.Response:
    return web.Response(text=_dumps(body), status=status, content_type="application/json")
