"""The data side of activating sectors: commitments, claims in f06, and telling f05 (actors.md §7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from devstack.chain.commd import unsealed_cid
from devstack.chain.machine import Abort, Exit, Runtime
from lotus_client.actors.market_sectors import (
    PieceChange,
    SectorChanges,
    SectorContentChangedParams,
    SectorContentChangedReturn,
    SectorDeals,
    VerifyDealsForActivationParams,
    VerifyDealsForActivationReturn,
)
from lotus_client.actors.methods import MARKET, VERIFIED_REGISTRY, MarketMethod, VerifregMethod
from lotus_client.actors.miner import PieceActivationManifest, SectorPreCommitInfo
from lotus_client.actors.verifreg import (
    AllocationClaim,
    ClaimAllocationsParams,
    ClaimAllocationsReturn,
    SectorAllocationClaims,
)
from lotus_client.actors.wire import ParamsError
from lotus_client.cid import Cid

__all__ = ["SectorData", "claim", "notify", "verify_deals"]

# actors/miner/src/lib.rs
_RECEIVER_ABORTED: Final = 1002
_RESPONSE_INVALID: Final = 1003
_REJECTED: Final = 1004


@dataclass(frozen=True, slots=True)
class SectorData:
    """A sector that passed the checks, its expiration, and the pieces in it."""

    number: int
    expiration: int
    pieces: tuple[PieceActivationManifest, ...]

    @property
    def contents(self) -> list[tuple[Cid, int]]:
        """The pieces' CIDs and padded sizes."""
        return [(piece.cid, piece.size) for piece in self.pieces]

    def commd(self, sector_size: int) -> Cid | None:
        """The computed unsealed CID; None without pieces."""
        return unsealed_cid(self.contents, sector_size) if self.pieces else None

    def plain_bytes(self, network_version: int) -> int:
        """Padded bytes that claim nothing. From network version 29 nothing does."""
        return sum(
            piece.size for piece in self.pieces if network_version >= 29 or piece.allocation is None
        )


def verify_deals(runtime: Runtime, sectors: Sequence[SectorPreCommitInfo]) -> None:
    """Have f05 check the deals that pre-commits name; their CommD must be the pre-committed one.

    Such a sector cannot be proven any more since network version 22: ProveCommitSectors3 refuses it.
    """
    if not any(sector.deal_ids for sector in sectors):
        return
    asked = VerifyDealsForActivationParams(
        tuple(
            SectorDeals(one.sector, one.seal_proof, one.expiration, one.deal_ids) for one in sectors
        )
    )
    answer = VerifyDealsForActivationReturn.from_cbor(
        runtime.must_send(MARKET, MarketMethod.VERIFY_DEALS_FOR_ACTIVATION, asked.to_cbor())
    )
    zero = unsealed_cid([], runtime.config.sector_size)
    for sector, computed in zip(sectors, answer.unsealed_cids, strict=True):
        runtime.require(
            computed is None or computed == (sector.unsealed_cid or zero),
            Exit.ILLEGAL_ARGUMENT,
            f"sector {sector.sector}: the deals' CommD is {computed}",
        )


def claim(
    runtime: Runtime, sectors: Sequence[SectorData], codes: dict[int, int], *, all_or_nothing: bool
) -> dict[int, int]:
    """Claimed bytes per sector; a failed sector gets f06's code. From version 29 named allocations are ignored."""
    any_named = any(piece.allocation for item in sectors for piece in item.pieces)
    if runtime.network_version >= 29 or not any_named:
        return {}
    asked = ClaimAllocationsParams(tuple(map(_claims, sectors)), all_or_nothing).to_cbor()
    answer = ClaimAllocationsReturn.from_cbor(
        runtime.must_send(VERIFIED_REGISTRY, VerifregMethod.CLAIM_ALLOCATIONS, asked)
    )
    failed = dict(answer.sector_results.fail_codes)
    spaces = iter(answer.claimed_space)
    claimed: dict[int, int] = {}
    for index, item in enumerate(sectors):
        if index in failed:
            codes[item.number] = failed[index]
        else:
            claimed[item.number] = next(spaces)
    return claimed


def _claims(item: SectorData) -> SectorAllocationClaims:
    named = tuple(
        AllocationClaim(piece.allocation.client, piece.allocation.id, piece.cid, piece.size)
        for piece in item.pieces
        if piece.allocation
    )
    return SectorAllocationClaims(item.number, item.expiration, named)


def notify(runtime: Runtime, sectors: Sequence[SectorData], *, require_success: bool) -> None:
    """Tell f05 of the pieces whose manifests name it, in one call; other receivers are not allowed."""
    named = {notice.address for item in sectors for piece in item.pieces for notice in piece.notify}
    for address in sorted(named):
        if address == MARKET:
            _notify_market(runtime, sectors, require_success=require_success)
        elif require_success:
            raise Abort(Exit.ILLEGAL_ARGUMENT, f"{address} is no receiver of notifications")


def _notify_market(
    runtime: Runtime, sectors: Sequence[SectorData], *, require_success: bool
) -> None:
    changes = []
    for item in sorted(sectors, key=lambda one: one.number):
        added = tuple(
            PieceChange(piece.cid, piece.size, notice.payload)
            for piece in item.pieces
            for notice in piece.notify
            if notice.address == MARKET
        )
        if added:
            changes.append(SectorChanges(item.number, item.expiration, added))
    told = SectorContentChangedParams(tuple(changes)).to_cbor()
    sent = runtime.send(MARKET, MarketMethod.SECTOR_CONTENT_CHANGED, told)
    if not require_success:
        return
    if sent.exit_code:
        raise Abort(_RECEIVER_ABORTED, f"f05 aborted with {sent.exit_code}")
    try:
        answer = SectorContentChangedReturn.from_cbor(sent.return_)
    except ParamsError as error:
        raise Abort(_RESPONSE_INVALID, str(error)) from error
    shape = [len(change.added) for change in changes]
    if [len(pieces) for pieces in answer.sectors] != shape:
        raise Abort(_RESPONSE_INVALID, "f05 answered for other pieces")
    if not all(accepted for pieces in answer.sectors for accepted in pieces):
        raise Abort(_REJECTED, "f05 rejected a piece")
