"""Tokens that are remembered for a moment: removed here they are gone at once, removed elsewhere after a second."""

from __future__ import annotations

from pathlib import Path

from sp_plugin.config import Scope
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.tokens import TokenRepository
from tests.databases import database_url


async def test_a_removed_or_replaced_token_is_known_for_a_second_at_most(tmp_path: Path):
    store, seconds = Store(database_url(tmp_path)), [0.0]
    async with store.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    here = TokenRepository(store, clock=lambda: seconds[0])
    elsewhere = TokenRepository(store)  # as the command line has it, in another process
    try:
        first = await here.create("ada", [Scope.READ], 1)
        assert (await here.find(first)).name == "ada"
        second = await here.create("ada", [Scope.READ], 2)
        assert await here.find(first) is None
        assert await here.remove("ada")
        assert await here.find(second) is None
        third = await here.create("ada", [Scope.READ], 3)
        assert await here.find(third)
        await elsewhere.remove("ada")
        seconds[0] = 0.9
        assert await here.find(third)
        seconds[0] = 1.0
        assert await here.find(third) is None
        again = await elsewhere.create("ada", [Scope.READ, Scope.SUBMIT], 4)
        assert Scope.SUBMIT in (await here.find(again)).scopes
    finally:
        await store.close()
