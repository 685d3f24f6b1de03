"""One line of a statement against its win: block, award, power, sector, piece, and its place under the period's root."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deals.held import claimed_piece
from deals.sectors import lookback_height
from fil_plus.periods import part_leaf, verify_inclusion
from fil_plus.pieces import ProvenanceKind
from fil_plus.power import divide_verified_space, sector_qap
from fil_plus.regimes import FULL_QA_POWER_FLAG
from fil_plus.terms import Basis
from fil_plus.win_values import Part, PartSource
from lotus_client.address import Address
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import AttoFil, ClaimId, Epoch, SectorNumber
from sp_plugin.audit.wins import ChainWin
from sp_plugin.earnings.registry_json import sub_piece_from_json
from sp_plugin.statement_checks import WrongStatement, same

__all__ = ["check_line"]


def check_line(
    win: ChainWin, period: Mapping[str, Any], line: Mapping[str, Any], payee: Address
) -> str:
    """What was compared of a line of `payee`.

    Raises:
        WrongStatement: something does not fit; says what.
    """
    same("epoch", line["epoch"], win.tipset.height)
    same("tipset", line["tipset"], [str(cid) for cid in win.tipset.key])
    same("lookback", line["lookback"], [str(cid) for cid in win.lookback.key])
    same("win_count", line["win_count"], win.win_count)
    same("credited", int(line["credited"]), win.credited)
    same("tips", int(line["tips"]), win.tips)
    same("miner_qap", int(line["miner_qap"]), win.miner_qap)
    include_tips = bool(period["settings"]["include_tips"])
    shareable = win.credited if include_tips else max(0, win.credited - win.tips)
    same("shareable", int(line["shareable"]), shareable)
    sector = win.sectors.get(SectorNumber(line["sector"]))
    if sector is None:
        raise WrongStatement(f"sector {line['sector']} was not active at the look-back tipset")
    sector_size = int(line["sector_size"])
    same("sector_qap", int(line["sector_qap"]), sector_qap(sector, sector_size))
    solstice = period["settings"]["solstice_epoch"]
    same("verified", int(line["verified"]), _verified(line, win, sector, solstice))
    _check_proof(period, line, payee)
    return "block, award, power, sector, piece and proof are as on chain"


def _verified(
    line: Mapping[str, Any],
    win: ChainWin,
    sector: SectorOnChainInfo,
    solstice_epoch: int | None,
) -> int:
    kind, _, name = str(line["piece"]).partition(":")
    after_solstice = solstice_epoch is not None and sector.activation >= solstice_epoch
    if kind != ProvenanceKind.CLAIM.value:
        if (
            line["held_from"] < sector.activation
        ):  # an earlier start would make a budget come due earlier
            raise WrongStatement(f"{line['piece']} was held before its sector was activated")
        return 0
    claim = win.claims.get(ClaimId(int(name)))
    if claim is None or claim.sector != sector.number:
        raise WrongStatement(
            f"claim {name} was not in sector {sector.number} at the look-back tipset"
        )
    same("piece_cid", line["piece_cid"], str(claim.data))
    same("padded_size", line["padded_size"], claim.size)
    same("held", (line["held_from"], line["held_to"]), (claim.term_start, claim.end))
    if after_solstice or sector.flags & FULL_QA_POWER_FLAG:
        return 0
    beside = [
        claimed_piece(claim) for claim in win.claims.values() if claim.sector == sector.number
    ]
    alive = [
        piece for piece in beside if piece.is_held_at(Epoch(lookback_height(line["epoch"]) - 1))
    ]
    return divide_verified_space(sector, alive).by_piece.get(line["piece"], 0)


def _check_proof(period: Mapping[str, Any], line: Mapping[str, Any], payee: Address) -> None:
    part = Part(
        payee=payee,
        job=line["job"],
        piece_key=line["piece"],
        source=PartSource(line["source"]),
        basis=Basis(line["basis"]),
        amount=AttoFil(int(line["amount"])),
        sub_piece=sub_piece_from_json(line),
    )
    leaf = part_leaf(line["win"], Epoch(line["epoch"]), part)
    path = [bytes.fromhex(node) for node in line["proof"]]
    root = bytes.fromhex(period["root"])
    if not verify_inclusion(leaf, int(line["index"]), int(period["leaves"]), path, root):
        raise WrongStatement("the line is not under the period's Merkle root")
