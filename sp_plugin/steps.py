"""Periodic steps: each observes, decides and acts once; a step that fails is logged, counted and tried again.

A step never runs twice at the same time, and never stops the others: an unreachable node makes the steps that need it
unwell (`/health/readyz` says why) until it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from lotus_client.errors import (
    LotusBadParams,
    LotusDecodeError,
    LotusError,
    LotusUnavailable,
    LotusWrongNetwork,
)
from sp_plugin.health import Health
from sp_plugin.metrics import STEP_ERRORS, STEP_SECONDS

__all__ = ["Step", "Steps"]

_BUGS: Final = (LotusBadParams, LotusDecodeError)  # ours, or an API that changed
_STOP_SECONDS: Final = 20

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Step:
    """Something done again and again. `run` does one round and returns whether more waits right now."""

    name: str
    every_seconds: int
    run: Callable[[], Awaitable[bool]]


class Steps:
    """The scheduler of the steps; `wake` runs one at once, e.g. when the node reports a new head."""

    def __init__(self, steps: tuple[Step, ...], health: Health) -> None:
        self._steps = {step.name: step for step in steps}
        self._health = health
        self._locks = {step.name: asyncio.Lock() for step in steps}
        self._again: set[str] = set()
        self._soon: set[str] = set()  # to be woken within a moment
        self._without_node: set[str] = (
            set()
        )  # steps whose last round failed for want of the right node
        self._woken: set[asyncio.Task[None]] = set()
        self._stopping = False
        # Two instances, because the second finds the lock taken and goes: one alone would be warned about each time.
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "max_instances": 2, "misfire_grace_time": None},
        )

    def start(self) -> None:
        """Begin; every step runs once at once, then by its interval."""
        now = datetime.now(UTC)
        for step in self._steps.values():
            self._scheduler.add_job(
                self.run_once,
                "interval",
                args=[step.name],
                id=step.name,
                seconds=step.every_seconds,
                next_run_time=now,
            )
        self._scheduler.start()

    def wake(self, name: str) -> None:
        """Run a step now, or once more after the round under way, which may have looked before the news came."""
        if self._stopping:
            return
        if self._locks[name].locked():
            self._again.add(name)
            return
        task = asyncio.create_task(self.run_once(name))
        self._woken.add(task)
        task.add_done_callback(self._woken.discard)

    def wake_within(self, name: str, seconds: float) -> None:
        """Run a step so much later; asked again meanwhile, it runs only once."""
        if name not in self._soon and not self._stopping:
            self._soon.add(name)
            asyncio.get_running_loop().call_later(seconds, self._now, name)

    def _now(self, name: str) -> None:
        self._soon.discard(name)
        self.wake(name)

    async def run_once(self, name: str) -> None:
        """One round of a step, and further ones while it says that more waits. Never raises."""
        lock, step = self._locks[name], self._steps[name]
        if lock.locked():
            return
        async with lock:
            more = True
            while (more or name in self._again) and not self._stopping:
                self._again.discard(name)
                more = await self._round(step)

    async def _round(self, step: Step) -> bool:
        try:
            with STEP_SECONDS.labels(step.name).time():
                more = await step.run()
        except LotusUnavailable as error:
            self._failed(step, error, f"the node cannot be reached: {error}")
            return False
        except LotusWrongNetwork as error:
            self._failed(step, error, str(error))
            return False
        except Exception as error:  # noqa: BLE001  the outermost loop: it must outlive every step
            self._failed(step, error, f"{type(error).__name__}: {error}")
            return False
        self._health.well(step.name, datetime.now(UTC))
        if step.name in self._without_node:  # it is back: the others need not wait for their time
            self._without_node.discard(step.name)
            for name in self._without_node:
                self.wake(name)
        return more

    def _failed(self, step: Step, error: Exception, reason: str) -> None:
        STEP_ERRORS.labels(step.name, type(error).__name__).inc()
        self._health.unwell(step.name, reason, datetime.now(UTC))
        away = isinstance(error, LotusUnavailable | LotusWrongNetwork)
        (self._without_node.add if away else self._without_node.discard)(step.name)
        # what a node refuses (a gateway, a pruned state) is no bug of ours: its words are enough
        is_bug = not isinstance(error, LotusError) or isinstance(error, _BUGS)
        log.warning("step_failed", step=step.name, error=reason, exc_info=is_bug)

    async def stop(self) -> None:
        """Stop starting rounds and wait for those under way; after 20 s they are cancelled."""
        self._stopping = True
        # Shutting APScheduler down while a job runs cancels it, so: pause, wait, then stop.
        if self._scheduler.running:
            self._scheduler.pause()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                for lock in self._locks.values():
                    async with lock:
                        pass
        except TimeoutError:
            log.warning("steps_did_not_stop", seconds=_STOP_SECONDS)
        for task in self._woken:
            task.cancel()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
