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
    "AccountMethod",
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


class AccountMethod(IntEnum):
    """Accounts; a multisig or contract that signs deals has AuthenticateMessage too."""

    PUBKEY_ADDRESS = 2
    AUTHENTICATE_MESSAGE = 2643134072


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
    NETWORK_RAW_POWER = 931722534
    MINER_RAW_POWER = 3753401894
    MINER_COUNT = 1987646258
    MINER_CONSENSUS_COUNT = 196739875
    MINER_POWER = 36284446


class MarketMethod(IntEnum):
    """f05."""

    ADD_BALANCE = 2
    WITHDRAW_BALANCE = 3
    PUBLISH_STORAGE_DEALS = 4
    VERIFY_DEALS_FOR_ACTIVATION = 5
    BATCH_ACTIVATE_DEALS = 6
    ON_MINER_SECTORS_TERMINATE = 7
    CRON_TICK = 9
    ADD_BALANCE_EXPORTED = 822473126
    WITHDRAW_BALANCE_EXPORTED = 2280458852
    PUBLISH_STORAGE_DEALS_EXPORTED = 2236929350
    GET_BALANCE = 726108461
    GET_DEAL_DATA_COMMITMENT = 1157985802
    GET_DEAL_CLIENT = 128053329
    GET_DEAL_PROVIDER = 935081690
    GET_DEAL_LABEL = 46363526
    GET_DEAL_TERM = 163777312
    GET_DEAL_TOTAL_PRICE = 4287162428
    GET_DEAL_CLIENT_COLLATERAL = 200567895
    GET_DEAL_PROVIDER_COLLATERAL = 2986712137
    GET_DEAL_VERIFIED = 2627389465
    GET_DEAL_ACTIVATION = 2567238399
    GET_DEAL_SECTOR = 2611213344
    SETTLE_DEAL_PAYMENTS = 1900091594
    SECTOR_CONTENT_CHANGED = 2034386435
    MARKET_NOTIFY_DEAL = 4186741094  # not f05's own: what it calls of a deal's client


class VerifregMethod(IntEnum):
    """f06."""

    ADD_VERIFIER = 2
    REMOVE_VERIFIER = 3
    ADD_VERIFIED_CLIENT = 4
    REMOVE_VERIFIED_CLIENT_DATACAP = 7
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
    TRANSFER_FROM = 3621052141
    INCREASE_ALLOWANCE = 1777121560
    DECREASE_ALLOWANCE = 1529376545
    REVOKE_ALLOWANCE = 2765635761
    ALLOWANCE = 4205072950
    BURN = 1434719642
    BURN_FROM = 2979674018
    MINT = 116935346
    DESTROY = 2624896501


class MultisigMethod(IntEnum):
    """Any multisig."""

    CONSTRUCTOR = 1
    PROPOSE = 2
    APPROVE = 3
    CANCEL = 4
    ADD_SIGNER = 5
    REMOVE_SIGNER = 6
    SWAP_SIGNER = 7
    CHANGE_THRESHOLD = 8
    LOCK_BALANCE = 9


class MinerMethod(IntEnum):
    """Any miner actor."""

    CONTROL_ADDRESSES = 2
    CHANGE_WORKER_ADDRESS = 3
    CHANGE_PEER_ID = 4
    SUBMIT_WINDOWED_POST = 5
    TERMINATE_SECTORS = 9
    DECLARE_FAULTS = 10
    DECLARE_FAULTS_RECOVERED = 11
    ON_DEFERRED_CRON_EVENT = 12
    APPLY_REWARDS = 14
    WITHDRAW_BALANCE = 16
    CHANGE_MULTIADDRS = 18
    CONFIRM_CHANGE_WORKER_ADDRESS = 21
    REPAY_DEBT = 22
    CHANGE_OWNER_ADDRESS = 23
    PRE_COMMIT_SECTOR_BATCH2 = 28
    CHANGE_BENEFICIARY = 30
    GET_BENEFICIARY = 31
    EXTEND_SECTOR_EXPIRATION2 = 32
    PROVE_COMMIT_SECTORS3 = 34
    PROVE_REPLICA_UPDATES3 = 35
    PROVE_COMMIT_SECTORS_NI = 36
    CHANGE_WORKER_ADDRESS_EXPORTED = 3302309124
    CHANGE_PEER_ID_EXPORTED = 1236548004
    WITHDRAW_BALANCE_EXPORTED = 2280458852
    CHANGE_MULTIADDRS_EXPORTED = 1063480576
    CONFIRM_CHANGE_WORKER_ADDRESS_EXPORTED = 2354970453
    REPAY_DEBT_EXPORTED = 3665352697
    CHANGE_OWNER_ADDRESS_EXPORTED = 1010589339
    CHANGE_BENEFICIARY_EXPORTED = 1570634796
    GET_BENEFICIARY_EXPORTED = 4158972569
    GET_OWNER = 3275365574
    IS_CONTROLLING_ADDRESS = 348244887
    GET_SECTOR_SIZE = 3858292296
    GET_AVAILABLE_BALANCE = 4026106874
    GET_VESTING_FUNDS = 1726876304
    GET_PEER_ID = 2812875329
    GET_MULTIADDRS = 1332909407
    MAX_TERMINATION_FEE = 4127382196
    INITIAL_PLEDGE = 3180523767
    GET_NOMINAL_SECTOR_EXPIRATION = 3010055991


def frc42_method(name: str) -> int:
    """The exported number of a method name: the first big-endian 4-byte word of 2**24 or more in its hash."""
    digest = hashlib.blake2b(b"1|" + name.encode(), digest_size=64).digest()
    words = (int.from_bytes(digest[at : at + 4], "big") for at in range(0, 64, 4))
    return next(word for word in words if word >= 1 << 24)
