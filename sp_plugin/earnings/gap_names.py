"""How epochs of which nothing is known are named in the record of a closed period, and whether they still are unknown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from deals.gaps import Gap, GapKind, gaps_in
from lotus_client.types import Epoch

__all__ = ["gap_name", "is_of_a_gap", "still_unknown"]

_NAMED: Final = re.compile(r"gap (\d+)-(\d+)(?=:|$)")


def gap_name(gap: Gap) -> str:
    """First and last epoch of a gap, both counted."""
    return f"gap {gap.from_epoch}-{gap.to_epoch - 1}"


def is_of_a_gap(text: str) -> bool:
    """Whether an unknown of a closed period is one of unread epochs and not of a block won."""
    return _NAMED.match(text) is not None


def still_unknown(texts: Iterable[str], gaps: Iterable[Gap]) -> list[str]:
    """`texts` without those of gaps that have been filled since the period was closed."""
    unread = [gap for gap in gaps if gap.kind is GapKind.CHAIN]
    return [text for text in texts if not _is_filled(text, unread)]


def _is_filled(text: str, unread: list[Gap]) -> bool:
    named = _NAMED.match(text)
    return named is not None and not gaps_in(unread, Epoch(int(named[1])), Epoch(int(named[2])))
