"""Engine, transactions and the column types that all tables share."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, Final

import aiosqlite
from sqlalchemy import Dialect, MetaData, String, TypeDecorator, event, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.types import AttoFil

__all__ = ["AddressType", "AttoFilType", "CidType", "Store", "metadata"]

# The time-out comes first, for the change to WAL may have to wait too. It only counts between processes.
_PRAGMAS: Final = (
    "PRAGMA busy_timeout=60000",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class AttoFilType(TypeDecorator[AttoFil]):
    """An exact amount as decimal text. Do sums in Python: the database would make floats of them."""

    impl = String(80)
    cache_ok = True

    def process_bind_param(self, value: AttoFil | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value.value)

    def process_result_value(self, value: Any, dialect: Dialect) -> AttoFil | None:
        return None if value is None else AttoFil(int(value))


class CidType(TypeDecorator[Cid]):
    """A CID as its text."""

    impl = String(200)
    cache_ok = True

    def process_bind_param(self, value: Cid | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Cid | None:
        return None if value is None else Cid.parse(value)


class AddressType(TypeDecorator[Address]):
    """An address as its `t…` text, whatever the network, so that equal addresses are equal rows."""

    impl = String(120)
    cache_ok = True

    def process_bind_param(self, value: Address | None, dialect: Dialect) -> str | None:
        return None if value is None else value.to_text("t")

    def process_result_value(self, value: Any, dialect: Dialect) -> Address | None:
        return None if value is None else Address.parse(value)


class Store:
    """The database by URL, e.g. `sqlite+aiosqlite:////var/lib/sp-plugin/state.db`.

    The writers of a process queue here, first come first served, and a sidecar has its database to itself. So a writer may
    look and then write: nobody else writes in between, which PostgreSQL by itself would not promise. SQLite's own lock is
    handed over by polling, so that under load an unlucky writer could wait until its time-out. Readers wait for nobody.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine: AsyncEngine = _engine(url)
        self._readers = self.engine
        self._writing = asyncio.Lock()
        self._reading: AbstractAsyncContextManager[object] = nullcontext()
        if self.engine.dialect.name != "sqlite":
            self._readers = self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            return
        _prepare(self.engine, "BEGIN IMMEDIATE")
        if self.engine.url.database in (None, "", ":memory:"):  # another engine has another memory
            self._reading = self._writing
        else:
            self._readers = _engine(url)
            _prepare(self._readers, "BEGIN", "PRAGMA query_only=ON")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose work is committed on leaving, or rolled back on an exception.

        Not to be entered again by the task that is in it, and nothing but the database is to be awaited inside: all
        other writers wait. On SQLite a cancelled task finishes its statements and commits first, and is cancelled
        when it leaves.
        """
        async with self._writing, self.engine.begin() as connection:
            yield connection
        await asyncio.sleep(0)  # where a cancellation that came meanwhile is felt

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees the database as it is at its first read, whatever others write, and cannot write."""
        async with self._reading, self._readers.begin() as connection:
            yield connection
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Give the connections back; the store cannot be used afterwards."""
        await self.engine.dispose()
        await self._readers.dispose()


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


def _engine(url: str) -> AsyncEngine:
    if make_url(url).get_backend_name() != "sqlite":
        return create_async_engine(url)
    return create_async_engine(url, connect_args={"async_creator_fn": _patient})


def _prepare(engine: AsyncEngine, begin: str, *pragmas: str) -> None:
    """Let every transaction of a SQLite engine start with `begin`."""

    def connected(connection: Any, _record: object) -> None:
        # The driver's own transaction handling is switched off so that `begin` is the only one.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (*_PRAGMAS, *pragmas):
            cursor.execute(pragma)
        cursor.close()

    def started(connection: Any) -> None:
        # A deferred transaction that turns into a writer can fail at once with "database is locked"; an immediate one waits.
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", started)
