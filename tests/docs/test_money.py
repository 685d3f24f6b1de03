"""The worked examples of docs/money.md, computed again by the code that splits, nets and releases."""

from __future__ import annotations

import json
from typing import Any

from fil_plus.attribution import split_win
from fil_plus.costs import net_period
from fil_plus.pieces import HeldPiece, Provenance, ProvenanceKind
from fil_plus.power import EXTRA_MULTIPLIER
from fil_plus.terms import Basis, ShareTerms
from fil_plus.vesting import locked_part, released
from fil_plus.win_values import ProducedPiece, WinInputs, WinSplit
from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import (
    ActorId,
    AttoFil,
    Epoch,
    NetworkVersion,
    PaddedPieceSize,
    SectorNumber,
)
from tests.docs.pages import ROOT, all_blocks

PAGE = ROOT / "docs" / "money.md"
PROVIDER = ActorId(1001)
PAYEE = Address.of_id(ActorId(105))
PIECE = Cid.parse("baga6ea4seaqc7zmyrsrodkqpv62bcb6tnuqqmfjcsp5xz4kx7qao5p36kwh46bi")


def example(name: str) -> dict[str, Any]:
    (block,) = all_blocks("json", name)
    assert block.page == PAGE
    return dict(json.loads(block.text))


def sector(number: int, verified: int) -> SectorOnChainInfo:
    """A sector with so many verified bytes over all of its life."""
    duration = 1_000_000
    return SectorOnChainInfo(
        number=SectorNumber(number),
        seal_proof=6,
        sealed_cid=PIECE,
        activation=Epoch(0),
        expiration=Epoch(duration),
        deal_weight=0,
        verified_deal_weight=verified * duration,
        initial_pledge=AttoFil(0),
        power_base_epoch=Epoch(0),
        sector_key_cid=None,
        flags=0,
        daily_fee=AttoFil(0),
    )


def test_the_worked_win_is_what_the_split_gives():
    win = example("example-win")
    size = win["sector_size"]
    rest = (int(win["miner_qap"]) - int(win["sector_qap"]) - size) // EXTRA_MULTIPLIER
    piece = HeldPiece(
        provider=PROVIDER,
        piece_cid=PIECE,
        padded_size=PaddedPieceSize(win["padded_size"]),
        payload_size=None,
        sector=SectorNumber(1),
        offset=0,
        provenance=Provenance(ProvenanceKind.CLAIM, 2),
        client=ActorId(101),
        from_epoch=Epoch(0),
        to_epoch=Epoch(10**7),
    )
    terms = ShareTerms(Basis.VERIFIED_EXTRA, output_bps=win["output_bps"])
    split = split_win(
        WinInputs(
            win="a block",
            epoch=Epoch(1047),
            provider=PROVIDER,
            credited=AttoFil.parse(win["credited"]),
            gas_reward=AttoFil.parse(win["tips"]),
            include_tips=False,
            network_version=NetworkVersion(28),
            solstice_epoch=None,
            lookback_epoch=Epoch(147),
            miner_qap=int(win["miner_qap"]),
            sector_size=size,
            sectors=(sector(0, rest), sector(1, win["verified"])),
            pieces=(piece,),
            produced=(ProducedPiece(piece.key, PAYEE, "j-1", win["counted_bytes"], terms),),
        )
    )
    assert isinstance(split, WinSplit), split
    assert str(split.shareable) == win["shareable"]
    assert [str(part.amount) for part in split.parts] == [win["amount"]]
    assert split.provider + split.parts[0].amount == split.shareable


def test_the_formula_on_the_page_gives_the_same():
    win = example("example-win")
    above = int(win["shareable"]) * 9 * win["verified"] * win["counted_bytes"] * win["output_bps"]
    below = win["padded_size"] * 10_000 * int(win["miner_qap"])
    assert above // below == int(win["amount"])
    page = PAGE.read_text()
    power = win["sector_size"] + 9 * win["verified"]
    assert f"{win['sector_size']} + 9 · {win['verified']} = {power}" in page
    assert str(power) == win["sector_qap"]
    assert (
        f"9 · {win['verified']} = {9 * win['verified']}, of the miner's {win['miner_qap']}" in page
    )
    assert (
        f"floor({win['shareable']} · 9 · {win['verified']} · {win['counted_bytes']} / {win['padded_size']}"
        f" · {win['output_bps']} / 10000 / {win['miner_qap']}) = {win['amount']} attoFIL" in page
    )


def test_the_worked_period_is_what_netting_and_vesting_give():
    period = {key: AttoFil.parse(value) for key, value in example("example-period").items()}
    result = net_period(
        period["gross"], period["fee_cost"] + period["capital_cost"], period["carried"]
    )
    assert (result.net, result.deficit) == (period["net"], period["deficit"])
    assert locked_part(result.net) == period["vesting"]
    at = Epoch(2879)
    assert released(result.net, at, at, Epoch(0)) == period["released_at_once"]
    assert period["released_at_once"] + period["vesting"] == period["net"]
