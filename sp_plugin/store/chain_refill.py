"""What was read of a gap later, put into the index in the place of what had been concluded from the state.

While events are unknown, changes of claims are found by comparing states and kept as events without a message (the first
block of their tipset stands there, see `deals.event_sources.state`). Once the true events are known these are taken back.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from deals.gaps import Gap, GapKind, without
from deals.ports import FilledGap
from fil_plus.event_kinds import ClaimMade, ClaimRemoved, ClaimUpdated, TypedEvent
from fil_plus.events import parse_event
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid
from lotus_client.state import ActorEvent, Claim
from lotus_client.types import ActorId, ClaimId, Epoch, SectorNumber
from sp_plugin.store.chain_codec import decode_entries, encode_entries
from sp_plugin.store.chain_gaps import load_gaps, write_gaps
from sp_plugin.store.chain_pieces import refold, write_ends
from sp_plugin.store.chain_rows import insert_blocks, insert_events
from sp_plugin.store.chain_tables import events as _events
from sp_plugin.store.chain_tables import own_blocks as _own_blocks
from sp_plugin.store.chain_tables import sector_ends as _sector_ends
from sp_plugin.store.chain_tables import snapshots as _snapshots
from sp_plugin.store.chain_tables import tipsets as _tipsets

__all__ = ["fill_gap"]

_CHUNK: Final = 500

Place = tuple[Epoch, bool, int]  # height, concluded from the state, order: concluded ones come last


@dataclass(frozen=True, slots=True)
class _Concluded:
    """What becomes of the events concluded from the state: rows no longer needed, and those that still are.

    Of these the height, and when the claim they are about began.
    """

    redundant: tuple[int, ...]
    needed: tuple[tuple[Epoch, Epoch], ...]


async def fill_gap(connection: AsyncConnection, filled: FilledGap) -> bool:
    """See `ChainRepository.fill_gap`."""
    gaps = await load_gaps(connection, filled.provider)
    left = without(gaps, filled.gap)
    if left == gaps:
        return False  # somebody else has filled it, or a reorg has taken it away
    query = select(_events).where(_events.c.provider == filled.provider)
    rows = (await connection.execute(query.order_by(_events.c.height, _events.c.id))).all()
    known = [row for row in rows if _is_within(row.height, filled.gap) and not _is_concluded(row)]
    if Counter(map(_what, known)) - Counter(map(_what_event, filled.events)):
        return False
    gone = {row.id for row in known}
    concluded = _sort_out([row for row in rows if row.id not in gone], filled)
    first_known = await _lowest_known(connection, filled)
    if any(start >= first_known and not _excused(at, left) for at, start in concluded.needed):
        return False
    gone.update(concluded.redundant)
    touched = {
        SectorNumber(row.sector) for row in rows if row.id in gone and row.sector is not None
    }
    await _delete_rows(connection, sorted(gone))
    touched |= await insert_events(connection, filled.provider, filled.events, filled.typed)
    await _put_blocks(connection, filled)
    touched |= await _put_ends(connection, filled)
    await write_gaps(connection, filled.provider, left)
    await refold(connection, filled.provider, touched, {})
    return True


def _sort_out(rows: list[Any], filled: FilledGap) -> _Concluded:
    """Which of the concluded events from the gap on say only what the events before them have said."""
    entries: list[tuple[Place, int | None, TypedEvent]] = []
    for order, row in enumerate(rows):
        if (typed := _typed(row, filled.provider)) is not None:
            entries.append(((Epoch(row.height), _is_concluded(row), order), row.id, typed))
    for order, typed in enumerate(filled.typed):
        entries.append(((typed.at.epoch, False, order), None, typed))
    claims: dict[ClaimId, Claim] = {}
    redundant: list[int] = []
    needed: list[tuple[Epoch, Epoch]] = []
    for (height, is_concluded, _), row_id, typed in sorted(entries, key=lambda entry: entry[0]):
        if is_concluded and row_id is not None and height >= filled.gap.from_epoch:
            if _says_nothing_new(typed, claims):
                redundant.append(row_id)
                continue
            if isinstance(typed, ClaimMade | ClaimUpdated | ClaimRemoved):
                needed.append((height, typed.claim.term_start))
        _take(typed, claims)
    return _Concluded(tuple(redundant), tuple(needed))


def _says_nothing_new(event: TypedEvent, claims: dict[ClaimId, Claim]) -> bool:
    if isinstance(event, ClaimMade | ClaimUpdated):
        return claims.get(event.claim.id) == event.claim
    return isinstance(event, ClaimRemoved) and event.claim.id not in claims


def _take(event: TypedEvent, claims: dict[ClaimId, Claim]) -> None:
    if isinstance(event, ClaimMade | ClaimUpdated):
        claims[event.claim.id] = event.claim
    elif isinstance(event, ClaimRemoved):
        claims.pop(event.claim.id, None)


def _excused(height: Epoch, left: tuple[Gap, ...]) -> bool:
    """Whether a change that is still not explained may have happened in another gap."""
    return any(gap.from_epoch <= height for gap in left)


async def _lowest_known(connection: AsyncConnection, filled: FilledGap) -> Epoch:
    """Claims begun before this epoch are known from the state only: where following began, if that is at the gap."""
    for table in (_events, _tipsets, _snapshots):
        below = table.c.height < filled.gap.from_epoch
        here = exists().where(table.c.provider == filled.provider, below)
        if (await connection.execute(select(here))).scalar():
            return Epoch(0)
    return filled.gap.from_epoch


async def _delete_rows(connection: AsyncConnection, ids: list[int]) -> None:
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        await connection.execute(delete(_events).where(_events.c.id.in_(chunk)))


async def _put_blocks(connection: AsyncConnection, filled: FilledGap) -> None:
    """Blocks won were unknown only where the chain was."""
    if filled.gap.kind is not GapKind.CHAIN:
        return
    blocks = _own_blocks.c
    within = (blocks.epoch >= filled.gap.from_epoch, blocks.epoch < filled.gap.to_epoch)
    await connection.execute(delete(_own_blocks).where(blocks.provider == filled.provider, *within))
    await insert_blocks(connection, filled.provider, filled.own_blocks)


async def _put_ends(connection: AsyncConnection, filled: FilledGap) -> set[SectorNumber]:
    query = select(_sector_ends.c.sector).where(_sector_ends.c.provider == filled.provider)
    known = set((await connection.execute(query)).scalars())
    past = {number: end for number, end in filled.past_expirations.items() if number not in known}
    return await write_ends(connection, filled.provider, {**past, **filled.expirations})


def _is_within(height: int, gap: Gap) -> bool:
    return gap.from_epoch <= height < gap.to_epoch


def _is_concluded(row: Any) -> bool:
    return bool(row.message == row.tipset.cids[0])


def _what(row: Any) -> tuple[TipSetKey, Cid, bytes]:
    return row.tipset, row.message, row.entries


def _what_event(event: ActorEvent) -> tuple[TipSetKey, Cid, bytes]:
    return event.tipset, event.message, encode_entries(event.emitter, event.entries)


def _typed(row: Any, provider: ActorId) -> TypedEvent | None:
    emitter, entries = decode_entries(row.entries)
    return parse_event(
        ActorEvent(emitter, entries, False, Epoch(row.height), row.tipset, row.message), provider
    )
