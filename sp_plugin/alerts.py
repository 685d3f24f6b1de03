"""Alerts about money: each is logged when it is news, and again every few hours while it lasts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

__all__ = ["Alerts"]

_REPEAT_SECONDS: Final = 6 * 3600.0
_MOST_REMEMBERED: Final = 1000

log = structlog.get_logger()


class Alerts:
    """Logs an alert with a name and a text, and stays silent about the same one for six hours.

    Steps look every few seconds, and a problem that waits for a person is found at every look.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged: dict[tuple[str, str], float] = {}

    async def __call__(self, event: str, text: str) -> None:
        """Log the alert unless it was logged within the last hours."""
        now, key = self._clock(), (event, text)
        before = self._logged.pop(key, None)
        if before is not None and now - before < _REPEAT_SECONDS:
            self._logged[key] = before
            return
        self._logged[key] = now
        while len(self._logged) > _MOST_REMEMBERED:
            del self._logged[next(iter(self._logged))]
        log.warning("payout_alert", alert=event, text=text)
