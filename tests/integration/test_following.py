"""The follower on a chain in memory and a real SQLite file."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from deals.follower import ChainFollower, FollowError
from deals.ports import ChainBatch, Cursor, CursorMoved, TipSetRef
from deals.sectors import sectors_for_election
from lotus_client.cid import dag_cbor_cid
from lotus_client.errors import LotusConnectError
from lotus_client.types import ClaimId, Epoch, SectorNumber
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.chain import ChainRepository
from tests.databases import database_url
from tests.fakes_chain import (
    PROVIDER,
    SECTOR_SIZE,
    FakeChain,
    claim_event,
    entry,
    make_claim,
    make_sector,
    piece_cid,
    sector_event,
)

MIB = 1 << 20


@pytest.fixture
async def store(tmp_path):
    store = Store(database_url(tmp_path))
    async with store.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    yield store
    await store.close()


@pytest.fixture
def repository(store):
    return ChainRepository(store)


def follower(chain, repository, **options):
    return ChainFollower(chain, repository, PROVIDER, **options)


def mine_claim(chain, number, sector, *, active=True):
    """A sector with one claim, as one message; active at once, for brevity."""
    height = chain.current.height + 1
    world = chain.world()
    claim = make_claim(number, sector, height)
    world.claims[claim.id] = claim
    world.sectors[SectorNumber(sector)] = make_sector(sector, height, verified=MIB)
    if active:
        world.active |= {SectorNumber(sector)}
    pieces = ((claim.data, claim.size),)
    return chain.mine(
        claim_event("claim", claim),
        sector_event("sector-activated", sector, *pieces),
        change=world,
    )


async def keys(repository):
    return [piece.key for piece in await repository.held_pieces(PROVIDER)]


async def test_a_new_claim_is_held_with_its_offset_once_its_message_is_executed(repository):
    chain = FakeChain()
    chain.mine_many(3)
    watcher = follower(chain, repository)
    await watcher.catch_up()
    mine_claim(chain, 1, 7)
    await watcher.catch_up()
    assert await keys(repository) == []  # included, not executed
    chain.mine()
    progress = await watcher.catch_up()
    assert progress.events == 2
    (piece,) = await repository.held_pieces(PROVIDER)
    assert (piece.key, piece.offset, piece.sector) == ("claim:1", 0, 7)
    assert (await repository.cursor(PROVIDER)).tipset.height == 4
    active = await repository.active_sectors(PROVIDER, Epoch(5))
    assert [info.number for info in active] == [7]
    assert await repository.active_sectors(PROVIDER, Epoch(4)) == ()


async def test_claims_from_before_the_start_are_known(repository):
    chain = FakeChain()
    mine_claim(chain, 1, 7)
    chain.mine_many(1000)
    await follower(chain, repository).catch_up()
    (piece,) = await repository.held_pieces(PROVIDER)
    assert (piece.key, piece.offset) == ("claim:1", None)
    assert chain.calls["claims"] == 1


async def test_a_start_at_genesis_sees_everything(repository):
    chain = FakeChain()
    mine_claim(chain, 1, 7)
    chain.mine_many(1000)
    await follower(chain, repository, start_at=Epoch(0)).catch_up()
    (piece,) = await repository.held_pieces(PROVIDER)
    assert piece.offset == 0


async def test_blocks_won_are_kept_with_their_header(repository):
    chain = FakeChain()
    chain.mine()
    won = chain.mine(miner=PROVIDER)
    chain.mine_many(2)
    await follower(chain, repository).catch_up()
    (block,) = await repository.own_blocks(PROVIDER, Epoch(0), Epoch(100))
    assert (block.cid, block.epoch, block.win_count) == (won.key.cids[0], 2, 1)
    assert dag_cbor_cid(block.header) == block.cid


async def test_a_reorg_takes_back_what_the_lost_fork_brought(repository):
    chain = FakeChain()
    chain.mine_many(5)
    watcher = follower(chain, repository)
    await watcher.catch_up()
    mine_claim(chain, 1, 7)
    chain.mine(miner=PROVIDER)
    chain.mine_many(2)
    await watcher.catch_up()
    assert await keys(repository) == ["claim:1"]
    chain.rewind(4)
    chain.mine(salt=1)
    mine_claim(chain, 2, 8)
    chain.mine_many(5)
    progress = await watcher.catch_up()
    assert progress.reverted == 3
    assert await keys(repository) == ["claim:2"]
    assert await repository.own_blocks(PROVIDER, Epoch(0), Epoch(100)) == ()
    active = await repository.active_sectors(PROVIDER, chain.current.height)
    assert [info.number for info in active] == [8]
    assert await repository.sector_intervals(PROVIDER, SectorNumber(7)) == ()


async def test_a_head_that_goes_back_is_followed_back(repository):
    chain = FakeChain()
    chain.mine_many(5)
    watcher = follower(chain, repository)
    mine_claim(chain, 1, 7)
    chain.mine_many(3)
    await watcher.catch_up()
    chain.rewind(4)
    await watcher.catch_up()
    assert await keys(repository) == []
    assert (await repository.cursor(PROVIDER)).tipset.height == 4  # the head is not executed
    assert (await watcher.catch_up()).at_head
    mine_claim(chain, 2, 8)
    chain.mine()
    await watcher.catch_up()
    assert await keys(repository) == ["claim:2"]


async def test_a_head_that_replaced_its_sibling_replaces_what_was_read_there(repository):
    chain = FakeChain()
    chain.mine_many(2)
    mine_claim(chain, 1, 7)
    chain.mine()
    watcher = follower(chain, repository, start_at=Epoch(0))
    await watcher.catch_up()
    assert await repository.active_power(PROVIDER, Epoch(4)) == SECTOR_SIZE + 9 * MIB
    chain.rewind(2)
    chain.mine(salt=1)
    chain.mine(salt=1, nulls=2)
    chain.mine()
    await watcher.catch_up()
    assert await repository.active_power(PROVIDER, Epoch(4)) == 0
    assert await repository.active_power(PROVIDER, chain.current.height) == 0


async def test_what_was_read_at_a_lost_head_does_not_take_along_what_its_sibling_showed(repository):
    chain = FakeChain()
    mine_claim(chain, 1, 7)
    mine_claim(chain, 2, 8)
    watcher = follower(chain, repository, start_at=Epoch(0))
    await watcher.catch_up()
    before = chain.current
    chain.mine(salt=1)
    world = (
        chain.world()
    )  # at its height a proof is missed, which shows only if its round has a block
    world.active = frozenset()
    chain.worlds[before.key] = world
    await watcher.catch_up()  # read at height 3
    restored = chain.world()
    restored.active = frozenset({SectorNumber(8)})
    chain.worlds[before.key] = restored
    chain.rewind(1)
    stood = chain.mine(nulls=2)
    await watcher.catch_up()  # read at height 5, with the same parent
    later = chain.world()
    later.active = frozenset({SectorNumber(7), SectorNumber(8)})
    chain.mine(change=later)
    chain.mine()
    await watcher.catch_up()
    known = await repository.active_sectors(PROVIDER, stood.height)
    assert [info.number for info in known] == [8]


async def test_null_rounds_are_passed_over_even_if_longer_than_a_range(repository):
    chain = FakeChain()
    watcher = follower(chain, repository, range_epochs=10, start_at=Epoch(0))
    chain.mine(nulls=2)
    chain.mine(nulls=45)
    mine_claim(chain, 1, 7)
    chain.mine(nulls=25)
    chain.mine(nulls=11)
    progress = await watcher.catch_up()
    assert await keys(repository) == ["claim:1"]
    assert progress.cursor.key == chain.current.parents


async def test_a_fork_the_node_has_forgotten_is_left_by_the_newest_common_tipset(repository):
    chain = FakeChain()
    chain.mine_many(40)
    watcher = follower(chain, repository, start_at=Epoch(0))
    mine_claim(chain, 1, 7)
    chain.mine_many(10)
    await watcher.catch_up()
    cursor = await repository.cursor(PROVIDER)
    chain.rewind(11)
    chain.mine(salt=3)
    chain.mine_many(20)
    del chain.tipsets[cursor.tipset.key]
    await watcher.catch_up()
    assert await keys(repository) == []
    assert (await repository.cursor(PROVIDER)).tipset.key == chain.current.parents
    assert len(await repository.processed(PROVIDER)) == chain.current.height


async def test_another_chain_is_refused_with_what_to_do(repository):
    chain = FakeChain()
    chain.mine_many(10)
    await follower(chain, repository, start_at=Epoch(3)).catch_up()
    other = FakeChain()
    other.mine(salt=9)
    other.mine_many(20)
    with pytest.raises(FollowError, match="another network"):
        await follower(other, repository).catch_up()


async def test_a_restart_continues_where_the_last_batch_ended(repository, store):
    chain = FakeChain()
    for number in range(1, 6):
        mine_claim(chain, number, number)
        chain.mine_many(50)
    await follower(chain, repository, range_epochs=60, start_at=Epoch(0)).step()
    again = ChainRepository(store)
    await follower(chain, again, range_epochs=60).catch_up()
    assert await keys(again) == [f"claim:{number}" for number in range(1, 6)]
    assert len(await again.processed(PROVIDER)) == chain.current.height


class Crash(Exception):
    """Stands for the process dying inside the transaction."""


async def test_a_crash_inside_a_batch_leaves_the_state_before_it(repository, monkeypatch):
    chain = FakeChain()
    chain.mine_many(3)
    watcher = follower(chain, repository)
    await watcher.catch_up()
    before = await repository.cursor(PROVIDER)
    mine_claim(chain, 1, 7)
    chain.mine(miner=PROVIDER)
    chain.mine()

    async def die(*_):
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr("sp_plugin.store.chain._write_cursor", die)
        with pytest.raises(Crash):
            await watcher.catch_up()
    assert await repository.cursor(PROVIDER) == before
    assert await keys(repository) == []
    assert await repository.own_blocks(PROVIDER, Epoch(0), Epoch(100)) == ()
    await watcher.catch_up()
    assert await keys(repository) == ["claim:1"]
    assert len(await repository.own_blocks(PROVIDER, Epoch(0), Epoch(100))) == 1


async def test_two_followers_of_one_provider_are_noticed(repository):
    chain = FakeChain()
    chain.mine_many(3)
    await follower(chain, repository).catch_up()
    wrong = TipSetRef(Epoch(1), chain.current.key)
    batch = ChainBatch(PROVIDER, Cursor(wrong, Epoch(0)), Cursor(wrong, Epoch(0)), wrong)
    with pytest.raises(CursorMoved, match="only one sidecar"):
        await repository.apply(batch)


async def test_without_the_events_api_claims_are_read_from_state(repository):
    chain = FakeChain()
    chain.events_on = chain.receipts_on = False
    chain.mine_many(3)
    watcher = follower(chain, repository, claims_every=10)
    await watcher.catch_up()
    mine_claim(chain, 1, 7)
    chain.mine_many(12)
    await watcher.catch_up()
    assert await keys(repository) == ["claim:1"]
    world = chain.world()
    del world.claims[ClaimId(1)]
    chain.mine(change=world)
    chain.mine_many(12)
    await watcher.catch_up()
    (piece,) = await repository.held_pieces(PROVIDER)
    assert piece.to_epoch <= chain.current.height
    assert await repository.claims(PROVIDER) == {}
    reads = chain.calls["claims"]
    for _ in range(5):
        chain.mine()
        await watcher.catch_up()
    assert chain.calls["claims"] == reads


async def test_a_malformed_event_is_counted_and_the_rest_goes_on(repository):
    chain = FakeChain()
    watcher = follower(chain, repository)
    await watcher.catch_up()
    bad = claim_event("claim", make_claim(9, 9, 1))
    bad = type(bad)(bad.emitter, (*bad.entries, entry("extra", 1)))
    chain.mine(bad)
    mine_claim(chain, 1, 7)
    chain.mine()
    progress = await watcher.catch_up()
    assert progress.malformed == 1
    assert await keys(repository) == ["claim:1"]


async def test_a_payload_size_survives_later_events_of_its_sector(repository):
    chain = FakeChain()
    watcher = follower(chain, repository)
    await watcher.catch_up()
    mine_claim(chain, 1, 7)
    chain.mine()
    await watcher.catch_up()
    await repository.set_payload_size(PROVIDER, "claim:1", 1234)
    chain.mine(claim_event("claim-updated", make_claim(1, 7, 1, term_max=2_000_000)))
    chain.mine()
    await watcher.catch_up()
    piece = await repository.held_piece(PROVIDER, "claim:1")
    assert (piece.payload_size, piece.to_epoch) == (1234, 2_000_001)
    assert await repository.held_pieces(PROVIDER, piece_cid=piece_cid(1), at=Epoch(5)) == (piece,)
    assert await repository.held_pieces(PROVIDER, at=Epoch(0)) == ()


async def test_an_election_needs_a_full_read_only_when_the_sum_does_not_fit(repository):
    chain = FakeChain()
    watcher = follower(chain, repository, start_at=Epoch(0))
    await watcher.catch_up()
    mine_claim(chain, 1, 7, active=False)
    chain.mine_many(5)
    world = chain.world()
    world.active |= {SectorNumber(7)}
    chain.mine(change=world)  # the first proof of space
    chain.mine_many(30)
    await watcher.catch_up()
    reads = chain.calls["active_sectors"]

    async def look(height):
        lookback = await chain.tipset_after_height(Epoch(height))
        return await sectors_for_election(chain, repository, PROVIDER, SECTOR_SIZE, lookback)

    middle = await look(20)  # the table was last brought up at the head
    assert middle.read_in_full
    assert [info.number for info in middle.sectors] == [7]
    for height in (8, 7, 21, 30):
        election = await look(height)
        assert election.miner_qap == (SECTOR_SIZE + 9 * MIB if height >= 8 else 0)
        assert len(election.sectors) == (1 if height >= 8 else 0)
    assert chain.calls["active_sectors"] <= reads + 2


async def test_five_thousand_epochs_take_few_requests(repository):
    chain = FakeChain()
    for number in range(50):
        mine_claim(chain, number + 1, number + 1)
        chain.mine_many(99)
    watcher = follower(chain, repository, start_at=Epoch(0))
    await watcher.catch_up()
    assert len(await keys(repository)) == 50
    assert chain.calls["path"] <= 8
    assert chain.calls["actor_events"] <= 24
    assert len(await repository.processed(PROVIDER)) == 2001


async def test_following_survives_a_node_that_goes_away(repository):
    chain = FakeChain()
    chain.mine_many(3)
    watcher = follower(chain, repository)
    seen, waited = [], []

    class Notifier:
        async def notify(self):
            chain.mine()
            yield []
            raise LotusConnectError("gone")

    class Enough(Exception):
        pass

    async def on_progress(progress):
        seen.append(progress.cursor.height)
        if len(seen) == 4:
            raise Enough

    async def sleep(seconds):
        waited.append(seconds)

    with pytest.raises(Enough):
        await watcher.follow(Notifier(), on_progress, sleep)
    assert seen == [2, 3, 3, 4]
    assert waited == [5.0]


async def dump(store):
    """All rows of the chain tables, without row ids, and without what depends on when sectors were read."""
    apart = {"chain_sector_ends", "chain_snapshots", "chain_sector_intervals"}
    rows = {}
    async with store.transaction() as connection:
        for table in metadata.sorted_tables:
            if table.name.startswith("chain_") and table.name not in apart:
                columns = [column for column in table.c if column.name != "id"]
                result = await connection.execute(table.select().with_only_columns(*columns))
                rows[table.name] = sorted(map(str, result.all()))
    return rows


steps = st.lists(
    st.sampled_from(["null", "plain", "win", "claim", "remove", "ddo", "terminate", "fault"]),
    min_size=1,
    max_size=8,
)


def play(chain, names, number):
    """Mine one tipset for each name."""
    for name in names:
        number += 1
        world = chain.world()
        active = sorted(world.active)
        if name == "null":
            chain.mine(nulls=2)
        elif name == "win":
            chain.mine(miner=PROVIDER)
        elif name == "claim":
            mine_claim(chain, number, number)
        elif name == "ddo":
            world.sectors[SectorNumber(number)] = make_sector(number, chain.current.height + 1)
            world.active |= {SectorNumber(number)}
            piece = (piece_cid(number), MIB)
            chain.mine(sector_event("sector-activated", number, piece), change=world)
        elif name == "remove" and world.claims:
            claim = world.claims.pop(min(world.claims))
            chain.mine(claim_event("claim-removed", claim), change=world)
        elif name == "terminate" and active:
            world.active -= {active[0]}
            chain.mine(sector_event("sector-terminated", active[0]), change=world)
        elif name == "fault" and active:
            world.active -= {active[-1]}
            chain.mine(change=world)
        else:
            chain.mine()
    return number


@settings(
    max_examples=15,
    deadline=None,
    phases=[
        Phase.explicit,
        Phase.reuse,
        Phase.generate,
    ],  # shrinking takes minutes; the soak's seeds are short already
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps, steps, st.lists(steps, min_size=1, max_size=3))
async def test_a_reverted_fork_leaves_no_trace(tmp_path_factory, common, fork, later):
    folder = tmp_path_factory.mktemp("fork")
    chain = FakeChain()
    stores = [Store(database_url(folder, name)) for name in "ab"]
    try:
        for store in stores:
            async with store.transaction() as connection:
                await connection.run_sync(metadata.create_all)
        wandering, straight = (
            follower(chain, ChainRepository(store), start_at=Epoch(0)) for store in stores
        )
        number = play(chain, common, 0)
        await wandering.catch_up()
        await straight.catch_up()
        number = play(chain, fork, number)
        await wandering.catch_up()
        chain.rewind(len(fork))
        chain.mine(salt=1)  # never the fork's own first tipset
        for names in later:
            number = play(chain, names, number)
            await wandering.catch_up()
            await straight.catch_up()
        assert await dump(stores[0]) == await dump(stores[1])
        head = chain.current
        power = (await chain.miner_power(PROVIDER, head.key)).miner.qap
        for store in stores:
            assert await ChainRepository(store).active_power(PROVIDER, head.height) == power
    finally:
        for store in stores:
            await store.close()
