"""A container followed to its end, within its limits, through an engine that goes away and comes back."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import requests
from docker.errors import APIError, DockerException, NotFound

from sp_plugin.executors.base import ExecutionLimits, OutcomeKind
from sp_plugin.executors.docker.endings import (
    Ending,
    is_cpu_spent,
    is_ended_by_engine,
    judge,
    start_failed,
)
from sp_plugin.executors.docker.engine import is_away, said
from sp_plugin.executors.docker.handle import RunningContainer
from sp_plugin.executors.docker.spaces import OutputSpace
from sp_plugin.executors.docker.streams import Streams
from sp_plugin.executors.pause import Pause

__all__ = ["AWAY_SECONDS", "Watch"]

AWAY_SECONDS: Final = 120.0  # an engine that is updated is back before that
_FIRST_LOOK, _LONGEST_PAUSE = 0.05, 0.5
# Each line costs the engine about a microsecond of CPU, outside of the container's own limits.
_UNITS_PER_SECOND: Final = 100_000
_LONGEST_HOLD: Final = 5.0
_FLOOD: Final = "it prints too much"
_HELD: Final = "runs are to stand still"


@dataclass(slots=True)
class Watch:
    """One run that is watched. `ran_seconds` is how long it ran before, `was_away` whether nobody watched it then."""

    handle: RunningContainer
    streams: Streams
    space: OutputSpace | None
    limits: ExecutionLimits
    cancel: asyncio.Event | None
    pause: Pause
    ran_seconds: float = 0.0
    was_away: bool = False
    tells_oom: bool = True  # whether the engine does
    _since: float = field(default_factory=time.monotonic)
    _away_since: float | None = None
    _verdict: Ending | None = None  # why we kill it: that may fail first, and then succeed unseen
    _is_held: bool = False
    _thaw_at: float | None = None
    _counted_at: float = field(default_factory=time.monotonic)

    async def start(self) -> Ending | None:
        """Start the container, once nothing holds runs still; the ending if it does not start."""
        await self.pause.wait_off(self.cancel)
        if self.cancel is not None and self.cancel.is_set():
            return Ending(OutcomeKind.CANCELLED, "cancelled")
        try:
            await asyncio.to_thread(self.streams.attach)  # by which Podman finds out what is wrong
            await asyncio.to_thread(self.handle.start)
        except APIError as error:
            if is_away(error) and "OCI runtime" not in said(error):
                return Ending(OutcomeKind.RUNTIME_FAULT, f"the Docker engine failed: {said(error)}")
            return start_failed(said(error))
        self._since = time.monotonic()
        return None

    async def to_end(self) -> Ending:
        """Wait until it has ended or must be ended."""
        longest = _FIRST_LOOK
        while True:
            left = longest if self._is_held else max(0.0, self._left())
            await self.pause.next_change(self._not_yet_cancelled(), min(longest, left))
            try:
                state = await asyncio.to_thread(self.handle.look)
                ending = await self._decide(state)
            except (DockerException, requests.RequestException, OSError) as error:
                ending = await self._not_answered(error)
            if ending is not None:
                return ending
            longest = min(longest * 1.5, _LONGEST_PAUSE)

    async def _decide(self, state: dict[str, Any]) -> Ending | None:
        if self._away_since is not None:
            self._away_since, self.was_away = None, True
        if not state["Running"]:
            if self._verdict is not None:
                return self._verdict
            if is_ended_by_engine(state) and not self.was_away:
                # It may have been away between two looks.
                self.was_away = not await asyncio.to_thread(self.handle.is_start_remembered)
            return judge(
                state,
                self.limits,
                self.handle.sample,
                was_away=self.was_away,
                tells_oom=self.tells_oom,
            )
        if (ending := self._must_end()) is not None:
            self._verdict = ending
            await asyncio.to_thread(self.handle.kill)
            return ending
        if self.space is not None and (excess := await asyncio.to_thread(self.space.excess)):
            # Held still first: a kill takes a moment in which it would write on.
            self._verdict = Ending(OutcomeKind.OUT_OF_DISK, excess)
            with suppress(APIError):
                await asyncio.to_thread(self.handle.freeze, excess)
            await asyncio.to_thread(self.handle.kill)
            return self._verdict
        if not self.streams.is_reading:
            await asyncio.to_thread(self.streams.resume)
        with suppress(APIError):  # it ended a moment ago: the next look tells
            await self._stand_still_or_go_on()
            await self._slow_down()
        return None

    async def _stand_still_or_go_on(self) -> None:
        """As the pause was a moment ago; it may be switched again meanwhile, which the next look finds."""
        if self.pause.is_on and not self._is_held:
            await asyncio.to_thread(self.handle.freeze, _HELD)
            self._is_held = True
        elif self._is_held and not self.pause.is_on:
            await asyncio.to_thread(self.handle.thaw, _HELD)
            self._is_held = False

    def _not_yet_cancelled(self) -> asyncio.Event | None:
        """None once it was cancelled, and an engine that is away is waited for."""
        return None if self.cancel is None or self.cancel.is_set() else self.cancel

    def _must_end(self) -> Ending | None:
        if self.cancel is not None and self.cancel.is_set():
            return Ending(OutcomeKind.CANCELLED, "cancelled")
        if self._left() <= 0:
            message = f"ran longer than {self.limits.wall_seconds:g} s"
            return Ending(OutcomeKind.OUT_OF_TIME, message)
        if is_cpu_spent(self.limits, self.handle.sample):
            message = f"used more than {self.limits.cpu_seconds:g} s of CPU time"
            return Ending(OutcomeKind.OUT_OF_TIME, message)
        return None

    async def _not_answered(self, error: Exception) -> Ending | None:
        """Wait for an engine that is away: the container may live on. Its time goes on, too."""
        if isinstance(error, NotFound):
            message = "its container was removed by somebody else"
            return Ending(OutcomeKind.RUNTIME_FAULT, message)
        if not is_away(error):
            return Ending(OutcomeKind.RUNTIME_FAULT, f"the Docker engine failed: {said(error)}")
        if self.cancel is not None and self.cancel.is_set():
            return Ending(OutcomeKind.CANCELLED, "cancelled while the Docker engine was away")
        now = time.monotonic()
        self._away_since = self._away_since or now
        if now - self._away_since > AWAY_SECONDS:
            message = f"the Docker engine did not answer for {AWAY_SECONDS:g} s: {said(error)}"
            return Ending(OutcomeKind.RUNTIME_FAULT, message)
        await self._sleep(_LONGEST_PAUSE)
        return None

    def _left(self) -> float:
        """Seconds until its wall time is over."""
        ran = self.ran_seconds + time.monotonic() - self._since - self.handle.frozen_seconds
        return self.limits.wall_seconds - ran

    async def _sleep(self, seconds: float) -> None:
        if self.cancel is None or self.cancel.is_set():
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self.cancel.wait(), seconds)

    async def _slow_down(self) -> None:
        """Hold a program still for a while that prints more lines than the engine should spend its time on.

        One that ended a moment ago cannot be held or let go; the next look tells.
        """
        now = time.monotonic()
        if self._thaw_at is not None:
            if now >= self._thaw_at:
                await asyncio.to_thread(self.handle.thaw, _FLOOD)
                self._thaw_at, self._counted_at = None, now
            return
        elapsed, self._counted_at = now - self._counted_at, now
        too_long = self.streams.take_units() / _UNITS_PER_SECOND - max(elapsed, _FIRST_LOOK)
        if too_long > 0:
            await asyncio.to_thread(self.handle.freeze, _FLOOD, stops_clock=False)
            self._thaw_at = now + min(too_long, _LONGEST_HOLD)
