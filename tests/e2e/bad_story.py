"""One sidecar that is given everything bad it may meet: pieces, programs, tokens; and a result that becomes no deal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
import wasmtime
from rich.console import Console

from devstack.auth import Permission
from devstack.demo.show import Show
from devstack.demo.sidecar import CommandResult, SidecarProcess
from devstack.demo.story import Story
from devstack.demo.world import DataPiece, World, examples_dir
from devstack.sectors import Sector
from fil_plus.approvals import approval_payload
from lotus_client.address import Address
from lotus_client.crypto import envelope
from sp_plugin.approvals.recorded import bundle_from_json
from tests.e2e.command import run_command
from tests.integration.executors.wasm_programs import program
from tests.integration.jobs.parts import data_url

__all__ = ["PROGRAMS", "BadStory", "tell"]

_JOBS: Final = "/api/v1/orchestrator/jobs"
_FLOOD_CHUNK: Final = 60_000

# What each program does; `jobs.wasm` of the configuration keeps 64 KiB of output, a job has 2 s and 16 MB.
PROGRAMS: Final = {
    "loops": "(loop $l (br $l))",
    "eats memory": "(loop $l (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) (br $l))",
    "floods stdout": f"""
        (local $n i32)
        (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const {_FLOOD_CHUNK}))
        (loop $l
          (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $n) (i32.const 200))))""",
    "exits 130": "(call $exit (i32.const 130))",
    "is well": """
        (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 6))
        (i32.store (i32.const 16) (i32.const 0x6c6c6568)) (i32.store (i32.const 20) (i32.const 0x0a6f))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))""",
}


@dataclass(slots=True)
class BadStory:
    """What came of it."""

    starts: dict[str, CommandResult] = field(
        default_factory=dict
    )  # `run` with bad nodes and tokens
    doctor: CommandResult | None = None  # of a token that may only read
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)  # described, by program
    logs: dict[str, dict[str, Any]] = field(default_factory=dict)
    ready_after: dict[str, bool] = field(default_factory=dict)
    damaged_piece: dict[str, Any] = field(default_factory=dict)
    damaged_verify: CommandResult | None = None
    outside: dict[str, CommandResult] = field(default_factory=dict)  # a piece in no dataset
    reader: CommandResult | None = None  # a command with a token that may only read
    reader_status: int = 0
    stranger_status: int = 0
    statement: dict[str, Any] = field(default_factory=dict)
    earnings: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    wins: int = 0
    is_running: bool = False
    log: str = ""


async def tell(home: Path) -> BadStory:
    """Everything, in one network and one data directory."""
    with home.with_suffix(".txt").open("w") as log:
        async with World(home) as world:
            return await _tell(world, Show(Console(file=log, width=200)))


async def _tell(world: World, show: Show) -> BadStory:
    good = world.pack(examples_dir() / "data" / "earth", "earth")
    damaged = world.pack(_folder(world.home, "damaged"), "damaged")
    outside = world.pack(_folder(world.home, "outside"), "outside")
    world.dataset_root = good.root
    sectors = [await world.onboard(data.car, data.commitment) for data in (good, damaged, outside)]
    _flip_a_byte(world, sectors[1])
    sidecar = _sidecar(world, good, damaged)
    told, story = BadStory(), Story(world, sidecar, show, good)
    await _start_badly(world, sidecar, told)
    try:
        await sidecar.start()
        await story.see_piece()
        payee = world.key("scientist").address
        async with _Api(sidecar) as api:
            await _run_bad_programs(story, api, told, payee)
            await _compute_over_damage(story, api, told, damaged, payee)
            await _ask_with_too_little(story, api, told, payee)
        await _compute_outside(story, told, outside, payee)
        await _earn_nothing(story, told, sectors[0], payee)
        told.is_running, told.log = sidecar.is_running, sidecar.log.read_text()
    finally:
        await sidecar.stop()
    return told


def _folder(home: Path, name: str) -> Path:
    folder = home / f"{name}-data"
    folder.mkdir()
    (folder / "readings.csv").write_text(
        name + "\n" + "".join(f"{n},{n % 7}\n" for n in range(9999))
    )
    return folder


def _flip_a_byte(world: World, sector: Sector) -> None:
    unsealed = world.net.provider.storage.root / "unsealed"
    miner = str(world.provider)[1:]
    (file,) = unsealed.glob(f"s-t{miner}-{sector.number}")
    with file.open("r+b") as stream:
        stream.seek(5000)
        byte = stream.read(1)[0]
        stream.seek(5000)
        stream.write(bytes([byte ^ 1]))


def _sidecar(world: World, good: DataPiece, damaged: DataPiece) -> SidecarProcess:
    datasets = [
        {
            "name": "earth",
            "licence": "CC-BY-4.0",
            "steward": "Open Earth Data (a made-up steward)",
            "consent": "public",
            "selector": {
                "roots": [str(good.root)],
                "pieces": [str(damaged.commitment.piece_cid)],
            },
        }
    ]
    jobs = {"minimum_piece_bytes": 256, "wasm": {"log_bytes": 1 << 16}}
    return world.sidecar(datasets=datasets, jobs=jobs)


async def _start_badly(world: World, sidecar: SidecarProcess, told: BadStory) -> None:
    """`run` with a node that is down, of another network, with an admin token; `doctor` with one that may only read."""
    node = sidecar.config.parent / "node"
    right = node.read_text()
    config = sidecar.config.read_text()
    where = f"/ip4/127.0.0.1/tcp/{world.net.api_port}/http"

    async def run() -> CommandResult:
        return await run_command("run", "--config", str(sidecar.config))

    node.write_text(right.replace(f"/tcp/{world.net.api_port}/", "/tcp/1/"))
    told.starts["down"] = await run()
    node.write_text(right)
    sidecar.config.write_text(config.replace("network: localnet", "network: calibrationnet"))
    told.starts["of another network"] = await run()
    sidecar.config.write_text(config)
    node.write_text(f"{world.net.token()}:{where}")
    told.starts["with an admin token"] = await run()
    node.write_text(f"{world.net.token(Permission.SIGN)}:{where}")
    told.starts["with a token that may not read"] = await run()
    node.write_text(f"not-a-token:{where}")
    told.starts["with a token of another node"] = await run()
    node.write_text(f"{world.net.token(Permission.READ)}:{where}")
    told.doctor = await sidecar.run("doctor")
    node.write_text(right)


async def _run_bad_programs(story: Story, api: _Api, told: BadStory, payee: Address) -> None:
    for name, body in PROGRAMS.items():
        job = _job(name, body, str(story.data.commitment.piece_cid), payee)
        described = await api.run(story.world, job)
        told.jobs[name] = described
        told.logs[name] = await api.get(f"/api/v1/sp/jobs/{described['Job']['ID']}/logs")
        told.ready_after[name] = (await api.call("GET", "/health/readyz"))[0] == 200


async def _compute_over_damage(
    story: Story, api: _Api, told: BadStory, damaged: DataPiece, payee: Address
) -> None:
    cid = str(damaged.commitment.piece_cid)
    told.damaged_verify = await story.sidecar.run("pieces", "verify", cid)
    told.damaged_piece = await api.get(f"/api/v1/sp/pieces/{cid}")
    job = _job("over damage", PROGRAMS["is well"], cid, payee)
    told.jobs["over damage"] = await api.run(story.world, job)


async def _ask_with_too_little(story: Story, api: _Api, told: BadStory, payee: Address) -> None:
    token = (await story.sidecar.json("token", "create", "reader", "--scope", "read"))["token"]
    job = _job("too little", PROGRAMS["is well"], str(story.data.commitment.piece_cid), payee)
    told.reader_status, _ = await api.call("PUT", _JOBS, {"Job": job}, token)
    told.stranger_status, _ = await api.call("PUT", _JOBS, {"Job": job}, "spt_nobodys")
    environment = {"SP_PLUGIN_URL": story.sidecar.url, "SP_PLUGIN_TOKEN": token}
    told.reader = await run_command("payouts", "pause", environment=environment)


async def _compute_outside(
    story: Story, told: BadStory, outside: DataPiece, payee: Address
) -> None:
    import json

    job = _job("outside", PROGRAMS["is well"], str(outside.commitment.piece_cid), payee)
    del job["Meta"]["filecoin.dataset"]
    file = story.world.home / "outside.json"
    file.write_text(json.dumps(job))
    told.outside["job submit"] = await story.sidecar.run("job", "submit", str(file))
    told.outside["policy test"] = await story.sidecar.run("policy", "test", str(file))


async def _earn_nothing(story: Story, told: BadStory, sector: Sector, payee: Address) -> None:
    """Blocks are won with the client's data, but no result of the payee's jobs is a piece of the provider."""
    await story.prove(sector)
    await story.earn()
    await story.caught_up()

    async def is_closed() -> bool:
        told.statement = await story.statement(payee)
        final = story.world.net.network.finalized().height
        ingested = told.statement["open_period"]["ingested_to"]
        told.earnings = await story.sidecar.json("earnings", "show")
        return ingested >= final and bool(told.earnings["periods"])

    await story.until(is_closed, "the period to be closed")
    told.plan = await story.sidecar.json("payouts", "plan")
    told.wins = story.facts["wins"]


def _job(name: str, body: str, piece_cid: str, payee: Address) -> dict[str, Any]:
    module = data_url(bytes(wasmtime.wat2wasm(program(body))))
    sources = {
        "/main.wasm": {"Type": "inline", "Params": {"URL": module}},
        "/inputs": {"Type": "filecoin", "Params": {"PieceCID": piece_cid}},
    }
    task = {
        "Name": "main",
        "Engine": {"Type": "wasm", "Params": {"EntryModule": "/main.wasm"}},
        "InputSources": [{"Source": source, "Target": at} for at, source in sources.items()],
        "Publisher": {"Type": "filecoin"},
        "Resources": {"Memory": "16Mb"},
        "Timeouts": {"ExecutionTimeout": 2},
    }
    meta = {"filecoin.payee": str(payee), "filecoin.dataset": "earth"}
    return {"Name": name.replace(" ", "-"), "Type": "batch", "Meta": meta, "Tasks": [task]}


class _Api:
    """The sidecar's API with the operator's token, for what would take a process each by commands."""

    def __init__(self, sidecar: SidecarProcess) -> None:
        self._url = sidecar.url
        self._token = (sidecar.data_dir / "api-token").read_text().strip()
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def call(
        self, method: str, path: str, body: Any = None, token: str | None = None
    ) -> tuple[int, Any]:
        """The status and JSON of an answer."""
        headers = {"Authorization": f"Bearer {token or self._token}"}
        async with self._http.request(
            method, self._url + path, json=body, headers=headers
        ) as answer:
            return answer.status, await answer.json()

    async def get(self, path: str) -> Any:
        """The JSON of a good answer."""
        status, answer = await self.call("GET", path)
        assert status == 200, answer
        return answer

    async def run(self, world: World, job: dict[str, Any]) -> dict[str, Any]:
        """Submit, approve with both keys, wait; the job as described then."""
        status, answer = await self.call("PUT", _JOBS, {"Job": job})
        assert status == 200, answer
        job_id = answer["JobID"]
        request = await self.get(f"/api/v1/sp/jobs/{job_id}/bundle")
        bundle = bundle_from_json(request["bundle"], bytes.fromhex(request["digest"]))
        for name in ("approver-1", "approver-2"):
            key = world.key(name)
            signature = key.sign(envelope(approval_payload(bundle))).to_bytes().hex()
            body = {"approver": str(key.address), "signature": signature}
            status, answer = await self.call("POST", f"/api/v1/sp/jobs/{job_id}/approvals", body)
            assert status == 200, answer
        path = f"{_JOBS}/{job_id}?include=executions"
        return await _until(lambda: self.get(path), _is_over)


def _is_over(described: dict[str, Any]) -> bool:
    return described["Job"]["State"]["StateType"] in ("Completed", "Failed", "Stopped")


async def _until(
    look: Callable[[], Awaitable[dict[str, Any]]], good: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while not good(answer := await look()):  # noqa: ASYNC110  another process
            await asyncio.sleep(0.1)
    return answer
