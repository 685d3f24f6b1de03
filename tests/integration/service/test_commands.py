"""Commands an operator types, as processes beside a running sidecar: their exit codes and what they say."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from deals.kernels import all_kernels
from devstack.auth import Permission
from devstack.stack import Devstack
from lotus_client.cid import Cid
from lotus_client.messages import METHOD_SEND, Message, SignedMessage
from lotus_client.types import AttoFil, Epoch
from sp_plugin.jobs.states import ExecutionState
from sp_plugin.ledger import PAYOUT_WALLET, PROVIDER, Draft, EntryKind, Posting, message_ref
from sp_plugin.payouts.funding import FundingReport
from sp_plugin.store.jobs import ExecutionResult
from sp_plugin.store.ledger import LedgerRepository
from sp_plugin.store.migrate import open_store
from tests.integration.service.conftest import make_deal, running, write_config
from tests.integration.service.test_story import approve, job

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[3]


async def sp_plugin(config: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sp_plugin", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=config.parent,
        env={"SP_PLUGIN_CONFIG": str(config), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    out, err = await process.communicate()
    assert b"Traceback" not in err, err.decode()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def answer(config: Path, *arguments: str, code: int = 0) -> Any:
    """The JSON a command prints, with that exit code."""
    found, out, err = await sp_plugin(config, *arguments, "--json")
    assert found == code, (arguments, out, err)
    return json.loads(out)


async def test_init_check_and_doctor_lead_to_a_sidecar_that_starts(
    devnet: Devstack, tmp_path: Path
):
    token = tmp_path / "token"
    token.write_text(devnet.token())
    token.chmod(0o600)
    config = tmp_path / "sp-plugin.yaml"
    code, out, _ = await sp_plugin(
        config, "init", "--actor", str(devnet.provider.miner), "--data-dir", "data",
        "--network", "devstack", "--endpoint", f"/ip4/127.0.0.1/tcp/{devnet.api_port}/http",
        "--token-file", str(token),
        "--storage-path", str(devnet.data_dir / "miner" / "storage"), str(config),
    )  # fmt: skip
    assert code == 0
    assert "sp-plugin doctor" in out
    code, out, _ = await sp_plugin(config, "config", "check")
    assert (code, "note: datasets is empty" in out) == (0, True)
    code, out, _ = await sp_plugin(config, "doctor")
    assert (code, "FAIL  network and token" in out, "create-token" in out) == (1, True, True)
    token.write_text(devnet.token(Permission.READ))
    code, out, _ = await sp_plugin(config, "doctor")
    assert (code, "nothing is wrong" in out) == (0, True), out
    assert "1 storage path with unsealed/" in out
    # each process measures for itself, so on a busy machine they may choose differently
    names = "|".join(kernel.name for kernel in all_kernels())
    assert re.search(rf"ok +CommP kernel: ({names})\b", out), out
    code, _, err = await sp_plugin(config, "ledger", "check", "--offline")
    assert (code, "start with `sp-plugin run`" in err) == (1, True)
    async with running(config) as sidecar:
        await sidecar.until("/health/readyz", lambda body: body["ready"])


async def test_what_is_held_and_what_a_job_brought_can_be_looked_at(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
):
    number = await make_deal(devnet, car[0])
    await devnet.advance(40)
    config = write_config(devnet, tmp_path)
    async with running(config) as sidecar:
        pieces = await sidecar.until(
            "/api/v1/sp/pieces", lambda body: [i["state"] for i in body["items"]] == ["verified"]
        )
        claim = await answer(config, "claims", "show", str(number))
        assert (claim["claim_id"], claim["state"]) == (number, "verified")
        assert claim["payload_size"] == len(car[0])
        code, _, err = await sp_plugin(config, "claims", "show", "999")
        assert (code, err) == (1, "error: claim of this provider not found: 999\n")
        assert (await answer(config, "datasets", "show", "open"))["pieces"] == [claim["key"]]

        payee = str(devnet.network.key("carol").address)
        (tmp_path / "job.json").write_text(json.dumps(job(pieces["items"][0]["piece_cid"], payee)))
        job_id = (await answer(config, "job", "submit", str(tmp_path / "job.json")))["JobID"]
        key = tmp_path / "ada.key"
        key.write_text(devnet.network.key("ada").secret.hex())
        key.chmod(0o600)
        signed = await answer(config, "approvals", "sign", job_id, "--key-file", str(key), "--yes")
        assert signed["approver"] == str(devnet.network.key("ada").address)
        code, out, _ = await sp_plugin(config, "approvals", "verify", job_id)
        assert (code, out.splitlines()[-1]) == (3, "not approved")
        await approve(devnet, sidecar, job_id, "ben")
        done = await answer(config, "job", "wait", job_id, "--timeout", "60")
        assert done["State"]["StateType"] == "Completed"
        assert (await answer(config, "approvals", "verify", job_id))["approved"]

        (listed,) = await answer(config, "results", "list")
        shown = await answer(config, "results", "show", listed["execution_id"][:12])
        assert shown["record"]["inputs"][1]["piece_key"] == claim["key"]
        code, out, _ = await sp_plugin(config, "results", "show", listed["execution_id"])
        assert (code, claim["key"] in out) == (0, True)
        assert (await sp_plugin(config, "results", "show", "e-none"))[0] == 1
        (file,) = await answer(config, "job", "get", job_id, "-o", str(tmp_path))
        assert Path(file["file"]).name == f"{listed['execution_id']}.tar.gz"
        assert file["size"] > 0
        assert (await answer(config, "job", "describe", job_id))["Job"]["ID"] == job_id
        assert [item["ID"] for item in await answer(config, "job", "list")] == [job_id]


async def test_a_job_that_waits_for_its_next_attempt_is_tried_when_somebody_says_so(
    devnet: Devstack, tmp_path: Path
):
    config = write_config(devnet, tmp_path, **{"jobs:\n": "jobs:\n  enabled: false\n"})
    async with running(config) as sidecar:
        queue = sidecar.sidecar.queue
        waiting = (await queue.submit({"Type": "batch", "Name": "x", "Tasks": []})).id
        await queue.set_bundle(waiting, "00" * 32, {})
        await queue.admit(waiting)
        lease = await queue.take("n-elsewhere")
        assert lease is not None
        away = ExecutionResult(
            state=ExecutionState.FAILED, outcome="publish_failed", message="away"
        )
        await queue.finish(lease, away, retry=True, most_attempts=14, wait_seconds=3600)
        code, _, err = await sp_plugin(config, "job", "retry", waiting)
        assert (code, err) == (0, "")
        assert (await queue.job(waiting)).not_before is None
        code, _, err = await sp_plugin(config, "job", "retry", waiting)
        assert code == 1
        assert "does not wait for another attempt" in err


async def test_tokens_are_shown_once_and_removed(devnet: Devstack, tmp_path: Path):
    config = write_config(devnet, tmp_path)
    made = await answer(config, "token", "create", "ci", "--scope", "read")
    assert made["token"].startswith("spt_")
    listed = await answer(config, "token", "list")
    assert listed == [{"name": "ci", "scopes": ["read"]}]
    assert (await sp_plugin(config, "token", "create", "x", "--scope", "root"))[0] == 2
    assert (await sp_plugin(config, "token", "remove", "ci"))[0] == 0
    assert (await sp_plugin(config, "token", "remove", "ci"))[0] == 1


async def test_the_ledger_is_compared_with_the_wallet_on_chain(devnet: Devstack, tmp_path: Path):
    config = write_config(devnet, tmp_path)
    await devnet.advance(950)
    async with running(config) as sidecar:
        await sidecar.until("/api/v1/sp/ledger", lambda body: body["entries"])
    checked = await answer(config, "ledger", "check")
    assert (checked["ok"], " FIL on chain at epoch " in checked["wallet"]) == (True, True)
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/sp/sp-plugin.db")
    made_up = Draft(
        "funding:x", EntryKind.FUNDING, sidecar_epoch(checked),
        (Posting(PAYOUT_WALLET, AttoFil(7)), Posting(PROVIDER, AttoFil(-7))),
        (message_ref(Cid.of_sha2_256(0x71, b"never sent")),),
    )  # fmt: skip
    await LedgerRepository(store).append([made_up])
    await store.close()
    checked = await answer(config, "ledger", "check", code=1)
    assert "-7 attoFIL moved without an entry" in checked["problems"][0]["message"]
    assert (await answer(config, "ledger", "check", "--offline"))["ok"]
    config.write_text(config.read_text().replace(f"tcp/{devnet.api_port}/", "tcp/1/"))
    assert (await sp_plugin(config, "ledger", "check"))[0] == 4
    assert (await sp_plugin(config, "ledger", "check", "--offline"))[0] == 0


def sidecar_epoch(checked: dict[str, Any]) -> Any:
    return int(checked["wallet"].split(" at epoch ")[1].split(",")[0])


async def foreign_message(net: Devstack, nonce: int) -> None:
    """Somebody else sends from the payout wallet."""
    bob = net.network.key("bob")
    message = Message(
        net.network.key("alice").address, bob.address, nonce=nonce, value=AttoFil(1),
        method=METHOD_SEND, gas_limit=2_000_000, gas_fee_cap=AttoFil(10**9),
        gas_premium=AttoFil(10**5),
    )  # fmt: skip
    net.network.mpool.push(SignedMessage(message, bob.sign(message.cid.raw)))
    await net.advance(2)


async def test_a_foreign_message_halts_payouts_until_its_nonce_is_accepted(
    devnet: Devstack, tmp_path: Path
):
    config = write_config(devnet, tmp_path)
    async with running(config) as sidecar:
        await sidecar.call("POST", "/api/v1/sp/payouts/send")
        assert (await answer(config, "payouts", "reconcile"))["fits"]
        assert (await sp_plugin(config, "payouts", "reconcile", "--accept-nonce", "0"))[0] == 1
        await foreign_message(devnet, 0)
        report = await sidecar.call("POST", "/api/v1/sp/payouts/send")
        assert report["stopped"].startswith("halted: ")
        found = await answer(config, "payouts", "reconcile", code=1)
        assert (found["next_nonce"], found["expected_nonce"]) == (1, 0)
        code, out, _ = await sp_plugin(config, "payouts", "reconcile")
        assert (code, "--accept-nonce 1" in out) == (1, True)
        code, _, err = await sp_plugin(config, "payouts", "reconcile", "--accept-nonce", "5")
        assert (code, "next nonce is 1, not 5" in err) == (1, True)
        code, _, err = await sp_plugin(config, "payouts", "reconcile", "--accept-nonce", "1")
        assert (code, "final yet" in err) == (
            1,
            True,
        )  # a reorg could still make it another message
        await devnet.advance(902)
        assert (await answer(config, "payouts", "reconcile", "--accept-nonce", "1"))["fits"]
        report = await sidecar.call("POST", "/api/v1/sp/payouts/send")
        assert report["stopped"] == ""


async def test_what_is_accepted_before_the_wallet_was_looked_at_again_is_booked(
    devnet: Devstack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = write_config(devnet, tmp_path)
    async with running(config) as sidecar:
        treasury = sidecar.sidecar.treasury
        await sidecar.until("/api/v1/sp/ledger", lambda body: body["entries"])
        watcher = treasury.funding
        assert watcher is not None
        step = watcher.step

        async def nothing_new() -> FundingReport:
            return FundingReport((), Epoch(0))

        monkeypatch.setattr(watcher, "step", nothing_new)
        await foreign_message(devnet, 0)
        await devnet.advance(902)
        assert (await answer(config, "payouts", "reconcile", "--accept-nonce", "1"))["fits"]
        monkeypatch.setattr(watcher, "step", step)
        assert not await treasury.funding_step()
        assert (await sidecar.call("POST", "/api/v1/sp/payouts/send"))["stopped"] == ""


async def test_what_is_accepted_while_the_wallet_is_watched_stays_accepted(
    devnet: Devstack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = write_config(devnet, tmp_path)
    async with running(config) as sidecar:
        treasury = sidecar.sidecar.treasury
        await sidecar.until("/api/v1/sp/ledger", lambda body: body["entries"])
        await foreign_message(devnet, 0)
        watcher = treasury.funding
        assert watcher is not None
        looking, explain = asyncio.Event(), watcher._explain

        async def slowly(*arguments: Any) -> Any:
            looking.set()
            await asyncio.sleep(0.5)
            return await explain(*arguments)

        monkeypatch.setattr(watcher, "_explain", slowly)
        await devnet.advance(902)
        step = asyncio.create_task(treasury.funding_step())
        await looking.wait()
        found = await answer(config, "payouts", "reconcile", "--accept-nonce", "1")
        await step
        assert found["fits"]
        assert (await answer(config, "payouts", "reconcile"))["fits"]


async def test_the_rest_of_the_money_commands_answer(devnet: Devstack, tmp_path: Path):
    config = write_config(devnet, tmp_path)
    async with running(config) as sidecar:
        await sidecar.until("/api/v1/sp/status", lambda body: body.get("followed_epoch") == 0)
        assert (await answer(config, "earnings", "backfill", "--from", "0", "--to", "9"))[
            "read"
        ] == 0
        assert (await sp_plugin(config, "earnings", "backfill", "--from", "9", "--to", "0"))[0] == 2
        payee = str(devnet.network.key("carol").address)
        statement = await answer(config, "statement", payee)
        (tmp_path / "statement.json").write_text(json.dumps(statement))
        assert (await answer(config, "audit", str(tmp_path / "statement.json")))["ok"]
        statement["totals"]["paid"] = "1"
        (tmp_path / "statement.json").write_text(json.dumps(statement))
        assert (await sp_plugin(config, "audit", str(tmp_path / "statement.json")))[0] == 1
        assert (await sp_plugin(config, "statement", "nonsense"))[0] == 2
        shown = await answer(config, "payouts", "status")
        assert shown["wallet"]["enabled"]


async def test_bytes_of_a_verified_piece_are_verified_again_when_they_are_read(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
):
    await make_deal(devnet, car[0])
    await devnet.advance(40)
    config = write_config(devnet, tmp_path)
    async with running(config) as sidecar:
        (piece,) = (
            await sidecar.until(
                "/api/v1/sp/pieces",
                lambda body: [i["state"] for i in body["items"]] == ["verified"],
            )
        )["items"]
        part, whole, wrong = (tmp_path / name for name in ("part", "whole", "wrong"))
        read = ("pieces", "read", piece["key"])
        assert (await answer(config, *read, str(whole)))["size"] == piece[
            "padded_size"
        ] // 128 * 127
        assert whole.read_bytes().rstrip(b"\0") == car[0].rstrip(b"\0")
        await answer(config, *read, str(part), "--offset", "1000", "--length", "77")
        assert part.read_bytes() == car[0][1000:1077]
        (unsealed,) = (devnet.data_dir / "miner" / "storage" / "unsealed").iterdir()
        with unsealed.open("r+b") as file:
            file.seek(5000)
            byte = file.read(1)[0]
            file.seek(5000)
            file.write(bytes([byte ^ 1]))
        code, _, err = await sp_plugin(config, *read, str(wrong))
        assert (code, "are not those of the piece that was verified" in err) == (1, True)
        assert not wrong.exists()
