"""Deadlines as mainnet has them, and what a guard sees of them."""

from __future__ import annotations

from lotus_client.types import Epoch
from sp_plugin.config.guard import HostRole
from sp_plugin.guard.sights import ChainSight, DueDeadline, GuardRules

WINDOW, LOOKBACK, DELAY = 60, 20, 30
PROVER = GuardRules(HostRole.PROVER)
START = 1_000_000  # Unix seconds of epoch 0


def deadline(index: int, missing: tuple[int, ...] = (), needed: tuple[int, ...] | None = None):
    """Deadline `index` of a period that starts at epoch 0; all that is needed is missing unless it is said."""
    opens = index * WINDOW
    return DueDeadline(
        index,
        Epoch(opens - LOOKBACK),
        Epoch(opens),
        Epoch(opens + WINDOW),
        missing if needed is None else needed,
        missing,
    )


def sight(head: int, *deadlines: DueDeadline) -> ChainSight:
    """What a node shows at `head`, whose block has the time it should have."""
    last = deadlines[-1].index if deadlines else head // WINDOW
    return ChainSight(
        Epoch(head),
        time_of(head),
        DELAY,
        deadlines,
        Epoch((last + 1) * WINDOW - LOOKBACK),
    )


def time_of(epoch: int) -> int:
    """The Unix second at which an epoch begins."""
    return START + epoch * DELAY
