"""What this machine does with nothing of ours around it: the figures beside which the job engine's are to be read."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sqlite3
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from benchmarks.executors import NOTHING, Bench

__all__ = ["append_rate", "bare_read_rate", "commit_rate", "fork_rate"]

_SECONDS: Final = 0.7
_BLOCK: Final = 4096
_RUNS: Final = 200


def append_rate(folder: Path) -> float:
    """Blocks a second that are written behind one another and are on the disk before the next one begins."""
    fd = os.open(folder / "appended", os.O_WRONLY | os.O_CREAT)
    try:

        def append() -> None:
            os.write(fd, b"\0" * _BLOCK)
            os.fsync(fd)

        return _rate(append)
    finally:
        os.close(fd)


def commit_rate(folder: Path, synchronous: str) -> float:
    """Transactions a second of one row each, by the driver alone."""
    database = sqlite3.connect(folder / f"{synchronous}.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute(f"PRAGMA synchronous={synchronous}")
    database.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, what TEXT)")

    def commit() -> None:
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO things (what) VALUES ('a job or so')")
        database.execute("COMMIT")

    try:
        return _rate(commit)
    finally:
        database.close()


def _rate(work: Callable[[], None]) -> float:
    started, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < _SECONDS:
        work()
        count += 1
    return count / passed


async def fork_rate(folder: Path, at_once: int) -> float:
    """No-op runs a second at the executor itself: no queue, no database, no API."""
    bench = Bench(folder, NOTHING)
    try:
        await bench.run()

        async def some() -> None:
            for _ in range(_RUNS // at_once):
                await bench.run()

        started = time.perf_counter()
        await asyncio.gather(*(some() for _ in range(at_once)))
        return _RUNS / (time.perf_counter() - started)
    finally:
        await bench.executor.close()


async def bare_read_rate(reads: int, clients: int) -> float:
    """Answers a second of an aiohttp server that says one word, in a process of its own as the sidecar is."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    theirs.close()  # so that a server that dies is not waited for
    try:
        url = f"http://127.0.0.1:{await asyncio.to_thread(ours.recv)}/"
        async with aiohttp.ClientSession() as http:

            async def some(count: int) -> None:
                for _ in range(count):
                    async with http.get(url) as response:
                        await response.read()

            await some(20)
            started = time.perf_counter()
            await asyncio.gather(*(some(reads // clients) for _ in range(clients)))
            return reads / (time.perf_counter() - started)
    finally:
        server.terminate()
        server.join()


def _serve(pipe: Connection) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"Word": "hello"})

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(serve())
