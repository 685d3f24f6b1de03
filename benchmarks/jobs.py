"""The job engine through its HTTP API: a no-op job's way, jobs a second, lists, reads, memory; beside what this machine can do.

A job here is handed in, read, signed and completed like any other: the approver's two requests and the signature are in the
time. Everything runs on this machine, the client, the devnet and the database too, so all of them share its cores.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from uuid import uuid4

from benchmarks.limits import append_rate, bare_read_rate, commit_rate, fork_rate
from benchmarks.measure import Row, Sample, print_rows
from benchmarks.seeding import fill_queue
from benchmarks.stand import JOBS, Stand, open_stand, prepare, set_jobs
from devstack.stack import Devstack
from tests.databases import database_url

__all__ = ["job_rows"]

_ONE_BY_ONE: Final = 100
_MANY: Final = 1000
_WAITING: Final = 1000
_WORKERS: Final = 4
_CLIENTS: Final = 8
_LISTED: Final = 10_000
_READS: Final = 1500


def job_rows() -> None:
    """Measure and print: SQLite, PostgreSQL where `SP_PLUGIN_TEST_POSTGRES` names one, and the machine's own limits."""
    asyncio.run(_all())


async def _all() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        print_rows(await _limits(home))
        async with Devstack() as net:
            print_rows(await _measured(home / "sqlite", net, None))
            print_rows([await _drained(home / "drained", net, None)])
            if os.environ.get("SP_PLUGIN_TEST_POSTGRES"):
                (home / "pg").mkdir()
                urls = [
                    await asyncio.to_thread(database_url, home / "pg", uuid4().hex)
                    for _ in range(2)
                ]
                print_rows(await _measured(home / "postgres", net, urls[0]))
                print_rows([await _drained(home / "drained-postgres", net, urls[1])])
            print_rows(await _listed(home / "lists", net))


async def _limits(home: Path) -> list[Row]:
    """What the disk, the operating system and the HTTP library do here with nothing of ours around them."""
    forks = await fork_rate(home / "forks", _WORKERS)
    reads = await bare_read_rate(_READS, _CLIENTS)
    return [
        _fixed("limit: 4 KiB appended and fsynced", "per s", "", append_rate(home)),
        _fixed("limit: SQLite commits, WAL, FULL", "per s", "", commit_rate(home, "FULL")),
        _fixed("limit: SQLite commits, WAL, NORMAL", "per s", "", commit_rate(home, "NORMAL")),
        _fixed(f"limit: no-op WASM runs, {_WORKERS} at once", "per s", "", forks),
        _fixed("limit: aiohttp answering one word", "per s", "", reads),
    ]


def _fixed(name: str, unit: str, target: str, *values: float) -> Row:
    left = [Sample(value) for value in values]
    return Row(name, unit, target, lambda: left.pop(0), len(left))


async def _measured(home: Path, net: Devstack, database: str | None) -> list[Row]:
    name = "SQLite" if database is None else "PostgreSQL"
    process = prepare(home, net, database=database, workers=_WORKERS)
    async with open_stand(process) as stand:
        await asyncio.sleep(1)
        idle = stand.resident_bytes()
        times = await _one_by_one(stand)
        rate, cpu = await _many(stand)
        read_id = await stand.hand_in()
        reads = await _reads(stand, f"{JOBS}/{read_id}")
        ordered = sorted(times)
        return [
            _fixed(f"{name}: handed in, signed, completed, p50", "ms", "<= 30", statistics.median(ordered)),
            _fixed(f"{name}: the same, p95", "ms", "", ordered[len(ordered) * 95 // 100]),
            Row(f"{name}: {_MANY} such jobs, {_CLIENTS} clients", "jobs/s", "", lambda: Sample(rate, cpu), 1),
            _fixed(f"{name}: GET of a job, {_CLIENTS} clients", "reads/s", ">= 500", reads),
            _fixed(f"{name}: sidecar's memory, idle", "MB", "<= 150", idle / 1e6),
            _fixed(f"{name}: sidecar's memory, after all that", "MB", "", stand.resident_bytes() / 1e6),
        ]  # fmt: skip


async def _one_by_one(stand: Stand) -> list[float]:
    """Milliseconds of jobs that come one after another; the first ones warm it up and do not count."""
    times = []
    for number in range(_ONE_BY_ONE + 5):
        started = time.perf_counter()
        job_id = await stand.hand_in()
        await stand.sign(job_id)
        await stand.wait_for(job_id)
        if number >= 5:
            times.append((time.perf_counter() - started) * 1000)
    return times


async def _many(stand: Stand) -> tuple[float, float]:
    """Jobs a second, from the first request to the last end; and the sidecar's own CPU seconds."""
    before, started = stand.cpu_seconds(), time.perf_counter()
    ids: list[str] = []

    async def hand_in_some() -> None:
        for _ in range(_MANY // _CLIENTS):
            job_id = await stand.hand_in()
            await stand.sign(job_id)
            ids.append(job_id)

    await _at_once(hand_in_some)
    for job_id in ids[::-1]:
        await stand.wait_for(job_id)
    return _MANY / (time.perf_counter() - started), stand.cpu_seconds() - before


async def _drained(home: Path, net: Devstack, database: str | None) -> Row:
    """Approved jobs that wait when a sidecar starts: what the queue sustains, its start included, with hardly a question asked."""
    idle = prepare(home, net, database=database, enabled=False)
    async with open_stand(idle) as stand:
        ids: list[str] = []

        async def hand_in_some() -> None:
            for _ in range(_WAITING // _CLIENTS):
                ids.append(await stand.hand_in())
                await stand.sign(ids[-1])

        await _at_once(hand_in_some)
    set_jobs(idle.config, enabled=True, workers=_WORKERS)
    async with open_stand(idle) as stand:
        for job_id in ids[::-1]:
            await stand.wait_for(job_id, look_seconds=0.2)
        first = min([await stand.started_at(job_id) for job_id in ids])
        items = (await stand.ask("GET", f"{JOBS}?limit=0"))["Items"]
        seconds = (max(item["ModifyTime"] for item in items) - first) / 1e9
        rate, cpu = len(ids) / seconds, stand.cpu_seconds()
        engine = "SQLite" if database is None else "PostgreSQL"
        name = f"{engine}: {len(ids)} approved jobs that wait, {_WORKERS} workers"
        return Row(name, "jobs/s", ">= 100", lambda: Sample(rate, cpu), 1)


async def _reads(stand: Stand, path: str) -> float:
    async def read_some() -> None:
        for _ in range(_READS // _CLIENTS):
            await stand.bytes_of(path)

    started = time.perf_counter()
    await _at_once(read_some)
    return _READS / (time.perf_counter() - started)


async def _at_once(work: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(_CLIENTS):
            group.create_task(_waited(work))


async def _waited(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def _listed(home: Path, net: Devstack) -> list[Row]:
    """A queue that nobody works on: 10,000 jobs in it, asked for as the clients do."""
    process = prepare(home, net, enabled=False)
    await fill_queue(process.config, _LISTED)
    async with open_stand(process) as stand:
        whole = await _milliseconds(stand, f"{JOBS}?limit=0")
        page = await _milliseconds(stand, f"{JOBS}?limit=10&labels=bacalhau_canary%21%3Dtrue")
        newest = await _milliseconds(stand, f"{JOBS}?limit=5&reverse=true&order_by=created_at")
        return [
            _fixed("10,000 queued jobs in one list", "ms", "<= 100", *whole),
            _fixed("the same: bacalhau job list (10 of them)", "ms", "<= 100", *page),
            _fixed("the same: the newest 5, as the SDK asks", "ms", "<= 100", *newest),
        ]


async def _milliseconds(stand: Stand, path: str) -> list[float]:
    times = []
    for _ in range(6):
        started = time.perf_counter()
        await stand.bytes_of(path)
        times.append((time.perf_counter() - started) * 1000)
    return times[1:]
