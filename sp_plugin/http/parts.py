"""What the HTTP handlers work with: the sidecar's parts, handed over once when the app is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from deals.event_sources import SourceStatus
from deals.gaps import Gap
from lotus_client.address import Address, NetworkPrefix
from lotus_client.types import ActorId, Epoch
from sp_plugin.admission import Admission
from sp_plugin.approvals.desk import ApprovalDesk
from sp_plugin.config import DatasetConfig, HttpConfig
from sp_plugin.config.jobs import JobsConfig
from sp_plugin.guard.watch import Guard
from sp_plugin.health import Health
from sp_plugin.http.links import ResultLinks
from sp_plugin.jobs.following import LogPlaces
from sp_plugin.jobs.queue import JobQueue
from sp_plugin.jobs.reading import Kinds
from sp_plugin.pieces import Pieces
from sp_plugin.store.earnings import EarningsRepository
from sp_plugin.store.tokens import TokenRepository
from sp_plugin.treasury import Treasury
from sp_plugin.unsealing import Unsealing

__all__ = ["PARTS", "Parts"]


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything the handlers may use.

    `wake` runs a periodic step now; `head` asks the node for the chain's present epoch; `followed` is the epoch up to
    which the chain has been taken over, None before the first step; `backfill` reads wins of a range of epochs again
    and says how many; `event_source` is where events are read, None before there were any to read; `gaps` are the epochs of
    which something is unknown. `consider` looks at one waiting job soon; `logs` is where runs write; `started` is when the
    sidecar began to serve.
    """

    http: HttpConfig
    tokens: TokenRepository
    health: Health
    queue: JobQueue
    admission: Admission
    desk: ApprovalDesk
    pieces: Pieces
    unsealing: Unsealing
    guard: Guard
    datasets: Sequence[DatasetConfig]
    treasury: Treasury
    earnings: EarningsRepository
    backfill: Callable[[Epoch, Epoch], Awaitable[int]]
    statement: Callable[[Address], Awaitable[dict[str, Any]]]
    provider: ActorId
    results_dir: Path
    links: ResultLinks
    record_signer: Address
    prefix: NetworkPrefix
    wake: Callable[[str], None]
    head: Callable[[], Awaitable[Epoch]]
    followed: Callable[[], Epoch | None]
    event_source: Callable[[], SourceStatus | None]
    gaps: Callable[[], Awaitable[tuple[Gap, ...]]]
    network: str
    consider: Callable[[str], None]
    logs: LogPlaces
    kinds: Kinds
    jobs: JobsConfig
    node_id: str
    started: datetime


PARTS: Final = web.AppKey("parts", Parts)
