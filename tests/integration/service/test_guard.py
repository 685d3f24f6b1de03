"""A sidecar on a proving host: its jobs stand still for a proof, give way to a late one, and say why."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from devstack.chain import NetworkConfig
from devstack.stack import Devstack, DevstackConfig
from lotus_client.proving import DeadlineInfo
from tests.integration.executors.wasm_programs import COUNT, SLEEP
from tests.integration.jobs.parts import wasm_job
from tests.integration.service.conftest import SidecarAtWork, make_deal, running, write_config
from tests.integration.service.test_commands import sp_plugin
from tests.integration.service.test_story import approve

GUARD = "/api/v1/sp/guard"


@pytest.fixture
def devnet_config() -> DevstackConfig:
    """A network whose blocks are of today, and a little ahead of the clock."""
    return DevstackConfig(network=NetworkConfig(genesis_timestamp=int(time.time())))


async def new_sector(net: Devstack) -> int:
    """The deadline of a sector that is sealed, and has its first proof before it."""
    if not net.provider.sectors:
        await net.provider.add_sector()
    (number,) = net.provider.sectors
    while (place := net.network.state().sector_place(net.provider.miner, number)) is None:
        await net.advance(10)
    return place.deadline


def prover_config(net: Devstack, directory: Path, **changes: str) -> Path:
    changes["host_role: compute"] = "host_role: prover"
    return write_config(net, directory, **changes)


async def before_challenge(net: Devstack, deadline: int, sidecar: SidecarAtWork) -> DeadlineInfo:
    """The deadline's next window, once the chain is well before its challenge."""
    node = sidecar.sidecar.node
    info = await node.proving_deadline(sidecar.sidecar.provider)
    window = info.after((deadline - info.index - 2) % 48 + 2)
    await net.advance(window.challenge - 15 - info.current_epoch)
    await sidecar.until(GUARD, lambda answer: answer["state"] == "run")
    return window


async def submit(net: Devstack, sidecar: SidecarAtWork, body: str) -> str:
    """An approved job that does `body`."""
    job = wasm_job(body)
    made = await sidecar.call("PUT", "/api/v1/orchestrator/jobs", Job=job)
    await approve(net, sidecar, made["JobID"], "ada", "ben")
    return str(made["JobID"])


def job_path(job_id: str) -> str:
    return f"/api/v1/orchestrator/jobs/{job_id}?include=history,executions"


def state_of(answer: Any) -> str:
    return str(answer["Job"]["State"]["StateType"])


def guard_notes(answer: Any) -> list[str]:
    return [
        item["Event"]["Message"]
        for item in answer["History"]["Items"]
        if item["Event"]["Topic"] == "Guard"
    ]


async def root_of(sidecar: SidecarAtWork, job_id: str) -> str:
    (execution,) = await sidecar.sidecar.queue.executions_of(job_id)
    return str(execution.run_record["output"]["root_cid"])


async def test_a_job_stands_still_from_the_challenge_until_the_proof_is_on_chain(
    devnet: Devstack, tmp_path: Path
) -> None:
    deadline = await new_sector(devnet)
    config = prover_config(devnet, tmp_path, **{"start_epoch: 0": "start_epoch: null"})
    async with running(config) as sidecar:
        window = await before_challenge(devnet, deadline, sidecar)
        whole = await submit(devnet, sidecar, COUNT)
        await sidecar.until(job_path(whole), lambda answer: state_of(answer) == "Completed")
        halved = await submit(devnet, sidecar, COUNT)
        await sidecar.until(job_path(halved), lambda answer: state_of(answer) == "Running")
        await devnet.advance(window.challenge - devnet.network.head.height)
        frozen = await sidecar.until(GUARD, lambda answer: answer["state"] == "frozen")
        (due,) = [one for one in frozen["deadlines"] if one["index"] == deadline]
        assert (due["challenge_epoch"], due["unproven"]) == (window.challenge, [0])
        assert f"deadline {deadline}" in frozen["reasons"][0]
        await asyncio.sleep(1)
        job = await sidecar.call("GET", job_path(halved))
        assert (state_of(job), len(guard_notes(job))) == ("Running", 1)
        assert guard_notes(job)[0].startswith("frozen: partition 0 of deadline")
        ready = await sidecar.call("GET", "/health/readyz")
        (part,) = [part for part in ready["parts"] if part["name"] == "guard"]
        assert (part["ready"], part["note"].partition(":")[0]) == (True, "frozen")

        code, out, _ = await sp_plugin(config, "guard", "show")
        assert (code, out.splitlines()[0].partition(" (")[0]) == (0, "jobs stand still")
        assert f"open from {window.open} to {window.close}, 1 of 1 partitions" in out
        while devnet.network.head.height < window.open + 5:
            await devnet.advance(1)
        done = await sidecar.until(job_path(halved), lambda answer: state_of(answer) != "Running")
        assert (state_of(done), guard_notes(done)[1:]) == ("Completed", ["goes on"])
        assert await root_of(sidecar, halved) == await root_of(sidecar, whole)
        assert devnet.network.head.height < window.close - 20


async def test_a_late_proof_ends_a_job_and_it_is_done_again_when_the_window_is_over(
    devnet: Devstack, tmp_path: Path
) -> None:
    deadline = await new_sector(devnet)
    config = prover_config(devnet, tmp_path, **{"start_epoch: 0": "start_epoch: null"})
    async with running(config) as sidecar:
        window = await before_challenge(devnet, deadline, sidecar)
        devnet.sector_faults.skip_posts(1)
        job_id = await submit(devnet, sidecar, SLEEP.replace("30000000000", "3000000000"))
        await sidecar.until(job_path(job_id), lambda answer: state_of(answer) == "Running")
        await devnet.advance(window.close - 20 - devnet.network.head.height)
        stopped = await sidecar.until(GUARD, lambda answer: answer["state"] == "stop")
        assert f"closes at epoch {window.close}" in stopped["reasons"][0]
        job = await sidecar.until(job_path(job_id), lambda answer: state_of(answer) == "Queued")
        (execution,) = job["Executions"]["Items"]
        assert "ended to give way" in execution["ComputeState"]["Message"]
        found = await sidecar.sidecar.queue.job(job_id)
        assert found.attempts == 0
        await devnet.advance(window.close - devnet.network.head.height)
        job = await sidecar.until(job_path(job_id), lambda answer: state_of(answer) == "Completed")
        assert len(job["Executions"]["Items"]) == 2
        changes = (await sidecar.call("GET", GUARD))["changes"]
        assert [change["state"] for change in changes[:2]] == ["run", "stop"]


async def test_nothing_is_verified_or_unsealed_while_a_proof_is_due(
    devnet: Devstack, tmp_path: Path
) -> None:
    await make_deal(devnet, b"some data of a client" * 500)
    deadline = await new_sector(devnet)
    miner = tmp_path / "miner-api"
    miner.write_text(devnet.miner_api_info)
    miner.chmod(0o600)
    config = prover_config(
        devnet,
        tmp_path,
        **{
            "http:\n": f"  miner: {{api_info_file: {miner}, allow_admin_token: true}}\n"
            "  unseal: {enabled: true}\nhttp:\n",
        },
    )
    async with running(config) as sidecar:
        window = await before_challenge(devnet, deadline, sidecar)
        found = await sidecar.until("/api/v1/sp/pieces", lambda answer: answer["items"])
        key = found["items"][0]["key"]
        await devnet.advance(window.challenge - devnet.network.head.height)
        await sidecar.until(GUARD, lambda answer: answer["state"] == "frozen")
        for path in devnet.provider.storage.paths:
            for file in (path.root / "unsealed").iterdir():
                file.unlink()
        work = f"/api/v1/sp/pieces/{key}/work"
        refused = await sidecar.call("POST", f"{work}/unseal", 409)
        assert "nothing is unsealed now" in refused["Message"]
        begun = await sidecar.call("POST", f"{work}/verify")
        await asyncio.sleep(0.5)
        begun = await sidecar.call("GET", f"{work}/verify")
        assert (begun["running"], begun["phase"].partition(":")[0]) == (True, "waiting")
        await devnet.advance(window.open + 5 - devnet.network.head.height)
        await sidecar.until(f"{work}/verify", lambda answer: not answer["running"])
