from __future__ import annotations

import base64
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from devstack.stack import Devstack


class RawRpc:
    """Plain JSON-RPC posts, as any tool makes them."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._ids = itertools.count(1)

    async def answer(self, method: str, *params: Any) -> dict[str, Any]:
        name = method if "_" in method else f"Filecoin.{method}"
        body = {"jsonrpc": "2.0", "id": next(self._ids), "method": name, "params": list(params)}
        async with self._session.post(self._url, json=body, headers=self._headers) as response:
            answer: dict[str, Any] = await response.json()
        return answer

    async def __call__(self, method: str, *params: Any) -> Any:
        answer = await self.answer(method, *params)
        assert "error" not in answer, answer["error"]
        return answer["result"]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def rpc(devnet: Devstack, session: aiohttp.ClientSession) -> RawRpc:
    return RawRpc(session, f"http://127.0.0.1:{devnet.api_port}/rpc/v1", devnet.token())


@pytest.fixture
def miner_rpc(devnet: Devstack, session: aiohttp.ClientSession) -> RawRpc:
    token = devnet.miner_api_info.partition(":")[0]
    return RawRpc(session, f"http://127.0.0.1:{devnet.miner_port}/rpc/v0", token)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[web.Application], Awaitable[str]]]:
    """Serves an application on a free port of this machine; its URL without a slash at the end."""
    runners: list[web.AppRunner] = []

    async def start(app: web.Application) -> str:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


def unbase64(text: str) -> bytes:
    return base64.b64decode(text)
