"""Faults on demand, met as any client meets them: over HTTP and WebSocket."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from deals.unsealed import UnsealedFile
from devstack.auth import Permission
from devstack.faults import FaultKind, Scope
from devstack.stack import Devstack
from devstack.storage import FileType
from lotus_client.api_info import ApiInfo
from lotus_client.client import LotusClient
from tests.integration.devstack.conftest import RawRpc

HEAD = {"jsonrpc": "2.0", "id": 1, "method": "Filecoin.ChainHead", "params": []}


@pytest.fixture
def url(devnet: Devstack) -> str:
    return f"http://127.0.0.1:{devnet.api_port}/rpc/v1"


class Socket:
    """A WebSocket to the node, frame by frame."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def call(self, method: str, *params: Any, id_: int = 1) -> Any:
        body = {"jsonrpc": "2.0", "id": id_, "method": f"Filecoin.{method}", "params": list(params)}
        await self.socket.send_json(body)
        return await self.next()

    async def next(self) -> Any:
        return json.loads(await asyncio.wait_for(self.socket.receive_str(), 5))

    async def heights(self, number: int) -> list[list[int]]:
        """The heights of so many batches of head changes."""
        return [
            [change["Val"]["Height"] for change in (await self.next())["params"][1]]
            for _ in range(number)
        ]


@pytest.fixture
async def socket(session: aiohttp.ClientSession, url: str) -> AsyncIterator[Socket]:
    async with session.ws_connect(url) as socket:
        yield Socket(socket)


async def apart(devnet: Devstack, epochs: int) -> None:
    """Mine so that each epoch is a batch of its own."""
    for _ in range(epochs):
        await devnet.advance(1)


# the wire ---------------------------------------------------------------------------------------------------------


async def test_a_dropped_http_answer_ends_in_the_middle_of_its_body(
    devnet: Devstack, session: aiohttp.ClientSession, url: str
) -> None:
    devnet.faults.add("drop", Scope(method="ChainHead", count=1))
    async with session.post(url, json=HEAD) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    async with session.post(url, json=HEAD) as response:  # one strike, and it is over
        assert (await response.json())["result"]["Height"] == 0


async def test_a_dropped_websocket_answer_ends_in_the_middle_of_its_frame(
    devnet: Devstack, url: str
) -> None:
    devnet.faults.add("drop", Scope(method="ChainHead"))
    reader, writer = await asyncio.open_connection("127.0.0.1", devnet.api_port)
    writer.write(
        b"GET /rpc/v1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    payload = json.dumps(HEAD).encode()
    assert len(payload) < 126
    writer.write(bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload)  # masked with zeros
    frame = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert frame[:2] == b"\x81\x7e"
    announced = int.from_bytes(frame[2:4], "big")
    assert 0 < len(frame) - 4 < announced


async def test_a_client_that_repeats_its_reads_gets_over_a_dropped_frame(
    devnet: Devstack,
) -> None:
    async with LotusClient.connect(ApiInfo.parse(devnet.api_info)) as client:
        devnet.faults.add("drop", Scope(method="ChainHead", count=1))
        assert (await client.head()).height == 0
        assert devnet.faults.entries() == []  # it did strike


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_http_statuses_are_those_asked_for(
    devnet: Devstack, session: aiohttp.ClientSession, url: str, status: int
) -> None:
    devnet.faults.add("status", status=status)
    async with session.post(url, json=HEAD) as response:
        assert response.status == status


async def test_a_rate_limit_says_when_to_come_again_also_at_the_handshake(
    devnet: Devstack, session: aiohttp.ClientSession, url: str
) -> None:
    devnet.faults.add("rate-limit", Scope(count=2), retry_after=7)
    async with session.post(url, json=HEAD) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "7")
    with pytest.raises(aiohttp.WSServerHandshakeError, match="429"):
        await session.ws_connect(url)
    async with session.ws_connect(url):
        pass


async def test_latency_is_at_least_what_was_asked_for_and_only_for_its_methods(
    devnet: Devstack, rpc: RawRpc, socket: Socket
) -> None:
    devnet.faults.add("latency", Scope(method="ChainHead"), ms=120, jitter_ms=40)
    for call in (rpc("ChainHead"), socket.call("ChainHead")):
        started = time.monotonic()
        await call
        assert time.monotonic() - started >= 0.12
    started = time.monotonic()
    await rpc("StateNetworkName")
    assert time.monotonic() - started < 0.12


async def test_a_timeout_never_answers_and_leaves_other_calls_alone(
    devnet: Devstack, rpc: RawRpc, socket: Socket
) -> None:
    devnet.faults.add("timeout", Scope(method="ChainHead", count=2))
    for call in (rpc("ChainHead"), socket.call("ChainHead")):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call, 0.3)
    assert await rpc("StateNetworkName") == "devstack"
    assert (await rpc("ChainHead"))["Height"] == 0


async def test_a_batch_is_struck_when_one_of_its_methods_is(
    devnet: Devstack, session: aiohttp.ClientSession, url: str
) -> None:
    devnet.faults.add("status", Scope(method="MpoolPending"), status=503)
    name = {**HEAD, "method": "Filecoin.MpoolPending", "params": [None]}
    async with session.post(url, json=[HEAD, name]) as response:
        assert response.status == 503
    async with session.post(url, json=[HEAD, HEAD]) as response:
        assert response.status == 200


# notifications ----------------------------------------------------------------------------------------------------


async def test_notifications_come_twice(devnet: Devstack, socket: Socket) -> None:
    await socket.call("ChainNotify")
    assert await socket.heights(1) == [[0]]
    devnet.faults.add("duplicate", Scope(method="ChainNotify", count=1))
    await apart(devnet, 2)
    assert await socket.heights(3) == [[1], [1], [2]]


async def test_notifications_change_places(devnet: Devstack, socket: Socket) -> None:
    await socket.call("ChainNotify")
    await socket.heights(1)
    devnet.faults.add("reorder", Scope(method="ChainNotify", count=1))
    await apart(devnet, 3)
    assert await socket.heights(3) == [[2], [1], [3]]


async def test_a_slow_subscriber_is_cut_off(devnet: Devstack, socket: Socket) -> None:
    channel = (await socket.call("ChainNotify"))["result"]
    await socket.heights(1)
    devnet.faults.add("cut-off", Scope(method="ChainNotify", skip=1))
    await apart(devnet, 3)
    assert await socket.heights(1) == [[1]]
    assert (await socket.next()) == {
        "jsonrpc": "2.0", "method": "xrpc.ch.close", "params": [channel]
    }  # fmt: skip


async def test_a_connection_can_drop_in_the_middle_of_a_notification(
    devnet: Devstack, socket: Socket
) -> None:
    await socket.call("ChainNotify")
    await socket.heights(1)
    devnet.faults.add("drop", Scope(method="ChainNotify#value"))
    await devnet.advance(1)
    message = await asyncio.wait_for(socket.socket.receive(), 5)
    assert message.type in (
        aiohttp.WSMsgType.CLOSED,
        aiohttp.WSMsgType.ERROR,
        aiohttp.WSMsgType.CLOSE,
    )


# refusals and lies ------------------------------------------------------------------------------------------------


async def test_without_the_events_api_both_methods_answer_in_lotus_words(
    devnet: Devstack, rpc: RawRpc, socket: Socket
) -> None:
    devnet.faults.add("events-off")
    wanted = {"code": 1, "message": "module disabled, enable with Events.EnableActorEventsAPI"}
    assert (await rpc.answer("GetActorEventsRaw", {"fromHeight": 0}))["error"] == wanted
    assert (await socket.call("SubscribeActorEventsRaw", {}))["error"] == wanted


async def test_receipts_have_no_events(devnet: Devstack, rpc: RawRpc) -> None:
    await devnet.provider.add_piece(b"x" * 500)
    await devnet.advance(20)
    found = devnet.provider.sectors[0].messages["commit"]
    cid = {"/": str(found)}
    before = await rpc("StateSearchMsg", None, cid, -1, True)
    assert before["Receipt"]["EventsRoot"] is not None
    devnet.faults.add("no-events")
    after = await rpc("StateSearchMsg", None, cid, -1, True)
    assert after["Receipt"] == {**before["Receipt"], "EventsRoot": None}
    block = (await rpc("ChainGetTipSet", after["TipSet"]))["Cids"][0]
    receipts = await rpc("ChainGetParentReceipts", block)
    assert receipts
    assert all(one["EventsRoot"] is None for one in receipts)


async def test_pruned_states_are_gone_in_lotus_words_and_newer_ones_are_not(
    devnet: Devstack, rpc: RawRpc
) -> None:
    await devnet.advance(30)
    devnet.faults.add("pruned", epochs=10)
    old = await rpc("ChainGetTipSetByHeight", 15, None)
    root = old["Blocks"][0]["ParentStateRoot"]["/"]
    error = (await rpc.answer("StateGetActor", "t0100", old["Cids"]))["error"]
    lost = f"load state tree: failed to load state tree {root}: failed to load hamt node: ipld: could not find {root}"
    assert error == {"code": 1, "message": lost}
    error = (await rpc.answer("StateReadState", "t0100", old["Cids"]))["error"]
    assert error["message"] == f"getting actor: {lost}"
    new = await rpc("ChainGetTipSetByHeight", 25, None)
    await rpc("StateGetActor", "t0100", new["Cids"])
    await rpc("StateGetActor", "t0100", None)


async def test_a_node_lies_about_nonce_balance_and_gas(devnet: Devstack, rpc: RawRpc) -> None:
    alice, bob = (str(devnet.network.key(name).address) for name in ("alice", "bob"))
    message = {"Version": 0, "To": bob, "From": alice, "Nonce": 0, "Value": "1", "GasLimit": 0,
               "GasFeeCap": "0", "GasPremium": "0", "Method": 0, "Params": None}  # fmt: skip

    async def ask() -> tuple[int, int, str, str, int]:
        actor = await rpc("StateGetActor", alice, None)
        gas = await rpc("GasEstimateMessageGas", message, None, None)
        nonce, balance = await rpc("MpoolGetNonce", alice), await rpc("WalletBalance", alice)
        return nonce, actor["Nonce"], balance, actor["Balance"], gas["GasLimit"]

    nonce, _, balance, _, gas = await ask()
    devnet.faults.add("wrong-nonce", add=3)
    devnet.faults.add("wrong-balance", percent=10)
    devnet.faults.add("wrong-gas", percent=50)
    tenth = str(int(balance) // 10)
    assert await ask() == (nonce + 3, nonce + 3, tenth, tenth, gas // 2)
    devnet.faults.clear()
    assert await ask() == (nonce, nonce, balance, balance, gas)


async def test_a_revoked_token_is_refused_and_others_are_not(
    devnet: Devstack, session: aiohttp.ClientSession, url: str
) -> None:
    revoked, good = devnet.token(Permission.READ), devnet.token()
    fault = devnet.faults.add("token-revoked", token=revoked)

    async def status(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        async with session.post(url, json=HEAD, headers=headers) as response:
            return response.status

    assert (await status(revoked), await status(good)) == (401, 200)
    devnet.faults.clear(fault.id)
    assert await status(revoked) == 200


async def test_a_stale_node_shows_its_old_head_and_catches_up_in_one_batch(
    devnet: Devstack, rpc: RawRpc, socket: Socket
) -> None:
    await devnet.advance(5)
    await socket.call("ChainNotify")
    assert await socket.heights(1) == [[5]]
    fault = devnet.faults.add("stale-head")
    await devnet.advance(4)
    assert devnet.network.head.height == 9
    assert (await rpc("ChainHead"))["Height"] == 5
    alice = str(devnet.network.key("alice").address)
    nonce = await rpc("MpoolGetNonce", alice)
    await devnet.reorg(depth=6)
    devnet.faults.clear(fault.id)
    assert (await rpc("ChainHead"))["Height"] == devnet.network.head.height
    (batch,) = [(await socket.next())["params"][1]]
    assert [change["Type"] for change in batch[:2]] == ["revert", "revert"]
    assert batch[-1]["Val"]["Height"] == devnet.network.head.height
    assert await rpc("MpoolGetNonce", alice) == nonce


async def test_what_is_sent_to_a_stale_node_reaches_the_network_when_it_follows_again(
    devnet: Devstack, rpc: RawRpc
) -> None:
    devnet.faults.add("stale-head")
    await devnet.advance(2)
    key = devnet.network.key("alice")
    message = {"Version": 0, "To": "t0103", "From": str(key.address), "Nonce": 0, "Value": "1",
               "GasLimit": 0, "GasFeeCap": "0", "GasPremium": "0", "Method": 0, "Params": None}  # fmt: skip
    cid = (await rpc("MpoolPushMessage", message, None))["CID"]
    await devnet.advance(2)
    assert devnet.network.pending_state().actor(key.address).nonce == 0
    devnet.faults.clear()
    await devnet.advance(2)
    assert await rpc("StateSearchMsg", None, cid, -1, True) is not None


# files ------------------------------------------------------------------------------------------------------------


async def test_an_unsealed_copy_is_missing_until_the_fault_ends(
    devnet: Devstack, session: aiohttp.ClientSession
) -> None:
    sector = await devnet.provider.add_piece(b"x" * 500)
    path = devnet.provider.storage.file(
        FileType.UNSEALED, devnet.provider.miner.actor_id, sector.number
    )
    before = path.read_bytes()
    url = f"http://127.0.0.1:{devnet.miner_port}/remote/unsealed/s-t01001-0"
    headers = {"Authorization": f"Bearer {devnet.miner_api_info.partition(':')[0]}"}
    fault = devnet.faults.add("missing-unsealed", sector=0)
    assert not path.exists()
    async with session.get(url, headers=headers) as response:
        assert response.status == 500  # as Lotus answers for a file that is not there
    devnet.faults.clear(fault.id)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="no unsealed file of sector 5"):
        devnet.faults.add("missing-unsealed", sector=5)


async def test_corrupt_bytes_are_where_they_were_asked_for_and_are_put_right(
    devnet: Devstack,
) -> None:
    sector = await devnet.provider.add_piece(bytes(range(256)) * 4)
    path = devnet.provider.storage.file(
        FileType.UNSEALED, devnet.provider.miner.actor_id, sector.number
    )
    before = path.read_bytes()
    devnet.faults.add(FaultKind.CORRUPT_PIECE, sector=sector.number, offset=64, bytes=16)
    after = path.read_bytes()
    assert [at for at in range(len(before)) if before[at] != after[at]] == list(range(64, 80))
    with UnsealedFile.open(path, devnet.provider.sector_size) as file:
        assert file.has(0, 1024)  # it looks all right: only its bytes are wrong
    devnet.faults.clear()
    assert path.read_bytes() == before


async def test_the_remote_tree_is_struck_as_well(
    devnet: Devstack, session: aiohttp.ClientSession
) -> None:
    await devnet.provider.add_piece(b"x" * 500)
    url = f"http://127.0.0.1:{devnet.miner_port}/remote/unsealed/s-t01001-0"
    token = devnet.miner_api_info.partition(":")[0]

    async def status() -> int:
        async with session.get(url, headers={"Authorization": f"Bearer {token}"}) as response:
            return response.status

    devnet.faults.add("status", Scope(endpoint="miner", method="remote", count=1), status=503)
    assert [await status(), await status()] == [503, 200]
    devnet.faults.add("token-revoked", Scope(endpoint="miner"), token=token)
    assert await status() == 401


# sectors ----------------------------------------------------------------------------------------------------------


async def _proven(devnet: Devstack) -> int:
    """A sector with power; its number."""
    sector = await devnet.provider.add_piece(b"x" * 500)
    miner = devnet.provider.miner
    await devnet.node.advance(
        4000, until=lambda _: devnet.network.pending_state().miner_power(miner).miner.raw > 0
    )
    return sector.number


async def test_a_sector_is_declared_faulty_recovers_and_is_terminated(devnet: Devstack) -> None:
    number, miner = await _proven(devnet), devnet.provider.miner

    def power() -> int:
        return devnet.network.pending_state().miner_power(miner).miner.raw

    full = power()
    found = await devnet.sector_faults.fault([number])
    assert found.receipt.exit_code == 0
    assert power() == 0
    await devnet.sector_faults.recover([number])
    assert power() == 0  # not before its next window PoSt
    await devnet.node.advance(3000, until=lambda _: power() == full)
    await devnet.sector_faults.terminate([number])
    assert power() == 0
    with pytest.raises(ValueError, match="no miner 3"):
        await devnet.sector_faults.fault([number], miner=3)


async def test_a_skipped_window_post_costs_the_power_and_the_next_window_is_proven(
    devnet: Devstack,
) -> None:
    number, miner = await _proven(devnet), devnet.provider.miner
    devnet.sector_faults.skip_posts(1)
    await devnet.node.advance(
        4000, until=lambda _: devnet.network.pending_state().miner_power(miner).miner.raw == 0
    )
    await devnet.sector_faults.recover([number])
    await devnet.node.advance(
        4000, until=lambda _: devnet.network.pending_state().miner_power(miner).miner.raw > 0
    )


# the control API --------------------------------------------------------------------------------------------------


@pytest.fixture
def control(devnet: Devstack, session: aiohttp.ClientSession) -> Callable[..., Any]:
    async def ask(action: str, **body: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {devnet.token()}"}
        url = f"http://127.0.0.1:{devnet.api_port}/devstack/v1/{action}"
        async with session.post(url, json=body, headers=headers) as response:
            return response.status, await response.json()

    return ask


async def test_faults_are_added_listed_and_cleared_whatever_is_in_force(
    control: Callable[..., Any], rpc: RawRpc
) -> None:
    status, added = await control("fault-add", kind="token-revoked")
    assert (status, added["id"]) == (200, 1)
    scope = {"method": "Chain*", "count": 4, "probability": 0.5, "seed": 3}
    status, added = await control("fault-add", kind="latency", scope=scope, params={"ms": 1})
    assert added["scope"]["endpoint"] == "*"
    assert added["params"] == {"ms": 1, "jitter_ms": 0}
    _, listed = await control("fault-list")
    assert [(one["id"], one["kind"], one["seen"]) for one in listed["faults"]] == [
        (1, "token-revoked", 0), (2, "latency", 0)
    ]  # fmt: skip
    assert await control("fault-clear") == (200, {"cleared": 2})
    assert (await rpc("ChainHead"))["Height"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "nonsense"},
        {},
        {"kind": "drop", "scope": {"depth": 1}},
        {"kind": "drop", "scope": 5},
        {"kind": "drop", "scope": {"probability": "often"}},
        {"kind": "latency", "params": {"ms": "slow"}},
        {"kind": "stale-head", "params": {"node": 3}},
    ],
)
async def test_bad_faults_are_bad_requests(control: Callable[..., Any], body: Any) -> None:
    status, answer = await control("fault-add", **body)
    assert status == 400
    assert answer["error"]
    assert (await control("fault-clear", id=9))[0] == 400


async def test_forks_over_the_control_api(control: Callable[..., Any], devnet: Devstack) -> None:
    await devnet.advance(10)
    head = devnet.network.head
    _, tip = await control("fork", depth=3, length=2)
    assert devnet.network.head == head
    status, _ = await control("adopt", tipset=tip["tipset"])
    assert status == 409
    status, moved = await control("adopt", tipset=tip["tipset"], grow=40)
    assert (status, moved["reverted"]) == (200, 3)
    status, moved = await control("set-head", tipset=[str(cid) for cid in head.key])
    assert (status, moved["applied"]) == (200, 3)
    assert devnet.network.head == head
    status, moved = await control("reorg", depth=2, null_rounds=2, reinclude=True, length=8)
    assert (status, moved["reverted"]) == (200, 2)
    assert moved["applied"] >= 8
