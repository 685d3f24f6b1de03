"""DAGs from trustless IPFS gateways: what a gateway sends is only a hint, every block is hashed before it is used.

First the whole DAG is asked for as one CAR stream, kept in a temporary file; blocks that are not in it (streams end early
when a gateway lacks a block) are asked for one by one. Only blocks that the walk from the root comes to are ever used.
Source: https://specs.ipfs.tech/http-gateways/trustless-gateway/
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote

import structlog

from deals.blocks import BadBlock, BlockStore, MissingBlock, UnknownHash, check_block, each_of
from deals.car import CarReader
from deals.car_errors import CarError, CarLimitExceeded, CarLimits
from deals.car_sections import BlockPlace
from deals.denylist import Denied, DenyingBlocks, Denylist
from deals.fr32 import read_up_to
from deals.unixfs import UnixFsError
from deals.volumes import Volume, VolumeError, VolumeLimits, find_volume
from deals.volumes import materialise as make_volume
from lotus_client.cid import IDENTITY, Cid
from sp_plugin.executors.pause import Stopping, Stopwatch
from sp_plugin.fetching.client import Fetcher, FetchFailed, FetchRefused, Session
from sp_plugin.fetching.places import PrivatePlace
from sp_plugin.standing_blocks import StandingBlocks

__all__ = ["FromGateway", "Gateways"]

_CAR: Final = "application/vnd.ipld.car"
_RAW: Final = "application/vnd.ipld.raw"
# Places of blocks are kept in memory, some 400 bytes each.
_LIMITS: Final = CarLimits(max_blocks=1 << 17)
_MOST_SINGLE: Final = 10_000  # blocks asked for one by one
_THREADS: Final = 16
_BLOCK_SECONDS: Final = 60.0  # gateways search the network for a block that they do not have

_UNUSABLE: Final = (
    CarError, UnixFsError, MissingBlock, BadBlock, UnknownHash, VolumeError, FetchFailed, FetchRefused,
)  # fmt: skip

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FromGateway:
    """A volume, and the gateway it came from; None if it was in the cache already."""

    volume: Volume
    gateway: str | None


class Gateways:
    """Reads from `urls`, in that order, into volumes in `cache_dir`. Operators name them, so each may be in their own network."""

    def __init__(
        self,
        urls: Sequence[str],
        fetcher: Fetcher,
        cache_dir: Path,
        *,
        make_room: Callable[[], VolumeLimits] = VolumeLimits,
        denylist: Callable[[], Denylist] = Denylist,
    ) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._fetcher = fetcher
        self._cache = cache_dir
        self._make_room = make_room
        self._denylist = denylist
        # of their own, since they may stand for minutes while others need one for a moment
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="gateways")

    def __bool__(self) -> bool:
        return bool(self._urls)

    async def has(self, root: Cid) -> None:
        """Return if a gateway gives the root's block.

        Raises:
            FetchRefused: none does, with what each said; or the root is on a denylist.
        """
        self._allow(root)
        kept = await asyncio.to_thread(find_volume, self._cache, root)
        if kept is not None or root.hash_code == IDENTITY:
            return
        said = []
        for url in self._urls:
            try:
                async with self._session(url) as session:
                    check_block(root, await _block(session, url, root))
            except _UNUSABLE as error:
                said.append(f"{url}: {error}")
            else:
                return
        raise FetchRefused("; ".join(said))

    async def materialise(self, root: Cid, names: tuple[str, ...]) -> FromGateway:
        """What lies at the path of `names` below `root`, as a volume.

        Raises:
            FetchRefused: no gateway gave it, with what each said; or something of it is on a denylist.
            FetchFailed: none gave it, and trying again may help with one.
        """
        self._allow(root, names)
        if not names:
            kept = await asyncio.to_thread(find_volume, self._cache, root)
            if kept is not None:
                return FromGateway(self._checked(kept), None)
        said, may_help = [], False
        for url in self._urls:
            try:
                volume = await self._from(url, root, names)
            except (*_UNUSABLE, OSError) as error:
                log.info("gateway_failed", gateway=url, root=str(root), error=str(error))
                said.append(f"{url}: {error}")
                may_help = may_help or isinstance(error, FetchFailed)
            except Denied as error:
                raise FetchRefused(str(error)) from error
            else:
                return FromGateway(self._checked(volume), url)
        raise (FetchFailed if may_help else FetchRefused)("; ".join(said))

    def _allow(self, root: Cid, names: tuple[str, ...] = ()) -> None:
        try:
            self._denylist().check(root, names)
        except Denied as error:
            raise FetchRefused(str(error)) from error

    def _checked(self, volume: Volume) -> Volume:
        """A volume may have been in the cache before its blocks were on the list."""
        for block in volume.blocks_read:
            self._allow(block)
        return volume

    @asynccontextmanager
    async def _session(self, url: str) -> AsyncIterator[Session]:
        async with self._fetcher.session(PrivatePlace.of_url(url)) as session:
            yield session

    async def _from(self, url: str, root: Cid, names: tuple[str, ...]) -> Volume:
        room = await asyncio.to_thread(self._make_room)
        most = min(self._fetcher.rules.max_bytes, room.max_bytes)
        self._cache.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=self._cache))
        try:
            async with self._session(url) as session:
                with (scratch / "dag.car").open("x+b") as car:
                    why = await _save_car(session, url, (root, names), car, most)
                    single = _SingleBlocks(session, url, asyncio.get_running_loop(), most)
                    denylist, limits = self._denylist(), VolumeLimits(max_bytes=most)

                    def make() -> Volume:
                        blocks = StandingBlocks(_GatewayBlocks(car, single, why), session.pause)
                        denying = DenyingBlocks(blocks, denylist)
                        return make_volume(denying, root, names, self._cache, limits)

                    return await asyncio.get_running_loop().run_in_executor(self._threads, make)
        except Stopping as error:
            raise FetchFailed(str(error)) from error
        finally:
            await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)


async def _save_car(
    session: Session, url: str, what: tuple[Cid, tuple[str, ...]], car: BinaryIO, most: int
) -> str:
    """Write the CAR of the DAG, as far as it comes; gives back why there is no more, empty if it came to its end.

    Raises:
        FetchRefused: it is larger than `most`.
    """
    root, names = what
    path = "/".join((str(root), *(quote(name, safe="") for name in names)))
    query = "format=car&dag-scope=all&car-version=1&car-order=dfs&car-dups=n"
    # a DAG of `most` bytes has blocks of directories and sections' heads beside them
    allowed = most + (most >> 2) + (1 << 20)
    try:
        async with session.get(
            f"{url}/ipfs/{path}?{query}",
            accept=f"{_CAR};version=1;order=dfs;dups=n",
            max_bytes=allowed,
        ) as answer:
            if answer.content_type != _CAR:
                return f"it answers {answer.content_type[:60]} when asked for a CAR"
            async for chunk in answer.chunks():
                await session.pause.wait_off()
                await asyncio.to_thread(car.write, chunk)
    except FetchFailed as error:
        return str(error)
    except FetchRefused as error:
        if car.tell():  # too large
            raise
        return str(error)
    return ""


async def _block(session: Session, url: str, cid: Cid) -> bytes:
    """The bytes that the gateway calls this block; not hashed."""
    whole = bytearray()
    async with session.get(
        f"{url}/ipfs/{cid}?format=raw",
        accept=_RAW,
        max_bytes=_LIMITS.max_block,
        seconds=min(_BLOCK_SECONDS, session.seconds),
    ) as answer:
        async for chunk in answer.chunks():
            whole += chunk
    return bytes(whole)


class _SingleBlocks:
    """Blocks one by one, for a thread beside the event loop; so many blocks, bytes and seconds at most."""

    def __init__(
        self, session: Session, url: str, loop: asyncio.AbstractEventLoop, most_bytes: int
    ) -> None:
        self._session = session
        self._url = url
        self._loop = loop
        self._watch = Stopwatch(session.pause)
        self._blocks_left = _MOST_SINGLE
        self._bytes_left = most_bytes + (1 << 20)

    def get(self, cid: Cid) -> bytes:
        """See `BlockStore.get`; FetchRefused and FetchFailed besides."""
        if self._watch.seconds > self._session.seconds:
            raise FetchFailed("its blocks came too slowly one by one")
        if self._blocks_left <= 0 or self._bytes_left <= 0:
            raise FetchRefused(
                f"more blocks were missing in its CAR than are asked for one by one ({_MOST_SINGLE})"
            )
        self._blocks_left -= 1
        asked = asyncio.run_coroutine_threadsafe(_block(self._session, self._url, cid), self._loop)
        # a bound, since a loop that was stopped meanwhile never answers
        data = asked.result(_BLOCK_SECONDS + 5)
        self._bytes_left -= len(data)
        check_block(cid, data)
        return data

    def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """See `BlockStore.get_many`."""
        return each_of(self, cids)


class _GatewayBlocks:
    """A `BlockStore` over what came of a CAR, and the gateway itself for the rest."""

    def __init__(self, car: BinaryIO, rest: BlockStore, why: str) -> None:
        self._car = car
        self._rest = rest
        self._why = why
        self._places = _places_in(car)

    def get(self, cid: Cid) -> bytes:
        """See `BlockStore.get`."""
        if cid.hash_code == IDENTITY:
            return cid.digest
        place = self._places.get(cid)
        if place is None:
            try:
                return self._rest.get(cid)
            except (FetchRefused, FetchFailed) as error:
                also = f" (its CAR: {self._why})" if self._why else ""
                raise type(error)(f"{error}{also}") from error
        self._car.seek(place.offset)
        data = read_up_to(self._car, place.size)
        check_block(cid, data)
        return data

    def get_many(self, cids: Iterable[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """See `BlockStore.get_many`."""
        return each_of(self, cids)


def _places_in(car: BinaryIO) -> dict[Cid, BlockPlace]:
    """Where the blocks of a CAR lie, up to where it is broken off.

    Raises:
        CarLimitExceeded: it has more blocks, or larger ones, than any DAG that is taken.
    """
    places: dict[Cid, BlockPlace] = {}
    car.flush()
    car.seek(0)
    try:
        for place in CarReader(car, _LIMITS).places():
            places.setdefault(place.cid, place)
    except CarError as error:
        if isinstance(error, CarLimitExceeded):
            raise
    return places
