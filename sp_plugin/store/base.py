"""Engine, transactions and the column types that all tables share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Dialect, MetaData, String, Table, TypeDecorator, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.types import AttoFil
from sp_plugin.store.sqlite import BEGIN_READING, BEGIN_WRITING, sqlite_engine
from sp_plugin.store.sqlite_brief import BriefPool, LogSync

__all__ = ["AddressType", "AttoFilType", "CidType", "Store", "metadata", "unless_there"]

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


def unless_there(connection: AsyncConnection, table: Table) -> Any:
    """An insert that leaves rows alone that are there already; the two databases spell it the same, not elsewhere."""
    insert: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    return insert(table).on_conflict_do_nothing()


class Store:
    """The database by URL, e.g. `sqlite+aiosqlite:////var/lib/sp-plugin/state.db`.

    The writers of a process queue here, first come first served, and a sidecar has its database to itself. So a writer may
    look and then write: nobody else writes in between, which PostgreSQL by itself would not promise. SQLite's own lock is
    handed over by polling, so that under load an unlucky writer could wait until its time-out. Readers wait for nobody.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._writing = asyncio.Lock()
        self._reading: AbstractAsyncContextManager[object] = nullcontext()
        self._pools = _sqlite(url) if _is_sqlite(url) else _postgres(url)
        self.engine: AsyncEngine = self._pools.writer
        if self._pools.reader is self._pools.writer:
            self._reading = self._writing

    @asynccontextmanager
    async def transaction(
        self, *, durable: bool = True, brief: bool = False
    ) -> AsyncIterator[AsyncConnection]:
        """A connection whose work is committed on leaving, or rolled back on an exception.

        Not to be entered again by the task that is in it, and nothing but the database is to be awaited inside: all
        other writers wait. On SQLite a cancelled task finishes its statements and commits first, and is cancelled
        when it leaves.

        What was committed outlives this process in any case. With `durable=False` it may be lost with the machine's power
        if nothing durable was committed after it; what comes later is never kept without what came before. So it is for
        what would be done again anyway, and never for money or for what somebody was told is safe. `brief` is for a few
        rows found by their keys: on SQLite its statements run in the event loop's thread.
        """
        pools = self._pools
        if brief and pools.brief is not None:
            async with self._writing, pools.brief.writing() as connection:
                yield connection
            if durable and pools.log is not None:
                await pools.log.wait()
            return
        async with (
            self._writing,
            (pools.writer if durable else pools.relaxed).begin() as connection,
        ):
            yield connection
        await asyncio.sleep(0)  # where a cancellation that came meanwhile is felt

    def reading(self, *, brief: bool = False) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection that sees the database as it is at its first read, whatever others write, and cannot write."""
        pool = self._pools.brief_reader if brief else None
        return self._reading_long() if pool is None else pool.reading()

    @asynccontextmanager
    async def _reading_long(self) -> AsyncIterator[AsyncConnection]:
        async with self._reading, self._pools.reader.begin() as connection:
            yield connection
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Give the connections back; the store cannot be used afterwards."""
        for pool in self._pools.all():
            await pool.dispose()


@dataclass(frozen=True, slots=True)
class _Pools:
    """Pools of connections; they connect when they are first used, and some may be the same."""

    writer: AsyncEngine
    relaxed: AsyncEngine
    reader: AsyncEngine
    brief: BriefPool | None = None
    brief_reader: BriefPool | None = None
    log: LogSync | None = None

    def all(self) -> list[AsyncEngine | BriefPool | LogSync]:
        """Each once."""
        found = (getattr(self, field.name) for field in fields(self))
        return list({id(pool): pool for pool in found if pool is not None}.values())


def _is_sqlite(url: str) -> bool:
    return make_url(url).get_backend_name() == "sqlite"


def _sqlite(url: str) -> _Pools:
    full, normal = "PRAGMA synchronous=FULL", "PRAGMA synchronous=NORMAL"
    writer = sqlite_engine(url, BEGIN_WRITING, full)
    path = make_url(url).database
    if path in (None, "", ":memory:"):  # another engine has another memory
        return _Pools(writer, writer, writer)
    assert path is not None
    only = "PRAGMA query_only=ON"
    relaxed = sqlite_engine(url, BEGIN_WRITING, normal)
    reader = sqlite_engine(url, BEGIN_READING, full, only)
    return _Pools(
        writer,
        relaxed,
        reader,
        BriefPool(relaxed, normal, "PRAGMA busy_timeout=0"),  # it asks again by itself
        BriefPool(reader, only),
        LogSync(path),
    )


def _postgres(url: str) -> _Pools:
    writer = create_async_engine(url)
    settings = {"server_settings": {"synchronous_commit": "off"}}
    relaxed = create_async_engine(url, connect_args=settings)
    reader = writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return _Pools(writer, relaxed, reader)
