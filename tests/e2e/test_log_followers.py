"""Readers of a log who come late, come again, and lose the sidecar under them: what was, then what comes, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from benchmarks.stand import JOBS, prepare
from devstack.stack import Devstack
from tests.soak_jobs import Soak
from tests.soak_jobs_kinds import KINDS, TICKS

pytestmark = pytest.mark.timeout(120)

_TICKS = next(kind for kind in KINDS if kind.ticks)
_PAUSE = "(i64.const 10000000)"  # between two lines, in nanoseconds
SLOW = replace(_TICKS, body=_TICKS.body.replace(_PAUSE, "(i64.const 100000000)"))
HALF = TICKS[: len(TICKS) // 2]


@asynccontextmanager
async def at_work(home: Path, net: Devstack) -> AsyncIterator[Soak]:
    """A sidecar in a process of its own, with somebody who asks it."""
    one = Soak(prepare(home, net, lease_seconds=5), seed=1)
    await one.process.start()
    try:
        async with aiohttp.ClientSession() as one.http:
            yield one
    finally:
        await one.process.stop()


async def started(one: Soak) -> str:
    """The ID of a job that has begun to print a line ten times a second."""
    told = await one.hand_in("ticks", SLOW)
    await one.sign(told.id)
    return told.id


async def read(one: Soak, job_id: str, enough: Callable[[str], bool] = lambda _: False) -> str:
    """What one connection tells until it is enough, or it ends or breaks."""
    text = ""
    with suppress(aiohttp.ClientError, OSError):
        token = (one.process.data_dir / "api-token").read_text().strip()
        async with one.http.ws_connect(
            f"{one.process.url}{JOBS}/{job_id}/logs?follow=true",
            headers={"Authorization": f"Bearer {token}"},
        ) as socket:
            async for message in socket:
                frame = message.json()
                assert not frame.get("error"), frame
                text += frame["value"]["Line"]
                if enough(text):
                    break
    return text


async def test_a_reader_who_comes_again_hears_all_from_the_beginning_each_time(
    devnet: Devstack, tmp_path: Path
):
    assert SLOW.body != _TICKS.body
    async with at_work(tmp_path / "sidecar", devnet) as one:
        job_id = await started(one)
        staying = asyncio.create_task(read(one, job_id))
        heard = [""]
        while len(heard[-1]) < len(TICKS):  # a little more each time, then off
            more = len(heard[-1]) + 1
            heard.append(await read(one, job_id, lambda text, more=more: len(text) >= more))
            assert TICKS.startswith(heard[-1])
        assert len(heard) > 5
        assert await staying == TICKS
        assert await read(one, job_id) == TICKS  # when all is over


async def test_readers_whose_sidecar_is_killed_hear_the_next_run_whole_and_once(
    devnet: Devstack, tmp_path: Path
):
    async with at_work(tmp_path / "sidecar", devnet) as one:
        job_id = await started(one)
        command = asyncio.create_task(one.process.run("job", "logs", "--follow", job_id))
        readers = [asyncio.create_task(read(one, job_id)) for _ in range(2)]
        assert (await read(one, job_id, lambda text: len(text) >= len(HALF))).startswith(HALF)
        readers.append(asyncio.create_task(read(one, job_id)))  # one who comes in the middle
        await asyncio.sleep(0.3)
        await one.process.kill()
        for text in await asyncio.gather(*readers):
            assert HALF in text
            assert text != TICKS
            assert TICKS.startswith(text)
        broken = await command
        assert (broken.exit_code, TICKS.startswith(broken.stdout)) == (1, True), broken
        assert "ask again with `sp-plugin job logs`" in broken.stderr

        await one.process.start()
        again = await asyncio.gather(
            read(one, job_id), read(one, job_id), one.process.run("job", "logs", "--follow", job_id)
        )
        assert again[:2] == [TICKS, TICKS]
        assert (again[2].exit_code, again[2].stdout) == (0, TICKS)
        _, found = await one.ask("GET", f"{JOBS}/{job_id}/executions")
        states = [item["ComputeState"]["StateType"] for item in found["Items"]]
        assert states == [10, 9]  # the one that was cut off, and the one that was told

        await one.process.kill()
        await one.process.start()
        assert await read(one, job_id) == TICKS  # kept results outlive it
