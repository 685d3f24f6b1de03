"""Share terms: by which basis and how much of the earnings a job's payee gets. Part of the approved bundle."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from lotus_client.types import AttoFil, Epoch

__all__ = ["INPUT_WINDOW_EPOCHS", "WHOLE_BPS", "Basis", "ShareTerms"]

WHOLE_BPS: Final = 10_000  # basis points of the whole
INPUT_WINDOW_EPOCHS: Final = 86_400  # 30 days: how long a job that read a piece may get a bonus


class Basis(StrEnum):
    """What a share is a share of. Never switched by the software."""

    VERIFIED_EXTRA = "verified_extra"  # 9·w / QAP of the miner: what being verified added
    QAP_SHARE = "qap_share"  # (QAP of the sector · bytes / sector size) / QAP of the miner
    FIXED_BUDGET = "fixed_budget"  # an amount the operator named


@dataclass(frozen=True, slots=True)
class ShareTerms:
    """The terms of one job. Shares in basis points.

    `budget` (attoFIL in all, only for `fixed_budget`) comes due evenly over `budget_epochs` epochs after the output piece
    begins to be proven (0: all at the first win) and is paid out of wins, so it vests as they do.

    Raises:
        ValueError: a share outside 0..10000, or a budget that does not fit the basis.
    """

    basis: Basis
    output_bps: int = 1000
    input_bps: int = 0
    max_share_bps: int = 2000
    budget: AttoFil = AttoFil(0)
    budget_epochs: int = 0

    def __post_init__(self) -> None:
        for name in ("output_bps", "input_bps", "max_share_bps"):
            if not 0 <= getattr(self, name) <= WHOLE_BPS:
                raise ValueError(f"{name} must be 0 to {WHOLE_BPS}, got {getattr(self, name)}")
        if self.budget.value < 0 or self.budget_epochs < 0:
            raise ValueError("budget and budget_epochs must not be negative")
        if self.basis is not Basis.FIXED_BUDGET and (self.budget or self.budget_epochs):
            raise ValueError(f"a budget belongs to basis fixed_budget, not to {self.basis}")

    @property
    def pays(self) -> bool:
        """Whether these terms can ever give the payee anything."""
        if self.basis is Basis.FIXED_BUDGET:
            return bool(self.budget)
        return self.max_share_bps > 0 and (self.output_bps > 0 or self.input_bps > 0)

    def budget_due(self, proven_from: Epoch, at: Epoch) -> AttoFil:
        """How much of the budget has come due at `at`, rounded down."""
        elapsed = at - proven_from
        if elapsed < 0:
            return AttoFil(0)
        if elapsed >= self.budget_epochs:
            return self.budget
        return AttoFil(self.budget.value * elapsed // self.budget_epochs)

    def to_json(self) -> dict[str, Any]:
        """The terms as they stand in a bundle's canonical JSON."""
        return {
            "basis": self.basis.value,
            "output_bps": self.output_bps,
            "input_bps": self.input_bps,
            "max_share_bps": self.max_share_bps,
            "budget": str(self.budget),
            "budget_epochs": self.budget_epochs,
        }
