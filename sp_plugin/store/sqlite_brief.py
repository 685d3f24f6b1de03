"""SQLite without threads: transactions of a few rows found by their keys, in the event loop's own thread.

Such a statement takes some microseconds; handing it to another thread and back takes a hundred. What may wait does not
block the loop: the write lock is asked for again and again if another process has it, and the disk is waited for in a thread.

A commit here is one write to the log, as with `synchronous=NORMAL`. Who needs it on the disk waits for `LogSync`, which
flushes the log as `FULL` would, but once for all who wait at the same time, and while others go on writing.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from typing import Any, Final

from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import NullPool

from sp_plugin.store.sqlite import BEGIN_READING, BEGIN_WRITING, PRAGMAS

__all__ = ["BriefPool", "LogSync"]

_LOCK_SECONDS: Final = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05
_MOST_IDLE: Final = 4
_CHECKPOINT_EVERY: Final = 100  # flushes


class BriefConnection(AsyncConnection):
    """A connection whose `execute` and `scalar` are done when they are called."""

    driver: sqlite3.Connection

    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        """See `AsyncConnection.execute`."""
        assert self.sync_connection is not None
        return self.sync_connection.execute(*args, **kwargs)

    async def scalar(self, *args: Any, **kwargs: Any) -> Any:
        """See `AsyncConnection.scalar`."""
        assert self.sync_connection is not None
        return self.sync_connection.scalar(*args, **kwargs)


class BriefPool:
    """Connections of one kind to one database; `engine` is the asynchronous one that stands for the same database."""

    def __init__(self, engine: AsyncEngine, *pragmas: str) -> None:
        self._async_engine = engine
        # The log is brought back into the database by `LogSync`, in a thread, and by long transactions.
        self._pragmas = (*PRAGMAS, *pragmas, "PRAGMA wal_autocheckpoint=0")
        url = make_url(engine.url).set(drivername="sqlite")
        self._engine = create_engine(
            url, poolclass=NullPool, connect_args={"check_same_thread": False}
        )
        self._idle: list[BriefConnection] = []

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A connection that has the write lock; committed on leaving, though perhaps not on the disk yet."""
        taken = self.take()
        try:
            await _lock(taken.driver)
            try:
                yield taken
            except BaseException:
                taken.driver.rollback()
                raise
            taken.driver.commit()
        finally:
            self.give(taken)

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection that sees the database as it is at its first read."""
        return _Reading(self)

    async def dispose(self) -> None:
        """Close them."""
        while self._idle:
            _close(self._idle.pop())

    def take(self) -> BriefConnection:
        """A connection that nobody else has."""
        if self._idle:
            return self._idle.pop()
        connection = self._engine.connect()
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        # SQLAlchemy sees one transaction without end; those of SQLite are begun and ended here.
        driver.isolation_level = None
        for pragma in self._pragmas:
            driver.execute(pragma)
        made = BriefConnection(self._async_engine, connection)
        made.driver = driver
        return made

    def give(self, connection: BriefConnection) -> None:
        """Take it back."""
        if len(self._idle) < _MOST_IDLE and not connection.driver.in_transaction:
            self._idle.append(connection)
        else:
            _close(connection)


class _Reading:
    """One reading transaction, as a context manager: made so often that a generator for each would be felt."""

    def __init__(self, pool: BriefPool) -> None:
        self._pool = pool
        self._taken: BriefConnection | None = None

    async def __aenter__(self) -> AsyncConnection:
        taken = self._taken = self._pool.take()
        taken.driver.execute(BEGIN_READING)
        return taken

    async def __aexit__(self, *_: object) -> None:
        taken, self._taken = self._taken, None
        assert taken is not None
        taken.driver.rollback()
        self._pool.give(taken)


def _close(connection: BriefConnection) -> None:
    if connection.sync_connection is not None:
        with suppress(sqlite3.Error):
            connection.sync_connection.close()


async def _lock(driver: sqlite3.Connection) -> None:
    """Begin a writing transaction.

    Raises:
        OperationalError: another process had the lock for a minute.
    """
    deadline, pause = time.monotonic() + _LOCK_SECONDS, _FIRST_PAUSE
    while True:
        try:
            driver.execute(BEGIN_WRITING)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise OperationalError(BEGIN_WRITING, None, error) from error
        else:
            return
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


class LogSync:
    """Waits until what was committed is on the disk: one flush of the write-ahead log for all who wait."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._log: int | None = None
        self._next: asyncio.Future[None] | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._count = 0

    async def wait(self) -> None:
        """Return once everything committed before is on the disk.

        Raises:
            OSError: the disk does not take it.
        """
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        mine = self._next
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        await asyncio.shield(mine)

    async def _flush(self) -> None:
        while (waiting := self._next) is not None:
            self._next = None  # who comes from now on may have committed too late for this one
            try:
                await asyncio.to_thread(self._flush_now)
            except Exception as error:  # noqa: BLE001  whatever it is, those who wait must hear of it
                waiting.set_exception(error)
                waiting.exception()  # looked at, whether or not somebody still waits
            else:
                waiting.set_result(None)

    def _flush_now(self) -> None:
        if (log := self._opened()) is not None:
            _fdatasync(log)
        self._count += 1
        if self._count % _CHECKPOINT_EVERY == 0:
            # A log that cannot be brought back now is brought back later.
            with suppress(sqlite3.Error), closing(sqlite3.connect(self._database)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _opened(self) -> int | None:
        """The log; None where SQLite keeps none, e.g. on a network's disk, and syncs each commit itself."""
        path = f"{self._database}-wal"
        try:
            now = os.stat(path)  # noqa: PTH116  a file descriptor's twin
        except FileNotFoundError:
            return None
        if self._log is None or os.fstat(self._log).st_ino != now.st_ino:
            if self._log is not None:
                os.close(self._log)
            self._log = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        return self._log

    async def dispose(self) -> None:
        """Wait for what is under way and close the log."""
        if self._flushing is not None:
            await self._flushing
        if self._log is not None:
            os.close(self._log)
            self._log = None


_fdatasync: Final = getattr(os, "fdatasync", os.fsync)
