"""Results of two jobs and a stranger's CAR, sealed as one aggregate: each author is paid for its own bytes, and can prove them."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest

from deals.aggregates import commitment_of_file, plan_aggregate, write_aggregate
from deals.unixfs_write import pack_car
from devstack.chain import NetworkConfig
from devstack.chain.forks import ForkShape
from devstack.stack import Devstack, DevstackConfig
from lotus_client.cid import Cid
from sp_plugin.audit.statement import audit_statement
from tests.integration.service.conftest import SidecarAtWork, make_deal, running, write_config
from tests.integration.service.test_commands import answer, sp_plugin
from tests.integration.service.test_story import HELLO, approve, job

DATASETS = """\
datasets:
  - name: inside
    licence: CC0-1.0
    steward: Open Data Trust
    consent: public
    selector:
      pieces: [{piece}]
  - name: open
"""


@pytest.fixture(scope="session")
def devnet_config() -> DevstackConfig:
    """Beside a big miner, so that the provider wins some of the elections and not most of them."""
    return DevstackConfig(network=NetworkConfig(genesis_sectors=960))


def aggregate_of(folder: Path, *cars: bytes) -> bytes:
    """The bytes of an aggregate of these CARs."""
    folder.mkdir()
    files = [folder / f"{number}.car" for number in range(len(cars))]
    for file, car in zip(files, cars, strict=True):
        file.write_bytes(car)
    out = io.BytesIO()
    write_aggregate(plan_aggregate([commitment_of_file(file) for file in files]), files, out)
    return out.getvalue()


def foreign_car(folder: Path) -> tuple[bytes, Cid]:
    folder.mkdir()
    (folder / "rivers.csv").write_text("".join(f"{n};{n * n}\n" for n in range(3000)))
    out = io.BytesIO()
    packed = pack_car(folder, out)
    return out.getvalue(), packed.root


async def verified(sidecar: SidecarAtWork, count: int) -> list[dict[str, Any]]:
    pieces = await sidecar.until(
        "/api/v1/sp/pieces",
        lambda answer: [i["state"] for i in answer["items"]] == ["verified"] * count,
    )
    return list(pieces["items"])


async def run_job(
    net: Devstack, sidecar: SidecarAtWork, piece: str, payee: str, text: bytes
) -> dict[str, Any]:
    """The result of an approved job that prints `text`, six bytes."""
    first, last = int.from_bytes(text[:4], "little"), int.from_bytes(text[4:], "little")
    body = HELLO.replace("0x6c6c6568", str(first)).replace("0x0a6f", str(last))
    submitted = await sidecar.call("PUT", "/api/v1/orchestrator/jobs", Job=job(piece, payee, body))
    number = submitted["JobID"]
    await approve(net, sidecar, number, "ada", "ben")
    results = await sidecar.until(
        "/api/v1/sp/results",
        lambda answer: [item for item in answer["items"] if item["job_id"] == number],
    )
    return next(item for item in results["items"] if item["job_id"] == number)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_two_authors_in_one_aggregate_are_paid_for_their_own_bytes_and_can_prove_them(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    await make_deal(devnet, car[0])
    await devnet.advance(40)
    payees = [str(devnet.network.key(name).address) for name in ("carol", "dave")]
    config = write_config(devnet, tmp_path)
    async with running(config) as sidecar:
        (source,) = await verified(sidecar, 1)
        results = [
            await run_job(devnet, sidecar, source["piece_cid"], payee, text)
            for payee, text in zip(payees, (b"carol\n", b"daves\n"), strict=True)
        ]
        published = [result["record"]["published"] for result in results]
        staged = [(sidecar.sidecar.data.staging / p["car"]).read_bytes() for p in published]
        foreign, _ = foreign_car(tmp_path / "foreign")
        await make_deal(devnet, aggregate_of(tmp_path / "parts", *staged, foreign))
        await devnet.advance(3000)  # first PoSt, and the look-back behind it
        outer = next(p for p in await verified(sidecar, 2) if p["segments"] == 3)
        miner = devnet.provider.miner
        await devnet.node.advance(
            30_000, until=lambda tipset: any(block.miner == miner for block in tipset.blocks)
        )
        await devnet.advance(2880 + 1000)  # the period's end, final
        await sidecar.until(
            "/api/v1/sp/earnings",
            lambda answer: any(set(payees) <= set(period["owed"]) for period in answer["periods"]),
            150,
        )
        # what the program printed, and of the first run its exit code, a block that the second only had again
        for payee, item, counted in zip(payees, published, (7, 6), strict=True):
            statement = await sidecar.call("GET", f"/api/v1/sp/statements/{payee}")
            report = await audit_statement(statement, sidecar.sidecar.node)
            assert report.ok, [finding for finding in report.findings if not finding.ok]
            lines = [line for period in statement["periods"] for line in period["lines"]]
            assert lines
            for line in lines:
                assert line["piece_cid"] == outer["piece_cid"]
                assert line["sub_piece"]["piece_cid"] == item["piece_cid"]
                assert line["terms"]["counted_bytes"] == counted
                assert int(line["amount"]) > 0
            proof = tmp_path / f"{payee}.json"
            await audit_with(config, statement, proof, code=2)  # there is no such file yet
            await make_proof(config, proof, item["piece_cid"], outer)
            await audit_with(config, statement, proof, code=0)
            enlarge(proof)
            assert (await sp_plugin(config, "pieces", "proof", "verify", str(proof)))[0] == 1
            await audit_with(config, statement, proof, code=1)
            assert not await passes_with_another_place(statement, sidecar)


async def make_proof(config: Path, file: Path, piece: str, outer: dict[str, Any]) -> None:
    """An inclusion proof of the held aggregate, made by the operator and checked by the payee."""
    made = await answer(config, "pieces", "proof", "make", piece, "-o", str(file))
    assert made["aggregate"] == outer["piece_cid"]
    assert (await answer(config, "pieces", "proof", "verify", str(file)))["ok"]


async def audit_with(config: Path, statement: dict[str, Any], proof: Path, *, code: int) -> None:
    """The audit of a statement with a proof, as the payee runs it, ends with this code."""
    file = proof.with_suffix(".statement")
    await asyncio.to_thread(file.write_text, json.dumps(statement))
    found, out, err = await sp_plugin(config, "audit", str(file), "--proof", str(proof))
    assert found == code, out + err


def enlarge(proof: Path) -> None:
    """Say in a proof that the piece is twice as large."""
    content = json.loads(proof.read_text())
    proof.write_text(json.dumps(content | {"padded_size": 2 * content["padded_size"]}))


async def passes_with_another_place(statement: dict[str, Any], sidecar: SidecarAtWork) -> bool:
    """Whether the audit believes a statement that says the result lies elsewhere in the aggregate."""
    changed = json.loads(json.dumps(statement))
    for period in changed["periods"]:
        for item in (*period["lines"], *period["shares"]["produced"]):
            item["sub_piece"]["offset"] += item["sub_piece"]["padded_size"]
    return (await audit_statement(changed, sidecar.sidecar.node)).ok


@pytest.mark.timeout(120)
async def test_a_job_runs_over_a_piece_inside_an_aggregate_that_a_dataset_names_by_its_own_cid(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    foreign, root = foreign_car(tmp_path / "foreign")
    (tmp_path / "f.car").write_bytes(foreign)
    inner = commitment_of_file(tmp_path / "f.car")
    number = await make_deal(devnet, aggregate_of(tmp_path / "parts", car[0], foreign))
    await devnet.advance(40)
    datasets = DATASETS.format(piece=inner.piece_cid)
    changes = {"datasets:\n  - name: open\n": datasets, "clients: [": "clients: [f09999] # ["}
    config = write_config(devnet, tmp_path, **changes)
    async with running(config) as sidecar:
        (outer,) = await verified(sidecar, 1)
        assert (outer["segments"], outer["datasets"]) == (2, [])
        rows = await answer(config, "pieces", "list", "--inside", f"claim:{number}")
        assert [row["datasets"] for row in rows] == [[], ["inside"]]
        shown = await answer(config, "pieces", "show", str(inner.piece_cid_v2))
        assert shown == await answer(config, "pieces", "show", rows[1]["key"])
        assert shown["roots"] == [str(root)]
        assert shown["payload_size"] == len(foreign)
        assert (await answer(config, "datasets", "show", "inside"))["pieces"] == [shown["key"]]
        await look_at(config, tmp_path, shown, foreign)

        payee = str(devnet.network.key("carol").address)
        done = await run_job(devnet, sidecar, str(inner.piece_cid_v2), payee, b"inside")
        over = done["record"]["inputs"][1]
        assert (over["cid"], over["piece_key"]) == (str(inner.piece_cid), shown["key"])
        by_root = over_root(job(outer["piece_cid"], payee), root)
        policy = await sidecar.call("POST", "/api/v1/sp/policy/test", Job=by_root)
        assert policy["allowed"], policy
        for wrong in (job(outer["piece_cid"], payee), over_root(by_root, car[1])):
            path = "/api/v1/orchestrator/jobs"
            refused = await sidecar.call("PUT", path, status=403, Job=wrong)
            assert "is in no dataset" in json.dumps(refused)


def over_root(described: dict[str, Any], root: Cid) -> dict[str, Any]:
    """The same job over a DAG in place of a piece."""
    changed: dict[str, Any] = json.loads(json.dumps(described))
    source = {"Type": "ipfs", "Params": {"CID": str(root)}}
    changed["Tasks"][0]["InputSources"][1]["Source"] = source
    return changed


async def look_at(config: Path, folder: Path, shown: dict[str, Any], foreign: bytes) -> None:
    """The commands that name a held piece, with the CID of one inside it."""
    cid = shown["piece_cid"]
    place = await answer(config, "pieces", "locate", cid)
    assert [one["key"] for one in place["inside"]] == [shown["key"]]
    assert place["readable"]
    code, out, _ = await sp_plugin(config, "pieces", "locate", cid)
    assert (code, f"{shown['key']}: inside {shown['within']['key']}" in out) == (0, True)
    assert (await answer(config, "pieces", "verify", cid))["key"] == shown["key"]
    await answer(config, "pieces", "read", cid, str(folder / "out"))
    size = shown["padded_size"] // 128 * 127
    assert await asyncio.to_thread((folder / "out").read_bytes) == foreign.ljust(size, b"\0")


@pytest.mark.timeout(120)
async def test_a_reorg_takes_what_lies_in_an_aggregate_away_and_brings_it_back(
    devnet: Devstack, tmp_path: Path, car: tuple[bytes, Cid]
) -> None:
    foreign, _ = foreign_car(tmp_path / "foreign")
    (tmp_path / "f.car").write_bytes(foreign)
    held = f"/api/v1/sp/pieces/{commitment_of_file(tmp_path / 'f.car').piece_cid}"
    async with running(write_config(devnet, tmp_path)) as sidecar:
        payload = aggregate_of(tmp_path / "parts", car[0], foreign)
        await make_deal(devnet, payload)
        for _ in range(40):
            await devnet.advance(1)
            if (await sidecar.call("GET", "/api/v1/sp/pieces"))["items"]:
                break
            await asyncio.sleep(0.2)
        await verified(sidecar, 1)
        assert (await sidecar.call("GET", held))["within"]["index_entry"] == 1
        await devnet.reorg(depth=15, shape=ForkShape(null_rounds=1))
        await sidecar.until("/api/v1/sp/pieces", lambda answer: not answer["items"])
        await sidecar.call("GET", held, status=404)
        await make_deal(devnet, payload)
        await devnet.advance(60)
        await verified(sidecar, 1)
        assert (await sidecar.call("GET", held))["state"] == "verified"
