"""SQLite's connections: patient ones, whose statements end before their task is cancelled."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Coroutine
from typing import Any, Final

import aiosqlite
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

__all__ = ["BEGIN_READING", "BEGIN_WRITING", "PRAGMAS", "sqlite_engine"]

BEGIN_READING: Final = "BEGIN"
# A deferred transaction that turns into a writer can fail at once with "database is locked"; an immediate one waits.
BEGIN_WRITING: Final = "BEGIN IMMEDIATE"

# The time-out comes first, for the change to WAL may have to wait too. It only counts between processes.
PRAGMAS: Final = (
    "PRAGMA busy_timeout=60000",
    "PRAGMA journal_mode=WAL",
    "PRAGMA foreign_keys=ON",
)


class _Patient(aiosqlite.Connection):
    """A connection whose statements end before the task that waits for them is cancelled.

    SQLAlchemy throws a connection away when a wait for it is cancelled, while the driver's thread goes on: the
    statement, the transaction and the write lock then live until somebody happens to collect them.
    """

    async def _execute(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        statement: Coroutine[Any, Any, Any] = super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        running = asyncio.ensure_future(statement)
        cancelled = 0
        while not running.done():
            try:
                await asyncio.wait({running})
            except asyncio.CancelledError:
                cancelled += 1
        if cancelled and (task := asyncio.current_task()) is not None:
            for _ in range(cancelled):
                task.uncancel()
                task.cancel()  # again, at the next wait that is none for the database
        return running.result()


def _patient(database: str, **options: Any) -> _Patient:
    connection = _Patient(lambda: sqlite3.connect(database, **options), iter_chunk_size=64)
    connection._thread.daemon = (
        True  # as SQLAlchemy has it: a lost connection must not keep the process
    )
    return connection


def sqlite_engine(url: str, begin: str, *pragmas: str) -> AsyncEngine:
    """An engine whose transactions all start with `begin`."""
    engine = create_async_engine(url, connect_args={"async_creator_fn": _patient})

    def connected(connection: Any, _record: object) -> None:
        # The driver's own transaction handling is switched off so that `begin` is the only one.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (*PRAGMAS, *pragmas):
            cursor.execute(pragma)
        cursor.close()

    def started(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", started)
    return engine
