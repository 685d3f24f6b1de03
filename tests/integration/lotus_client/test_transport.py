"""Transports against a server on this machine that behaves as Lotus does, and as broken things do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from lotus_client.api_info import ApiInfo
from lotus_client.errors import (
    LotusActorNotFound,
    LotusBusy,
    LotusConnectError,
    LotusDecodeError,
    LotusError,
    LotusNoEndpoint,
    LotusNotSupported,
    LotusPermissionMissing,
    LotusRpcError,
    LotusTimeout,
    LotusUnauthorized,
)
from lotus_client.secrets import Secret
from lotus_client.transport import (
    Call,
    HttpTransport,
    NodeTransport,
    RetryingTransport,
    RetryPolicy,
    StreamOf,
    WsTransport,
)
from tests.integration.lotus_client.lotus_server import LotusServer, lotus_server


@pytest.fixture
async def server() -> AsyncIterator[LotusServer]:
    async with lotus_server() as running:
        yield running


@pytest.fixture
async def http(server: LotusServer) -> AsyncIterator[HttpTransport]:
    transport = HttpTransport(
        server.info.http_url(), timeout_seconds=2.0, max_response_bytes=1 << 20
    )
    yield transport
    await transport.close()


@pytest.fixture
async def ws(server: LotusServer) -> AsyncIterator[WsTransport]:
    transport = WsTransport(
        server.info.ws_url(),
        timeout_seconds=2.0,
        max_message_bytes=100_000,
        max_queued_bytes=20_000,
    )
    yield transport
    await transport.close()


async def all_of(transport: WsTransport, method: str, *params: Any) -> list[Any]:
    return [value async for value in transport.subscribe(method, params)]


async def drained(values: StreamOf) -> tuple[list[Any], LotusError]:
    """What a stream gives until it fails, and how it fails."""
    got: list[Any] = []
    while True:
        try:
            got.append(await anext(values))
        except LotusError as error:
            return got, error


async def test_a_call_gives_the_result_and_sends_positional_parameters(
    server: LotusServer, http: HttpTransport
) -> None:
    assert await http.call("Filecoin.Echo", [1, None, [{"/": "x"}]]) == [1, None, [{"/": "x"}]]
    assert server.calls == [("Filecoin.Echo", [1, None, [{"/": "x"}]])]
    assert "Authorization" not in server.headers[0]


async def test_the_token_is_in_the_header_and_nowhere_else(server: LotusServer) -> None:
    transport = HttpTransport(server.info.http_url(), Secret("good"))
    await transport.call("Filecoin.Echo", [])
    await transport.close()
    assert server.headers[0]["Authorization"] == "Bearer good"


@pytest.mark.parametrize(
    ("method", "kind", "text"),
    [
        ("Slow", LotusTimeout, "within 0.3 s"),
        ("Huge", LotusDecodeError, "larger than"),
        ("WrongId", LotusDecodeError, "answer is to request 2"),
        ("Neither", LotusDecodeError, "neither result nor error"),
        ("Html", LotusDecodeError, "not JSON"),
        ("List", LotusDecodeError, "no JSON-RPC object"),
        ("Deep", LotusDecodeError, "deeply"),
        ("NotANumber", LotusDecodeError, "NaN"),
        ("BadError", LotusDecodeError, "error"),
        ("NotFound", LotusNoEndpoint, "wrong URL"),
        ("Redirect", LotusNoEndpoint, "302"),
        ("Busy", LotusBusy, "429"),
        ("CutBody", LotusConnectError, "cannot reach"),
        ("MpoolPush", LotusPermissionMissing, "MpoolPush.*'write'"),
        ("Absent", LotusNotSupported, "not found"),
        ("SwitchedOff", LotusNotSupported, "EnableActorEventsAPI"),
        ("Fails", LotusActorNotFound, "actor not found"),
    ],
)
async def test_what_goes_wrong_over_http_is_told_apart(
    server: LotusServer, method: str, kind: type[LotusError], text: str
) -> None:
    transport = HttpTransport(
        server.info.http_url(), timeout_seconds=0.3 if method == "Slow" else 5, max_response_bytes=1 << 20
    )  # fmt: skip
    with pytest.raises(kind, match=text) as caught:
        await transport.call(f"Filecoin.{method}", [])
    await transport.close()
    assert type(caught.value) is kind


async def test_a_refused_token_is_unauthorized_over_both(server: LotusServer) -> None:
    over_http = HttpTransport(server.info.http_url(), Secret("bad"))
    over_ws = WsTransport(server.info.ws_url(), Secret("bad"))
    for transport in (over_http, over_ws):
        with pytest.raises(LotusUnauthorized, match="401"):
            await transport.call("Filecoin.Echo", [])
        await transport.close()


async def test_nobody_listening_is_a_connect_error_that_hides_the_token() -> None:
    info = ApiInfo.parse("verysecret:/ip4/127.0.0.1/tcp/1/http")
    transport = NodeTransport(info)
    with pytest.raises(LotusConnectError, match=r"127\.0\.0\.1:1") as caught:
        await transport.call("Filecoin.Echo", [])
    assert "verysecret" not in str(caught.value)
    with pytest.raises(LotusConnectError):
        async with aclosing(transport.subscribe("Filecoin.Stream", [])) as values:
            await anext(values)
    await transport.close()
    with pytest.raises(LotusConnectError, match="closed"):
        await transport.call("Filecoin.Echo", [])


async def test_safe_reads_are_repeated_with_growing_pauses_and_pushes_never(
    server: LotusServer, http: HttpTransport
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    transport = RetryingTransport(http, RetryPolicy(attempts=4), sleep=sleep)
    server.failures = 3
    assert await transport.call("Filecoin.ChainHead", []) == []
    assert pauses == [0.25, 0.5, 1.0]
    server.failures = 4
    with pytest.raises(LotusConnectError, match="503"):
        await transport.call("Filecoin.ChainHead", [])
    assert server.failures == 0
    server.failures = 1
    for method in ("Filecoin.MpoolPush", "Filecoin.StateCompute"):
        server.failures, before = 1, len(server.calls)
        with pytest.raises(LotusConnectError):
            await transport.call(method, [])
        assert len(server.calls) == before + 1
    assert len(pauses) == 6


async def test_how_long_a_busy_node_wants_to_be_left_alone_is_read(http: HttpTransport) -> None:
    with pytest.raises(LotusBusy) as caught:
        await http.call("Filecoin.Busy", [])
    assert caught.value.retry_after_seconds == 17


async def test_a_batch_is_one_request_and_fails_call_by_call(
    server: LotusServer, http: HttpTransport
) -> None:
    names = ["Echo", "Fails", "LeftOut", "Echo"]
    calls = [Call(f"Filecoin.{name}", [place]) for place, name in enumerate(names)]
    first, second, third, fourth = await http.call_many(calls)
    assert (first, fourth) == ([0], [3])
    assert isinstance(second, LotusActorNotFound)
    assert isinstance(third, LotusDecodeError)
    assert (server.batches, server.calls) == (1, [])


async def test_batches_are_divided_by_number(server: LotusServer) -> None:
    transport = HttpTransport(server.info.http_url(), max_batch=10)
    found = await transport.call_many([Call("Filecoin.Echo", [place]) for place in range(25)])
    await transport.close()
    assert found == [[place] for place in range(25)]
    assert server.batches == 3


async def test_a_node_that_refuses_batches_is_asked_singly_and_not_again_in_batches(
    server: LotusServer, http: HttpTransport
) -> None:
    server.takes_batches = False
    for _ in range(2):
        found = await http.call_many([Call("Filecoin.Echo", [1]), Call("Filecoin.Fails")])
        assert found[0] == [1]
        assert isinstance(found[1], LotusActorNotFound)
    assert (server.batches, len(server.calls)) == (1, 4)


async def test_a_batch_of_a_busy_node_is_repeated_whole(
    server: LotusServer, http: HttpTransport
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    server.failures = 1
    transport = RetryingTransport(http, sleep=sleep)
    assert await transport.call_many([Call("Filecoin.ChainHead", [1]), Call("Filecoin.Version")]) == [[1], []]  # fmt: skip
    assert (pauses, server.batches) == ([1.0], 2)


async def parts_of(transport: HttpTransport, *params: Any) -> list[Any]:
    async with aclosing(transport.stream("Filecoin.StateGetClaims", params, "map")) as parts:
        return [item async for part in parts for item in part]


async def test_a_large_answer_comes_in_parts(http: HttpTransport) -> None:
    found = await parts_of(http, 20_000, "")
    assert found == [(str(number), {"N": number}) for number in range(20_000)]
    assert await parts_of(http, 0, "") == []


@pytest.mark.parametrize(
    ("then", "kind", "text"),
    [("endless", LotusDecodeError, "larger than"), ("drop", LotusConnectError, "cannot reach"), ("stall", LotusTimeout, "no answer")],
)  # fmt: skip
async def test_a_large_answer_that_does_not_end_well_ends_soon(
    server: LotusServer, then: str, kind: type[LotusError], text: str
) -> None:
    transport = HttpTransport(
        server.info.http_url(), timeout_seconds=0.5, heavy_timeout_seconds=0.5, max_stream_bytes=1 << 20
    )  # fmt: skip
    with pytest.raises(kind, match=text):
        await parts_of(transport, 10, then)
    await transport.close()


@pytest.mark.parametrize(
    ("method", "kind"), [("MpoolPush", LotusPermissionMissing), ("Absent", LotusNotSupported), ("Busy", LotusBusy), ("NotFound", LotusNoEndpoint), ("List", LotusDecodeError)]
)  # fmt: skip
async def test_errors_in_place_of_a_large_answer_are_the_same(
    http: HttpTransport, method: str, kind: type[LotusError]
) -> None:
    with pytest.raises(kind):
        async with aclosing(http.stream(f"Filecoin.{method}", [], "map")) as parts:
            await anext(parts)


async def test_the_time_a_slow_reader_takes_is_not_the_nodes(server: LotusServer) -> None:
    transport = HttpTransport(
        server.info.http_url(), timeout_seconds=0.3, heavy_timeout_seconds=0.3
    )
    found = 0
    async with aclosing(transport.stream("Filecoin.StateGetClaims", [3000, ""], "map")) as parts:
        async for part in parts:
            found += len(part)
            if found < 3000:
                await asyncio.sleep(0.4)
    await transport.close()
    assert found == 3000


async def test_v2_is_another_path_and_its_absence_no_trouble_of_the_node(
    server: LotusServer,
) -> None:
    transport = NodeTransport(server.info)
    with pytest.raises(LotusNotSupported, match="404"):
        await transport.call("v2/Filecoin.ChainGetTipSet", [{"tag": "finalized"}])
    assert await transport.call("Filecoin.Echo", [1]) == [1]
    await transport.close()


async def test_a_silent_connection_is_given_up_and_a_living_one_kept(server: LotusServer) -> None:
    ws = WsTransport(server.info.ws_url(), timeout_seconds=2, idle_seconds=0.4)
    values = ws.subscribe("Filecoin.Stream", ["a"])
    assert await anext(values) == "a"
    waiting = asyncio.ensure_future(anext(values))
    await asyncio.sleep(1.0)
    assert not waiting.done()  # the server answers our pings
    assert server.pings >= 2
    server.is_mute = True
    with pytest.raises(LotusConnectError, match=r"nothing was heard from the node for 0\.4 s"):
        await asyncio.wait_for(waiting, 5)
    server.is_mute = False
    assert await all_of(ws, "Filecoin.StreamThenClose", "again") == ["again"]
    await ws.close()


async def test_the_servers_pings_are_answered_with_their_own_bytes(
    server: LotusServer, ws: WsTransport
) -> None:
    await ws.call("Filecoin.Echo", [])
    await server.sockets[0].ping(b"are you there")
    await ws.call("Filecoin.Echo", [])
    assert server.pongs == [b"are you there"]


async def test_a_stream_over_http_is_not_supported(http: HttpTransport) -> None:
    with pytest.raises(LotusNotSupported, match="WebSocket"):
        http.subscribe("Filecoin.ChainNotify", [])


async def test_calls_over_one_websocket_get_their_own_answers(
    server: LotusServer, ws: WsTransport
) -> None:
    answers = await asyncio.gather(*(ws.call("Filecoin.Echo", [number]) for number in range(20)))
    assert answers == [[number] for number in range(20)]
    assert len(server.sockets) == 1


@pytest.mark.parametrize(
    ("method", "kind"), [("MpoolPush", LotusUnauthorized), ("Absent", LotusNotSupported), ("Fails", LotusRpcError), ("BadError", LotusDecodeError)]
)  # fmt: skip
async def test_errors_over_a_websocket_are_the_same(
    ws: WsTransport, method: str, kind: type[LotusError]
) -> None:
    with pytest.raises(kind):
        await ws.call(f"Filecoin.{method}", [])


async def test_a_slow_answer_over_a_websocket_is_cancelled_by_request_id(
    server: LotusServer,
) -> None:
    ws = WsTransport(server.info.ws_url(), timeout_seconds=0.2)
    with pytest.raises(LotusTimeout, match=r"within 0\.2 s"):
        await ws.call("Filecoin.Slow", [])
    await asyncio.wait_for(server.cancelled.wait(), 2)
    await ws.close()
    assert server.frames[-1] == {"jsonrpc": "2.0", "method": "xrpc.cancel", "params": [1]}


async def test_a_stream_gives_its_values_until_the_node_closes_the_channel(
    server: LotusServer, ws: WsTransport
) -> None:
    assert await all_of(ws, "Filecoin.StreamThenClose", "a", "b") == ["a", "b"]
    assert await all_of(ws, "Filecoin.StreamThenClose", "c") == ["c"]
    assert len(server.sockets) == 1
    assert not server.cancelled.is_set()


async def test_leaving_a_stream_cancels_it_with_the_request_id_not_the_channel(
    server: LotusServer, ws: WsTransport
) -> None:
    await ws.call("Filecoin.Echo", [])
    async with aclosing(ws.subscribe("Filecoin.Stream", ["a"])) as values:
        assert await anext(values) == "a"
    await asyncio.wait_for(server.cancelled.wait(), 2)
    assert server.frames[-1]["params"] == [2]  # the channel was 7
    assert await ws.call("Filecoin.Echo", [3]) == [3]


async def test_two_streams_on_one_socket_do_not_mix(ws: WsTransport) -> None:
    async with (
        aclosing(ws.subscribe("Filecoin.Stream", [1, 2])) as first,
        aclosing(ws.subscribe("Filecoin.Stream", ["a", "b"])) as second,
    ):
        found = [await anext(first), await anext(second), await anext(second), await anext(first)]
    assert found == [1, "a", "b", 2]


@pytest.mark.parametrize(
    ("method", "why"),
    [("StreamThenDrop", "ended"), ("StreamThenJunk", "JSON"), ("StreamThenHuge", "exceeds limit|too big|1009")],
)  # fmt: skip
async def test_a_broken_connection_ends_streams_after_their_values_and_a_new_one_is_opened(
    server: LotusServer, ws: WsTransport, method: str, why: str
) -> None:
    got, error = await drained(ws.subscribe(f"Filecoin.{method}", ["a", "b"]))
    assert got == ["a", "b"]
    assert type(error) is LotusConnectError
    assert re.search(why, str(error))
    assert await all_of(ws, "Filecoin.StreamThenClose", "again") == ["again"]
    assert len(server.sockets) == 2


async def test_a_drop_ends_every_waiting_call_and_stream(
    server: LotusServer, ws: WsTransport
) -> None:
    async def wait_for_stream() -> None:
        async for _ in ws.subscribe("Filecoin.Stream", []):
            pass

    waiting = [
        asyncio.create_task(wait_for_stream()),
        asyncio.create_task(ws.call("Filecoin.Slow", [])),
    ]
    async with asyncio.timeout(5):
        while len(server.frames) < 2:  # noqa: ASYNC110 - the server has no event for "two frames"
            await asyncio.sleep(0.01)
        await server.sockets[0].close()
        found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in found] == [LotusConnectError, LotusConnectError]


async def test_a_subscriber_that_does_not_read_is_cut_off_and_the_node_is_told(
    server: LotusServer, ws: WsTransport
) -> None:
    async with aclosing(ws.subscribe("Filecoin.StreamFlood", [])) as values:
        first = await anext(values)
        await asyncio.wait_for(server.cancelled.wait(), 2)
        rest, error = await drained(values)
    assert "too slowly" in str(error)
    got = [first, *rest]
    assert [number for number, _ in got] == list(range(len(got)))
    assert len(got) < 40
    assert await ws.call("Filecoin.Echo", [1]) == [1]


async def test_a_channel_that_is_no_number_is_a_decode_error(ws: WsTransport) -> None:
    with pytest.raises(LotusDecodeError, match="seven"):
        await all_of(ws, "Filecoin.StreamBadChannel")


async def test_closing_ends_open_streams(ws: WsTransport) -> None:
    values = ws.subscribe("Filecoin.Stream", ["a"])
    assert await anext(values) == "a"
    await ws.close()
    with pytest.raises(LotusConnectError):
        await anext(values)
    await ws.close()
