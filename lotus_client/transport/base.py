"""The seam itself: what a way to a node can do, and how its abilities are used where they may be missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

from lotus_client.errors import LotusDecodeError, LotusError

__all__ = [
    "BatchingTransport",
    "Call",
    "Outcome",
    "RpcTransport",
    "Shape",
    "StreamOf",
    "StreamingTransport",
    "call_many",
    "stream_items",
]

# An async generator, so that `contextlib.aclosing` ends the subscription at a known moment.
StreamOf: TypeAlias = AsyncGenerator[Any, None]
# What one call of several gave: its result, or the `LotusError` that it alone failed with.
Outcome: TypeAlias = Any
# Of what a large answer consists: members of an object as (name, value), or elements of a list.
Shape: TypeAlias = Literal["map", "list"]

_AT_ONCE: Final = 8  # single calls under way where a transport has no batches


@dataclass(frozen=True, slots=True)
class Call:
    """One call of several."""

    method: str
    params: Sequence[Any] = ()


class RpcTransport(Protocol):
    """A way to a node. Every method raises only `LotusError`s."""

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """The `result` of one JSON-RPC request, as parsed JSON.

        Raises:
            LotusError: see `lotus_client.errors` for what each kind asks of the caller.
        """
        ...

    def subscribe(self, method: str, params: Sequence[Any]) -> StreamOf:
        """The values of a channel method, in order, until the node ends it (`LotusConnectError` on a drop).

        Close the generator (`contextlib.aclosing`) to cancel the subscription at the node.
        """
        ...

    async def close(self) -> None:
        """Release sockets; open subscriptions end with `LotusConnectError`. Closing twice is fine."""
        ...


@runtime_checkable
class BatchingTransport(Protocol):
    """A transport that can send several reads in one request."""

    async def call_many(self, calls: Sequence[Call]) -> list[Outcome]:
        """The outcome of every call, in their order; a failed call is a `LotusError` in its place."""
        ...


@runtime_checkable
class StreamingTransport(Protocol):
    """A transport that can read a large answer in parts."""

    def stream(
        self, method: str, params: Sequence[Any], shape: Shape
    ) -> AsyncGenerator[list[Any], None]:
        """The parts of the `result` as they arrive: lists of elements, or of (name, value)."""
        ...


async def call_many(transport: RpcTransport, calls: Sequence[Call]) -> list[Outcome]:
    """The outcome of every call, in their order; batched where the transport can. For reads only.

    A call that fails alone is a `LotusError` in its place, so the others are not lost.
    """
    if isinstance(transport, BatchingTransport):
        return await transport.call_many(calls)
    return await one_by_one(transport, calls)


async def one_by_one(transport: RpcTransport, calls: Sequence[Call]) -> list[Outcome]:
    """The outcomes of single calls, a few of them under way at a time."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(call: Call) -> Outcome:
        async with gate:
            try:
                return await transport.call(call.method, call.params)
            except LotusError as error:
                return error

    return list(await asyncio.gather(*map(one, calls)))


async def stream_items(
    transport: RpcTransport, method: str, params: Sequence[Any], shape: Shape
) -> AsyncGenerator[list[Any], None]:
    """The parts of a large answer; in one part where the transport cannot do better."""
    if isinstance(transport, StreamingTransport):
        async with aclosing(transport.stream(method, params, shape)) as parts:
            async for part in parts:
                yield part
        return
    yield items_of(method, await transport.call(method, params), shape)


def items_of(method: str, result: Any, shape: Shape) -> list[Any]:
    """The elements of a list or the (name, value) of an object; null is Go's empty one.

    Raises:
        LotusDecodeError: it is something else.
    """
    if result is None:
        return []
    if shape == "map" and isinstance(result, dict):
        return list(result.items())
    if shape == "list" and isinstance(result, list):
        return result
    raise LotusDecodeError(method, f"expected {'an object' if shape == 'map' else 'a list'}")
