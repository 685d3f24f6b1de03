"""The miner node's data methods: pieces pushed as streams, unsealing, what a miner needs for mining."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from deals.commp import commp
from devstack.chain.randomness import WINNING_POST, beacon_entry, draw_from_digest
from devstack.deals import publish_deal
from devstack.sectors import open_payload
from devstack.stack import Devstack
from devstack.storage import FileType
from lotus_client import cbor
from lotus_client.types import PaddedPieceSize
from tests.integration.devstack.conftest import RawRpc

NO_DEAL = {
    "PublishCid": None, "DealID": 0, "DealProposal": None, "PieceActivationManifest": None,
    "DealSchedule": {"StartEpoch": 1, "EndEpoch": 2}, "KeepUnsealed": True,
}  # fmt: skip


async def push(net: Devstack, session: aiohttp.ClientSession, name: str, data: bytes) -> int:
    url = f"http://127.0.0.1:{net.miner_port}/rpc/streams/v0/push/{name}"
    async with session.head(url) as announced:
        assert announced.status == 200
    async with session.post(url, data=data) as response:
        return response.status


async def test_a_piece_is_added_from_a_stream_that_is_pushed_beside_the_call(
    devnet: Devstack, miner_rpc: RawRpc, session: aiohttp.ClientSession
) -> None:
    data, name = b"streamed" * 100, str(uuid.uuid4())
    call = miner_rpc("SectorAddPieceToAny", 1016, {"Type": "push", "Info": name}, NO_DEAL)
    added, status = await asyncio.gather(call, push(devnet, session, name, data))
    assert status == 200
    assert added["Offset"] == 0
    with open_payload(data) as reader:
        expected = commp(reader).raised_to(1024).piece_cid
    status_of = await miner_rpc("SectorsStatus", added["Sector"], False)
    assert status_of["Pieces"][0]["Piece"] == {"Size": 1024, "PieceCID": {"/": str(expected)}}
    again = str(uuid.uuid4())
    computed, _ = await asyncio.gather(
        miner_rpc("ComputeDataCid", 1016, {"Type": "push", "Info": again}),
        push(devnet, session, again, data),
    )
    assert computed == {"Size": 1024, "PieceCID": {"/": str(expected)}}


async def test_streams_that_make_no_sense_are_refused(
    devnet: Devstack, miner_rpc: RawRpc, session: aiohttp.ClientSession
) -> None:
    assert await push(devnet, session, "not-a-uuid", b"x") == 400
    for stream in ({"Type": "push", "Info": "x"}, {"Type": "pull", "Info": ""}, {"Type": "null"}):
        refused = await miner_rpc.answer("ComputeDataCid", 1016, stream)
        assert refused["error"]["code"] == -32700
    zeros = {"Type": "null", "Info": "1016"}
    refused = await miner_rpc.answer("ComputeDataCid", 1000, zeros)
    assert "multiple of 127" in refused["error"]["message"]
    market = NO_DEAL | {"DealProposal": {}, "DealID": 7}
    refused = await miner_rpc.answer("SectorAddPieceToAny", 1016, zeros, market)
    assert refused["error"]["code"] == 1


async def test_a_market_deals_data_is_added_and_found_again(
    devnet: Devstack, miner_rpc: RawRpc
) -> None:
    zeros = {"Type": "null", "Info": "1016"}
    staged = await devnet.provider.stage_piece(bytes(1016))
    deal = await publish_deal(
        devnet.node, devnet.network.key("alice"), devnet.provider,
        staged.commitment.piece_cid, PaddedPieceSize(1024),
    )  # fmt: skip
    assert await miner_rpc("SectorsRefs") == {}
    info = NO_DEAL | {"DealProposal": {}, "DealID": deal}
    added = await miner_rpc("SectorAddPieceToAny", 1016, zeros, info)
    place = {"SectorID": added["Sector"], "Offset": added["Offset"], "Size": 1016}
    assert await miner_rpc("SectorsRefs") == {str(deal): [place]}
    status = await miner_rpc("SectorsStatus", added["Sector"], False)
    assert status["Deals"][0] == status["Pieces"][0]["DealInfo"]["DealID"] == deal


def written(path: Path) -> None:
    for _ in range(1000):
        if path.exists():
            return
        time.sleep(0.01)
    pytest.fail(f"{path} was not written")


async def test_unsealing_writes_the_sector_again(devnet: Devstack, miner_rpc: RawRpc) -> None:
    sector = await devnet.provider.add_piece(b"again" * 100)
    miner = devnet.provider.miner.actor_id
    path = devnet.provider.storage.file(FileType.UNSEALED, miner, sector.number)
    before = path.read_bytes()
    reference = {"ID": {"Miner": miner, "Number": sector.number}, "ProofType": 6}
    unsealed = {"/": str(sector.commd)}
    for method, params in (
        ("SectorUnseal", [sector.number]),
        ("SectorsUnsealPiece", [reference, 0, 1016, "", unsealed]),
    ):
        path.unlink()
        assert await miner_rpc("StorageFindSector", reference["ID"], 1, 0, False) == []
        assert await miner_rpc(method, *params) is None
        await asyncio.to_thread(
            written, path
        )  # SectorUnseal answers at once and works in the background
        assert path.read_bytes() == before
    refused = await miner_rpc.answer("SectorsUnsealPiece", reference, 0, 1016, "", None)
    assert refused["error"]["code"] == 1
    refused = await miner_rpc.answer("SectorUnseal", 99)
    assert "sector info not found" in refused["error"]["message"]


async def test_pledged_sectors_and_storage_paths(devnet: Devstack, miner_rpc: RawRpc) -> None:
    pledged = await miner_rpc("PledgeSector")
    assert pledged == {"Miner": devnet.provider.miner.actor_id, "Number": 0}
    assert await miner_rpc("SectorsList") == [0]
    stat = await miner_rpc("StorageStat", devnet.provider.storage.id)
    assert stat["Capacity"] >= stat["Available"] > 0
    unknown = str(uuid.uuid4())
    assert (await miner_rpc.answer("StorageStat", unknown))["error"]["code"] == 1
    assert (await miner_rpc.answer("StorageRedeclareLocal", unknown, True))["error"]["code"] == 1
    assert await miner_rpc("StorageRedeclareLocal", None, True) is None


async def test_base_info_names_the_sector_that_the_proofs_library_would_draw(
    devnet: Devstack, rpc: RawRpc
) -> None:
    await devnet.advance(3)
    head = await rpc("ChainHead")
    epoch = head["Height"] + 1
    miner = devnet.network.genesis_miner
    info: dict[str, Any] = await rpc("MinerGetBaseInfo", str(miner), epoch, head["Cids"])
    drawn = beacon_entry(devnet.network.config.seed, epoch).data
    digest = hashlib.blake2b(drawn, digest_size=32).digest()
    seed = bytearray(draw_from_digest(digest, WINNING_POST, epoch, cbor.encode(miner.to_bytes())))
    seed[31] &= 0x3F
    prover = miner.payload + bytes(32 - len(miner.payload))
    number = int.from_bytes(hashlib.sha256(prover + seed + bytes(8)).digest()[:8], "little") % 96
    assert [sector["SectorNumber"] for sector in info["Sectors"]] == [number]
    assert info["EligibleForMining"] is True
    assert [entry["Round"] for entry in info["BeaconEntries"]] == [epoch]
    assert info["PrevBeaconEntry"]["Round"] == epoch - 1
    assert info["WorkerKey"] == str(devnet.network.key("genesis-worker").address)
    idle = str(devnet.provider.miner)
    assert await rpc("MinerGetBaseInfo", idle, epoch, head["Cids"]) is None
    refused = await rpc.answer("MinerGetBaseInfo", str(miner), epoch, [])
    assert "failed to load tipset for mining base" in refused["error"]["message"]
