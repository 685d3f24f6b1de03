"""Following on nodes that do not serve everything: no events API, no events at all, a gateway's limits, pruned state."""

from dataclasses import replace

import pytest

from deals.event_sources import SourceName
from deals.follower import ChainFollower
from deals.gaps import Gap, GapKind
from deals.refill import GapFiller, RefillReport
from deals.sectors import sectors_for_election
from fil_plus.pieces import ProvenanceKind
from lotus_client.errors import LotusRpcError
from lotus_client.types import ClaimId, Epoch, SectorNumber
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.chain import ChainRepository
from tests.databases import database_url
from tests.fakes_chain import PROVIDER, SECTOR_SIZE, FakeChain, make_claim
from tests.integration.test_following import dump, follower, keys, mine_claim, play

NAMES = ["claim", "ddo", "win", "null", "claim", "remove", "ddo", "terminate", "plain", "claim"]


@pytest.fixture
async def stores(tmp_path):
    stores = [Store(database_url(tmp_path, name)) for name in "abc"]
    for store in stores:
        async with store.transaction() as connection:
            await connection.run_sync(metadata.create_all)
    yield stores
    for store in stores:
        await store.close()


@pytest.fixture
def repository(stores):
    return ChainRepository(stores[0])


async def test_the_events_api_and_the_receipts_give_the_same_index(stores):
    chain = FakeChain()
    by_index, by_receipts = (
        follower(chain, ChainRepository(store), start_at=Epoch(0)) for store in stores[:2]
    )
    number = 0
    for _ in range(3):
        number = play(chain, NAMES, number)
        chain.events_on = True
        await by_index.catch_up()
        chain.events_on = False
        await by_receipts.catch_up()
    assert await dump(stores[0]) == await dump(stores[1])
    assert by_index.source.name == SourceName.EVENTS_API
    assert by_receipts.source.name == SourceName.RECEIPTS
    assert "not supported" in by_receipts.source.why


async def test_the_state_alone_gives_the_same_claims_and_says_what_it_cannot_know(stores):
    chain = FakeChain()
    number = play(chain, NAMES, 0)
    events, state = (ChainRepository(store) for store in stores[:2])
    await follower(chain, events, start_at=Epoch(0)).catch_up()
    chain.events_on = chain.receipts_on = False
    watcher = follower(chain, state, start_at=Epoch(0), claims_every=1)
    await watcher.catch_up()
    assert watcher.source.name == SourceName.STATE
    assert await state.claims(PROVIDER) == await events.claims(PROVIDER)

    def claimed(pieces):
        return {
            (piece.key, piece.piece_cid, piece.padded_size, piece.sector, piece.from_epoch)
            for piece in pieces
            if piece.provenance.kind is ProvenanceKind.CLAIM and piece.provenance.id in held
        }

    held = await state.claims(PROVIDER)
    by_state = await state.held_pieces(PROVIDER)
    assert claimed(by_state) == claimed(await events.held_pieces(PROVIDER)) != set()
    assert {piece.offset for piece in by_state} == {None}  # unknown, not 0
    cursor = await state.cursor(PROVIDER)
    (gap,) = await state.gaps(PROVIDER)
    assert (gap.from_epoch, gap.to_epoch) == (1, cursor.tipset.height + 1)
    assert gap.kind is GapKind.EVENTS
    assert "GetActorEventsRaw" in gap.reason
    assert "ChainGetParentReceipts" in gap.reason
    assert number == len(NAMES)


async def test_when_events_come_back_the_claims_are_right_at_once_and_the_gap_stays(repository):
    chain = FakeChain()
    watcher = follower(chain, repository, start_at=Epoch(0), claims_every=50)
    chain.mine_many(3)
    await watcher.catch_up()
    chain.events_on = chain.receipts_on = False
    mine_claim(chain, 1, 7)
    chain.mine_many(3)
    await watcher.catch_up()
    assert await keys(repository) == []  # not due yet, and the gap says so
    (before,) = await repository.gaps(PROVIDER)
    assert before.from_epoch == 3
    chain.events_on = chain.receipts_on = True
    mine_claim(chain, 2, 8)
    chain.mine()
    again = follower(
        chain, repository, claims_every=50
    )  # a restart does not forget that they are due
    await again.catch_up()
    assert await keys(repository) == ["claim:1", "claim:2"]
    assert await repository.gaps(PROVIDER) == (before,)


async def test_a_gap_goes_with_the_tipsets_it_was_made_of(repository):
    chain = FakeChain()
    watcher = follower(chain, repository, start_at=Epoch(0), claims_every=1)
    chain.mine_many(3)
    await watcher.catch_up()
    chain.events_on = chain.receipts_on = False
    mine_claim(chain, 1, 7)
    chain.mine_many(5)
    await watcher.catch_up()
    (gap,) = await repository.gaps(PROVIDER)
    assert (gap.from_epoch, gap.to_epoch) == (3, 9)
    chain.events_on = chain.receipts_on = True
    chain.rewind(7)
    chain.mine(salt=1)
    mine_claim(chain, 2, 8)
    chain.mine_many(8)
    await follower(chain, repository).catch_up()
    assert await repository.gaps(PROVIDER) == ()
    assert await keys(repository) == ["claim:2"]


async def test_events_that_a_node_leaves_out_are_found_by_the_daily_look_at_the_state(repository):
    chain = FakeChain()
    watcher = follower(chain, repository, start_at=Epoch(0))
    await watcher.catch_up()
    world = chain.world()
    claim = make_claim(1, 7, 2)
    world.claims[ClaimId(1)] = claim
    chain.mine(change=world)  # claimed, and no event of it is served
    chain.mine_many(2_900)
    await watcher.catch_up()
    assert await repository.claims(PROVIDER) == {ClaimId(1): claim}
    (gap,) = await repository.gaps(PROVIDER)
    assert "in none of the events" in gap.reason


async def test_a_gateway_that_looks_back_a_day_leaves_a_gap_and_the_present_is_right(repository):
    chain = FakeChain()
    mine_claim(chain, 1, 7)
    chain.mine_many(1_000)
    await follower(chain, repository, start_at=Epoch(0), range_epochs=100).catch_up()
    cursor = await repository.cursor(PROVIDER)
    mine_claim(chain, 2, 8)  # never seen
    chain.mine_many(2_000)
    mine_claim(chain, 3, 9)
    chain.mine_many(500)
    chain.reads_from = 2_500
    chain.sector_list_on = False
    watcher = follower(chain, repository, range_epochs=100)
    progress = await watcher.catch_up()
    assert progress.at_head
    (gap,) = await repository.gaps(PROVIDER)
    assert gap.kind is GapKind.CHAIN
    assert (gap.from_epoch, gap.to_epoch) == (cursor.finalized + 1, 2_500)
    assert "lookbacks of more than" in gap.reason
    assert await repository.claims(PROVIDER) == await chain.claims(PROVIDER, chain.current.key)
    assert await keys(repository) == ["claim:1", "claim:2", "claim:3"]
    power = (await chain.miner_power(PROVIDER, chain.current.key)).miner.qap
    assert await repository.active_power(PROVIDER, chain.current.height) == power
    processed = await repository.processed(PROVIDER)
    assert not [ref for ref in processed if cursor.finalized < ref.height < 2_500]


async def test_sectors_of_which_a_gateway_does_not_tell_are_unknown_not_none(repository):
    chain = FakeChain()
    chain.sector_list_on = False
    mine_claim(chain, 1, 7)
    chain.mine_many(1_000)
    world = chain.world()  # a sector without data, which no claim and no event names
    world.sectors[SectorNumber(50)] = world.sectors[SectorNumber(7)]
    world.active |= {SectorNumber(50)}
    chain.mine(change=world)
    chain.mine_many(3)
    await follower(chain, repository, start_at=Epoch(900)).catch_up()
    head = chain.current
    election = await sectors_for_election(chain, repository, PROVIDER, SECTOR_SIZE, head)
    assert election.sectors is None
    assert election.miner_qap == (await chain.miner_power(PROVIDER, head.key)).miner.qap > 0


async def test_catching_up_over_pruned_state_reads_what_is_left_and_ends_right(repository):
    chain = FakeChain()
    chain.mine_many(10)
    await follower(chain, repository, start_at=Epoch(0)).catch_up()
    mine_claim(chain, 1, 7)
    chain.mine(miner=PROVIDER)
    chain.mine_many(1_500)
    mine_claim(chain, 2, 8)
    chain.mine_many(50)
    chain.state_from = chain.current.height - 900
    await follower(chain, repository, range_epochs=100).catch_up()
    assert await keys(repository) == ["claim:1", "claim:2"]
    assert len(await repository.own_blocks(PROVIDER, Epoch(0), Epoch(10_000))) == 1
    assert await repository.gaps(PROVIDER) == ()  # headers and events are all there
    power = (await chain.miner_power(PROVIDER, chain.current.key)).miner.qap
    assert await repository.active_power(PROVIDER, chain.current.height) == power


async def test_a_start_from_before_what_the_node_has_begins_where_it_can_and_says_so(repository):
    chain = FakeChain()
    mine_claim(chain, 1, 7)
    chain.mine_many(400)
    chain.state_from = 300
    await follower(chain, repository, start_at=Epoch(20)).catch_up()
    assert await keys(repository) == ["claim:1"]
    (gap,) = await repository.gaps(PROVIDER)
    assert (gap.from_epoch, gap.to_epoch, gap.kind) == (20, 300, GapKind.CHAIN)


async def test_a_sector_that_was_extended_without_an_event_keeps_its_pieces(repository):
    chain = FakeChain()
    chain.mine(nulls=600_000)
    watcher = follower(chain, repository, start_at=Epoch(0))
    await watcher.catch_up()
    assert play(chain, ["ddo"], 0) == 1
    chain.mine()
    await watcher.catch_up()
    (piece,) = await repository.held_pieces(PROVIDER)
    end = piece.to_epoch
    world = chain.world()
    longer = replace(world.sectors[SectorNumber(1)], expiration=Epoch(end + 100_000))
    world.sectors[SectorNumber(1)] = longer
    chain.mine(change=world)
    chain.mine(nulls=end - chain.current.height - 3_000)  # a day before it would have ended
    chain.mine()
    await watcher.catch_up()
    (piece,) = await repository.held_pieces(PROVIDER)
    assert piece.to_epoch == end + 100_000


async def test_errors_that_say_nothing_of_age_are_not_taken_for_a_gap(repository):
    chain = FakeChain()
    chain.mine_many(5)

    class Broken:
        def __getattr__(self, name):
            return getattr(chain, name)

        async def claims(self, provider, tsk=None):
            raise LotusRpcError("StateGetClaims", 1, "something else went wrong")

    with pytest.raises(LotusRpcError, match="something else"):
        await ChainFollower(Broken(), repository, PROVIDER).catch_up()
    assert await repository.gaps(PROVIDER) == ()


def test_a_gap_is_never_empty():
    with pytest.raises(ValueError, match="empty gap"):
        Gap(Epoch(5), Epoch(5), GapKind.CHAIN, "")


@pytest.mark.parametrize("source", ["events", "receipts"])
async def test_a_gap_in_the_events_is_filled_by_either_source_as_if_it_had_never_been(
    stores, source
):
    chain = FakeChain()
    undisturbed, gappy = (ChainRepository(store) for store in stores[:2])
    watcher = follower(chain, gappy, start_at=Epoch(0), claims_every=1)
    number = play(chain, NAMES[:4], 0)
    chain.mine()
    await watcher.catch_up()
    chain.events_on = chain.receipts_on = False
    number = play(chain, NAMES, number)
    await watcher.catch_up()  # part of it is concluded from the state now, part at the end
    number = play(chain, NAMES, number)
    chain.mine()
    await watcher.catch_up()
    filler = GapFiller(chain, gappy, PROVIDER, range_epochs=5)
    (gap,) = (await filler.fill()).waiting  # not final, so not tried
    chain.events_on, chain.receipts_on = source == "events", source == "receipts"
    chain.mine_many(1_000)
    await follower(chain, gappy, claims_every=1).catch_up()
    await follower(chain, undisturbed, start_at=Epoch(0)).catch_up()
    assert await gappy.held_pieces(PROVIDER) != await undisturbed.held_pieces(PROVIDER)
    (filled,) = (await filler.fill()).filled
    assert filled == gap
    assert await gappy.gaps(PROVIDER) == ()
    assert await gappy.held_pieces(PROVIDER) == await undisturbed.held_pieces(PROVIDER)
    assert await gappy.claims(PROVIDER) == await undisturbed.claims(PROVIDER)
    assert await filler.fill() == RefillReport((), (), ())
