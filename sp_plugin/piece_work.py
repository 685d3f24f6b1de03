"""Long work on pieces (verifying, unsealing) as tasks with progress: started once, watched by many, stopped by anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sp_plugin.errors import Conflict
from sp_plugin.jobs.hold import Hold

__all__ = ["Kind", "PieceWork", "Report", "Work", "WorkStopped"]

# Bytes done and bytes in all (None: not known), and what is going on, in words.
Report = Callable[[int, int | None, str], None]

_REMEMBERED: Final = 1000
_LOOK_SECONDS: Final = 1.0
_READING: Final = "reading"  # the phase in which work can break off and go on later


class Kind(StrEnum):
    """What is done with a piece."""

    VERIFY = "verify"
    UNSEAL = "unseal"


class WorkStopped(Conflict):
    """The work was stopped before it came to an end."""


@dataclass(slots=True)
class Work:
    """One piece of work, under way or over. Times are Unix nanoseconds; `began_at` counts bytes done before it started."""

    kind: Kind
    key: str
    started_at: int
    done: int = 0
    total: int | None = None
    began_at: int | None = None
    phase: str = ""
    ended_at: int | None = None
    error: str = ""
    is_settled: bool = False  # its answer is made: who asks now begins anew
    is_joined: bool = False  # somebody asked for it since it (or its present round) began
    task: asyncio.Task[Any] | None = field(default=None, repr=False)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.ended_at is None


class PieceWork:
    """All of it, in this process. `clock` gives Unix nanoseconds.

    Verifying is not begun while `hold` forbids what cannot be frozen. When jobs are frozen, a reading under way breaks off
    and goes on later where it came to.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self.hold = Hold()
        self._clock = clock
        self._known: dict[tuple[Kind, str], Work] = {}
        self._closed = False

    def get(self, kind: Kind, key: str) -> Work | None:
        """The last work of that kind on that piece."""
        return self._known.get((kind, key))

    def start(self, kind: Kind, key: str, run: Callable[[Report], Awaitable[Any]]) -> Work:
        """The work of that kind on that piece: what is under way already, or `run`, begun now."""
        work = self._known.get((kind, key))
        if work is not None and work.is_running and not work.is_settled:
            work.is_joined = True
            return work
        if self._closed:
            raise WorkStopped("the sidecar is stopping")
        work = Work(kind, key, self._clock())
        self._known.pop((kind, key), None)
        self._known[kind, key] = work
        work.task = asyncio.create_task(self._run(work, run))
        work.task.add_done_callback(_seen)
        self._forget()
        return work

    async def wait(self, work: Work) -> Any:
        """What the work gives. A caller that is cancelled does not stop it.

        Raises:
            WorkStopped: somebody stopped it.
            Exception: what it raised.
        """
        assert work.task is not None
        await asyncio.wait({work.task})
        if work.task.cancelled():
            raise WorkStopped(f"{work.kind} of {work.key} was stopped")
        return work.task.result()

    async def stop(self, kind: Kind, key: str) -> bool:
        """Stop it and wait until it has stopped; whether there was anything to stop."""
        work = self._known.get((kind, key))
        if work is None or not work.is_running or work.task is None:
            return False
        work.task.cancel()
        await asyncio.wait({work.task})
        return True

    async def close(self) -> None:
        """Stop everything and start nothing more."""
        self._closed = True
        for work in list(self._known.values()):
            await self.stop(work.kind, work.key)

    async def _run(self, work: Work, run: Callable[[Report], Awaitable[Any]]) -> Any:
        def report(done: int, total: int | None, phase: str) -> None:
            if work.began_at is None or phase != work.phase:
                work.began_at, work.phase = done, phase
            work.done, work.total = done, total

        try:
            if work.kind is Kind.VERIFY:
                return await self._when_free(work, run, report)
            return await run(report)
        except asyncio.CancelledError:
            work.error = "stopped"
            raise
        except Exception as error:
            work.error = str(error) or type(error).__name__
            raise
        finally:
            work.ended_at = self._clock()

    async def _when_free(
        self, work: Work, run: Callable[[Report], Awaitable[Any]], report: Report
    ) -> Any:
        while True:
            if (why := self.hold.why_no_start(freezable=False)) is not None:
                report(work.done, work.total, f"waiting: {why}")
                await self.hold.until_free()
            part = asyncio.ensure_future(run(report))
            try:
                while not part.done():
                    change = asyncio.ensure_future(self.hold.changes.moment().wait())
                    await asyncio.wait(
                        {part, change},
                        timeout=_LOOK_SECONDS,  # it may begin to read while all is frozen
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    change.cancel()
                    if self.hold.pause.is_on and work.phase == _READING:
                        part.cancel()
                        await asyncio.wait({part})
            except asyncio.CancelledError:
                part.cancel()
                await asyncio.wait({part})
                raise
            if not part.cancelled():
                return part.result()

    def _forget(self) -> None:
        over = len(self._known) - _REMEMBERED
        for name in [name for name, work in self._known.items() if not work.is_running][
            : max(over, 0)
        ]:
            del self._known[name]


def _seen(task: asyncio.Task[Any]) -> None:
    """Its error is kept in the work; nobody may be waiting for it."""
    with suppress(asyncio.CancelledError):
        task.exception()
