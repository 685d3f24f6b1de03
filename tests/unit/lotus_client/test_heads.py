"""Heads without gaps, against a node that drops, repeats, reorders, forgets and lies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotus_client.chain import HeadChange, TipSet, TipSetKey
from lotus_client.errors import (
    LotusConnectError,
    LotusHeadLost,
    LotusNotSupported,
    LotusUnauthorized,
)
from lotus_client.heads import HeadSettings, HeadStep, HeadStream, follow_heads
from tests.head_world import ACTIONS, Follower, HeadWorld, HostileNode


async def no_sleep(_: float) -> None:
    await asyncio.sleep(0)


async def followed(node: HostileNode) -> tuple[Follower, HeadStream]:
    """The consumer's view once the node's script is over."""
    follower = Follower(node.world.genesis)
    stream = HeadStream(node, node.world.genesis, sleep=no_sleep)
    async with aclosing(stream.steps()) as steps:
        async for step in steps:
            follower.take(step.reverted, step.applied, step.head)
            if node.finished and follower.stack[-1].key == node.world.head.key:
                break
    return follower, stream


@settings(max_examples=300, deadline=None)
@given(script=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(1, 4)), max_size=40))
async def test_the_consumer_always_sees_one_sequence_and_ends_at_the_nodes_head(
    script: list[tuple[str, int]],
) -> None:
    world = HeadWorld()
    world.mine(5)
    follower, stream = await followed(HostileNode(world, script))
    assert {tipset.key for tipset in follower.stack} == world.canonical()
    assert stream.at is not None
    assert stream.at.key == world.head.key


@pytest.mark.parametrize("action", ACTIONS)
async def test_every_kind_of_misbehaviour_is_survived_alone(action: str) -> None:
    world = HeadWorld()
    world.mine(5)
    follower, _ = await followed(HostileNode(world, [("mine", 3), (action, 2), ("mine", 2)]))
    assert {tipset.key for tipset in follower.stack} == world.canonical()


async def first_steps(node: Any, since: TipSet | None, count: int = 1) -> list[HeadStep]:
    found: list[HeadStep] = []
    stream = HeadStream(node, since, HeadSettings(stall=0.02), sleep=no_sleep)
    async with aclosing(stream.steps()) as steps:
        async for step in steps:
            found.append(step)
            if len(found) == count:
                break
    return found


async def test_without_a_starting_point_the_head_is_applied_first() -> None:
    world = HeadWorld()
    world.mine(3)
    [step] = await first_steps(HostileNode(world, []), None)
    assert (step.reverted, step.applied, step.head) == ((), (world.head,), world.head)


async def test_a_start_that_the_node_reverted_and_forgot_is_reverted_by_its_parents() -> None:
    world = HeadWorld()
    world.mine(3)
    since = world.head
    world.rewind(1)
    world.mine(4)
    node = HostileNode(world, [("forget", 1)])
    node._forget()
    [step] = await first_steps(node, since)
    assert step.reverted == (since,)
    assert [tipset.key for tipset in step.applied][-1] == world.head.key


async def test_a_start_of_which_nothing_is_known_any_more_is_told_not_guessed() -> None:
    world = HeadWorld()
    world.mine(6)
    since = world.head
    world.rewind(4)
    world.mine(8)
    node = HostileNode(world, [])
    node._forget()
    with pytest.raises(LotusHeadLost):
        await first_steps(node, since)


async def test_another_chain_is_told_not_followed() -> None:
    mine, other = HeadWorld(), HeadWorld()
    other._serial = iter(range(5000, 6000))  # type: ignore[assignment]
    other.genesis = other.head = other._make(TipSetKey(), 0)
    other.mine(3)
    mine.mine(2)
    with pytest.raises(LotusHeadLost):
        await first_steps(HostileNode(other, []), mine.head)


async def test_a_walk_ends_at_its_bound() -> None:
    world = HeadWorld()
    world.mine(50)
    node = HostileNode(world, [("path-nothing", 5)])
    node._path_trouble = ["nothing"] * 5
    stream = HeadStream(node, world.genesis, HeadSettings(longest_walk=20), sleep=no_sleep)
    with pytest.raises(LotusHeadLost, match="20 tipsets"):
        await anext(stream.steps())


class Silent(HostileNode):
    """Its stream gives the head once and then nothing, while the chain goes on."""

    async def notify(self) -> AsyncGenerator[list[HeadChange], None]:
        self.connections += 1
        yield [HeadChange("current", self.world.head)]
        self.world.mine(1)
        self._served |= set(self.world.known)
        await asyncio.sleep(60)


async def test_a_stream_that_went_silent_is_found_out_and_opened_anew() -> None:
    world = HeadWorld()
    world.mine(1)
    node = Silent(world, [])
    steps = await first_steps(node, world.genesis, count=4)
    follower = Follower(world.genesis)
    for step in steps:
        follower.take(step.reverted, step.applied, step.head)
    assert node.connections >= 2


class NoStreams(HostileNode):
    """A node behind a proxy without WebSockets; its chain grows whenever it is asked."""

    async def notify(self) -> AsyncGenerator[list[HeadChange], None]:
        self.connections += 1
        raise LotusNotSupported("ChainNotify", -32601, "no WebSocket")
        yield []

    async def head(self) -> TipSet:
        self.world.mine(1)
        self._served |= set(self.world.known)
        return self.world.head


async def test_without_a_stream_the_head_is_polled() -> None:
    world = HeadWorld()
    node = NoStreams(world, [])
    steps = await first_steps(node, world.genesis, count=3)
    assert [len(step.applied) for step in steps] == [1, 1, 1]
    assert node.connections == 1


class Refusing(HostileNode):
    async def notify(self) -> AsyncGenerator[list[HeadChange], None]:
        raise LotusUnauthorized("HTTP 401")
        yield []


async def test_a_refused_token_is_not_retried() -> None:
    with pytest.raises(LotusUnauthorized):
        await anext(follow_heads(Refusing(HeadWorld(), [])))


class Away(HostileNode):
    async def notify(self) -> AsyncGenerator[list[HeadChange], None]:
        raise LotusConnectError("away")
        yield []


async def test_pauses_between_connections_grow_to_their_bound() -> None:
    pauses: list[float] = []

    class Enough(Exception):
        pass

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 7:
            raise Enough

    stream = HeadStream(Away(HeadWorld(), []), sleep=sleep)
    with pytest.raises(Enough):
        await anext(stream.steps())
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert stream.drops == 7
