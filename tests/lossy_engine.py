"""A proxy before an engine's Unix socket that loses answers: the engine hears a request and does it, and its client never learns so."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Self

__all__ = ["LossyProxy"]


class LossyProxy:
    """Passes on what is asked at `socket`, and breaks the connection off in place of the next `losses` answers to what matches.

    `lost` counts those.
    """

    def __init__(self, engine: Path, socket: Path) -> None:
        self.url = f"unix://{socket}"
        self.lost = 0
        self._engine = engine
        self._socket = socket
        self._pattern: re.Pattern[bytes] | None = None
        self._losses = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self._socket)
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def lose(self, pattern: str, losses: int = 1) -> None:
        """From now on; the pattern is one of a request's first line, e.g. `POST .*/start `."""
        self._pattern, self._losses = re.compile(pattern.encode()), losses

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_engine, to_engine = await asyncio.open_unix_connection(self._engine)
        is_lost = asyncio.Event()

        async def ask() -> None:
            while chunk := await reader.read(1 << 16):
                line = chunk.partition(b"\r\n")[0]  # a client sends a request's head at once
                if self._losses and self._pattern is not None and self._pattern.match(line):
                    self._losses -= 1
                    is_lost.set()
                to_engine.write(chunk)
                await to_engine.drain()

        async def answer() -> None:
            while chunk := await from_engine.read(1 << 16):
                if is_lost.is_set():
                    self.lost += 1
                    return
                writer.write(chunk)
                await writer.drain()

        both = {asyncio.create_task(ask()), asyncio.create_task(answer())}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for end in (writer, to_engine):
                end.close()
