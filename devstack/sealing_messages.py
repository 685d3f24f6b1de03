"""The params of the messages by which sealing software brings a sector on chain and declares what becomes of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from devstack.chain import SectorPlace, StateView
from devstack.sectors import Sector, SectorPiece
from lotus_client import cbor
from lotus_client.actors.methods import MARKET
from lotus_client.actors.miner import (
    DataActivationNotification,
    PieceActivationManifest,
    PreCommitSectorBatchParams,
    ProveCommitSectorsParams,
    SectorActivationManifest,
    SectorDeclaration,
    SectorDeclarations,
    SectorPreCommitInfo,
)
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.types import SectorNumber

__all__ = ["PROOF", "commit_params", "declarations", "precommit_params"]

# The devnet's chain records proofs and does not verify them; the length is a real PoRep's.
PROOF: Final = b"\x42" * 192


def precommit_params(sector: Sector, seal_proof: int) -> bytes:
    """PreCommitSectorBatch2 of one sector; without data its CommD is left open, as for committed capacity."""
    has_data = any(piece.staged for piece in sector.pieces)
    info = SectorPreCommitInfo(
        seal_proof=seal_proof,
        sector=sector.number,
        sealed_cid=sector.sealed_cid,
        seal_rand_epoch=sector.ticket_epoch,
        expiration=sector.expiration,
        unsealed_cid=sector.commd if has_data else None,
    )
    return PreCommitSectorBatchParams((info,)).to_cbor()


def commit_params(sector: Sector) -> bytes:
    """ProveCommitSectors3 of one sector with the manifests of its pieces."""
    # Fillers before the last piece keep its offset; the zeros behind it need no mention.
    last = max((i for i, piece in enumerate(sector.pieces) if piece.staged), default=-1)
    pieces = tuple(
        PieceActivationManifest(
            piece.piece_cid,
            piece.size,
            piece.staged.allocation if piece.staged else None,
            _notices(piece),
        )
        for piece in sector.pieces[: last + 1]
    )
    return ProveCommitSectorsParams(
        (SectorActivationManifest(sector.number, pieces),),
        (PROOF,),
        require_activation_success=True,
    ).to_cbor()


def _notices(piece: SectorPiece) -> tuple[DataActivationNotification, ...]:
    """Whom the miner shall tell of the piece: f05, when it is a deal's."""
    if piece.staged is None or piece.staged.deal is None:
        return ()
    return (DataActivationNotification(MARKET, cbor.encode(piece.staged.deal)),)


def declarations(state: StateView, miner: Address, numbers: Iterable[SectorNumber]) -> bytes:
    """The params that name these sectors by their places, for faults, recoveries and terminations.

    Raises:
        ValueError: a sector that has no place in a deadline, or none given.
    """
    by_place: dict[SectorPlace, list[SectorNumber]] = {}
    for number in numbers:
        place = state.sector_place(miner, number)
        if place is None:
            raise ValueError(f"sector {number} is in no deadline")
        by_place.setdefault(place, []).append(number)
    if not by_place:
        raise ValueError("no sector was named")
    return SectorDeclarations(
        tuple(
            SectorDeclaration(place.deadline, place.partition, BitField.from_ints(members))
            for place, members in by_place.items()
        )
    ).to_cbor()
