"""The framing of go-jsonrpc, on a small table of methods."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from devstack.auth import ALL_PERMISSIONS, Permission, TokenIssuer
from devstack.rpc.dispatch import Dispatcher
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method, MethodTable
from devstack.rpc.params import BOOL, STRING, UINT64
from devstack.rpc.server import RpcEndpoint
from devstack.rpc.subscription import Subscription


class Counter:
    """What the methods of the table work on."""

    def __init__(self) -> None:
        self.streams: list[Subscription] = []
        self.cancelled = asyncio.Event()
        self.all_gone = asyncio.Event()

    def _gone(self, stream: Subscription) -> None:
        self.streams.remove(stream)
        if not self.streams:
            self.all_gone.set()

    def count(self) -> Subscription:
        stream = Subscription(16, self._gone)
        self.streams.append(stream)
        stream.publish("current")
        return stream

    async def hang(self) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            self.cancelled.set()


def _fail(node: Counter, text: str) -> None:
    raise RpcError(1, text)


def _panic(node: Counter) -> None:
    raise RuntimeError("nil map")


TABLE: MethodTable[Counter] = MethodTable(
    [
        Method("Echo", Permission.READ, (STRING,), lambda node, text: text, aliases=("eth_echo",)),
        Method("Add", Permission.WRITE, (UINT64, UINT64), lambda node, a, b: a + b),
        Method("Nothing", Permission.READ, (BOOL,), lambda node, flag: None),
        Method("Fail", Permission.READ, (STRING,), _fail),
        Method("Panic", Permission.READ, (), _panic),
        Method("Count", Permission.READ, (), Counter.count, channel=True),
        Method("Hang", Permission.READ, (), Counter.hang),
    ]
)


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def tokens() -> TokenIssuer:
    return TokenIssuer(b"k" * 32)


@pytest.fixture
async def url(counter: Counter, tokens: TokenIssuer) -> AsyncIterator[str]:
    endpoint = RpcEndpoint(Dispatcher(TABLE, counter), tokens)
    app = web.Application(client_max_size=1 << 20)
    app.router.add_route("*", "/rpc/v1", endpoint.handle)
    app.on_shutdown.append(endpoint.shut_down)
    server = TestServer(app)
    await server.start_server()
    yield str(server.make_url("/rpc/v1"))
    await server.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def post(
    http: aiohttp.ClientSession, url: str, body: Any, token: str | None = None
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with http.post(url, data=data, headers=headers) as response:
        text = await response.text()
        return response.status, json.loads(text) if text else None


def call(method: str, *params: Any, number: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": f"Filecoin.{method}", "params": list(params)}


async def test_a_call_answers_with_its_id_and_an_alias_reaches_the_same_method(http, url):
    assert await post(http, url, call("Echo", "hi", number="x")) == (
        200,
        {"id": "x", "jsonrpc": "2.0", "result": "hi"},
    )
    status, answer = await post(http, url, call("Echo", "hi") | {"method": "eth_echo"})
    assert (status, answer["result"]) == (200, "hi")


async def test_a_null_result_is_present(http, url):
    _, answer = await post(http, url, call("Nothing", None))
    assert answer == {"id": 1, "jsonrpc": "2.0", "result": None}


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        (b"", 400, -32600, "Invalid request"),
        (b"  \n", 400, -32600, "Invalid request"),
        (b"[]", 400, -32600, "Invalid request"),
        (b"{", 500, -32700, "Parse error"),
        (b"[" * 100_000 + b"]" * 100_000, 500, -32700, "Parse error"),
        (b"7", 500, -32700, "Parse error"),
        (b"[7]", 500, -32700, "Parse error"),
        (b'{"id":1,"method":7}', 500, -32700, "Parse error"),
        (call("No"), 500, -32601, "method 'Filecoin.No' not found"),
        (
            call("Count"),
            500,
            -32601,
            "method 'Filecoin.Count' not supported in this mode (no out channel support)",
        ),
        (call("Echo"), 500, -32602, "wrong param count (method 'Filecoin.Echo'): 0 != 1"),
        (call("Echo", 1, 2), 500, -32602, "wrong param count (method 'Filecoin.Echo'): 2 != 1"),
        (call("Fail", "no such thing"), 200, 1, "no such thing"),
        (
            call("Add", 1, 2),
            200,
            1,
            "missing permission to invoke 'Add' (need 'write')",
        ),
    ],
)
async def test_errors_have_the_code_and_the_status_of_go_jsonrpc(
    http, url, body, status, code, message
):
    got, answer = await post(http, url, body)
    assert (got, answer["error"]["code"], answer["error"]["message"]) == (status, code, message)
    assert "result" not in answer


async def test_deep_json_is_refused_however_high_the_process_set_its_recursion_limit(http, url):
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        status, answer = await post(http, url, b'{"params":' + b"[" * 500_000)
    finally:
        sys.setrecursionlimit(usual)
    assert (status, answer["error"]["code"]) == (500, -32700)


async def test_a_parameter_that_does_not_decode_is_a_parse_error_naming_the_method(http, url):
    status, answer = await post(http, url, call("Echo", 7))
    assert (status, answer["error"]["code"]) == (500, -32700)
    assert "Filecoin.Echo" in answer["error"]["message"]


async def test_params_by_name_are_refused(http, url):
    status, answer = await post(http, url, call("Echo") | {"params": {"text": "hi"}})
    assert (status, answer["error"]["code"]) == (500, -32700)


async def test_a_bug_in_a_method_answers_code_0_and_the_node_goes_on(http, url):
    status, answer = await post(http, url, call("Panic"))
    assert (status, answer["error"]["code"]) == (500, 0)
    assert (await post(http, url, call("Echo", "still here")))[0] == 200


async def test_a_batch_is_answered_in_order_and_always_with_status_200(http, url):
    batch = [call("Echo", "a", number=1), call("No", number=2), call("Echo", "b") | {"id": None}]
    status, answers = await post(http, url, batch)
    assert status == 200
    assert [answer["id"] for answer in answers] == [1, 2]
    assert (answers[0]["result"], answers[1]["error"]["code"]) == ("a", -32601)


async def test_a_notification_gets_no_body(http, url):
    assert await post(
        http, url, {"jsonrpc": "2.0", "method": "Filecoin.Echo", "params": ["a"]}
    ) == (
        200,
        None,
    )


async def test_a_bad_token_is_401_with_an_empty_body(http, url, tokens):
    for bad in ("nonsense", TokenIssuer(b"o" * 32).issue(ALL_PERMISSIONS)):
        assert await post(http, url, call("Echo", "a"), bad) == (401, None)
        async with http.post(f"{url}?token={bad}", json=call("Echo", "a")) as response:
            assert response.status == 401
    async with http.post(url, json=call("Echo", "a"), headers={"Authorization": "x"}) as response:
        assert (response.status, await response.text()) == (401, "")


async def test_permissions_are_a_set_and_a_token_may_come_in_the_url(http, url, tokens):
    admin_only = tokens.issue([Permission.ADMIN])
    _, answer = await post(http, url, call("Add", 1, 2), admin_only)
    assert answer["error"]["message"] == "missing permission to invoke 'Add' (need 'write')"
    writer = base64.b64decode(tokens.issue_base64(["read", "write"])).decode()
    async with http.post(f"{url}?token={writer}", json=call("Add", 1, 2)) as response:
        assert (await response.json())["result"] == 3
    assert tokens.verify(writer) == ["read", "write"]


async def test_a_stream_sends_its_channel_id_first_and_closes_when_cancelled(http, url, counter):
    async with http.ws_connect(url) as socket:
        await socket.send_json(call("Count", number=41))
        assert await socket.receive_json() == {"id": 41, "jsonrpc": "2.0", "result": 1}
        assert await socket.receive_json() == {
            "jsonrpc": "2.0",
            "method": "xrpc.ch.val",
            "params": [1, "current"],
        }
        await socket.send_json(call("Count", number=42))
        assert (await socket.receive_json())["result"] == 2
        assert (await socket.receive_json())["params"] == [2, "current"]
        counter.streams[1].publish({"n": 1})
        assert (await socket.receive_json())["params"] == [2, {"n": 1}]
        await socket.send_json({"jsonrpc": "2.0", "method": "xrpc.cancel", "params": [41]})
        assert await socket.receive_json() == {
            "jsonrpc": "2.0",
            "method": "xrpc.ch.close",
            "params": [1],
        }
        assert len(counter.streams) == 1
    async with asyncio.timeout(5):
        await counter.all_gone.wait()  # the closed connection ends the other one


async def test_a_reader_that_lags_by_more_than_16_values_is_cut(http, url, counter):
    async with http.ws_connect(url) as socket:
        await socket.send_json(call("Count"))
        for _ in range(2):
            await socket.receive_json()
        stream = counter.streams[0]
        assert all(stream.publish(number) for number in range(16))
        assert not stream.publish(16)  # in one go, so nothing was read in between
        got = [await socket.receive_json() for _ in range(17)]
    assert [frame["params"][-1] for frame in got[:16]] == list(range(16))
    assert got[16] == {"jsonrpc": "2.0", "method": "xrpc.ch.close", "params": [1]}


async def test_a_pending_call_can_be_cancelled_and_is_not_answered(http, url, counter):
    async with http.ws_connect(url) as socket:
        await socket.send_json(call("Hang", number=5))
        await socket.send_json(call("Echo", "meanwhile", number=6))
        assert (await socket.receive_json())["id"] == 6
        await socket.send_json({"jsonrpc": "2.0", "method": "xrpc.cancel", "params": [5]})
        await asyncio.wait_for(counter.cancelled.wait(), 5)
        await socket.send_json(call("Echo", "after", number=7))
        assert (await socket.receive_json())["id"] == 7


async def test_a_batch_frame_over_websocket_ends_the_connection(http, url):
    async with http.ws_connect(url) as socket:
        await socket.send_json([call("Echo", "a")])
        message = await socket.receive()
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_errors_over_websocket_are_frames(http, url):
    async with http.ws_connect(url) as socket:
        for body, code in ((call("No"), -32601), (call("Echo"), -32602), (call("Panic"), 0)):
            await socket.send_json(body)
            assert (await socket.receive_json())["error"]["code"] == code
