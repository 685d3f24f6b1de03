"""Which answer belongs to which request, and which value to which stream: go-jsonrpc frames without a socket."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from lotus_client.errors import LotusConnectError, LotusDecodeError, LotusError
from lotus_client.transport.envelope import decode_json, error_of

__all__ = ["ChannelBook", "Stream"]

_FRAME: Final = "WebSocket frame"


class Stream:
    """The values of one channel on their way to one subscriber, bounded in bytes."""

    END: Final = object()

    def __init__(self, method: str, max_queued_bytes: int) -> None:
        self.method = method
        self.request_id: int | None = None
        self._max_bytes = max_queued_bytes
        self._queued: deque[tuple[Any, int]] = deque()
        self._queued_bytes = 0
        self._end: LotusError | None = None
        self._is_ended = False
        self._wake = asyncio.Event()

    def put(self, value: Any, size: int) -> bool:
        """Queue a value of `size` bytes; False (and the stream has ended) when the subscriber is too slow."""
        if self._queued and self._queued_bytes + size > self._max_bytes:
            self.finish(
                LotusConnectError(
                    f"{self.method}: values were read too slowly, "
                    f"{self._queued_bytes} bytes were waiting; subscribe again"
                )
            )
            return False
        self._queued.append((value, size))
        self._queued_bytes += size
        self._wake.set()
        return True

    def finish(self, error: LotusError | None) -> None:
        """No more values come; what is queued is still delivered, then `error` is raised if there is one."""
        if not self._is_ended:
            self._is_ended, self._end = True, error
            self._wake.set()

    async def next(self) -> Any:
        """The next value, or `Stream.END` when the node ended the channel.

        Raises:
            LotusError: the stream ended with an error.
        """
        while not self._queued:
            if self._is_ended:
                if self._end is not None:
                    raise self._end
                return Stream.END
            self._wake.clear()
            await self._wake.wait()
        value, size = self._queued.popleft()
        self._queued_bytes -= size
        return value


@dataclass(slots=True, eq=False)
class _Pending:
    method: str
    answer: asyncio.Future[Any]
    stream: Stream | None


class ChannelBook:
    """The requests and channels of one connection. `take` is given every frame in order."""

    def __init__(self) -> None:
        self.lost: LotusError | None = None
        self._ids = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._channels: dict[int, Stream] = {}

    def expect(self, method: str, stream: Stream | None) -> tuple[int, asyncio.Future[Any]]:
        """A new request id and the future of its result.

        Raises:
            LotusConnectError: the connection is lost already.
        """
        if self.lost is not None:
            raise LotusConnectError(str(self.lost))
        request_id = next(self._ids)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending[request_id] = _Pending(method, answer, stream)
        if stream is not None:
            stream.request_id = request_id
        return request_id, answer

    def forget(self, request_id: int) -> None:
        """Nobody waits for this answer any more; it is ignored should it still come."""
        self._pending.pop(request_id, None)

    def drop(self, stream: Stream) -> bool:
        """Whether `stream` was open; it is closed now."""
        numbers = [number for number, known in self._channels.items() if known is stream]
        for number in numbers:
            del self._channels[number]
        return bool(numbers)

    def lose(self, error: LotusError) -> None:
        """The connection is gone: everyone who waits gets `error`."""
        if self.lost is not None:
            return
        self.lost = error
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(error)
        for stream in self._channels.values():
            stream.finish(error)
        self._channels.clear()

    def take(self, raw: str | bytes) -> list[int]:
        """Deliver one frame. Gives back the request ids whose streams must now be cancelled at the node.

        Raises:
            LotusDecodeError: the frame is not JSON-RPC; the connection is of no more use.
        """
        frame = decode_json(_FRAME, raw)
        if not isinstance(frame, dict):
            raise LotusDecodeError(_FRAME, "expected an object")
        method = frame.get("method")
        if method == "xrpc.ch.val":
            return self._take_value(frame.get("params"), len(raw))
        if method == "xrpc.ch.close":
            self._take_close(frame.get("params"))
        elif method is None:
            self._take_answer(frame)
        return []  # other notifications (eth_subscription) are not asked for and not ours

    def _take_value(self, params: object, size: int) -> list[int]:
        match params:
            case [int(number), value]:
                pass
            case _:
                raise LotusDecodeError(f"{_FRAME}.params", "expected [channel, value]")
        stream = self._channels.get(number)
        if stream is None or stream.put(value, size):
            return []  # values of a channel that we just cancelled may still be under way
        del self._channels[number]
        return [] if stream.request_id is None else [stream.request_id]

    def _take_close(self, params: object) -> None:
        match params:
            case [int(number)]:
                stream = self._channels.pop(number, None)
                if stream is not None:
                    stream.finish(None)
            case _:
                raise LotusDecodeError(f"{_FRAME}.params", "expected [channel]")

    def _take_answer(self, frame: dict[str, Any]) -> None:
        request_id = frame.get("id")
        pending = self._pending.get(request_id) if isinstance(request_id, int) else None
        if pending is None or pending.answer.done():
            return  # the answer to a call that we gave up
        error = frame.get("error")
        if error is not None:
            pending.answer.set_exception(error_of(pending.method, error))
        elif "result" not in frame:
            pending.answer.set_exception(
                LotusDecodeError(pending.method, "the answer has neither result nor error")
            )
        elif pending.stream is None:
            pending.answer.set_result(frame["result"])
        else:
            self._open_channel(pending, pending.stream, frame["result"])

    def _open_channel(self, pending: _Pending, stream: Stream, number: object) -> None:
        # registered here, before the next frame is read: values may follow at once
        if not isinstance(number, int) or isinstance(number, bool) or number in self._channels:
            pending.answer.set_exception(
                LotusDecodeError(pending.method, f"{str(number)[:40]} is no new channel number")
            )
            return
        self._channels[number] = stream
        pending.answer.set_result(number)
