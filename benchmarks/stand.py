"""A sidecar in a process of its own beside a devnet, and a client that hands in, signs and waits for no-op jobs."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from devstack.auth import Permission
from devstack.demo.sidecar import SidecarProcess
from devstack.stack import Devstack
from fil_plus.approvals import approval_payload
from lotus_client.crypto import Secp256k1Key, envelope
from sp_plugin.approvals.recorded import bundle_from_json

__all__ = ["JOBS", "Stand", "nothing_job", "open_stand", "prepare", "set_jobs", "signature_words"]

JOBS: Final = "/api/v1/orchestrator/jobs"
_ENDED: Final = frozenset({"Completed", "Failed", "Stopped"})
_NOTHING: Final = '(module (memory (export "memory") 1) (func (export "_start")))'
_KEY: Final = Secp256k1Key(bytes([7] * 32))
_LOOK_SECONDS: Final = 0.002


class Stand:
    """A running sidecar, asked over its HTTP API."""

    def __init__(self, process: SidecarProcess, http: aiohttp.ClientSession) -> None:
        self.process = process
        self._http = http

    async def ask(self, method: str, path: str, **body: Any) -> Any:
        """The JSON of an answer that is 200."""
        async with self._http.request(
            method, self.process.url + path, json=body or None
        ) as response:
            raw = await response.read()
            if response.status != 200:
                raise AssertionError(f"{method} {path}: {response.status} {raw[:500]!r}")
            return json.loads(raw)

    async def bytes_of(self, path: str) -> int:
        """How long an answer is; it is read and not taken apart, so that the server is measured."""
        async with self._http.get(self.process.url + path) as response:
            assert response.status == 200
            return len(await response.read())

    async def hand_in(self) -> str:
        """The ID of a new no-op job that is not signed yet."""
        return str((await self.ask("PUT", JOBS, Job=nothing_job()))["JobID"])

    async def sign(self, job_id: str) -> None:
        """The one signature that the stand's provider wants."""
        path = f"/api/v1/sp/jobs/{job_id}"
        request = await self.ask("GET", path + "/bundle")
        await self.ask("POST", path + "/approvals", **signature_words(request))

    async def wait_for(self, job_id: str, look_seconds: float = _LOOK_SECONDS) -> None:
        """Return once the job has completed; it is asked for so often."""
        while True:
            state = (await self.ask("GET", f"{JOBS}/{job_id}"))["Job"]["State"]
            if state["StateType"] in _ENDED:
                break
            await asyncio.sleep(look_seconds)
        assert state["StateType"] == "Completed", state

    async def started_at(self, job_id: str) -> int:
        """When its first run began, in Unix nanoseconds by the sidecar's clock."""
        items = (await self.ask("GET", f"{JOBS}/{job_id}/executions"))["Items"]
        return int(min(item["CreateTime"] for item in items))

    def resident_bytes(self) -> int:
        """Memory of the sidecar's own process."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """User and system time of the sidecar's own process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def signature_words(request: Mapping[str, Any]) -> dict[str, str]:
    """What the stand's one approver answers to what there is to sign."""
    bundle = bundle_from_json(request["bundle"], bytes.fromhex(request["digest"]))
    signature = _KEY.sign(envelope(approval_payload(bundle)))
    return {"approver": str(_KEY.address), "signature": signature.to_bytes().hex()}


def nothing_job() -> dict[str, Any]:
    """A job that does nothing, with its module inside."""
    import wasmtime

    code = base64.b64encode(bytes(wasmtime.wat2wasm(_NOTHING))).decode()
    source = {"Type": "inline", "Params": {"URL": f"data:application/wasm;base64,{code}"}}
    task = {
        "Name": "main",
        "Engine": {"Type": "wasm", "Params": {"EntryModule": "/main.wasm"}},
        "InputSources": [{"Source": source, "Target": "/main.wasm"}],
        "Publisher": {"Type": "local"},
    }
    return {"Type": "batch", "Tasks": [task]}


def prepare(
    home: Path, net: Devstack, *, database: str | None = None, **jobs: Any
) -> SidecarProcess:
    """A sidecar configured beside a devnet and not started; `jobs` are keys of that section."""
    home.mkdir()
    info = home / "node"
    info.touch(0o600)
    token = net.token(Permission.READ)
    info.write_text(f"{token}:/ip4/127.0.0.1/tcp/{net.api_port}/http")
    config: dict[str, Any] = {
        "data_dir": str(home / "data"),
        "node": {"api_info_file": str(info), "network": "devstack"},
        "provider": {"actor": str(net.provider.miner)},
        "http": {"port": 0},
        "approvals": {
            "k": 1,
            "approvers": [{"name": "Ada", "address": str(_KEY.address), "roles": ["steward"]}],
        },
        "jobs": {"max_queued": 20_000, **jobs},
        # the network's times are its own, and the machine is meant to be busy
        "guard": {"host_role": "compute", "max_load_percent": None, "max_io_wait_percent": None},
        "earnings": {"basis": "fixed_budget"},
    }
    if database is not None:
        config["database"] = {"url": database}
    path = home / "sp-plugin.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return SidecarProcess(path, home / "data", home / "sidecar.log")


def set_jobs(config: Path, **jobs: Any) -> None:
    """Change keys of the section `jobs` in a sidecar's configuration, for its next start."""
    values = yaml.safe_load(config.read_text())
    values["jobs"] |= jobs
    config.write_text(yaml.safe_dump(values, sort_keys=False))


@asynccontextmanager
async def open_stand(process: SidecarProcess) -> AsyncIterator[Stand]:
    """The sidecar started, and ended in the end."""
    await process.start()
    token = (process.data_dir / "api-token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with aiohttp.ClientSession(headers=headers) as http:
            yield Stand(process, http)
    finally:
        await process.stop()
