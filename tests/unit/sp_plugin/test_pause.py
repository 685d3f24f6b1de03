"""The clock of a run that stands still with it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sp_plugin.executors.pause import Pause, Stopwatch


class Clock:
    now = 5.0

    def __call__(self) -> float:
        return self.now


steps = st.lists(st.tuples(st.booleans(), st.integers(0, 100)), max_size=30)


@given(steps, steps)
def test_a_run_has_the_time_that_passed_while_the_pause_was_off(before, during):
    clock = Clock()
    pause = Pause(clock)
    for on, seconds in before:
        pause.turn(on=on)
        clock.now += seconds
    watch = Stopwatch(pause, clock)
    ran = stood = 0
    for on, seconds in during:
        pause.turn(on=on)
        clock.now += seconds
        ran, stood = (ran, stood + seconds) if on else (ran + seconds, stood)
    assert watch.seconds == pytest.approx(ran)
    assert watch.stood == pytest.approx(stood)
    assert bool(watch.warnings()) == (stood > 0)


async def test_a_change_is_felt_once_and_the_same_switching_is_none():
    pause = Pause()
    change = pause.change()
    pause.turn(on=False)
    assert not change.is_set()
    pause.turn(on=True)
    assert change.is_set()
    assert not pause.change().is_set()


async def test_who_waits_goes_on_when_it_is_off_or_he_is_cancelled():
    pause, cancel = Pause(), asyncio.Event()
    await pause.wait_off()
    pause.turn(on=True)
    waiting = [asyncio.create_task(pause.wait_off(event)) for event in (None, cancel)]
    await asyncio.sleep(0.01)
    cancel.set()
    await asyncio.wait_for(waiting[1], 1)
    assert not waiting[0].done()
    pause.turn(on=False)
    await asyncio.wait_for(waiting[0], 1)
    await pause.next_change(seconds=0.01)
