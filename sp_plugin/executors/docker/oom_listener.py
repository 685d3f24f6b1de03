"""Hears of kills for memory in a cgroup of version 1, for engines that do not tell: the kernel counts them up in an eventfd.

Its counter file is gone with the container, the eventfd is ours. It also rises by one when the cgroup is removed. Source: Linux
Documentation/admin-guide/cgroup-v1/memory.rst, section 10; mm/memcontrol.c, mem_cgroup_oom_notify and mem_cgroup_css_offline.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

__all__ = ["OomListener"]

_REMOVAL_SECONDS: Final = 0.3  # from the directory's end to the word of it


class OomListener:
    """Listens to one cgroup. Blocking, for a moment at most."""

    def __init__(self, cgroup: Path) -> None:
        self._cgroup = cgroup
        self._told = 0
        self._events = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            with (cgroup / "memory.oom_control").open("rb") as control:
                words = f"{self._events} {control.fileno()}"
                (cgroup / "cgroup.event_control").write_text(words)
        except OSError:
            self.close()
            raise

    @classmethod
    def of(cls, cgroup: Path) -> Self | None:
        """One for that directory; None where it cannot be listened to."""
        with suppress(OSError, AttributeError):
            return cls(cgroup)
        return None

    def kills(self) -> int:
        """How often the memory was used up so far; the cgroup may be gone."""
        self._take()
        if self._cgroup.exists():  # looked for afterwards: what was told before was no removal
            return self._told
        deadline = time.monotonic() + _REMOVAL_SECONDS
        while (
            self._told < 2 and time.monotonic() < deadline
        ):  # 1 may be the removal, or come before it
            time.sleep(0.02)
            self._take()
        return max(0, self._told - 1)

    def _take(self) -> None:
        if self._events >= 0:
            with suppress(BlockingIOError):
                self._told += os.eventfd_read(self._events)

    def close(self) -> None:
        """Listen no more."""
        if self._events >= 0:
            os.close(self._events)
            self._events = -1
