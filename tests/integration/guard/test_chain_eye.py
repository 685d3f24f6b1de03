"""What the guard sees of deadlines, against what the local network's miner actor knows of itself, through its API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from devstack.auth import Permission
from devstack.chain import NetworkConfig
from devstack.stack import Devstack, DevstackConfig
from lotus_client.api_info import ApiInfo
from lotus_client.client import LotusClient
from lotus_client.errors import LotusUnavailable
from lotus_client.miner_client import MinerClient
from lotus_client.transport import RetryPolicy
from lotus_client.types import ActorId
from sp_plugin.config.guard import HostRole
from sp_plugin.guard.chain_eye import ChainEye
from sp_plugin.guard.decide import GuardState
from sp_plugin.guard.miner_eye import MinerEye
from sp_plugin.guard.sights import Activity, ChainSight, GuardRules, HostSight
from sp_plugin.guard.watch import Guard
from sp_plugin.jobs.hold import Hold

GENESIS_MINER = ActorId(
    1000
)  # it has sectors in each of the 48 deadlines, and proves them by itself
START, DELAY = 1_750_000_000, 30


@pytest.fixture
def devnet_config() -> DevstackConfig:
    network = NetworkConfig(genesis_timestamp=START, block_delay_seconds=DELAY)
    return DevstackConfig(network=network)


@pytest.fixture
async def node(devnet: Devstack) -> AsyncIterator[LotusClient]:
    info = ApiInfo.parse(f"{devnet.token(Permission.READ)}:{devnet.api_info.partition(':')[2]}")
    retry = RetryPolicy(attempts=1)
    async with LotusClient.connect(info, timeout_seconds=2, retry=retry) as client:
        await client.probe()
        yield client


def due(sight: ChainSight, index: int):
    return next(deadline for deadline in sight.deadlines if deadline.index == index)


async def test_a_deadlines_epochs_are_known_before_it_opens_and_do_not_change(devnet, node):
    await devnet.advance(30)
    eye = ChainEye(node, GENESIS_MINER, DELAY, lead_epochs=10)
    foreseen, checked = {}, 0
    for _ in range(30):  # half an hour each: through six deadlines and the turn of a period
        sight = await eye.look()
        info = await node.proving_deadline(GENESIS_MINER)
        assert sight.head == info.current_epoch == devnet.network.head.height
        now = due(sight, info.index)
        assert (now.open, now.close, now.challenge) == (info.open, info.close, info.challenge)
        assert (info.window, info.lookback, info.deadlines) == (60, 20, 48)
        if info.open in foreseen:
            assert foreseen[info.open] == (info.index, info.challenge, info.close)
            checked += 1
        for steps in (1, 2, 47):
            later = info.after(steps)
            foreseen[later.open] = (later.index, later.challenge, later.close)
        assert sight.next_challenge > sight.head
        await devnet.advance(11)
    assert checked > 10


async def test_a_partition_is_covered_once_its_proof_is_in_the_state_and_no_sooner(devnet, node):
    await devnet.advance(30)
    eye = ChainEye(node, GENESIS_MINER, DELAY, lead_epochs=10)
    info = await node.proving_deadline(GENESIS_MINER)
    await devnet.advance(info.close - info.current_epoch)  # the next one opens
    seen = []
    for _ in range(70):
        sight = await eye.look()
        info = await node.proving_deadline(GENESIS_MINER)
        now = due(sight, info.index)
        posted = await node.posted_partitions(GENESIS_MINER)
        assert now.missing == tuple(n for n in now.needed if n not in posted[info.index])
        seen.append((sight.head - now.open, bool(now.missing)))
        following = due(sight, (info.index + 1) % 48)
        assert following.missing == following.needed != ()
        await devnet.advance(1)
    assert [missing for at, missing in seen if at == 0] == [True, True]  # two openings
    assert next(missing for at, missing in seen if at == 5) is False


async def test_sectors_that_are_all_faulty_need_no_proof(devnet, node):
    sector = await devnet.provider.add_sector()
    await devnet.advance(3000)
    provider = devnet.provider.miner.actor_id
    place = devnet.network.state().sector_place(devnet.provider.miner, sector.number)
    assert place is not None
    (partition,) = await node.partitions(provider, place.deadline)
    assert partition.needs_proof
    await devnet.advance(200)
    await devnet.sector_faults.fault([sector.number])
    await devnet.advance(3)
    (partition,) = await node.partitions(provider, place.deadline)
    assert not partition.needs_proof


class Still:
    """A host where the prover is never seen."""

    async def look(self) -> HostSight:
        return HostSight(proving=None)


class Clock:
    """Time as the chain has it, and what passes beside it."""

    def __init__(self, devnet: Devstack) -> None:
        self._devnet, self.epochs_ahead = devnet, 0

    def __call__(self) -> float:
        return START + (self._devnet.network.head.height + self.epochs_ahead) * DELAY


async def guard_of(devnet: Devstack, node: LotusClient, provider: ActorId) -> tuple[Guard, Clock]:
    clock = Clock(devnet)
    eye = ChainEye(node, provider, DELAY, lead_epochs=10)
    return Guard(GuardRules(HostRole.PROVER), Hold(), eye, Still(), clock), clock


async def test_a_window_without_a_proof_freezes_and_stops_and_the_next_one_goes_on(devnet, node):
    """The states of a prover with one sector over the whole day, with one window that is missed."""
    sector = await devnet.provider.add_sector()
    await devnet.advance(3000)
    provider = devnet.provider.miner.actor_id
    place = devnet.network.state().sector_place(devnet.provider.miner, sector.number)
    guard, _ = await guard_of(devnet, node, provider)
    info = await node.proving_deadline(provider)
    window = info.after((place.deadline - info.index - 2) % 48 + 2)
    await devnet.advance(window.challenge - 11 - info.current_epoch)
    devnet.sector_faults.skip_posts(1)
    states = {}
    while devnet.network.head.height < window.close + 3:
        await guard.step()
        states[devnet.network.head.height - window.challenge] = guard.report().verdict.state
        await devnet.advance(1)
    run, lead, frozen, stop = GuardState
    assert [states[at] for at in (-11, -10, -1, 0, 59, 60, 79, 80)] == [
        run, lead, lead, frozen, frozen, stop, stop, run,
    ]  # fmt: skip


async def test_a_proof_on_chain_thaws_inside_the_window(devnet, node):
    sector = await devnet.provider.add_sector()
    await devnet.advance(3000)
    provider = devnet.provider.miner.actor_id
    place = devnet.network.state().sector_place(devnet.provider.miner, sector.number)
    guard, _ = await guard_of(devnet, node, provider)
    info = await node.proving_deadline(provider)
    window = info.after((place.deadline - info.index - 2) % 48 + 2)
    await devnet.advance(window.challenge - info.current_epoch)
    await guard.step()
    assert guard.report().verdict.state is GuardState.FROZEN
    while guard.report().verdict.state is not GuardState.RUN:
        assert devnet.network.head.height < window.close - 20
        await devnet.advance(1)
        await guard.step()
    assert window.open < devnet.network.head.height < window.open + 6


async def test_a_node_that_goes_away_freezes_a_prover_within_six_epochs_and_says_so(devnet, node):
    await devnet.advance(100)
    guard, clock = await guard_of(devnet, node, devnet.provider.miner.actor_id)  # no sectors
    await guard.step()
    assert guard.report().verdict.state is GuardState.RUN
    devnet.faults.add("status", status=503)
    clock.epochs_ahead = 5
    with pytest.raises(LotusUnavailable):
        await guard.step()
    assert guard.report().verdict.state is GuardState.RUN
    clock.epochs_ahead = 6
    with pytest.raises(LotusUnavailable):
        await guard.step()
    report = guard.report()
    assert report.verdict.state is GuardState.FROZEN
    assert "more than 5 epochs old" in report.verdict.why
    assert report.why_unseen in report.verdict.why != ""
    devnet.faults.clear()
    clock.epochs_ahead = 0
    await guard.step()
    assert guard.report().verdict.state is GuardState.RUN


async def test_a_reorg_that_takes_a_proof_back_freezes_again(devnet, node):
    await devnet.advance(30)
    guard, _ = await guard_of(devnet, node, GENESIS_MINER)
    info = await node.proving_deadline(GENESIS_MINER)
    await devnet.advance(info.close - info.current_epoch + 1)
    await guard.step()
    while guard.report().verdict.state is not GuardState.RUN:
        await devnet.advance(1)
        await guard.step()
    opened = guard.report().chain.deadlines[0].open
    await devnet.reorg(depth=devnet.network.head.height - opened)
    await guard.step()
    missing = guard.report().chain.deadlines[0].missing
    assert (guard.report().verdict.state is GuardState.FROZEN) == bool(missing)


async def test_a_miner_without_workers_says_that_nothing_is_sealed(devnet):
    async with MinerClient.connect(ApiInfo.parse(devnet.miner_api_info)) as miner:
        word = await MinerEye(miner).look()
    assert (word.heard, word.sealing, word.proving) == (True, Activity.IDLE, None)


async def test_a_token_without_admin_hears_why_it_is_told_nothing(devnet):
    place = devnet.miner_api_info.partition(":")[2]
    info = ApiInfo.parse(f"{devnet.miner.tokens.issue((Permission.READ,))}:{place}")
    async with MinerClient.connect(info) as miner:
        word = await MinerEye(miner).look()
    assert not word.heard
    assert "admin" in word.text
