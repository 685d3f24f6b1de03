"""Sub-pieces in a migrated database: found by CID in no more than a moment, and written all or not at all, whoever is killed."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sys
from pathlib import Path

from sqlalchemy import func, select

from deals.data_segment import IndexEntry
from deals.piece_cars import HeldCar
from deals.piece_cid import encode_piece_cid_v1
from deals.sub_pieces import ConfirmedBy, ConfirmedSegment, SegmentFindings
from lotus_client.types import PaddedPieceSize
from sp_plugin.store.migrate import differences, open_store
from sp_plugin.store.sub_pieces import SubPieceRepository, sub_pieces
from tests.databases import database_url

OUTER = (encode_piece_cid_v1(bytes(32)), PaddedPieceSize(1 << 30))
COUNTS = (3000, 5000)


def commitment(number: int) -> bytes:
    digest = hashlib.sha256(str(number).encode()).digest()
    return digest[:-1] + bytes([digest[-1] & 0x3F])


def findings(count: int) -> SegmentFindings:
    size = PaddedPieceSize(128)
    segments = tuple(
        ConfirmedSegment(n, IndexEntry(commitment(n), 128 * n, size), ConfirmedBy.BYTES)
        for n in range(count)
    )
    return SegmentFindings(segments)


async def save_for_ever(url: str) -> None:
    """What the killed process does: one set of rows after the other in place of it."""
    store = await open_store(url)
    repository = SubPieceRepository(store)
    while True:
        for count in COUNTS:
            await repository.save(OUTER, findings(count), [], read_at=count)
            sys.stdout.write("saved\n")
            sys.stdout.flush()


async def test_a_killed_process_leaves_one_whole_set_of_sub_pieces(tmp_path: Path) -> None:
    url = database_url(tmp_path)
    await (await open_store(url)).close()
    for delay in (0.01, 0.15, 0.3):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, url, stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        await child.stdout.readline()
        await asyncio.sleep(delay)
        child.send_signal(signal.SIGKILL)
        await child.wait()
        store = await open_store(url)
        try:
            reading = await SubPieceRepository(store).reading(OUTER)
            assert reading is not None
            async with store.reading() as connection:
                query = select(func.count()).select_from(sub_pieces)
                count = (await connection.execute(query)).scalar_one()
            assert count in COUNTS
            assert reading.segments == count
        finally:
            await store.close()


async def test_a_sub_piece_is_found_by_its_cid_and_by_its_place(tmp_path: Path) -> None:
    store = await open_store(database_url(tmp_path))
    try:
        assert await differences(store) == []
        repository = SubPieceRepository(store)
        root = encode_piece_cid_v1(commitment(99))
        cars = [HeldCar(4 * 127, 100, (root,))]
        await repository.save(OUTER, findings(3000), cars, read_at=1)
        (found,) = await repository.named([encode_piece_cid_v1(commitment(4))])
        assert (found.entry, found.payload_size, found.roots) == (4, 100, (root,))
        assert found == await repository.at(OUTER, 4 * 128, 128)
        assert await repository.at(OUTER, 4 * 128, 256) is None
        assert await repository.at((OUTER[0], PaddedPieceSize(1 << 20)), 4 * 128, 128) is None
        assert [one.entry for one in await repository.of(OUTER, 3)] == [0, 1, 2]
        assert await repository.read() == {OUTER: 3000}
        everything = [encode_piece_cid_v1(commitment(n)) for n in range(1500)]
        assert len(await repository.named(everything)) == 1500
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(save_for_ever(sys.argv[1]))
