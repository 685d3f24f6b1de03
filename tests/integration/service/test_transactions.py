"""Transactions of the store on SQLite, and on PostgreSQL where `SP_PLUGIN_POSTGRES` names a server by URL."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from sp_plugin.store.base import Store

_URLS = ["sqlite+aiosqlite:///{folder}/state.db"]
if _server := os.environ.get("SP_PLUGIN_POSTGRES"):
    _URLS.append(_server)


@pytest.fixture(params=_URLS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(request.param.format(folder=tmp_path))
    async with made.transaction() as connection:
        await connection.execute(text("CREATE TABLE counters (n INTEGER)"))
        await connection.execute(text("INSERT INTO counters VALUES (0)"))
    yield made
    async with made.transaction() as connection:
        await connection.execute(text("DROP TABLE counters"))
    await made.close()


async def count(store: Store) -> int:
    async with store.reading() as connection:
        return int(await connection.scalar(text("SELECT n FROM counters")))


async def add_one(store: Store) -> None:
    async with store.transaction() as connection:
        await connection.execute(text("UPDATE counters SET n = n + 1"))


async def test_a_reader_keeps_its_view_while_a_writer_commits(store: Store):
    async with store.reading() as connection:
        assert await connection.scalar(text("SELECT n FROM counters")) == 0
        await add_one(store)
        assert await connection.scalar(text("SELECT n FROM counters")) == 0
    assert await count(store) == 1


async def test_a_reader_cannot_write_and_the_next_writer_can(store: Store):
    with pytest.raises(DBAPIError, match=r"read-?only"):
        async with store.reading() as connection:
            await connection.execute(text("UPDATE counters SET n = 9"))
    await add_one(store)
    assert await count(store) == 1


async def test_a_writer_that_fails_changes_nothing(store: Store):
    async def fail() -> None:
        async with store.transaction() as connection:
            await connection.execute(text("UPDATE counters SET n = 9"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await count(store) == 0


async def test_many_writers_and_readers_at_once_lose_nothing(store: Store):
    await asyncio.gather(*(work(store) for _ in range(30) for work in (add_one, count)))
    assert await count(store) == 30
