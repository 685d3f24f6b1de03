"""Which pieces lie inside verified ones: the confirmed segments of aggregates, by the content of the piece around them.

What is kept speaks of bytes, not of claims: whether a sub-piece is *held* is asked each time of the pieces around it, so that a claim
that is reverted, or comes back, takes its sub-pieces with it. A piece's findings are written in one transaction: all or none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from deals.piece_cars import HeldCar
from deals.piece_cid import encode_piece_cid_v1, root_of
from deals.sub_pieces import ConfirmedBy, SegmentFindings
from fil_plus.pieces import HeldPiece, SubPiece
from lotus_client.cid import Cid
from lotus_client.types import PaddedPieceSize
from sp_plugin.store.base import CidType, Store, metadata

__all__ = [
    "IndexReading",
    "OuterPiece",
    "StoredSubPiece",
    "SubPieceRepository",
    "outer_of",
    "sub_pieces",
]

piece_indexes = Table(
    "piece_indexes",
    metadata,
    Column("outer_cid", CidType, primary_key=True),
    Column("outer_size", BigInteger, primary_key=True, autoincrement=False),
    Column("segments", Integer, nullable=False),
    Column("fault_count", Integer, nullable=False),
    Column("faults", Text, nullable=False),  # JSON list of the first ones, as text
    Column("read_at", BigInteger, nullable=False),  # Unix nanoseconds
)
sub_pieces = Table(
    "sub_pieces",
    metadata,
    Column("outer_cid", CidType, primary_key=True),
    Column("outer_size", BigInteger, primary_key=True, autoincrement=False),
    Column("piece_offset", BigInteger, primary_key=True, autoincrement=False),
    Column("padded_size", BigInteger, nullable=False),
    Column("piece_cid", CidType, nullable=False),
    Column("entry", Integer, nullable=False),  # its number in the index
    Column("payload_size", BigInteger),  # null: it is no CAR, or a broken one
    Column("roots", Text, nullable=False),  # JSON list of CIDs
    Column("confirmed_by", String(8), nullable=False),
    Index("ix_sub_pieces_piece_cid", "piece_cid"),
)
_CHUNK: Final = 2_000  # rows of one statement
_ASKED: Final = 400  # CIDs in one query

OuterPiece = tuple[Cid, PaddedPieceSize]  # version 1 CID and size of the piece around


@dataclass(frozen=True, slots=True)
class StoredSubPiece:
    """A confirmed sub-piece, the piece around it, its payload's size (None: not known) and the roots of its CAR."""

    outer: OuterPiece
    part: SubPiece
    entry: int
    payload_size: int | None
    roots: tuple[Cid, ...]
    confirmed_by: ConfirmedBy


@dataclass(frozen=True, slots=True)
class IndexReading:
    """What reading a piece's index has shown: how many segments were confirmed, and what is wrong with others."""

    segments: int
    fault_count: int
    faults: tuple[str, ...]


def outer_of(piece: HeldPiece) -> OuterPiece:
    """The content of a held piece, whichever claim or deal holds it."""
    return encode_piece_cid_v1(root_of(piece.piece_cid)), piece.padded_size


class SubPieceRepository:
    """The sub-pieces in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def save(
        self,
        outer: OuterPiece,
        findings: SegmentFindings,
        cars: Iterable[HeldCar],
        *,
        read_at: int,
    ) -> None:
        """Keep what a piece's index has shown, in place of what was kept of it."""
        by_start = {car.start: car for car in cars}
        rows = [
            _row_of(outer, one.entry.offset, one.entry.size)
            | {
                "piece_cid": encode_piece_cid_v1(one.entry.commitment),
                "entry": one.number,
                "payload_size": None if car is None else car.payload_size,
                "roots": json.dumps([str(root) for root in car.roots] if car else []),
                "confirmed_by": one.by.value,
            }
            for one in findings.segments
            for car in [by_start.get(one.entry.offset // 128 * 127)]
        ]
        async with self._store.transaction() as connection:
            await _forget(connection, outer)
            for first in range(0, len(rows), _CHUNK):
                await connection.execute(insert(sub_pieces), rows[first : first + _CHUNK])
            await connection.execute(
                insert(piece_indexes).values(
                    outer_cid=outer[0],
                    outer_size=outer[1],
                    segments=len(rows),
                    fault_count=findings.fault_count,
                    faults=json.dumps([str(fault) for fault in findings.faults]),
                    read_at=read_at,
                )
            )

    async def reading(self, outer: OuterPiece) -> IndexReading | None:
        """What reading a piece's index has shown; None if that was not done yet."""
        query = select(piece_indexes).where(_same(piece_indexes, outer))
        async with self._store.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        return IndexReading(row.segments, row.fault_count, tuple(json.loads(row.faults)))

    async def read(self) -> Mapping[OuterPiece, int]:
        """The pieces whose index was looked for, with how many segments each has."""
        columns = piece_indexes.c
        query = select(columns.outer_cid, columns.outer_size, columns.segments)
        async with self._store.reading() as connection:
            rows = (await connection.execute(query)).all()
        return {(cid, PaddedPieceSize(size)): segments for cid, size, segments in rows}

    async def named(self, cids: Iterable[Cid]) -> Sequence[StoredSubPiece]:
        """The sub-pieces with one of these version 1 CIDs, in the order of the pieces around them and their offsets."""
        asked, found = sorted(set(cids)), []
        for first in range(0, len(asked), _ASKED):
            found += await self._select(sub_pieces.c.piece_cid.in_(asked[first : first + _ASKED]))
        return found

    async def of(self, outer: OuterPiece, most: int | None = None) -> Sequence[StoredSubPiece]:
        """The sub-pieces of one piece by offset, the first `most` of them."""
        return await self._select(_same(sub_pieces, outer), most)

    async def with_root(self, outer: OuterPiece, root: Cid) -> Sequence[StoredSubPiece]:
        """The sub-pieces of one piece whose CAR has this root."""
        has = sub_pieces.c.roots.contains(f'"{root}"', autoescape=True)
        found = await self._select(_same(sub_pieces, outer) & has)
        return [part for part in found if root in part.roots]

    async def at(self, outer: OuterPiece, offset: int, size: int) -> StoredSubPiece | None:
        """The sub-piece at that place."""
        here = (sub_pieces.c.piece_offset == offset) & (sub_pieces.c.padded_size == size)
        return next(iter(await self._select(_same(sub_pieces, outer) & here)), None)

    async def _select(self, where: Any, most: int | None = None) -> list[StoredSubPiece]:
        columns = sub_pieces.c
        query = select(sub_pieces).where(where).limit(most)
        query = query.order_by(columns.outer_cid, columns.outer_size, columns.piece_offset)
        async with self._store.reading() as connection:
            return [_stored(row) for row in await connection.execute(query)]


async def _forget(connection: AsyncConnection, outer: OuterPiece) -> None:
    for table in (sub_pieces, piece_indexes):
        await connection.execute(delete(table).where(_same(table, outer)))


def _same(table: Table, outer: OuterPiece) -> Any:
    return (table.c.outer_cid == outer[0]) & (table.c.outer_size == outer[1])


def _row_of(outer: OuterPiece, offset: int, size: int) -> dict[str, Any]:
    return {
        "outer_cid": outer[0],
        "outer_size": outer[1],
        "piece_offset": offset,
        "padded_size": size,
    }


def _stored(row: Any) -> StoredSubPiece:
    return StoredSubPiece(
        (row.outer_cid, PaddedPieceSize(row.outer_size)),
        SubPiece(row.piece_offset, PaddedPieceSize(row.padded_size), row.piece_cid),
        row.entry,
        row.payload_size,
        tuple(Cid.parse(root) for root in json.loads(row.roots)),
        ConfirmedBy(row.confirmed_by),
    )
