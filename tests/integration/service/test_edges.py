"""The edges of the API: names it does not answer to, bodies too large, routes it has not; and how a start clears up."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import tarfile
from pathlib import Path
from uuid import UUID

import pytest

from devstack.stack import Devstack
from sp_plugin.config import load_config
from sp_plugin.executors.base import ExecutorSettings
from sp_plugin.executors.docker import DockerExecutor
from sp_plugin.opening import open_sidecar
from tests.integration.executors.test_docker import made, script
from tests.integration.service.conftest import SidecarAtWork, running, write_config

JOBS = "/api/v1/orchestrator/jobs"


async def answer(sidecar: SidecarAtWork, method: str, path: str, **headers: str) -> tuple[int, str]:
    """Status and message of a request with those headers (`_` for `-`)."""
    given = sidecar.headers | {name.replace("_", "-"): value for name, value in headers.items()}
    url = sidecar.sidecar.url + path
    async with sidecar._session.request(method, url, headers=given) as response:
        body = await response.json()
        assert response.headers["X-Request-Id"]
        return response.status, body.get("Message", "")


async def test_on_loopback_only_loopback_names_are_answered(devnet: Devstack, tmp_path: Path):
    async with running(write_config(devnet, tmp_path)) as sidecar:
        status, message = await answer(sidecar, "GET", JOBS, Host="evil.example")
        assert (status, "does not answer to the name 'evil.example'" in message) == (403, True)
        for host in ("localhost", "127.0.0.1:99", "[::1]:99", "LOCALHOST:1"):
            assert (await answer(sidecar, "GET", JOBS, Host=host))[0] == 200
        for host in (
            "",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "[",
            "a b",
        ):
            assert (await answer(sidecar, "GET", JOBS, Host=host))[0] in (400, 403)
        # health too: a page must not even learn what runs here
        assert (await answer(sidecar, "GET", "/health/livez", Host="evil.example"))[0] == 403


async def test_behind_a_proxy_the_public_name_is_answered(devnet: Devstack, tmp_path: Path):
    path = write_config(devnet, tmp_path)
    path.write_text(
        path.read_text().replace("http:\n", "http:\n  public_url: https://SP.example/api\n")
    )
    async with running(path) as sidecar:
        assert (await answer(sidecar, "GET", JOBS, Host="sp.example"))[0] == 200
        assert (await answer(sidecar, "GET", JOBS, Host="evil.example"))[0] == 403
        pause = "/api/v1/sp/payouts/pause"
        assert (await answer(sidecar, "POST", pause, Origin="https://sp.example"))[0] == 200
        assert (await answer(sidecar, "POST", pause, Origin="https://evil.example"))[0] == 403


async def test_a_page_of_another_origin_changes_nothing(devnet: Devstack, tmp_path: Path):
    async with running(write_config(devnet, tmp_path)) as sidecar:
        pause = "/api/v1/sp/payouts/pause"
        for origin in ("https://evil.example", "null", "garbage", "http://[", ""):
            status, message = await answer(sidecar, "POST", pause, Origin=origin)
            assert (status, "may not change anything" in message) == (403, True), origin
        assert (await answer(sidecar, "POST", pause, Origin=sidecar.sidecar.url))[0] == 200
        assert (await answer(sidecar, "GET", JOBS, Origin="https://evil.example"))[0] == 200


async def test_every_error_has_the_envelope(devnet: Devstack, tmp_path: Path):
    path = write_config(devnet, tmp_path)
    path.write_text(path.read_text().replace("http:\n", "http:\n  max_body_bytes: 1000\n"))
    async with running(path) as sidecar:
        for method, route, body, status, code in (
            ("GET", "/no/such/route", {}, 404, "NotFound"),
            ("DELETE", "/health/livez", {}, 405, "MethodNotAllowed"),
            ("PUT", JOBS, {"Job": "x" * 2000}, 413, "BadRequest"),
            ("PUT", JOBS, {"Job": 7}, 400, "BadRequest"),
            ("GET", "/api/v1/sp/results/e-none.tar.gz", {}, 404, "NotFound"),
            ("GET", "/api/v1/sp/results/..%2F..%2Fx.tar.gz", {}, 404, "NotFound"),
        ):
            error = await sidecar.call(method, route, status, **body)
            assert (error["Status"], error["Code"]) == (status, code)
            assert error["Message"]
        assert (await answer(sidecar, "GET", JOBS))[0] == 200


async def test_an_archive_is_made_for_whoever_fetches_first(
    devnet: Devstack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with running(write_config(devnet, tmp_path)) as sidecar:
        name = f"e-{UUID(int=7)}"
        home = sidecar.sidecar.data.results / name
        (home / "files").mkdir(parents=True)
        (home / "files" / "stdout").write_text("hello")

        async def fetch() -> tuple[int, bytes]:
            url = f"{sidecar.sidecar.url}/api/v1/sp/results/{name}.tar.gz"
            async with sidecar._session.get(url, headers=sidecar.headers) as response:
                return response.status, await response.read()

        def no_room(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as full:
            full.setattr("sp_plugin.publishers.local.pack_archive", no_room)
            status, body = await fetch()
        assert status == 503
        assert "No space left on device" in json.loads(body)["Message"]

        (first, one), (second, other) = await asyncio.gather(fetch(), fetch())
        assert (first, second) == (200, 200)
        assert one == other
        with tarfile.open(fileobj=io.BytesIO(one)) as tar:
            assert tar.getnames() == ["stdout"]
        assert sorted(path.name for path in home.iterdir()) == ["files", "results.tar.gz"]


async def test_what_a_killed_sidecar_left_is_cleared_at_the_start(devnet: Devstack, tmp_path: Path):
    path = write_config(devnet, tmp_path)
    data = tmp_path / "sp"
    for left in ("runs/e-1/results/x", "cache/volumes/.tmp-1/data", "resolving/resolve-1/y"):
        (data / left).mkdir(parents=True)
    half_made = [data / "results" / "e-1" / "results.tar.gz.tmp", data / "staging" / "x.car.tmp"]
    own = data / "results" / "e-1" / "files" / "out" / "of-the-program.tmp"
    for file in (*half_made, own):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    async with running(path) as sidecar:
        assert list((data / "runs").iterdir()) == []
        assert not any(file.exists() for file in half_made)
        assert own.exists()
        assert not (data / "resolving").exists()
        first = sidecar.sidecar.data.identity(), sidecar.sidecar.data.link_key()
    async with running(path) as sidecar:
        assert (sidecar.sidecar.data.identity(), sidecar.sidecar.data.link_key()) == first
    assert (data / "link.key").stat().st_mode & 0o777 == 0o600


async def test_a_job_whose_sidecar_was_killed_is_queued_again_at_the_start(
    devnet: Devstack, tmp_path: Path
):
    path = write_config(devnet, tmp_path)
    path.write_text(path.read_text().replace("jobs:\n", "jobs:\n  enabled: false\n"))
    async with open_sidecar(
        load_config(path, {})
    ) as killed:  # never run, so nothing ends its lease
        job = await killed.queue.submit({"Type": "batch", "Name": "x", "Tasks": []})
        await killed.queue.set_bundle(job.id, "00" * 32, {})
        await killed.queue.admit(job.id)
        assert await killed.queue.take(f"n-{killed.data.identity()}") is not None
    async with running(path) as sidecar:
        queue = sidecar.sidecar.queue
        (execution,) = await queue.executions_of(job.id)
        assert execution.lease_until is None
        assert str((await queue.job(job.id)).state) == "Queued"


@pytest.mark.docker
async def test_containers_of_this_data_dir_are_removed_at_the_start_and_others_are_not(
    devnet: Devstack, tmp_path: Path, image: str
):
    path = write_config(devnet, tmp_path)
    path.write_text(path.read_text().replace("jobs:\n", "jobs:\n  docker: {enabled: true}\n"))
    async with running(path) as sidecar:
        owner = f"sp-plugin-{sidecar.sidecar.data.identity()}"
    executors = [
        DockerExecutor(ExecutorSettings(cache_dir=tmp_path / "c", owner=name))
        for name in (owner, "sp-plugin-another")
    ]
    left = []
    for number, executor in enumerate(executors):
        directory = tmp_path / str(number)
        directory.mkdir()
        request = script(image, "sleep 1000", directory)
        left.append(await made(executor, image, request))
    try:
        async with running(path):
            ids = {
                item.id
                for item in await asyncio.to_thread(
                    executors[1]._engine.client.containers.list, all=True
                )
            }
        assert [container.id in ids for container in left] == [False, True]
    finally:
        await executors[1].remove_leftovers()
        for executor in executors:
            await executor.close()
