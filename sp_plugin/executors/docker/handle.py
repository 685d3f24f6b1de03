"""One container of a run: started, looked at, held still, killed, removed. All methods block and may be called from threads."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import requests
from docker.errors import APIError, NotFound

from sp_plugin.executors.docker.endings import Sample
from sp_plugin.executors.docker.engine import REQUEST_SECONDS, remove_container
from sp_plugin.executors.docker.oom_listener import OomListener, listen
from sp_plugin.executors.docker.pipes import Pipes, open_pipes, parent_of

__all__ = ["RunningContainer", "oom_kills"]

_CGROUPS: Final = Path("/sys/fs/cgroup")
_OOM_KILLS: Final = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


class RunningContainer:
    """A container as docker-py gives it. `sample` has its counters when last seen, and with `hears_oom` what the kernel tells us.

    `probe` raises `OSError` while nobody listens at the engine's socket; docker-py would leave its own open on that.
    """

    def __init__(
        self, container: Any, probe: Callable[[], None], *, hears_oom: bool = False
    ) -> None:
        self._container = container
        self._probe = probe
        self.id = str(container.id)
        self.sample = Sample()
        self._reasons: dict[str, bool] = {}  # and whether its time stands still for it
        self._frozen_at: float | None = None
        self._frozen_seconds = 0.0
        self._lock = threading.Lock()
        self._pipes: Pipes | None = None
        self._hears_oom = hears_oom
        self._listener: OomListener | None = None

    def start(self) -> None:
        """Start it; raises `APIError` with the engine's words."""
        self._listen_early()  # one that was attached to has its cgroup already
        self._container.start()
        self._listen_early()

    def _listen_early(self) -> None:
        """A program may take all of its memory before the first look."""
        if self._hears_oom and self._listener is None:
            with suppress(APIError, requests.RequestException):
                self._container.reload()
                self._listen(int(self._container.attrs["State"].get("Pid") or 0))

    def look(self) -> dict[str, Any]:
        """Its `State` now, after bringing `sample` up to date.

        Raises:
            APIError, requests.RequestException, OSError: it is gone, or the engine is away.
        """
        self._probe()
        self._container.reload()
        state: dict[str, Any] = self._container.attrs["State"]
        if state["Running"]:
            with suppress(APIError, requests.RequestException):
                api = self._container.client.api
                read_counters(api.stats(self.id, stream=False, one_shot=True), self.sample)
            self._hold_pipes(int(state.get("Pid") or 0))
            kills = oom_kills(int(state.get("Pid") or 0), self.id)
            self.sample.oom_kills = kills if kills is not None else self.sample.oom_kills
            self._listen(int(state.get("Pid") or 0))
        elif self._listener is not None:
            self.sample.oom_kills = max(self._listener.kills(), self.sample.oom_kills or 0)
        return state

    def _listen(self, pid: int) -> None:
        if self._hears_oom and self._listener is None:
            directory = memory_cgroup(pid, self.id)
            self._listener = None if directory is None else listen(directory)

    def last_words(self) -> dict[str, bytes]:
        """What it printed and no engine read, because it was away when the program ended; by stream, once."""
        return {} if self._pipes is None else self._pipes.drain()

    def close(self) -> None:
        """Give back what is held on this host."""
        if self._pipes is not None:
            self._pipes.close()
        if self._listener is not None:
            self._listener.close()

    def _hold_pipes(self, pid: int) -> None:
        if self._pipes is None and pid and is_container_of(pid, self.id):
            shim = parent_of(pid)
            self._pipes = None if shim is None else open_pipes(shim, self.id)

    def freeze(self, reason: str, *, stops_clock: bool = True) -> None:
        """Hold all its processes still, until each reason is taken back. A reason given twice counts once.

        With `stops_clock` that time is not the program's: it does not count as wall time.

        Raises:
            APIError, requests.RequestException: the engine cannot; the reason is not noted then.
        """
        with self._lock:
            if not self._reasons:
                self._container.pause()
            self._note({**self._reasons, reason: stops_clock})

    def thaw(self, reason: str) -> None:
        """Take a reason back; without any, its processes go on.

        Raises:
            APIError, requests.RequestException: the engine cannot; the reason stays then.
        """
        with self._lock:
            if set(self._reasons) == {reason}:
                self._container.unpause()
            self._note({kept: stops for kept, stops in self._reasons.items() if kept != reason})

    def thaw_after_restart(self) -> None:
        """Let a container go on that a sidecar held still before it was killed."""
        self._container.reload()
        if self._container.attrs["State"].get("Paused"):
            self._container.unpause()

    @property
    def frozen_seconds(self) -> float:
        """How long its clock stood still until now."""
        now = 0.0 if self._frozen_at is None else time.monotonic() - self._frozen_at
        return self._frozen_seconds + now

    def _note(self, reasons: dict[str, bool]) -> None:
        self._reasons = reasons
        if any(reasons.values()) and self._frozen_at is None:
            self._frozen_at = time.monotonic()
        elif not any(reasons.values()) and self._frozen_at is not None:
            self._frozen_seconds += time.monotonic() - self._frozen_at
            self._frozen_at = None

    def is_start_remembered(self) -> bool:
        """Whether the engine that runs now is the one that started it: events are kept in its memory only."""
        self._probe()
        until = int(time.time()) + 1
        filters: dict[str, Any] = {"container": self.id, "event": "start"}
        events = self._container.client.events(since=1, until=until, filters=filters, decode=True)
        return any(True for _ in events)

    def kill(self) -> None:
        """End it at once, also when it is frozen, and wait for that; one that has ended is fine."""
        self._probe()
        with suppress(APIError):
            self._container.kill()
        self._container.wait(timeout=REQUEST_SECONDS)

    def has_started(self) -> bool:
        """Whether a process of it ever ran."""
        with suppress(NotFound):
            self._container.reload()
            return not str(self._container.attrs["State"]["StartedAt"]).startswith("0001-")
        return False

    def remove(self) -> None:
        """Kill and remove it; one that is gone is fine."""
        self._probe()
        remove_container(self._container)


def read_counters(stats: Mapping[str, Any], sample: Sample) -> None:
    """Take over the counters of `GET /containers/{id}/stats`."""
    memory = stats.get("memory_stats") or {}
    used = memory.get("max_usage", memory.get("usage"))  # cgroup v2 has no max_usage
    if used is not None:
        sample.memory_bytes = max(used, sample.memory_bytes or 0)
    nanoseconds = ((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage")
    if nanoseconds:
        sample.cpu_seconds = nanoseconds / 1e9


def is_container_of(pid: int, container_id: str, proc: Path = Path("/proc")) -> bool:
    """Whether that process of this host is in that container's cgroup; an engine elsewhere has other numbers."""
    with suppress(OSError):
        return container_id in (proc / str(pid) / "cgroup").read_text()
    return False


def oom_kills(
    pid: int, container_id: str, cgroups: Path = _CGROUPS, proc: Path = Path("/proc")
) -> int | None:
    """How many processes of the container were killed for memory, by its cgroup (v1 or v2); None where it is not seen.

    Not seen: an engine on another host, or one whose cgroups are not below `cgroups`. The ID must be in the path, since
    a foreign engine's process ID could be that of anything here.
    """
    directory = memory_cgroup(pid, container_id, cgroups, proc)
    for name in ("memory.oom_control", "memory.events"):
        with suppress(OSError):
            if directory is not None and (
                found := _OOM_KILLS.search((directory / name).read_text())
            ):
                return int(found[1])
    return None


def memory_cgroup(
    pid: int, container_id: str, cgroups: Path = _CGROUPS, proc: Path = Path("/proc")
) -> Path | None:
    """The directory of the container's cgroup for memory, of version 1, else 2; None where it is not seen (`oom_kills`)."""
    places: list[Path] = []
    with suppress(OSError, ValueError):
        for line in (proc / str(pid) / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if container_id not in path:
                continue
            if controllers == "":
                places.append(cgroups / path.lstrip("/"))
            elif "memory" in controllers.split(","):
                places.insert(0, cgroups / "memory" / path.lstrip("/"))
    return next((place for place in places if place.is_dir()), None)
