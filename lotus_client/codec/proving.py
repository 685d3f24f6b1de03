"""Deadlines and partitions as JSON. Source: go-state-types `dline/deadline.go`, Lotus `api/types.go`."""

from __future__ import annotations

from typing import Any, Final

from lotus_client.bitfield import BitField
from lotus_client.codec.basic import bitfield_from_json
from lotus_client.codec.reading import at
from lotus_client.proving import DeadlineInfo, ProvingPartition
from lotus_client.types import Epoch

__all__ = ["deadline_info_from_json", "partitions_from_json", "posted_from_json"]

_MOST_DEADLINES: Final = (
    10_000  # 48 on every network there is; bounds what a strange node makes us do
)
_MOST_EPOCHS: Final = 1_000_000


def deadline_info_from_json(raw: Any, path: str = "$") -> DeadlineInfo:
    """The answer of `StateMinerProvingDeadline`. Epochs that contradict each other are refused."""
    here = at(raw, path)
    info = DeadlineInfo(
        current_epoch=Epoch(here.field("CurrentEpoch").epoch()),
        period_start=Epoch(here.field("PeriodStart").epoch()),
        index=here.field("Index").integer(0, _MOST_DEADLINES),
        open=Epoch(here.field("Open").epoch()),
        close=Epoch(here.field("Close").epoch()),
        challenge=Epoch(here.field("Challenge").epoch()),
        deadlines=here.field("WPoStPeriodDeadlines").integer(1, _MOST_DEADLINES),
        window=here.field("WPoStChallengeWindow").integer(1, _MOST_EPOCHS),
        lookback=here.field("WPoStChallengeLookback").integer(0, _MOST_EPOCHS),
    )
    if info.close - info.open != info.window or info.open - info.challenge != info.lookback:
        here.fail("a deadline whose epochs fit its window and look-back")
    return info


def posted_from_json(raw: Any, path: str = "$") -> tuple[BitField, ...]:
    """The answer of `StateMinerDeadlines`: of each deadline, the partitions proven in its running window."""
    here = at(raw, path)
    return tuple(bitfield_from_json(item.field("PostSubmissions")) for item in here.items())


def partitions_from_json(raw: Any, path: str = "$") -> tuple[ProvingPartition, ...]:
    """The answer of `StateMinerPartitions`."""
    return tuple(
        ProvingPartition(
            live=bitfield_from_json(item.field("LiveSectors")),
            faulty=bitfield_from_json(item.field("FaultySectors")),
            recovering=bitfield_from_json(item.field("RecoveringSectors")),
        )
        for item in at(raw, path).items()
    )
