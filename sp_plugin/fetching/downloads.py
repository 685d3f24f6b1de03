"""Files fetched by URL, kept by the SHA-256 of their bytes beside the volumes made from pieces, and removed as those are.

A file's CID is that of its bytes as one raw block (`bafkrei…`): it says nothing but their SHA-256. A file that is in the cache
is not fetched again.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import structlog

from deals.denylist import Denied, Denylist
from deals.volumes import VolumeLimits, find_volume, keep_file
from lotus_client.cid import RAW, SHA2_256, Cid
from sp_plugin.executors.pause import time_limit
from sp_plugin.fetching.client import (
    Answer,
    Fetcher,
    FetchFailed,
    FetchRefused,
    checked_url,
)
from sp_plugin.fetching.places import host_is_allowed

__all__ = ["Download", "Downloads", "cid_of_sha256"]

_PAUSES: Final = (1.0, 4.0, 15.0, 60.0)  # seconds between tries
_LOOK_AGAIN: Final = 64 << 20  # bytes after which the disk is looked at again
_AT_ONCE: Final = 4

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Download:
    """A file in the cache. `fetched_from` is the URL that gave it, after redirects; None if it was there already."""

    path: Path
    cid: Cid
    size: int
    fetched_from: str | None


class Downloads:
    """Fetches files into `cache_dir`. `make_room` says what may be written there now; `pauses` are seconds between tries."""

    def __init__(
        self,
        fetcher: Fetcher,
        cache_dir: Path,
        *,
        make_room: Callable[[], VolumeLimits] = VolumeLimits,
        denylist: Callable[[], Denylist] = Denylist,
        pauses: tuple[float, ...] = _PAUSES,
    ) -> None:
        self._fetcher = fetcher
        self._cache = cache_dir
        self._make_room = make_room
        self._denylist = denylist
        self._pauses = pauses
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def check(self, url: str) -> None:
        """Return if the URL may be asked for, as far as it can be told without asking.

        Raises:
            FetchRefused: it may not.
        """
        host = str(checked_url(url).raw_host)
        if not host_is_allowed(host, self._fetcher.rules.hosts):
            raise FetchRefused(f"{host} is not among the hosts of jobs.fetch.allowed_hosts")

    async def pin(self, url: str) -> Download:
        """What the URL gives now.

        Raises:
            FetchRefused: it may not be fetched, is too large, or is on a denylist.
            FetchFailed: it cannot be had now, also because runs stand still: somebody waits for the answer.
        """
        self.check(url)
        if self._fetcher.pause.is_on:
            raise FetchFailed(
                f"{url} is not downloaded while jobs stand still on this host, where proving goes first; "
                "with the file's SHA256 in the job nothing needs to be downloaded to hand it in"
            )
        return await self._tried(url, None, self._pauses[:1])

    async def get(self, url: str, cid: Cid) -> Download:
        """The bytes with that CID, from the cache or from the URL.

        Raises:
            FetchRefused: as `pin`; also if the URL gives other bytes.
            FetchFailed: several tries failed.
        """
        self.check(url)
        found = await asyncio.to_thread(find_volume, self._cache, cid)
        if found is not None:
            self._allow(cid)  # it may have been here before the list was
            return Download(found.path, cid, found.size_bytes, None)
        return await self._tried(url, cid, self._pauses)

    def _allow(self, cid: Cid) -> None:
        try:
            self._denylist().check(cid)
        except Denied as error:
            raise FetchRefused(str(error)) from error

    async def _tried(self, url: str, cid: Cid | None, pauses: tuple[float, ...]) -> Download:
        """The download, tried again after each of the pauses; all tries together take no longer than one may."""
        seconds = self._fetcher.rules.timeout_seconds
        try:
            async with self._turns, time_limit(seconds, self._fetcher.pause):
                for pause in pauses:
                    try:
                        return await self._fetch(url, cid)
                    except FetchFailed as error:
                        log.info("fetch_failed", url=url, error=str(error), again_in=pause)
                    await asyncio.sleep(pause)
                return await self._fetch(url, cid)
        except TimeoutError as error:
            raise FetchFailed(f"{url} took more than {seconds:g} seconds") from error

    async def _fetch(self, url: str, cid: Cid | None) -> Download:
        room = await asyncio.to_thread(self._make_room)
        most = min(self._fetcher.rules.max_bytes, room.max_bytes)
        self._cache.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=self._cache))
        try:
            async with (
                self._fetcher.session() as session,
                session.get(url, hosts=self._fetcher.rules.hosts, max_bytes=most) as answer,
            ):
                with (scratch / "file").open("xb") as file:
                    found = await self._write(answer, file)
                source = str(answer.url)
            if cid is not None and found != cid:
                raise FetchRefused(
                    f"{url} gives bytes with SHA-256 {found.digest.hex()}, not {cid.digest.hex()} as the job says or was "
                    "seen when it came in"
                )
            self._allow(found)
            kept = await asyncio.to_thread(keep_file, self._cache, scratch / "file", found)
        except OSError as error:
            raise FetchRefused(f"{url} cannot be written to {self._cache}: {error}") from error
        finally:
            await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
        log.info("fetched", url=source, bytes=kept.size_bytes, cid=str(found))
        return Download(kept.path, found, kept.size_bytes, source)

    async def _write(self, answer: Answer, file: BinaryIO) -> Cid:
        """The CID of the body, written as it comes; the disk is looked at while it grows."""
        digest, since = hashlib.sha256(), 0
        async for chunk in answer.chunks():
            await self._fetcher.pause.wait_off()  # what is not read is not sent either
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
            since += len(chunk)
            if since >= _LOOK_AGAIN:
                since = 0
                if (await asyncio.to_thread(self._make_room)).max_bytes == 0:
                    raise FetchRefused(
                        f"{answer.url}: the disk has no more above jobs.keep_free_bytes"
                    )
        return cid_of_sha256(digest.digest())


def cid_of_sha256(digest: bytes) -> Cid:
    """The CID of bytes that have this SHA-256 (32 bytes), as one raw block."""
    return Cid.of_digest(RAW, SHA2_256, digest)
