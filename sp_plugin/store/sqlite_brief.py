"""SQLite without threads: transactions of a few rows found by their keys, in the event loop's own thread.

Such a statement takes some microseconds; handing it to another thread and back takes a hundred. What may wait does not
block the loop: the write lock is asked for again and again if another process has it, and what was written is committed,
which waits for the disk, in a thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Final

from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import NullPool

from sp_plugin.store.sqlite import BEGIN_READING, BEGIN_WRITING, PRAGMAS

__all__ = ["BriefPool"]

_LOCK_SECONDS: Final = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05
_MOST_IDLE: Final = 4


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

    def __init__(self, engine: AsyncEngine, *pragmas: str, waits_for_disk: bool = True) -> None:
        self._async_engine = engine
        self._waits_for_disk = waits_for_disk
        # Whose commits do not wait for the disk leaves it to others to bring the log back into the database.
        extra = () if waits_for_disk else ("PRAGMA wal_autocheckpoint=0",)
        self._pragmas = (*PRAGMAS, *pragmas, *extra)
        url = make_url(engine.url).set(drivername="sqlite")
        self._engine = create_engine(
            url, poolclass=NullPool, connect_args={"check_same_thread": False}
        )
        self._idle: list[BriefConnection] = []

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A connection that has the write lock; committed on leaving. A cancelled task commits first."""
        taken = self.take()
        try:
            await _lock(taken.driver)
            try:
                yield taken
            except BaseException:
                taken.driver.rollback()
                raise
            if self._waits_for_disk:
                await _committed(taken.driver)
            else:
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
        driver.execute("PRAGMA busy_timeout=0")
        try:
            driver.execute(BEGIN_WRITING)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise OperationalError(BEGIN_WRITING, None, error) from error
        else:
            return
        finally:
            driver.execute(PRAGMAS[0])
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


async def _committed(driver: sqlite3.Connection) -> None:
    """Commit, in a thread since it waits for the disk; a cancellation that comes meanwhile is felt afterwards."""
    running = asyncio.ensure_future(asyncio.to_thread(driver.commit))
    cancelled = 0
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError:
            cancelled += 1
    if cancelled and (task := asyncio.current_task()) is not None:
        for _ in range(cancelled):
            task.uncancel()
            task.cancel()
    running.result()
