"""Sectors that the miner was asked to unseal: kept, so that limits hold and the copy is looked for after a restart."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import BigInteger, Column, String, Table, Text, insert, select, update

from lotus_client.types import ActorId, SectorNumber
from sp_plugin.store.base import Store, metadata

__all__ = ["UnsealRepository", "UnsealRequest", "unseal_requests"]

unseal_requests = Table(
    "unseal_requests",
    metadata,
    Column("provider", BigInteger, primary_key=True, autoincrement=False),
    Column("sector", BigInteger, primary_key=True, autoincrement=False),
    Column("asked_at", BigInteger, primary_key=True, autoincrement=False),  # Unix nanoseconds
    Column("key", String(200), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("outcome", Text),
)


@dataclass(frozen=True, slots=True)
class UnsealRequest:
    """One request, for the held piece `key`. It is under way until `ended_at`; times are Unix nanoseconds."""

    sector: SectorNumber
    key: str
    bytes: int
    asked_at: int
    ended_at: int | None = None
    outcome: str | None = None


class UnsealRepository:
    """The requests of one provider."""

    def __init__(self, store: Store, provider: ActorId) -> None:
        self._store = store
        self._provider = provider

    async def add(self, request: UnsealRequest) -> None:
        """Keep a new request; before the miner is asked, so that none is forgotten."""
        async with self._store.transaction() as connection:
            await connection.execute(
                insert(unseal_requests).values(
                    provider=self._provider,
                    sector=request.sector,
                    asked_at=request.asked_at,
                    key=request.key,
                    bytes=request.bytes,
                )
            )

    async def end(self, request: UnsealRequest, ended_at: int, outcome: str) -> None:
        """Note how it ended."""
        rows = unseal_requests.c
        async with self._store.transaction() as connection:
            await connection.execute(
                update(unseal_requests)
                .where(rows.provider == self._provider)
                .where(rows.sector == request.sector, rows.asked_at == request.asked_at)
                .values(ended_at=ended_at, outcome=outcome)
            )

    async def since(self, asked_at: int) -> tuple[UnsealRequest, ...]:
        """Those asked since then, and all that are under way, oldest first."""
        rows = unseal_requests.c
        query = (
            select(unseal_requests)
            .where(rows.provider == self._provider)
            .where((rows.asked_at >= asked_at) | rows.ended_at.is_(None))
            .order_by(rows.asked_at)
        )
        async with self._store.reading() as connection:
            found = (await connection.execute(query)).all()
        return tuple(
            UnsealRequest(
                SectorNumber(row.sector),
                row.key,
                row.bytes,
                row.asked_at,
                row.ended_at,
                row.outcome,
            )
            for row in found
        )
