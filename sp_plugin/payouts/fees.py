"""Gas: what a message cost its sender, and the fees of a replacement under a cap. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lotus_client.messages import Message
from lotus_client.types import AttoFil

__all__ = ["FeePolicy", "gas_cost", "replacement_of"]

# Lotus chain/vm/burn.go: a gas limit of more than 1.1 times the gas used is burnt progressively.
_OVERUSE_NUMERATOR: Final = 11
_OVERUSE_DENOMINATOR: Final = 10


@dataclass(frozen=True, slots=True)
class FeePolicy:
    """How much gas may cost and when a stuck message is replaced.

    `max_fee` caps gas limit times fee cap of every message and replacement. `bump_percent` is the premium's raise;
    nodes ask for at least 10 % and take 25 % by default.
    """

    max_fee: AttoFil
    replace_after_epochs: int = 20
    bump_percent: int = 25

    def __post_init__(self) -> None:
        if self.bump_percent < 25:
            raise ValueError(f"bump_percent is at least 25, got {self.bump_percent}")


def gas_cost(message: Message, gas_used: int, base_fee: AttoFil) -> AttoFil:
    """What the message's execution cost its sender beyond the value: base fee burn, overestimation burn and tip.

    `base_fee` is `ParentBaseFee` of the tipset that *included* the message. Exact, as the network computes it.
    Source: Lotus `chain/vm/burn.go` (`ComputeGasOutputs`).
    """
    fee_cap, limit = message.gas_fee_cap.value, message.gas_limit
    paid_base_fee = min(base_fee.value, fee_cap)
    tip = min(message.gas_premium.value, fee_cap - paid_base_fee) * limit
    burnt_gas = gas_used + _overestimated(gas_used, limit)
    return AttoFil(paid_base_fee * burnt_gas + tip)


def _overestimated(used: int, limit: int) -> int:
    """Units of unused gas that are burnt."""
    if used == 0:
        return limit
    over = limit - used * _OVERUSE_NUMERATOR // _OVERUSE_DENOMINATOR
    if over < 0:
        return 0
    return (limit - used) * min(over, used) // used


def replacement_of(message: Message, base_fee: AttoFil, policy: FeePolicy) -> Message | None:
    """The same call with higher fees, `None` if the cap does not allow a node to accept it.

    The premium rises by `bump_percent` (rounded up); the fee cap rises likewise and covers twice the base fee plus
    the premium if the cap leaves room for it. Gas limit, nonce, recipient and amount stay.
    """
    premium = _raised(message.gas_premium.value, policy.bump_percent)
    most = policy.max_fee.value // message.gas_limit if message.gas_limit else 0
    wanted = max(
        _raised(message.gas_fee_cap.value, policy.bump_percent), 2 * base_fee.value + premium
    )
    fee_cap = min(wanted, most)
    if fee_cap < premium or fee_cap < message.gas_fee_cap.value:
        return None
    return message.with_fees(AttoFil(fee_cap), AttoFil(premium))


def _raised(amount: int, percent: int) -> int:
    return amount + -(-amount * percent // 100) + 1
