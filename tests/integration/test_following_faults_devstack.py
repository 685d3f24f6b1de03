"""The follower against the devnet's own faults and its gateway: the index of an undisturbed follower, or a gap that says so."""

import asyncio
import itertools
from contextlib import suppress

import pytest

from deals.event_sources import SourceName
from deals.gaps import GapKind
from deals.refill import GapFiller
from devstack.chain import NetworkConfig
from devstack.datacap import grant_datacap
from devstack.faults import Scope
from devstack.stack import Devstack, DevstackConfig
from lotus_client.errors import LotusUnavailable
from lotus_client.types import Epoch
from tests.following_world import PROVIDER, allocate, opened

PAYLOAD = b"daily observations of the weather\n" * 400
LOOKBACK = 1000  # epochs that the gateway looks back here: above what finality and elections need


@pytest.fixture
async def net():
    network = NetworkConfig()
    seconds = LOOKBACK * network.block_delay_seconds
    config = DevstackConfig(network=network, gateway_port=0, gateway_lookback_seconds=seconds)
    async with Devstack(config) as net:
        await grant_datacap(net.node, net.network.key("alice").address, 1 << 30)
        yield net


_sizes = itertools.count(1000)


async def claim(net):
    """One more claimed piece; its events are on the chain afterwards."""
    payload = PAYLOAD[: next(_sizes)]
    await net.provider.add_piece(payload, allocation=await allocate(net, payload))
    await net.advance(12)


async def ddo(net):
    """One more piece that no claim covers."""
    await net.provider.add_piece(PAYLOAD[: next(_sizes)])
    await net.advance(12)


async def truth(net, tmp_path):
    """What a follower on the unlimited node has, that begins now from genesis."""
    net.faults.clear()
    path = tmp_path / "truth.db"
    path.unlink(missing_ok=True)
    async with opened(path, net.api_info) as fresh:
        await fresh.catch_up()
        return await fresh.content()


async def kinds_of(index):
    pieces = await index.repository.held_pieces(PROVIDER)
    return sorted(piece.provenance.kind.value for piece in pieces)


@pytest.mark.parametrize(
    ("kind", "method", "params"),
    [
        ("drop", "*", {}),
        ("status", "*", {"status": 503}),
        ("rate-limit", "*", {"retry_after": 1}),
        ("drop", "GetActorEventsRaw", {}),
        ("status", "ChainGetPath", {"status": 502}),
    ],
)
async def test_hang_ups_and_refusals_of_the_wire_cost_time_and_nothing_else(
    net, tmp_path, kind, method, params
):
    async with opened(tmp_path / "a.db", net.api_info, range_epochs=7) as index:
        for seed in range(4):
            await (claim, ddo)[seed % 2](net)
            net.faults.add(kind, Scope(method=method, probability=0.3, seed=seed), **params)
            for _ in range(3):
                with suppress(LotusUnavailable):
                    await index.catch_up()
            ((_, _, struck),) = net.faults.entries()
            net.faults.clear()
            await index.catch_up()
            await net.reorg(depth=seed + 1)
        assert struck > 0
        await index.catch_up()
        assert await index.repository.gaps(PROVIDER) == ()
        assert await index.content() == await truth(net, tmp_path)


async def test_a_node_that_stands_still_is_followed_to_where_it_stands_and_on_once_it_moves(
    net, tmp_path
):
    async with opened(tmp_path / "a.db", net.api_info) as index:
        await claim(net)
        await index.catch_up()
        before = await index.content()
        net.faults.add("stale-head")
        await claim(net)
        await net.reorg(depth=3)
        await index.catch_up()
        assert await index.content() == before
        net.faults.clear()
        await index.catch_up()
        assert await index.content() == await truth(net, tmp_path) != before


async def caught_up(index, net):
    """Wait until the follower at work in the background stands on the parent of the head."""
    wanted = net.network.head.parents
    for _ in range(1000):
        if (await index.repository.cursor(PROVIDER)).tipset.key == wanted:
            return
        await asyncio.sleep(0.02)
    pytest.fail("the follower has not heard of the head in 20 seconds")


@pytest.mark.parametrize("kind", ["duplicate", "reorder", "cut-off", "drop"])
async def test_notifications_twice_late_cut_off_or_broken_leave_the_index_right(
    net, tmp_path, kind
):
    async with opened(tmp_path / "a.db", net.api_info) as index:
        method = "ChainNotify#value" if kind == "drop" else "ChainNotify"
        fault = net.faults.add(kind, Scope(method=method, probability=0.5, seed=3))

        async def on_progress(_progress):
            pass

        work = asyncio.create_task(
            index.follower.follow(index.client, on_progress, retry_seconds=0.02)
        )
        try:
            for turn in range(6):
                await (claim, ddo)[turn % 2](net)
                await net.reorg(depth=2)
                await asyncio.sleep(0.05)
            struck = {one.id: hits for one, _, hits in net.faults.entries()}[fault.id]
            assert struck > 0
            net.faults.clear()
            await net.advance(1)
            await caught_up(index, net)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        assert await index.content() == await truth(net, tmp_path)


async def test_with_the_events_api_off_the_receipts_give_the_same_index(net, tmp_path):
    async with opened(tmp_path / "a.db", net.api_info) as index:
        net.faults.add("events-off")
        await claim(net)
        await ddo(net)
        await net.reorg(depth=4)
        await index.catch_up()
        assert index.follower.source.name is SourceName.RECEIPTS
        assert "EnableActorEventsAPI" in index.follower.source.why
        assert await index.content() == await truth(net, tmp_path)


async def test_events_that_a_node_leaves_out_are_a_gap_once_the_state_shows_a_claim_of_them(
    net, tmp_path
):
    async with opened(tmp_path / "a.db", net.api_info) as index:
        await index.catch_up()
        net.faults.add("no-events")
        await claim(net)
        await ddo(net)
        await net.advance(2900)  # the daily look at the state
        await index.catch_up()
        (gap,) = await index.repository.gaps(PROVIDER)
        assert gap.kind is GapKind.EVENTS
        assert "in none of the events" in gap.reason
        assert await kinds_of(index) == ["claim"]
        assert await index.repository.claims(PROVIDER) == await index.client.claims(PROVIDER)

        await net.advance(950)
        await index.catch_up()
        filler = GapFiller(index.client, index.repository, PROVIDER)
        refused = (await filler.fill()).refused  # the same node, as forgetful as before
        assert [(one.from_epoch, one.to_epoch) for one in refused] == [
            (gap.from_epoch, gap.to_epoch)
        ]
        assert "do not explain the claims" in refused[0].reason
        assert await index.repository.gaps(PROVIDER) == (gap,)

        net.faults.clear()  # it was indexed anew
        assert (await filler.fill()).refused == ()
        assert await kinds_of(index) == ["claim", "ddo"]
        assert await index.content() == await truth(net, tmp_path)


async def test_a_broken_proxy_before_the_receipts_is_waited_for_and_leaves_no_gap(net, tmp_path):
    async with opened(tmp_path / "a.db", net.api_info, claims_every=1) as index:
        await claim(net)
        await index.catch_up()
        net.faults.add("events-off")
        net.faults.add("status", Scope(method="ChainGetEvents"), status=501)
        await claim(net)
        with pytest.raises(LotusUnavailable):  # a broken proxy is no answer: nothing is concluded
            await index.catch_up()
        net.faults.clear()
        await index.catch_up()
        assert await index.repository.gaps(PROVIDER) == ()
        assert await index.content() == await truth(net, tmp_path)


async def test_pruned_states_take_nothing_away_that_headers_and_events_tell(net, tmp_path):
    async with opened(tmp_path / "a.db", net.api_info, range_epochs=100) as index:
        await index.catch_up()
        await claim(net)
        await ddo(net)
        await net.advance(1100)
        await claim(net)
        net.faults.add("pruned")
        await index.catch_up()
        assert await index.repository.gaps(PROVIDER) == ()
        head = await index.client.head()
        power = (await index.client.miner_power(PROVIDER)).miner.qap
        assert await index.repository.active_power(PROVIDER, head.height) == power > 0
        assert await index.content() == await truth(net, tmp_path)


async def test_a_start_from_before_a_pruned_node_s_states_says_what_it_leaves_out(net, tmp_path):
    await claim(net)
    await net.advance(1000)
    net.faults.add("pruned")
    async with opened(tmp_path / "a.db", net.api_info, start_at=Epoch(0)) as index:
        await index.catch_up()
        (gap,) = await index.repository.gaps(PROVIDER)
        assert (gap.kind, gap.from_epoch) == (GapKind.CHAIN, 0)
        assert "failed to load state tree" in gap.reason
        assert await index.repository.claims(PROVIDER) == await index.client.claims(PROVIDER)


async def test_a_gateway_that_looks_back_far_enough_gives_the_same_index(net, tmp_path):
    async with opened(tmp_path / "a.db", net.gateway_api_info, range_epochs=50) as index:
        for turn in range(5):
            await (claim, ddo)[turn % 2](net)
            await index.catch_up()
            await net.reorg(depth=turn + 1)
        await index.catch_up()
        assert await index.repository.gaps(PROVIDER) == ()
        assert await index.content() == await truth(net, tmp_path)


async def test_what_a_gateway_no_longer_shows_is_a_gap_until_a_full_node_is_named(net, tmp_path):
    path = tmp_path / "a.db"
    async with opened(path, net.gateway_api_info, range_epochs=100) as index:
        await claim(net)
        await index.catch_up()
    await claim(net)
    await ddo(net)
    await net.advance(2 * LOOKBACK)
    await claim(net)
    async with opened(path, net.gateway_api_info, range_epochs=100) as index:
        await index.catch_up()
        (gap,) = await index.repository.gaps(PROVIDER)
        assert gap.kind is GapKind.CHAIN
        assert "lookbacks of more than" in gap.reason
        assert await index.repository.claims(PROVIDER) == await index.client.claims(PROVIDER)
        for _ in range(2):  # until the gap is final; never further than the gateway looks back
            await net.advance(500)
            await index.catch_up()
        report = await GapFiller(index.client, index.repository, PROVIDER).fill()
        assert "lookbacks of more than" in report.refused[0].reason
        assert await index.repository.gaps(PROVIDER) == (gap,)
    async with opened(path, net.api_info) as index:
        await index.catch_up()
        report = await GapFiller(index.client, index.repository, PROVIDER, range_epochs=300).fill()
        assert [(one.from_epoch, one.to_epoch) for one in report.filled] == [
            (gap.from_epoch, gap.to_epoch)
        ]
        assert await kinds_of(index) == ["claim", "claim", "claim", "ddo"]
        assert await index.content() == await truth(net, tmp_path)
