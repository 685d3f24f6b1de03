"""A provider's million claims through `StateGetClaims`: seconds, and the memory the reading process needs for it.

The node is another process that writes the answer as Lotus does, so that only the reader's memory is seen.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

from aiohttp import web

from lotus_client.api_info import ApiInfo
from lotus_client.cid import FIL_COMMITMENT_UNSEALED, SHA2_256_TRUNC254_PADDED, Cid
from lotus_client.client import LotusClient
from lotus_client.types import ActorId

__all__ = ["StreamedClaims", "stream_claims"]

_PER_WRITE = 2000
_PAGE = os.sysconf("SC_PAGE_SIZE")


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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _serve(count: int, pipe: Connection) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        few = asked["params"][0].endswith("01")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(f'{{"id":{asked["id"]},"jsonrpc":"2.0","result":{{'.encode())
        for part in _texts(1 if few else count):
            await response.write(part.encode())
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


if __name__ == "__main__":
    found = stream_claims(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
    sys.stdout.write(
        f"{found.count} claims in {found.seconds:.1f} s ({found.cpu_seconds:.1f} s of one core), "
        f"{found.extra_bytes / 1e6:.0f} MB more resident than before\n"
    )
