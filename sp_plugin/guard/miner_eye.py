"""The provider's own word on what it is doing: lotus-miner's workers, and Curio's metrics page."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from lotus_client.errors import LotusError
from lotus_client.miner_client import WorkerJob, WorkerLoad
from sp_plugin.guard.sights import Activity

__all__ = ["CurioEye", "MinerEye", "SealingMiner", "Word", "word_of_metrics"]

_SECONDS: Final = 3.0
_MAX_PAGE: Final = 8 << 20
_WINDOW_POST: Final = "post/v0/windowproof"  # Lotus `storage/sealer/sealtasks`
_SEAL: Final = "seal/v0/"
# Curio `harmony/harmonytask/metrics.go` and `tasks/*`: names of tasks in the label task_name.
_ACTIVE: Final = "harmonytask_active_tasks"
_CURIO_PROVES: Final = frozenset({"WdPost"})
_CURIO_SEALS: Final = frozenset(
    {"SDR", "TreeD", "TreeRC", "SyntheticProofs", "PoRep", "UpdateEncode", "UpdateProve"}
)


@dataclass(frozen=True, slots=True)
class Word:
    """What one of them says; None is what it does not tell. `text` says what was said, or why nothing was."""

    text: str
    proving: Activity | None = None
    sealing: Activity | None = None
    heard: bool = True


class SealingMiner(Protocol):
    """What is asked of lotus-miner; `MinerClient` is one. Both calls need a token with `admin`."""

    async def worker_jobs(self) -> Sequence[WorkerJob]: ...
    async def worker_loads(self) -> Sequence[WorkerLoad]: ...


class MinerEye:
    """Asks lotus-miner what its workers on this host do. A miner that proves without a PoSt worker does not tell."""

    def __init__(self, miner: SealingMiner, host: str | None = None) -> None:
        self._miner = miner
        self._host = host or socket.gethostname()

    async def look(self) -> Word:
        """What it says; never raises."""
        try:
            async with asyncio.timeout(_SECONDS):
                jobs, loads = await self._miner.worker_jobs(), await self._miner.worker_loads()
        except (LotusError, TimeoutError) as error:
            said = str(error) or f"no answer in {_SECONDS:g} s"
            return Word(f"lotus-miner's WorkerJobs: {said}"[:300], heard=False)
        here = [job for job in jobs if job.hostname in (self._host, "") and job.is_running]
        sealing = sorted(job.task for job in here if job.task.startswith(_SEAL))
        provers = [
            load
            for load in loads
            if load.hostname == self._host and any(t.startswith(_WINDOW_POST) for t in load.tasks)
        ]
        at_work = any(load.is_at(_WINDOW_POST) for load in provers)
        proof = _activity(at_work) if provers else None
        shown = ", ".join(sealing[:5]) or "no sealing"
        return Word(f"lotus-miner's workers here: {shown}", proof, _activity(bool(sealing)))


class CurioEye:
    """Reads Curio's metrics page."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def look(self) -> Word:
        """What it says; never raises."""
        try:
            timeout = aiohttp.ClientTimeout(total=_SECONDS)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(self._url, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    return Word(f"Curio's metrics page answers {response.status}", heard=False)
                page = await response.content.read(_MAX_PAGE + 1)
                while len(page) <= _MAX_PAGE and (more := await response.content.read(1 << 16)):
                    page += more
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            said = str(error) or type(error).__name__
            return Word(f"Curio's metrics page: {said}"[:300], heard=False)
        if len(page) > _MAX_PAGE:
            return Word(f"Curio's metrics page is larger than {_MAX_PAGE} bytes", heard=False)
        return await asyncio.to_thread(word_of_metrics, page.decode("utf-8", "replace"))


def word_of_metrics(page: str) -> Word:
    """What a metrics page of Curio says. A task that never ran since Curio's start is not on it, and does not run."""
    active: dict[str, float] = {}
    is_curio = False
    try:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                is_curio = is_curio or "harmonytask_" in sample.name
                if sample.name.endswith(_ACTIVE) and (name := sample.labels.get("task_name")):
                    active[name] = active.get(name, 0.0) + sample.value
    except (ValueError, KeyError, IndexError) as error:
        return Word(f"Curio's metrics page cannot be read: {error}"[:300], heard=False)
    if not is_curio:
        return Word("the metrics page is not Curio's: no harmonytask_ metrics", heard=False)
    running = sorted(name for name, count in active.items() if count > 0)
    known = [name for name in running if name in _CURIO_PROVES | _CURIO_SEALS]
    return Word(
        f"Curio's tasks here: {', '.join(known) or 'no proving, no sealing'}",
        _activity(any(name in _CURIO_PROVES for name in running)),
        _activity(any(name in _CURIO_SEALS for name in running)),
    )


def _activity(busy: bool) -> Activity:
    return Activity.BUSY if busy else Activity.IDLE
