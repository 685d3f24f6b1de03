"""The devnet's gas model: a fixed price per kind of call plus a price per byte of the message, and what contracts take.

Not the FVM's prices, but of their order of magnitude, known before execution unless contracts run, and charged by Lotus' own rules: base
fee burnt per gas used, tip per gas limit, an over-estimation burn, the rest refunded. The base fee stays at its floor.
"""

from __future__ import annotations

from typing import Final

from devstack.chain.values import GasOutputs
from lotus_client.actors.evm import EAM, EvmMethod
from lotus_client.actors.methods import MinerMethod, PowerMethod
from lotus_client.messages import METHOD_SEND, Message
from lotus_client.types import AttoFil

__all__ = [
    "BASE_FEE",
    "BLOCK_GAS_LIMIT",
    "effective_price",
    "gas_outputs",
    "gas_used",
    "is_metered",
    "with_margin",
]

BASE_FEE: Final = 100  # attoFIL per gas: Lotus build/buildconstants MinimumBaseFee
BLOCK_GAS_LIMIT: Final = 10_000_000_000

_PER_BYTE: Final = 1_300
_SEND: Final = 500_000
_CALL: Final = 5_000_000
_HEAVY: Final[dict[int, int]] = {
    MinerMethod.SUBMIT_WINDOWED_POST: 40_000_000,
    MinerMethod.PRE_COMMIT_SECTOR_BATCH2: 25_000_000,
    MinerMethod.PROVE_COMMIT_SECTORS3: 80_000_000,
    MinerMethod.PROVE_COMMIT_SECTORS_NI: 80_000_000,
    MinerMethod.PROVE_REPLICA_UPDATES3: 80_000_000,
    MinerMethod.EXTEND_SECTOR_EXPIRATION2: 25_000_000,
    PowerMethod.CREATE_MINER_EXPORTED: 30_000_000,
    EvmMethod.INVOKE_CONTRACT: 1_500_000,  # and what the contract takes, if there is one
}


def gas_used(message: Message, size: int) -> int:
    """What a message of that many bytes on chain uses."""
    kind = _SEND if message.method == METHOD_SEND else _HEAVY.get(message.method, _CALL)
    return kind + _PER_BYTE * size


def with_margin(used: int) -> int:
    """The limit to ask for: a quarter above what was used (Lotus' GasLimitOverestimation), within a block."""
    return min(used * 5 // 4, BLOCK_GAS_LIMIT)


def is_metered(message: Message) -> bool:
    """Whether the message runs a contract, so that its gas depends on the run."""
    return message.method == EvmMethod.INVOKE_CONTRACT or message.to == EAM


def effective_price(message: Message) -> int:
    """What a contract sees as the gas price: base fee and tip, in attoFIL."""
    cap = message.gas_fee_cap.value
    paid = min(BASE_FEE, cap)
    return paid + min(message.gas_premium.value, cap - paid)


def _over_estimation(used: int, limit: int) -> int:
    """Gas burnt for asking much more than used: none up to 1.1 times (Lotus `chain/vm/burn.go`)."""
    over = limit - 11 * used // 10
    if used == 0 or over < 0:
        return 0
    return (limit - used) * min(over, used) // used


def gas_outputs(message: Message, used: int) -> GasOutputs:
    """How the sender's gas money (limit times fee cap) is divided."""
    limit, cap = message.gas_limit, message.gas_fee_cap.value
    paid = min(BASE_FEE, cap)
    burn = paid * used
    over = paid * _over_estimation(used, limit)
    tip = min(message.gas_premium.value, cap - paid) * limit
    return GasOutputs(
        base_fee_burn=AttoFil(burn),
        over_estimation_burn=AttoFil(over),
        miner_penalty=AttoFil((BASE_FEE - paid) * used),
        miner_tip=AttoFil(tip),
        refund=AttoFil(cap * limit - burn - over - tip),
    )
