"""The lotus-miner flavour: sector files over `/remote`, and several storage paths. Source: Lotus `http_handler.go`."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from deals.fr32 import unpad_quads
from devstack.flavours import Flavour, NotOfThisFlavour
from devstack.storage import FileType
from tests.integration.devstack.conftest import RawRpc
from tests.integration.devstack.flavour_parts import BINARY, Answer, Stocked, ask, stocked


@pytest.fixture
async def lotus() -> AsyncIterator[Stocked]:
    async with stocked(Flavour.LOTUS_MINER) as stock:
        yield stock


class Remote:
    """`/remote` with the miner's admin token."""

    def __init__(self, stock: Stocked) -> None:
        token, _, address = stock.net.miner_api_info.partition(":")
        assert address.startswith("/ip4/127.0.0.1/")
        self.base = f"http://127.0.0.1:{stock.net.miner_port}/remote"
        self.token = token

    async def __call__(self, path: str, method: str = "GET", **headers: str) -> Answer:
        return await ask(f"{self.base}/{path}", method=method, token=self.token, **headers)


@pytest.fixture
def remote(lotus: Stocked) -> Remote:
    return Remote(lotus)


async def test_a_range_of_an_unsealed_file_is_fr32_at_padded_offsets(
    lotus: Stocked, remote: Remote
) -> None:
    piece = next(p for p in lotus.sectors[0].pieces if p.staged is lotus.binary)
    last = piece.offset + piece.size - 1
    answer = await remote("unsealed/s-t01001-0", Range=f"bytes={piece.offset}-{last}")
    assert (answer.status, answer.headers["Content-Type"]) == (206, "application/octet-stream")
    assert unpad_quads(answer.body)[: len(BINARY)] == BINARY
    whole = await remote("unsealed/s-t01001-0")
    assert len(whole.body) > lotus.net.provider.sector_size  # with the trailer


async def test_what_is_present_is_told_apart_from_what_is_not(
    lotus: Stocked, remote: Remote
) -> None:
    piece = next(p for p in lotus.sectors[0].pieces if p.staged is lotus.binary)
    offset, size = piece.offset * 127 // 128, piece.size * 127 // 128
    base = "unsealed/s-t01001-0"
    assert (await remote(f"{base}/6/allocated/{offset}/{size}")).status == 200
    lotus.unsealed_file(lotus.sectors[0]).unlink()
    assert (await remote(f"{base}/6/allocated/{offset}/{size}")).status == 500
    sector_size = lotus.net.provider.sector_size
    lotus.unsealed_file(lotus.sectors[0]).write_bytes(bytes(sector_size + 4))  # nothing allocated
    assert (await remote(f"{base}/6/allocated/{offset}/{size}")).status == 416


@pytest.mark.parametrize(
    "path",
    [
        "unsealed/s-t01001-9",  # no such sector
        "unsealed/t01001-0",
        "piece/s-t01001-0",
        "update/s-t01001-0",
        "sealed/s-t01001-0/6/allocated/0/127",  # only unsealed files know
        "unsealed/s-t01001-0/99/allocated/0/127",  # no such seal proof
        "unsealed/s-t01001-0/8/allocated/0/127",  # the file is not of 32 GiB
    ],
)
async def test_what_lotus_cannot_acquire_or_parse_is_a_bare_500(remote: Remote, path: str) -> None:
    answer = await remote(path)
    assert (answer.status, answer.body) == (500, b"")


async def test_directories_come_as_tar_and_take_no_range(remote: Remote) -> None:
    answer = await remote("cache/s-t01001-0")
    assert answer.headers["Content-Type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
        assert archive.getnames() == ["s-t01001-0"]
    assert (await remote("cache/s-t01001-0", Range="bytes=0-1")).status == 500


async def test_stat_needs_a_known_path_and_everything_an_admin_token(
    lotus: Stocked, remote: Remote
) -> None:
    known = lotus.net.provider.storage.paths[0].id
    assert json.loads((await remote(f"stat/{known}")).body)["Capacity"] > 0
    assert (await remote("stat/00000000-0000-0000-0000-000000000000")).status == 404
    assert (await remote("vanilla/single", method="POST")).status == 500
    for path in (f"stat/{known}", "unsealed/s-t01001-0"):
        assert (await ask(f"{remote.base}/{path}")).status == 401


async def test_deleting_spares_the_paths_to_keep(lotus: Stocked, remote: Remote) -> None:
    storage = lotus.net.provider.storage
    file = lotus.unsealed_file(lotus.sectors[0])
    home = storage.paths[0].id
    assert (await remote(f"unsealed/s-t01001-0?keep={home}", method="DELETE")).status == 200
    assert file.exists()
    assert (await remote("unsealed/s-t01001-0", method="DELETE")).status == 200
    assert not file.exists()
    assert (await remote("unsealed/s-t01001-0", method="DELETE")).status == 500
    assert (await remote("cache/s-t01001-0", method="DELETE")).status == 200


async def test_sectors_are_spread_over_paths_that_the_index_tells_apart(
    lotus: Stocked, session: aiohttp.ClientSession
) -> None:
    net = lotus.net
    token = net.miner_api_info.partition(":")[0]
    rpc = RawRpc(session, f"http://127.0.0.1:{net.miner_port}/rpc/v0", token)
    local = await rpc("StorageLocal")
    listed = json.loads((net.data_dir / "miner" / "storage.json").read_text())["StoragePaths"]
    assert sorted(local.values()) == sorted(entry["Path"] for entry in listed)
    for number in (0, 1):
        (found,) = await rpc("StorageFindSector", {"Miner": 1001, "Number": number}, 7, 0, False)
        root = Path(local[found["ID"]])
        assert (root / "unsealed" / f"s-t01001-{number}").is_file()
        assert len(found["URLs"]) == 3  # unsealed, sealed, cache
    first, second = (
        net.provider.storage.file(FileType.UNSEALED, net.provider.miner.actor_id, s.number)
        for s in lotus.sectors
    )
    assert first.parent != second.parent
    status = await rpc("SectorsStatus", 0, False)
    assert status["Pieces"][0]["Piece"]["Size"] == lotus.text.commitment.padded_size


async def test_lotus_miner_alone_has_no_market_server(lotus: Stocked) -> None:
    with pytest.raises(NotOfThisFlavour, match="no market server"):
        _ = lotus.net.market_url
