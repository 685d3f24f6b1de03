"""A queue on SQLite, and a bundler, runner and worker over it with the real WASM executor."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wasmtime

from deals.denylist import Denylist
from fil_plus.bundle import ResourceLimits
from fil_plus.terms import Basis, ShareTerms
from lotus_client.crypto import Secp256k1Key
from lotus_client.types import ActorId, Epoch, PaddedPieceSize
from sp_plugin.executors.base import Executor, ExecutorSettings
from sp_plugin.executors.wasm import WasmExecutor
from sp_plugin.inputs.base import InputContext
from sp_plugin.jobs.bundle import BundleConditions, EngineLimits, JobBundler
from sp_plugin.jobs.hold import Hold
from sp_plugin.jobs.kinds import load_kinds
from sp_plugin.jobs.preparing import RunSettings
from sp_plugin.jobs.programs import Programs
from sp_plugin.jobs.queue import JobQueue, QueueRules
from sp_plugin.jobs.reading import read_job_values
from sp_plugin.jobs.running import JobRunner
from sp_plugin.jobs.worker import Worker
from sp_plugin.publishers.base import PublishContext
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.jobs import JobRecord
from tests.databases import database_url
from tests.integration.executors.wasm_programs import program

MOST = ResourceLimits(2000, 256 << 20, 64 << 20, 60)
DEFAULT = ResourceLimits(500, 16 << 20, 1 << 20, 20)


class Sidecar:
    """All parts of one process, in one data directory."""

    def __init__(
        self,
        data: Path,
        *,
        library: Any = None,
        rules: QueueRules | None = None,
        clock: Any = None,
        record_key: Secp256k1Key | None = None,
        publish: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> None:
        self.data = data
        self.store = Store(database_url(data))
        self.queue = JobQueue(self.store, clock or time.time_ns, rules)
        self.kinds = load_kinds()
        self.hold = Hold()
        self.executors: dict[str, Executor] = {
            "wasm": WasmExecutor(ExecutorSettings(cache_dir=data / "cache", pause=self.hold.pause))
        }
        context = InputContext(library=library, **(inputs or {}))
        self.limits = {"wasm": EngineLimits(DEFAULT, MOST)}
        conditions = BundleConditions(
            "localnet",
            ActorId(1001),
            self.limits,
            terms=lambda _: ShareTerms(Basis.FIXED_BUDGET),
            validity=lambda _: (Epoch(0), Epoch(1000)),
        )
        self.programs = Programs(self.kinds, self.executors)
        self.bundler = JobBundler(self.kinds, self.programs, context, conditions, data / "scratch")
        publishing = PublishContext(
            data / "results",
            data / "staging",
            data / "cars",
            PaddedPieceSize(1 << 20),
            **(publish or {}),
        )
        self.denylist = Denylist()
        settings = RunSettings(
            data / "work",
            context,
            publishing,
            denylist=lambda: self.denylist,
            record_key=record_key,
            publish_pauses=(0.01, 0.01),
            hold=self.hold,
        )
        self.runner = JobRunner(self.kinds, self.programs, settings, time.time_ns, lambda: Epoch(7))
        self.worker = Worker(
            self.queue, self.runner, "n-1", hold=self.hold, idle_seconds=0.05, wait_scale=0
        )

    async def create_tables(self) -> None:
        async with self.store.transaction() as connection:
            await connection.run_sync(metadata.create_all)

    async def submit(self, values: Mapping[str, Any], job_id: str | None = None) -> JobRecord:
        """A job that is resolved and approved."""
        job = await self.submit_unapproved(values, job_id)
        return await self.queue.admit(job.id)

    async def submit_unapproved(
        self, values: Mapping[str, Any], job_id: str | None = None
    ) -> JobRecord:
        spec = read_job_values(dict(values), self.kinds).spec
        job = await self.queue.submit(spec.to_wire(), job_id=job_id)
        bundle = await self.bundler.resolve(spec, job.id)
        await self.queue.set_bundle(job.id, bundle.digest().hex(), bundle.to_json())
        return await self.queue.job(job.id)

    async def close(self) -> None:
        await self.store.close()


def data_url(code: bytes) -> str:
    return "data:application/wasm;base64," + base64.b64encode(code).decode()


def wasm_job(body: str = "", **task: Any) -> dict[str, Any]:
    """A job whose module is inline: one that does `body`, or the text `module`."""
    code = wasmtime.wat2wasm(task.pop("module", None) or program(body))
    source = {"Type": "inline", "Params": {"URL": data_url(bytes(code))}}
    values = {
        "Name": "main",
        "Engine": {"Type": "wasm", "Params": {"EntryModule": "main.wasm"}},
        "InputSources": [{"Source": source, "Target": "main.wasm"}, *task.pop("inputs", [])],
        "Publisher": {"Type": "local"},
        **task,
    }
    return {"Type": "batch", "Tasks": [values]}
