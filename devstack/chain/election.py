"""Who wins how often: a Poisson draw per miner and epoch from the power of 900 epochs ago.

Lotus draws from a VRF with 256-bit fixed point numbers; the devnet draws from a hash of its seed and the parent's ticket
with the same distribution. A miner's expected wins are 5 times its share of quality-adjusted power, at most 15.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from decimal import Context, Decimal
from functools import lru_cache
from typing import Final

__all__ = ["LEADERS_PER_EPOCH", "LOOKBACK", "draw", "wins"]

LEADERS_PER_EPOCH: Final = 5
LOOKBACK: Final = 900  # builtin-actors policy: consensus lookback for winning PoSt
_MAX_WINS: Final = 15
_BITS: Final = 256
_EXACT: Final = Context(prec=100)


@lru_cache(maxsize=1024)
def _thresholds(qap: int, total: int) -> tuple[int, ...]:
    """P(wins <= k) for k = 0..14 in 2**-256."""
    mean = _EXACT.divide(Decimal(LEADERS_PER_EPOCH * qap), Decimal(total))
    term = _EXACT.exp(-mean)
    summed, result = Decimal(0), []
    for count in range(_MAX_WINS):
        summed = _EXACT.add(summed, term)
        result.append(int(_EXACT.multiply(summed, Decimal(1 << _BITS))))
        term = _EXACT.divide(_EXACT.multiply(term, mean), Decimal(count + 1))
    return tuple(result)


def draw(*parts: object, length: int = 32) -> bytes:
    """Bytes that only these values decide."""
    text = "|".join(part.hex() if isinstance(part, bytes) else str(part) for part in parts)
    return hashlib.shake_256(b"devstack draw|" + text.encode()).digest(length)


def wins(drawn: bytes, qap: int, total: int) -> int:
    """How often a miner with that share of power wins for its draw."""
    if qap <= 0 or total <= 0:
        return 0
    number = int.from_bytes(drawn, "big")
    return bisect_right(_thresholds(qap, total), number)
