"""Which blocks were here since when: eight bytes for each block of every verified piece and of every finished run.

A block is known by the first 64 bits of a hash over its multihash, so the same bytes under another codec are the same
block. Two different blocks may meet by chance (one in 10^7 for a new block beside 10^12 kept ones); then a block counts
as held that was not, which errs to the provider's side. A 32 GiB piece in 1 MiB blocks takes about 1 MiB here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Integer, String, Table, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from lotus_client.cid import IDENTITY, Cid
from lotus_client.types import Epoch
from sp_plugin.store.base import Store, metadata, unless_there

__all__ = ["HeldBlockRepository", "block_mark", "block_origins", "held_blocks"]

block_origins = Table(
    "block_origins",
    metadata,
    Column("id", Integer, primary_key=True),  # runs are compared by it: the earlier has the lower
    Column("name", String(200), nullable=False, unique=True),
    Column("is_run", Boolean, nullable=False),
    Column("epoch", BigInteger, nullable=False),  # since when its blocks are here
    Column("complete", Boolean, nullable=False),
)
held_blocks = Table(
    "held_blocks",
    metadata,
    Column("mark", BigInteger, primary_key=True, autoincrement=False),
    Column("origin", Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
_CHUNK: Final = 5_000  # rows of one transaction, so that nobody waits long for the database
_ASKED: Final = 500  # marks in one query: SQLite takes at most 999 variables in old builds


def block_mark(cid: Cid) -> int | None:
    """The 64 bits by which a block is kept, signed; None for an identity CID, which is its own block."""
    if cid.hash_code == IDENTITY:
        return None
    whole = cid.hash_code.to_bytes(8, "big") + cid.digest
    return int.from_bytes(hashlib.blake2b(whole, digest_size=8).digest(), "big", signed=True)


class HeldBlockRepository:
    """The marks in the store. Adding the same origin again changes nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def has(self, name: str, epoch: Epoch | None = None) -> bool:
        """Whether all blocks of an origin are kept; a lower `epoch` than the kept one takes its place."""
        async with self._store.transaction() as connection:
            row = await _origin(connection, name)
            if row is not None and epoch is not None and epoch < row.epoch:
                query = update(block_origins).where(block_origins.c.id == row.id)
                await connection.execute(query.values(epoch=epoch))
            return row is not None and row.complete

    async def add(self, name: str, marks: Sequence[int], *, epoch: Epoch, is_run: bool) -> None:
        """Keep the blocks of an origin. Interrupted anywhere it is not complete, and adding it again completes it."""
        async with self._store.transaction() as connection:
            await connection.execute(
                unless_there(connection, block_origins).values(
                    name=name, is_run=is_run, epoch=epoch, complete=False
                )
            )
            origin = (await _origin(connection, name)).id
        for first in range(0, len(marks), _CHUNK):
            rows = [{"mark": mark, "origin": origin} for mark in marks[first : first + _CHUNK]]
            async with self._store.transaction() as connection:
                await connection.execute(unless_there(connection, held_blocks), rows)
        async with self._store.transaction() as connection:
            query = update(block_origins).where(block_origins.c.id == origin)
            await connection.execute(query.values(complete=True))

    async def epoch_of(self, name: str) -> Epoch | None:
        """Since when an origin's blocks are here; None if it is not complete."""
        async with self._store.transaction() as connection:
            row = await _origin(connection, name)
        return Epoch(row.epoch) if row is not None and row.complete else None

    async def held_before(self, run: str, marks: Iterable[int]) -> set[int]:
        """Those of `marks` that were here before a run's: in a piece held at its epoch, or in an earlier run.

        Raises:
            LookupError: the run's own blocks are not kept yet.
        """
        async with self._store.transaction() as connection:
            own = await _origin(connection, run)
            if own is None or not own.complete:
                raise LookupError(run)
            earlier = (block_origins.c.is_run & (block_origins.c.id < own.id)) | (
                ~block_origins.c.is_run & (block_origins.c.epoch <= own.epoch)
            )
            query = select(held_blocks.c.mark).join(
                block_origins, block_origins.c.id == held_blocks.c.origin
            )
            found: set[int] = set()
            asked = sorted(set(marks))
            for first in range(0, len(asked), _ASKED):
                some = held_blocks.c.mark.in_(asked[first : first + _ASKED])
                found.update((await connection.execute(query.where(some, earlier))).scalars())
        return found


async def _origin(connection: AsyncConnection, name: str) -> Any:
    query = select(block_origins).where(block_origins.c.name == name)
    return (await connection.execute(query)).one_or_none()
