"""What `MpoolGetConfig` answers and `MpoolSetConfig` changes. Source: Lotus `chain/messagepool/config.go`."""

from __future__ import annotations

from dataclasses import dataclass

from lotus_client.address import Address

__all__ = ["MpoolConfig"]


@dataclass(frozen=True, slots=True)
class MpoolConfig:
    """Lotus' defaults. The sizes are numbers of messages, the cooldown is in nanoseconds.

    `priority` senders go into blocks first and `gas_over_estimation` multiplies estimated gas limits. The devnet never
    prunes its pool and replaces at Lotus' fixed minimum, so the other fields are kept without further effect.
    """

    priority: tuple[Address, ...] = ()
    size_limit_high: int = 30_000
    size_limit_low: int = 20_000
    replace_by_fee_ratio: float = 1.25
    prune_cooldown: int = 60_000_000_000
    gas_over_estimation: float = 1.25

    def problem(self) -> str | None:
        """Why Lotus refuses to set this, in its words; None when it does not."""
        if self.replace_by_fee_ratio < 1.1:
            return f"'ReplaceByFeeRatio' is less than required {self.replace_by_fee_ratio:f} < 1.100000"
        if self.gas_over_estimation < 1:
            return "'GasLimitOverestimation' cannot be less than 1"
        return None
