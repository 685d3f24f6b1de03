"""The job engine under kills: however often its processes die, each job ends once, as it must, and nothing is left behind.

`python -m tests.soak_jobs --jobs 1000 [--docker 50] [--seed N]`; a seeded slice is in the normal tests. A real sidecar beside an embedded
devnet is killed with SIGKILL at random, and so are the process that starts WASM runs, runs themselves, and, with `--docker`,
a Docker engine of its own. Clients hand in and sign, stop some jobs, and follow the logs of others, each through all of it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from benchmarks.stand import JOBS, prepare, signature_words
from devstack.demo.sidecar import SidecarProcess
from devstack.stack import Devstack
from tests.soak_jobs_checks import check_all, check_nothing_is_left
from tests.soak_jobs_kinds import KINDS, Kind, container, import_image, is_told_whole

__all__ = ["Engine", "Soak", "Told", "soak"]

_AWAY = (aiohttp.ClientError, OSError, TimeoutError)
_PATIENCE_SECONDS = 120
_CLIENTS = 8


class Engine(Protocol):
    """A Docker engine that may be killed, and started again on what it left."""

    url: str

    def start(self) -> None: ...
    def kill(self) -> None: ...
    def client(self) -> Any: ...


@dataclass(slots=True)
class Told:
    """A job that the sidecar took, and what its client did and saw."""

    id: str
    kind: Kind
    was_stopped: bool = False  # the sidecar said that it would stop it
    logs: list[str] = field(default_factory=list)  # one text for each connection


class Soak:
    """One sidecar, its clients, and those who kill."""

    def __init__(self, process: SidecarProcess, seed: int, engine: Engine | None = None) -> None:
        self.process = process
        self.chance = random.Random(seed)
        self.engine = engine
        self.told: list[Told] = []
        self.kills: Counter[str] = Counter()
        self.http: aiohttp.ClientSession
        self._image = ""

    # what clients do ------------------------------------------------------------------------------

    async def ask(self, method: str, path: str, **body: Any) -> tuple[int, Any]:
        """Status and JSON of an answer, asked for until the sidecar is there to give one."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                token = (self.process.data_dir / "api-token").read_text().strip()
                async with self.http.request(
                    method,
                    self.process.url + path,
                    json=body or None,
                    headers={"Authorization": f"Bearer {token}"},
                    timeout=aiohttp.ClientTimeout(20),
                ) as response:
                    if response.status < 500:
                        return response.status, await response.json()
            except _AWAY:
                pass
            assert time.monotonic() < deadline, f"{method} {path}: no answer\n{self.process.tail()}"
            await asyncio.sleep(0.05)

    async def hand_in(self, name: str, kind: Kind) -> Told:
        """A job that the sidecar has taken; asked about by its name first, since an answer may have been lost."""
        job = container(self._image, name) if kind.name == "container" else kind.job(name)
        while True:
            status, found = await self.ask("GET", f"{JOBS}/{name}")
            if status == 200:
                return Told(found["Job"]["ID"], kind)
            with suppress(*_AWAY):
                token = (self.process.data_dir / "api-token").read_text().strip()
                async with self.http.put(
                    self.process.url + JOBS,
                    json={"Job": job},
                    headers={"Authorization": f"Bearer {token}"},
                ) as response:
                    # 503: the engine is away, or the sidecar only just begins
                    assert response.status in (200, 503), await response.text()
            await asyncio.sleep(0.02)

    async def sign(self, job_id: str) -> None:
        """Approve it."""
        path = f"/api/v1/sp/jobs/{job_id}"
        status, request = await self.ask("GET", path + "/bundle")
        assert status == 200, request
        status, answer = await self.ask("POST", path + "/approvals", **signature_words(request))
        assert status == 200, answer

    async def stop(self, told: Told) -> None:
        """Ask for its end."""
        await asyncio.sleep(self.chance.random() * 0.6)
        status, answer = await self.ask("DELETE", f"{JOBS}/{told.id}", Reason="soak")
        assert status in (200, 409), answer
        told.was_stopped = status == 200

    async def follow(self, told: Told) -> None:
        """Read its log until a connection ends by itself when the job is over."""
        while True:
            text, ended = [], False
            with suppress(*_AWAY):
                token = (self.process.data_dir / "api-token").read_text().strip()
                async with self.http.ws_connect(
                    f"{self.process.url}{JOBS}/{told.id}/logs?follow=true",
                    headers={"Authorization": f"Bearer {token}"},
                ) as socket:
                    async for message in socket:
                        value = message.json().get("value") or {}
                        text += [value["Line"]] if value.get("Type") == 1 else []
                    ended = socket.close_code == aiohttp.WSCloseCode.OK
            told.logs.append("".join(text))
            _, job = await self.ask("GET", f"{JOBS}/{told.id}")
            state = job["Job"]["State"]["StateType"]
            if ended and state in ("Completed", "Failed", "Stopped"):
                assert is_told_whole(told.logs[-1], completed=state == "Completed"), told
                return
            await asyncio.sleep(0.02)

    async def _client(self, names: list[tuple[str, Kind]]) -> None:
        async with asyncio.TaskGroup() as group:
            while names:
                name, kind = names.pop()
                told = await self.hand_in(name, kind)
                self.told.append(told)
                await self.sign(told.id)
                if kind.always_stopped or self.chance.random() < 0.05:
                    group.create_task(self.stop(told))
                elif kind.ticks:
                    group.create_task(self.follow(told))

    # who kills ------------------------------------------------------------------------------------

    async def kill_now_and_then(self, most: int) -> None:
        """Kill something, let it recover, and so on, at most so many times."""
        ways: list[tuple[str, Callable[[], Awaitable[bool]]]] = [
            ("sidecar", self._kill_sidecar),
            ("zygote", lambda: self._kill_guests(whole=True)),
            ("run", lambda: self._kill_guests(whole=False)),
        ]
        if self.engine is not None:
            ways.append(("engine", self._kill_engine))
        while self.kills.total() < most:
            await asyncio.sleep(self.chance.uniform(0.1, 1.2))
            name, kill = self.chance.choice(ways)
            self.kills[name] += await kill()

    async def _kill_sidecar(self) -> bool:
        await self.process.kill()
        await self.process.start()
        return True

    async def _kill_guests(self, *, whole: bool) -> bool:
        """The process that starts runs, or one of its runs; False if there is none now."""
        zygotes = [pid for pid in _children(self.process.pid) if "zygote" in _command(pid)]
        victims = zygotes if whole else [child for pid in zygotes for child in _children(pid)]
        if not victims:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.chance.choice(victims), signal.SIGKILL)
        return True

    async def _kill_engine(self) -> bool:
        assert self.engine is not None
        await asyncio.to_thread(self.engine.kill)
        await asyncio.sleep(self.chance.random())
        await asyncio.to_thread(self.engine.start)
        return True

    # the whole ------------------------------------------------------------------------------------

    async def run(self, jobs: int, kills: int, containers: int = 0) -> None:
        """Hand in so many jobs among so many kills, wait for all their ends, and look at everything.

        Raises:
            AssertionError: something is not as it must be.
        """
        if containers:
            assert self.engine is not None
            self._image = await asyncio.to_thread(import_image, self.engine.client())
        kinds = self.chance.choices(KINDS, [kind.weight for kind in KINDS], k=jobs)
        kinds += [Kind("container", 0)] * containers
        self.chance.shuffle(kinds)
        names = [(f"soak-{number}", kind) for number, kind in enumerate(kinds)]
        await self.process.start()
        try:
            async with aiohttp.ClientSession() as self.http:
                killer = asyncio.create_task(self.kill_now_and_then(kills))
                async with asyncio.TaskGroup() as group:
                    for _ in range(_CLIENTS):
                        group.create_task(self._client(names))
                    group.create_task(_awaited(killer))
                await check_all(self)
        finally:
            await self.process.stop()
        await check_nothing_is_left(self)


async def _awaited(task: asyncio.Task[None]) -> None:
    await task


def _children(pid: int) -> list[int]:
    """The children of a process now."""
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


@asynccontextmanager
async def soak(home: Path, seed: int, engine: Engine | None = None) -> AsyncIterator[Soak]:
    """A soak ready to run, on a network of its own."""
    async with Devstack() as net:
        docker = {"docker": {"enabled": True}} if engine else {}
        process = prepare(home / "sidecar", net, workers=4, lease_seconds=10, **docker)
        before = os.environ.get("DOCKER_HOST")
        if engine is not None:
            os.environ["DOCKER_HOST"] = engine.url  # the sidecar finds its engine so
        try:
            yield Soak(process, seed, engine)
        finally:
            os.environ.pop("DOCKER_HOST", None)
            if before is not None:
                os.environ["DOCKER_HOST"] = before


def _own_engine(home: Path) -> Any:
    import importlib

    return importlib.import_module("tests.docker_engines").OwnEngine(home)


async def _main(options: argparse.Namespace) -> None:
    seed = random.randrange(1 << 30) if options.seed is None else options.seed
    sys.stdout.write(f"seed {seed}\n")
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        engine = _own_engine(Path(folder) / "engine") if options.docker else None
        if engine is not None:
            engine.start()
        started = time.monotonic()
        try:
            async with soak(Path(folder), seed, engine) as one:
                await one.run(options.jobs, options.kills or options.jobs // 10, options.docker)
        finally:
            if engine is not None:
                engine.close()
        kills = ", ".join(f"{name} {count}" for name, count in sorted(one.kills.items()))
        sys.stdout.write(
            f"{len(one.told)} jobs in {time.monotonic() - started:.0f} s; killed: {kills}\n"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--docker", type=int, default=0, help="so many container jobs beside them")
    parser.add_argument("--kills", type=int, default=0, help="a tenth of the jobs if not given")
    parser.add_argument("--seed", type=int)
    asyncio.run(_main(parser.parse_args()))
