"""What one pass of the sender goes by and what it tells: the operator's settings, alerts, and a report."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from lotus_client.address import Address
from lotus_client.cid import Cid
from sp_plugin.payouts.fees import FeePolicy

__all__ = ["Alert", "SenderSettings", "StepReport", "no_alert"]

Alert = Callable[[str, str], Awaitable[None]]  # (event, text)


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """What the operator decided. Nothing is signed or pushed unless `enabled`.

    Signed bytes do not say for which network they are: with `genesis`, a node of another one is never given any.
    """

    wallet: Address
    fees: FeePolicy
    enabled: bool = False
    genesis: Cid | None = None  # of the network that the payouts are for


@dataclass(slots=True)
class StepReport:
    """What one pass did, or in a dry run would have done, as payout ids; `stopped` says why nothing was sent."""

    pushed: list[str] = field(default_factory=list)
    signed: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    included: list[str] = field(default_factory=list)
    reverted: list[str] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    would_send: list[str] = field(default_factory=list)
    stopped: str = ""


async def no_alert(_event: str, _text: str) -> None:
    """Tell nobody."""
