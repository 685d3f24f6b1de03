"""A miner's deadlines and partitions, in the blocks of builtin-actors v18 (`actors/miner/src/{deadline,partition}_state.rs`).

What a partition's summaries (powers, expiration queue, daily fee) are follows from its sets of sectors: they are made by
`devstack.chain.actors.partitions.summarised`, through which `Change.set_partition` takes every change; `Change.commit` does it
for partitions whose sectors were changed in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from devstack.chain.table import State, Table, big
from devstack.ipld import Amt, AmtKind, Linked
from devstack.ipld.bits import bitfield
from lotus_client import cbor
from lotus_client.cid import Cid, dag_cbor_cid
from lotus_client.state import SectorOnChainInfo

__all__ = [
    "NO_EXPIRATIONS",
    "NO_SECTORS",
    "SECTORS",
    "Deadline",
    "Deadlines",
    "ExpirationSet",
    "Partition",
    "WindowPost",
    "bits_entry",
]

Power = tuple[int, int]  # raw and quality-adjusted, in bytes


def _pair(power: Power) -> list[bytes]:
    return [big(power[0]), big(power[1])]


def _sector(one: SectorOnChainInfo) -> bytes:
    return cbor.encode(
        [
            one.number, one.seal_proof, one.sealed_cid, [], one.activation, one.expiration,
            big(one.deal_weight), big(one.verified_deal_weight), big(one.initial_pledge.value),
            None, None, one.power_base_epoch, None, one.sector_key_cid, one.flags,
            big(one.daily_fee.value),
        ]
    )  # fmt: skip


@dataclass(frozen=True)
class ExpirationSet:
    """Sectors of a partition that end at one epoch: on time, or early because they are faulty."""

    on_time: frozenset[int]
    early: frozenset[int]
    pledge: int  # of the sectors on time
    active_power: Power
    faulty_power: Power
    fee_deduction: int

    def encoded(self) -> bytes:
        """The dag-cbor of the entry."""
        sectors = [bitfield(self.on_time), bitfield(self.early)]
        powers = [_pair(self.active_power), _pair(self.faulty_power)]
        return cbor.encode([*sectors, big(self.pledge), *powers, big(self.fee_deduction)])


@dataclass(frozen=True)
class WindowPost:
    """A window PoSt that was taken without a check, and may be disputed."""

    partitions: frozenset[int]
    proofs: tuple[tuple[int, bytes], ...]

    def encoded(self) -> bytes:
        """The dag-cbor of the entry."""
        return cbor.encode([bitfield(self.partitions), [list(proof) for proof in self.proofs]])


def bits_entry(numbers: frozenset[int]) -> bytes:
    return cbor.encode(bitfield(numbers))


# Bit widths: actors/miner/src/{state,deadline_state,partition_state}.rs
SECTORS: Final[AmtKind[SectorOnChainInfo]] = AmtKind(5, _sector)
_EXPIRATIONS: Final[AmtKind[ExpirationSet]] = AmtKind(4, ExpirationSet.encoded)
_EARLY_TERMINATIONS: Final[AmtKind[frozenset[int]]] = AmtKind(3, bits_entry)
_DEADLINE_EXPIRATIONS: Final[AmtKind[frozenset[int]]] = AmtKind(5, bits_entry)
_SUBMISSIONS: Final[AmtKind[WindowPost]] = AmtKind(2, WindowPost.encoded)

NO_EXPIRATIONS: Final[Amt[ExpirationSet]] = Amt(_EXPIRATIONS)
_NO_EARLY_TERMINATIONS: Final[Amt[frozenset[int]]] = Amt(_EARLY_TERMINATIONS)
NO_SECTORS: Final[Amt[SectorOnChainInfo]] = Amt(SECTORS)
_NO_SUBMISSIONS: Final[Amt[WindowPost]] = Amt(_SUBMISSIONS)


@dataclass(frozen=True)
class Partition(State):
    """Sectors that are proven together. `faults` maps a sector to the epoch it became faulty.

    Early terminations are done in the call that makes them, so their queue is always empty.
    """

    sectors: frozenset[int] = frozenset()
    terminated: frozenset[int] = frozenset()
    unproven: frozenset[int] = frozenset()
    faults: Table[int, int] = field(default_factory=Table)
    recoveries: frozenset[int] = frozenset()
    expirations: Amt[ExpirationSet] = NO_EXPIRATIONS
    live_power: Power = (0, 0)
    unproven_power: Power = (0, 0)
    faulty_power: Power = (0, 0)
    recovering_power: Power = (0, 0)
    daily_fee: int = 0  # of live sectors; the block of the deadline has it, this one has not

    @cached_property
    def live(self) -> frozenset[int]:
        """Neither expired nor terminated."""
        return self.sectors - self.terminated

    @cached_property
    def active(self) -> frozenset[int]:
        """Those that count for power: live, proven once, not faulty."""
        return self.live - self.unproven - self.faults.keys()

    def to_value(self) -> object:
        sets = (self.sectors, self.unproven, self.faults, self.recoveries, self.terminated)
        powers = (self.live_power, self.unproven_power, self.faulty_power, self.recovering_power)
        queues = [self.expirations.cid, _NO_EARLY_TERMINATIONS.cid]
        return [*map(bitfield, sets), *queues, *map(_pair, powers)]

    def links(self) -> Iterable[Linked]:
        return (self.expirations, _NO_EARLY_TERMINATIONS)


_PARTITIONS: Final[AmtKind[Partition]] = AmtKind(3, lambda one: one.block, Partition.links)


@dataclass(frozen=True)
class Deadline(State):
    """Partitions of one window of the proving period, and which of them were proven in the running period.

    `expirations` says by epoch which partitions may have something that ends; the snapshots are of the last closing.
    """

    partitions: tuple[Partition, ...] = ()
    posted: frozenset[int] = frozenset()
    expirations: Amt[frozenset[int]] = Amt(_DEADLINE_EXPIRATIONS)
    submissions: Amt[WindowPost] = _NO_SUBMISSIONS
    sectors_snapshot: Amt[SectorOnChainInfo] = NO_SECTORS
    partitions_snapshot: tuple[Partition, ...] = ()
    submissions_snapshot: Amt[WindowPost] = _NO_SUBMISSIONS

    @property
    def live_sectors(self) -> int:
        """How many sectors have not ended."""
        return sum(len(one.live) for one in self.partitions)

    def to_value(self) -> object:
        parts = self.partitions
        return [
            Amt.of_list(_PARTITIONS, parts).cid,
            self.expirations.cid,
            bitfield(self.posted),
            b"",  # partitions with early terminations
            self.live_sectors,
            sum(len(one.sectors) for one in parts),
            _pair(_sum(one.faulty_power for one in parts)),
            self.submissions.cid,
            self.sectors_snapshot.cid,
            Amt.of_list(_PARTITIONS, self.partitions_snapshot).cid,
            self.submissions_snapshot.cid,
            _pair(_sum(one.live_power for one in parts)),
            big(sum(one.daily_fee for one in parts)),
        ]

    def links(self) -> Iterable[Linked]:
        yield Amt.of_list(_PARTITIONS, self.partitions)
        yield Amt.of_list(_PARTITIONS, self.partitions_snapshot)
        yield from (self.expirations, self.submissions, self.submissions_snapshot)
        yield self.sectors_snapshot

    def closed(self, sectors: Amt[SectorOnChainInfo]) -> Deadline:
        """The deadline after its window: proofs become the snapshot that disputes are about."""
        return Deadline(
            self.partitions,
            expirations=self.expirations,
            sectors_snapshot=sectors if self.submissions else NO_SECTORS,
            partitions_snapshot=self.partitions,
            submissions_snapshot=self.submissions,
        )


def _sum(powers: Iterable[Power]) -> Power:
    raw = qap = 0
    for one in powers:
        raw, qap = raw + one[0], qap + one[1]
    return raw, qap


_EMPTY_DEADLINE: Final = Deadline()


class Deadlines(Mapping[int, Deadline]):
    """The 48 deadlines by index: one block that links theirs."""

    def __init__(self, items: Mapping[int, Deadline] | None = None) -> None:
        filled = items or {}
        self._all = tuple(filled.get(index, _EMPTY_DEADLINE) for index in range(48))

    def __getitem__(self, index: int) -> Deadline:
        if not 0 <= index < len(self._all):
            raise KeyError(index)
        return self._all[index]

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self._all)))

    def __len__(self) -> int:
        return len(self._all)

    def __hash__(self) -> int:
        return hash(self._all)

    def __eq__(self, other: object) -> bool:
        return self._all == other._all if isinstance(other, Deadlines) else dict(self) == other

    def with_(self, changes: Mapping[int, Deadline]) -> Deadlines:
        """The deadlines with these replaced."""
        return Deadlines({**dict(enumerate(self._all)), **changes})

    @property
    def block(self) -> bytes:
        """A list with the list of CIDs in it."""
        return cbor.encode([[one.cid for one in self._all]])

    @cached_property
    def cid(self) -> Cid:
        """The CID of the block."""
        return dag_cbor_cid(self.block)

    def links(self) -> Iterable[Linked]:
        """The deadlines."""
        return self._all
