"""A small server that behaves as a Lotus node's RPC port, and misbehaves on request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

from lotus_client.api_info import ApiInfo


class LotusServer:
    """Answers by method name; records what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.frames: list[dict[str, Any]] = []
        self.cancelled = asyncio.Event()
        self.sockets: list[web.WebSocketResponse] = []
        self.failures = 0  # so many requests are answered with 503 first
        self.next_channel = 7
        self.batches = 0
        self.takes_batches = True
        self.pings = 0
        self.pongs: list[bytes] = []
        self.is_mute = False  # neither pings nor answers any
        self.url = ""

    @property
    def info(self) -> ApiInfo:
        return ApiInfo.parse(self.url)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(dict(request.headers))
        if request.headers.get("Authorization") == "Bearer bad":
            return web.Response(status=401)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request)
        asked = await request.json()
        if isinstance(asked, list):
            return self._batch(asked)
        self.calls.append((asked["method"], asked["params"]))
        if self.failures:
            self.failures -= 1
            return web.Response(status=503, text="upstream is tired")
        return await self._answer(request, asked)

    def _batch(self, asked: list[dict[str, Any]]) -> web.Response:
        self.batches += 1
        if not self.takes_batches:  # as a proxy that knows single requests only
            error = {"code": -32700, "message": "Parse error"}
            return web.json_response({"jsonrpc": "2.0", "id": None, "error": error}, status=500)
        if self.failures:
            self.failures -= 1
            return web.Response(status=503, headers={"Retry-After": "1"})
        answers = [self._envelope(item) for item in asked if item["method"] != "Filecoin.LeftOut"]
        return web.json_response(answers[::-1])

    async def _answer(self, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        match asked["method"].removeprefix("Filecoin."):
            case "Slow":
                await asyncio.sleep(30)
            case "Huge":
                return await _huge(request)
            case "WrongId":
                return web.json_response({"jsonrpc": "2.0", "id": asked["id"] + 1, "result": 1})
            case "Neither":
                return web.json_response({"jsonrpc": "2.0", "id": asked["id"]})
            case "Html":
                return web.Response(text="<html>a captive portal</html>")
            case "List":
                return web.json_response([1, 2])
            case "NotFound":
                return web.Response(status=404, text="404")
            case "Busy":
                return web.Response(status=429, headers={"Retry-After": "17"})
            case "StateGetClaims":
                return await _large(request, asked)
            case "Redirect":
                return web.Response(status=302, headers={"Location": "http://elsewhere.invalid/"})
            case "CutBody":
                return await _cut(request)
            case "Deep":
                return web.Response(text="[" * 100_000)
            case "NotANumber":
                return web.Response(text=f'{{"jsonrpc":"2.0","id":{asked["id"]},"result":NaN}}')
        return web.json_response(self._envelope(asked), status=self._status(asked))

    def _status(self, asked: dict[str, Any]) -> int:
        return 500 if asked["method"] == "Filecoin.Absent" else 200

    def _envelope(self, asked: dict[str, Any]) -> dict[str, Any]:
        errors: dict[str, dict[str, Any]] = {
            "MpoolPush": {"code": 1, "message": "missing permission to invoke 'MpoolPush' (need 'write')"},
            "Absent": {"code": -32601, "message": "method 'Filecoin.Absent' not found"},
            "SwitchedOff": {"code": 1, "message": "module disabled, enable with Events.EnableActorEventsAPI"},
            "Fails": {"code": 1, "message": "actor not found", "data": {"x": 1}},
            "BadError": {"code": "x", "message": None},
        }  # fmt: skip
        name = asked["method"].removeprefix("Filecoin.")
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
        if name in errors:
            return {**answer, "error": errors[name]}
        return {**answer, "result": asked["params"]}

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            if message.type is WSMsgType.PING:
                self.pings += 1
                if not self.is_mute:
                    await socket.pong(message.data)
                continue
            if message.type is WSMsgType.PONG:
                self.pongs.append(message.data)
                continue
            if message.type is not WSMsgType.TEXT:
                break
            frame = json.loads(message.data)
            self.frames.append(frame)
            if frame["method"] == "xrpc.cancel":
                self.cancelled.set()
            elif frame["method"].startswith("Filecoin.Stream"):
                await self._stream(socket, frame)
            elif frame["method"] == "Filecoin.Slow":
                pass
            else:
                await socket.send_json(self._envelope(frame))
        return socket

    async def _stream(self, socket: web.WebSocketResponse, frame: dict[str, Any]) -> None:
        channel = self.next_channel
        self.next_channel += 1
        kind = frame["method"].removeprefix("Filecoin.Stream")
        number = "seven" if kind == "BadChannel" else channel
        await socket.send_json({"jsonrpc": "2.0", "id": frame["id"], "result": number})

        async def value(item: Any) -> None:
            await socket.send_json(
                {"jsonrpc": "2.0", "method": "xrpc.ch.val", "params": [channel, item]}
            )

        await socket.send_json(
            {"jsonrpc": "2.0", "method": "xrpc.ch.val", "params": [9999, "nobody's"]}
        )
        for item in frame["params"]:
            await value(item)
        if kind == "ThenClose":
            await socket.send_json(
                {"jsonrpc": "2.0", "method": "xrpc.ch.close", "params": [channel]}
            )
        elif kind == "ThenDrop":
            assert socket._req is not None
            assert socket._req.transport is not None
            # the head of a text frame of 100 bytes, and nothing behind it
            socket._req.transport.write(b"\x81\x64" + b'{"jsonrpc"')
            socket._req.transport.close()
        elif kind == "ThenJunk":
            await socket.send_str("this is not JSON")
        elif kind == "ThenHuge":
            await value("x" * 200_000)
        elif kind == "Flood":
            for number in range(200):
                await value([number, "x" * 1000])


async def _large(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
    """A map of so many members as the first parameter says, then what the second one wants."""
    count, then = asked["params"][0], asked["params"][1]
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(f'{{"id":{asked["id"]},"jsonrpc":"2.0","result":{{'.encode())
    for number in range(count):
        await response.write(f'{"," if number else ""}"{number}":{{"N":{number}}}'.encode())
    if then == "endless":
        try:
            while True:
                await response.write(b',"1":{"N":1}' * 5000)
        except (ConnectionError, OSError):
            return response  # the client hung up, as it should
    if then == "stall":
        await asyncio.sleep(30)
    if then == "drop":
        assert request.transport is not None
        request.transport.close()
        return response
    await response.write(b"}}")
    return response


async def _huge(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        for _ in range(10_000):
            await response.write(b"x" * 65536)
    except (ConnectionError, OSError):
        pass  # the client hung up, as it should
    return response


async def _cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"jsonrpc":')
    assert request.transport is not None
    request.transport.close()
    return response


@asynccontextmanager
async def lotus_server() -> AsyncIterator[LotusServer]:
    server = LotusServer()
    app = web.Application(client_max_size=1 << 20)
    app.router.add_route("*", "/rpc/v1", server.handle)
    app.router.add_route("*", "/rpc/v0", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.2, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"http://127.0.0.1:{port}"
    try:
        yield server
    finally:
        for socket in server.sockets:
            await socket.close()
        await runner.cleanup()
