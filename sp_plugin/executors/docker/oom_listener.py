"""Hears of kills for memory in a container's cgroup, for engines that do not always tell: its counters are gone with the container.

Version 1 counts them up in an eventfd, which is ours. It also rises by one when the cgroup is removed. Version 2 wakes who
polls the file of counters; it is read at once, while the container is taken down. Sources: Linux
Documentation/admin-guide/cgroup-v1/memory.rst, section 10; mm/memcontrol.c, mem_cgroup_oom_notify and mem_cgroup_css_offline;
Documentation/admin-guide/cgroup-v2.rst, memory.events; fs/kernfs/file.c, kernfs_generic_poll.
"""

from __future__ import annotations

import os
import select
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

__all__ = ["EventfdListener", "EventsListener", "OomListener", "listen"]

_REMOVAL_SECONDS: Final = 0.3  # from the directory's end to the word of it


class OomListener(Protocol):
    """Listens to one cgroup."""

    def kills(self) -> int:
        """How many kills were heard of; the cgroup may be gone. Blocking, for a moment at most."""
        ...

    def close(self) -> None:
        """Listen no more."""
        ...


def listen(cgroup: Path) -> OomListener | None:
    """A listener to that directory, of either version; None where it cannot be listened to."""
    with suppress(OSError, AttributeError):
        if (cgroup / "memory.events").exists():
            return EventsListener(cgroup / "memory.events", "oom_kill")
        return EventfdListener(cgroup)
    return None


class EventsListener:
    """Version 2: the highest value of one counter, read whenever the file changes, in a thread of its own."""

    def __init__(self, events: Path, counter: str) -> None:
        self._counter = f"{counter} "
        self._highest = 0
        self._file = os.open(events, os.O_RDONLY | os.O_CLOEXEC)
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        try:
            self._read()  # a change is one since it was read
        except OSError:
            os.close(self._stop)
            os.close(self._file)
            raise
        self._thread = threading.Thread(target=self._follow, name="oom-listener", daemon=True)
        self._thread.start()

    def kills(self) -> int:
        """See `OomListener`."""
        with suppress(OSError):
            self._read()
        return self._highest

    def close(self) -> None:
        """See `OomListener`."""
        if self._stop >= 0:
            os.eventfd_write(self._stop, 1)
            self._thread.join()
            os.close(self._stop)
            os.close(self._file)
            self._stop = self._file = -1

    def _follow(self) -> None:
        poll = select.poll()
        poll.register(self._file, select.POLLPRI)
        poll.register(self._stop, select.POLLIN)
        while all(file != self._stop for file, _ in poll.poll()):
            try:
                self._read()
            except OSError:  # the cgroup is removed
                return

    def _read(self) -> None:
        for line in os.pread(self._file, 4096, 0).decode().splitlines():
            if line.startswith(self._counter):
                self._highest = max(self._highest, int(line.removeprefix(self._counter)))


class EventfdListener:
    """Version 1."""

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

    def kills(self) -> int:
        """See `OomListener`."""
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
        """See `OomListener`."""
        if self._events >= 0:
            os.close(self._events)
            self._events = -1
