"""What an input source must do, and where a new one registers.

To add a source: write one module in this package with the shape of its `Params`, and a class with `identify` and
`materialise`, registered under the `Type` that people write in a job:

    class MirrorParams(Params):
        url: str = Field(alias="URL", min_length=1)

    @register_source("mirror")
    class MirrorSource:
        params = MirrorParams
        async def identify(self, params, context) -> InputIdentity: ...
        async def materialise(self, params, context, into) -> Materialised: ...

Every module of the package is imported by `sp_plugin.inputs`, so nothing else must be edited. A provider accepts the
source once its name is in `policy.allowed_sources`; nothing is known then of what its bytes are. The two steps are apart
because approvers sign *what* goes in (`identify`, cheap, before any run), and only a run needs the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lotus_client.cid import Cid
from lotus_client.types import ClaimId, PaddedPieceSize
from sp_plugin.fetching.downloads import Downloads
from sp_plugin.fetching.gateways import Gateways
from sp_plugin.jobs.params import Params

__all__ = [
    "SOURCES",
    "HeldVolume",
    "InputAway",
    "InputContext",
    "InputIdentity",
    "InputMissing",
    "InputSealed",
    "InputSource",
    "Materialised",
    "PieceLibrary",
    "PieceRef",
    "register_source",
]


class InputMissing(Exception):
    """An input that is not here (not held, wrong path); the message says what to do."""


class InputSealed(InputMissing):
    """An input that is held, and whose bytes cannot be read now: sealed only, or its storage is away."""


class InputAway(OSError):
    """An input that could not be had this time, and may be a little later: a server is away or busy."""


@dataclass(frozen=True, slots=True)
class InputIdentity:
    """What an input is, by content: it goes into the bundle that approvers sign."""

    kind: str  # the source's Type, lower case
    cid: Cid  # piece CID, root of a DAG, or the CID of the bytes themselves
    path: str | None = None  # within the DAG; of a download its URL
    padded_size: PaddedPieceSize | None = None  # of a piece, whose CID does not contain it
    claim_id: ClaimId | None = None  # only if the job named one


@dataclass(frozen=True, slots=True)
class Materialised:
    """The bytes of an input on this host: a file or directory, readable by all, that nobody changes during the run."""

    host_path: Path
    payload_bytes: int | None = None
    blocks_read: tuple[Cid, ...] = ()  # verified blocks that were read from a piece or a gateway
    piece_key: str | None = None  # the held piece they came from
    fetched_from: str | None = None  # the URL or gateway, if it was fetched for this run


@dataclass(frozen=True, slots=True)
class PieceRef:
    """A piece this provider holds, or a sub-piece inside one, as far as jobs care."""

    key: str  # of the held piece, or of the sub-piece
    piece_cid: Cid
    padded_size: PaddedPieceSize
    claim_id: ClaimId | None


@dataclass(frozen=True, slots=True)
class HeldVolume:
    """UnixFS content written out from a verified piece."""

    host_path: Path
    root: Cid
    payload_bytes: int
    blocks_read: tuple[Cid, ...]
    piece_key: str | None = (
        None  # the piece that was read, which may be another copy than the one asked for
    )


class PieceLibrary(Protocol):
    """The pieces this provider holds, found and written out as files. Implemented over `deals` by the service."""

    async def find_piece(self, piece_cid: Cid | None, claim_id: ClaimId | None) -> PieceRef | None:
        """The held piece, or sub-piece of one, with that CID or claim (both given: both must fit); `None` if not held."""
        ...

    async def find_root(self, root: Cid) -> PieceRef | None:
        """A held piece whose CAR holds the block `root`; `None` if no indexed piece does."""
        ...

    async def materialise(
        self, piece: PieceRef, root: Cid | None, path: str | None, into: Path
    ) -> HeldVolume:
        """The piece's UnixFS DAG (`root`: its first root when `None`), narrowed to `path`, written below `into`.

        The piece's CommP and every block's hash are verified first.

        Raises:
            InputMissing: its bytes cannot be read (sealed only, damaged) or hold no such path.
        """
        ...


@dataclass(frozen=True, slots=True)
class InputContext:
    """What sources may use. Sources get nothing else."""

    library: PieceLibrary | None = None
    allowed_directories: Sequence[Path] = field(default_factory=tuple)  # for localDirectory
    max_inline_bytes: int = 64 << 20  # after unpacking
    downloads: Downloads | None = None  # None: nothing is fetched by URL
    gateways: Gateways | None = None  # None: only what this provider holds
    pinned: Mapping[str, Cid] = field(
        default_factory=dict
    )  # of URLs that were approved: their bytes


class InputSource(Protocol):
    """Turns the Params of one source type into an identity, and later into bytes."""

    params: type[Params]

    async def identify(self, params: Any, context: InputContext) -> InputIdentity:
        """What the input is, by content.

        Raises:
            InputMissing: it is not here.
        """
        ...

    async def materialise(self, params: Any, context: InputContext, into: Path) -> Materialised:
        """The bytes, as a file or directory made at `into`, where nothing is yet; or in place when that is read-only and ours to show.

        Raises:
            InputMissing: it is not here or not readable.
            InputAway: trying again may help.
        """
        ...


SOURCES: dict[str, InputSource] = {}


def register_source(kind: str) -> Callable[[Any], Any]:
    """A decorator that makes a class the source of the `Type` `kind`.

    Raises:
        ValueError: the name is taken (compared without case).
    """

    def register(factory: Any) -> Any:
        if kind.casefold() in (known.casefold() for known in SOURCES):
            raise ValueError(f"an input source {kind!r} is registered already")
        SOURCES[kind] = factory()
        return factory

    return register
