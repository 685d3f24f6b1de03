"""Samples of what a win is split by: two sectors, a held piece, a producer and a user."""

from dataclasses import replace

from fil_plus.attribution import split_win
from fil_plus.pieces import HeldPiece, Provenance, ProvenanceKind
from fil_plus.power import sector_qap
from fil_plus.terms import Basis, ShareTerms
from fil_plus.win_values import ProducedPiece, UsedPiece, WinInputs, WinSplit
from lotus_client.address import Address
from lotus_client.types import (
    ActorId,
    AttoFil,
    Epoch,
    NetworkVersion,
    PaddedPieceSize,
    SectorNumber,
)
from tests.fakes_chain import PROVIDER, SECTOR_SIZE, make_sector, piece_cid

MIB = 1 << 20


REWARD = 11 * 10**18


ALICE, BOB = Address.of_id(201), Address.of_id(202)


def held(number, *, sector=1, size=MIB, kind=ProvenanceKind.CLAIM, start=1000, end=10**7):
    return HeldPiece(
        provider=PROVIDER,
        piece_cid=piece_cid(number),
        padded_size=PaddedPieceSize(size),
        payload_size=None,
        sector=SectorNumber(sector),
        offset=0,
        provenance=Provenance(kind, number if kind is ProvenanceKind.CLAIM else None),
        client=ActorId(101),
        from_epoch=Epoch(start),
        to_epoch=Epoch(end),
    )


def produced(key="claim:1", payee=ALICE, job="j-1", counted=MIB, **terms):
    paid = terms.pop("budget_paid", AttoFil(0))
    basis = terms.pop("basis", Basis.VERIFIED_EXTRA)
    return ProducedPiece(key, payee, job, counted, ShareTerms(basis, **terms), paid)


def used(key="claim:1", payee=BOB, job="j-2", *, group=None, work=None, at=3000, **terms):
    basis = terms.pop("basis", Basis.VERIFIED_EXTRA)
    terms.setdefault("input_bps", 500)
    return UsedPiece(
        key, payee, group or str(payee), job, work or job, Epoch(at), ShareTerms(basis, **terms)
    )


def inputs(**changes):
    sectors = changes.pop("sectors", (make_sector(1, 1000, verified=MIB), make_sector(2, 1000)))
    win = WinInputs(
        win="bafyblock",
        epoch=Epoch(5000),
        provider=PROVIDER,
        credited=AttoFil(REWARD),
        gas_reward=AttoFil(0),
        include_tips=False,
        network_version=NetworkVersion(28),
        solstice_epoch=None,
        lookback_epoch=Epoch(4100),
        miner_qap=sum(sector_qap(sector, SECTOR_SIZE) for sector in sectors or ()),
        sector_size=SECTOR_SIZE,
        sectors=sectors,
        pieces=(held(1),),
    )
    return replace(win, **changes)


def split(**changes):
    result = split_win(inputs(**changes))
    assert isinstance(result, WinSplit)
    assert (
        sum(part.amount.value for part in result.parts) + result.provider.value
        == result.shareable.value
    )
    return result


QAP = 2 * SECTOR_SIZE + 9 * MIB  # of the two sectors above
