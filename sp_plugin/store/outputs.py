"""What finished runs brought: the staged piece of each, and how many of its bytes are new."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import BigInteger, Column, String, Table, Text, select, update

from lotus_client.cid import Cid
from lotus_client.types import Epoch
from sp_plugin.store.base import CidType, Store, metadata, unless_there
from sp_plugin.store.job_tables import executions

__all__ = ["OutputRecord", "OutputRepository", "outputs"]

outputs = Table(
    "outputs",
    metadata,
    Column("execution_id", String(64), primary_key=True),
    Column("job_id", String(64), nullable=False, index=True),
    Column("piece_cid", CidType, index=True),  # null if nothing was staged
    Column("counted_bytes", BigInteger, nullable=False),
    Column(
        "used_pieces", Text, nullable=False
    ),  # JSON list of held piece keys of which blocks were read
    Column("run_epoch", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """One completed execution. `counted_bytes` are payload bytes in blocks that nobody held before it ran.

    `run_epoch` is the epoch up to which the chain had been followed when the run was looked at.
    """

    execution_id: str
    job_id: str
    piece_cid: Cid | None
    counted_bytes: int
    used_pieces: tuple[str, ...]
    run_epoch: Epoch


class OutputRepository:
    """The outputs in the store; each is written once, whoever writes first."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, *records: OutputRecord) -> None:
        """Keep them, but for executions that are there already; the executions count as traced from then on."""
        if not records:
            return
        rows = [
            {
                "execution_id": record.execution_id,
                "job_id": record.job_id,
                "piece_cid": record.piece_cid,
                "counted_bytes": record.counted_bytes,
                "used_pieces": json.dumps(list(record.used_pieces)),
                "run_epoch": record.run_epoch,
            }
            for record in records
        ]
        ids = [record.execution_id for record in records]
        async with self._store.transaction() as connection:
            await connection.execute(unless_there(connection, outputs), rows)
            traced = update(executions).where(executions.c.id.in_(ids)).values(traced=True)
            await connection.execute(traced)

    async def all(self) -> tuple[OutputRecord, ...]:
        """Every output, in the order of their runs."""
        query = select(outputs).order_by(outputs.c.run_epoch, outputs.c.execution_id)
        async with self._store.reading() as connection:
            rows = (await connection.execute(query)).all()
        return tuple(
            OutputRecord(
                row.execution_id,
                row.job_id,
                row.piece_cid,
                row.counted_bytes,
                tuple(json.loads(row.used_pieces)),
                Epoch(row.run_epoch),
            )
            for row in rows
        )
