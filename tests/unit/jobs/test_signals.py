"""Who is woken when something may have happened, and work that is cut off by it."""

from __future__ import annotations

import asyncio

import pytest

from sp_plugin.jobs.signals import Call, Interrupted, Signal, unless


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


def test_a_signal_wakes_everybody_and_a_call_the_one_who_waited_longest():
    signal, call = Signal(), Call()
    all_, ones = [signal.moment() for _ in range(3)], [call.moment() for _ in range(3)]
    signal.give()
    call.give()
    assert [event.is_set() for event in all_] == [True] * 3
    assert [event.is_set() for event in ones] == [True, False, False]
    call.give()
    assert [event.is_set() for event in ones] == [True, True, False]


def test_who_is_busy_is_passed_by():
    call = Call()
    busy, idle = call.moment(), call.moment()
    call.forget(busy)
    call.give()
    assert (busy.is_set(), idle.is_set()) == (False, True)
    call.forget(idle)
    call.give()  # nobody is there, and whoever comes looks first
    assert not call.moment().is_set()
