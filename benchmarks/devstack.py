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
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.measure import Row, Sample, Timer
from devstack.chain import Network, NetworkConfig
from lotus_client.api_info import ApiInfo
from lotus_client.client import LotusClient
from lotus_client.codec.chain import tipset_from_json
from lotus_client.transport.ws import WsTransport

__all__ = ["rows"]

_HEAD = {"jsonrpc": "2.0", "id": 1, "method": "Filecoin.ChainHead", "params": []}
_UP = [sys.executable, "-c", "from devstack.cli import app; app()", "up", "--json"]
_BATCH = 100
_AT_ONCE = 32
_CALLS = 3200
_TICKS = os.sysconf("SC_CLK_TCK")


def rows() -> list[Row]:
    """Starting, memory, time passing, and calls from another process."""
    return [
        Row("first answer of a fresh process", "s", "<= 1", _first_answer, 5),
        Row("memory when idle", "MiB", "<= 120", _idle_memory, 1),
        Row("1,000 epochs mined, a tipset each", "s", "<= 5", lambda: _mined(1000)),
        Row("epochs without messages, a tipset each", "epochs/s", "", _mining_rate),
        Row("until-win, null rounds where nothing is", "epochs/s", ">= 5,000", _skip_rate),
        Row("typed calls, WebSocket, 32 at once", "calls/s", ">= 1,500", _calls(_over_socket)),
        Row("typed calls, HTTP, batches of 100", "calls/s", ">= 1,500", _calls(_batches)),
        Row("typed calls, HTTP, one after another", "calls/s", ">= 700", _calls(_over_http)),
    ]


@dataclass(frozen=True, slots=True)
class _Running:
    """A devnet in a process of its own."""

    info: ApiInfo
    pid: int
    answered_after: float  # seconds from the start of the process

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def _devnet() -> Iterator[_Running]:
    with tempfile.TemporaryDirectory() as folder:
        ports = ["--data-dir", str(Path(folder) / "net"), "--api-port", "0", "--miner-port", "0"]
        started = time.perf_counter()
        process = subprocess.Popen([*_UP, *ports], stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            info = ApiInfo.parse(json.loads(process.stdout.readline())["FULLNODE_API_INFO"])
            _post(info.http_url("v1"), _HEAD, info)
            yield _Running(info, process.pid, time.perf_counter() - started)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()


def _post(url: str, body: dict[str, Any], info: ApiInfo) -> None:
    token = info.token.reveal() if info.token else ""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as response:
        json.load(response)


def _first_answer() -> Sample:
    with _devnet() as running:
        return Sample(running.answered_after, running.cpu_seconds())


def _idle_memory() -> Sample:
    with _devnet() as running:
        time.sleep(1)
        pages = int(Path(f"/proc/{running.pid}/statm").read_text().split()[1])
        return Sample(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20))


def _mined(epochs: int) -> Sample:
    network = Network(NetworkConfig())
    timer = Timer()
    network.advance(epochs)
    return Sample(timer.wall, timer.cpu)


def _mining_rate(epochs: int = 3000) -> Sample:
    done = _mined(epochs)
    return Sample(epochs / done.value, done.cpu)


def _skip_rate(epochs: int = 6000) -> Sample:
    """`--until-win` for a miner that does not win."""
    network = Network(NetworkConfig())
    miner = network.providers[0]
    timer = Timer()
    for _ in range(epochs):
        network.skip_epoch(miner)
    assert network.epoch == epochs
    assert network.pending_state().miner_power(network.genesis_miner).miner.raw  # PoSts were sent
    return Sample(epochs / timer.wall, timer.cpu)


def _calls(way: Callable[[ApiInfo], Awaitable[float]]) -> Callable[[], Sample]:
    """ChainHead calls, decoded into our types, of a node in another process; the CPU is that of both."""

    def run() -> Sample:
        with _devnet() as running:
            url = running.info.http_url("v1").replace("/rpc/v1", "/devstack/v1/advance")
            _post(url, {"epochs": 20}, running.info)
            before, timer = running.cpu_seconds(), Timer()
            seconds = asyncio.run(_awaited(way, running.info))
            return Sample(_CALLS / seconds, timer.cpu + running.cpu_seconds() - before)

    return run


async def _awaited(way: Callable[[ApiInfo], Awaitable[float]], info: ApiInfo) -> float:
    return await way(info)


async def _over_socket(info: ApiInfo) -> float:
    transport = WsTransport(info.ws_url("v1"), info.token)
    async with LotusClient(transport, token=info.token) as client:
        await client.head()
        timer = Timer()
        await asyncio.gather(*(_heads(client, _CALLS // _AT_ONCE) for _ in range(_AT_ONCE)))
        return timer.wall


async def _over_http(info: ApiInfo) -> float:
    async with LotusClient.connect(info) as client:
        await client.head()
        timer = Timer()
        await _heads(client, _CALLS)
        return timer.wall


async def _heads(client: LotusClient, calls: int) -> None:
    for _ in range(calls):
        await client.head()


async def _batches(info: ApiInfo) -> float:
    batch = [{**_HEAD, "id": number} for number in range(_BATCH)]
    async with aiohttp.ClientSession() as http:
        timer = Timer()
        for _ in range(_CALLS // _BATCH):
            async with http.post(info.http_url("v1"), json=batch) as response:
                for answer in await response.json():
                    tipset_from_json(answer["result"])
        return timer.wall
