"""Gaps as JSON, beside every answer that they may make incomplete."""

from __future__ import annotations

from typing import Any

from deals.gaps import Gap

__all__ = ["gaps_json"]


def gaps_json(gaps: tuple[Gap, ...]) -> list[dict[str, Any]]:
    """The epochs `from_epoch` up to, not including, `to_epoch` of which `unknown` could not be read, and why."""
    return [
        {
            "from_epoch": gap.from_epoch,
            "to_epoch": gap.to_epoch,
            "unknown": gap.kind.value,
            "reason": gap.reason,
        }
        for gap in gaps
    ]
