"""What holds jobs back on this host. The guard sets it; workers, runs and the readers of pieces ask it."""

from __future__ import annotations

import asyncio

from sp_plugin.executors.pause import Pause
from sp_plugin.jobs.signals import Signal, first_of

__all__ = ["Hold"]


class Hold:
    """What may be done now, and why not more. At first, and where nobody guards, all of it. Belongs to one event loop."""

    def __init__(self) -> None:
        self.pause = Pause()  # what executors look at
        self.changes = Signal()
        self._why = ""
        self._starts, self._only_freezable, self._stops = True, False, False

    def run(self) -> None:
        """Everything may be done."""
        self._set("", starts=True)

    def no_starts(self, why: str, *, freezable_may_start: bool = False) -> None:
        """What runs goes on; nothing else is begun, or nothing that could not be frozen."""
        self._set(why, starts=freezable_may_start, only_freezable=freezable_may_start)

    def freeze(self, why: str) -> None:
        """What runs stands still; what cannot is ended and queued again."""
        self._set(why, starts=False, pause=True)

    def stop(self, why: str) -> None:
        """What runs is ended and queued again."""
        self._set(why, starts=False, pause=True, stops=True)

    def why_no_start(self, *, freezable: bool = True) -> str | None:
        """Why no run may begin, or none of an engine whose runs cannot be frozen; None if it may."""
        may = self._starts and (freezable or not self._only_freezable)
        return None if may else self._why

    def why_stop(self, *, freezable: bool = True) -> str | None:
        """Why a run is to end now and be done again later; None if it need not."""
        ends = self._stops or (self.pause.is_on and not freezable)
        return self._why if ends else None

    @property
    def why_frozen(self) -> str | None:
        """Why runs stand still; None if they do not."""
        return self._why if self.pause.is_on else None

    async def until_free(self, cancel: asyncio.Event | None = None) -> None:
        """Return when work that cannot be frozen may begin (reading pieces, computing commitments), or `cancel` is set."""
        while not (cancel is not None and cancel.is_set()):
            change = self.changes.moment()
            if self.why_no_start(freezable=False) is None:
                return
            await first_of(change, *([] if cancel is None else [cancel]))

    def _set(
        self,
        why: str,
        *,
        starts: bool,
        only_freezable: bool = False,
        pause: bool = False,
        stops: bool = False,
    ) -> None:
        self._why = why
        self._starts, self._only_freezable, self._stops = starts, only_freezable, stops
        self.pause.turn(on=pause)
        self.changes.give()
