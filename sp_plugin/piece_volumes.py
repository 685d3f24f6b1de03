"""Files out of pieces: the DAG that a job names, written to the cache from a piece's blocks, unless a denylist names any of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Final

from deals.blocks import BadBlock, MissingBlock, UnknownHash
from deals.car import CarError
from deals.denylist import Denied, DenyingBlocks, Denylist
from deals.indexed_blocks import IndexedBlocks, IndexPlace
from deals.unixfs import UnixFsError
from deals.volumes import Volume, VolumeError, VolumeLimits, VolumeTooLarge
from deals.volumes import materialise as make_volume
from lotus_client.cid import Cid
from sp_plugin.executors.pause import Pause, Stopping
from sp_plugin.inputs.base import HeldVolume, InputMissing, InputSealed
from sp_plugin.known_pieces import KnownPiece, with_root
from sp_plugin.piece_content import index_place
from sp_plugin.standing_blocks import StandingBlocks
from sp_plugin.store.sub_pieces import SubPieceRepository

__all__ = ["PieceVolumes"]

_THREADS: Final = 64
# Why the content that a job names cannot be given to it.
_UNREADABLE: Final = (
    CarError, UnixFsError, MissingBlock, BadBlock, UnknownHash, VolumeError, Denied,
)  # fmt: skip


class PieceVolumes:
    """Makes volumes. They are shared and read-only; `make_room` gives how large one may be now.

    While `pause` is on, those under way stand still, between two blocks.
    """

    def __init__(
        self,
        cache_dir: Path,
        roots_dir: Path,
        segments: SubPieceRepository,
        make_room: Callable[[], VolumeLimits],
        denylist: Callable[[], Denylist],
    ) -> None:
        self._cache = cache_dir
        self._roots = roots_dir
        self._segments = segments
        self._make_room = make_room
        self._denylist = denylist
        self.pause = Pause()
        # of their own, since they may stand for minutes while others need one for a moment
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="volumes")

    async def make(
        self,
        known: KnownPiece,
        open_bytes: Callable[[], Awaitable[BinaryIO]],
        root: Cid | None,
        path: str | None,
    ) -> HeldVolume:
        """The DAG of `root` (the piece's first root when None) in a verified piece, narrowed to `path`.

        Raises:
            InputMissing: there is no such thing in it, or it is denied.
            CarError, BadBlock, SourceError, OSError: the bytes are no longer those that were verified.
        """
        if root is None and not known.roots:
            raise InputMissing(
                f"{known.key} holds no CAR with a root; name a path or another piece"
            )
        wanted = root or known.roots[0]
        names = tuple(part for part in (path or "").split("/") if part)
        denylist = self._denylist()
        try:
            await self._check_denied(denylist, known, wanted)
            denylist.check(wanted, names)
            place = index_place(self._roots, known.piece_cid, known.padded_size)
            with await open_bytes() as reader:
                volume = await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._volume, reader, place, wanted, names, denylist
                )
            for block in volume.blocks_read:  # it may have been in the cache before the list was
                denylist.check(block)
        except (CarError, BadBlock):
            raise
        except Stopping as error:  # nothing is wrong with the piece
            raise InputSealed(f"{known.key}: {error}") from error
        except _UNREADABLE as error:
            raise InputMissing(f"{known.key}: {error}") from error
        return HeldVolume(
            volume.path, volume.root, volume.size_bytes, volume.blocks_read, known.key
        )

    async def _check_denied(self, denylist: Denylist, known: KnownPiece, root: Cid) -> None:
        """Raises `Denied` if a piece that the DAG is read from is on the list: itself, the one around, or the one it lies in."""
        if not len(denylist):
            return
        around = KnownPiece(known.piece, known.check)
        inside = [] if known.part else await with_root(around, root, self._segments)
        for one in (around, known, *inside):
            for cid in one.names:
                denylist.check(cid)

    def _volume(
        self,
        reader: BinaryIO,
        place: IndexPlace,
        root: Cid,
        names: tuple[str, ...],
        denylist: Denylist,
    ) -> Volume:
        limits = self._make_room()
        try:
            with IndexedBlocks(reader, place) as indexed:
                blocks = DenyingBlocks(StandingBlocks(indexed, self.pause), denylist)
                return make_volume(blocks, root, names, self._cache, limits)
        except VolumeTooLarge as error:
            if limits.max_bytes >= VolumeLimits().max_bytes:
                raise
            raise VolumeTooLarge(
                f"{error}, which is what the disk has above jobs.keep_free_bytes"
            ) from error
