"""How old the head may be that a run is judged by, and how often the node is asked."""

from __future__ import annotations

import asyncio

import pytest

from lotus_client.errors import LotusConnectError
from lotus_client.types import Epoch
from sp_plugin.recent_head import RecentHead


class Node:
    def __init__(self) -> None:
        self.head, self.asked, self.away = Epoch(100), 0, False
        self.seconds = 0.0

    async def read(self) -> Epoch:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise LotusConnectError("gone")
        return self.head


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def recent(node: Node) -> RecentHead:
    return RecentHead(node.read, Epoch(99), most_seconds=5, clock=lambda: node.seconds)


async def test_a_head_is_good_for_five_seconds_and_then_asked_for(node: Node, recent: RecentHead):
    node.seconds = 4.9
    assert (await recent.epoch(), node.asked) == (99, 0)
    node.seconds = 5.0
    assert (await recent.epoch(), node.asked) == (100, 1)
    assert (await recent.epoch(), node.asked) == (100, 1)
    assert recent.newest == 100


async def test_many_who_ask_at_once_ask_once(node: Node, recent: RecentHead):
    node.seconds = 60
    assert set(await asyncio.gather(*(recent.epoch() for _ in range(50)))) == {100}
    assert node.asked == 1


async def test_what_the_follower_saw_counts_from_when_it_asked(node: Node, recent: RecentHead):
    node.seconds = 10
    asked = recent.now()
    node.seconds = 40  # it had a lot to take over
    recent.tell(Epoch(101), asked)
    assert recent.newest == 101
    assert (await recent.epoch(), node.asked) == (100, 1)


async def test_an_older_answer_does_not_replace_a_newer_one(node: Node, recent: RecentHead):
    node.seconds = 30
    recent.tell(Epoch(120), 29)
    recent.tell(Epoch(110), 20)
    assert (await recent.epoch(), node.asked) == (120, 0)


async def test_a_node_that_is_away_is_no_reason_to_use_an_old_head(node: Node, recent: RecentHead):
    node.seconds, node.away = 9, True
    for _ in range(2):
        with pytest.raises(LotusConnectError):
            await recent.epoch()
    node.away = False
    assert await recent.epoch() == 100


async def test_one_who_gives_up_does_not_take_the_answer_from_others(
    node: Node, recent: RecentHead
):
    node.seconds = 9
    first, second = (asyncio.create_task(recent.epoch()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 100
    assert first.cancelled()
