"""HTTP for calls and one WebSocket for subscriptions: what a client of a real node wants."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from lotus_client.api_info import ApiInfo, RpcVersion
from lotus_client.transport.base import StreamOf
from lotus_client.transport.http import HttpTransport
from lotus_client.transport.ws import WsTransport

__all__ = ["NodeTransport"]


class NodeTransport:
    """Calls over HTTP; the WebSocket is opened on the first subscription and again after a drop."""

    def __init__(
        self,
        api_info: ApiInfo,
        version: RpcVersion = "v1",
        *,
        timeout_seconds: float = 60.0,
        max_response_bytes: int = 256 << 20,
    ) -> None:
        self._http = HttpTransport(
            api_info.http_url(version),
            api_info.token,
            timeout_seconds=timeout_seconds,
            max_response_bytes=max_response_bytes,
        )
        self._ws = WsTransport(
            api_info.ws_url(version), api_info.token, timeout_seconds=timeout_seconds
        )

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """One HTTP request."""
        return await self._http.call(method, params)

    def subscribe(self, method: str, params: Sequence[Any]) -> StreamOf:
        """One channel on the shared WebSocket."""
        return self._ws.subscribe(method, params)

    async def close(self) -> None:
        """Close both."""
        await asyncio.gather(self._http.close(), self._ws.close())
