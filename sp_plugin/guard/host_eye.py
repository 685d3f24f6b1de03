"""Looking at this host: the provider's software at work, and what is left of the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from sp_plugin.guard import resources
from sp_plugin.guard.miner_eye import Word
from sp_plugin.guard.processes import ProcessEye, ProcessSight
from sp_plugin.guard.sights import Activity, HostSight

__all__ = ["HostEye", "Teller"]


class Teller(Protocol):
    """Something that can be asked what the provider does; `MinerEye` and `CurioEye` are such."""

    async def look(self) -> Word: ...


class HostEye:
    """Puts together what processes, the provider's own word and the kernel show. `place` is on the disk that jobs use."""

    def __init__(
        self, place: Path, processes: ProcessEye | None = None, tellers: Sequence[Teller] = ()
    ) -> None:
        self._place = place
        self._processes = processes or ProcessEye()
        self._tellers = tuple(tellers)
        # Of its own: those of the event loop may all be reading pieces, which is what the guard may have to stop.
        self._thread = ThreadPoolExecutor(1, "guard")

    async def look(self) -> HostSight:
        """What the host shows now."""
        words = await asyncio.gather(*(teller.look() for teller in self._tellers))
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._look, words)

    def close(self) -> None:
        """Let its thread go."""
        self._thread.shutdown(wait=False)

    def _look(self, words: Sequence[Word]) -> HostSight:
        shown = self._processes.look()
        return HostSight(
            # Its own word counts first: by its processes, sealing looks like proving.
            proving=_together([word.proving for word in words]) or shown.activity,
            sealing=_together([word.sealing for word in words]) or shown.activity,
            seen=(*_of_processes(shown), *(word.text for word in words if word.heard)),
            unseen=(
                *(() if shown.found else (_NO_PROCESS,)),
                *(word.text for word in words if not word.heard),
                *(() if self._tellers else (_NO_TELLER,)),
            ),
            load_percent=resources.load_percent(),
            io_wait_percent=resources.io_wait_percent(),
            memory_bytes=resources.memory_available(),
            disk_free_bytes=resources.disk_free(self._place),
        )


_NO_PROCESS = (
    "no process or unit lotus-miner, lotus-worker or curio is seen "
    "(those of nobody, and of this sidecar's own user if it is not root, do not count: a job could bear that name)"
)
_NO_TELLER = (
    "neither lotus-miner's API nor Curio's metrics page is named "
    "(provider.miner.api_info_file with an admin token, guard.curio_metrics_url)"
)


def _together(said: Sequence[Activity | None]) -> Activity | None:
    if Activity.BUSY in said:
        return Activity.BUSY
    return Activity.IDLE if Activity.IDLE in said else None


def _of_processes(shown: ProcessSight) -> tuple[str, ...]:
    if not shown.found:
        return ()
    at_work = {Activity.BUSY: "at work", Activity.IDLE: "idle", None: "seen for the first time"}
    return (f"{', '.join(shown.found[:10])}: {at_work[shown.activity]}",)
