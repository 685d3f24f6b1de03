"""The sector table: which sectors counted for power at which epoch, as intervals between full reads.

"At epoch k" means what a read *at* the tipset of height k answers, that is the state before that tipset's own messages:
the same state the chain uses for an election that looks back to k.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from deals.ports import ChainNode, SectorSnapshot, SectorStore
from fil_plus.power import sector_qap
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.errors import LotusNotSupported
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import ActorId, Epoch, SectorNumber

__all__ = [
    "ElectionSectors",
    "SectorHistory",
    "SectorInterval",
    "active_at",
    "apply_snapshot",
    "check_sectors",
    "lookback_height",
    "read_sectors",
    "sectors_for_election",
    "sectors_of",
    "total_qap",
]

_READ_TOGETHER: Final = 16  # requests for single sectors under way at one time
_WINNING_POST_LOOKBACK: Final = 900  # Lotus policy.GetWinningPoStSectorSetLookback at nv28


@dataclass(frozen=True, slots=True)
class SectorInterval:
    """A sector counted for power, as `info` says, from `from_epoch` up to, not including, `to_epoch` (None: still)."""

    info: SectorOnChainInfo
    from_epoch: Epoch
    to_epoch: Epoch | None

    def covers(self, epoch: Epoch) -> bool:
        """Whether the sector counted at `epoch`."""
        return self.from_epoch <= epoch and (self.to_epoch is None or epoch < self.to_epoch)


class SectorHistory:
    """The intervals that touch a span of epochs, and the epoch of the first full read (None: there was none)."""

    def __init__(self, intervals: Iterable[SectorInterval], known_from: Epoch | None) -> None:
        self._intervals = tuple(intervals)
        self._known_from = known_from
        starts = {interval.from_epoch for interval in self._intervals}
        ends = {interval.to_epoch for interval in self._intervals if interval.to_epoch is not None}
        self._changes = sorted(starts | ends)  # between two of them the same sectors count
        self._found: dict[int, tuple[SectorOnChainInfo, ...]] = {}

    def active_at(self, epoch: Epoch) -> tuple[SectorOnChainInfo, ...] | None:
        """The sectors that counted at an epoch of the span, by number; None before the first full read."""
        if self._known_from is None or epoch < self._known_from:
            return None
        place = bisect_right(self._changes, epoch)
        if place not in self._found:
            self._found[place] = active_at(self._intervals, epoch)
        return self._found[place]


def lookback_height(election: Epoch) -> Epoch:
    """The height from which the tipset is taken (itself or the next above) whose read shows an election's power.

    Reads at that tipset give its parent state, which is the state of the look-back tipset 900 epochs before the election.
    Source: Lotus `chain/stmgr` GetLookbackTipSetForRound.
    """
    return Epoch(max(election - _WINNING_POST_LOOKBACK, 0) + 1)


def active_at(intervals: Iterable[SectorInterval], epoch: Epoch) -> tuple[SectorOnChainInfo, ...]:
    """The sectors that counted at `epoch`, by number."""
    found = [interval.info for interval in intervals if interval.covers(epoch)]
    return tuple(sorted(found, key=lambda info: info.number))


def total_qap(sectors: Iterable[SectorOnChainInfo], sector_size: int) -> int:
    """Σ quality-adjusted power of `sectors`, in bytes."""
    return sum(sector_qap(sector, sector_size) for sector in sectors)


def apply_snapshot(
    intervals: Iterable[SectorInterval],
    sectors: Iterable[SectorOnChainInfo],
    at: Epoch,
    until: Epoch | None,
) -> list[SectorInterval]:
    """The intervals after learning that exactly `sectors` counted at `at`.

    That holds up to `until`, the epoch of the next full read known already (None: there is none). What was recorded before
    `at` and from `until` on stays. Neighbouring intervals of one sector with the same record become one.
    """
    known: dict[SectorNumber, list[SectorInterval]] = defaultdict(list)
    for interval in intervals:
        known[interval.info.number].append(interval)
    now = {info.number: info for info in sectors}
    result: list[SectorInterval] = []
    for number in sorted(known.keys() | now.keys()):
        parts = [part for old in known[number] for part in _outside(old, at, until)]
        if number in now:
            parts.append(SectorInterval(now[number], at, until))
        result += _merged(parts)
    return result


def _outside(interval: SectorInterval, at: Epoch, until: Epoch | None) -> list[SectorInterval]:
    """What of `interval` lies before `at` or from `until` on."""
    parts = []
    if interval.from_epoch < at:
        end = at if interval.to_epoch is None else min(interval.to_epoch, at)
        parts.append(SectorInterval(interval.info, interval.from_epoch, end))
    if until is not None and (interval.to_epoch is None or interval.to_epoch > until):
        start = max(interval.from_epoch, until)
        parts.append(SectorInterval(interval.info, start, interval.to_epoch))
    return parts


def _merged(parts: list[SectorInterval]) -> list[SectorInterval]:
    merged: list[SectorInterval] = []
    for part in sorted(parts, key=lambda part: part.from_epoch):
        if merged and merged[-1].to_epoch == part.from_epoch and merged[-1].info == part.info:
            merged[-1] = SectorInterval(part.info, merged[-1].from_epoch, part.to_epoch)
        else:
            merged.append(part)
    return merged


@dataclass(frozen=True, slots=True)
class ElectionSectors:
    """The miner's power at a look-back tipset and the sectors behind it.

    `sectors` is None if even a full read does not add up to the power; `read_in_full` says that a full read was needed.
    """

    tipset: TipSetKey
    epoch: Epoch
    miner_qap: int
    network_qap: int
    sectors: tuple[SectorOnChainInfo, ...] | None
    read_in_full: bool


async def sectors_for_election(
    node: ChainNode,
    store: SectorStore,
    provider: ActorId,
    sector_size: int,
    lookback: TipSet,
) -> ElectionSectors:
    """The sectors active at the tipset `lookback`, from the table if they add up to the chain's power, else by one full read.

    A full read is saved, so that neighbouring elections need none.

    Raises:
        LotusError: the node cannot answer for that tipset (its state may be pruned): the win is unknown, not zero.
    """
    power = await node.miner_power(provider, lookback.key)
    known = await store.active_sectors(provider, lookback.height)
    read_in_full = False
    if known is None or total_qap(known, sector_size) != power.miner.qap:
        snapshot = await read_sectors(node, store, provider, sector_size, lookback)
        if snapshot is not None:
            await store.save_snapshot(provider, snapshot)
            known = snapshot.sectors
        read_in_full = snapshot is not None
    adds_up = known is not None and total_qap(known, sector_size) == power.miner.qap
    return ElectionSectors(
        tipset=lookback.key,
        epoch=lookback.height,
        miner_qap=power.miner.qap,
        network_qap=power.total.qap,
        sectors=known if adds_up else None,
        read_in_full=read_in_full,
    )


async def check_sectors(
    node: ChainNode,
    store: SectorStore,
    provider: ActorId,
    sector_size: int,
    at: TipSet,
    *,
    changed: bool,
) -> bool | None:
    """Bring the table up to the tipset `at`; says whether that took a full read. None if the node has none to give.

    One is made if the known sum is not the chain's power, or if `changed`: sector events were seen that may
    exchange sectors of equal power.
    """
    if not changed:
        power = await node.miner_power(provider, at.key)
        if await store.active_power(provider, at.height) == power.miner.qap:
            return False
    snapshot = await read_sectors(node, store, provider, sector_size, at)
    if snapshot is None:
        return None
    await store.save_snapshot(provider, snapshot)
    return True


async def read_sectors(
    node: ChainNode, store: SectorStore, provider: ActorId, sector_size: int, at: TipSet
) -> SectorSnapshot | None:
    """The sectors that count at `at`; None on a node that does not list them and of which the known ones do not add up.

    A gateway has no `StateMinerActiveSectors`, but tells of single sectors and of the power. If the known sectors that stand in
    the state have together just the miner's power, they are taken for the active ones, as they are when the table is checked.
    """
    try:
        sectors = tuple(await node.active_sectors(provider, at.key))
    except LotusNotSupported:
        numbers = sorted(await store.known_sectors(provider))
        sectors = tuple(await sectors_of(node, provider, numbers, at.key))
        power = await node.miner_power(provider, at.key)
        if total_qap(sectors, sector_size) != power.miner.qap:
            return None
    return SectorSnapshot(at.height, at.key, int(sector_size), sectors)


async def sectors_of(
    node: ChainNode, provider: ActorId, numbers: Sequence[SectorNumber], tsk: TipSetKey
) -> list[SectorOnChainInfo]:
    """The records of those of `numbers` that stand in the state, in that order."""
    found: list[SectorOnChainInfo] = []
    for start in range(0, len(numbers), _READ_TOGETHER):
        some = numbers[start : start + _READ_TOGETHER]
        infos = await asyncio.gather(*(node.sector(provider, number, tsk) for number in some))
        found += [info for info in infos if info is not None]
    return found
