"""What the sidecar refuses, and that it goes on running when things around it break."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from devstack.stack import Devstack
from lotus_client.cid import Cid
from lotus_client.errors import LotusUnavailable, LotusWrongNetwork
from sp_plugin.config import Scope
from sp_plugin.errors import ConfigError, Conflict
from tests.integration.service.conftest import make_deal, running, write_config
from tests.integration.service.test_story import approve, job


async def test_another_network_is_refused(devnet: Devstack, tmp_path: Path):
    path = write_config(devnet, tmp_path, **{"network: devstack": "network: mainnet"})
    with pytest.raises(LotusWrongNetwork, match="devstack"):
        async with running(path):
            pass


async def test_an_admin_token_is_refused_unless_it_is_meant(devnet: Devstack, tmp_path: Path):
    path = write_config(devnet, tmp_path)
    (tmp_path / "token").write_text(devnet.token())
    with pytest.raises(ConfigError, match="permission admin"):
        async with running(path):
            pass
    allowed = path.read_text().replace("node:\n", "node:\n  allow_admin_token: true\n")
    path.write_text(allowed)
    async with running(path) as sidecar:
        assert await sidecar.call("GET", "/health/livez") == {"status": "alive"}


async def test_two_sidecars_never_share_a_data_dir(devnet: Devstack, tmp_path: Path):
    path = write_config(devnet, tmp_path)
    async with running(path):
        with pytest.raises(Conflict, match="another sidecar"):
            async with running(path):
                pass


async def test_a_node_that_is_down_at_the_start_is_said_so(devnet: Devstack, tmp_path: Path):
    path = write_config(devnet, tmp_path, **{f"tcp/{devnet.api_port}/": "tcp/1/"})
    with pytest.raises(LotusUnavailable):
        async with running(path):
            pass


async def test_scopes_decide_what_a_token_may_do(devnet: Devstack, tmp_path: Path):
    async with running(write_config(devnet, tmp_path)) as sidecar:
        jobs = "/api/v1/orchestrator/jobs"
        own = sidecar.headers
        sidecar.headers = {}
        answer = await sidecar.call("GET", jobs, 401)
        assert (answer["Status"], answer["Code"]) == (401, "Unauthorized")
        await sidecar.call("GET", "/api/v1/agent/alive")
        sidecar.headers = {"Authorization": "Bearer spt_wrong"}
        await sidecar.call("GET", jobs, 401)
        token = await sidecar.sidecar.tokens.create("reader", [Scope.READ], 1)
        sidecar.headers = {"Authorization": f"Bearer {token.reveal()}"}
        await sidecar.call("GET", jobs)
        await sidecar.call("PUT", jobs, 403, Job={})
        await sidecar.call("POST", "/api/v1/sp/payouts/pause", 403)
        sidecar.headers = own
        answer = await sidecar.call("PUT", jobs, 400, Job={"Type": "batch"})
        assert "Tasks" in answer["Message"]
        await sidecar.call("GET", jobs + "/j-nothing", 404)
        await sidecar.call("GET", "/no/such/route", 404)


async def test_a_piece_outside_every_dataset_is_refused_by_policy(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
):
    await make_deal(devnet, car[0])
    await devnet.advance(40)
    path = write_config(devnet, tmp_path)
    path.write_text(path.read_text().replace("clients: [", "clients: [t09999] #"))
    async with running(path) as sidecar:
        pieces = await sidecar.until("/api/v1/sp/pieces", lambda answer: answer["items"])
        cid = pieces["items"][0]["piece_cid"]
        payee = str(devnet.network.key("carol").address)
        answer = await sidecar.call("PUT", "/api/v1/orchestrator/jobs", 403, Job=job(cid, payee))
        assert (answer["Code"], "in no dataset" in answer["Message"]) == ("RefusedByPolicy", True)
        assert (await sidecar.call("GET", "/api/v1/orchestrator/jobs"))["Items"] == []


async def test_a_piece_with_one_flipped_byte_is_found_out_and_not_computed_over(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
):
    await make_deal(devnet, car[0])
    await devnet.advance(40)
    (unsealed,) = (devnet.data_dir / "miner" / "storage" / "unsealed").iterdir()
    with unsealed.open("r+b") as file:
        file.seek(5000)
        byte = file.read(1)[0]
        file.seek(5000)
        file.write(bytes([byte ^ 1]))
    async with running(write_config(devnet, tmp_path)) as sidecar:
        pieces = await sidecar.until(
            "/api/v1/sp/pieces", lambda a: [i["state"] for i in a["items"]] == ["mismatch"]
        )
        assert "expected CommP" in pieces["items"][0]["detail"]
        payee = str(devnet.network.key("carol").address)
        answer = await sidecar.call(
            "PUT", "/api/v1/orchestrator/jobs", Job=job(pieces["items"][0]["piece_cid"], payee)
        )
        await approve(devnet, sidecar, answer["JobID"], "ada", "ben")
        path = f"/api/v1/orchestrator/jobs/{answer['JobID']}"
        done = await sidecar.until(
            path, lambda a: a["Job"]["State"]["StateType"] in ("Completed", "Failed")
        )
        assert done["Job"]["State"]["StateType"] == "Failed"
        assert "mismatch" in done["Job"]["State"]["Message"]


async def test_the_sidecar_outlives_its_node_and_says_why_it_is_not_ready(tmp_path: Path):
    async with AsyncExitStack() as node:
        net = await node.enter_async_context(Devstack())
        async with running(write_config(net, tmp_path)) as sidecar:
            await sidecar.until("/health/readyz", lambda answer: answer["ready"])
            await node.aclose()
            body = await sidecar.until("/health/readyz", lambda answer: not answer["ready"], 60)
            parts = {part["name"]: part for part in body["parts"]}
            assert "the node cannot be reached" in parts["follow"]["reason"]
            await sidecar.call("GET", "/health/livez")
            await sidecar.call("GET", "/api/v1/orchestrator/jobs")


async def test_content_on_a_denylist_is_not_given_to_a_job_and_the_list_may_change_at_any_time(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
):
    await make_deal(devnet, car[0])
    await devnet.advance(40)
    denied = tmp_path / "bad.deny"
    denied.write_text("version: 1\n---\n# nothing yet\n")
    path = write_config(devnet, tmp_path)
    path.write_text(path.read_text() + f"policy:\n  denylists: [{denied}]\n")
    payee = str(devnet.network.key("carol").address)
    async with running(path) as sidecar:
        pieces = await sidecar.until(
            "/api/v1/sp/pieces", lambda a: [i["state"] for i in a["items"]] == ["verified"]
        )
        wanted = job(pieces["items"][0]["piece_cid"], payee)
        ends = []
        for rules in ("", f"/ipfs/{car[1]}/*\n", f"!/ipfs/{car[1]}/*\n"):
            denied.write_text(denied.read_text() + rules)
            submitted = await sidecar.call("PUT", "/api/v1/orchestrator/jobs", Job=wanted)
            await approve(devnet, sidecar, submitted["JobID"], "ada", "ben")
            done = await sidecar.until(
                f"/api/v1/orchestrator/jobs/{submitted['JobID']}",
                lambda answer: answer["Job"]["State"]["StateType"] in ("Completed", "Failed"),
            )
            ends.append(done["Job"]["State"])
        assert [end["StateType"] for end in ends] == ["Completed", "Failed", "Completed"]
        assert "is on the denylist bad.deny:4: refused" in ends[1]["Message"]


async def test_a_denylist_that_is_not_there_stops_the_start(devnet: Devstack, tmp_path: Path):
    path = write_config(devnet, tmp_path)
    path.write_text(path.read_text() + "policy:\n  denylists: [nowhere.deny]\n")
    with pytest.raises(ConfigError, match=r"policy\.denylists: .*nowhere\.deny"):
        async with running(path):
            pass


async def test_a_container_engine_that_is_away_is_no_fault_of_the_job(
    devnet: Devstack, tmp_path: Path
) -> None:
    away = {
        "  minimum_piece_bytes: 256": "  minimum_piece_bytes: 256\n"
        f"  docker: {{enabled: true, socket: 'unix://{tmp_path}/away.sock'}}"
    }
    payee = str(devnet.network.key("carol").address)
    values = job("baga6ea4seaq", payee)
    task = values["Tasks"][0]
    task["Engine"] = {"Type": "docker", "Params": {"Image": "sha256:" + "ab" * 32}}
    task["InputSources"] = []
    async with running(write_config(devnet, tmp_path, **away)) as sidecar:
        answer = await sidecar.call("PUT", "/api/v1/orchestrator/jobs", 503, Job=values)
        assert answer["Code"] == "ServiceUnavailable"
        assert "engine" in answer["Message"]
        assert "hand the job in again later" in answer["Message"]
        listed = await sidecar.call("GET", "/api/v1/orchestrator/jobs")
        assert listed["Items"] == []
