"""The database: migrations make exactly the tables in the code, and a newer database is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from sp_plugin.config import Scope
from sp_plugin.errors import StoreError, StoreTooNew
from sp_plugin.store.migrate import differences, open_store
from sp_plugin.store.tokens import TokenRepository


def url_in(directory: Path) -> str:
    return f"sqlite+aiosqlite:///{directory}/state.db"


async def test_the_migrations_make_exactly_the_tables_of_the_code(tmp_path: Path):
    store = await open_store(url_in(tmp_path))
    assert await differences(store) == []
    await store.close()


async def test_opening_again_changes_nothing(tmp_path: Path):
    for _ in range(2):
        store = await open_store(url_in(tmp_path))
        await store.close()


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path):
    store = await open_store(url_in(tmp_path))
    async with store.transaction() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '209901010000'"))
    await store.close()
    with pytest.raises(StoreTooNew, match="newer sp-plugin"):
        await open_store(url_in(tmp_path))


async def test_a_database_that_cannot_be_opened_says_so(tmp_path: Path):
    (tmp_path / "state.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StoreError, match="not a database"):
        await open_store(url_in(tmp_path))
    with pytest.raises(StoreError, match=r"database\.url"):
        await open_store("nonsense")


async def test_a_token_is_kept_as_a_hash_and_stops_when_removed_or_replaced(tmp_path: Path):
    store = await open_store(url_in(tmp_path))
    tokens = TokenRepository(store)
    first = await tokens.create("ci", [Scope.READ, Scope.SUBMIT], 1)
    assert first.reveal() not in (tmp_path / "state.db").read_bytes().decode("latin-1")
    record = await tokens.find(first)
    assert record is not None
    assert record.scopes == {Scope.READ, Scope.SUBMIT}
    second = await tokens.create("ci", [Scope.READ], 2)
    assert await tokens.find(first) is None
    assert await tokens.find(second) is not None
    assert await tokens.remove("ci")
    assert await tokens.find(second) is None
    await store.close()
