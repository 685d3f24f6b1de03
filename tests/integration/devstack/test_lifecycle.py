"""A devnet seen only from outside: RPC, the control API, the miner's API and the files on disk."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from deals.commp import commp
from deals.fr32 import pad
from deals.unsealed import UnsealedFile
from devstack.auth import Permission
from devstack.stack import Devstack
from lotus_client.actors.events import CBOR_CODEC
from lotus_client.address import Address
from lotus_client.api_info import ApiInfo
from lotus_client.cbor import encode
from lotus_client.chain import HeadChange
from lotus_client.client import LotusClient
from lotus_client.messages import Message
from lotus_client.miner_client import MinerClient
from lotus_client.types import AllocationId, AttoFil, ClaimId, Epoch, SectorNumber
from tests.integration.devstack.conftest import RawRpc

FIL = 10**18
PAYLOAD = b"observations of the weather, taken daily\n" * 5000


@pytest.fixture
async def client(devnet: Devstack) -> AsyncIterator[LotusClient]:
    async with LotusClient.connect(ApiInfo.parse(devnet.api_info)) as client:
        yield client


class Control:
    """The control API over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, net: Devstack) -> None:
        self._session = session
        self._url = f"http://127.0.0.1:{net.api_port}/devstack/v1"
        self._token = net.token()

    async def __call__(self, action: str, token: str | None = None, **body: Any) -> Any:
        headers = {"Authorization": f"Bearer {token or self._token}"}
        url = f"{self._url}/{action}"
        async with self._session.post(url, json=body, headers=headers) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return answer

    async def add_piece(self, payload: bytes, allocation: int | None = None) -> Any:
        params = {} if allocation is None else {"allocation": str(allocation)}
        headers = {"Authorization": f"Bearer {self._token}"}
        async with self._session.post(
            f"{self._url}/add-piece", params=params, data=payload, headers=headers
        ) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return answer


@pytest.fixture
def control(devnet: Devstack, session: aiohttp.ClientSession) -> Control:
    return Control(session, devnet)


async def make_deal(control: Control, payload: bytes = PAYLOAD) -> tuple[int, int]:
    """(allocation, sector) of a verified deal on its way, all through HTTP."""
    piece = commp(io.BytesIO(payload))
    alice = (await control("key", name="alice"))["address"]
    await control("grant-datacap", client=alice, bytes=1 << 30)
    answer = await control(
        "allocate", client="alice", piece_cid=str(piece.piece_cid), padded_size=piece.padded_size
    )
    sector = await control.add_piece(payload, answer["allocation"])
    return answer["allocation"], sector["sector"]


async def test_a_verified_deal_goes_from_allocation_to_claim_to_power_to_a_won_block(
    control: Control, rpc: RawRpc
) -> None:
    miner = (await control("status"))["provider"]
    info = await rpc("StateMinerInfo", miner, [])
    alice = (await control("key", name="alice"))["address"]
    allocation, sector = await make_deal(control)
    piece = commp(io.BytesIO(PAYLOAD))

    pending = (await rpc("StateGetAllocations", alice, []))[str(allocation)]
    assert pending["Data"] == {"/": str(piece.piece_cid)}
    assert await rpc("StateGetClaims", miner, []) == {}

    await control("advance", epochs=30)
    claim = (await rpc("StateGetClaims", miner, []))[str(allocation)]
    assert claim == {
        "Provider": Address.parse(miner).actor_id,
        "Client": Address.parse(await rpc("StateLookupID", alice, [])).actor_id,
        "Data": {"/": str(piece.piece_cid)},
        "Size": piece.padded_size,
        "TermMin": pending["TermMin"],
        "TermMax": pending["TermMax"],
        "TermStart": claim["TermStart"],
        "Sector": sector,
    }
    assert await rpc("StateGetAllocations", alice, []) == {}
    assert (await rpc("StateMinerPower", miner, []))["MinerPower"]["QualityAdjPower"] == "0"
    on_chain = await rpc("StateSectorGetInfo", miner, sector, [])
    assert int(on_chain["VerifiedDealWeight"]) == piece.padded_size * (
        on_chain["Expiration"] - on_chain["PowerBaseEpoch"]
    )

    await control("advance", epochs=2880 + 60)  # its first WindowPoSt lies within a proving period
    power = (await rpc("StateMinerPower", miner, []))["MinerPower"]
    size = info["SectorSize"]
    assert int(power["RawBytePower"]) == size
    assert size + 9 * piece.padded_size - int(power["QualityAdjPower"]) in range(16)

    before = int(await rpc("WalletBalance", miner))
    won = await control("advance", epochs=20_000, until_win=miner)
    head = await rpc("ChainHead")
    assert head["Height"] == won["height"]
    blocks = [block for block in head["Blocks"] if block["Miner"] == miner]
    trace = (await rpc("StateCompute", head["Height"], None, head["Cids"]))["Trace"]
    gross = sum(
        int(call["Msg"]["Value"])
        for run in trace
        if run["Msg"]["To"] == "t02"
        for call in run["ExecutionTrace"]["Subcalls"] or []
        if call["Msg"]["To"] == miner
    )
    assert gross > 0
    assert sum(block["ElectionProof"]["WinCount"] for block in blocks) >= 1
    await control("advance", epochs=1)
    after = int(await rpc("WalletBalance", miner))
    assert abs(after - before - gross) < FIL // 1000  # what was burnt as fees meanwhile


async def test_the_unsealed_file_is_fr32_padded_and_holds_the_piece_at_its_offset(
    devnet: Devstack, control: Control, session: aiohttp.ClientSession, miner_rpc: RawRpc
) -> None:
    staged = [await devnet.provider.stage_piece(data) for data in (b"small", PAYLOAD)]
    sector = await devnet.provider.add_sector(staged)
    status = await miner_rpc("SectorsStatus", sector.number, False)
    sizes = [piece["Piece"]["Size"] for piece in status["Pieces"]]
    assert sum(sizes) == devnet.provider.sector_size
    index = next(i for i, p in enumerate(status["Pieces"][1:], 1) if p["DealInfo"])
    offset, size = sum(sizes[:index]), sizes[index]
    assert offset % size == 0

    miner_dir = devnet.data_dir / "miner"
    name = f"s-t0{devnet.provider.miner.actor_id}-{sector.number}"
    path = miner_dir / "storage" / "unsealed" / name
    raw = path.read_bytes()
    assert raw[offset : offset + size] == pad(PAYLOAD).ljust(size, b"\0")
    with UnsealedFile.open(path, devnet.provider.sector_size) as file:
        with file.read_piece(offset, size) as reader:
            assert reader.read().rstrip(b"\0") == PAYLOAD.rstrip(b"\0")

    found = await miner_rpc(
        "StorageFindSector",
        {"Miner": devnet.provider.miner.actor_id, "Number": sector.number}, 1, 0, False,
    )  # fmt: skip
    (url,) = found[0]["URLs"]
    headers = {"Authorization": "Bearer " + devnet.miner_api_info.partition(":")[0]}
    ranged = headers | {"Range": f"bytes={offset}-{offset + 127}"}
    async with session.get(url, headers=ranged) as response:
        assert (response.status, await response.read()) == (206, raw[offset : offset + 128])
    async with session.get(url) as response:
        assert response.status == 401
    unpadded = (offset * 127 // 128, size * 127 // 128)
    proof = devnet.network.config.seal_proof
    for (start, length), status_code in ((unpadded, 200), ((0, 127 << 40), 416)):
        check = f"{url}/{proof}/allocated/{start}/{length}"
        async with session.get(check, headers=headers) as response:
            assert response.status == status_code


async def test_our_miner_client_reads_the_miner_node(devnet: Devstack) -> None:
    sector = await devnet.provider.add_piece(PAYLOAD)
    async with MinerClient.connect(ApiInfo.parse(devnet.miner_api_info)) as miner:
        assert await miner.actor_id() == devnet.provider.miner.actor_id
        assert await miner.sectors() == [sector.number]
        status = await miner.sector_status(sector.number)
        assert status.number == sector.number


async def test_our_client_reads_the_deal(
    devnet: Devstack, control: Control, client: LotusClient
) -> None:
    allocation, sector = await make_deal(control)
    await devnet.advance(30)
    miner = devnet.provider.miner
    claims = await client.claims(miner)
    assert claims[ClaimId(allocation)].sector == sector
    assert await client.claim(miner, ClaimId(99)) is None
    assert await client.allocation(devnet.network.key("alice").address, AllocationId(99)) is None
    assert (await client.sector(miner, SectorNumber(sector))).number == sector
    assert await client.sector(miner, SectorNumber(77)) is None
    assert (await client.funds(miner)).initial_pledge.value > 0
    head = await client.head()
    assert head == devnet.network.head
    assert (await client.probe()).network_name == "devstack"
    found = await client.actor_events(
        emitters=[Address.of_id(6)],
        fields={"$type": ["claim"]},
        from_height=Epoch(0),
        to_height=head.height,
    )
    assert [entry.key for entry in found[0].entries][:2] == ["$type", "id"]


async def test_a_transfer_signed_outside_the_node_is_found_after_its_execution(
    devnet: Devstack, client: LotusClient
) -> None:
    key, payee = devnet.network.key("alice"), devnet.network.key("nobody yet").address
    nonce = await client.mpool_nonce(key.address)
    message = Message(to=payee, from_=key.address, nonce=nonce, value=AttoFil(5 * FIL))
    signed = (await client.estimate_gas(message)).signed_by(key)
    cid = await client.mpool_push(signed)
    assert cid == signed.cid
    assert await client.search_msg(cid) is None
    assert [waiting.cid for waiting in await client.mpool_pending()] == [cid]
    await devnet.advance(3)
    found = await client.search_msg(cid)
    assert found.receipt.exit_code == 0
    assert await client.balance(payee) == AttoFil(5 * FIL)
    with pytest.raises(Exception, match="nonce"):
        await client.mpool_push(signed)


async def test_push_message_needs_sign_and_repeats_by_uuid(
    devnet: Devstack, rpc: RawRpc, session: aiohttp.ClientSession
) -> None:
    alice = str(devnet.network.key("alice").address)
    bob = str(devnet.network.key("bob").address)
    message = {"Version": 0, "To": bob, "From": alice, "Nonce": 0, "Value": "7", "GasLimit": 0,
               "GasFeeCap": "0", "GasPremium": "0", "Method": 0, "Params": None}  # fmt: skip
    writer = RawRpc(
        session,
        f"http://127.0.0.1:{devnet.api_port}/rpc/v1",
        devnet.token(Permission.READ, Permission.WRITE),
    )
    refused = await writer.answer("MpoolPushMessage", message, None)
    assert (
        refused["error"]["message"]
        == "missing permission to invoke 'MpoolPushMessage' (need 'sign')"
    )
    spec = {"MaxFee": "0", "MsgUuid": "07070707-0707-0707-0707-070707070707"}
    first = await rpc("MpoolPushMessage", message, spec)
    assert await rpc("MpoolPushMessage", message, spec) == first
    assert len(await rpc("MpoolPending", [])) == 1
    wrong = await rpc.answer("MpoolPushMessage", message | {"Nonce": 3}, None)
    assert "expects message nonce to be 0, was 3" in wrong["error"]["message"]
    poor = await rpc.answer("MpoolPushMessage", message | {"Value": str(10**30)}, None)
    assert "exit 6" in poor["error"]["message"]
    everything = str(await rpc("WalletBalance", alice))
    poor = await rpc.answer("MpoolPushMessage", message | {"Value": everything}, None)
    assert "not enough funds" in poor["error"]["message"]


async def test_notify_tells_a_reorg_as_reverts_then_applies(
    devnet: Devstack, client: LotusClient
) -> None:
    await devnet.advance(20)
    stream = client.notify()
    (first,) = await anext(stream)
    assert first == HeadChange("current", devnet.network.head)
    old = devnet.network.head
    await devnet.reorg(depth=3)
    batch = await anext(stream)
    kinds = [change.type for change in batch]
    assert kinds == ["revert"] * 3 + ["apply"] * (len(batch) - 3)
    assert len(batch) >= 7  # a fork is heavier, so it has at least four tipsets here
    assert batch[0].tipset == old
    assert batch[-1].tipset == devnet.network.head
    assert batch == await client.path(old.key, devnet.network.head.key)
    await stream.aclose()


async def test_a_deal_survives_a_reorg_that_undoes_its_claim(
    devnet: Devstack, control: Control, client: LotusClient
) -> None:
    allocation, sector = await make_deal(control)
    await devnet.advance(20)
    miner = devnet.provider.miner
    before = (await client.claims(miner))[ClaimId(allocation)]
    await control("reorg", depth=devnet.network.head.height - before.term_start + 2)
    await devnet.advance(40)
    after = (await client.claims(miner))[ClaimId(allocation)]
    assert (after.sector, after.data) == (sector, before.data)
    assert devnet.provider.sectors[SectorNumber(sector)].state == "Proving"


async def test_live_events_come_when_executed_and_again_when_reverted(
    devnet: Devstack, control: Control, session: aiohttp.ClientSession
) -> None:
    value = base64.b64encode(encode("claim")).decode()
    wanted = {"addresses": ["t06"], "fields": {"$type": [{"codec": CBOR_CODEC, "value": value}]}}
    url = f"ws://127.0.0.1:{devnet.api_port}/rpc/v1?token={devnet.token()}"
    async with session.ws_connect(url) as socket:
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "params": [wanted],
                                "method": "Filecoin.SubscribeActorEventsRaw"})  # fmt: skip
        assert (await socket.receive_json())["result"] == 1
        await make_deal(control)
        await devnet.advance(20)
        async with asyncio.timeout(10):
            event = (await socket.receive_json())["params"][1]
            assert (event["emitter"], event["reverted"]) == ("t06", False)
            await devnet.reorg(depth=devnet.network.head.height - event["height"] + 1)
            again = (await socket.receive_json())["params"][1]
    assert again == event | {"reverted": True}


async def test_2000_epochs_leave_the_node_answering_and_notifying(
    devnet: Devstack, client: LotusClient
) -> None:
    stream = client.notify()
    await anext(stream)
    mining = asyncio.create_task(devnet.advance(2000))
    answered = 0
    while not mining.done():
        await client.head()
        answered += not mining.done()
        await asyncio.sleep(0.01)
    head = await mining
    assert answered >= 2  # requests get their turn between epochs
    seen = 0
    async with asyncio.timeout(30):
        async for batch in stream:
            seen += len(batch)
            assert len(batch) > 1 or seen == 1 or batch[0].tipset == head
            if batch[-1].tipset == head:
                break
    assert seen > 1600  # all but the null rounds
    await stream.aclose()


async def test_wait_msg_answers_once_the_message_is_as_deep_as_asked(
    devnet: Devstack, rpc: RawRpc
) -> None:
    cid = devnet.network.send("alice", devnet.network.key("bob").address, value=AttoFil(1))
    waiting = asyncio.create_task(rpc("StateWaitMsg", {"/": str(cid)}, 5, -1, True))
    await devnet.advance(4)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await devnet.advance(10)
    found = await asyncio.wait_for(waiting, 5)
    assert found["Receipt"]["ExitCode"] == 0
    refused = await rpc.answer("StateWaitMsg", {"/": str(cid)}, 901, -1, True)
    assert refused["error"]["code"] == 1


async def test_lookups_of_nothing_answer_as_lotus(devnet: Devstack, rpc: RawRpc) -> None:
    await devnet.advance(3)
    unknown = str(devnet.network.key("nobody").address)
    assert await rpc("WalletBalance", unknown) == "0"
    assert (await rpc.answer("StateGetActor", unknown, []))["error"]["code"] == 11
    assert (await rpc.answer("StateLookupID", unknown, []))["error"]["code"] == 11
    above = await rpc.answer("ChainGetTipSetByHeight", 10_000, [])
    assert above["error"]["message"] == "looking for tipset with height greater than start point"
    assert await rpc("GetActorEventsRaw", {"addresses": ["t06"], "fromHeight": 0}) is None
    assert (
        await rpc("StateVerifiedClientStatus", str(devnet.network.key("alice").address), []) is None
    )
    missing = {"/": str(devnet.network.head.key.cids[0])}
    assert (await rpc.answer("ChainGetMessage", missing))["error"]["code"] == 1
    assert (await rpc.answer("StateMinerInfo", "t0100", []))["error"]["code"] == 1


async def test_the_control_api_is_for_admins_and_says_what_is_wrong(
    devnet: Devstack, session: aiohttp.ClientSession
) -> None:
    base = f"http://127.0.0.1:{devnet.api_port}/devstack/v1"
    reader = {"Authorization": f"Bearer {devnet.token(Permission.READ)}"}
    async with session.post(f"{base}/status", headers=reader) as response:
        assert response.status == 403
    admin = {"Authorization": f"Bearer {devnet.token()}"}
    for action, body, status in (
        ("advance", {"epochs": 0}, 400), ("advance", {"epochs": "7"}, 400), ("advance", [], 400),
        ("reorg", {"depth": 1000}, 400), ("allocate", {"client": "alice"}, 400),
        ("send", {"from": "alice", "to": "t9zzz"}, 400),
        ("advance", {"epochs": 2, "until_win": "t01001"}, 409),
    ):  # fmt: skip
        async with session.post(f"{base}/{action}", json=body, headers=admin) as response:
            assert (response.status, bool((await response.json())["error"])) == (status, True), body
    for payload, allocation, status in ((b"", "", 409), (b"x", "77", 409), (b"x", "?", 400)):
        params = {"allocation": allocation} if allocation else {}
        async with session.post(
            f"{base}/add-piece", data=payload, params=params, headers=admin
        ) as response:
            assert response.status == status


async def test_health_is_there_for_anybody(
    devnet: Devstack, session: aiohttp.ClientSession
) -> None:
    for name in ("livez", "readyz"):
        async with session.get(f"http://127.0.0.1:{devnet.api_port}/health/{name}") as response:
            assert response.status == 200
