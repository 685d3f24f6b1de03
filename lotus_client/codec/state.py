"""Actors' state, power and money as Lotus prints them. Source: Lotus `api/types.go`, go-state-types `builtin/v18`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lotus_client.address import NetworkPrefix
from lotus_client.codec.basic import (
    actor_id_from_json,
    address_from_json,
    amount_from_json,
    cid_from_json,
    cid_to_json,
    optional_address_from_json,
    optional_cid,
)
from lotus_client.codec.reading import At, at
from lotus_client.errors import LotusDecodeError
from lotus_client.state import (
    ActorState,
    Allocation,
    Beneficiary,
    Claim,
    MinerFunds,
    MinerInfo,
    MinerPower,
    PowerPair,
    RewardState,
    SectorOnChainInfo,
)
from lotus_client.types import AllocationId, ClaimId, Epoch, PaddedPieceSize, SectorNumber

__all__ = [
    "actor_state_from_json",
    "actor_state_to_json",
    "allocation_from_json",
    "allocation_to_json",
    "allocations_from_json",
    "allocations_to_json",
    "claim_from_json",
    "claim_to_json",
    "claims_from_json",
    "claims_to_json",
    "miner_funds_from_json",
    "miner_info_from_json",
    "miner_info_to_json",
    "miner_power_from_json",
    "miner_power_to_json",
    "reward_state_from_json",
    "sector_from_json",
    "sector_to_json",
]

_MAX_SECTOR = (1 << 63) - 1
_MIN_PIECE, _MAX_PIECE = 128, 1 << 63


def _epoch(here: At) -> Epoch:
    return Epoch(here.epoch())


def _piece_size(here: At) -> PaddedPieceSize:
    size = here.integer(_MIN_PIECE, _MAX_PIECE)
    if size & (size - 1):
        here.fail("a padded piece size (a power of two)")
    return PaddedPieceSize(size)


def _sector_number(here: At) -> SectorNumber:
    return SectorNumber(here.integer(0, _MAX_SECTOR))


def allocation_from_json(raw: Any, allocation_id: AllocationId, path: str = "$") -> Allocation:
    """The allocation; its id is the map key or the request's argument, not part of the object."""
    here = at(raw, path)
    return Allocation(
        id=allocation_id,
        client=actor_id_from_json(here.field("Client")),
        provider=actor_id_from_json(here.field("Provider")),
        data=cid_from_json(here.field("Data")),
        size=_piece_size(here.field("Size")),
        term_min=_epoch(here.field("TermMin")),
        term_max=_epoch(here.field("TermMax")),
        expiration=_epoch(here.field("Expiration")),
    )


def allocation_to_json(allocation: Allocation) -> dict[str, Any]:
    """The allocation as Lotus prints it, without its id."""
    return {
        "Client": allocation.client,
        "Provider": allocation.provider,
        "Data": cid_to_json(allocation.data),
        "Size": allocation.size,
        "TermMin": allocation.term_min,
        "TermMax": allocation.term_max,
        "Expiration": allocation.expiration,
    }


def claim_from_json(raw: Any, claim_id: ClaimId, path: str = "$") -> Claim:
    """The claim; its id is the map key or the request's argument, not part of the object."""
    here = at(raw, path)
    return Claim(
        id=claim_id,
        provider=actor_id_from_json(here.field("Provider")),
        client=actor_id_from_json(here.field("Client")),
        data=cid_from_json(here.field("Data")),
        size=_piece_size(here.field("Size")),
        term_min=_epoch(here.field("TermMin")),
        term_max=_epoch(here.field("TermMax")),
        term_start=_epoch(here.field("TermStart")),
        sector=_sector_number(here.field("Sector")),
    )


def claim_to_json(claim: Claim) -> dict[str, Any]:
    """The claim as Lotus prints it, without its id."""
    return {
        "Provider": claim.provider,
        "Client": claim.client,
        "Data": cid_to_json(claim.data),
        "Size": claim.size,
        "TermMin": claim.term_min,
        "TermMax": claim.term_max,
        "TermStart": claim.term_start,
        "Sector": claim.sector,
    }


def claims_from_json(raw: Any, path: str = "$") -> dict[ClaimId, Claim]:
    """The map of `StateGetClaims`, keyed by numbers."""
    return {
        ClaimId(number): claim_from_json(item, ClaimId(number))
        for number, item in _numbered(at(raw, path))
    }


def claims_to_json(claims: Mapping[ClaimId, Claim]) -> dict[str, Any]:
    """The map as Lotus prints it: ids are text keys."""
    return {str(number): claim_to_json(claim) for number, claim in claims.items()}


def allocations_from_json(raw: Any, path: str = "$") -> dict[AllocationId, Allocation]:
    """The map of `StateGetAllocations`, keyed by numbers."""
    return {
        AllocationId(number): allocation_from_json(item, AllocationId(number))
        for number, item in _numbered(at(raw, path))
    }


def allocations_to_json(allocations: Mapping[AllocationId, Allocation]) -> dict[str, Any]:
    """The map as Lotus prints it: ids are text keys."""
    return {str(number): allocation_to_json(item) for number, item in allocations.items()}


def _numbered(here: At) -> list[tuple[int, At]]:
    out: list[tuple[int, At]] = []
    for name, item in here.entries():
        if not (name.isascii() and name.isdigit() and len(name) <= 20):
            raise LotusDecodeError(item.path, "expected a number as the key")
        out.append((int(name), item))
    return out


def sector_from_json(raw: Any, path: str = "$") -> SectorOnChainInfo:
    """The committed sector. `DailyFee` and `Flags` are 0 on nodes from before they existed."""
    here = at(raw, path)
    flags, daily_fee = here.field("Flags"), here.field("DailyFee")
    return SectorOnChainInfo(
        number=_sector_number(here.field("SectorNumber")),
        seal_proof=here.field("SealProof").integer(),
        sealed_cid=cid_from_json(here.field("SealedCID")),
        activation=_epoch(here.field("Activation")),
        expiration=_epoch(here.field("Expiration")),
        deal_weight=here.field("DealWeight").big(),
        verified_deal_weight=here.field("VerifiedDealWeight").big(),
        initial_pledge=amount_from_json(here.field("InitialPledge")),
        power_base_epoch=_epoch(here.field("PowerBaseEpoch")),
        sector_key_cid=optional_cid(here.field("SectorKeyCID")),
        flags=0 if flags.value is None else flags.integer(),
        daily_fee=amount_from_json(At(daily_fee.value or "", daily_fee.path)),
    )


def sector_to_json(sector: SectorOnChainInfo) -> dict[str, Any]:
    """The sector as Lotus prints it; the three fields that FIP-0100 emptied are null."""
    key = sector.sector_key_cid
    return {
        "SectorNumber": sector.number,
        "SealProof": sector.seal_proof,
        "SealedCID": cid_to_json(sector.sealed_cid),
        "Activation": sector.activation,
        "Expiration": sector.expiration,
        "DealWeight": str(sector.deal_weight),
        "VerifiedDealWeight": str(sector.verified_deal_weight),
        "InitialPledge": str(sector.initial_pledge),
        "ExpectedDayReward": None,
        "ExpectedStoragePledge": None,
        "PowerBaseEpoch": sector.power_base_epoch,
        "ReplacedDayReward": None,
        "SectorKeyCID": None if key is None else cid_to_json(key),
        "Flags": sector.flags,
        "DailyFee": str(sector.daily_fee),
    }


def miner_info_from_json(raw: Any, path: str = "$") -> MinerInfo:
    """The miner's keys and sizes; without a beneficiary (before nv17) it is the owner, without limit fields."""
    here = at(raw, path)
    owner = address_from_json(here.field("Owner"))
    term = here.field("BeneficiaryTerm")
    return MinerInfo(
        owner=owner,
        worker=address_from_json(here.field("Worker")),
        control_addresses=tuple(
            address_from_json(item) for item in here.field("ControlAddresses").items()
        ),
        sector_size=here.field("SectorSize").integer(),
        window_post_proof_type=here.field("WindowPoStProofType").integer(),
        beneficiary=Beneficiary(
            address=optional_address_from_json(here.field("Beneficiary")) or owner,
            quota=_term_amount(term, "Quota"),
            used_quota=_term_amount(term, "UsedQuota"),
            expiration=Epoch(0) if term.value is None else _epoch(term.field("Expiration")),
        ),
    )


def _term_amount(term: At, name: str) -> Any:
    return amount_from_json("" if term.value is None else term.field(name), term.path)


def miner_info_to_json(
    info: MinerInfo, partition_sectors: int, prefix: NetworkPrefix
) -> dict[str, Any]:
    """The info as Lotus prints it for a miner with no change under way. `partition_sectors` follows the proof."""
    return {
        "Owner": info.owner.to_text(prefix),
        "Worker": info.worker.to_text(prefix),
        "NewWorker": "<empty>",
        "ControlAddresses": [address.to_text(prefix) for address in info.control_addresses] or None,
        "WorkerChangeEpoch": -1,
        "PeerId": None,
        "Multiaddrs": None,
        "WindowPoStProofType": info.window_post_proof_type,
        "SectorSize": info.sector_size,
        "WindowPoStPartitionSectors": partition_sectors,
        "ConsensusFaultElapsed": -1,
        "PendingOwnerAddress": None,
        "Beneficiary": info.beneficiary.address.to_text(prefix),
        "BeneficiaryTerm": {
            "Quota": str(info.beneficiary.quota),
            "UsedQuota": str(info.beneficiary.used_quota),
            "Expiration": info.beneficiary.expiration,
        },
        "PendingBeneficiaryTerm": None,
    }


def _power_pair(here: At) -> PowerPair:
    return PowerPair(here.field("RawBytePower").big(), here.field("QualityAdjPower").big())


def _power_pair_to_json(pair: PowerPair) -> dict[str, str]:
    return {"RawBytePower": str(pair.raw), "QualityAdjPower": str(pair.qap)}


def miner_power_from_json(raw: Any, path: str = "$") -> MinerPower:
    """A miner's and the network's power."""
    here = at(raw, path)
    return MinerPower(
        miner=_power_pair(here.field("MinerPower")),
        total=_power_pair(here.field("TotalPower")),
        has_min_power=here.field("HasMinPower").boolean(),
    )


def miner_power_to_json(power: MinerPower) -> dict[str, Any]:
    """The power as Lotus prints it."""
    return {
        "MinerPower": _power_pair_to_json(power.miner),
        "TotalPower": _power_pair_to_json(power.total),
        "HasMinPower": power.has_min_power,
    }


def miner_funds_from_json(raw: Any, path: str = "$") -> MinerFunds:
    """The money fields of a miner actor from `StateReadState`'s answer."""
    here = at(raw, path)
    state = here.field("State")
    return MinerFunds(
        balance=amount_from_json(here.field("Balance")),
        pre_commit_deposits=amount_from_json(state.field("PreCommitDeposits")),
        locked_funds=amount_from_json(state.field("LockedFunds")),
        fee_debt=amount_from_json(state.field("FeeDebt")),
        initial_pledge=amount_from_json(state.field("InitialPledge")),
        proving_period_start=_epoch(state.field("ProvingPeriodStart")),
    )


def reward_state_from_json(raw: Any, path: str = "$") -> RewardState:
    """The reward actor's fields from `StateReadState`'s answer for f02."""
    state = at(raw, path).field("State")
    return RewardState(
        this_epoch_reward=amount_from_json(state.field("ThisEpochReward")),
        epoch=_epoch(state.field("Epoch")),
        total_storage_power_reward=amount_from_json(state.field("TotalStoragePowerReward")),
    )


def actor_state_from_json(raw: Any, path: str = "$") -> ActorState:
    """An actor's record."""
    here = at(raw, path)
    return ActorState(
        code=cid_from_json(here.field("Code")),
        head=cid_from_json(here.field("Head")),
        nonce=here.field("Nonce").integer(),
        balance=amount_from_json(here.field("Balance")),
        delegated_address=optional_address_from_json(here.field("DelegatedAddress")),
    )


def actor_state_to_json(actor: ActorState, prefix: NetworkPrefix) -> dict[str, Any]:
    """An actor's record as Lotus prints it."""
    delegated = actor.delegated_address
    return {
        "Code": cid_to_json(actor.code),
        "Head": cid_to_json(actor.head),
        "Nonce": actor.nonce,
        "Balance": str(actor.balance),
        "DelegatedAddress": None if delegated is None else delegated.to_text(prefix),
    }
