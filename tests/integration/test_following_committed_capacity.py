"""Sectors without data, as a non-interactive commit makes them, in the sector table."""

from __future__ import annotations

import pytest

from deals.sectors import sectors_for_election
from lotus_client.types import Epoch, SectorNumber
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.chain import ChainRepository
from tests.databases import database_url
from tests.fakes_chain import PROVIDER, SECTOR_SIZE, FakeChain, make_sector, sector_event
from tests.integration.test_following import follower, play


@pytest.fixture
async def repository(tmp_path):
    store = Store(database_url(tmp_path, "a"))
    async with store.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    yield ChainRepository(store)
    await store.close()


async def test_a_sector_activated_without_pieces_counts_once_it_is_proven(repository):
    chain = FakeChain()
    watcher = follower(chain, repository, start_at=Epoch(0))
    play(chain, ["ddo", "plain"], 0)
    await watcher.catch_up()
    held = await repository.held_pieces(PROVIDER)
    world = chain.world()
    number = SectorNumber(50)
    world.sectors[number] = make_sector(50, chain.current.height + 1)
    chain.mine(sector_event("sector-activated", 50), change=world)  # unproven as yet
    chain.mine_many(3)
    await watcher.catch_up()
    before = await sectors_for_election(chain, repository, PROVIDER, SECTOR_SIZE, chain.current)
    assert before.sectors is not None
    assert number not in {info.number for info in before.sectors}
    world = chain.world()
    world.active |= {number}
    chain.mine(change=world)  # its first window PoSt emits no event
    chain.mine_many(3)
    await watcher.catch_up()
    after = await sectors_for_election(chain, repository, PROVIDER, SECTOR_SIZE, chain.current)
    assert after.sectors is not None
    assert number in {info.number for info in after.sectors}
    assert after.miner_qap == before.miner_qap + SECTOR_SIZE
    assert await repository.held_pieces(PROVIDER) == held
    assert await repository.gaps(PROVIDER) == ()
