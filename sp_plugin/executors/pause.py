"""The switch that makes runs stand still, and the clock that stands still with them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from sp_plugin.jobs.signals import first_of

__all__ = ["Pause", "Stopping", "Stopwatch", "time_limit"]


_LOOK_SECONDS: Final = 0.05


class Stopping(Exception):
    """Work in a thread that is given up because the sidecar stops."""


class Pause:
    """Whether runs are to stand still now. Shared by who decides and by who runs; belongs to one event loop.

    An executor looks at it while a program runs: it stops the program while the pause is on, starts nothing, and adds
    `seconds` to the run's time limit. `clock` is monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._before = 0.0
        self._change = asyncio.Event()
        self._may_go = threading.Event()
        self._may_go.set()
        self._is_closed = False

    @property
    def is_on(self) -> bool:
        """Whether runs are to stand still."""
        return self._since is not None

    @property
    def seconds(self) -> float:
        """For how long it has been on in all; take the difference of two readings."""
        now = 0.0 if self._since is None else self._clock() - self._since
        return self._before + now

    def turn(self, *, on: bool) -> None:
        """Switch it; nothing happens if it is so already."""
        if on is self.is_on:
            return
        self._before, self._since = self.seconds, self._clock() if on else None
        change, self._change = self._change, asyncio.Event()
        change.set()
        if not on or self._is_closed:
            self._may_go.set()
        else:
            self._may_go.clear()

    def stand(self) -> None:
        """Return while it is off. For threads that read or write much, at each step; it blocks them.

        Raises:
            Stopping: it was closed.
        """
        self._may_go.wait()
        if self._is_closed:
            raise Stopping("the sidecar is stopping")

    def close(self) -> None:
        """No thread stands any more: those that do, and those that ask from now on, are interrupted."""
        self._is_closed = True
        self._may_go.set()

    def change(self) -> asyncio.Event:
        """An event that is set at the next switching. Take it before looking."""
        return self._change

    async def wait_off(self, cancel: asyncio.Event | None = None) -> None:
        """Return while it is off, or once `cancel` is set."""
        while self.is_on and not (cancel is not None and cancel.is_set()):
            await self.next_change(cancel)

    async def next_change(
        self, cancel: asyncio.Event | None = None, seconds: float | None = None
    ) -> None:
        """Until the next switching, or `cancel` is set, or so long."""
        await first_of(self._change, *([] if cancel is None else [cancel]), seconds=seconds)


class Stopwatch:
    """The seconds of one run since this was made, without those in which the pause was on."""

    def __init__(self, pause: Pause, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause, self._clock = pause, clock
        self._began, self._stood = clock(), pause.seconds

    @property
    def stood(self) -> float:
        """How long the run stood still."""
        return self._pause.seconds - self._stood

    @property
    def seconds(self) -> float:
        """How long it did not."""
        return max(0.0, self._clock() - self._began - self.stood)

    def warnings(self) -> tuple[str, ...]:
        """What the record of the run says of it."""
        if self.stood <= 0:
            return ()
        return (f"it stood still for {self.stood:.1f} s, which count in no limit",)


@asynccontextmanager
async def time_limit(seconds: float, pause: Pause) -> AsyncIterator[None]:
    """As `asyncio.timeout`, but the time in which the pause is on does not count.

    Raises:
        TimeoutError: it took longer.
    """
    loop = asyncio.get_running_loop()
    watch = Stopwatch(pause, loop.time)
    timers: list[asyncio.TimerHandle] = []

    def look(limit: asyncio.Timeout) -> None:
        left = seconds - watch.seconds
        if left <= 0 and not pause.is_on:
            limit.reschedule(loop.time())
        else:
            timers[:] = [loop.call_later(max(left, _LOOK_SECONDS), look, limit)]

    async with asyncio.timeout(None) as limit:
        timers.append(loop.call_later(seconds, look, limit))
        try:
            yield
        finally:
            timers[-1].cancel()
