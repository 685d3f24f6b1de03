"""Engine, transactions and the column types that all tables share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import Dialect, MetaData, String, TypeDecorator, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.types import AttoFil

__all__ = ["AddressType", "AttoFilType", "CidType", "Store", "metadata"]

_BUSY_TIMEOUT_MS: Final = 15_000

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
    """The database by URL, e.g. `sqlite+aiosqlite:////var/lib/sp-plugin/state.db`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine: AsyncEngine = create_async_engine(url)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_immediate)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose work is committed on leaving, or rolled back on an exception."""
        async with self.engine.begin() as connection:
            yield connection

    async def close(self) -> None:
        """Give the connections back; the store cannot be used afterwards."""
        await self.engine.dispose()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own transaction handling is switched off so that BEGIN IMMEDIATE below is the only one.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    # A deferred transaction that turns into a writer can fail at once with "database is locked"; this one waits.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
