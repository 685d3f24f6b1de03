"""A provider's sectors with unsealed files, its runs and their results, and the lineage over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from deals.sources.storage_path import StoragePathSource
from fil_plus.pieces import HeldPiece
from lotus_client.types import ActorId, Epoch
from sp_plugin.jobs.states import DesiredState, ExecutionState, JobState
from sp_plugin.lineage import Lineage
from sp_plugin.pieces import Pieces
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.held_blocks import HeldBlockRepository
from sp_plugin.store.jobs import ExecutionRecord, JobRecord
from sp_plugin.store.outputs import OutputRepository
from sp_plugin.store.piece_checks import PieceCheckRepository
from sp_plugin.store.sub_pieces import SubPieceRepository
from tests.piece_samples import SamplePiece, content, held, sample_piece, store_unsealed
from tests.unit.sp_plugin.test_policy import BUNDLE

PROVIDER = ActorId(1001)


SECTOR = 1 << 20


KIB = 1 << 10


DAY = 86_400 * 10**9


@dataclass
class Jobs:
    """What the lineage reads of the queue."""

    runs: dict[str, ExecutionRecord] = field(default_factory=dict)

    outputs: OutputRepository | None = None

    async def untraced(self, after: tuple[int, str], limit: int) -> list[ExecutionRecord]:
        assert self.outputs is not None
        known = {record.execution_id for record in await self.outputs.all()}
        runs = sorted(self.runs.values(), key=lambda run: (run.modified_at, run.id))
        return [run for run in runs if run.id not in known and (run.modified_at, run.id) > after][
            :limit
        ]

    async def execution(self, execution_id: str) -> ExecutionRecord | None:
        return next((run for run in self.runs.values() if run.id == execution_id), None)

    async def job(self, job_id: str) -> JobRecord:
        return JobRecord(
            id=job_id, name=job_id, namespace="default", submitter=None, spec={},
            state=JobState.COMPLETED, message="", priority=0, stop_requested=False, timed_out=False,
            first_queued_at=1, total_deadline=None, deadline=None,
            bundle_digest=BUNDLE.digest().hex(), bundle=BUNDLE.to_json(), attempts=1, revision=1,
            created_at=1, modified_at=1,
        )  # fmt: skip


@dataclass
class Chain:
    """What the lineage reads of the follower's index."""

    pieces: list[HeldPiece] = field(default_factory=list)

    async def held_pieces(
        self, provider: ActorId, *, at: Epoch | None = None
    ) -> tuple[HeldPiece, ...]:
        return tuple(p for p in self.pieces if at is None or p.from_epoch <= at < p.to_epoch)

    async def set_payload_size(self, provider: ActorId, key: str, payload_size: int) -> None:
        self.sizes = {**getattr(self, "sizes", {}), key: payload_size}


class World:
    """A provider's disk and store; `run` leaves a completed run's results there."""

    def __init__(self, directory: Path, store: Store) -> None:
        self.directory, self.store = directory, store
        self.jobs, self.chain, self.epoch = Jobs(), Chain(), Epoch(100)
        for name in ("storage/unsealed", "results", "staging"):
            (directory / name).mkdir(parents=True)
        self.start()

    def start(self) -> None:
        """The parts anew, as after a restart."""
        self.outputs = self.jobs.outputs = OutputRepository(self.store)
        self.pieces = Pieces(
            PROVIDER,
            self.chain,
            PieceCheckRepository(self.store, PROVIDER),
            HeldBlockRepository(self.store),
            segments=SubPieceRepository(self.store),
            source=StoragePathSource([self.directory / "storage"], SECTOR),
            sector_size=SECTOR,
            cache_dir=self.directory / "cache",
            roots_dir=self.directory / "roots",
            epoch=lambda: self.epoch,
            clock=lambda: 1,
        )
        self.lineage = Lineage(
            PROVIDER,
            queue=self.jobs,  # type: ignore[arg-type]
            outputs=self.outputs,
            chain=self.chain,  # type: ignore[arg-type]
            pieces=self.pieces,
            blocks=HeldBlockRepository(self.store),
            results_dir=self.directory / "results",
            staging_dir=self.directory / "staging",
            epoch=lambda: self.epoch,
        )

    def sample(self, **files: bytes) -> SamplePiece:
        name = f"files{len(list(self.directory.iterdir()))}"
        return sample_piece(self.directory / name, files)

    def hold(self, sample: SamplePiece, *, sector: int, since: int) -> HeldPiece:
        """Seal a piece; its bytes are there and not verified yet."""
        piece = held(sample, sector=sector)
        piece = replace(
            piece,
            provenance=replace(piece.provenance, id=sector),
            from_epoch=Epoch(since),
            to_epoch=Epoch(10_000),
        )
        store_unsealed(self.directory / "storage", piece, sample.car, SECTOR)
        self.chain.pieces.append(piece)
        return piece

    def unsealed(self, piece: HeldPiece) -> Path:
        return self.directory / "storage/unsealed" / f"s-t01001-{piece.sector}"

    def run(
        self,
        name: str,
        sample: SamplePiece,
        *,
        over: Sequence[HeldPiece] = (),
        ended: int | None = None,
    ) -> None:
        home = self.directory / "results" / f"e-{name}"
        home.mkdir()
        (home / "results.car").write_bytes(sample.car)
        inputs = [{"piece_key": piece.key, "blocks_read": 3} for piece in over]
        record: dict[str, object] = {
            "inputs": inputs,
            "published": {"piece_cid": str(sample.commitment.piece_cid)},
        }
        if ended is not None:
            record["epoch"] = ended
        self.jobs.runs[name] = ExecutionRecord(
            id=f"e-{name}", job_id=name, attempt=1, node_id="n", token=1, lease_until=None,
            state=ExecutionState.COMPLETED, desired_state=DesiredState.RUNNING, message="",
            outcome="finished", exit_code=0, run_output=None, published=None, run_record=record,
            revision=1, created_at=len(self.jobs.runs), modified_at=1 + len(self.jobs.runs),
        )  # fmt: skip

    async def counted(self) -> dict[str, int]:
        await self.lineage.step()
        return {
            r.execution_id.removeprefix("e-"): r.counted_bytes for r in await self.outputs.all()
        }


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[World]:
    """A world with a new store, closed at the end."""
    store = Store(f"sqlite+aiosqlite:///{directory}/state.db")
    async with store.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    yield World(directory, store)
    await store.close()


OLD, NEW, OTHER = content(3000), bytes(5000), b"x" * 700
