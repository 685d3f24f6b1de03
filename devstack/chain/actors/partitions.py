"""What a partition's block says besides its sets of sectors: powers, daily fee, and when its sectors end.

All of it follows from the sets, the sectors and the deadline's place in the proving period. Source: builtin-actors
`actors/miner/src/{partition_state,expiration_queue}.rs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from devstack.chain.actors import policy
from devstack.chain.deadline_states import NO_EXPIRATIONS, Deadline, ExpirationSet, Partition
from devstack.chain.table import replace
from lotus_client.state import SectorOnChainInfo

__all__ = ["Placement", "expire_partitions", "placed", "quantize_up", "summarised"]


def quantize_up(epoch: int, unit: int, offset: int) -> int:
    """The first epoch at or after this one that is `offset` plus a whole number of units."""
    return epoch + (offset - epoch) % unit


@dataclass(frozen=True, slots=True)
class Placement:
    """A deadline's place in time, and the size of its sectors."""

    proving_period_start: int
    deadline: int
    sector_size: int

    @property
    def last(self) -> int:
        """The last epoch of the deadline in that period."""
        return self.proving_period_start + (self.deadline + 1) * policy.CHALLENGE_WINDOW - 1

    def fault_expiration(self, since: int) -> int:
        """When a sector ends that is faulty since then: 42 days after its window, quantized."""
        window = quantize_up(since, policy.PROVING_PERIOD, self.last)
        return window + policy.FAULT_MAX_AGE

    def on_time(self, sector: SectorOnChainInfo) -> int:
        """When a sector ends at the latest: at the end of a window of its deadline."""
        return quantize_up(sector.expiration, policy.PROVING_PERIOD, self.last)


def summarised(
    partition: Partition, sectors: Mapping[int, SectorOnChainInfo], place: Placement
) -> Partition:
    """The partition with its summaries made from its sets."""
    powers = {
        number: policy.sector_power(sectors[number], place.sector_size) for number in partition.live
    }

    def power(numbers: Iterable[int]) -> tuple[int, int]:
        some = [powers[number] for number in numbers]
        return sum(raw for raw, _ in some), sum(qap for _, qap in some)

    by_epoch: dict[int, list[int]] = {}
    early: set[int] = set()
    for number in sorted(partition.live):
        epoch = place.on_time(sectors[number])
        if number in partition.faults:
            aged = place.fault_expiration(partition.faults[number])
            if aged < epoch:
                early.add(number)
                epoch = aged
        by_epoch.setdefault(epoch, []).append(number)
    queue = {}
    for epoch, numbers in by_epoch.items():
        on_time = [number for number in numbers if number not in early]
        faulty = [number for number in numbers if number in partition.faults]
        queue[epoch] = ExpirationSet(
            frozenset(on_time),
            frozenset(numbers) - frozenset(on_time),
            sum(sectors[number].initial_pledge.value for number in on_time),
            power(number for number in numbers if number not in partition.faults),
            power(faulty),
            sum(sectors[number].daily_fee.value for number in numbers),
        )
    return replace(
        partition,
        expirations=NO_EXPIRATIONS.with_(queue),
        live_power=power(partition.live),
        unproven_power=power(partition.unproven),
        faulty_power=power(partition.faults),
        recovering_power=power(partition.recoveries),
        daily_fee=sum(sectors[number].daily_fee.value for number in partition.live),
    )


def placed(deadline: Deadline, index: int, partition: Partition) -> Deadline:
    """The deadline with a (summarised) partition replaced or added; the epochs at which it may end are queued."""
    partitions = (*deadline.partitions[:index], partition, *deadline.partitions[index + 1 :])
    queued = {
        epoch: deadline.expirations.get(epoch, frozenset()) | {index}
        for epoch in partition.expirations
        if index not in deadline.expirations.get(epoch, ())
    }
    expirations = deadline.expirations.with_(queued)
    return replace(deadline, partitions=partitions, expirations=expirations)


def expire_partitions(deadline: Deadline, now: int) -> Deadline:
    """The deadline without queue entries of epochs up to now."""
    due = [epoch for epoch in deadline.expirations if epoch <= now]
    return replace(deadline, expirations=deadline.expirations.without(due)) if due else deadline
