"""Transactions of a SQLite store: writers queue, readers wait for nobody and cannot write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from sp_plugin.store.base import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(f"sqlite+aiosqlite:///{tmp_path}/state.db")
    async with made.transaction() as connection:
        await connection.execute(text("CREATE TABLE counters (id INTEGER PRIMARY KEY, n INTEGER)"))
        await connection.execute(text("INSERT INTO counters VALUES (1, 0)"))
    yield made
    await made.close()


async def count(store: Store) -> int:
    async with store.reading() as connection:
        return int(await connection.scalar(text("SELECT n FROM counters")))


async def add_one(store: Store) -> None:
    async with store.transaction() as connection:
        seen = await connection.scalar(text("SELECT n FROM counters"))
        await connection.execute(text("UPDATE counters SET n = :n"), {"n": seen + 1})


async def test_a_reader_goes_on_while_a_writer_writes_and_sees_what_was_committed(store: Store):
    async with store.transaction() as connection:
        await connection.execute(text("UPDATE counters SET n = 7"))
        assert await count(store) == 0
    assert await count(store) == 7


async def test_a_writer_commits_while_a_reader_reads_and_the_reader_keeps_its_view(store: Store):
    async with store.reading() as connection:
        assert await connection.scalar(text("SELECT n FROM counters")) == 0
        await add_one(store)
        assert await connection.scalar(text("SELECT n FROM counters")) == 0
    assert await count(store) == 1


async def test_a_reader_cannot_write(store: Store):
    with pytest.raises(OperationalError, match="readonly"):
        async with store.reading() as connection:
            await connection.execute(text("UPDATE counters SET n = 1"))
    assert await count(store) == 0


async def test_many_writers_and_readers_at_once_lose_nothing(store: Store):
    results = await asyncio.gather(
        *(add_one(store) for _ in range(60)), *(count(store) for _ in range(60))
    )
    assert len(results) == 120
    assert await count(store) == 60


async def test_writers_come_in_the_order_in_which_they_asked(store: Store):
    order: list[int] = []

    async def write(number: int) -> None:
        async with store.transaction() as connection:
            order.append(number)
            await connection.execute(text("UPDATE counters SET n = :n"), {"n": number})

    await asyncio.gather(*(write(number) for number in range(20)))
    assert order == list(range(20))


async def test_a_cancelled_writer_leaves_the_store_to_the_next(store: Store):
    inside = asyncio.Event()

    async def write_for_ever() -> None:
        async with store.transaction() as connection:
            await connection.execute(text("UPDATE counters SET n = 99"))
            inside.set()
            await asyncio.Event().wait()

    writer = asyncio.create_task(write_for_ever())
    await inside.wait()
    writer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writer
    await add_one(store)
    assert await count(store) == 1


async def test_a_store_in_memory_has_one_memory():
    store = Store("sqlite+aiosqlite://")
    async with store.transaction() as connection:
        await connection.execute(text("CREATE TABLE counters (n INTEGER)"))
        await connection.execute(text("INSERT INTO counters VALUES (5)"))
    assert await count(store) == 5
    await store.close()
