"""From a run to the piece its results became: which jobs share in what which held pieces earn.

Only blocks that nobody held before count: whatever lies in a verified piece that was held when the run ended, or in the
results of an earlier run, is taken off (`store.held_blocks`), whatever the run's other inputs brought (`jobs.brought`), and
whatever is no payload (directories, inner nodes, the CAR's own bytes).

What is compared are blocks, so its limits are those of blocks. Pieces that were never read, or hold no CAR, are not compared;
nor are the same bytes cut into blocks elsewhere, or wrapped as dag-pb leaves. `max_output_bytes` bounds what such bytes
can bring, and approvers read the program.

A run is looked at once and what was found stays. One whose inputs or results cannot be read is left for later: earnings
wait for it, because to count without knowing what is shared would credit too much.
"""

from __future__ import annotations

import asyncio
import hashlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from deals.car import CarError, CarReader
from deals.sources import SourceError
from fil_plus.attribution import ProducedPiece, UsedPiece, cap_counted_bytes
from fil_plus.bundle import Bundle
from lotus_client.cid import RAW, Cid
from lotus_client.types import ActorId, Epoch
from sp_plugin.approvals.desk import bundle_of
from sp_plugin.jobs.brought import brought_in
from sp_plugin.jobs.queue import JobQueue
from sp_plugin.jobs.states import ExecutionState, JobState
from sp_plugin.pieces import Pieces
from sp_plugin.store.chain import ChainRepository
from sp_plugin.store.held_blocks import HeldBlockRepository, block_mark
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
        blocks: HeldBlockRepository,
        results_dir: Path,
        staging_dir: Path,
        epoch: Callable[[], Epoch | None],
    ) -> None:
        self._provider = provider
        self._queue = queue
        self._outputs = outputs
        self._chain = chain
        self._pieces = pieces
        self._blocks = blocks
        self._results_dir = results_dir
        self._staging_dir = staging_dir
        self._epoch = epoch
        self._looking = asyncio.Lock()  # the periodic step and the earnings both call `step`
        self._waiting: dict[str, _Waiting] = {}  # by execution, as the last step found them

    async def step(self) -> bool:
        """Look at completed runs that were not looked at yet, oldest first."""
        async with self._looking:
            return await self._look_at_new_runs()

    async def _look_at_new_runs(self) -> bool:
        epoch = self._epoch()
        if epoch is None:
            return False
        known = {record.execution_id for record in await self._outputs.all()}
        new = [
            execution
            for job in await self._queue.list_jobs([JobState.COMPLETED], limit=_ALL)
            for execution in await self._queue.executions_of(job.id)
            if execution.state is ExecutionState.COMPLETED and execution.id not in known
        ]
        waiting: dict[str, _Waiting] = {}
        for execution in sorted(new, key=lambda execution: (execution.modified_at, execution.id)):
            try:
                await self._look(execution, epoch)
            except _CannotTell as error:
                waiting[execution.id] = _Waiting(_staged(execution), str(error))
                if execution.id not in self._waiting:
                    log.warning("output_not_traced", execution_id=execution.id, reason=str(error))
        self._waiting = waiting
        return False

    async def untraced(self) -> Sequence[str]:
        """See `ShareRegister`: held outputs that could not be looked at yet, each with the reason."""
        held = {piece.piece_cid for piece in await self._chain.held_pieces(self._provider)}
        return [
            f"run {execution_id}: {item.reason}"
            for execution_id, item in self._waiting.items()
            if item.piece_cid in held
        ]

    async def produced(self) -> Sequence[ProducedPiece]:
        """See `ShareRegister`: outputs that this provider holds as pieces, within each job's `max_output_bytes`."""
        held: dict[Cid, list[str]] = {}
        for piece in await self._chain.held_pieces(self._provider):
            held.setdefault(piece.piece_cid, []).append(piece.key)
        found = []
        taken: set[Cid] = set()  # of equal outputs only the first brought anything new
        for record in await self._outputs.all():
            keys = held.get(record.piece_cid, []) if record.piece_cid else []
            if not keys or not record.counted_bytes or record.piece_cid in taken:
                continue
            assert record.piece_cid is not None
            taken.add(record.piece_cid)
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

    async def _look(self, execution: ExecutionRecord, epoch: Epoch) -> None:
        """Find out what a run brought, and keep it.

        Raises:
            _CannotTell: not now.
        """
        inputs = (execution.run_record or {}).get("inputs", [])
        used = sorted({item["piece_key"] for item in inputs if item.get("blocks_read")} - {None})
        staged, counted = _staged(execution), 0
        ended = (execution.run_record or {}).get("epoch")
        if ended is not None:  # by now its own results may be a held piece
            epoch = min(epoch, Epoch(ended))
        if staged is not None:
            leaves, epoch = await self._keep_blocks(execution, staged, epoch)
            await self._know_inputs(used)
            held = await self._blocks.held_before(_run(execution), leaves)
            held |= await self._brought(execution)
            counted = sum(size for mark, size in leaves.items() if mark not in held)
        await self._outputs.add(
            OutputRecord(execution.id, execution.job_id, staged, counted, tuple(used), epoch)
        )
        log.info(
            "output_traced",
            execution_id=execution.id,
            piece_cid=str(staged),
            counted_bytes=counted,
        )

    async def _keep_blocks(
        self, execution: ExecutionRecord, staged: Cid, epoch: Epoch
    ) -> tuple[dict[int, int], Epoch]:
        """The leaves of the results with their sizes, and the epoch that the run is of."""
        places = (
            self._results_dir / execution.id / "results.car",
            self._staging_dir / f"{staged}.car",
        )
        car = next((place for place in places if place.is_file()), None)
        if car is None:
            raise _CannotTell(f"its results are gone: neither {places[0]} nor {places[1]} is there")
        try:
            marks, leaves = await asyncio.to_thread(_blocks_in, car)
        except (CarError, OSError) as error:
            raise _CannotTell(f"{car} cannot be read: {error}") from error
        name = _run(execution)
        if not await self._blocks.has(name):
            await self._blocks.add(name, marks, epoch=epoch, is_run=True)
        return leaves, await self._blocks.epoch_of(name) or epoch

    async def _brought(self, execution: ExecutionRecord) -> set[int]:
        """The marks of blocks that were in inputs of no piece."""
        try:
            found = await asyncio.to_thread(brought_in, self._results_dir / execution.id)
        except OSError as error:
            raise _CannotTell(str(error)) from error
        return {mark for cid in found if (mark := block_mark(cid)) is not None}

    async def _know_inputs(self, keys: Sequence[str]) -> None:
        held = {piece.key: piece for piece in await self._chain.held_pieces(self._provider)}
        for key in keys:
            piece = held.get(key)
            if piece is None:
                raise _CannotTell(f"its input {key} is not among the pieces ever held")
            try:
                await self._pieces.know_blocks(piece)
            except (SourceError, OSError) as error:
                raise _CannotTell(f"its input {key} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class _Waiting:
    piece_cid: Cid | None
    reason: str


class _CannotTell(Exception):
    """What a run brought cannot be told now; the text says why."""


def _run(execution: ExecutionRecord) -> str:
    return f"run:{execution.id}"


def _staged(execution: ExecutionRecord) -> Cid | None:
    staged = ((execution.run_record or {}).get("published") or {}).get("piece_cid")
    return None if staged is None else Cid.parse(staged)


def _blocks_in(car: Path) -> tuple[array[int], dict[int, int]]:
    """The marks of all blocks, and the sizes of the leaves of files (raw blocks), each block once."""
    marks, leaves = array("q"), {}
    with car.open("rb") as reader:
        for place in CarReader(reader).places():
            if (mark := block_mark(place.cid)) is None:
                continue
            marks.append(mark)
            if place.cid.codec == RAW:
                leaves[mark] = place.size
    return marks, leaves


def _work_of(bundle: Bundle) -> str:
    """What is the same in re-runs: program and inputs."""
    inputs = sorted(f"{item.cid}/{item.path or ''}" for item in bundle.inputs)
    text = "\n".join([bundle.module_sha256 or bundle.image or "", *inputs])
    return hashlib.sha256(text.encode()).hexdigest()
