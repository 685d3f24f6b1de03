"""From a run to the piece its results became: which jobs share in what which held pieces earn.

Only blocks that nobody held before count: blocks of the inputs and of earlier results are taken off, and so is whatever
is no payload (directories, inner nodes, the CAR's own bytes).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import structlog

from deals.car import CarError, CarReader
from fil_plus.attribution import ProducedPiece, UsedPiece, cap_counted_bytes
from fil_plus.bundle import Bundle
from lotus_client.cid import RAW, Cid, CidError
from lotus_client.types import ActorId, Epoch
from sp_plugin.approvals.desk import bundle_of
from sp_plugin.errors import NotFound
from sp_plugin.jobs.queue import JobQueue
from sp_plugin.jobs.states import ExecutionState, JobState
from sp_plugin.pieces import Pieces
from sp_plugin.store.chain import ChainRepository
from sp_plugin.store.jobs import ExecutionRecord, JobRecord
from sp_plugin.store.outputs import OutputRecord, OutputRepository

__all__ = ["Lineage"]

_ALL = 100_000

log = structlog.get_logger()


class Lineage:
    """Implements `earnings.ports.ShareRegister`. `epoch` gives how far the chain has been followed."""

    def __init__(
        self,
        provider: ActorId,
        *,
        queue: JobQueue,
        outputs: OutputRepository,
        chain: ChainRepository,
        pieces: Pieces,
        results_dir: Path,
        epoch: Callable[[], Epoch | None],
    ) -> None:
        self._provider = provider
        self._queue = queue
        self._outputs = outputs
        self._chain = chain
        self._pieces = pieces
        self._results_dir = results_dir
        self._epoch = epoch
        self._looking = asyncio.Lock()  # the periodic step and the earnings both call `step`

    async def step(self) -> bool:
        """Look at completed runs that were not looked at yet, oldest first."""
        async with self._looking:
            return await self._look_at_new_runs()

    async def _look_at_new_runs(self) -> bool:
        epoch = self._epoch()
        if epoch is None:
            return False
        known = {record.execution_id for record in await self._outputs.all()}
        jobs = await self._queue.list_jobs([JobState.COMPLETED], limit=_ALL)
        for job in sorted(jobs, key=lambda job: job.modified_at):
            for execution in await self._queue.executions_of(job.id):
                if execution.state is ExecutionState.COMPLETED and execution.id not in known:
                    await self._outputs.add(await self._look(execution, epoch))
        return False

    async def produced(self) -> Sequence[ProducedPiece]:
        """See `ShareRegister`: outputs that this provider holds as pieces, within each job's `max_output_bytes`."""
        held: dict[Cid, list[str]] = {}
        for piece in await self._chain.held_pieces(self._provider):
            held.setdefault(piece.piece_cid, []).append(piece.key)
        found = []
        for record in await self._outputs.all():
            keys = held.get(record.piece_cid, []) if record.piece_cid else []
            if not keys:
                continue
            job, bundle = await self._bundle(record.job_id)
            if bundle.payee is None:
                continue
            # A second sector with the same piece holds nothing new, so only the first copy counts.
            for key, counted in cap_counted_bytes(
                [(min(keys), record.counted_bytes)], bundle.max_output_bytes
            ):
                found.append(ProducedPiece(key, bundle.payee, job.id, counted, bundle.terms))
        return found

    async def used(self) -> Sequence[UsedPiece]:
        """See `ShareRegister`: only bundles whose terms give a bonus for use."""
        found = []
        for record in await self._outputs.all():
            job, bundle = await self._bundle(record.job_id)
            if bundle.payee is None or not bundle.terms.input_bps:
                continue
            found += [
                UsedPiece(
                    key,
                    bundle.payee,
                    str(bundle.payee),
                    job.id,
                    _work_of(bundle),
                    record.run_epoch,
                    bundle.terms,
                )
                for key in record.used_pieces
            ]
        return found

    async def _bundle(self, job_id: str) -> tuple[JobRecord, Bundle]:
        job = await self._queue.job(job_id)
        return job, bundle_of(job)

    async def _look(self, execution: ExecutionRecord, epoch: Epoch) -> OutputRecord:
        run = execution.run_record or {}
        used = tuple(
            sorted(
                {item["piece_key"] for item in run.get("inputs", []) if item.get("blocks_read")}
                - {None}
            )
        )
        staged = (run.get("published") or {}).get("piece_cid")
        counted = 0
        if staged is not None:
            seen = await self._seen_before(execution, used)
            car = self._results_dir / execution.id / "results.car"
            counted = await asyncio.to_thread(_new_bytes, car, seen)
        log.info(
            "output_traced", execution_id=execution.id, piece_cid=staged, counted_bytes=counted
        )
        piece_cid = None if staged is None else Cid.parse(staged)
        return OutputRecord(execution.id, execution.job_id, piece_cid, counted, used, epoch)

    async def _seen_before(self, execution: ExecutionRecord, used: Iterable[str]) -> set[Cid]:
        """The blocks of the inputs and of earlier results."""
        seen: set[Cid] = set()
        for key in used:
            try:
                reader = await self._pieces.open(key)
            except NotFound:
                continue  # gone since the run: its blocks cannot be told from new ones any more
            seen |= await asyncio.to_thread(_blocks_in, reader)
        for record in await self._outputs.all():
            car = self._results_dir / record.execution_id / "results.car"
            if record.execution_id != execution.id and car.is_file():
                seen |= await asyncio.to_thread(_blocks_in, car.open("rb"))
        return seen


def _blocks_in(reader: BinaryIO) -> set[Cid]:
    with reader:
        try:
            return {place.cid for place in CarReader(reader).places()}
        except (CarError, CidError):
            return set()


def _new_bytes(car: Path, seen: set[Cid]) -> int:
    """Bytes in leaves of files (raw blocks) that are not among `seen`, each block once."""
    with car.open("rb") as reader:
        leaves = {place.cid: place.size for place in CarReader(reader).places()}
    return sum(size for cid, size in leaves.items() if cid.codec == RAW and cid not in seen)


def _work_of(bundle: Bundle) -> str:
    """What is the same in re-runs: program and inputs."""
    inputs = sorted(f"{item.cid}/{item.path or ''}" for item in bundle.inputs)
    text = "\n".join([bundle.module_sha256 or bundle.image or "", *inputs])
    return hashlib.sha256(text.encode()).hexdigest()
