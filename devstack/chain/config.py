"""What a devstack network is made of at genesis, and the protocol's constants it runs by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from lotus_client.crypto import Secp256k1Key
from lotus_client.types import AttoFil, Epoch

__all__ = ["FIL", "AccountSpec", "NetworkConfig", "ProviderSpec", "derive_key"]

FIL: Final = 10**18


@dataclass(frozen=True, slots=True)
class AccountSpec:
    """A prefunded f1 account. Its key is `derive_key(seed, name)`."""

    name: str
    balance: AttoFil = AttoFil(1_000_000 * FIL)


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """A storage miner made at genesis, without power. `owner` and `worker` are account names.

    Accounts that the network does not list are added with the default balance. `balance` is what the miner actor
    itself holds at first, for deposits and pledge.
    """

    owner: str
    worker: str
    balance: AttoFil = AttoFil(100_000 * FIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """All that decides a network: two networks of equal config and equal calls are equal byte for byte.

    Ids: accounts take 100, 101, … (genesis miner's owner/worker first, then the root signers, then `accounts`, then
    accounts named only by providers); the genesis miner is t01000 and `providers` are t01001, t01002, ….
    """

    seed: int = 0
    name: str = "devstack"
    network_version: int = 28
    nv29_epoch: Epoch | None = None  # the first epoch that runs under network version 29
    genesis_timestamp: int = 1_750_000_000
    block_delay_seconds: int = 4
    sector_size: int = 8 << 20  # 2 KiB, 8 MiB, 512 MiB, 32 GiB or 64 GiB
    minimum_piece_size: int = 256  # 1 << 20 is mainnet's
    genesis_sectors: int = 96  # CC sectors of t01000, spread over its 48 deadlines
    accounts: tuple[AccountSpec, ...] = (AccountSpec("alice"), AccountSpec("bob"))
    providers: tuple[ProviderSpec, ...] = (ProviderSpec("owner-1", "worker-1"),)
    root_signers: tuple[str, ...] = ("root-1",)
    root_threshold: int = 1
    prefix: str = "t"
    f3_lag: int | None = None  # epochs that a simulated F3 trails the head; None: no F3
    eip155_chain_id: int = 31415926

    def __post_init__(self) -> None:
        if self.sector_size not in SEAL_PROOFS:
            sizes = ", ".join(map(str, SEAL_PROOFS))
            raise ValueError(f"sector_size {self.sector_size} is not one of {sizes}")
        if self.minimum_piece_size < 128 or self.minimum_piece_size & (self.minimum_piece_size - 1):
            raise ValueError("minimum_piece_size is a power of two of at least 128")
        if not 1 <= self.root_threshold <= len(self.root_signers):
            raise ValueError("root_threshold is 1 to the number of root_signers")
        if self.f3_lag is not None and self.f3_lag < 1:
            raise ValueError("f3_lag is at least 1 epoch")
        if self.genesis_sectors < 1:
            raise ValueError("genesis_sectors is at least 1: without power nobody can win a block")

    @property
    def seal_proof(self) -> int:
        """The registered seal proof (V1_1) of the sector size."""
        return SEAL_PROOFS[self.sector_size][0]

    @property
    def window_post_proof(self) -> int:
        """The registered window PoSt proof (V1_1) of the sector size."""
        return SEAL_PROOFS[self.sector_size][1]

    @property
    def partition_sectors(self) -> int:
        """How many sectors one PoSt partition holds."""
        return SEAL_PROOFS[self.sector_size][2]


# sector size -> (seal proof V1_1, window PoSt proof V1_1, sectors per partition).
# Source: go-state-types abi/sector.go; builtin-actors runtime/src/runtime/policy.rs, actors/miner.
SEAL_PROOFS: Final = {
    2 << 10: (5, 10, 2),
    8 << 20: (6, 11, 2),
    512 << 20: (7, 12, 2),
    32 << 30: (8, 13, 2349),
    64 << 30: (9, 14, 2300),
}


def derive_key(seed: int, name: str) -> Secp256k1Key:
    """The secp256k1 key of the account `name` in networks of that seed. Worth nothing anywhere else."""
    return Secp256k1Key(hashlib.sha256(f"devstack key|{seed}|{name}".encode()).digest())
