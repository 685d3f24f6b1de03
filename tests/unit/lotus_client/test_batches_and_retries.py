"""Batches, retries and failover over fake ways to a node."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_client.errors import (
    LotusBusy,
    LotusConnectError,
    LotusDecodeError,
    LotusError,
    LotusNoEndpoint,
    LotusNotSupported,
    LotusRpcError,
    LotusStatePruned,
    LotusUnavailable,
)
from lotus_client.transport import (
    Call,
    Endpoint,
    FailoverTransport,
    RetryingTransport,
    RetryPolicy,
    call_many,
    stream_items,
)
from lotus_client.transport.batch import divided, is_refusal, outcomes_of

HEAD = "Filecoin.ChainHead"
GENESIS = "Filecoin.ChainGetGenesis"


class FakeNode:
    """A way to a node of some height that can be away, and records what it was asked."""

    def __init__(self, name: str = "a", height: int = 100, genesis: str = "g") -> None:
        self.name = name
        self.height = height
        self.genesis = genesis
        self.error: LotusError | None = None
        self.refused: dict[str, LotusError] = {}
        self.calls: list[str] = []
        self.closed = False

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        self.calls.append(method)
        if self.error is not None:
            raise self.error
        if method in self.refused:
            raise self.refused[method]
        if method == HEAD:
            return {"Height": self.height}
        if method == GENESIS:
            return {"Cids": [self.genesis], "Height": 0}
        return [self.name, *params]

    async def subscribe(self, method: str, params: Sequence[Any]) -> AsyncGenerator[Any, None]:
        self.calls.append(method)
        yield self.name
        raise self.error or LotusConnectError("dropped")

    async def stream(
        self, method: str, params: Sequence[Any], shape: str
    ) -> AsyncGenerator[list[Any], None]:
        yield [await self.call(method, params)]
        if "then-drop" in params:
            raise LotusConnectError("dropped")

    async def close(self) -> None:
        self.closed = True

    def served(self) -> list[str]:
        """What it was asked beside the questions of admission."""
        return [method for method in self.calls if method not in (HEAD, GENESIS)]


READ = "Filecoin.StateGetActor"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def several(*nodes: FakeNode) -> tuple[FailoverTransport, Clock, list[tuple[str, str]]]:
    clock, switches = Clock(), []
    transport = FailoverTransport(
        [Endpoint(node.name, node) for node in nodes],
        clock=clock,
        on_switch=lambda before, after, why: switches.append((before, after)),
    )
    return transport, clock, switches


@given(sizes=st.lists(st.integers(0, 400_000), min_size=1, max_size=30), most=st.integers(1, 7))
def test_batches_hold_every_call_once_in_order_and_within_bounds(
    sizes: list[int], most: int
) -> None:
    calls = [Call("m", ["x" * size]) for size in sizes]
    seen: list[int] = []
    for places, body in divided(calls, 50, most):
        assert len(places) <= most
        assert len(body) < (1 << 20) + 500_000
        requests = json.loads(body)
        assert [request["id"] for request in requests] == [50 + place for place in places]
        seen += places
    assert seen == list(range(len(calls)))


def test_answers_of_a_batch_are_sorted_and_one_failure_is_one_failure() -> None:
    calls = [Call("a"), Call("b"), Call("c"), Call("d")]
    answers = [
        {"id": 9, "result": "third"},
        {"id": 7, "result": "first"},
        {"id": 8, "error": {"code": 1, "message": "no"}},
        {"id": 7, "result": "a second answer to the first"},
        {"id": 99, "result": "nobody's"},
        "junk",
    ]
    first, second, third, fourth = outcomes_of(calls, 7, answers)
    assert (first, third) == ("first", "third")
    assert type(second) is LotusRpcError
    assert isinstance(fourth, LotusDecodeError)


@pytest.mark.parametrize(
    ("status", "answer", "refused"),
    [
        (200, [], False), (500, {"error": {"code": -32700, "message": "Parse error"}}, True),
        (200, {"error": {"code": -32600, "message": "no batches"}}, True), (400, None, True), (413, None, True),
        (401, None, False), (429, {"error": {}}, False), (503, None, False), (502, None, False), (200, {"result": 1}, False),
    ],
)  # fmt: skip
def test_a_refused_batch_is_told_from_a_node_in_trouble(
    status: int, answer: Any, refused: bool
) -> None:
    assert is_refusal(status, answer) is refused


async def test_a_transport_without_batches_makes_single_calls_in_order() -> None:
    node = FakeNode()
    node.refused["b"] = LotusRpcError("b", 1, "no")
    found = await call_many(node, [Call("a", [1]), Call("b"), Call("c", [3])])
    assert found[0] == ["a", 1]
    assert found[1] is node.refused["b"]
    assert found[2] == ["a", 3]


class Flaky:
    """Batches of which some calls fail for want of a node, a number of times."""

    def __init__(self, failures: dict[str, int]) -> None:
        self.failures = failures
        self.asked: list[list[str]] = []

    async def call_many(self, calls: Sequence[Call]) -> list[Any]:
        self.asked.append([call.method for call in calls])
        return [self._one(call.method) for call in calls]

    def _one(self, method: str) -> Any:
        if self.failures.get(method, 0):
            self.failures[method] -= 1
            return LotusConnectError(method)
        return method

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        raise NotImplementedError

    def subscribe(self, method: str, params: Sequence[Any]) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        pass


async def no_sleep(_: float) -> None:
    pass


async def test_only_the_failed_safe_reads_of_a_batch_are_asked_again() -> None:
    inner = Flaky({READ: 2, "Filecoin.MpoolPush": 1})
    transport = RetryingTransport(inner, sleep=no_sleep)
    found = await transport.call_many([Call(READ), Call(HEAD), Call("Filecoin.MpoolPush")])
    assert found[:2] == [READ, HEAD]
    assert isinstance(found[2], LotusConnectError)
    assert inner.asked == [[READ, HEAD, "Filecoin.MpoolPush"], [READ], [READ]]


class Failing:
    """Fails with the given errors in turn, then answers."""

    def __init__(self, *errors: LotusError) -> None:
        self.errors = list(errors)

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        return "well"

    def subscribe(self, method: str, params: Sequence[Any]) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        pass


async def pauses_of(policy: RetryPolicy, *errors: LotusError) -> list[float]:
    pauses: list[float] = []
    clock = Clock()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.now += seconds

    transport = RetryingTransport(Failing(*errors), policy, sleep=sleep, clock=clock)
    assert await transport.call(HEAD, []) == "well"
    return pauses


async def test_retry_after_is_honoured_when_it_is_longer_than_our_own_pause() -> None:
    assert await pauses_of(RetryPolicy(), LotusBusy("", 7.0), LotusBusy("", 0.1)) == [7.0, 0.5]


async def test_a_node_that_asks_for_too_long_is_not_waited_for() -> None:
    with pytest.raises(LotusBusy):
        await pauses_of(RetryPolicy(longest_retry_after_seconds=30), LotusBusy("", 3600.0))


async def test_no_try_begins_after_the_whole_time_is_spent() -> None:
    with pytest.raises(LotusBusy):
        await pauses_of(RetryPolicy(total_seconds=10), LotusBusy("", 8.0), LotusBusy("", 8.0))


async def test_a_wrong_url_is_not_tried_again() -> None:
    with pytest.raises(LotusNoEndpoint):
        await pauses_of(RetryPolicy(), LotusNoEndpoint("404"))


async def all_parts(transport: Any, *params: Any) -> list[Any]:
    async with aclosing(stream_items(transport, READ, params, "list")) as parts:
        return [part async for part in parts]


async def test_an_answer_in_parts_is_begun_again_only_if_nothing_was_given_out() -> None:
    node = FakeNode()
    transport = RetryingTransport(node, sleep=no_sleep)
    assert await all_parts(transport) == [[["a"]]]
    node.calls.clear()
    with pytest.raises(LotusConnectError):
        await all_parts(transport, "then-drop")
    assert node.calls == [READ]


# several nodes


async def test_reads_go_to_the_first_node_until_it_fails_and_stay_at_the_second() -> None:
    first, second = FakeNode("a"), FakeNode("b")
    transport, _, switches = several(first, second)
    assert await transport.call(READ, [1]) == ["a", 1]
    first.error = LotusConnectError("away")
    assert await transport.call(READ, [2]) == ["b", 2]
    first.error = None
    assert await transport.call(READ, [3]) == ["b", 3]  # still in its back-off
    assert switches == [("a", "b")]
    assert transport.problems() == {"a": "away"}


async def test_the_preferred_node_is_used_again_after_its_rest() -> None:
    first, second = FakeNode("a"), FakeNode("b")
    transport, clock, switches = several(first, second)
    first.error = LotusConnectError("away")
    await transport.call(READ, [])
    clock.now += 60
    assert await transport.call(READ, []) == ["b"]  # asked whether it is well: it is not
    first.error = None
    assert await transport.call(READ, []) == ["b"]
    clock.now += 60
    assert await transport.call(READ, []) == ["a"]
    assert switches == [("a", "b"), ("b", "a")]


async def test_a_push_is_never_given_to_a_second_node() -> None:
    first, second = FakeNode("a"), FakeNode("b")
    transport, _, _ = several(first, second)
    first.error = LotusConnectError("away")
    for method in ("Filecoin.MpoolPush", "Filecoin.MpoolPushMessage", "Filecoin.WalletSign"):
        with pytest.raises(LotusConnectError):
            await transport.call(method, [])
    assert second.calls == []


async def test_a_node_that_is_behind_or_on_another_chain_does_not_take_over() -> None:
    first, behind, other = FakeNode("a", 100), FakeNode("b", 90), FakeNode("c", 100, "other")
    transport, _, switches = several(first, behind, other)
    await transport.call(GENESIS, [])
    await transport.call(HEAD, [])
    first.error = LotusConnectError("away")
    with pytest.raises(LotusUnavailable, match="another chain"):
        await transport.call(READ, [])
    assert behind.served() == other.served() == switches == []
    assert "behind" in transport.problems()["b"]
    assert "another chain" in transport.problems()["c"]


async def test_what_is_pinned_ends_rather_than_going_on_at_another_node() -> None:
    first, second = FakeNode("a"), FakeNode("b")
    transport, _, _ = several(first, second)

    async def step(fail_between: bool) -> list[Any]:
        async with transport.pinned() as name:
            found = [name, *await transport.call(READ, [1])]
            if fail_between:
                first.error = LotusConnectError("away")
            return [*found, *await transport.call(READ, [2])]

    with pytest.raises(LotusConnectError):
        await step(fail_between=True)
    assert second.calls == []
    assert await step(fail_between=False) == ["b", "b", 1, "b", 2]


async def test_what_a_node_lacks_is_asked_of_another_without_leaving_it() -> None:
    first, second = FakeNode("a"), FakeNode("b")
    transport, _, switches = several(first, second)
    for error in (LotusNotSupported(READ, -32601, ""), LotusStatePruned(READ, 1, "")):
        first.refused[READ] = error
        assert await transport.call(READ, []) == ["b"]
        assert await transport.call_many([Call(READ), Call("Filecoin.StateLookupID")]) == [["b"], ["a"]]  # fmt: skip
    assert switches == []
    second.refused[READ] = LotusRpcError(READ, 1, "also not")
    with pytest.raises(LotusStatePruned):
        await transport.call(READ, [])


async def test_what_is_final_is_told_by_the_node_in_use_alone() -> None:
    first, second = FakeNode("a"), FakeNode("b")
    method = "v2/Filecoin.ChainGetTipSet"
    first.refused[method] = LotusNotSupported(method, -32601, "")
    transport, _, _ = several(first, second)
    with pytest.raises(LotusNotSupported):
        await transport.call(method, [])
    assert second.calls == []


async def test_a_dropped_stream_is_opened_at_the_next_node() -> None:
    first, second = FakeNode("a"), FakeNode("b")
    transport, _, _ = several(first, second)
    got = []
    for _ in range(2):
        values = transport.subscribe("Filecoin.ChainNotify", [])
        got.append(await anext(values))
        with pytest.raises(LotusConnectError):
            await anext(values)
    assert got == ["a", "b"]


async def test_an_answer_in_parts_moves_to_the_next_node_only_before_its_first_part() -> None:
    first, second = FakeNode("a"), FakeNode("b")
    transport, _, _ = several(first, second)
    with pytest.raises(LotusConnectError):
        await all_parts(transport, "then-drop")
    first.error = LotusConnectError("away")
    assert await all_parts(transport) == [[["b"]]]


async def test_all_nodes_are_closed() -> None:
    nodes = FakeNode("a"), FakeNode("b")
    await several(*nodes)[0].close()
    assert all(node.closed for node in nodes)
    with pytest.raises(ValueError, match="at least one"):
        FailoverTransport([])
