"""From a run to the piece its results became: which jobs share in what which held pieces earn.

Only blocks that nobody held before count: whatever lies in a verified piece that was held when the run ended, or in the
results of an earlier run, is taken off (`store.held_blocks`), whatever the run's other inputs brought (`jobs.brought`), and
whatever is no payload (directories, inner nodes, the CAR's own bytes).

What is compared are blocks, so its limits are those of blocks. Pieces that were never read, or hold no CAR, are not compared;
nor are the same bytes cut into blocks elsewhere, or wrapped as dag-pb leaves. `max_output_bytes` bounds what such bytes
can bring, and approvers read the program.

A result is found in the held piece that it is, else in an aggregate that was read and has it as a confirmed segment
(`sp_plugin.output_places`).

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
from typing import Final

import structlog

from deals.car import CarError, CarReader
from deals.sources import SourceError
from fil_plus.attribution import cap_counted_bytes
from fil_plus.bundle import Bundle
from fil_plus.pieces import HeldPiece, split_key
from fil_plus.win_values import ProducedPiece, UsedPiece
from lotus_client.cid import RAW, Cid
from lotus_client.types import ActorId, Epoch
from sp_plugin.approvals.desk import bundle_of
from sp_plugin.jobs.brought import brought_in
from sp_plugin.jobs.queue import JobQueue
from sp_plugin.output_places import place_of_use, places_of
from sp_plugin.pieces import Pieces
from sp_plugin.store.chain import ChainRepository
from sp_plugin.store.held_blocks import HeldBlockRepository, block_mark
from sp_plugin.store.jobs import ExecutionRecord, JobRecord
from sp_plugin.store.outputs import OutputRecord, OutputRepository
from sp_plugin.store.sub_pieces import outer_of

__all__ = ["Lineage"]

_AT_ONCE: Final = 200  # runs read in one go

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
        waiting: dict[str, _Waiting] = {}
        after = (0, "")
        while new := await self._queue.untraced(after, _AT_ONCE):
            after = new[-1].modified_at, new[-1].id
            plain = [execution for execution in new if _brought_nothing(execution)]
            await self._outputs.add(*(_plain_record(execution, epoch) for execution in plain))
            for execution in new:
                if not _brought_nothing(execution):
                    await self._look_unless(execution, epoch, waiting)
        self._waiting = waiting
        return False

    async def _look_unless(
        self, execution: ExecutionRecord, epoch: Epoch, waiting: dict[str, _Waiting]
    ) -> None:
        """Look at a run; if it cannot be told now, note it among those that wait."""
        try:
            await self._look(execution, epoch)
        except _CannotTell as error:
            waiting[execution.id] = _Waiting(_staged(execution), str(error))
            if execution.id not in self._waiting:
                log.warning("output_not_traced", execution_id=execution.id, reason=str(error))

    async def untraced(self) -> Sequence[str]:
        """See `ShareRegister`: held outputs that could not be looked at yet, and pieces not read yet that may hold some."""
        held = await self._chain.held_pieces(self._provider)
        places = await places_of(
            [item.piece_cid for item in self._waiting.values() if item.piece_cid],
            held,
            self._pieces.segments,
        )
        waiting = [
            f"run {execution_id}: {item.reason}"
            for execution_id, item in self._waiting.items()
            if item.piece_cid in places
        ]
        return waiting + await self._unread(held)

    async def _unread(self, held: Sequence[HeldPiece]) -> list[str]:
        """Pieces in which a result that is nowhere found may lie: a result in an aggregate is only known by reading it.

        One that was tried and has no bytes is not waited for.
        """
        if self._pieces.where.sources is None:
            return []
        records = [record for record in await self._outputs.all() if record.counted_bytes]
        cids = [record.piece_cid for record in records if record.piece_cid]
        found = await places_of(cids, held, self._pieces.segments)
        lost = [r.run_epoch for r in records if r.piece_cid and r.piece_cid not in found]
        if not lost:
            return []
        read = await self._pieces.segments.read()
        return [
            f"piece {known.piece.key} was not read yet, and results may lie in it"
            for known in await self._pieces.known()
            if known.piece.from_epoch >= min(lost)
            and (known.check is None or (known.is_verified and outer_of(known.piece) not in read))
        ]

    async def produced(self) -> Sequence[ProducedPiece]:
        """See `ShareRegister`: outputs that this provider holds as pieces, or inside some, within each job's `max_output_bytes`."""
        records = [r for r in await self._outputs.all() if r.piece_cid and r.counted_bytes]
        held = await self._chain.held_pieces(self._provider)
        cids = [record.piece_cid for record in records if record.piece_cid]
        places = await places_of(cids, held, self._pieces.segments, self._epoch())
        found = []
        taken: set[Cid] = set()  # of equal outputs only the first brought anything new
        for record in records:
            place = places.get(record.piece_cid) if record.piece_cid else None
            if place is None or record.piece_cid is None or record.piece_cid in taken:
                continue
            taken.add(record.piece_cid)
            job, bundle = await self._bundle(record.job_id)
            if bundle.payee is None:
                continue
            for key, counted in cap_counted_bytes(
                [(place.piece_key, record.counted_bytes)], bundle.max_output_bytes
            ):
                found.append(
                    ProducedPiece(
                        key,
                        bundle.payee,
                        job.id,
                        counted,
                        bundle.terms,
                        sub_piece=place.sub_piece,
                    )
                )
        return found

    async def used(self) -> Sequence[UsedPiece]:
        """See `ShareRegister`: only bundles whose terms give a bonus for use."""
        found = []
        held = {piece.key: piece for piece in await self._chain.held_pieces(self._provider)}
        for record in await self._outputs.all():
            if not record.used_pieces:
                continue
            job, bundle = await self._bundle(record.job_id)
            if bundle.payee is None or not bundle.terms.input_bps:
                continue
            for key in record.used_pieces:
                place = await place_of_use(key, held, self._pieces.segments)
                found.append(
                    UsedPiece(
                        place.piece_key,
                        bundle.payee,
                        str(bundle.payee),
                        job.id,
                        _work_of(bundle),
                        record.run_epoch,
                        bundle.terms,
                        place.sub_piece,
                        place.payload_size,
                    )
                )
        return found

    async def _bundle(self, job_id: str) -> tuple[JobRecord, Bundle]:
        job = await self._queue.job(job_id)
        return job, bundle_of(job)

    async def _look(self, execution: ExecutionRecord, epoch: Epoch) -> None:
        """Find out what a run brought, and keep it.

        Raises:
            _CannotTell: not now.
        """
        used, staged, counted = _used(execution), _staged(execution), 0
        epoch = _epoch_of(execution, epoch)
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
        for key in sorted({split_key(key)[0] for key in keys}):
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


def _used(execution: ExecutionRecord) -> list[str]:
    """The keys of pieces of which the run read blocks."""
    inputs = (execution.run_record or {}).get("inputs", [])
    return sorted({item["piece_key"] for item in inputs if item.get("blocks_read")} - {None})


def _epoch_of(execution: ExecutionRecord, now: Epoch) -> Epoch:
    """The epoch that the run is of: by now its own results may be a held piece."""
    ended = (execution.run_record or {}).get("epoch")
    return now if ended is None else min(now, Epoch(ended))


def _brought_nothing(execution: ExecutionRecord) -> bool:
    """Whether there is nothing to look at: no piece was made and none was read."""
    return _staged(execution) is None and not _used(execution)


def _plain_record(execution: ExecutionRecord, epoch: Epoch) -> OutputRecord:
    return OutputRecord(execution.id, execution.job_id, None, 0, (), _epoch_of(execution, epoch))


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
