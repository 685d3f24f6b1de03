"""Gaps: epochs of which something could not be read, and may never be. What is in a gap is unknown, never nothing.

A gap is half-open, [from_epoch, to_epoch). It ends where reading was possible again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from lotus_client.errors import LotusNotSupported, LotusRpcError
from lotus_client.types import Epoch

__all__ = ["Gap", "GapKind", "gaps_in", "joined", "out_of_reach", "without"]

# What nodes say of blocks and states that they no longer have, or do not let one look back to.
# Source: Lotus `chain/store`, `blockstore` (splitstore, snapshots), `gateway/node.go`, `chain/index`.
_OUT_OF_REACH = (
    "could not find",
    "block not found",
    "lookbacks of more than",
    "failed to load",
    "not found in index",
    "no such tipset",
)


class GapKind(StrEnum):
    """What is not known of a gap's epochs."""

    CHAIN = "chain"  # neither blocks won nor events
    EVENTS = "events"  # events; blocks won are known


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """Epochs `from_epoch` up to, not including, `to_epoch`, and why they are unknown."""

    from_epoch: Epoch
    to_epoch: Epoch
    kind: GapKind
    reason: str

    def __post_init__(self) -> None:
        if self.from_epoch >= self.to_epoch:
            raise ValueError(f"an empty gap: {self.from_epoch} to {self.to_epoch}")


def joined(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """The same epochs by as few gaps as possible, ascending; of neighbours the newer reason stays."""
    result: list[Gap] = []
    for gap in sorted(gaps, key=lambda gap: (gap.kind, gap.from_epoch, gap.to_epoch)):
        last = result[-1] if result else None
        if last is not None and last.kind == gap.kind and gap.from_epoch <= last.to_epoch:
            end = max(last.to_epoch, gap.to_epoch)
            result[-1] = Gap(last.from_epoch, end, gap.kind, gap.reason)
        else:
            result.append(gap)
    return tuple(sorted(result))


def gaps_in(gaps: Iterable[Gap], first: Epoch, last: Epoch) -> tuple[Gap, ...]:
    """The parts of `gaps` within `first` to `last`, both counted."""
    return tuple(
        Gap(
            max(gap.from_epoch, first),
            Epoch(min(gap.to_epoch, last + 1)),
            gap.kind,
            gap.reason,
        )
        for gap in gaps
        if gap.from_epoch <= last and gap.to_epoch > first
    )


def without(gaps: Iterable[Gap], known: Gap) -> tuple[Gap, ...]:
    """What is left of `gaps` once the epochs of `known` are no longer unknown in its way."""
    left: list[Gap] = []
    for gap in gaps:
        if gap.kind != known.kind:
            left.append(gap)
            continue
        below = Epoch(min(gap.to_epoch, known.from_epoch))
        above = Epoch(max(gap.from_epoch, known.to_epoch))
        if gap.from_epoch < below:
            left.append(Gap(gap.from_epoch, below, gap.kind, gap.reason))
        if above < gap.to_epoch:
            left.append(Gap(above, gap.to_epoch, gap.kind, gap.reason))
    return tuple(sorted(left))


def out_of_reach(error: LotusRpcError) -> bool:
    """Whether the node says that it has not, or does not show, what was asked for: asking again will not help."""
    text = error.message.lower()
    return isinstance(error, LotusNotSupported) or any(part in text for part in _OUT_OF_REACH)
