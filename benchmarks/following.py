"""A day of chain caught up, and one tipset with 1,000 claims taken over.

The first is over the devnet's HTTP node in the same process and on the same core, so the node's own work is in it; the second is
the follower and its SQLite file alone, with the events at hand.
"""

from __future__ import annotations

import asyncio
import tempfile
from typing import Final

from benchmarks.chain import catch_up
from benchmarks.measure import Row, Sample, Timer
from deals.ports import ChainBatch, Cursor, TipSetRef
from fil_plus.events import claim_entries
from lotus_client import cbor
from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.cid import (
    FIL_COMMITMENT_UNSEALED,
    SHA2_256_TRUNC254_PADDED,
    Cid,
    dag_cbor_cid,
)
from lotus_client.state import ActorEvent, Claim, EventEntry
from lotus_client.types import ActorId, ClaimId, Epoch, PaddedPieceSize, SectorNumber
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.chain import ChainRepository

__all__ = ["rows"]

_PROVIDER: Final = ActorId(1001)
_DAY: Final = 2880  # epochs
_CLAIMS: Final = 1000


def rows() -> list[Row]:
    """Following the chain."""
    return [
        Row(f"{_DAY:,} epochs caught up", "s", "<= 30", lambda: catch_up(_DAY), 1),
        Row(f"a tipset with {_CLAIMS:,} claim events applied", "s", "<= 0.1", _applied, 7),
    ]


def _applied() -> Sample:
    """One tipset with so many claims, each in its own sector, stored, and the pieces folded."""
    return asyncio.run(_apply(_CLAIMS))


async def _apply(claims: int) -> Sample:
    places = [_place(height) for height in range(3)]
    before = Cursor(places[0], Epoch(0), Epoch(0))
    after = Cursor(places[1], Epoch(0), Epoch(0))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite+aiosqlite:///{folder}/state.db")
        async with store.transaction() as connection:
            await connection.run_sync(metadata.create_all)
        try:
            repository = ChainRepository(store)
            await repository.apply(ChainBatch(_PROVIDER, None, before, places[1]))
            batch = ChainBatch(
                _PROVIDER,
                before,
                after,
                places[2],
                applied=(places[1],),
                events=tuple(
                    event for number in range(1, claims + 1) for event in _events(number, places[1])
                ),
            )
            timer = Timer()
            await repository.apply(batch)
            return Sample(timer.wall, timer.cpu)
        finally:
            await store.close()


def _place(height: int) -> TipSetRef:
    return TipSetRef(Epoch(height), TipSetKey((dag_cbor_cid(cbor.encode([height])),)))


def _events(number: int, place: TipSetRef) -> list[ActorEvent]:
    """`claim`, as f06 emits it; a message of its own for each."""
    digest = number.to_bytes(32, "big")
    claim = Claim(
        id=ClaimId(number),
        provider=_PROVIDER,
        client=ActorId(101),
        data=Cid.of_digest(FIL_COMMITMENT_UNSEALED, SHA2_256_TRUNC254_PADDED, digest),
        size=PaddedPieceSize(1 << 20),
        term_min=Epoch(518_400),
        term_max=Epoch(1_000_000),
        term_start=place.height,
        sector=SectorNumber(number),
    )
    message = dag_cbor_cid(cbor.encode(["message", number]))
    return [_event(Address.of_id(6), claim_entries("claim", claim), place, message)]


def _event(
    emitter: Address, entries: tuple[EventEntry, ...], place: TipSetRef, message: Cid
) -> ActorEvent:
    return ActorEvent(emitter, entries, False, place.height, place.key, message)
