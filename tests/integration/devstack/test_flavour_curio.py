"""The curio flavour: no miner API, Curio's few methods, and pieces by its market server."""

from __future__ import annotations

import asyncio
import gzip
import json
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from deals.piece_cid import encode_piece_cid_v2
from devstack.flavours import Flavour, NotOfThisFlavour
from devstack.flavours.curio_market import curio_market_app
from devstack.flavours.serving import rpc_table
from lotus_client.cid import RAW, Cid
from tests.integration.devstack.conftest import RawRpc
from tests.integration.devstack.flavour_parts import BINARY, TEXT, Stocked, ask, small_car, stocked
from tests.integration.devstack.openrpc import check_result
from tests.integration.devstack.test_cli import Running


@pytest.fixture
async def curio() -> AsyncIterator[Stocked]:
    async with stocked(Flavour.CURIO) as stock:
        yield stock


@pytest.fixture
def curio_rpc(curio: Stocked, session: aiohttp.ClientSession) -> RawRpc:
    token = curio.net.curio_api_info.partition(":")[0]
    return RawRpc(session, f"http://127.0.0.1:{curio.net.miner_port}/rpc/v0", token)


DOCUMENT = Path(__file__).parents[2] / "data" / "curio-openrpc" / "curio.json.gz"


def piece_url(stock: Stocked, cid: object) -> str:
    return f"{stock.net.market_url}/piece/{cid}"


async def test_a_version_2_cid_gives_the_payload_and_version_1_the_whole_piece(
    curio: Stocked,
) -> None:
    commitment = curio.text.commitment
    exact = await ask(piece_url(curio, commitment.piece_cid_v2))
    assert (exact.status, exact.body) == (200, TEXT)
    assert exact.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert exact.headers["Content-Disposition"].startswith(
        f'inline; filename="{commitment.piece_cid_v2}.'
    )
    whole = await ask(piece_url(curio, commitment.piece_cid))
    assert whole.body == TEXT + bytes(commitment.padded_size * 127 // 128 - len(TEXT))
    assert whole.headers["Etag"] == str(commitment.piece_cid)  # Curio's has no quotes
    binary = await ask(piece_url(curio, curio.binary.commitment.piece_cid_v2))
    assert (binary.body, binary.headers["Content-Type"]) == (BINARY, "application/octet-stream")
    assert "Content-Disposition" not in binary.headers


async def test_head_and_ranges_work_but_no_condition_on_the_bare_etag(curio: Stocked) -> None:
    cid = curio.binary.commitment.piece_cid_v2
    head = await ask(piece_url(curio, cid), method="HEAD")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(BINARY)))
    part = await ask(piece_url(curio, cid), Range="bytes=10-19")
    assert (part.status, part.body) == (206, BINARY[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(BINARY)}"
    assert (await ask(piece_url(curio, cid), Range="bytes=0-1", If_Range=str(cid))).status == 200


async def test_of_equal_commitments_the_largest_piece_is_served(curio: Stocked) -> None:
    commitment = curio.text.commitment
    wrong = encode_piece_cid_v2(commitment.root, 2 * commitment.padded_size, len(TEXT))
    assert (await ask(piece_url(curio, wrong))).status == 404  # that size is not held


async def test_unknown_sealed_and_senseless_pieces_are_told_apart(curio: Stocked) -> None:
    unknown = await ask(piece_url(curio, Cid.of_sha2_256(RAW, b"unknown")))
    assert (unknown.status, unknown.body) == (404, b"")
    assert (await ask(piece_url(curio, "rubbish"))).status == 400
    curio.unsealed_file(curio.sectors[0]).unlink()
    sealed = await ask(piece_url(curio, curio.text.commitment.piece_cid))
    assert (sealed.status, sealed.body) == (500, b"")


async def test_too_many_requests_at_once_get_a_429(
    curio: Stocked, serve: Callable[[web.Application], Awaitable[str]]
) -> None:
    base = await serve(curio_market_app(curio.net.provider, most_parallel=2))
    url = f"{base}/piece/{curio.text.commitment.piece_cid_v2}"
    answers = await asyncio.gather(*(ask(url) for _ in range(12)))
    statuses = {answer.status for answer in answers}
    assert statuses <= {200, 429}
    assert 429 in statuses
    for _ in range(500):  # afterwards there is room again, once the last answers have gone out
        if (await ask(url)).status == 200:
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("there was never room again")


async def test_the_market_server_shows_itself_and_its_health(curio: Stocked) -> None:
    base = curio.net.market_url
    assert json.loads((await ask(f"{base}/info")).body) == {
        "Version": "0.4.0",
        "Server": "Curio/0.0.0",
    }
    health = await ask(f"{base}/health")
    assert health.body == b"Service is up and running"
    assert health.headers["Access-Control-Allow-Origin"] == "*"
    assert (await ask(f"{base}/nowhere")).body == b"Requested resource not found"
    root = small_car()[1]
    raw = await ask(f"{base}/ipfs/{root}?format=raw")
    assert (raw.status, raw.body) == (200, small_car()[2][root])
    assert (await ask(f"{base}/ipfs/{root}?format=car", method="HEAD")).status == 200


async def test_curio_serves_its_storage_and_nothing_of_a_lotus_miner(
    curio: Stocked, curio_rpc: RawRpc
) -> None:
    assert await curio_rpc("Version") == [1, 28, 4]
    local = await curio_rpc("StorageLocal")
    assert len(local) == 2
    sector = {"Miner": 1001, "Number": 1}
    (found,) = await curio_rpc("StorageFindSector", sector, 1, 0, False)
    assert found["ID"] in local
    listed = await curio_rpc("StorageList")
    assert {"Miner": 1001, "Number": 1, "SectorFileType": 1} in listed[found["ID"]]
    assert (await curio_rpc("StorageInfo", found["ID"]))["URLs"] == found["BaseURLs"]
    stat = await curio_rpc("StorageStat", found["ID"])
    assert stat["Capacity"] >= stat["Available"] > 0
    for method in ("SectorsList", "SectorsStatus", "ActorAddress", "AuthNew", "SectorsUnsealPiece"):
        answer = await curio_rpc.answer(method)
        assert answer["error"]["code"] == -32601, method
    with pytest.raises(NotOfThisFlavour, match="no miner API"):
        _ = curio.net.miner_api_info
    refused = await curio_rpc.answer("AllocatePieceToSector", "t01001", {}, 1, {}, {})
    assert refused["error"] == {"code": 1, "message": "not implemented"}


async def test_every_answer_has_the_shape_of_curios_own_document(
    curio: Stocked, curio_rpc: RawRpc
) -> None:
    described = json.loads(gzip.decompress(DOCUMENT.read_bytes()))["methods"]
    document = {method["name"]: method for method in described}
    path = curio.net.provider.storage.id
    calls: dict[str, list[Any]] = {
        "StorageInfo": [path],
        "StorageStat": [path],
        "StorageFindSector": [{"Miner": 1001, "Number": 0}, 1, 0, False],
    }
    for name, method in rpc_table(Flavour.CURIO).by_name.items():
        assert isinstance(method.params, tuple)
        assert len(method.params) == len(document[name]["params"])
        if name != "Filecoin.AllocatePieceToSector":
            result = await curio_rpc(method.name, *calls.get(method.name, []))
            check_result(document[name], result)


async def test_a_cordoned_curio_says_so(curio: Stocked, curio_rpc: RawRpc) -> None:
    info: dict[str, Any] = await curio_rpc("Info")
    assert (info["Unschedulable"], info["Miners"]["String"]) == (False, "t01001")
    assert info["HostPort"] == f"127.0.0.1:{curio.net.miner_port}"
    await curio_rpc("Cordon")
    assert (await curio_rpc("Info"))["Unschedulable"] is True
    await curio_rpc("Uncordon")
    assert (await curio_rpc("Info"))["Unschedulable"] is False


async def test_sector_files_come_from_curios_port(curio: Stocked, curio_rpc: RawRpc) -> None:
    (found,) = await curio_rpc("StorageFindSector", {"Miner": 1001, "Number": 0}, 1, 0, False)
    token = curio.net.curio_api_info.partition(":")[0]
    (url,) = found["URLs"]
    answer = await ask(url, token=token, Range="bytes=0-31")
    assert answer.status == 206
    assert len(answer.body) == 32
    assert (await ask(url)).status == 401


async def test_curios_repo_lies_where_a_miners_would(curio: Stocked) -> None:
    repo = curio.net.data_dir / "curio"
    paths = json.loads((repo / "storage.json").read_text())["StoragePaths"]
    assert [Path(entry["Path"]).name for entry in paths] == ["storage", "storage-2"]
    assert all((Path(entry["Path"]) / "sectorstore.json").exists() for entry in paths)
    assert (repo / "api").read_text().startswith("/ip4/127.0.0.1/tcp/")
    assert not (curio.net.data_dir / "miner").exists()


def test_up_with_a_flavour_says_where_its_servers_are(tmp_path: Path) -> None:
    up = Running(tmp_path, "--flavour", "curio", "--market-port", "0", "--storage-paths", "2")
    try:
        assert "MINER_API_INFO" not in up.info
        assert up.info["CURIO_API_INFO"].partition(":")[2].startswith("/ip4/127.0.0.1/tcp/")
        with urllib.request.urlopen(up.info["MARKET_URL"] + "/health") as response:
            assert response.read() == b"Service is up and running"
        assert (tmp_path / "curio" / "storage-2" / "sectorstore.json").exists()
    finally:
        assert up.stop() == 0
