"""A provider's million claims through `StateGetClaims`: seconds, and the memory the reading process needs for it.

The node is another process that has the answer, as Lotus writes it, ready in a file before the clock starts: only the
reader's time and memory are measured, and not the making of the answer.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

from aiohttp import web

from benchmarks.measure import Row, Sample
from lotus_client.api_info import ApiInfo
from lotus_client.cid import FIL_COMMITMENT_UNSEALED, SHA2_256_TRUNC254_PADDED, Cid
from lotus_client.client import LotusClient
from lotus_client.types import ActorId

__all__ = ["StreamedClaims", "rows", "stream_claims"]

_PER_WRITE = 2000
_CHUNK = 1 << 18
_PAGE = os.sysconf("SC_PAGE_SIZE")


def rows() -> list[Row]:
    """A million claims, and the memory for them; the latter reads them once more, in a process of its own."""
    return [
        Row("1,000,000 claims through StateGetClaims", "s", "<= 20", _seconds),
        Row("memory it takes", "MB", "<= 100", _memory, 1),
    ]


def _seconds() -> Sample:
    found = stream_claims(1_000_000)
    return Sample(found.seconds, found.cpu_seconds)


def _memory() -> Sample:
    """The most that a fresh process has resident, less what it had before the call."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return Sample(pool.submit(stream_claims, 1_000_000).result().extra_bytes / 1e6)


@dataclass(frozen=True, slots=True)
class StreamedClaims:
    """What reading gave: how many claims, in how long, and by how much the process grew at most."""

    count: int
    seconds: float
    cpu_seconds: float  # of the reading process alone
    extra_bytes: int


def stream_claims(count: int) -> StreamedClaims:
    """Read so many claims from a node in another process, keeping none."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    node = context.Process(target=_serve, args=(count, theirs), daemon=True)
    node.start()
    try:
        return asyncio.run(_read(ours.recv(), count))
    finally:
        node.terminate()
        node.join()


async def _read(port: int, count: int) -> StreamedClaims:
    async with LotusClient.connect(ApiInfo.parse(f"http://127.0.0.1:{port}")) as client:
        async for _ in client.iter_claims(ActorId(1)):  # the first answer, of one claim: warm code
            break
        before = _resident()
        started, worked = time.perf_counter(), time.process_time()
        found = checksum = 0
        async for claim in client.iter_claims(ActorId(1000)):
            found += 1
            checksum += claim.sector
        seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    if (found, checksum) != (count, count * (count - 1) // 2):
        raise AssertionError(f"{found} of {count} claims arrived")
    return StreamedClaims(found, seconds, cpu, max(0, _peak() - before))


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no file of ours
        return int(file.read().split()[1]) * _PAGE


def _peak() -> int:
    """Of this program alone: the kernel's `ru_maxrss` also knows the process that started it, before it was this one."""
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123 - no file of ours
        (line,) = [line for line in file if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def _serve(count: int, pipe: Connection) -> None:
    """Write the answer to a file, then serve it from there, so that the reader has the machine to itself."""
    with tempfile.TemporaryFile() as answers:
        for part in _texts(count):
            answers.write(part.encode())

        async def answer(request: web.Request) -> web.StreamResponse:
            asked = await request.json()
            few = asked["params"][0].endswith("01")
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            await response.write(f'{{"id":{asked["id"]},"jsonrpc":"2.0","result":{{'.encode())
            answers.seek(0)
            parts = [_claim(0).encode()] if few else iter(lambda: answers.read(_CHUNK), b"")
            for part in parts:
                await response.write(part)
            await response.write(b"}}\n")
            return response

        async def serve() -> None:
            app = web.Application()
            app.router.add_post("/rpc/v1", answer)
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            pipe.send(runner.addresses[0][1])
            await asyncio.Event().wait()

        asyncio.run(serve())


def _texts(count: int) -> Iterator[str]:
    for start in range(0, count, _PER_WRITE):
        texts = [_claim(number) for number in range(start, min(start + _PER_WRITE, count))]
        yield ("," if start else "") + ",".join(texts)


def _claim(number: int) -> str:
    digest = number.to_bytes(32, "little")
    piece = Cid.of_digest(FIL_COMMITMENT_UNSEALED, SHA2_256_TRUNC254_PADDED, digest)
    return (
        f'"{number}":{{"Provider":1000,"Client":1001,"Data":{{"/":"{piece}"}},"Size":34359738368,'
        f'"TermMin":518400,"TermMax":5256000,"TermStart":3855360,"Sector":{number}}}'
    )
