"""Actor ids of the singletons and method numbers.

Numbers of 2**24 and above are FRC-42 hashes of the method's name; `frc42_method` recomputes them in the tests.
Source: builtin-actors v18 `actors/*/src/lib.rs`; FRC-0042.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import Final

from lotus_client.address import Address

__all__ = [
    "BURNT_FUNDS",
    "CRON",
    "DATACAP",
    "FRC46_TOKEN",
    "INIT",
    "MARKET",
    "POWER",
    "RECEIVE",
    "REWARD",
    "SYSTEM",
    "VERIFIED_REGISTRY",
    "CronMethod",
    "DatacapMethod",
    "InitMethod",
    "MarketMethod",
    "MinerMethod",
    "MultisigMethod",
    "PowerMethod",
    "RewardMethod",
    "VerifregMethod",
    "frc42_method",
]

SYSTEM: Final = Address.of_id(0)
INIT: Final = Address.of_id(1)
REWARD: Final = Address.of_id(2)
CRON: Final = Address.of_id(3)
POWER: Final = Address.of_id(4)
MARKET: Final = Address.of_id(5)
VERIFIED_REGISTRY: Final = Address.of_id(6)
DATACAP: Final = Address.of_id(7)
BURNT_FUNDS: Final = Address.of_id(99)

RECEIVE: Final = 3726118371  # FRC-46 token receiver hook
FRC46_TOKEN: Final = 2233613279  # the token type that hook is called with


class InitMethod(IntEnum):
    """f01."""

    EXEC = 2


class RewardMethod(IntEnum):
    """f02."""

    AWARD_BLOCK_REWARD = 2
    THIS_EPOCH_REWARD = 3
    UPDATE_NETWORK_KPI = 4


class CronMethod(IntEnum):
    """f03."""

    EPOCH_TICK = 2


class PowerMethod(IntEnum):
    """f04."""

    CREATE_MINER = 2
    UPDATE_CLAIMED_POWER = 3
    ENROLL_CRON_EVENT = 4
    ON_EPOCH_TICK_END = 5
    UPDATE_PLEDGE_TOTAL = 6
    CURRENT_TOTAL_POWER = 9
    CREATE_MINER_EXPORTED = 1173380165


class MarketMethod(IntEnum):
    """f05."""

    CRON_TICK = 9
    SECTOR_CONTENT_CHANGED = 2034386435


class VerifregMethod(IntEnum):
    """f06."""

    ADD_VERIFIER = 2
    REMOVE_VERIFIER = 3
    ADD_VERIFIED_CLIENT = 4
    REMOVE_EXPIRED_ALLOCATIONS = 8
    CLAIM_ALLOCATIONS = 9
    GET_CLAIMS = 10
    EXTEND_CLAIM_TERMS = 11
    REMOVE_EXPIRED_CLAIMS = 12
    RECEIVE = 3726118371
    ADD_VERIFIED_CLIENT_EXPORTED = 3916220144
    REMOVE_EXPIRED_ALLOCATIONS_EXPORTED = 2421068268
    GET_CLAIMS_EXPORTED = 2199871187
    EXTEND_CLAIM_TERMS_EXPORTED = 1752273514
    REMOVE_EXPIRED_CLAIMS_EXPORTED = 2873373899


class DatacapMethod(IntEnum):
    """f07; it has exported methods only."""

    NAME = 48890204
    SYMBOL = 2061153854
    GRANULARITY = 3936767397
    TOTAL_SUPPLY = 114981429
    BALANCE = 3261979605
    TRANSFER = 80475954
    BURN = 1434719642
    MINT = 116935346


class MultisigMethod(IntEnum):
    """Any multisig."""

    PROPOSE = 2
    APPROVE = 3
    CANCEL = 4


class MinerMethod(IntEnum):
    """Any miner actor."""

    CONTROL_ADDRESSES = 2
    CHANGE_WORKER_ADDRESS = 3
    SUBMIT_WINDOWED_POST = 5
    TERMINATE_SECTORS = 9
    DECLARE_FAULTS = 10
    DECLARE_FAULTS_RECOVERED = 11
    ON_DEFERRED_CRON_EVENT = 12
    APPLY_REWARDS = 14
    WITHDRAW_BALANCE = 16
    CHANGE_OWNER_ADDRESS = 23
    PRE_COMMIT_SECTOR_BATCH2 = 28
    PROVE_COMMIT_SECTORS3 = 34
    WITHDRAW_BALANCE_EXPORTED = 2280458852


def frc42_method(name: str) -> int:
    """The exported number of a method name: the first big-endian 4-byte word of 2**24 or more in its hash."""
    digest = hashlib.blake2b(b"1|" + name.encode(), digest_size=64).digest()
    words = (int.from_bytes(digest[at : at + 4], "big") for at in range(0, 64, 4))
    return next(word for word in words if word >= 1 << 24)
