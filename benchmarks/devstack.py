"""The devstack as its users feel it: how soon it answers, how fast time passes, how many calls a second it takes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from devstack.chain import Network, NetworkConfig
from devstack.stack import Devstack, DevstackConfig
from lotus_client.api_info import ApiInfo
from lotus_client.client import LotusClient
from lotus_client.codec.chain import tipset_from_json
from lotus_client.transport.ws import WsTransport

__all__ = ["call_rates", "epochs_seconds", "skip_rate", "start"]

_HEAD = {"jsonrpc": "2.0", "id": 1, "method": "Filecoin.ChainHead", "params": []}
_UP = [sys.executable, "-c", "from devstack.cli import app; app()", "up", "--json"]
_BATCH = 100


def start() -> tuple[float, float]:
    """Seconds from the start of a fresh process to its first answer, and its memory then in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        ports = ["--data-dir", str(Path(folder) / "net"), "--api-port", "0", "--miner-port", "0"]
        started = time.perf_counter()
        process = subprocess.Popen([*_UP, *ports], stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            info = ApiInfo.parse(json.loads(process.stdout.readline())["FULLNODE_API_INFO"])
            request = urllib.request.Request(info.http_url("v1"), json.dumps(_HEAD).encode())
            with urllib.request.urlopen(request) as response:
                json.load(response)
            seconds = time.perf_counter() - started
            time.sleep(1)
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            return seconds, pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()


def epochs_seconds(epochs: int) -> float:
    """Seconds to mine so many epochs, each with a signed tipset."""
    network = Network(NetworkConfig())
    started = time.perf_counter()
    network.advance(epochs)
    return time.perf_counter() - started


def skip_rate(epochs: int) -> float:
    """Epochs a second of `--until-win --skip`, for a miner that does not win."""
    network = Network(NetworkConfig())
    miner = network.providers[0]
    started = time.perf_counter()
    for _ in range(epochs):
        network.skip_epoch(miner)
    assert network.epoch == epochs
    assert network.pending_state().miner_power(network.genesis_miner).miner.raw  # PoSts were sent
    return epochs / (time.perf_counter() - started)


def call_rates(calls: int) -> dict[str, float]:
    """Typed ChainHead calls a second by each way of calling, node and client on one core."""
    return asyncio.run(_call_rates(calls))


async def _call_rates(calls: int) -> dict[str, float]:
    async with Devstack(DevstackConfig()) as net:
        await net.advance(20)
        info = ApiInfo.parse(net.api_info)
        socket = LotusClient(WsTransport(info.ws_url("v1"), info.token), token=info.token)
        async with socket, LotusClient.connect(info) as poster, aiohttp.ClientSession() as http:
            ways: dict[str, Callable[[], Awaitable[Any]]] = {
                "WebSocket, 32 at once": lambda: _at_once(socket, calls),
                "WebSocket, one after another": lambda: _one_by_one(socket, calls),
                f"HTTP, batches of {_BATCH}": lambda: _batches(http, info, calls),
                "HTTP, one after another": lambda: _one_by_one(poster, calls),
            }
            rates = {}
            for name, way in ways.items():
                started = time.perf_counter()
                await way()
                rates[name] = calls / (time.perf_counter() - started)
            return rates


async def _one_by_one(client: LotusClient, calls: int) -> None:
    for _ in range(calls):
        await client.head()


async def _at_once(client: LotusClient, calls: int) -> None:
    async def some() -> None:
        await _one_by_one(client, calls // 32)

    await asyncio.gather(*(some() for _ in range(32)))


async def _batches(http: aiohttp.ClientSession, info: ApiInfo, calls: int) -> None:
    batch = [{**_HEAD, "id": number} for number in range(_BATCH)]
    for _ in range(calls // _BATCH):
        async with http.post(info.http_url("v1"), json=batch) as response:
            for answer in await response.json():
                tipset_from_json(answer["result"])
