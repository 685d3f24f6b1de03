"""What reading held pieces has shown: whether the bytes are the piece, where they lie, and which CAR roots they hold."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import BigInteger, Column, String, Table, Text, delete, insert, select

from lotus_client.cid import Cid
from lotus_client.types import ActorId
from sp_plugin.store.base import Store, metadata

__all__ = ["CheckState", "PieceCheck", "PieceCheckRepository", "piece_checks"]

piece_checks = Table(
    "piece_checks",
    metadata,
    Column("provider", BigInteger, primary_key=True, autoincrement=False),
    Column("key", String(200), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Column("piece_offset", BigInteger),
    Column("payload_size", BigInteger),
    Column("roots", Text, nullable=False),  # JSON list of CIDs
    Column("checked_at", BigInteger, nullable=False),  # Unix nanoseconds
)


class CheckState(StrEnum):
    """What the last reading of a piece showed."""

    VERIFIED = "verified"  # its CommP is right
    MISMATCH = "mismatch"  # bytes were read and are not the piece
    UNAVAILABLE = "unavailable"  # no bytes: sealed only, not mounted, unreadable


@dataclass(frozen=True, slots=True)
class PieceCheck:
    """The last reading of one held piece. `roots` are those of the CAR in it, empty if it holds no CAR."""

    key: str
    state: CheckState
    detail: str
    offset: int | None
    payload_size: int | None
    roots: tuple[Cid, ...]
    checked_at: int


class PieceCheckRepository:
    """The checks of one provider's pieces, by the pieces' keys."""

    def __init__(self, store: Store, provider: ActorId) -> None:
        self._store = store
        self._provider = provider

    async def save(self, check: PieceCheck) -> None:
        """Keep this check in place of the older one."""
        key = (piece_checks.c.provider == self._provider, piece_checks.c.key == check.key)
        async with self._store.transaction() as connection:
            await connection.execute(delete(piece_checks).where(*key))
            await connection.execute(
                insert(piece_checks).values(
                    provider=self._provider,
                    key=check.key,
                    state=check.state.value,
                    detail=check.detail,
                    piece_offset=check.offset,
                    payload_size=check.payload_size,
                    roots=json.dumps([str(root) for root in check.roots]),
                    checked_at=check.checked_at,
                )
            )

    async def all(self) -> dict[str, PieceCheck]:
        """Every check by the piece's key."""
        query = select(piece_checks).where(piece_checks.c.provider == self._provider)
        async with self._store.reading() as connection:
            rows = (await connection.execute(query)).all()
        return {
            row.key: PieceCheck(
                row.key,
                CheckState(row.state),
                row.detail,
                row.piece_offset,
                row.payload_size,
                tuple(Cid.parse(root) for root in json.loads(row.roots)),
                row.checked_at,
            )
            for row in rows
        }
