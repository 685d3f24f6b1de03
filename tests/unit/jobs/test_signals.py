"""Work that is cut off when something else happens first."""

from __future__ import annotations

import asyncio

import pytest

from sp_plugin.jobs.signals import Interrupted, unless


async def test_work_that_is_done_first_gives_what_it_gives_or_raises():
    async def fails() -> int:
        raise KeyError("x")

    assert await unless(asyncio.Event(), asyncio.sleep(0, 7)) == 7
    with pytest.raises(KeyError):
        await unless(asyncio.Event(), fails())


async def test_work_is_over_when_the_event_has_cut_it_off():
    event, ended = asyncio.Event(), []

    async def work() -> None:
        event.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.append(True)

    with pytest.raises(Interrupted):
        await unless(event, work())
    assert ended == [True]


async def test_who_waits_for_it_can_be_cancelled_and_takes_the_work_along():
    started, ended = asyncio.Event(), []

    async def work() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    waiting = asyncio.create_task(unless(asyncio.Event(), work()))
    await started.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended == [True]
