"""What kinds of faults there are, which parameters each takes, and what a fault applies to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

__all__ = ["KINDS", "Fault", "FaultKind", "KindSpec", "Scope", "checked_params"]

Json = dict[str, Any]


class FaultKind(StrEnum):
    """The faults by name; `KINDS` says what each does."""

    DROP = "drop"
    STATUS = "status"
    RATE_LIMIT = "rate-limit"
    LATENCY = "latency"
    TIMEOUT = "timeout"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    CUT_OFF = "cut-off"
    EVENTS_OFF = "events-off"
    NO_EVENTS = "no-events"
    PRUNED = "pruned"
    WRONG_NONCE = "wrong-nonce"
    WRONG_BALANCE = "wrong-balance"
    WRONG_GAS = "wrong-gas"
    TOKEN_REVOKED = "token-revoked"  # noqa: S105 -- the name of a fault
    STALE_HEAD = "stale-head"
    MISSING_UNSEALED = "missing-unsealed"
    CORRUPT_PIECE = "corrupt-piece"


@dataclass(frozen=True, slots=True)
class Scope:
    """When a fault strikes.

    `endpoint` and `method` are shell patterns: endpoints are `node`, `node1`, …, `gateway` and `miner`, `miner1`, …;
    methods have no `Filecoin.` before them. Of the matching calls it lets `skip` pass, then strikes each with
    `probability`, drawn from `seed`. It is over after `count` strikes or after `calls` matching calls; 0 is no bound.
    """

    endpoint: str = "*"
    method: str = "*"
    skip: int = 0
    probability: float = 1.0
    seed: int = 0
    count: int = 0
    calls: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.probability <= 1.0:
            raise ValueError("probability is above 0 and at most 1")
        if min(self.skip, self.count, self.calls) < 0:
            raise ValueError("skip, count and calls are not negative")

    def covers(self, endpoint: str, method: str) -> bool:
        """Whether a call of that method at that endpoint matches."""
        return fnmatchcase(endpoint, self.endpoint) and fnmatchcase(method, self.method)


@dataclass(frozen=True, slots=True)
class KindSpec:
    """A kind in one line, and its whole-number parameters as name -> (default, least, most)."""

    what: str
    numbers: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    texts: tuple[str, ...] = ()


_BIG: Final = 1 << 62
_SECTOR: Final = {"miner": (0, 0, 99), "sector": (0, 0, _BIG)}

KINDS: Final[dict[FaultKind, KindSpec]] = {
    FaultKind.DROP: KindSpec("half of the answer is sent, then the connection drops"),
    FaultKind.STATUS: KindSpec("HTTP answers with this status", {"status": (502, 500, 599)}),
    FaultKind.RATE_LIMIT: KindSpec("HTTP 429", {"retry_after": (1, 0, 3600)}),
    FaultKind.LATENCY: KindSpec(
        "answers come late, by `ms` and up to `jitter_ms` more",
        {"ms": (100, 0, 600_000), "jitter_ms": (0, 0, 600_000)},
    ),
    FaultKind.TIMEOUT: KindSpec("no answer ever comes"),
    FaultKind.DUPLICATE: KindSpec("a channel's value comes twice"),
    FaultKind.REORDER: KindSpec("a channel's value comes after the one that follows it"),
    FaultKind.CUT_OFF: KindSpec("a channel is closed, as that of a subscriber that lags"),
    FaultKind.EVENTS_OFF: KindSpec("the node has no actor events API"),
    FaultKind.NO_EVENTS: KindSpec("receipts have no events"),
    FaultKind.PRUNED: KindSpec(
        "states are gone `epochs` below the head; 0: below finality", {"epochs": (0, 0, _BIG)}
    ),
    FaultKind.WRONG_NONCE: KindSpec("nonces are wrong by `add`", {"add": (1, -_BIG, _BIG)}),
    FaultKind.WRONG_BALANCE: KindSpec(
        "balances are `percent` of the truth", {"percent": (0, 0, 1_000_000)}
    ),
    FaultKind.WRONG_GAS: KindSpec(
        "gas estimates are `percent` of the truth", {"percent": (50, 0, 1_000_000)}
    ),
    FaultKind.TOKEN_REVOKED: KindSpec(
        "`token` is refused with 401; all tokens without it", texts=("token",)
    ),
    FaultKind.STALE_HEAD: KindSpec("the node stops following the chain", {"node": (0, 0, 99)}),
    FaultKind.MISSING_UNSEALED: KindSpec("a sector's unsealed file is gone", dict(_SECTOR)),
    FaultKind.CORRUPT_PIECE: KindSpec(
        "bytes of a sector's unsealed file are flipped, from the padded `offset` on",
        {**_SECTOR, "offset": (0, 0, _BIG), "bytes": (32, 1, 1 << 20)},
    ),
}


def checked_params(kind: FaultKind, given: Json) -> Json:
    """The kind's parameters with defaults filled in.

    Raises:
        ValueError: one it does not have, or a value out of range.
    """
    spec = KINDS[kind]
    unknown = given.keys() - spec.numbers.keys() - set(spec.texts)
    if unknown:
        raise ValueError(f"{kind} takes no {min(unknown)}")
    params: Json = {}
    for name, (default, low, high) in spec.numbers.items():
        value = given.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{name} is a whole number from {low} to {high}, got {value!r}")
        params[name] = value
    for name in spec.texts:
        value = given.get(name, "")
        if not isinstance(value, str):
            raise ValueError(f"{name} is text, got {value!r}")  # noqa: TRY004 -- bad input, not a bad call
        params[name] = value
    return params


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in force. `id` is its name for `clear`."""

    id: int
    kind: FaultKind
    scope: Scope
    params: Json
