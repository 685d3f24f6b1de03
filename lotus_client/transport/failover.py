"""Several nodes of one network behind one transport: reads go on when a node goes away, pushes are never moved.

Design notes
------------
* One node is asked until it fails; then the next that is not in its back-off. Coming back to a node that is named earlier
  happens by the same door: its back-off has passed, it serves the same chain, and its head is not behind.
* What belongs together runs under `pinned()`: every call goes to one node, and its failure ends the work rather than
  going on at a node with another head. The next attempt then begins at the next node.
* A node that lacks a method or some state is not ill: that call alone is asked of the others.
* Anything that is not in `SAFE_READS` or `HEAVY_READS` goes to the node in use, once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from lotus_client.errors import (
    LotusError,
    LotusNotSupported,
    LotusRpcError,
    LotusStateUnavailable,
    LotusUnavailable,
    LotusWrongNetwork,
)
from lotus_client.transport.base import (
    Call,
    Outcome,
    RpcTransport,
    Shape,
    StreamOf,
    call_many,
    stream_items,
)
from lotus_client.transport.deadlines import HEAVY_READS
from lotus_client.transport.node import V2
from lotus_client.transport.safe_reads import SAFE_READS

__all__ = ["Endpoint", "FailoverTransport"]

T = TypeVar("T")

_FIRST_REST_SECONDS: Final = 5.0
_LONGEST_REST_SECONDS: Final = 300.0
_MAY_BE_BEHIND: Final = (
    5  # epochs that a node's head may lie below the highest seen; more is a node that syncs
)
_GENESIS: Final = "Filecoin.ChainGetGenesis"
_HEAD: Final = "Filecoin.ChainHead"
_READS: Final = SAFE_READS | HEAVY_READS


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A node by the name that people see (an address without a token) and the way to it."""

    name: str
    transport: RpcTransport


class _State:
    """What is known of one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.name = endpoint.name
        self.transport = endpoint.transport
        self.rest_until = 0.0
        self.failures = 0
        self.was_admitted = False
        self.problem = ""

    def failed(self, now: float, problem: str) -> None:
        rest = min(_FIRST_REST_SECONDS * 2**self.failures, _LONGEST_REST_SECONDS)
        self.failures = min(self.failures + 1, 16)
        self.rest_until = now + rest
        self.problem = problem


class FailoverTransport:
    """One transport of several endpoints, in the order of preference."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        clock: Callable[[], float] = time.monotonic,
        on_switch: Callable[[str, str, str], None] | None = None,
    ) -> None:
        """`on_switch` hears of every change: from which name to which, and why.

        Raises:
            ValueError: no endpoint is given.
        """
        if not endpoints:
            raise ValueError("a transport needs at least one endpoint")
        self._states = [_State(endpoint) for endpoint in endpoints]
        self._current = self._states[0]
        self._clock = clock
        self._on_switch = on_switch
        self._genesis: Any = None
        self._highest = 0
        self._moving = asyncio.Lock()
        self._pin: ContextVar[_State | None] = ContextVar(f"pin-{id(self)}", default=None)

    @property
    def current(self) -> str:
        """The name of the node in use."""
        return self._current.name

    def problems(self) -> dict[str, str]:
        """Why nodes are not in use, by name; those that are well are left out."""
        return {state.name: state.problem for state in self._states if state.problem}

    @asynccontextmanager
    async def pinned(self) -> AsyncIterator[str]:
        """Every call made inside, by this task and those it starts, goes to one node; its name."""
        if (held := self._pin.get()) is not None:
            yield held.name
            return
        chosen = await self._chosen()
        token = self._pin.set(chosen)
        try:
            yield chosen.name
        finally:
            self._pin.reset(token)

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """A read at the node in use, or at the next one when that is away; anything else at the node in use only."""
        result = await self._ask(method, lambda transport: transport.call(method, params))
        if method == _HEAD:
            self._highest = max(self._highest, _height_of(result))
        if method == _GENESIS and self._genesis is None:
            self._genesis = _cids_of(result)
        return result

    async def call_many(self, calls: Sequence[Call]) -> list[Outcome]:
        """All calls at one node; what that node lacks is asked of the others."""

        async def ask(transport: RpcTransport) -> list[Outcome]:
            outcomes = await call_many(transport, calls)
            for outcome in outcomes:
                if isinstance(outcome, LotusUnavailable):
                    raise outcome  # all at one node, or none: their answers may belong together
            return outcomes

        is_read = all(call.method in _READS for call in calls)
        try:
            outcomes = await self._ask(_HEAD if is_read else "", ask)
        except LotusError as error:
            return [error] * len(calls)
        if self._pin.get() is not None:
            return outcomes
        return [
            await self._elsewhere(call, outcome) if _may_be_elsewhere(outcome) else outcome
            for call, outcome in zip(calls, outcomes, strict=True)
        ]

    async def stream(
        self, method: str, params: Sequence[Any], shape: Shape
    ) -> AsyncGenerator[list[Any], None]:
        """As `call`; another node takes over only while nothing was given out yet."""
        tried: list[_State] = []
        while True:
            state = await self._chosen(tried)
            given = False
            try:
                async with aclosing(stream_items(state.transport, method, params, shape)) as parts:
                    async for part in parts:
                        given = True
                        yield part
            except LotusUnavailable as error:
                self._note(state, error)
                tried.append(state)
                if given or self._is_last(tried):
                    raise
            else:
                self._well(state)
                return

    async def subscribe(self, method: str, params: Sequence[Any]) -> StreamOf:
        """The stream of the node in use; when it drops the next subscription goes to the next node."""
        state = await self._chosen()
        try:
            async with aclosing(state.transport.subscribe(method, params)) as values:
                async for value in values:
                    yield value
        except LotusUnavailable as error:
            self._note(state, error)
            raise

    async def close(self) -> None:
        """Close all of them."""
        await asyncio.gather(*(state.transport.close() for state in self._states))

    async def _ask(self, method: str, ask: Callable[[RpcTransport], Awaitable[T]]) -> T:
        if method not in _READS:
            state = self._pin.get() or self._current
            return await ask(state.transport)
        tried: list[_State] = []
        while True:
            state = await self._chosen(tried)
            try:
                result = await ask(state.transport)
            except LotusUnavailable as error:
                self._note(state, error)
                tried.append(state)
                if self._is_last(tried):
                    raise
            except (LotusNotSupported, LotusStateUnavailable) as error:
                if self._pin.get() is not None or method.startswith(V2):
                    raise  # what is final must be told by the node that is followed
                return await self._at_others(state, error, ask)
            else:
                self._well(state)
                return result

    async def _at_others(
        self, first: _State, error: LotusRpcError, ask: Callable[[RpcTransport], Awaitable[T]]
    ) -> T:
        for state in self._states:
            if state is first or not await self._is_usable(state):
                continue
            try:
                return await ask(state.transport)
            except LotusError:
                continue
        raise error

    async def _elsewhere(self, call: Call, outcome: LotusRpcError) -> Outcome:
        try:
            return await self._at_others(
                self._current,
                outcome,
                lambda transport: transport.call(call.method, call.params),
            )
        except LotusError as error:
            return error

    async def _chosen(self, tried: Sequence[_State] = ()) -> _State:
        """The node to ask now: the pinned one, else the first usable one, else the one in use once more.

        Raises:
            LotusUnavailable: the one in use was tried, and no other may take over; says why.
        """
        if (pinned := self._pin.get()) is not None:
            return pinned
        if len(self._states) == 1:
            return self._current
        async with self._moving:
            left = [state for state in self._states if state not in tried]
            for state in left:
                if state is self._current and state.rest_until <= self._clock():
                    return state
                if await self._is_usable(state):
                    self._move_to(state)
                    return state
            if self._current in left:
                return self._current
        reasons = "; ".join(f"{name}: {text}" for name, text in self.problems().items())
        raise LotusUnavailable(f"none of the nodes can be asked: {reasons}")

    async def _is_usable(self, state: _State) -> bool:
        """Whether a node that is not in use may be: rested, of the same chain, and not behind."""
        if state.rest_until > self._clock():
            return False
        try:
            genesis = await state.transport.call(_GENESIS, [])
            height = _height_of(await state.transport.call(_HEAD, []))
            self._admit(state, genesis, height)
        except LotusError as error:
            self._note(state, error)
            return False
        return True

    def _admit(self, state: _State, genesis: Any, height: int) -> None:
        cids = _cids_of(genesis)
        if self._genesis is None:
            self._genesis = cids
        if cids != self._genesis:
            raise LotusWrongNetwork(f"{state.name} serves another chain than the other nodes")
        if height < self._highest - _MAY_BE_BEHIND:
            raise LotusUnavailable(
                f"{state.name} is behind: its head is {height}, another's was {self._highest}"
            )

    def _is_last(self, tried: Sequence[_State]) -> bool:
        return self._pin.get() is not None or len(tried) == len(self._states)

    def _move_to(self, state: _State) -> None:
        if state is self._current:
            return
        before, self._current = self._current, state
        if self._on_switch is not None:
            self._on_switch(before.name, state.name, before.problem or "it is preferred")

    def _note(self, state: _State, error: LotusError) -> None:
        state.failed(self._clock(), str(error))

    def _well(self, state: _State) -> None:
        state.failures, state.rest_until, state.problem = 0, 0.0, ""


def _may_be_elsewhere(outcome: Outcome) -> bool:
    return isinstance(outcome, LotusNotSupported | LotusStateUnavailable)


def _height_of(tipset: Any) -> int:
    height = tipset.get("Height") if isinstance(tipset, dict) else None
    return height if isinstance(height, int) and not isinstance(height, bool) else 0


def _cids_of(tipset: Any) -> Any:
    return tipset.get("Cids") if isinstance(tipset, dict) else None
