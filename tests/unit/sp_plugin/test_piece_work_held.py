"""Verifying while jobs are held back: not begun, broken off, and gone on with."""

from __future__ import annotations

import asyncio

import pytest

from sp_plugin import piece_work
from sp_plugin.piece_work import Kind, PieceWork, WorkStopped


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> PieceWork:
    monkeypatch.setattr(piece_work, "_LOOK_SECONDS", 0.01)
    return PieceWork(lambda: 1)


class Reading:
    """Reads four parts, and keeps those it has read; a part takes until `part` is set."""

    def __init__(self) -> None:
        self.read, self.rounds, self.part = 0, 0, asyncio.Event()

    async def run(self, report):
        self.rounds += 1
        report(self.read, 4, "reading")
        while self.read < 4:
            await self.part.wait()
            self.part.clear()
            self.read += 1
            report(self.read, 4, "reading")
        return "verified"


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0.005)


async def test_it_does_not_begin_while_what_cannot_be_frozen_may_not(work):
    work.hold.no_starts("a challenge comes", freezable_may_start=True)
    reading = Reading()
    begun = work.start(Kind.VERIFY, "claim:1", reading.run)
    await settle()
    assert (reading.rounds, begun.phase) == (0, "waiting: a challenge comes")
    work.hold.run()
    await settle()
    assert reading.rounds == 1
    await work.close()


async def test_a_freeze_breaks_it_off_and_it_goes_on_where_it_came_to(work):
    reading = Reading()
    begun = work.start(Kind.VERIFY, "claim:1", reading.run)
    reading.part.set()
    await settle()
    work.hold.freeze("a proof is due")
    await settle()
    reading.part.set()
    await settle()
    assert (reading.read, begun.phase, begun.is_running) == (1, "waiting: a proof is due", True)
    work.hold.run()
    for _ in range(3):
        reading.part.set()
        await settle()
    assert await work.wait(begun) == "verified"
    assert reading.rounds == 2


async def test_what_comes_behind_the_reading_is_not_broken_off(work):
    stored = asyncio.Event()

    async def store(report):
        report(4, 4, "storing")
        await stored.wait()
        return "stored"

    begun = work.start(Kind.VERIFY, "claim:1", store)
    await settle()
    work.hold.freeze("a proof is due")
    await settle()
    stored.set()
    assert await work.wait(begun) == "stored"


async def test_it_can_be_stopped_while_it_waits(work):
    work.hold.freeze("a proof is due")
    begun = work.start(Kind.VERIFY, "claim:1", Reading().run)
    await settle()
    assert await work.stop(Kind.VERIFY, "claim:1")
    with pytest.raises(WorkStopped):
        await work.wait(begun)


async def test_unsealing_is_only_waiting_for_the_miner_and_goes_on(work):
    work.hold.freeze("a proof is due")

    async def look(report):
        return "there"

    assert await work.wait(work.start(Kind.UNSEAL, "claim:1", look)) == "there"
