"""HTTP for calls and one WebSocket for subscriptions: what a client of a real node wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

from lotus_client.api_info import ApiInfo, RpcVersion
from lotus_client.errors import LotusNoEndpoint, LotusNotSupported
from lotus_client.transport.base import Call, Outcome, Shape, StreamOf
from lotus_client.transport.http import HttpTransport
from lotus_client.transport.ws import WsTransport

__all__ = ["V2", "NodeTransport"]

# A method named `v2/Filecoin.…` is asked at `/rpc/v2`, whose methods have the names of v1 and other parameters.
V2: Final = "v2/"


class NodeTransport:
    """Calls over HTTP; the WebSocket is opened on the first subscription and again after a drop."""

    def __init__(
        self,
        api_info: ApiInfo,
        version: RpcVersion = "v1",
        *,
        timeout_seconds: float = 60.0,
        heavy_timeout_seconds: float = 300.0,
        max_response_bytes: int = 256 << 20,
    ) -> None:
        def over_http(path: RpcVersion) -> HttpTransport:
            return HttpTransport(
                api_info.http_url(path),
                api_info.token,
                timeout_seconds=timeout_seconds,
                heavy_timeout_seconds=heavy_timeout_seconds,
                max_response_bytes=max_response_bytes,
            )

        self._http = over_http(version)
        self._http_v2 = over_http("v2")
        self._ws = WsTransport(
            api_info.ws_url(version), api_info.token, timeout_seconds=timeout_seconds
        )

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """One HTTP request."""
        if not method.startswith(V2):
            return await self._http.call(method, params)
        try:
            return await self._http_v2.call(method.removeprefix(V2), params)
        except LotusNoEndpoint as error:
            # the node itself is well: it is older than this path
            raise LotusNotSupported(method, -32601, str(error)) from error

    async def call_many(self, calls: Sequence[Call]) -> list[Outcome]:
        """As few HTTP requests as size allows; not for methods of v2."""
        return await self._http.call_many(calls)

    def stream(
        self, method: str, params: Sequence[Any], shape: Shape
    ) -> AsyncGenerator[list[Any], None]:
        """One HTTP request, its answer in parts."""
        return self._http.stream(method, params, shape)

    def subscribe(self, method: str, params: Sequence[Any]) -> StreamOf:
        """One channel on the shared WebSocket."""
        return self._ws.subscribe(method, params)

    async def close(self) -> None:
        """Close all of them."""
        await asyncio.gather(self._http.close(), self._http_v2.close(), self._ws.close())
