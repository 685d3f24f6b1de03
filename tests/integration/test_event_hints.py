"""The node's stream of actor events, as a hint and nothing more."""

import asyncio

import pytest

from deals.event_sources import hear_of_events
from devstack.faults import Scope
from devstack.stack import Devstack
from tests.following_world import PROVIDER, opened


@pytest.fixture
async def net():
    async with Devstack() as net:
        yield net


class Waking:
    """What hears of events; and the pauses it is asked to make."""

    def __init__(self):
        self.woken = asyncio.Event()
        self.paused = asyncio.Event()

    async def sleep(self, _seconds):
        self.paused.set()
        await asyncio.sleep(0.02)


async def listening(client, waking):
    hints = hear_of_events(client, PROVIDER, waking.woken.set, sleep=waking.sleep)
    return asyncio.create_task(hints)


async def ended(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_an_event_of_the_provider_wakes_and_so_does_its_reversal(net, tmp_path):
    waking = Waking()
    async with opened(tmp_path / "a.db", net.api_info) as index:
        task = await listening(index.client, waking)
        await asyncio.sleep(0.2)
        await net.provider.add_piece(b"measured" * 200)
        await net.advance(30)  # pre-commit and activation
        async with asyncio.timeout(5):
            await waking.woken.wait()
        waking.woken.clear()
        await asyncio.sleep(0.2)
        waking.woken.clear()
        await net.reorg(depth=28)
        async with asyncio.timeout(5):
            await waking.woken.wait()
        await ended(task)


async def test_blocks_without_events_of_the_provider_wake_nobody(net, tmp_path):
    waking = Waking()
    async with opened(tmp_path / "a.db", net.api_info) as index:
        task = await listening(index.client, waking)
        await asyncio.sleep(0.2)
        await net.advance(20)
        await asyncio.sleep(0.2)
        assert not waking.woken.is_set()
        await ended(task)


@pytest.mark.parametrize("kind", ["events-off", "cut-off"])
async def test_where_events_are_not_served_it_stays_quiet_and_hears_of_them_later(
    net, tmp_path, kind
):
    waking = Waking()
    net.faults.add(kind, Scope(method="SubscribeActorEventsRaw"))
    async with opened(tmp_path / "a.db", net.api_info) as index:
        task = await listening(index.client, waking)
        if kind == "cut-off":
            await asyncio.sleep(0.2)
            await net.provider.add_piece(b"lost" * 300)
            await net.advance(30)
        async with asyncio.timeout(5):
            await waking.paused.wait()
        assert not waking.woken.is_set()
        net.faults.clear()
        await asyncio.sleep(0.3)
        await net.provider.add_piece(b"measured" * 200)
        await net.advance(30)
        async with asyncio.timeout(5):
            await waking.woken.wait()
        await ended(task)
