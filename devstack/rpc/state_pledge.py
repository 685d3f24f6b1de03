"""What a new sector or miner would have to put up. Source: Lotus `node/impl/full/state.go`.

The formulas are those of this network's own actors (`devstack.chain.actors.policy`), and Lotus adds a tenth to each.
"""

from __future__ import annotations

from typing import Any, Final

from devstack.auth import Permission
from devstack.chain.actors.policy import initial_pledge, qa_power
from devstack.chain.config import SEAL_PROOFS
from devstack.node import FullNode
from devstack.rpc.encode import amount_json
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method, Param
from devstack.rpc.params import ADDRESS, EPOCH, TIPSET_KEY, UINT64, decode_int, decode_object
from devstack.rpc.resolve import state_at
from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.types import Epoch

__all__ = ["METHODS"]

MaybeAddress = Address | None

_MARGIN: Final = (110, 100)
_LARGEST_MULTIPLE: Final = 10  # of quality, which deposits are made for whatever the sector holds
_SIZES: Final = {proof: size for size, (proof, _, _) in SEAL_PROOFS.items()}


def _with_margin(amount: int) -> str:
    return amount_json(amount * _MARGIN[0] // _MARGIN[1])


def _size_of(seal_proof: int) -> int:
    """The sector size of a registered seal proof; 2 KiB to 64 GiB repeat for each variant of the proof."""
    size = _SIZES.get(seal_proof % 5 + 5)
    if size is None or not 0 <= seal_proof < 20:
        raise RpcError(1, f"failed to get resolve size: unsupported proof type: {seal_proof}")
    return size


def _deposit(node: FullNode, _miner: MaybeAddress, seal_proof: int, key: TipSetKey) -> str:
    size = _size_of(seal_proof)
    actors = state_at(node, key).tree.actors
    return _with_margin(initial_pledge(actors, size * _LARGEST_MULTIPLE))


def _pledge(node: FullNode, _miner: MaybeAddress, seal_proof: int, key: TipSetKey) -> str:
    # Left out: the weight of verified deals that the pre-commit names, the only data that this call knows of.
    return _with_margin(initial_pledge(state_at(node, key).tree.actors, _size_of(seal_proof)))


def _pledge_for_sector(
    node: FullNode, duration: Epoch, size: int, verified: int, key: TipSetKey
) -> str:
    for bad, why in (
        (duration <= 0, "sector duration must greater than 0"),
        (size == 0, "sector size must be non-zero"),
        (verified > size, "verified deal size must be less than or equal to sector size"),
    ):
        if bad:
            raise RpcError(1, why)
    power = qa_power(size, duration, verified * duration)
    return _with_margin(initial_pledge(state_at(node, key).tree.actors, power))


def _creation_deposit(node: FullNode, key: TipSetKey) -> str:
    state_at(node, key)
    return "0"  # f04 of this network asks for none (its CreateMiner leaves FIP-0077 out)


def _decode_seal_proof(value: Any) -> int:
    return decode_int(decode_object(value).get("SealProof"))


_READ = Permission.READ
_PRECOMMIT = Param("miner.SectorPreCommitInfo", _decode_seal_proof)

METHODS: tuple[Method[FullNode], ...] = (
    Method(
        "StateMinerPreCommitDepositForPower", _READ, (ADDRESS, _PRECOMMIT, TIPSET_KEY), _deposit
    ),
    Method("StateMinerInitialPledgeCollateral", _READ, (ADDRESS, _PRECOMMIT, TIPSET_KEY), _pledge),
    Method(
        "StateMinerInitialPledgeForSector",
        _READ,
        (EPOCH, UINT64, UINT64, TIPSET_KEY),
        _pledge_for_sector,
    ),
    Method("StateMinerCreationDeposit", _READ, (TIPSET_KEY,), _creation_deposit),
)
