"""A piece in two sectors: reading goes on at the other copy, and what changed is looked for and verified anew."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from devstack.stack import Devstack
from devstack.storage import FileType
from lotus_client.cid import Cid
from tests.integration.service.conftest import SidecarAtWork, make_deal, running, write_config

pytestmark = pytest.mark.timeout(120)


def unsealed(net: Devstack) -> list[Path]:
    miner = net.provider.miner.actor_id
    storage = net.provider.storage
    return [
        storage.file(FileType.UNSEALED, miner, number) for number in sorted(net.provider.sectors)
    ]


async def read(sidecar: SidecarAtWork, key: str) -> tuple[int, bytes]:
    url = f"{sidecar.sidecar.url}/api/v1/sp/pieces/{key}/bytes"
    async with sidecar._session.get(url, headers=sidecar.headers) as response:
        return response.status, await response.read()


async def test_the_other_copy_is_read_and_a_spoiled_piece_is_verified_anew(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    payload = car[0]
    keys = [f"claim:{await make_deal(devnet, payload)}" for _ in range(2)]
    await devnet.advance(40)
    files = unsealed(devnet)
    right = files[0].read_bytes()
    async with running(write_config(devnet, tmp_path)) as sidecar:
        await sidecar.until(
            "/api/v1/sp/pieces",
            lambda found: [item["state"] for item in found["items"]] == ["verified"] * 2,
        )
        place = await sidecar.call("GET", f"/api/v1/sp/pieces/{keys[1]}/location")
        assert [copy["key"] for copy in place["copies"]] == [keys[1], keys[0]]
        assert [copy["sector"] for copy in place["copies"]] == [1, 0]

        spoiled = right[:1000] + bytes(40) + right[1040:]
        files[0].write_bytes(spoiled)
        status, data = await read(sidecar, keys[0])
        assert (status, data[: len(payload)]) == (200, payload)

        files[1].write_bytes(spoiled)
        status, data = await read(sidecar, keys[0])
        assert status == 409
        assert payload[900:1100] not in data
        checks = await sidecar.sidecar.pieces.get(keys[0])
        assert checks.check is not None
        assert checks.check.state != "verified"

        files[1].unlink()
        files[0].write_bytes(right)
        sidecar.sidecar.steps.wake("verify")
        await sidecar.until(
            f"/api/v1/sp/pieces/{keys[0]}", lambda item: item["state"] == "verified"
        )
        status, data = await read(sidecar, keys[1])  # its own sector's file is gone
        assert (status, data[: len(payload)]) == (200, payload)


async def test_a_piece_that_was_never_verified_is_not_given_out_if_it_is_wrong(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    key = f"claim:{await make_deal(devnet, car[0])}"
    await devnet.advance(40)
    (file,) = unsealed(devnet)
    data = file.read_bytes()
    file.write_bytes(data[:500] + b"\x01" + data[501:])
    async with running(write_config(devnet, tmp_path)) as sidecar:
        await sidecar.until("/api/v1/sp/pieces", lambda found: found["items"])
        status, text = await read(sidecar, key)
        assert (status, b"its bytes are not the piece" in text) == (409, True)
        await asyncio.sleep(0)
