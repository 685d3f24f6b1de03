"""The few calls of a lotus-miner that tell where a sector's pieces lie, and that unseal a sector.

Source: Lotus `api/api_storage.go`, `storage/sealer`; lotus-miner serves them under `/rpc/v0` only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

from lotus_client import codec
from lotus_client.api_info import ApiInfo
from lotus_client.cid import Cid
from lotus_client.codec import At, at
from lotus_client.transport import NodeTransport, RetryingTransport, RetryPolicy, RpcTransport
from lotus_client.types import ActorId, AllocationId, PaddedPieceSize, SectorNumber

__all__ = [
    "MinerClient",
    "SectorPiece",
    "SectorStatus",
    "StorageSpace",
    "WorkerJob",
    "WorkerLoad",
    "sector_status_from_json",
]


_MOST_PATHS: Final = 1000
_MOST_JOBS: Final = 10_000


@dataclass(frozen=True, slots=True)
class SectorPiece:
    """A piece at its padded `offset` in a sector. A filler piece keeps a place only and belongs to nobody.

    `deal_id` is set for a market deal, `allocation` (client, allocation id) for verified data without one.
    """

    piece_cid: Cid
    padded_size: PaddedPieceSize
    offset: int
    is_filler: bool
    deal_id: int | None
    allocation: tuple[ActorId, AllocationId] | None


@dataclass(frozen=True, slots=True)
class SectorStatus:
    """What lotus-miner knows of a sector; `state` is its own word (`Proving`, `Available`, `Removed` …).

    `comm_d` is None for an empty sector or before sealing, `ticket` is empty before sealing.
    """

    number: SectorNumber
    state: str
    comm_d: Cid | None
    ticket: bytes
    seal_proof: int
    pieces: tuple[SectorPiece, ...]


@dataclass(frozen=True, slots=True)
class StorageSpace:
    """One storage path of the miner: whether finished sectors are kept there, and the bytes it has free for them."""

    id: str
    can_store: bool
    available: int


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """One task of a sealing worker, by Lotus' name (`seal/v0/precommit/1`). The hostname may be empty.

    PoSts are never among them: their workers only show in `WorkerLoad`.
    """

    task: str
    hostname: str
    run_wait: int

    @property
    def is_running(self) -> bool:
        """Whether it runs now (`storiface.RWRunning`), and neither waits nor has returned."""
        return self.run_wait == 0


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """One worker: the tasks it takes, how many of each run, and whether any take resources at all."""

    hostname: str
    tasks: tuple[str, ...]
    counts: tuple[tuple[str, int], ...]
    takes_resources: bool

    def is_at(self, task: str) -> bool:
        """Whether a task of that name runs; also where an old version only tells that something does."""
        named = any(count and name.startswith(task) for name, count in self.counts)
        return named or (self.takes_resources and not self.counts)


class MinerClient:
    """One lotus-miner. A token with `read` is enough but for the calls that say otherwise."""

    def __init__(self, transport: RpcTransport) -> None:
        self._transport = transport

    @classmethod
    def connect(
        cls, api_info: ApiInfo, *, timeout_seconds: float = 60.0, retry: RetryPolicy | None = None
    ) -> MinerClient:
        """A client over HTTP. Nothing is sent before the first call."""
        transport = NodeTransport(api_info, "v0", timeout_seconds=timeout_seconds)
        return cls(RetryingTransport(transport, retry))

    async def close(self) -> None:
        """Release the sockets."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def actor_id(self) -> ActorId:
        """The id of the miner actor that this lotus-miner serves."""
        here = await self._ask("ActorAddress")
        address = codec.address_from_json(here)
        if address.protocol != 0:
            here.fail("an id address")
        return address.actor_id

    async def sectors(self) -> list[SectorNumber]:
        """The numbers of all sectors it knows, in any state."""
        here = await self._ask("SectorsList")
        return [SectorNumber(item.integer(0, (1 << 63) - 1)) for item in here.items()]

    async def sector_status(self, number: SectorNumber) -> SectorStatus:
        """A sector with its pieces, from lotus-miner's own books (no look at the chain)."""
        return sector_status_from_json(await self._ask("SectorsStatus", number, False))

    async def storage_spaces(self) -> list[StorageSpace]:
        """The miner's storage paths with the bytes free in each. Needs `admin`."""
        listed = (await self._ask("StorageList")).value
        names = sorted(listed) if isinstance(listed, dict) else []
        return [await self._space(name) for name in names[:_MOST_PATHS]]

    async def _space(self, name: str) -> StorageSpace:
        info, stat = await self._ask("StorageInfo", name), await self._ask("StorageStat", name)
        available = stat.field("Available").integer()
        return StorageSpace(name, info.field("CanStore").boolean(), available)

    async def worker_jobs(self) -> list[WorkerJob]:
        """What the sealing workers do and are about to do. Needs `admin`."""
        here = await self._ask("WorkerJobs")
        return [
            WorkerJob(
                job.field("Task").text(),
                job.field("Hostname").optional(lambda item: item.text()) or "",
                job.field("RunWait").integer(-(1 << 31), 1 << 31),
            )
            for _, jobs in here.entries()
            for job in jobs.items()
        ][:_MOST_JOBS]

    async def worker_loads(self) -> list[WorkerLoad]:
        """The workers, those for PoSts too, that are enabled. Needs `admin`."""
        here = await self._ask("WorkerStats")
        return [_load(worker) for _, worker in here.entries() if worker.field("Enabled").boolean()]

    async def unseal(self, number: SectorNumber) -> None:
        """Ask the miner to unseal a whole sector. Needs `admin`.

        It answers at once and works in the background, for hours with 32 GiB; what goes wrong is only in its log, so look for the
        copy. It goes on when the caller goes away (unlike `SectorsUnsealPiece`, which lives as long as its request).
        """
        await self._ask("SectorUnseal", number)

    async def _ask(self, method: str, *params: Any) -> At:
        return At(await self._transport.call(f"Filecoin.{method}", params), method)


def _load(worker: At) -> WorkerLoad:
    resources = ("MemUsedMin", "CpuUse")
    gpu = worker.field("GpuUsed").value
    takes = any(worker.field(name).integer() for name in resources) or gpu not in (0, None, False)
    return WorkerLoad(
        worker.field("Info").field("Hostname").text(),
        tuple(item.text() for item in worker.field("Tasks").items()),
        tuple((name, item.integer()) for name, item in worker.field("TaskCounts").entries()),
        takes,
    )


def sector_status_from_json(raw: Any, path: str = "$") -> SectorStatus:
    """The answer of `SectorsStatus`; pieces come in sector order, fillers included, so offsets add up."""
    here = at(raw, path)
    return SectorStatus(
        number=SectorNumber(here.field("SectorID").integer(0, (1 << 63) - 1)),
        state=here.field("State").text(),
        comm_d=here.field("CommD").optional(codec.cid_from_json),
        ticket=here.field("Ticket").field("Value").data(),
        seal_proof=here.field("SealProof").integer(),
        pieces=tuple(_pieces(here.field("Pieces"))),
    )


def _pieces(here: At) -> Iterator[SectorPiece]:
    offset = 0
    for item in here.items():
        piece, deal = item.field("Piece"), item.field("DealInfo")
        size = piece.field("Size").integer(128, 1 << 63)
        if size & (size - 1):
            piece.field("Size").fail("a padded piece size (a power of two)")
        yield SectorPiece(
            piece_cid=codec.cid_from_json(piece.field("PieceCID")),
            padded_size=PaddedPieceSize(size),
            offset=offset,
            is_filler=deal.value is None,
            deal_id=deal.optional(_deal_id),
            allocation=deal.optional(_allocation),
        )
        offset += size


def _deal_id(deal: At) -> int | None:
    # a piece without a market deal has DealID 0 and no proposal; 0 is a real deal only with a proposal
    if deal.field("DealProposal").value is None:
        return None
    return deal.field("DealID").integer()


def _allocation(deal: At) -> tuple[ActorId, AllocationId] | None:
    manifest = deal.field("PieceActivationManifest")
    if manifest.value is None or manifest.field("VerifiedAllocationKey").value is None:
        return None
    key = manifest.field("VerifiedAllocationKey")
    return (
        codec.actor_id_from_json(key.field("Client")),
        AllocationId(key.field("ID").integer()),
    )
