"""Transactions of the store on SQLite, and on PostgreSQL where `SP_PLUGIN_TEST_POSTGRES` names a server by URL."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from sp_plugin.store.base import Store

_URLS = ["sqlite+aiosqlite:///{folder}/state.db"]
if _server := os.environ.get("SP_PLUGIN_TEST_POSTGRES"):
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


async def test_a_writer_that_looks_and_then_writes_is_not_disturbed(store: Store):
    async def replace() -> None:
        async with store.transaction() as connection:
            n = int(await connection.scalar(text("SELECT n FROM counters")))
            await connection.execute(text("DELETE FROM counters"))
            await asyncio.sleep(0)
            await connection.execute(text("INSERT INTO counters VALUES (:n)"), {"n": n + 1})

    await asyncio.gather(*(replace() for _ in range(30)))
    async with store.reading() as connection:
        assert (await connection.execute(text("SELECT n FROM counters"))).all() == [(30,)]


_SLOW = "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x < 1000000) SELECT max(x) FROM c"


async def test_a_writer_cancelled_in_a_statement_has_given_its_lock_back_when_it_ends(
    tmp_path: Path,
):
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/state.db")
    async with store.transaction() as connection:
        await connection.execute(text("CREATE TABLE counters (n INTEGER)"))
    inside = asyncio.Event()

    async def write() -> None:
        async with store.transaction() as connection:
            await connection.execute(text("INSERT INTO counters VALUES (1)"))
            inside.set()
            await connection.execute(text(_SLOW))

    writer = asyncio.create_task(write())
    await inside.wait()
    await asyncio.sleep(0.01)
    writer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writer
    with sqlite3.connect(tmp_path / "state.db", timeout=0, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert other.execute("SELECT n FROM counters").fetchall() == [(1,)]
        other.execute("COMMIT")
    other.close()
    await store.close()


async def test_tasks_cancelled_at_any_moment_leave_whole_transactions_and_no_lock(tmp_path: Path):
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/state.db")
    async with store.transaction() as connection:
        await connection.execute(text("CREATE TABLE counters (n INTEGER)"))

    async def write() -> None:
        async with store.transaction() as connection:
            for _ in range(5):
                await connection.execute(text("INSERT INTO counters VALUES (1)"))

    async def read() -> None:
        async with store.reading() as connection:
            await connection.execute(text("SELECT count(*) FROM counters"))

    chance = random.Random(7)
    for _ in range(150):
        tasks = [asyncio.create_task(work()) for work in (write, read, write)]
        await asyncio.sleep(chance.random() * 0.008)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(20):
            await write()
    async with store.reading() as connection:
        rows = int(await connection.scalar(text("SELECT count(*) FROM counters")))
    assert rows >= 150 * 5
    assert rows % 5 == 0
    await store.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_time_out_around_a_transaction_is_one_even_when_it_came_in_the_last_statement(
    tmp_path: Path,
):
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/state.db")

    async def write_slowly() -> None:
        async with asyncio.timeout(0.05), store.transaction() as connection:
            await connection.execute(text(_SLOW))

    with pytest.raises(TimeoutError):
        await write_slowly()
    await asyncio.sleep(0)  # nothing of it is left over
    await store.close()
