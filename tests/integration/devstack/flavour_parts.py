"""A provider that holds three pieces in two sectors on two storage paths, and how to ask it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from deals.car import CarWriter
from deals.unixfs_write import Layout, add_directory, add_file
from devstack.flavours import Flavour
from devstack.sectors import Sector, StagedPiece
from devstack.stack import Devstack, DevstackConfig
from devstack.storage import FileType
from lotus_client.cid import Cid

TEXT = b"first observation,12.5\n" * 500
BINARY = bytes(range(256)) * 40
FILE = b"0123456789" * 50


def small_car() -> tuple[bytes, Cid, dict[Cid, bytes]]:
    """A CAR of a directory with one file of several blocks, its root, and its blocks."""
    blocks: dict[Cid, bytes] = {}
    file = add_file(io.BytesIO(FILE), blocks.__setitem__, Layout(chunk_size=100, width=4))
    root = add_directory({"data.txt": file}, blocks.__setitem__).cid
    out = io.BytesIO()
    writer = CarWriter(out, [root])
    for cid, data in blocks.items():
        writer.put(cid, data)
    return out.getvalue(), root, blocks


@dataclass(frozen=True, slots=True)
class Stocked:
    """A running devnet with its stock: TEXT and BINARY in sector 0, the CAR in sector 1."""

    net: Devstack
    text: StagedPiece
    binary: StagedPiece
    car: StagedPiece
    sectors: tuple[Sector, Sector]

    def unsealed_file(self, sector: Sector):
        provider = self.net.provider
        return provider.storage.file(FileType.UNSEALED, provider.miner.actor_id, sector.number)


@asynccontextmanager
async def stocked(flavour: Flavour) -> AsyncIterator[Stocked]:
    async with Devstack(DevstackConfig(flavour=flavour, storage_paths=2)) as net:
        staged = [
            await net.provider.stage_piece(payload) for payload in (TEXT, BINARY, small_car()[0])
        ]
        first = await net.provider.add_sector(staged[:2])
        second = await net.provider.add_sector(staged[2:])
        yield Stocked(net, *staged, (first, second))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


async def ask(url: str, *, method: str = "GET", token: str = "", **headers: str) -> Answer:
    """One request without any header that was not asked for."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    given.setdefault("Accept-Encoding", "identity")
    if token:
        given["Authorization"] = f"Bearer {token}"
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(method, url, headers=given, skip_auto_headers=["Accept"]) as response,
    ):
        return Answer(response.status, response.headers, await response.read())
