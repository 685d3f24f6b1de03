"""JSON-RPC over HTTP POST: single calls, batches of reads, and large answers in parts."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from lotus_client.errors import (
    LotusConnectError,
    LotusDecodeError,
    LotusError,
    LotusNotSupported,
    LotusTimeout,
)
from lotus_client.secrets import Secret, redact
from lotus_client.transport.base import Call, Outcome, Shape, StreamOf, items_of, one_by_one
from lotus_client.transport.batch import MAX_CALLS, divided, is_refusal, outcomes_of
from lotus_client.transport.deadlines import Deadlines
from lotus_client.transport.envelope import decode_json, request_body
from lotus_client.transport.large import ItemReader
from lotus_client.transport.status import answer_or_none, checked_result, refuse_status

__all__ = ["HttpTransport", "headers_for"]

_CHUNK: Final = 1 << 16
_BATCH: Final = "batch"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    retry_after: str | None
    raw: bytes


class HttpTransport:
    """A transport over HTTP. Sockets are opened on first use and kept."""

    def __init__(
        self,
        url: str,
        token: Secret | None = None,
        *,
        timeout_seconds: float = 60.0,
        heavy_timeout_seconds: float = 300.0,
        max_response_bytes: int = 256 << 20,
        max_stream_bytes: int = 4 << 30,
        max_batch: int = MAX_CALLS,
    ) -> None:
        """`timeout_seconds` is the deadline of a whole call, `heavy_timeout_seconds` that of `HEAVY_READS`.

        An answer longer than `max_response_bytes`, or `max_stream_bytes` where it is read in parts, is refused.
        """
        self._url = url
        self._token = token
        self._deadlines = Deadlines(timeout_seconds, max(timeout_seconds, heavy_timeout_seconds))
        self._max_bytes = max_response_bytes
        self._max_stream = max_stream_bytes
        self._max_batch = max_batch
        self._ids = itertools.count(1)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._takes_batches = True

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """The `result` of one request.

        Raises:
            LotusError: as `RpcTransport.call`.
        """
        request_id = next(self._ids)
        body = request_body(request_id, method, params)
        answer = await self._post(method, body, self._deadlines.of(method))
        return checked_result(method, request_id, answer.status, answer.raw, answer.retry_after)

    async def call_many(self, calls: Sequence[Call]) -> list[Outcome]:
        """The outcome of every call, in as few requests as size allows; singly where the node refuses batches."""
        if len(calls) < 2 or not self._takes_batches:
            return await one_by_one(self, calls)
        first_id = next(self._ids)
        self._ids = itertools.count(first_id + len(calls))
        outcomes: list[Outcome] = []
        for places, body in divided(calls, first_id, self._max_batch):
            part = calls[places.start : places.stop]
            outcomes += await self._batch(part, first_id + places.start, body)
        return outcomes

    async def _batch(self, calls: Sequence[Call], first_id: int, body: str) -> list[Outcome]:
        if not self._takes_batches:
            return await one_by_one(self, calls)
        seconds = max(self._deadlines.of(call.method) for call in calls)
        try:
            answer = await self._post(_BATCH, body, seconds)
            found = answer_or_none(answer.raw)
            if is_refusal(answer.status, found):
                self._takes_batches = False
                return await one_by_one(self, calls)
            refuse_status(_BATCH, answer.status, answer.retry_after)
            if not isinstance(found, list):
                decode_json(_BATCH, answer.raw)  # raises with the reason unless it is other JSON
                raise LotusDecodeError(_BATCH, "the answer to a batch is no list")
        except LotusError as error:
            return [error] * len(calls)
        return outcomes_of(calls, first_id, found)

    async def stream(
        self, method: str, params: Sequence[Any], shape: Shape
    ) -> AsyncGenerator[list[Any], None]:
        """The parts of a large answer. The deadline counts the time spent waiting for the node only."""
        request_id = next(self._ids)
        body = request_body(request_id, method, params)
        loop = asyncio.get_running_loop()
        left = self._deadlines.of(method)
        reader, received = ItemReader(method, shape), 0
        with self._mapped(method, left):
            started = loop.time()
            async with asyncio.timeout(left):
                response = await self._open(body)
            async with response:
                left -= loop.time() - started
                if response.status != 200:
                    async with asyncio.timeout(left):
                        raw = await self._read(method, response)
                    retry_after = response.headers.get("Retry-After")
                    result = checked_result(method, request_id, response.status, raw, retry_after)
                    yield items_of(method, result, shape)
                    return
                while True:
                    started = loop.time()
                    async with asyncio.timeout(left):
                        chunk = await response.content.read(_CHUNK)
                    left -= loop.time() - started
                    if not chunk:
                        break
                    received += len(chunk)
                    if received > self._max_stream:
                        raise _too_large(method, self._max_stream)
                    if part := reader.feed(chunk):
                        yield part
                reader.finish()

    def subscribe(self, method: str, params: Sequence[Any]) -> StreamOf:
        """Always `LotusNotSupported`: a channel needs a WebSocket."""
        raise LotusNotSupported(method, -32601, "subscriptions need a WebSocket")

    async def close(self) -> None:
        """Close the kept sockets."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _post(self, method: str, body: str, seconds: float) -> _Answer:
        with self._mapped(method, seconds):
            async with asyncio.timeout(seconds), await self._open(body) as response:
                raw = await self._read(method, response)
                return _Answer(response.status, response.headers.get("Retry-After"), raw)

    async def _open(self, body: str) -> aiohttp.ClientResponse:
        return await self._open_session().post(
            self._url, data=body, headers=headers_for(self._token), allow_redirects=False
        )

    async def _read(self, method: str, response: aiohttp.ClientResponse) -> bytes:
        received = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            received += chunk
            if len(received) > self._max_bytes:
                raise _too_large(method, self._max_bytes)
        return bytes(received)

    @contextmanager
    def _mapped(self, method: str, seconds: float) -> Iterator[None]:
        """The errors of sockets as ours."""
        try:
            yield
        except TimeoutError as error:
            raise LotusTimeout(f"{method}: no answer within {seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise LotusConnectError(
                f"{method}: cannot reach the node at {redact(self._url)}: {redact(str(error))}"
            ) from error

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise LotusConnectError("this connection was closed")
        if self._session is None:
            # our own deadline covers the whole call; aiohttp's would end long streams of bytes
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        return self._session


def headers_for(token: Secret | None) -> dict[str, str]:
    """The request headers, with the bearer token if there is one."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token.reveal()}"
    return headers


def _too_large(method: str, most: int) -> LotusDecodeError:
    return LotusDecodeError(method, f"the answer is larger than {most} bytes")
