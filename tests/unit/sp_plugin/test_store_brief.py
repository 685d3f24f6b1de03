"""Brief transactions of a SQLite store: they keep the same promises as long ones, without a thread."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from sp_plugin.store import sqlite_brief
from sp_plugin.store.base import Store

FULL, NORMAL = 2, 1  # sqlite.org/pragma.html#pragma_synchronous


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(f"sqlite+aiosqlite:///{tmp_path}/state.db")
    async with made.transaction() as connection:
        await connection.execute(text("CREATE TABLE counters (id INTEGER PRIMARY KEY, n INTEGER)"))
        await connection.execute(text("INSERT INTO counters VALUES (1, 0)"))
    yield made
    await made.close()


async def count(store: Store) -> int:
    async with store.reading(brief=True) as connection:
        return int(await connection.scalar(text("SELECT n FROM counters")))


async def add_one(store: Store, *, brief: bool, durable: bool = True) -> None:
    async with store.transaction(brief=brief, durable=durable) as connection:
        seen = await connection.scalar(text("SELECT n FROM counters"))
        await asyncio.sleep(0)
        await connection.execute(text("UPDATE counters SET n = :n"), {"n": seen + 1})


async def test_a_long_transaction_waits_for_the_disk_unless_it_need_not(store: Store):
    for durable, expected in ((True, FULL), (False, NORMAL)):
        async with store.transaction(durable=durable) as connection:
            assert await connection.scalar(text("PRAGMA synchronous")) == expected


class Disk:
    """Flushes counted, and slow, so that others come meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.flushes, self.error = 0, False
        monkeypatch.setattr(sqlite_brief, "_fdatasync", self._flush)

    def _flush(self, fd: int) -> None:
        time.sleep(0.02)
        self.flushes += 1
        if self.error:
            raise OSError(errno.EIO, "no")
        os.fsync(fd)


async def test_only_what_must_be_safe_waits_for_a_flush(store: Store, monkeypatch):
    disk = Disk(monkeypatch)
    await add_one(store, brief=True, durable=False)
    assert disk.flushes == 0
    await add_one(store, brief=True)
    assert disk.flushes == 1


async def test_those_who_wait_at_the_same_time_share_a_flush_that_began_after_their_commits(
    store: Store, monkeypatch
):
    disk = Disk(monkeypatch)
    await add_one(store, brief=True)
    assert disk.flushes == 1
    others = [asyncio.create_task(add_one(store, brief=True)) for _ in range(50)]
    await asyncio.gather(*others)
    assert await count(store) == 51
    assert 2 <= disk.flushes <= 10


async def test_who_commits_while_a_flush_is_under_way_waits_for_the_next(store, monkeypatch):
    disk = Disk(monkeypatch)
    first = asyncio.create_task(add_one(store, brief=True))
    await asyncio.sleep(0.01)  # in the flush of the first
    assert disk.flushes == 0
    await add_one(store, brief=True)
    assert disk.flushes == 2
    await first


async def test_a_disk_that_fails_is_told_to_those_who_relied_on_it(store: Store, monkeypatch):
    disk = Disk(monkeypatch)
    disk.error = True
    with pytest.raises(OSError, match="no"):
        await add_one(store, brief=True)
    disk.error = False
    await add_one(store, brief=True)
    assert disk.flushes == 2


async def test_brief_and_long_writers_together_lose_nothing(store: Store):
    await asyncio.gather(
        *(add_one(store, brief=n % 2 == 0, durable=n % 3 == 0) for n in range(90)),
        *(count(store) for _ in range(30)),
    )
    assert await count(store) == 90


async def test_a_brief_reader_keeps_its_view_while_others_write(store: Store):
    async with store.reading(brief=True) as connection:
        assert await connection.scalar(text("SELECT n FROM counters")) == 0
        await add_one(store, brief=True)
        await add_one(store, brief=False)
        assert await connection.scalar(text("SELECT n FROM counters")) == 0
    assert await count(store) == 2


async def test_a_brief_reader_cannot_write(store: Store):
    with pytest.raises(OperationalError, match="readonly"):
        async with store.reading(brief=True) as connection:
            await connection.execute(text("UPDATE counters SET n = 1"))
    assert await count(store) == 0


@pytest.mark.parametrize("durable", [True, False])
async def test_an_exception_takes_a_brief_transaction_back(store: Store, durable: bool):
    async def fail() -> None:
        async with store.transaction(brief=True, durable=durable) as connection:
            await connection.execute(text("UPDATE counters SET n = 5"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    await add_one(store, brief=True, durable=durable)
    assert await count(store) == 1


async def test_a_task_cancelled_when_it_leaves_has_committed(store: Store):
    leaving = asyncio.Event()

    async def write() -> None:
        async with store.transaction(brief=True) as connection:
            await connection.execute(text("UPDATE counters SET n = 3"))
            leaving.set()

    writer = asyncio.create_task(write())
    await leaving.wait()
    writer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writer
    assert await count(store) == 3
    await add_one(store, brief=True)


async def test_a_lock_of_another_process_is_waited_for_and_the_loop_goes_on(
    store: Store, tmp_path: Path
):
    await count(store)
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    writer = asyncio.create_task(add_one(store, brief=True))
    for _ in range(20):
        await asyncio.sleep(0.002)
    assert not writer.done()
    assert await count(store) == 0
    threading.Thread(target=lambda: other.execute("ROLLBACK")).start()
    await writer
    other.close()
    assert await count(store) == 1


async def test_a_lock_that_is_never_given_back_is_an_error_in_the_end(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sqlite_brief, "_LOCK_SECONDS", 0.05)
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="locked"):
        await add_one(store, brief=True)
    other.close()
    await add_one(store, brief=True)


async def test_the_log_does_not_grow_without_bound(store: Store, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(sqlite_brief, "_CHECKPOINT_EVERY", 10)
    monkeypatch.setattr(sqlite_brief, "_fdatasync", lambda _: None)
    for _ in range(10):
        async with store.transaction(brief=True) as connection:
            for _ in range(50):
                await connection.execute(text("UPDATE counters SET n = n + 1"))
    grown = (tmp_path / "state.db-wal").stat().st_size
    for _ in range(300):
        await add_one(store, brief=True)
    assert (tmp_path / "state.db-wal").stat().st_size <= grown + (1 << 20)
    assert await count(store) == 800


async def test_where_there_is_no_log_nothing_is_flushed(tmp_path: Path):
    await sqlite_brief.LogSync(str(tmp_path / "none.db")).wait()
