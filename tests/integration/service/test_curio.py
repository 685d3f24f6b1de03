"""Beside Curio: no miner API and no market index. Offsets come from the chain, bytes from `/piece` or a read-only mount."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from devstack.flavours import Flavour
from devstack.stack import Devstack, DevstackConfig
from devstack.storage import FileType
from lotus_client.cid import Cid
from tests.integration.service.conftest import SidecarAtWork, make_deal, running, write_config
from tests.integration.service.test_story import approve, job

PADDING = b"a plain piece that comes first in the sector" * 40


@pytest.fixture
async def curio() -> AsyncIterator[Devstack]:
    config = DevstackConfig(flavour=Flavour.CURIO, storage_paths=2)
    async with Devstack(config) as net:
        yield net


class Front:
    """Stands before Curio's market server; `refuse` may answer a request in its place."""

    def __init__(self, behind: str, refuse: Callable[[int], web.Response | None]) -> None:
        self.behind, self.refuse, self.asked = behind, refuse, 0

    async def handle(self, request: web.Request) -> web.Response:
        self.asked += 1
        if (refused := self.refuse(self.asked)) is not None:
            return refused
        headers = {key: request.headers[key] for key in ("Range",) if key in request.headers}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.get(self.behind + request.path_qs, headers=headers) as answer,
        ):
            kept = {
                key: answer.headers[key]
                for key in ("Content-Range", "ETag")
                if key in answer.headers
            }
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)


async def serve(front: Front) -> TestServer:
    app = web.Application()
    app.router.add_get("/{path:.*}", front.handle)
    server = TestServer(app)
    await server.start_server()
    return server


def configure(net: Devstack, folder: Path, provider: dict[str, Any]) -> Path:
    """The usual configuration with other places of pieces."""
    path = write_config(net, folder)
    body = yaml.safe_load(path.read_text())
    body["provider"] = {"actor": body["provider"]["actor"], **provider}
    body["payouts"]["minimum_payout_fil"] = "0.000000001"
    path.write_text(yaml.safe_dump(body))
    return path


async def deal_behind_another_piece(net: Devstack, payload: bytes) -> int:
    """A claimed piece whose offset is not 0, since a plain piece lies before it."""
    add = net.provider.add_piece

    async def with_another(data: bytes, number: Any) -> Any:
        staged = [
            await net.provider.stage_piece(PADDING),
            await net.provider.stage_piece(data, number),
        ]
        return await net.provider.add_sector(staged)

    net.provider.add_piece = with_another  # type: ignore[method-assign,assignment]
    try:
        return await make_deal(net, payload)
    finally:
        net.provider.add_piece = add  # type: ignore[method-assign]


async def compute(net: Devstack, sidecar: SidecarAtWork, piece_cid: str) -> None:
    """An approved job over the piece, to its end."""
    payee = str(net.network.key("carol").address)
    submitted = await sidecar.call("PUT", "/api/v1/orchestrator/jobs", Job=job(piece_cid, payee))
    await approve(net, sidecar, submitted["JobID"], "ada", "ben")
    done = await sidecar.until(
        f"/api/v1/orchestrator/jobs/{submitted['JobID']}?include=executions",
        lambda answer: answer["Job"]["State"]["StateType"] in ("Completed", "Failed"),
    )
    assert done["Job"]["State"]["StateType"] == "Completed", done["Job"]["State"]
    assert done["Executions"]["Items"][0]["RunOutput"]["Stdout"] == "hello\n"


def unsealed(net: Devstack, sector: int) -> Path:
    return net.provider.storage.file(FileType.UNSEALED, net.provider.miner.actor_id, sector)  # type: ignore[arg-type]


async def claimed(sidecar: SidecarAtWork, state: str) -> dict[str, Any]:
    answer = await sidecar.until(
        "/api/v1/sp/pieces",
        lambda found: [
            item["state"] for item in found["items"] if item["claim_id"] is not None
        ] == [state],
    )  # fmt: skip
    return next(item for item in answer["items"] if item["claim_id"] is not None)


async def test_a_job_runs_over_bytes_of_the_piece_server_alone_though_it_is_busy_at_first(
    curio: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    number = await deal_behind_another_piece(curio, car[0])
    await curio.advance(40)
    busy = Front(
        curio.market_url,
        lambda count: web.Response(status=429, headers={"Retry-After": "1"}) if count < 3 else None,
    )
    server = await serve(busy)
    url = str(server.make_url("")).rstrip("/")
    provider = {"sources": [{"kind": "http", "options": {"url": url}}]}
    try:
        async with running(configure(curio, tmp_path, provider)) as sidecar:
            piece = await claimed(sidecar, "verified")
            assert (piece["claim_id"], piece["roots"]) == (number, [str(car[1])])
            assert piece["offset"] > 0  # by the order of pieces in the activating message
            place = await sidecar.call("GET", f"/api/v1/sp/pieces/{piece['key']}/location")
            (copy,) = place["copies"]
            assert (copy["offset_known_by"], copy["proven"]) == ("manifest", True)
            assert [item["readable"] for item in copy["sources"]] == [True]
            await compute(curio, sidecar, piece["piece_cid"])
    finally:
        await server.close()
    assert busy.asked >= 3


async def test_a_piece_that_the_server_has_only_sealed_is_read_from_the_second_storage_path(
    curio: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    await deal_behind_another_piece(curio, car[0])
    await curio.advance(40)
    (sector,) = curio.provider.sectors
    mounts = [tmp_path / "one", tmp_path / "two"]
    for mount in mounts:
        (mount / "unsealed").mkdir(parents=True)
    file = unsealed(curio, sector)
    (mounts[0] / "unsealed" / file.name).touch()
    shutil.move(file, mounts[1] / "unsealed" / file.name)
    for path in (mounts[1] / "unsealed").iterdir():
        path.chmod(0o444)
    provider = {
        "storage_paths": [str(mount) for mount in mounts],
        "sources": [{"kind": "http", "options": {"url": curio.market_url}}],
    }
    async with running(configure(curio, tmp_path, provider)) as sidecar:
        piece = await claimed(sidecar, "verified")
        place = await sidecar.call("GET", f"/api/v1/sp/pieces/{piece['piece_cid']}/location")
        files, server = place["copies"][0]["sources"]
        assert files["readable"]
        assert (server["readable"], server["reason"]) == (False, "not_unsealed")
        await compute(curio, sidecar, piece["piece_cid"])


async def test_unsealing_names_curios_command_runs_nothing_and_finds_the_copy_when_it_comes(
    curio: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    await deal_behind_another_piece(curio, car[0])
    await curio.advance(40)
    (sector,) = curio.provider.sectors
    unsealed(curio, sector).unlink()
    provider = {"sources": [{"kind": "http", "options": {"url": curio.market_url}}]}
    async with running(configure(curio, tmp_path, provider)) as sidecar:
        sidecar.sidecar.unsealing._look_seconds = 0.1
        piece = await claimed(sidecar, "unavailable")
        path = f"/api/v1/sp/pieces/{piece['key']}"
        place = await sidecar.call("GET", f"{path}/location")
        assert place["advice"].endswith(f"`sp-plugin pieces unseal {piece['key']}`")
        plan = await sidecar.call("GET", f"{path}/unseal-plan")
        miner = str(curio.provider.miner)
        assert plan["command"] == f"curio unseal set-target-state {miner} {sector} true"
        await sidecar.call("POST", f"{path}/work/unseal")
        await asyncio.sleep(0.5)
        assert not unsealed(curio, sector).exists()
        assert (await sidecar.call("GET", f"{path}/work/unseal"))["running"]
        await curio.provider.unseal(sector)
        ended = await sidecar.until(f"{path}/work/unseal", lambda work: not work["running"])
        assert not ended["error"]
        assert (await claimed(sidecar, "verified"))["key"] == piece["key"]
