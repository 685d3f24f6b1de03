"""SQLite's connections: patient ones, whose statements end before their task is cancelled, and brief ones beside them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final

import aiosqlite
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

__all__ = ["BEGIN_READING", "BEGIN_WRITING", "sqlite_engine"]

BEGIN_READING: Final = "BEGIN"
# A deferred transaction that turns into a writer can fail at once with "database is locked"; an immediate one waits.
BEGIN_WRITING: Final = "BEGIN IMMEDIATE"

# The time-out comes first, for the change to WAL may have to wait too. It only counts between processes.
_PRAGMAS: Final = (
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


class _Brief(_Patient):
    """One whose statements run where they are asked, in the event loop's own thread.

    A row found by its key takes some microseconds; handing it to another thread and back takes a hundred. What may wait,
    for another process or for the disk, goes to the thread: taking the write lock, and committing what was written.
    """

    async def _execute(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        may_wait = args[:1] == (BEGIN_WRITING,) or (
            getattr(fn, "__name__", "") == "commit" and self._conn.total_changes != self._written
        )
        if may_wait or not self._running:
            try:
                return await super()._execute(fn, *args, **kwargs)
            finally:
                if self._connection is not None:
                    self._written = self._conn.total_changes
        return fn(*args, **kwargs)

    _written = 0  # rows changed up to the last commit


def _connect(kind: type[_Patient], database: str, **options: Any) -> _Patient:
    options["check_same_thread"] = False  # SQLite is built to be used by one thread after another
    connection = kind(partial(sqlite3.connect, database, **options), iter_chunk_size=64)
    connection._thread.daemon = (
        True  # as SQLAlchemy has it: a lost connection must not keep the process
    )
    return connection


def sqlite_engine(url: str, begin: str, *pragmas: str, brief: bool = False) -> AsyncEngine:
    """An engine whose transactions all start with `begin`; `brief` for a few rows by their keys at a time."""
    maker = partial(_connect, _Brief if brief else _Patient)
    engine = create_async_engine(url, connect_args={"async_creator_fn": maker})

    def connected(connection: Any, _record: object) -> None:
        # The driver's own transaction handling is switched off so that `begin` is the only one.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (*_PRAGMAS, *pragmas):
            cursor.execute(pragma)
        cursor.close()

    def started(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", started)
    return engine
