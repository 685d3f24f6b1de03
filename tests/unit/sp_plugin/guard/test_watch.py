"""The guard at work: it acts on what it sees, fails on the safe side, and tells of changes only."""

from __future__ import annotations

import asyncio

import pytest

from lotus_client.errors import LotusUnavailable
from sp_plugin.config.guard import HostRole
from sp_plugin.guard import watch
from sp_plugin.guard.decide import GuardState
from sp_plugin.guard.sights import Activity, GuardRules, HostSight
from sp_plugin.guard.watch import Guard
from sp_plugin.jobs.hold import Hold
from sp_plugin.metrics import metrics_text
from tests.unit.sp_plugin.guard.parts import PROVER, deadline, sight, time_of


class Chain:
    def __init__(self) -> None:
        self.newest = None
        self.next = None
        self.error = None

    async def look(self):
        if self.error is not None:
            raise self.error
        self.newest = self.next
        return self.newest


class Host:
    def __init__(self) -> None:
        self.sight = HostSight()
        self.error = None

    async def look(self):
        if self.error is not None:
            raise self.error
        return self.sight


class World:
    """A guard with its eyes; `at` brings the chain to an epoch and lets it look."""

    def __init__(self, rules=PROVER) -> None:
        self.chain, self.host, self.hold, self.now = Chain(), Host(), Hold(), time_of(0)
        eye = self.chain if rules.role is HostRole.PROVER else None
        self.guard = Guard(rules, self.hold, eye, self.host, lambda: self.now)
        self.told: list[str] = []
        self.guard.tell = self.told.append

    async def at(self, epoch, *deadlines):
        self.now = time_of(epoch)
        self.chain.next = sight(epoch, *deadlines)
        await self.guard.step()
        return self.guard.report().verdict.state


FIFTH = deadline(5, (0,))


async def test_a_provers_jobs_stand_still_before_the_first_look_and_others_do_not():
    assert World().hold.pause.is_on
    assert not World(GuardRules(HostRole.STORAGE)).hold.pause.is_on


async def test_it_holds_jobs_as_it_decides():
    world, hold = World(), None
    hold = world.hold
    await world.at(250, FIFTH)
    assert (hold.pause.is_on, hold.why_no_start(freezable=False)) == (False, None)
    await world.at(275, FIFTH)
    assert hold.why_no_start() is None
    assert hold.why_no_start(freezable=False)
    await world.at(280, FIFTH)
    assert (hold.pause.is_on, hold.why_stop()) == (True, None)
    await world.at(340, FIFTH)
    assert hold.pause.is_on
    assert "epoch 360" in (hold.why_stop() or "")
    await world.at(361, deadline(6))
    assert (hold.pause.is_on, hold.why_stop(), hold.why_no_start()) == (False, None, None)


async def test_a_prover_that_was_seen_to_work_and_rest_lets_jobs_go_on_and_its_work_stops_them():
    world = World()
    world.host.sight = HostSight(proving=Activity.BUSY)
    assert await world.at(281, FIFTH) is GuardState.FROZEN
    world.host.sight = HostSight(proving=Activity.IDLE)
    assert await world.at(290, FIFTH) is GuardState.FROZEN
    assert await world.at(293, FIFTH) is GuardState.FROZEN
    assert await world.at(294, FIFTH) is GuardState.RUN
    world.host.sight = HostSight(proving=Activity.BUSY)
    assert await world.at(295, FIFTH) is GuardState.FROZEN


async def test_changes_are_told_and_remembered_and_counted_once(capsys):
    world = World()
    for epoch in (250, 251, 280, 281, 282, 340, 341):
        await world.at(epoch, FIFTH)
    states = [change.verdict.state.value for change in world.guard.report().changes]
    assert states == ["stop", "frozen", "run"]
    assert [bool(text) for text in world.told[1::2]] == [False, False, True, True, True, True, True]
    lines = capsys.readouterr().out.splitlines()
    assert sum("guard_stops_jobs" in line for line in lines) == 1
    assert sum("guard_changed" in line for line in lines) == 2
    assert 'sp_plugin_guard_state{state="stop"} 1.0' in metrics_text().decode()


async def test_what_is_remembered_has_an_end():
    world = World()
    for turn in range(200):
        await world.at(280 if turn % 2 else 250, FIFTH)
    assert len(world.guard.report().changes) == 50


async def test_a_node_that_does_not_answer_is_raised_after_the_decision():
    world = World()
    world.chain.error = LotusUnavailable("connection refused")
    with pytest.raises(LotusUnavailable):
        await world.guard.step()
    report = world.guard.report()
    assert report.verdict.state is GuardState.FROZEN
    assert "connection refused" in report.verdict.why
    world.chain.error = None
    assert await world.at(250, FIFTH) is GuardState.RUN
    assert world.guard.report().why_unseen == ""


async def test_a_node_that_hangs_does_not_keep_a_challenge_from_being_noticed(monkeypatch):
    monkeypatch.setattr(watch, "_CHAIN_SECONDS", 0.05)
    world = World()
    await world.at(278, FIFTH)
    world.now = time_of(280)

    async def hangs():
        await asyncio.Event().wait()

    world.chain.look = hangs
    with pytest.raises(LotusUnavailable, match="no answer"):
        await world.guard.step()
    assert world.hold.pause.is_on


async def test_a_host_that_cannot_be_looked_at_does_not_keep_it_from_deciding():
    world = World()
    await world.at(250, FIFTH)
    world.host.error = OSError("too many open files")
    world.chain.next, world.now = sight(280, FIFTH), time_of(280)
    with pytest.raises(OSError, match="too many"):
        await world.guard.step()
    assert world.hold.pause.is_on


async def test_a_host_that_is_slow_to_look_at_does_not_delay_a_freeze(monkeypatch):
    monkeypatch.setattr(watch, "_HOST_SECONDS", 0.2)
    world = World()
    await world.at(250, FIFTH)

    async def hangs():
        await asyncio.Event().wait()

    world.host.look = hangs
    world.chain.next, world.now = sight(280, FIFTH), time_of(280)
    step = asyncio.create_task(world.guard.step())
    await asyncio.sleep(0.05)
    assert world.hold.pause.is_on
    with pytest.raises(TimeoutError):
        await step
    assert "could not be looked at" in world.guard.report().host.unseen[0]


async def test_work_seen_before_the_challenge_is_not_taken_for_the_proof():
    world = World()
    world.host.sight = HostSight(proving=Activity.BUSY)
    await world.at(279, FIFTH)
    world.host.sight = HostSight(proving=Activity.IDLE)
    states = [await world.at(epoch, FIFTH) for epoch in (280, 285, 299)]
    assert set(states) == {GuardState.FROZEN}


async def test_a_hold_wakes_who_waits_for_it():
    hold = Hold()
    await asyncio.wait_for(hold.until_free(), 1)
    hold.no_starts("a challenge comes", freezable_may_start=True)
    waiting = asyncio.create_task(hold.until_free())
    await asyncio.sleep(0)
    hold.freeze("a proof is due")
    await asyncio.sleep(0)
    assert not waiting.done()
    hold.run()
    await asyncio.wait_for(waiting, 1)
    hold.stop("late")
    cancel = asyncio.Event()
    cancel.set()
    await asyncio.wait_for(hold.until_free(cancel), 1)
